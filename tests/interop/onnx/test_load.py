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

    yield readout_model(helper, node("Relu", "y", "z"), outputs=["z"]), "Relu node 'extra'"
    yield readout_model(helper, outputs=["y", "h"]), "2 outputs besides the states"
    yield (
        readout_model(helper, before=[node("Tanh", "x", "X")], held={"x": weights()["W"]}),
        "X comes from Tanh node 'extra'",
    )
    yield readout_model(helper, held={"X": weights()["W"]}), "X comes from the constant 'X'"
    yield readout_model(helper, held={"axes": np.array([0])}), "Squeeze node 'h'"
    yield (
        readout_model(helper, held={"v": np.ones(1, np.float32)}),
        r"adds an array of shape \(1,\)",
    )
    yield (
        readout_model(helper, node=lstm_node(given=("W", "R"))),
        "only one of the LSTM and its readout has a bias",
    )
    yield (
        readout_model(helper, node("Transpose", "y", "z", perm=[1, 0, 2]), outputs=["z"]),
        "transposes only one of x and y",
    )
    for perm, shape in (([0, 1, 2, 3], [0, 0, -1]), ([0, 2, 1, 3], [0, -1, 3])):
        joined = [node("Transpose", "Y", "T", perm=perm), node("Reshape", "T shape", "R3")]
        yield (
            model_of(
                graph_of(
                    [lstm_node(), *joined], weights() | {"shape": np.array(shape)}, ["X"], ["R3"]
                )
            ),
            "output comes from Reshape node 'extra'",
        )
    both = lstm_node(direction="bidirectional")
    squeezed = [both, node("Squeeze", "Y axes", "R3")]
    yield (
        model_of(graph_of(squeezed, weights(parts=2) | {"axes": np.array([1])}, ["X"], ["R3"])),
        "output comes from Squeeze node 'extra'",
    )
    half = [node("Abs", "X", "initial_h")]
    yield (
        readout_model(helper, before=half, node=given("initial_h")),
        "initial_h comes from Abs node 'extra'",
    )
    yield in_body("If", lstm_node(), weights()), "is in a nested graph"


def test_a_file_with_more_than_an_lstm_is_refused_and_the_rest_named(onnx):
    assert interop.load(readout_model(onnx.helper)).output_size == 2
    for model, message in more_than_an_lstm(onnx.helper):
        with pytest.raises(ValueError, match=f"{message}.*onnx.read returns its LSTM nodes"):
            interop.load(model)
        assert interop.load(model, 0).output_size is None


def test_a_node_alone_is_a_model(onnx):
    for outputs in (["Y"], ["Y", "Y_h", "Y_c"], ["Y_c"]):
        model = interop.load(model_of(graph_of([lstm_node()], weights(), outputs=outputs)))
        assert repr(model) == "LSTM(input_size=2, hidden_size=3)"


def test_a_file_without_an_lstm(onnx):
    graph = graph_of([constant(weights()["W"], "Y", "node")], {})
    assert interop.read(model_of(graph)) == []
    with pytest.raises(ValueError, match="no LSTM node"):
        interop.load(model_of(graph))
