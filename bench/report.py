"""Turns the JSON of pytest-benchmark into Markdown, and into a plot if asked for.

    python bench/report.py build/bench.json --plot build/bench.png > bench/RESULTS.md

pytest's terminal summary shows the same tables, made by the same functions.
"""

import argparse
import json
from pathlib import Path

from engines import ENGINES, PEERS

TITLES = {"forward": "Forward", "training": "Forward and backward"}
NOTE = """\
`us` is the median of one call, in microseconds; GFLOP/s counts the matrix products; `% of limit` is
the least time this machine needs for them (multiply-add peak and cache bandwidth, measured in the
same run) divided by the time taken. A peer's ratio is its time divided by clstm's, both measured in
turns in processes of their own, the median over rounds: above 1, clstm is the faster one. The time
in the column `clstm us` comes from pytest's own process."""


def _table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table whose columns also line up as plain text."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]

    def line(cells: list[str]) -> str:
        padded = (cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
        return f"| {' | '.join(padded)} |"

    rule = f"|{'|'.join('-' * (width + 1) + ':' for width in widths)}|"
    return "\n".join([line(head), rule, *map(line, rows)])


def _number(value: float | None, digits: int = 1) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _engine_table(records: list[dict]) -> str:
    """clstm, the limit and every peer that was there; one row per shape and number of threads."""
    present = [
        name for name in PEERS if any(name in r["extra_info"].get("peers", {}) for r in records)
    ]
    head = ["T,B,I,H,L", "threads", "clstm us", "GFLOP/s", "% of limit"]
    for name in present:
        head += [f"{ENGINES[name].title} us", "ratio"]
    rows = []
    for record in records:
        figures = record["extra_info"]
        row = [
            ",".join(map(str, figures["shape"])),
            str(figures["threads"]),
            _number(record["stats"]["median"] * 1e6),
            _number(figures["gflops"]),
            _number(figures.get("percent_of_limit"), 0),
        ]
        for name in present:
            peer = figures.get("peers", {}).get(name, {})
            row += [_number(peer.get("us")), _number(peer.get("ratio"), 2)]
        rows.append(row)
    return _table(head, rows)


def _stacked_table(records: list[dict]) -> str:
    head = ["B", "H", "one 4H product, us", "four products, us", "ratio"]
    rows = []
    for figures in (record["extra_info"] for record in records):
        sizes = [str(figures["batch"]), str(figures["hidden_size"])]
        times = [_number(figures["stacked_us"]), _number(figures["separate_us"])]
        rows.append([*sizes, *times, _number(figures["ratio"], 2)])
    return _table(head, rows)


def tables(benchmarks: list[dict]) -> str:
    """All tables of a run; `benchmarks` as in the JSON: dicts with `stats` and `extra_info`."""
    sections = []
    for mode in (*TITLES, "stacked"):
        records = [record for record in benchmarks if record["extra_info"].get("mode") == mode]
        if not records:
            continue
        if mode == "stacked":
            sections += ["## One stacked product against four", _stacked_table(records)]
        else:
            sections += [f"## {TITLES[mode]}", _engine_table(records)]
    return "\n\n".join(sections)


def _limit_lines(limit: dict) -> list[str]:
    lines = []
    for threads, gflops in limit["gflops"].items():
        levels = limit["gbytes_per_second"].items()
        reads = ", ".join(f"{level} {rates[threads]:.0f}" for level, rates in levels)
        peak = f"{gflops:.0f} GFLOP/s ({limit['isa']})"
        lines.append(f"- Limit on {threads} thread(s): {peak}; reads in GB/s: {reads}")
    return lines


def header(data: dict) -> str:
    """Where the figures come from."""
    machine, commit, run = data["machine_info"], data["commit_info"], data["run"]
    changed = " with uncommitted changes" if commit.get("dirty") else ""
    cpu = machine.get("cpu", {})
    clstm = ", ".join(f"{name} {value}" for name, value in run["clstm"].items())
    versions = {**run["versions"], "Python": machine["python_version"]}
    lines = [
        f"- Commit: {commit.get('id', 'unknown')}{changed}",
        f"- Date: {data['datetime'][:10]}",
        f"- CPU: {cpu.get('brand_raw', machine['machine'])}, {cpu.get('count', '?')} CPUs",
        f"- System: {machine['system']} {machine['release']}",
        f"- Versions: {', '.join(f'{name} {number}' for name, number in versions.items())}",
        f"- clstm: {clstm}",
        *(_limit_lines(run["limit"]) if run["limit"] else []),
        f"- Load average when it began (0 is a quiet machine): {run['load']:.1f}",
        f"- Command: `{run['command']}`, {run['rounds']} rounds",
    ]
    return "\n".join(lines)


def markdown(data: dict) -> str:
    """The whole of RESULTS.md."""
    parts = ["# Results", header(data), NOTE, tables(data["benchmarks"])]
    return "\n\n".join(parts) + "\n"


def plot(benchmarks: list[dict], path: Path) -> None:
    """Bars of peer / clstm for every shape; matplotlib is imported only here."""
    from matplotlib.figure import Figure

    records = [record["extra_info"] for record in benchmarks]
    records = [figures for figures in records if figures.get("peers")]
    cases = sorted({(figures["mode"], figures["threads"]) for figures in records})
    if not cases:
        raise SystemExit("nothing to plot: no peer took part in this run")
    figure = Figure(figsize=(6 * len(cases), 8), layout="constrained")
    axes = figure.subplots(1, len(cases), sharey=True, squeeze=False)[0]
    for axis, case in zip(axes, cases, strict=True):
        chosen = [figures for figures in records if (figures["mode"], figures["threads"]) == case]
        for number, name in enumerate(PEERS):
            bars = [
                (row + 0.4 * number, figures["peers"][name]["ratio"] - 1)
                for row, figures in enumerate(chosen)
                if name in figures["peers"]
            ]
            if bars:
                places, widths = zip(*bars, strict=True)
                axis.barh(places, widths, left=1, height=0.4, label=ENGINES[name].title)
        shapes = [",".join(map(str, figures["shape"])) for figures in chosen]
        axis.set_yticks([row + 0.2 for row in range(len(shapes))], shapes)
        axis.axvline(1, color="black", linewidth=1)
        axis.set(xscale="log", title=f"{TITLES[case[0]]}, {case[1]} thread(s)")
        axis.set_xlabel("peer / clstm: right of 1, clstm is the faster one")
    axes[0].invert_yaxis()
    axes[0].legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("json", type=Path)
    parser.add_argument("--plot", type=Path, help="also draw the ratios into this file")
    arguments = parser.parse_args()
    data = json.loads(arguments.json.read_text())
    print(markdown(data), end="")
    if arguments.plot:
        plot(data["benchmarks"], arguments.plot)


if __name__ == "__main__":
    main()
