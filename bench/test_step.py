"""The whole training step, from the input to the updated parameters, and its peak memory."""

import pytest

from bench.measure.shapes import STEPS, THREADS


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("shape", STEPS, ids=lambda shape: shape.label)
def test_step(measure, shape, threads):
    measure("step", shape, threads)
