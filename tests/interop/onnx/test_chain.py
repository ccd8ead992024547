"""LSTM nodes of an ONNX graph as the layers of one model."""

import io
import itertools
import sys
import warnings

import numpy as np
import pytest

import clstm
from clstm import cli
from clstm.interop import onnx as interop
from tests.support.case import Case

pytestmark = pytest.mark.peers


@pytest.fixture(autouse=True)
def onnx():
    return pytest.importorskip("onnx", reason="install bench/requirements.txt for this tier")


def assert_same_model(model, expected):
    """Equal to the bit."""
    assert model._config == expected._config
    assert model.parameters.flat.tobytes() == expected.parameters.flat.tobytes()


# ---- Our own files ----


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("direction", ["forward", "reverse", "both"])
@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_round_trip_is_exact(tmp_path, num_layers, direction, dtype):
    """The file itself is single precision."""
    path = tmp_path / "model.onnx"
    flags = [False, True]
    for bias, learn, batch_first, output in itertools.product(flags, flags, flags, (None, 2)):
        drawn = {"direction": direction, "bias": bias, "learn_state": learn, "output_size": output}
        model = Case(num_layers=num_layers, **drawn).model(batch_first=batch_first)
        interop.save(model, path)
        wide = {name: array.astype(dtype) for name, array in model.state_dict().items()}
        options = {"bidirectional": direction == "both", "bias": bias, "batch_first": batch_first}
        options |= {"direction": direction} if direction != "both" else {}
        expected = clstm.LSTM(
            5, 6, num_layers, output_size=output, learn_state=learn, dtype=dtype, **options
        )
        expected.load_state_dict(wide)
        assert_same_model(clstm.load(path, dtype=dtype), expected)


def test_a_cell_with_options_is_read_as_it_was(tmp_path):
    cell = clstm.Cell(peephole=True, coupled=True, clip=0.75, hidden="relu")
    model = Case(num_layers=2, direction="both", cell=cell).model()
    interop.save(model, tmp_path / "model.onnx")
    assert_same_model(clstm.load(tmp_path / "model.onnx"), model)


def test_a_learned_state_may_be_zero_in_one_layer(tmp_path):
    model = Case(num_layers=3, direction="both", learn_state=True).model()
    with model.edit() as parameters:
        for name in ("h0", "c0"):
            parameters[name][2:4] = 0
    interop.save(model, tmp_path / "model.onnx")
    assert_same_model(clstm.load(tmp_path / "model.onnx"), model)


def test_the_command_line_knows_layers(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model = Case(num_layers=2, direction="both", output_size=2).model()
    interop.save(model, "deep.onnx")
    for arguments in (("inspect", "deep.onnx"), ("convert", "deep.onnx", "out.safetensors")):
        monkeypatch.setattr(sys, "argv", ["clstm", *arguments])
        assert cli.main() == 0
        printed = capsys.readouterr().out
        assert repr(model) in printed
        assert "note" not in printed.replace("note        it has a reverse direction", "")
    assert_same_model(clstm.load("out.safetensors"), model)


# ---- PyTorch's files ----


@pytest.mark.parametrize("free", [True, False], ids=["free sizes", "fixed sizes"])
@pytest.mark.parametrize("with_state", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_layers_that_pytorch_wrote(bidirectional, batch_first, with_state, free):
    torch = pytest.importorskip("torch", reason="install bench/requirements.txt for this tier")
    onnxruntime = pytest.importorskip("onnxruntime", reason="install bench/requirements.txt")
    options = {"num_layers": 2, "bidirectional": bidirectional, "batch_first": batch_first}
    torch.manual_seed(0)
    module, file = torch.nn.LSTM(3, 4, **options), io.BytesIO()
    x, parts = torch.randn(5, 6, 3), 4 if bidirectional else 2
    state = tuple(torch.randn(2, parts, 5 if batch_first else 6, 4)) if with_state else None
    names = ["x", "h0", "c0"] if with_state else ["x"]
    with warnings.catch_warnings():  # this way to write ONNX needs no other package
        warnings.simplefilter("ignore")
        axes = {"x": [0, 1], "h0": [1], "c0": [1]} if free else {}
        axes = {name: axes[name] for name in names if name in axes}
        torch.onnx.export(
            module,
            (x, state) if with_state else (x,),
            file,
            dynamo=False,
            input_names=names,
            dynamic_axes=axes,
            opset_version=17,
        )
    model = interop.load(file.getvalue())
    assert model._config == clstm.LSTM(3, 4, **options)._config
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    given = [array.numpy() for array in (x, *(state or ()))]
    wanted = session.run(None, dict(zip(names, given, strict=True)))
    y, final = model(given[0], tuple(given[1:]) if with_state else None)
    for actual, expected in zip((y, *final), wanted, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6)
