"""The options of a model: in repr, parameter names, files and copies."""

import copy
import itertools
import pickle

import numpy as np
import pytest

import clstm
from tests.support.bounds import assert_identical
from tests.support.case import Case
from tests.support.options import Pass

DEFAULTS = {"bidirectional": False, "direction": "forward", "proj_size": 0, "learn_state": False}

CASES = [
    Case(5, 2, direction=direction, proj_size=proj_size, learn_state=learn_state, **others)
    for (direction, proj_size, learn_state), others in zip(
        itertools.product(("forward", "reverse", "both"), (0, 4), (False, True)),
        itertools.cycle(
            [
                {"num_layers": 2},
                {"output_size": 3, "dtype": np.float64},
                {"num_layers": 3, "output_size": 2, "bias": False},
            ]
        ),
        strict=False,
    )
]
every_option = pytest.mark.parametrize(
    "case", CASES, ids=lambda c: f"{c.direction}-R{c.proj_size}-{c.learn_state}-L{c.num_layers}"
)


def same(model, other, case):
    """Equal in what they are and compute."""
    assert repr(model) == repr(other)
    for name in DEFAULTS:
        assert getattr(model, name) == getattr(other, name)
    assert list(model.parameters) == list(other.parameters)
    assert_identical(other.parameters.flat, model.parameters.flat)
    for one in (Pass(case), Pass(case, with_state=False)):
        assert_identical(one.call(other)[0], one.call(model)[0])


@pytest.mark.parametrize(
    ("kwargs", "error", "words"),
    [
        ({"direction": "backward"}, ValueError, "direction must be 'forward' or 'reverse'"),
        ({"direction": "bidirectional"}, ValueError, "direction must be .* not 'bidirectional'"),
        ({"direction": ""}, ValueError, "direction must be"),
        ({"direction": None}, (TypeError, ValueError), "direction must be"),
        ({"direction": 1}, (TypeError, ValueError), "direction must be"),
        (
            {"direction": "reverse", "bidirectional": True},
            ValueError,
            "(?s)direction.*bidirectional.*both",
        ),
        ({"proj_size": 4}, ValueError, "proj_size.*hidden_size"),
        ({"proj_size": 5}, ValueError, "proj_size.*hidden_size"),
        ({"proj_size": -1}, ValueError, "proj_size must be .*-1"),
        ({"proj_size": 2.0}, TypeError, "proj_size must be an integer, got float"),
        ({"proj_size": None}, TypeError, "proj_size must be an integer, got NoneType"),
        ({"proj_size": 1, "hidden_size": 1}, ValueError, "proj_size.*hidden_size"),
        ({"dropout": 0.5}, TypeError, "dropout"),  # it is a pass's, not the model's
    ],
)
def test_arguments_that_make_no_model(kwargs, error, words):
    with pytest.raises(error, match=words):
        clstm.LSTM(**{"input_size": 3, "hidden_size": 4, **kwargs})


def test_omitted_options_have_defaults():
    model = clstm.LSTM(3, 4, rng=0)
    assert {name: getattr(model, name) for name in DEFAULTS} == DEFAULTS
    explicit = clstm.LSTM(3, 4, rng=0, **DEFAULTS)
    assert repr(model) == repr(explicit) == "LSTM(input_size=3, hidden_size=4)"
    assert list(model.parameters) == ["weight_ih_l0", "weight_hh_l0", "bias_l0"]
    assert_identical(explicit.parameters.flat, model.parameters.flat)


@every_option
def test_properties_return_the_arguments(case):
    model = case.model()
    assert model.bidirectional is (case.direction == "both")
    assert model.direction == ("reverse" if case.direction == "reverse" else "forward")
    assert model.proj_size == case.proj_size
    assert model.learn_state is case.learn_state
    for name in DEFAULTS:
        with pytest.raises(AttributeError):
            setattr(model, name, DEFAULTS[name])


@every_option
def test_repr_is_the_call_that_makes_such_a_model(case):
    model = case.model(batch_first=True)
    shown = repr(model)
    for name, default in DEFAULTS.items():
        assert (f"{name}=" in shown) == (getattr(model, name) != default)
    names = {"LSTM": clstm.LSTM, "float64": np.float64}
    again = eval(shown, names)
    assert repr(again) == shown
    shapes = [(name, array.shape) for name, array in model.parameters.items()]
    assert [(name, array.shape) for name, array in again.parameters.items()] == shapes


@every_option
def test_save_and_load(case, tmp_path):
    model = case.model()
    model.save(tmp_path / "m.safetensors")
    same(model, clstm.LSTM.load(tmp_path / "m.safetensors"), case)


@every_option
@pytest.mark.parametrize(
    "copier", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))]
)
def test_copies_are_equal_and_independent(case, copier):
    model = case.model()
    other = copier(model)
    same(model, other, case)
    with other.edit() as parameters:
        parameters.flat += 1
    assert (model.parameters.flat != other.parameters.flat).all()


@every_option
@pytest.mark.parametrize("torch_names", [False, True])
def test_state_dict_round_trip(case, torch_names):
    model = case.model()
    state = model.state_dict(torch_names=torch_names)
    if torch_names and case.bias:
        assert not any(name.startswith("bias_l") for name in state)
        suffix = "_reverse" if case.direction == "reverse" else ""
        assert not state[f"bias_hh_l0{suffix}"].any()
        np.testing.assert_array_equal(
            state[f"bias_ih_l0{suffix}"], model.parameters[f"bias_l0{suffix}"]
        )
    if not torch_names:
        assert list(state) == list(model.parameters)
    other = Case(**(vars(case) | {"seed": 9})).model()
    assert (other.parameters.flat != model.parameters.flat).any()
    other.load_state_dict(
        {f"encoder.{name}": array for name, array in state.items()}, prefix="encoder."
    )
    same(model, other, case)


