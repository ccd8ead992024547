"""Two directions, and a projection of the hidden state: forward, and forward and backward.

ONNX Runtime has no projection, so PyTorch is the only peer there.
"""

import pytest

from bench.measure.shapes import BIDIRECTIONAL, PROJECTED, THREADS


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("mode", ["forward", "training"])
@pytest.mark.parametrize("shape", BIDIRECTIONAL + PROJECTED, ids=lambda shape: shape.label)
def test_options(measure, shape, mode, threads):
    measure(mode, shape, threads)
