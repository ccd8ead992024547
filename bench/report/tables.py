"""Turns the JSON of pytest-benchmark, of one run or of several, of one command or of several, into
Markdown.

    python -m bench.report.tables build/bench-1.json build/bench-2.json > bench/RESULTS.md

pytest's terminal summary shows the same tables, made by the same functions.
"""

import argparse
import re
from pathlib import Path

from bench.engines.registry import ENGINES, PEERS
from bench.measure.shapes import (
    BIDIRECTIONAL,
    FEW_ROWS,
    GRID,
    HALF_FULL,
    ODD,
    OTHER_CELLS,
    PROJECTED,
    RAGGED,
    SMALL,
    STEPS,
    STREAMS,
)
from bench.report.markdown_table import number, table
from bench.report.notes import (
    CELLS_NOTE,
    LENGTHS_NOTE,
    MODULE_NOTE,
    NOTE,
    PLOTS,
    RAGGED_NOTE,
    SMALL_NOTE,
    STEP_NOTE,
    STREAMS_NOTE,
    SUMMARY_NOTE,
)
from bench.report.results import Result, best_limit, choose, cpu, merge, read
from bench.report.summary import step_ns, summary


def _peer_columns(results: list[Result]) -> tuple[list[str], list[list[str]]]:
    """Head and cells of the columns of every peer that took part."""
    present = [name for name in PEERS if any(name in result.peers for result in results)]
    repeated = any(len(result.records) > 1 for result in results)
    head = []
    for name in present:
        head += [f"{ENGINES[name].title} us", "ratio", *(["worst"] if repeated else [])]
    rows = []
    for result in results:
        row = []
        for name in present:
            if name in result.peers:
                ratios = [result.ratio(name), *([min(result.ratios(name))] if repeated else [])]
                row += [number(result.peer_seconds(name) * 1e6)]
                row += [number(ratio, 2) for ratio in ratios]
            else:
                row += [""] * (3 if repeated else 2)
        rows.append(row)
    return head, rows


def _engine_cells(results: list[Result]) -> tuple[list[str], list[list[str]]]:
    """clstm, the limit and every peer that was there; one row per shape and number of threads."""
    peer_head, peer_rows = _peer_columns(results)
    head = ["T,B,I,H,L", "threads", "clstm us", "GFLOP/s", "% of limit", *peer_head]
    rows = []
    for result, cells in zip(results, peer_rows, strict=True):
        row = [str(result.shape), str(result.threads), number(result.seconds * 1e6)]
        row += [number(result.figure("gflops")), number(result.figure("percent_of_limit"), 0)]
        rows.append(row + cells)
    return head, rows


def _engine_table(results: list[Result]) -> str:
    return table(*_engine_cells(results))


def _step_table(results: list[Result]) -> str:
    """As the others, and the memory of everyone."""
    head, rows = _engine_cells(results)
    present = [name for name in ENGINES if any(r.memory(name) is not None for r in results)]
    head += [f"{ENGINES[name].title} MB" for name in present]
    for result, row in zip(results, rows, strict=True):
        row += [number(result.memory(name)) for name in present]
    return f"{STEP_NOTE}\n\n{table(head, rows)}"


def _small_table(results: list[Result]) -> str:
    """Nanoseconds a step, how they compare with the limit, and the peers."""
    peer_head, peer_rows = _peer_columns(results)
    head = ["H", "clstm ns", "limit ns", "times limit", "over ns", "bound ns", *peer_head]
    rows = []
    for result, cells in zip(results, peer_rows, strict=True):
        row = [str(result.shape.hidden_size)]
        step = step_ns(result)
        if step is None:
            row += [number(result.seconds * 1e9 / result.shape.steps), "", "", "", ""]
        else:
            measured, limit, bound = step
            row += [number(measured), number(limit), number(measured / limit, 2)]
            row += [number(measured - limit), number(bound)]
        rows.append(row + cells)
    return f"{SMALL_NOTE}\n\n{table(head, rows)}"


def _ragged_table(results: list[Result]) -> str:
    return f"{RAGGED_NOTE}\n\n{_engine_table(results)}"


def _lengths_table(results: list[Result]) -> str:
    """Time with lengths over time without, and over the sum of the steps' costs."""
    head = ["T,B,I,H,L", "threads", "", "lengths us", "full us", "ratio", "steps us", "to steps"]
    rows = []
    for result in results:
        row = [str(result.shape), str(result.threads), result.identity("work")]
        for name, digits in (("ragged_us", 1), ("full_us", 1), ("ratio", 2)):
            row.append(number(result.figure(name), digits))
        row += [number(result.figure("steps_us")), number(result.figure("ratio_to_steps"), 2)]
        rows.append(row)
    return f"{LENGTHS_NOTE}\n\n{table(head, rows)}"


def _cells_table(results: list[Result]) -> str:
    """Time with another cell over time with the plain one."""
    head = ["T,B,I,H,L", "threads", "", "cell us", "plain us", "ratio"]
    rows = []
    for result in results:
        row = [str(result.shape), str(result.threads), result.identity("work")]
        for name, digits in (("cell_us", 1), ("plain_us", 1), ("ratio", 2)):
            row.append(number(result.figure(name), digits))
        rows.append(row)
    return f"{CELLS_NOTE}\n\n{table(head, rows)}"


