"""Draws ratios.png and roofline.png from the JSON of pytest-benchmark; forward only.

python -m bench.report.plots build/bench-1.json build/bench-2.json --folder bench
"""

import argparse
from pathlib import Path

from bench.measure.shapes import GRID, ODD
from bench.report.plot_ratios import ratios
from bench.report.plot_roofline import roofline
from bench.report.plot_style import DPI
from bench.report.results import best_limit, choose, cpu, merge, read


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m bench.report.plots", description=__doc__.splitlines()[0]
    )
    parser.add_argument("json", type=Path, nargs="+", help="files of repeated runs")
    parser.add_argument("--folder", type=Path, default=Path("bench"), help="where the plots go")
    arguments = parser.parse_args()
    runs = read(arguments.json)
    results = merge(data["benchmarks"] for data in runs)
    subject = f"forward, float32, {cpu(runs[0])}"
    compared = [result for result in choose(results, GRID + ODD) if result.peers]
    if compared:
        figure = ratios(compared, f"clstm beside its peers: {subject}")
        figure.savefig(arguments.folder / "ratios.png", dpi=DPI)
    grid, limit = choose(results, GRID), best_limit(runs)
    if grid and limit:
        figure = roofline(grid, limit, f"clstm and the limit: {subject}")
        figure.savefig(arguments.folder / "roofline.png", dpi=DPI)


if __name__ == "__main__":
    main()
