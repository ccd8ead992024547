"""Forward, the grid and the odd shapes: clstm beside the limit and the peers."""

import pytest

from bench.measure.shapes import GRID, ODD, THREADS


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("shape", GRID + ODD, ids=lambda shape: shape.label)
def test_forward(measure, shape, threads):
    measure("forward", shape, threads)