def test_the_pair_of_biases_of_the_reverse_direction_is_added_up():
    model = Case(direction="both").model()
    state = model.state_dict(torch_names=True)
    state["bias_ih_l0_reverse"], state["bias_hh_l0_reverse"] = np.arange(24.0), np.full(24, 0.5)
    model.load_state_dict(state)
    np.testing.assert_array_equal(model.parameters["bias_l0_reverse"], np.arange(24) + 0.5)
    assert (model.parameters["bias_l0"] == state["bias_ih_l0"]).all()
    del state["bias_hh_l0_reverse"]
    with pytest.raises(KeyError, match=r"missing from the state dict: bias_l0_reverse"):
        model.load_state_dict(state)


def test_a_state_dict_of_another_direction_is_refused():
    forward, reverse, both = (Case(direction=d).model() for d in ("forward", "reverse", "both"))
    with pytest.raises(KeyError, match="missing from the state dict: weight_ih_l0_reverse"):
        both.load_state_dict(forward.state_dict())
    with pytest.raises(KeyError, match=r"unknown in the state dict: .*weight_ih_l0_reverse"):
        forward.load_state_dict(both.state_dict())
    with pytest.raises(KeyError, match="missing from the state dict: weight_ih_l0_reverse"):
        reverse.load_state_dict(forward.state_dict())


def saved(path, case):
    from safetensors import safe_open

    case.model().save(path)
    with safe_open(path, framework="numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return tensors, file.metadata()


def test_the_file_describes_the_model(tmp_path):
    _, metadata = saved(tmp_path / "m", Case(direction="both", proj_size=4, learn_state=True))
    assert metadata["clstm.bidirectional"] == "True"
    assert metadata["clstm.direction"] == "forward"
    assert metadata["clstm.proj_size"] == "4"
    assert metadata["clstm.learn_state"] == "True"
    _, metadata = saved(tmp_path / "m", Case(direction="reverse"))
    assert metadata["clstm.direction"] == "reverse"
    assert metadata["clstm.bidirectional"] == "False"
    assert metadata["clstm.proj_size"] == "0"


def test_files_of_before_these_options_are_read(tmp_path):
    """They have none of the entries, and mean the defaults."""
    from safetensors.numpy import save_file

    case = Case(num_layers=2, output_size=2)
    tensors, metadata = saved(tmp_path / "m", case)
    older = {n: v for n, v in metadata.items() if n.removeprefix("clstm.") not in DEFAULTS}
    assert len(older) == len(metadata) - 4
    save_file(tensors, tmp_path / "older", older)
    same(case.model(), clstm.LSTM.load(tmp_path / "older"), case)


def test_entries_of_a_later_version_are_refused(tmp_path):
    """An unknown entry of ours would be computed wrongly; entries of others are ignored."""
    from safetensors.numpy import save_file

    tensors, metadata = saved(tmp_path / "m", Case())
    save_file(tensors, tmp_path / "theirs", metadata | {"author": "x", "clstm": "y"})
    same(Case().model(), clstm.LSTM.load(tmp_path / "theirs"), Case())
    for name in ("layer_norm", "hidden_size.l1", ""):
        save_file(tensors, tmp_path / "later", metadata | {f"clstm.{name}": "True"})
        with pytest.raises(
            ValueError, match=f"later holds no valid model: clstm.{name} is unknown"
        ):
            clstm.LSTM.load(tmp_path / "later")


@pytest.mark.parametrize(
    ("entry", "value", "words"),
    [
        ("direction", "backward", "direction must be"),
        ("direction", "reverse", "contradicts|both"),
        ("bidirectional", "False", "h0 has shape|unknown in the state dict"),
        ("bidirectional", "perhaps", "clstm.bidirectional is 'perhaps', expected True or False"),
        ("proj_size", "3", "has shape"),
        ("proj_size", "6", "proj_size"),
        ("proj_size", "-1", "clstm.proj_size is '-1', expected a number"),
        ("proj_size", "0", "has shape|unknown in the state dict: .*weight_hr_l0"),
        ("learn_state", "False", "unknown in the state dict: .*h0"),
        ("learn_state", "1", "clstm.learn_state is '1', expected True or False"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused(entry, value, words, tmp_path):
    from safetensors.numpy import save_file

    tensors, metadata = saved(tmp_path / "m", Case(direction="both", proj_size=4, learn_state=True))
    save_file(tensors, tmp_path / "m", metadata | {f"clstm.{entry}": value})
    with pytest.raises(ValueError, match=words):
        clstm.LSTM.load(tmp_path / "m")


@pytest.mark.parametrize("sizes", [(2**62, 1), (1, 2**62), (2**40, 2**40), (2**31, 2**31, 2**31)])
def test_models_that_no_memory_can_hold(sizes):
    options = {"bidirectional": True, "learn_state": True}
    with pytest.raises((MemoryError, ValueError)):
        clstm.LSTM(*sizes, proj_size=sizes[1] - 1, **options)
