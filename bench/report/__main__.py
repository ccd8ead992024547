"""Writes the report, in Markdown, of the JSON files of one or several runs and commands.

    python -m bench.report build/bench-1.json build/bench-2.json

writes docs/benchmarks/MACHINE.md; the plots beside it are those of bench.report.plots.
"""

import argparse

from bench.report.header import header
from bench.report.machine import plot_names
from bench.report.notes import NOTE, PLOTS
from bench.report.options import add_options, chosen_machine
from bench.report.results import cpu, merge, read
from bench.report.tables import tables


def markdown(runs: list[dict], machine: str) -> str:
    """The whole report."""
    results = merge(data["benchmarks"] for data in runs)
    title = f"# Benchmarks: {cpu(runs[0])}, {runs[0]['run']['clstm'].get('isa', '')}"
    ratios, _, roofline = plot_names(machine)
    plots = PLOTS.format(ratios=ratios, roofline=roofline)
    return "\n\n".join([title, header(runs), NOTE, plots, tables(results)]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser("python -m bench.report", description=__doc__.splitlines()[0])
    add_options(parser)
    arguments = parser.parse_args()
    runs = read(arguments.json)
    machine = chosen_machine(arguments, runs)
    path = arguments.folder / f"{machine}.md"
    text = markdown(runs, machine)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    print(path)


if __name__ == "__main__":
    main()
