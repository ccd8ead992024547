"""The time of a step of small models: one thread, one sequence, one sample in."""

import pytest

from bench.measure.shapes import SMALL


@pytest.mark.parametrize("shape", SMALL, ids=lambda shape: shape.label)
def test_small(measure, shape):
    measure("forward", shape, threads=1)
