"""Time saved by lengths: clstm with `lengths=` over clstm on the same arrays with all rows full.

Half of the rows' steps are padding, in three distributions. A few rows cost about as much as one,
because each step reads all weights, so a batch of them is also compared with the sum of its steps:
a step costs as much as one of a full batch of the rows that are left.

Only clstm computes, so everything runs in this process. A figure is the median over rounds; in a
round every case has one turn, and the order rotates.
"""

from statistics import median

import numpy as np
import pytest

from bench.engines.arrays import without_padding
from bench.engines.registry import build_case
from bench.measure.case import Case
from bench.measure.lengths import active_rows
from bench.measure.shapes import FEW_ROWS, HALF_FULL, THREADS, Shape


def check(shape: Shape, ragged: Case, full: Case) -> None:
    """y is the same up to the ends of the rows, and zero after them."""
    expected = without_padding(shape, full.outputs()["y"])
    np.testing.assert_allclose(ragged.outputs()["y"], expected, rtol=0, atol=1e-5)


def figures(times: list[dict[str, float]], steps: list[float] | None) -> dict[str, float]:
    """Medians over rounds; `steps` is the sum of the steps' costs in every round."""
    found = {name: median(taken[name] for taken in times) * 1e6 for name in ("ragged", "full")}
    found = {f"{name}_us": value for name, value in found.items()}
    found["ratio"] = median(taken["ragged"] / taken["full"] for taken in times)
    if steps is not None:
        found["steps_us"] = median(steps) * 1e6
        pairs = zip(times, steps, strict=True)
        found["ratio_to_steps"] = median(taken["ragged"] / cost for taken, cost in pairs)
    return found


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("work", ["forward", "training"])
@pytest.mark.parametrize("shape", HALF_FULL + FEW_ROWS, ids=lambda shape: shape.label)
def test_lengths(benchmark, keep, in_turns, shape, work, threads):
    benchmark.group = f"lengths, {work}"
    full = shape._replace(lengths="")
    shapes = {"ragged": shape, "full": full}
    active = active_rows(shape.row_lengths)
    few = shape in FEW_ROWS
    if few:
        shapes |= {str(rows): full._replace(batch=rows) for rows in active if rows < shape.batch}
    cases = {name: build_case("clstm", sizes, work, threads) for name, sizes in shapes.items()}
    check(shape, cases["ragged"], cases["full"])
    times = in_turns(cases)
    if benchmark.disabled:
        return
    steps = [steps_seconds(taken, shape, active) for taken in times] if few else None
    case = {"mode": "lengths", "work": work, "shape": list(shape), "threads": threads}
    keep(**case, **figures(times, steps))


def steps_seconds(taken: dict[str, float], shape: Shape, active: dict[int, int]) -> float:
    """The sum of all steps' costs, each at the number of rows that are left."""
    costs = {rows: taken[str(rows) if rows < shape.batch else "full"] for rows in active}
    return sum(count * costs[rows] / shape.steps for rows, count in active.items())
