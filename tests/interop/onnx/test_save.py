"""Models as ONNX files: run by ONNX Runtime, and read again."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import clstm
from clstm.interop import onnx as interop
from tests.support.case import Case

VARIANT = clstm.Cell(
    peephole=True,
    clip=0.75,
    gate="hard_sigmoid",
    cell=clstm.Activation("elu", 0.5),
    hidden=clstm.Activation("scaled_tanh", 1.25, 0.5),
)
CASES = {
    "plain": Case(),
    "three layers": Case(num_layers=3, output_size=2),
    "both directions": Case(direction="both", num_layers=2, output_size=3),
    "reverse": Case(direction="reverse", num_layers=2),
    "no bias": Case(bias=False, output_size=1),
    "learned state": Case(learn_state=True, num_layers=2, direction="both", output_size=2),
    "coupled": Case(cell=clstm.Cell(coupled=True, peephole=True)),
    "functions": Case(cell=VARIANT, direction="both", num_layers=2),
}


@pytest.fixture
def onnx():
    return pytest.importorskip("onnx", reason="install bench/requirements.txt for this tier")


@pytest.fixture
def session(onnx, tmp_path):
    """Save a model and open it."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="install bench/requirements.txt")

    def opened(model):
        interop.save(model, tmp_path / "model.onnx")
        onnx.checker.check_model(onnx.load(tmp_path / "model.onnx"), full_check=True)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # it warns of initializers that are inputs
        return onnxruntime.InferenceSession(tmp_path / "model.onnx", options)

    return opened


def assert_close(actual, expected):
    for a, e in zip(actual, expected, strict=True):
        assert a.shape == e.shape
        np.testing.assert_allclose(a, e, rtol=1e-5, atol=2e-6)


# ---- Written ----


@pytest.mark.peers
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_onnx_runtime_computes_the_same(session, name, batch_first):
    case = CASES[name]
    model = case.model(batch_first=batch_first)
    opened = session(model)
    for steps, batch in ((7, 3), (1, 1), (4, 2)):
        sized = replace(case, steps=steps, batch=batch)
        x = sized.x().swapaxes(0, 1) if batch_first else sized.x()
        h, c = sized.state()
        y, state = model(x, (h, c))
        x = np.ascontiguousarray(x)
        assert_close(opened.run(None, {"x": x, "h0": h, "c0": c}), (y, *state))


@pytest.mark.peers
def test_a_model_goes_on_from_the_states_that_came_out(session):
    model = CASES["both directions"].model()
    opened, x = session(model), CASES["both directions"].x()
    state = model(x)[1]
    y, final = model(x, state)
    zeros = np.zeros_like(state[0])
    _, h, c = opened.run(None, {"x": x, "h0": zeros, "c0": zeros})
    assert_close(opened.run(None, {"x": x, "h0": h, "c0": c}), (y, *final))


@pytest.mark.peers
def test_inputs_and_outputs_have_names_and_free_axes(session):
    opened = session(Case(num_layers=2, output_size=2).model())
    shapes = {v.name: v.shape for v in [*opened.get_inputs(), *opened.get_outputs()]}
    state = [2, "batch", 6]
    assert shapes == {
        "x": ["time", "batch", 5],
        "h0": state,
        "c0": state,
        "y": ["time", "batch", 2],
        "h_n": state,
        "c_n": state,
    }


@pytest.mark.peers
def test_a_learned_state_is_the_default(session):
    case = CASES["learned state"]
    model, x = case.model(), case.x()
    y, state = model(x)
    assert_close(session(model).run(None, {"x": x}), (y, *state))


@pytest.mark.peers
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"proj_size": 2}, "proj_size is 2"),
        ({"cell": clstm.Cell(cell_clip=3.0)}, "cell_clip is 3.0"),
        ({"dtype": np.float64}, "dtype is float64"),
        ({"cell": clstm.Cell(clip=1e-60)}, "clip is 1e-60"),
        ({"cell": clstm.Cell(gate=clstm.Activation("elu", 1e60))}, r"alpha is 1e\+60"),
    ],
)
def test_options_without_an_onnx_equivalent_are_refused(onnx, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        interop.save(clstm.LSTM(2, 3, **options), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


# ---- Read again ----


def assert_same_model(model, expected):
    assert repr(model) == repr(expected)
    assert model.parameters.keys() == expected.parameters.keys()
    for name, array in expected.parameters.items():
        np.testing.assert_array_equal(model.parameters[name], array)


@pytest.mark.peers
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("output_size", [None, 2])
def test_a_model_of_one_layer_is_read_as_it_was(onnx, tmp_path, name, batch_first, output_size):
    case = replace(CASES[name], num_layers=1, output_size=output_size)
    model = case.model(batch_first=batch_first)
    interop.save(model, tmp_path / "model.onnx")
    loaded = interop.load(tmp_path / "model.onnx")
    if name == "functions":  # 0.2 in single precision
        assert loaded.cell.gate.alpha == np.float32(0.2)
        gate = clstm.Activation("hard_sigmoid", float(np.float32(0.2)))
        kept = {n: getattr(VARIANT, n) for n in ("peephole", "clip", "cell", "hidden")}
        config = replace(model._config, cell=clstm.Cell(gate=gate, **kept))
        model = clstm.LSTM.from_state(config, model.state_dict())
    assert_same_model(loaded, model)


@pytest.mark.peers
def test_layers_are_nodes_of_their_own(onnx, tmp_path):
    model = CASES["learned state"].model()
    path = tmp_path / "model.onnx"
    interop.save(model, path)
    nodes = interop.nodes(path)
    assert [node.name for node in nodes] == ["lstm_l0", "lstm_l1"]
    for layer, (_, lstm, given) in enumerate(nodes):
        assert given == ()
        for name, array in lstm.parameters.items():
            if name in ("h0", "c0"):
                expected = model.parameters[name][2 * layer : 2 * layer + 2]
            else:
                expected = model.parameters[name.replace("l0", f"l{layer}")]
            np.testing.assert_array_equal(array, expected)
    for chosen in (1, -1, "lstm_l1"):
        assert_same_model(interop.load(path, chosen), nodes[1].lstm)
    for chosen, message in (
        (2, "no LSTM node 2; there are: 0"),
        ("lstm", "no LSTM node is 'lstm'"),
    ):
        with pytest.raises(ValueError, match=message):
            interop.load(path, chosen)


# ---- Without the package ----


def test_onnx_is_imported_where_it_is_used():
    code = "import sys, clstm.interop.onnx; print('onnx' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"


def test_without_onnx_the_error_names_the_package_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    for call in (interop.read, interop.load, interop.nodes):
        with pytest.raises(ImportError, match="pip install onnx"):
            call(tmp_path / "model.onnx")
    with pytest.raises(ImportError, match="pip install onnx"):
        interop.save(clstm.LSTM(2, 3), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
