"""Makes the report, in Markdown, of the JSON files of one or several runs and commands.

python -m bench.report build/bench-1.json build/bench-2.json > bench/RESULTS.md
"""

import argparse
from pathlib import Path

from bench.report.header import header
from bench.report.notes import NOTE, PLOTS
from bench.report.results import merge, read
from bench.report.tables import tables


def markdown(runs: list[dict]) -> str:
    """The whole of RESULTS.md."""
    results = merge(data["benchmarks"] for data in runs)
    return "\n\n".join(["# Results", header(runs), NOTE, PLOTS, tables(results)]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser("python -m bench.report", description=__doc__.splitlines()[0])
    parser.add_argument("json", type=Path, nargs="+", help="files of repeated runs")
    print(markdown(read(parser.parse_args().json)), end="")


if __name__ == "__main__":
    main()
