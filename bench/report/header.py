"""Head of the report: the machine, the versions and the commands of its figures."""

import re

from bench.report.results import best_limit, cpu


def _limit_lines(limit: dict) -> list[str]:
    lines = []
    for threads, gflops in limit["gflops"].items():
        levels = limit["gbytes_per_second"].items()
        reads = ", ".join(f"{level} {rates[threads]:.0f}" for level, rates in levels)
        peak = f"{gflops:.0f} GFLOP/s ({limit['isa']})"
        handover = limit["handover_ns"][threads]
        between = f"; a handover to another thread {handover:.0f} ns" if handover else ""
        lines.append(f"- Limit on {threads} thread(s): {peak}; reads in GB/s: {reads}{between}")
    return lines


def _source(data: dict) -> tuple[str, str]:
    """The command of a run, without options that change no figure, and its commit."""
    commit = data["commit_info"]
    changed = " with uncommitted changes" if commit.get("dirty") else ""
    command = re.sub(r" (-q|--rounds[ =]\d+|--benchmark-json=\S+)", "", data["run"]["command"])
    return command, f"{commit.get('id', 'unknown')[:7]}{changed}"


def _run_lines(runs: list[dict]) -> list[str]:
    """A line for each command and commit."""
    groups: dict[tuple[str, str], list[dict]] = {}
    for data in runs:
        groups.setdefault(_source(data), []).append(data)
    lines = []
    for (command, commit), group in groups.items():
        loads = ", ".join(f"{data['run']['load']:.1f}" for data in group)
        rounds = ", ".join(sorted({str(data["run"]["rounds"]) for data in group}))
        count = "1 run" if len(group) == 1 else f"{len(group)} runs"
        lines.append(f"- `{command}`: {count} at {commit}, rounds {rounds}, load {loads}")
    return lines


def header(runs: list[dict]) -> str:
    """Machine, versions, limit and commands, a line each."""
    first = runs[0]
    machine, run = first["machine_info"], first["run"]
    limit = best_limit(runs)

    def listed(values: dict[str, str], sign: str) -> str:
        return ", ".join(f"{name}{sign}{value}" for name, value in values.items())

    lines = [
        f"- Date: {first['datetime'][:10]}",
        f"- CPU: {cpu(first)}",
        f"- Threads: {', '.join(map(str, run['threads']))}, of {run['cpus']} usable CPUs",
        f"- System: {machine['system']} {machine['release']}",
        f"- Versions: {listed({**run['versions'], 'Python': machine['python_version']}, ' ')}",
        f"- clstm: {listed(run['clstm'], ' ')}",
        f"- Environment: {listed(run['environment'], '=') or 'no variable of kernels or threads'}",
        *(_limit_lines(limit) if limit else []),
    ]
    note = "The commands, with the load average at their start (0: an idle machine):"
    return "\n".join([*lines, "", note, "", *_run_lines(runs)])
