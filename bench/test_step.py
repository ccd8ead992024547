"""The whole training step, and how much memory it takes: from the input to changed parameters."""

import pytest

from bench.measure.shapes import STEPS, THREADS


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("shape", STEPS, ids=lambda shape: shape.label)
def test_step(measure, shape, threads):
    measure("step", shape, threads)
