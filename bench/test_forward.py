"""Forward, the whole grid: how far from the limit, and how much longer the peers take."""

import pytest
from shapes import GRID, THREADS


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("shape", GRID, ids=lambda shape: shape.label)
def test_forward(measure, shape, threads):
    measure("forward", shape, threads)
