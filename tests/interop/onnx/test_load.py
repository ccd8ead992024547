"""ONNX files of other programs: an LSTM with or without a readout, or with further operators."""

import io
import warnings

import numpy as np
import pytest

from clstm.interop import onnx as interop
from tests.interop.onnx.models import (
    UNITS,
    constant,
    graph_of,
    in_body,
    lstm_node,
    model_of,
    weights,
)

pytestmark = pytest.mark.peers


@pytest.fixture
def onnx():
    return pytest.importorskip("onnx", reason="install bench/requirements.txt for this tier")


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_file_that_pytorch_wrote(onnx, batch_first, bidirectional):
    torch = pytest.importorskip("torch", reason="install bench/requirements.txt for this tier")

    class Tagger(torch.nn.Module):
        def __init__(self):
            super().__init__()
            options = {"batch_first": batch_first, "bidirectional": bidirectional}
            self.lstm = torch.nn.LSTM(3, 4, **options)
            self.head = torch.nn.Linear(8 if bidirectional else 4, 2)

        def forward(self, x):
            return self.head(self.lstm(x)[0])

    tagger, x, file = Tagger(), torch.randn(5, 6, 3), io.BytesIO()
    with warnings.catch_warnings():  # this way to write ONNX needs no other package
        warnings.simplefilter("ignore")
        axes = {"x": [0, 1]}
        torch.onnx.export(
            tagger, (x,), file, dynamo=False, input_names=["x"], dynamic_axes=axes, opset_version=17
        )
    model = interop.load(file.getvalue())
    assert (model.batch_first, model.bidirectional) == (batch_first, bidirectional)
    assert model.output_size == 2
    expected = tagger(x).detach().numpy()
    np.testing.assert_allclose(model(x.numpy())[0], expected, rtol=1e-5, atol=1e-6)


def readout_model(helper, *more, outputs=("y",), before=(), held=None, node=None):
    """An LSTM, its directions joined, and a readout; with other nodes where a test wants them."""
    arrays = weights() | {"axes": np.array([1]), "V": np.ones((UNITS, 2), np.float32)}
    arrays |= {"v": np.ones(2, np.float32)} | (held or {})
    nodes = [
        *before,
        node or lstm_node(),
        helper.make_node("Squeeze", ["Y", "axes"], ["h"]),
        helper.make_node("MatMul", ["h", "V"], ["p"]),
        helper.make_node("Add", ["v", "p"], ["y"]),
    ]
    return model_of(graph_of([*nodes, *more], arrays, outputs=outputs))


def more_than_an_lstm(helper):
    """Models, and how what is more in each is named."""

    def node(kind, inputs, output, **attributes):
        return helper.make_node(kind, inputs.split(), [output], name="extra", **attributes)

    def given(*roles):
        return lstm_node(given=("W", "R", "B", *roles))

    for kind in ("Erf", "LeakyRelu", "GRU", "Conv", "Attention", "ReduceMean"):
        found = f"its output 'z' comes from {kind} node 'extra'"
        yield readout_model(helper, node(kind, "y", "z"), outputs=["z"]), found
    yield readout_model(helper, outputs=["y", "h"]), "2 outputs besides the states"
    yield (
        readout_model(helper, before=[node("Erf", "x", "X")], held={"x": weights()["W"]}),
        "X of LSTM node 'lstm' comes from Erf node 'extra'",
    )
    yield readout_model(helper, held={"X": weights()["W"]}), "LSTM node 'lstm': X is a constant"
    half = [node("Abs", "X", "initial_h")]
    yield (
        readout_model(helper, before=half, node=given("initial_h")),
        "initial_h of LSTM node 'lstm' comes from Abs node 'extra'",
    )
    yield in_body("Loop", lstm_node(), weights()), "output 'out' comes from Loop node 'out'"


def test_a_file_with_more_than_an_lstm_is_refused_and_the_rest_named(onnx):
    assert interop.load(readout_model(onnx.helper)).output_size == 2
    for model, message in more_than_an_lstm(onnx.helper):
        with pytest.raises(ValueError, match=message) as caught:
            interop.load(model)
        if "initial_h" not in message:
            assert "onnx.nodes returns its LSTM nodes" in str(caught.value)
        assert interop.load(model, 0).output_size is None


def refused_shapes(helper):
    """Models whose shapes do not fit, and what is said of them."""

    def node(kind, inputs, output, **attributes):
        return helper.make_node(kind, inputs.split(), [output], name="extra", **attributes)

    yield readout_model(helper, held={"v": np.ones(3, np.float32)}), "2 elements with 3 of a"
    yield readout_model(helper, held={"V": np.ones((5, 2), np.float32)}), "3 features by a matrix"
    for axes in ([0], [2], [3], [9], [1, 1]):
        yield readout_model(helper, held={"axes": np.array(axes)}), "Squeeze node 'h'"
    both = lstm_node(direction="bidirectional")
    squeezed = [both, node("Squeeze", "Y axes", "R3")]
    yield (
        model_of(graph_of(squeezed, weights(parts=2) | {"axes": np.array([1])}, ["X"], ["R3"])),
        "Squeeze node 'extra': axis 1 has size 2, not 1",
    )
    moved = node("Transpose", "Y", "T", perm=[0, 2, 1, 3])
    joined = [lstm_node(), moved, node("Reshape", "T s", "r")]
    shaped = model_of(graph_of(joined, weights() | {"s": np.array([0, -1, 4])}, ["X"], ["r"]))
    yield shaped, "Reshape node 'extra'"


def test_shapes_that_do_not_fit_are_refused(onnx):
    for model, message in refused_shapes(onnx.helper):
        with pytest.raises(ValueError, match=message):
            interop.load(model)


def test_one_bias_of_two_is_missing(onnx):
    model = interop.load(readout_model(onnx.helper, node=lstm_node(given=("W", "R"))))
    assert not model.parameters["bias_l0"].any()
    assert (model.parameters["bias_out"] == 1).all()


def test_other_axes_of_y_are_noted(onnx):
    def turned(*perm):
        turn = onnx.helper.make_node("Transpose", ["y"], ["z"], perm=perm)
        return interop.load(readout_model(onnx.helper, turn, outputs=["z"]))

    assert turned(1, 0, 2).notes == {"axes of y": "(B, T, O)"}
    assert turned(1, 2, 0).notes == {"axes of y": "(B, O, T)"}
    assert turned(0, 1, 2).notes == {}


def test_a_node_alone_is_a_model(onnx):
    for outputs in (["Y"], ["Y", "Y_h", "Y_c"], ["Y_c"]):
        model = interop.load(model_of(graph_of([lstm_node()], weights(), outputs=outputs)))
        assert repr(model) == "LSTM(input_size=2, hidden_size=3)"


def test_a_file_without_an_lstm(onnx):
    graph = graph_of([constant(weights()["W"], "Y", "node")], {})
    assert interop.nodes(model_of(graph)) == []
    with pytest.raises(ValueError, match="no LSTM node"):
        interop.load(model_of(graph))
