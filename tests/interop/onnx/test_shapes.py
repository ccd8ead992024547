"""Shapes of a node's inputs are checked whatever their values are, and whoever computes them."""

import numpy as np
import pytest

from clstm.interop import onnx as interop
from tests.interop.onnx.models import INPUTS, UNITS, graph_of, lstm_node, model_of, weights

pytestmark = pytest.mark.peers


@pytest.fixture(autouse=True)
def onnx():
    return pytest.importorskip("onnx", reason="install bench/requirements.txt for this tier")


def declared(role, *sizes):
    """A model that declares the shape of an input; None is a size that is not declared."""
    from onnx import TensorProto, helper

    roles = ["W", "R", "B", *({role} - {"X"})]
    model = model_of(graph_of([lstm_node(given=roles)], weights(), ["X"]))
    kind = TensorProto.INT32 if role == "sequence_lens" else TensorProto.FLOAT
    kept = [value for value in model.graph.input if value.name != role]
    del model.graph.input[:]
    model.graph.input.extend([*kept, helper.make_tensor_value_info(role, kind, list(sizes))])
    return model


@pytest.mark.parametrize(
    ("role", "right", "wrong", "message"),
    [
        ("X", (None, 4, INPUTS), (None, 4, 5), r"X has shape \(\?, 4, 5\), expected \(T, B, 2\)"),
        ("X", (None, None, None), (None, INPUTS), r"X has shape \(\?, 2\), expected \(T, B, 2\)"),
        ("sequence_lens", (4,), (4, 1), r"sequence_lens has shape \(4, 1\), expected \(B,\)"),
        ("initial_h", (1, None, UNITS), (1, None, 4), r"initial_h has shape \(1, \?, 4\), exp"),
        ("initial_c", (None, 4, UNITS), (2, 4, UNITS), r"initial_c has shape \(2, 4, 3\), exp"),
    ],
)
def test_declared_shapes(role, right, wrong, message):
    (found,) = interop.nodes(declared(role, *right))
    assert found.given == (() if role == "X" else (role,))
    with pytest.raises(ValueError, match=f"LSTM node 'lstm': {message}"):
        interop.nodes(declared(role, *wrong))


def test_a_shape_is_declared_through_a_transpose():
    from onnx import TensorProto, helper

    for perm, fits in (([1, 0, 2], True), ([2, 1, 0], False), ([0, 0, 9], False), (None, False)):
        given = {} if perm is None else {"perm": perm}
        turned = helper.make_node("Transpose", ["x"], ["X"], **given)
        model = model_of(graph_of([turned, lstm_node()], weights(), []))
        sizes = [4, None, INPUTS]
        model.graph.input.extend([helper.make_tensor_value_info("x", TensorProto.FLOAT, sizes)])
        if fits:
            assert len(interop.nodes(model)) == 1
        else:
            words = r"X has shape \(2, \?, 4\), expected \(T, B, 2\)|perm is \[0, 0, 9\]"
            with pytest.raises(ValueError, match=words):
                interop.nodes(model)


def test_a_constant_x():
    for size in (INPUTS, 5):
        held = weights() | {"X": np.zeros((4, 1, size), np.float32)}
        model = model_of(graph_of([lstm_node()], held, []))
        if size == INPUTS:
            assert len(interop.nodes(model)) == 1
        else:
            with pytest.raises(ValueError, match=r"X has shape \(4, 1, 5\), expected \(T, B, 2\)"):
                interop.nodes(model)


def test_very_many_axes_are_not_all_shown():
    with pytest.raises(ValueError, match="input 'X' has more than 64 axes") as caught:
        interop.nodes(declared("X", *[1] * 10_000))
    assert len(str(caught.value)) < 200


def zeros_by(kind, size):
    """Nodes that make a state of zeros, its first axis known, and their constants."""
    from onnx import helper

    def node(kind, inputs, output, **attributes):
        return helper.make_node(kind, inputs.split(), [output], name=output, **attributes)

    batch = [
        node("Shape", "X", "sizes"),
        node("Gather", "sizes second", "rows", axis=0),
        node("Unsqueeze", "rows first", "row"),
        node("Concat", "parts row units", "size", axis=0),
    ]
    held = {
        "second": np.array(1),
        "first": np.array([0]),
        "parts": np.array([2 if kind == "Slice" else 1]),
        "units": np.array([size]),
        "one": np.zeros((1, 1, 1), np.float32),
        "from": np.array([1]),
        "to": np.array([2]),
    }
    made = {
        "ConstantOfShape": [node("ConstantOfShape", "size", "initial_h")],
        "Expand": [node("Expand", "one size", "initial_h")],
        "Slice": [
            node("ConstantOfShape", "size", "all"),
            node("Slice", "all from to first", "initial_h"),
        ],
        "Transpose": [
            node("ConstantOfShape", "size", "all"),
            node("Transpose", "all", "turned", perm=[2, 1, 0]),
            node("Transpose", "turned", "initial_h", perm=[2, 1, 0]),
        ],
        "Unsqueeze": [
            node("ConstantOfShape", "size", "all"),
            node("Squeeze", "all first", "flat"),
            node("Unsqueeze", "flat first", "initial_h"),
        ],
        "Identity": [
            node("ConstantOfShape", "size", "all"),
            node("Identity", "all", "initial_h"),
        ],
    }[kind]
    return [*batch, *made], held


@pytest.mark.parametrize(
    "kind", ["ConstantOfShape", "Expand", "Slice", "Transpose", "Unsqueeze", "Identity"]
)
def test_zeros_that_are_computed(kind):
    for size in (UNITS, UNITS + 1):
        nodes, held = zeros_by(kind, size)
        node = lstm_node(given=("W", "R", "B", "initial_h"))
        model = model_of(graph_of([*nodes, node], weights() | held))
        if size == UNITS:
            (found,) = interop.nodes(model)
            assert not found.given and not found.lstm.learn_state
            continue
        words = r"initial_h has shape \(1, \?, 4\), expected \(1, B, 3\)"
        with pytest.raises(ValueError, match=words):
            interop.nodes(model)
