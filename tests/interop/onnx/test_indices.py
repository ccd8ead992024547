"""Indices of an embedding that count from the end, as TensorFlow's converters write them."""

import numpy as np
import pytest

from clstm.interop import onnx as interop
from clstm.layers import Embedding
from tests.interop.onnx.compare import assert_same
from tests.interop.onnx.handmade import BATCH, INPUTS, STEPS, UNITS, Builder

pytestmark = pytest.mark.peers
WORDS = 9


@pytest.fixture(autouse=True)
def peers():
    for name in ("onnx", "onnxruntime"):
        pytest.importorskip(name, reason="install bench/requirements.txt for this tier")


def indices(builder, spelling, count):
    """x, and x + count where it is negative."""
    zero, all_of = (builder.constant(np.int32(number)) for number in (0, count))
    wrapped = builder.node("Add", "x", all_of)
    if spelling == "Sub":
        wrapped = builder.node("Sub", "x", builder.constant(np.int32(-count)))
    below = builder.node("Less", "x", zero)
    if spelling != "Mul":
        return builder.node("Where", below, wrapped, "x")
    above = builder.node("Cast", builder.node("Not", below), to=6)
    parts = [
        builder.node("Mul", builder.node("Cast", below, to=6), wrapped),
        builder.node("Mul", "x", above),
    ]
    return builder.node("Add", *parts)


def graph(spelling, count=WORDS):
    rng, builder = np.random.default_rng(0), Builder(15)

    def draw(*shape):
        return builder.constant(rng.standard_normal(shape).astype(np.float32))

    rows = builder.node("Gather", draw(WORDS, INPUTS), indices(builder, spelling, count), axis=0)
    weights = [draw(1, 4 * UNITS, INPUTS), draw(1, 4 * UNITS, UNITS)]
    turned = builder.transpose(rows, 1, 0, 2)
    _, h, _ = builder.node("LSTM", turned, *weights, outputs=3, hidden_size=UNITS)
    result = builder.squeeze(h, 0)
    return builder.model(result, ["N", "T"], ["N", UNITS], kind=6).SerializeToString()


@pytest.mark.parametrize("spelling", ["Where", "Sub", "Mul"])
def test_negative_indices_count_from_the_end(spelling):
    x = np.random.default_rng(1).integers(0, WORDS, (BATCH, STEPS)).astype(np.int32)
    model = assert_same(graph(spelling), {"x": x})
    assert isinstance(model[0], Embedding)


@pytest.mark.parametrize("spelling", ["Where", "Sub", "Mul"])
def test_other_indices_are_no_embedding(spelling):
    with pytest.raises(ValueError, match=r"Gather node .*: its indices are computed otherwise"):
        interop.load(graph(spelling, WORDS - 1))
