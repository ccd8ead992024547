"""Draws the ratios and the roofline, forward only, from the JSON files of pytest-benchmark.

    python -m bench.report.plots build/bench-1.json build/bench-2.json

writes docs/benchmarks/MACHINE-ratios.png, MACHINE-overview.png (for the README) and
MACHINE-roofline.png.
"""

import argparse

from bench.measure.shapes import GRID, ODD
from bench.report.machine import plot_names
from bench.report.options import add_options, chosen_machine
from bench.report.plot_overview import overview
from bench.report.plot_ratios import ratios
from bench.report.plot_roofline import roofline
from bench.report.plot_style import DPI
from bench.report.results import best_limit, choose, cpu, merge, read


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m bench.report.plots", description=__doc__.splitlines()[0]
    )
    add_options(parser)
    arguments = parser.parse_args()
    runs = read(arguments.json)
    ratios_name, overview_name, roofline_name = plot_names(chosen_machine(arguments, runs))
    arguments.folder.mkdir(parents=True, exist_ok=True)
    results = merge(data["benchmarks"] for data in runs)
    subject = f"forward, float32, {cpu(runs[0])}"
    compared = [result for result in choose(results, GRID + ODD) if result.peers]
    if compared:
        title = f"clstm beside its peers: {subject}"
        ratios(compared, title).savefig(arguments.folder / ratios_name, dpi=DPI)
        overview(compared, title).savefig(arguments.folder / overview_name, dpi=DPI)
    grid, limit = choose(results, GRID), best_limit(runs)
    if grid and limit:
        figure = roofline(grid, limit, f"clstm and the limit: {subject}")
        figure.savefig(arguments.folder / roofline_name, dpi=DPI)


if __name__ == "__main__":
    main()