def _module_table(results: list[Result]) -> str:
    """Time with PyTorch's own LSTM over time with the module that clstm computes."""
    head = ["T,B,I,H,L", "threads", "", "in PyTorch us", "PyTorch us", "ratio", "clstm us"]
    rows = []
    for result in results:
        row = [str(result.shape), str(result.threads), result.identity("work")]
        row += [number(result.figure("module_us")), number(result.figure("torch_us"))]
        row += [number(result.figure("ratio"), 2), number(result.figure("clstm_us"))]
        rows.append(row)
    return f"{MODULE_NOTE}\n\n{table(head, rows)}"


def _streams_table(results: list[Result]) -> str:
    """Nanoseconds a step in C, how they compare with the limit, and microseconds in Python."""
    head = ["H", "limit ns"]
    for title in ("block", "step", "kept"):
        head += [f"{title} ns", "times limit"]
    python = any(result.figure("python_us") is not None for result in results)
    head += ["Python us"] if python else []
    peer = any(result.figure("rtneural_ns") is not None for result in results)
    head += ["RTNeural ns", "to block", "to step"] if peer else []
    rows = []
    for result in results:
        row = [str(result.shape.hidden_size), number(result.figure("limit_ns"))]
        for name in ("process", "step", "kept"):
            row.append(number(result.figure(f"{name}_ns")))
            row.append(number(result.figure(f"{name}_to_limit"), 2))
        row += [number(result.figure("python_us"), 2)] if python else []
        if peer:
            row += [number(result.figure("rtneural_ns"))]
            row += [number(result.figure(f"rtneural_to_{name}"), 2) for name in ("process", "step")]
        rows.append(row)
    return f"{STREAMS_NOTE}\n\n{table(head, rows)}"


def _stacked_table(results: list[Result]) -> str:
    head = ["B", "H", "one 4H product, us", "four products, us", "ratio"]
    rows = []
    for result in results:
        sizes = [str(result.identity("batch")), str(result.identity("hidden_size"))]
        times = [number(result.figure("stacked_us")), number(result.figure("separate_us"))]
        rows.append([*sizes, *times, number(result.figure("ratio"), 2)])
    return table(head, rows)


def tables(results: list[Result]) -> str:
    """The summary and all tables; those without a result are left out."""
    parts = [
        ("Forward", _engine_table, choose(results, GRID)),
        ("Forward, odd shapes", _engine_table, choose(results, ODD)),
        ("Forward, small models, one thread", _small_table, choose(results, SMALL)),
        ("Forward and backward", _engine_table, choose(results, GRID, "training")),
        ("Forward, two directions", _engine_table, choose(results, BIDIRECTIONAL)),
        (
            "Forward and backward, two directions",
            _engine_table,
            choose(results, BIDIRECTIONAL, "training"),
        ),
        ("Forward, projection", _engine_table, choose(results, PROJECTED)),
        (
            "Forward and backward, projection",
            _engine_table,
            choose(results, PROJECTED, "training"),
        ),
        ("Forward, ragged", _ragged_table, choose(results, RAGGED)),
        ("Forward and backward, ragged", _ragged_table, choose(results, RAGGED, "training")),
        ("What lengths save", _lengths_table, choose(results, HALF_FULL + FEW_ROWS, "lengths")),
        ("Cells", _cells_table, choose(results, OTHER_CELLS, "cells")),
        ("clstm in PyTorch", _module_table, choose(results, GRID, "module")),
        ("Streams, one thread", _streams_table, choose(results, STREAMS, "streams")),
        ("Whole training step", _step_table, choose(results, STEPS, "step")),
        (
            "One stacked product against four",
            _stacked_table,
            [result for result in results if result.mode == "stacked"],
        ),
    ]
    sections = [f"## {title}\n\n{make(chosen)}" for title, make, chosen in parts if chosen]
    short = summary(results)
    if short:
        sections.insert(0, f"## Summary\n\n{SUMMARY_NOTE}\n\n{short}")
    return "\n\n".join(sections)


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
    """What a run measured: its command, but for what changes no figure, and the commit."""
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
    """Where the figures come from."""
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
        f"- Environment: {listed(run['environment'], '=') or 'nothing that changes what computes'}",
        *(_limit_lines(limit) if limit else []),
    ]
    note = "Measured by, with the load average when it began (0 is a quiet machine):"
    return "\n".join([*lines, "", note, "", *_run_lines(runs)])


def markdown(runs: list[dict]) -> str:
    """The whole of RESULTS.md."""
    results = merge(data["benchmarks"] for data in runs)
    return "\n\n".join(["# Results", header(runs), NOTE, PLOTS, tables(results)]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("json", type=Path, nargs="+", help="files of repeated runs")
    print(markdown(read(parser.parse_args().json)), end="")


if __name__ == "__main__":
    main()
