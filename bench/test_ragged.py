"""Rows of their own lengths, spread evenly over 1 to T, beside all ways that the peers have.

PyTorch: packed from padded x and unpacked to padded y; packed before; padded, lengths not known.
ONNX Runtime: lengths as an input of the LSTM; padded. clstm: `lengths=`; a list of sequences.
These are many: forward and backward is measured on all threads only, to be done in minutes.
"""

import pytest

from bench.measure.shapes import RAGGED, THREADS


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("shape", RAGGED, ids=lambda shape: shape.label)
def test_ragged_forward(measure, shape, threads):
    measure("forward", shape, threads)


@pytest.mark.parametrize("shape", RAGGED, ids=lambda shape: shape.label)
def test_ragged_training(measure, shape):
    measure("training", shape, THREADS[-1])
