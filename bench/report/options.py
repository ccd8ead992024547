"""Command-line options that the report and the plots share."""

import argparse
from pathlib import Path

from bench.report.machine import machine_name


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the files of the runs, the folder and the machine's name."""
    parser.add_argument("json", type=Path, nargs="+", help="files of repeated runs")
    parser.add_argument("--folder", type=Path, default=Path("docs/benchmarks"))
    parser.add_argument("--machine", default="", help="name of the files; default: by CPU and ISA")


def chosen_machine(arguments: argparse.Namespace, runs: list[dict]) -> str:
    """The name that was given, or that of the first run's machine."""
    return arguments.machine or machine_name(runs[0])
