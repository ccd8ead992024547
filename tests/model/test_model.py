"""The class around the numbers: construction, parameters, edit, names, files, copies."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest

import clstm
from clstm.parameters import Parameters, initialise
from tests.support.case import Case


def same(a, b):
    np.testing.assert_array_equal(a.parameters.flat, b.parameters.flat)
    assert repr(a) == repr(b)
    x = np.ones((4, 2, a.input_size))
    np.testing.assert_array_equal(a(x)[0], b(x)[0])


# ---- Construction ----


@pytest.mark.parametrize(
    ("kwargs", "error", "words"),
    [
        ({"hidden_size": 0}, ValueError, "hidden_size must be at least 1, got 0"),
        ({"input_size": -3}, ValueError, "input_size must be at least 1, got -3"),
        ({"num_layers": -1}, ValueError, "num_layers must be at least 1, got -1"),
        ({"output_size": 0}, ValueError, "output_size must be at least 1, got 0"),
        ({"hidden_size": 2.5}, TypeError, "hidden_size must be an integer, got float"),
        ({"num_layers": None}, TypeError, "num_layers must be an integer, got NoneType"),
        ({"dtype": np.float16}, ValueError, "dtype must be float32 or float64, got float16"),
        ({"dtype": ">f4"}, ValueError, "dtype must be float32 or float64, got >f4"),
    ],
)
def test_arguments_that_make_no_model(kwargs, error, words):
    with pytest.raises(error, match=words):
        clstm.LSTM(**{"input_size": 3, "hidden_size": 4, **kwargs})


def test_repr_shows_all_that_is_not_default():
    assert repr(clstm.LSTM(3, 4)) == "LSTM(input_size=3, hidden_size=4)"
    full = clstm.LSTM(3, 4, 2, output_size=5, bias=False, batch_first=True, dtype=float)
    assert repr(full) == (
        "LSTM(input_size=3, hidden_size=4, num_layers=2, output_size=5, bias=False, "
        "batch_first=True, dtype=float64)"
    )


def test_default_initialisation():
    model = clstm.LSTM(20, 30, 2, output_size=7, forget_bias=1.5, rng=0)
    for k in range(2):
        for gate in np.split(model.parameters[f"weight_hh_l{k}"], 4):
            np.testing.assert_allclose(gate @ gate.T, np.eye(30), atol=1e-5)
        expected = np.repeat([0, 1.5, 0, 0], 30)
        np.testing.assert_array_equal(model.parameters[f"bias_l{k}"], expected)
    limit = np.sqrt(6 / (20 + 30))
    largest = np.abs(model.parameters["weight_ih_l0"]).max()
    assert 0.95 * limit < largest <= limit
    assert np.abs(model.parameters["weight_out"]).max() <= np.sqrt(6 / 37)
    assert not model.parameters["bias_out"].any()


def test_a_parameter_of_another_name_begins_at_zero():
    """Even one whose name begins with bias."""
    table = [("bias_l0", (8,), 0), ("bias_other_l0", (8,), 8), ("bias_out", (4,), 16)]
    flat = np.full(20, np.nan)
    initialise(Parameters(table, flat), 1.5, np.random.default_rng(0))
    np.testing.assert_array_equal(flat, [0, 0, 1.5, 1.5] + 16 * [0])


def test_the_seed_decides():
    same(clstm.LSTM(3, 4, rng=1), clstm.LSTM(3, 4, rng=np.random.default_rng(1)))
    assert (clstm.LSTM(3, 4).parameters.flat != clstm.LSTM(3, 4).parameters.flat).any()


# ---- Parameters and edit ----


def test_parameters_are_named_views_of_one_array():
    parameters = Case(num_layers=2, output_size=3).model().parameters
    shapes = {name: array.shape for name, array in parameters.items()}
    assert shapes == {
        "weight_ih_l0": (24, 5),
        "weight_hh_l0": (24, 6),
        "bias_l0": (24,),
        "weight_ih_l1": (24, 6),
        "weight_hh_l1": (24, 6),
        "bias_l1": (24,),
        "weight_out": (3, 6),
        "bias_out": (3,),
    }
    joined = np.concatenate([array.ravel() for array in parameters.values()])
    np.testing.assert_array_equal(joined, parameters.flat)
    no_bias = Case(output_size=3, bias=False).model().parameters
    assert list(no_bias) == ["weight_ih_l0", "weight_hh_l0", "weight_out"]


def test_an_unknown_name_is_answered_with_the_known_ones():
    """Those of a reverse direction end in _reverse, also if it is the only one."""
    model = clstm.LSTM(3, 4, direction="reverse", rng=0)
    known = "weight_ih_l0_reverse, weight_hh_l0_reverse, bias_l0_reverse"
    words = rf"no parameter 'weight_ih_l0', there are: {known}"
    with pytest.raises(KeyError, match=words):
        model.parameters["weight_ih_l0"]
    with pytest.raises(KeyError, match=words), model.edit() as parameters:
        parameters["weight_ih_l0"][:] = 0
    grad = model.record(np.ones((2, 3))).backward(np.ones((2, 4)))
    with pytest.raises(KeyError, match=words):
        grad.parameters["weight_ih_l0"]
    assert "weight_ih_l0" not in model.parameters
    assert model.parameters.get("weight_ih_l0") is None
    with pytest.raises(KeyError, match="no gate 'i', there are: input, forget, cell, output"):
        model.record(np.ones((2, 3))).gates["i"]


def test_very_many_names_are_not_all_listed():
    parameters = clstm.LSTM(1, 1, 1000, output_size=1).parameters
    with pytest.raises(KeyError, match=r"_ih_l0, .*, \.\.\. \(2982 more\), bias_out") as caught:
        parameters["w" * 10_000]
    assert len(str(caught.value)) < 1000


def test_parameters_outlive_their_model():
    parameters = Case().model().parameters
    copied = parameters.flat.copy()
    np.testing.assert_array_equal(parameters.flat, copied)


def test_writing_without_edit_is_refused():
    parameters = Case().model().parameters
    for write in (
        lambda: parameters["bias_l0"].fill(0),
        lambda: parameters.flat.__setitem__(0, 1),
        lambda: setattr(parameters, "flat", 0),
    ):
        with pytest.raises(ValueError, match="read-only"):
            write()


def test_edit_takes_effect_when_it_ends():
    model = Case().model()
    before = model.parameters.flat.copy()
    with model.edit() as parameters:
        parameters["bias_l0"][:] = 3
        np.testing.assert_array_equal(model.parameters.flat, before)
    assert (model.parameters["bias_l0"] == 3).all()
    with pytest.raises(ValueError, match="read-only"):
        parameters["bias_l0"][:] = 4


def test_an_exception_in_edit_restores_the_old_values():
    model = Case().model()
    before = model.parameters.flat.copy()
    with pytest.raises(ZeroDivisionError), model.edit() as parameters:
        parameters.flat[:] = 0
        raise ZeroDivisionError
    np.testing.assert_array_equal(model.parameters.flat, before)
    model(Case().x())


def test_inside_edit_the_model_is_taken():
    model = Case().model()
    tape = model.record(Case().x())
    with model.edit():
        for use in (
            lambda: model(Case().x()),
            lambda: model.record(Case().x()),
            lambda: tape.backward(Case().dy()),
            lambda: model.load_state_dict(model.state_dict()),
            lambda: clstm.optim.SGD(model, 0.1).step(model.parameters),
        ):
            with pytest.raises(RuntimeError, match="being edited"):
                use()
    model(Case().x())


# ---- Names ----


@pytest.mark.parametrize("torch_names", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_state_dict_round_trip(torch_names, bias):
    model = Case(num_layers=2, output_size=3, bias=bias).model()
    state = model.state_dict(torch_names=torch_names)
    assert ("bias_hh_l1" in state) == (torch_names and bias)
    other = Case(num_layers=2, output_size=3, bias=bias, seed=9).model()
    other.load_state_dict(state)
    same(model, other)


def test_state_dict_holds_copies():
    model = Case().model()
    model.state_dict()["bias_l0"][:] = 9
    assert not (model.parameters["bias_l0"] == 9).any()


def test_the_pair_of_biases_is_added_up():
    model = Case().model()
    state = model.state_dict(torch_names=True)
    state["bias_ih_l0"], state["bias_hh_l0"] = np.arange(24.0), np.full(24, 0.5)
    model.load_state_dict(state)
    np.testing.assert_array_equal(model.parameters["bias_l0"], np.arange(24) + 0.5)


def test_prefix_picks_names_out_of_a_larger_model():
    model = Case().model()
    larger = {f"encoder.lstm.{n}": v for n, v in model.state_dict(torch_names=True).items()}
    larger |= {"encoder.norm.weight": np.ones(3), "head.weight": np.ones((2, 2))}
    other = Case(seed=5).model()
    other.load_state_dict(larger, prefix="encoder.lstm.")
    same(model, other)
    with pytest.raises(KeyError, match=r"missing.*decoder\.weight_ih_l0"):
        other.load_state_dict(larger, prefix="decoder.")


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda d: d.pop("weight_hh_l0"), KeyError, "missing from the state dict: weight_hh_l0"),
        (lambda d: d.pop("bias_l0"), KeyError, "missing from the state dict: bias_l0"),
        (lambda d: d.update(extra=np.ones(1)), KeyError, "unknown in the state dict: extra"),
        (
            lambda d: d.update(bias_ih_l0=np.ones(24)),
            KeyError,
            "unknown in the state dict: bias_ih",
        ),
        (
            lambda d: d.update(bias_l0=np.ones(6)),
            ValueError,
            r"bias_l0 has shape \(6,\), expected \(24,\)",
        ),
        (
            lambda d: d.update(bias_l0=[1] * 24),
            TypeError,
            "bias_l0 must be a NumPy array, got list",
        ),
        (lambda d: d.update(bias_l0=np.ones(24, complex)), TypeError, "must hold real numbers"),
    ],
)
def test_a_state_dict_that_does_not_fit_changes_nothing(change, error, words):
    model = Case().model()
    before = model.parameters.flat.copy()
    state = {name: array + 1 for name, array in model.state_dict().items()}
    change(state)
    with pytest.raises(error, match=words):
        model.load_state_dict(state)
    np.testing.assert_array_equal(model.parameters.flat, before)
    model(Case().x())


# ---- Files and copies ----

MODELS = [
    Case(),
    Case(num_layers=3, output_size=2, dtype=np.float64),
    Case(bias=False, output_size=1),
]


@pytest.mark.parametrize("case", MODELS)
def test_save_and_load(case, tmp_path):
    model = case.model()
    model.save(tmp_path / "m.safetensors")
    same(model, clstm.LSTM.load(tmp_path / "m.safetensors"))
    same(model, clstm.LSTM.load(str(tmp_path / "m.safetensors")))


@pytest.mark.parametrize("case", MODELS)
@pytest.mark.parametrize(
    "copier", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))]
)
def test_copies_are_equal_and_independent(case, copier):
    model = case.model()
    other = copier(model)
    same(model, other)
    with other.edit() as parameters:
        parameters.flat += 1
    assert (model.parameters.flat != other.parameters.flat).all()


def test_loading_and_copying_draw_no_weights(tmp_path, monkeypatch):
    model = Case().model()
    model.save(tmp_path / "m.safetensors")
    monkeypatch.setattr(np.linalg, "qr", None)
    same(copy.deepcopy(model), clstm.LSTM.load(tmp_path / "m.safetensors"))


def test_the_file_is_plain_safetensors(tmp_path):
    from safetensors import safe_open

    model = Case(num_layers=2, output_size=3).model()
    model.save(tmp_path / "m.safetensors")
    with safe_open(tmp_path / "m.safetensors", framework="numpy") as file:
        assert set(file.keys()) == set(model.parameters)
        metadata = file.metadata()
    assert metadata["clstm.format"] == "1"
    assert metadata["clstm.hidden_size"] == "6"
    assert all(isinstance(value, str) and "{" not in value for value in metadata.values())


def test_a_file_cut_anywhere_is_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    Case(output_size=2).model().save(path)
    whole = path.read_bytes()
    for length in [*range(0, 64), *range(64, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"m\.safetensors"):
            clstm.LSTM.load(path)


def rewritten(path, **changes):
    """The file with metadata entries changed, or dropped where None."""
    from safetensors import safe_open
    from safetensors.numpy import save_file

    with safe_open(path, framework="numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    for name, value in changes.items():
        metadata.pop(f"clstm.{name}")
        if value is not None:
            metadata[f"clstm.{name}"] = value
    save_file(tensors, path, metadata or None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": None}, "was not written by LSTM.save"),
        ({"format": "2"}, "got '2'"),
        ({"hidden_size": None}, "no clstm.hidden_size"),
        ({"hidden_size": "7"}, "has shape"),
        ({"hidden_size": "-6"}, "clstm.hidden_size is '-6', expected a number"),
        ({"num_layers": "2"}, "missing from the state dict: weight_ih_l1"),
        ({"output_size": "0"}, "unknown in the state dict: bias_out"),
        ({"bias": "maybe"}, "clstm.bias is 'maybe', expected True or False"),
        ({"dtype": "float16"}, "dtype must be float32 or float64"),
        ({"dtype": "no type"}, "holds no valid model"),
        ({"hidden_size": "9" * 30}, "holds no valid model"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(changes, words, tmp_path):
    path = tmp_path / "m.safetensors"
    Case(output_size=2).model().save(path)
    rewritten(path, **changes)
    with pytest.raises(ValueError, match=words):
        clstm.LSTM.load(path)


def test_files_of_other_origin(tmp_path):
    with pytest.raises(FileNotFoundError):
        clstm.LSTM.load(tmp_path / "none.safetensors")
    text = tmp_path / "text.safetensors"
    text.write_text("not a model, but long enough to hold a header length")
    with pytest.raises(ValueError, match=r"text\.safetensors is not a safetensors file"):
        clstm.LSTM.load(text)


# ---- The module ----


def test_show_config_names_isa_and_engine(capsys):
    clstm.show_config()
    shown = capsys.readouterr().out
    for word in ("version", "isa", "engine", "openmp", "threads", "blas"):
        assert f"{word} " in shown
    assert clstm.config()["isa"] in clstm.config()["isas"]
    command = [sys.executable, "-m", "clstm"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == shown


def test_an_unknown_instruction_set_is_a_clear_error():
    script = "import clstm, numpy as np; clstm.LSTM(1, 1)(np.zeros((1, 1, 1)))"
    result = subprocess.run(
        [sys.executable, "-c", script],
        env={"CLSTM_ISA": "sse9"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "CLSTM_ISA names no instruction set" in result.stderr
    assert "generic" in result.stderr
