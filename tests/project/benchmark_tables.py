"""The tables of a report in docs/benchmarks, as figures."""

import re
from functools import cache
from math import prod

from tests.support.paths import ROOT

FOLDER = ROOT / "docs" / "benchmarks"


@cache
def text(machine: str) -> str:
    return (FOLDER / f"{machine}.md").read_text("utf-8")


@cache
def table(machine: str, title: str) -> list[dict[str, str]]:
    """The rows of a section's first table; the column `ratio` behind `PyTorch us` is `PyTorch`."""
    section = text(machine).split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    names = [
        head[k - 1].removesuffix(" us") if name in ("ratio", "worst") and k else name
        for k, name in enumerate(head)
    ]
    names = [
        f"{names[k - 1]}, worst" if head[k] == "worst" else name for k, name in enumerate(names)
    ]
    return [dict(zip(names, row, strict=True)) for row in rows]


def ratios(machine: str, title: str, *peers: str, threads: int | None = None) -> list[float]:
    """For each row, the time of the fastest of the peers divided by clstm's."""
    rows = table(machine, title)
    chosen = [row for row in rows if threads is None or row["threads"] == str(threads)]
    return [min(float(row[peer]) for peer in peers) for row in chosen]


def geometric_mean(values: list[float]) -> float:
    return prod(values) ** (1 / len(values))


def summary(machine: str, row: str, number: int = 0) -> list[str]:
    """The cells of a row of the summary without shapes and worst runs; `number` of equal rows."""
    pattern = rf"^\| {re.escape(row)} +\|(.*)\|$"
    cells = re.findall(pattern, text(machine), re.MULTILINE)[number]
    return [re.sub(r"\(.*\)", "", cell).strip() for cell in cells.split("|")]


def extent(values: list[float], digits: int = 2) -> str:
    """The least and the largest value: "1.02 to 13.74"."""
    return f"{min(values):.{digits}f} to {max(values):.{digits}f}"
