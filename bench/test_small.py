"""The time of a step of small models: one thread, one sample in, one sequence or a few."""

import pytest

from bench.measure.shapes import FEW, SMALL


@pytest.mark.parametrize("shape", SMALL + FEW, ids=lambda shape: shape.label)
def test_small(measure, shape):
    measure("forward", shape, threads=1)
