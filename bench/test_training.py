"""Forward and backward, the whole grid: gradients of x and of every parameter."""

import pytest

from bench.measure.shapes import GRID, THREADS


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("shape", GRID, ids=lambda shape: shape.label)
def test_training(measure, shape, threads):
    measure("training", shape, threads)
