"""Rows with lengths, spread evenly over 1 to T, in all ways that clstm and its peers have.

PyTorch: packed from padded x and unpacked to padded y; packed in advance; padded without lengths.
ONNX Runtime: lengths as an input of the LSTM; padded. clstm: `lengths=`; a list of sequences.
Forward and backward is measured on all threads only, so that these many ways take minutes.
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
