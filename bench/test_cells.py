"""Cost of other cells: clstm with each of them over clstm with the plain one, on the same arrays.

Other cells have kernels of their own with the same products, which dominate in a batch. Only clstm
computes, so everything runs in this process. A figure is the median over rounds; in a round both
cells have one turn, and the order rotates.
"""

from statistics import median

import numpy as np
import pytest

from bench.engines.registry import build_case
from bench.measure.case import Case
from bench.measure.cells import WITHOUT_GRADIENT
from bench.measure.shapes import OTHER_CELLS, THREADS

WORKS = [
    pytest.param(shape, work, id=f"{work}-{shape.label}")
    for shape in OTHER_CELLS
    for work in ("forward", "training")
    if work == "forward" or shape.cell not in WITHOUT_GRADIENT
]


def check(cell: Case, plain: Case) -> None:
    """Outputs are finite, and differ: the cell is in effect."""
    found, expected = cell.outputs()["y"], plain.outputs()["y"]
    assert np.isfinite(found).all()
    assert np.abs(found - expected).max() > 1e-3


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize(("shape", "work"), WORKS)
def test_cells(benchmark, keep, in_turns, shape, work, threads):
    benchmark.group = f"cells, {work}"
    shapes = {"cell": shape, "plain": shape._replace(cell="")}
    cases = {name: build_case("clstm", sizes, work, threads) for name, sizes in shapes.items()}
    check(cases["cell"], cases["plain"])
    times = in_turns(cases)
    if benchmark.disabled:
        return
    keep(
        mode="cells",
        work=work,
        shape=list(shape),
        threads=threads,
        cell_us=median(taken["cell"] for taken in times) * 1e6,
        plain_us=median(taken["plain"] for taken in times) * 1e6,
        ratio=median(taken["cell"] / taken["plain"] for taken in times),
    )
