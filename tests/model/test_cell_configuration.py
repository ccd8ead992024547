"""Cells in repr, parameter names and copies; numerics/test_cells.py tests their results."""

import copy
import dataclasses
import itertools
import pickle
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import clstm
from clstm import Activation, Cell
from tests.support.bounds import assert_identical
from tests.support.case import Case
from tests.support.cells import CELLS, PARAMETERS, SLOTS, TRAINABLE, activation

every_cell = pytest.mark.parametrize(("shown", "cell"), CELLS.items(), ids=range(len(CELLS)))


def model_with(cell, **kwargs):
    """A model without a zero parameter: two layers in both directions, with all tensors."""
    sizes = {"num_layers": 2, "output_size": 2, "bidirectional": True, "proj_size": 3}
    model = clstm.LSTM(3, 4, cell=cell, rng=0, **(sizes | kwargs))
    with model.edit() as parameters:
        parameters.flat = np.random.default_rng(1).uniform(0.1, 0.5, parameters.flat.shape)
    return model


def same(model, other):
    """Equal in what they are and compute."""
    assert repr(other) == repr(model)
    assert other.cell == model.cell
    assert list(other.parameters) == list(model.parameters)
    assert_identical(other.parameters.flat, model.parameters.flat)
    x = np.ones((4, 2, 3))
    assert_identical(other(x)[0], model(x)[0])


# ---- Construction ----


def test_defaults_are_the_plain_cell():
    spelt_out = Cell(
        peephole=False, coupled=False, clip=None, cell_clip=None, gate="sigmoid", cell="tanh",
        hidden=Activation("tanh"),
    )  # fmt: skip
    assert spelt_out == Cell() == clstm.LSTM(3, 4).cell
    assert hash(spelt_out) == hash(Cell())
    assert repr(clstm.LSTM(3, 4, cell=spelt_out)) == "LSTM(input_size=3, hidden_size=4)"
    assert Cell().gate == Activation("sigmoid")


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_of_functions(name):
    if "needed" in PARAMETERS[name]:
        for given_ones in ({}, {"alpha": 1.0}, {"beta": 1.0}):
            with pytest.raises(ValueError, match=f"'{name}' needs (alpha|beta), got none"):
                Activation(name, **given_ones)
        return
    made = Activation(name)
    assert (made.alpha, made.beta) == PARAMETERS[name]
    for parameter, default in zip(("alpha", "beta"), PARAMETERS[name], strict=True):
        if default is None:
            with pytest.raises(ValueError, match=f"'{name}' has no {parameter}, got 0.5"):
                Activation(name, **{parameter: 0.5})
        else:
            assert getattr(Activation(name, **{parameter: 0}), parameter) == 0


@pytest.mark.parametrize(
    ("kwargs", "error", "words"),
    [
        ({"name": "gelu"}, ValueError, "unknown activation 'gelu', expected one of: sigmoid, tanh"),
        ({"name": "Sigmoid"}, ValueError, "unknown activation 'Sigmoid'"),
        ({"name": None}, TypeError, "must be a string, got NoneType"),
        ({"name": "elu", "alpha": "1"}, TypeError, "alpha of 'elu' must be a real number, got str"),
        ({"name": "elu", "alpha": 1j}, TypeError, "alpha of 'elu' .* got complex"),
        ({"name": "elu", "alpha": True}, TypeError, "alpha of 'elu' .* got bool"),
        ({"name": "elu", "alpha": np.nan}, ValueError, "alpha of 'elu' must be finite, got nan"),
        ({"name": "elu", "alpha": 10**400}, ValueError, "alpha of 'elu' must be finite"),
        ({"name": "affine", "alpha": 1, "beta": -np.inf}, ValueError, "beta of .* got -inf"),
    ],
)
def test_arguments_that_make_no_activation(kwargs, error, words):
    with pytest.raises(error, match=words):
        Activation(**kwargs)


@pytest.mark.parametrize(
    ("kwargs", "error", "words"),
    [
        ({"clip": 0}, ValueError, "clip must be a positive finite number or None, got 0"),
        ({"clip": -1.0}, ValueError, "^clip must be .* got -1.0"),
        ({"clip": np.inf}, ValueError, "^clip must be .* got inf"),
        ({"cell_clip": np.nan}, ValueError, "cell_clip must be .* got nan"),
        ({"cell_clip": -0.0}, ValueError, "cell_clip must be .* got -0.0"),
        ({"cell_clip": Fraction(1, 10**400)}, ValueError, "cell_clip must be a positive"),
        ({"clip": "3"}, TypeError, "clip must be a real number, got str"),
        ({"clip": True}, TypeError, "clip must be a real number, got bool"),
        ({"cell_clip": np.ones(1)}, TypeError, "cell_clip must be a real number, got ndarray"),
        ({"peephole": "no"}, TypeError, "peephole must be True or False, got 'no'"),
        ({"peephole": None}, TypeError, "peephole must be True or False, got None"),
        ({"coupled": 2}, TypeError, "coupled must be True or False, got 2"),
        ({"coupled": np.ones(2)}, TypeError, "coupled must be True or False"),
        ({"gate": "gelu"}, ValueError, "^gate: unknown activation 'gelu', .*softplus"),
        ({"cell": "affine"}, ValueError, "^cell: 'affine' needs alpha"),
        ({"hidden": np.tanh}, TypeError, "hidden must be a name or a clstm.Activation, got ufunc"),
        ({"gate": None}, TypeError, "gate must be a name or a clstm.Activation, got NoneType"),
        ({"peepholes": True}, TypeError, "peepholes"),
    ],
)
def test_arguments_that_make_no_cell(kwargs, error, words):
    with pytest.raises(error, match=words):
        Cell(**kwargs)
    with pytest.raises(TypeError, match="positional"):
        Cell(True)


@pytest.mark.parametrize("cell", ["peephole", None, {"peephole": True}, Cell])
def test_a_model_takes_no_other_cell(cell):
    with pytest.raises(TypeError, match=r"cell must be a clstm\.Cell, got"):
        clstm.LSTM(3, 4, cell=cell)


def test_numbers_of_every_kind_become_plain_ones():
    cell = Cell(
        peephole=np.True_, coupled=1, clip=np.float32(0.5), cell_clip=Fraction(3, 2),
        hidden=Activation("elu", np.int64(2)),
    )  # fmt: skip
    assert repr(cell) == (
        "Cell(peephole=True, coupled=True, clip=0.5, cell_clip=1.5, "
        "hidden=Activation('elu', alpha=2.0))"
    )


def test_cells_do_not_change():
    cell, model = Cell(), clstm.LSTM(3, 4)
    for thing, name in ((cell, "clip"), (cell.gate, "alpha"), (model, "cell")):
        with pytest.raises(AttributeError):
            setattr(thing, name, getattr(thing, name))
    assert dataclasses.replace(cell, clip=2) == Cell(clip=2)


def test_cells_need_no_numpy():
    """Nor the rest of the package: an empty one stands in for it."""
    code = f"""\
import sys, types
package = sys.modules["clstm"] = types.ModuleType("clstm")
package.__path__ = [{str(Path(clstm.__file__).parent)!r}]
import clstm.cell
print("numpy" in sys.modules)"""
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"


@every_cell
def test_repr_is_the_call_that_makes_it(shown, cell):
    assert repr(cell) == shown
    names = {"Cell": Cell, "Activation": Activation, "LSTM": clstm.LSTM}
    assert eval(shown, names) == cell
    model = clstm.LSTM(3, 4, cell=cell)
    assert (f"cell={shown}" in repr(model)) == (cell != Cell())
    assert eval(repr(model), names).cell == model.cell == cell


# ---- Parameters ----


@pytest.mark.parametrize(
    ("bias", "proj_size", "direction"),
    list(itertools.product((True, False), (0, 2), ("forward", "reverse", "both"))),
)
def test_peepholes_are_the_last_tensor_of_their_direction(bias, proj_size, direction):
    case = Case(
        num_layers=2, output_size=3, bias=bias, proj_size=proj_size, direction=direction,
        learn_state=True,
    )  # fmt: skip
    plain, model = case.model().parameters, case.model(cell=Cell(peephole=True)).parameters
    suffixes = {"forward": [""], "reverse": ["_reverse"], "both": ["", "_reverse"]}[direction]
    expected = []
    for layer, suffix in itertools.product(range(2), suffixes):
        expected += [n for n in plain if n.endswith(f"_l{layer}{suffix}")]
        expected.append(f"weight_peephole_l{layer}{suffix}")
    assert list(model)[: len(expected)] == expected
    assert list(model)[len(expected) :] == [n for n in plain if "_l" not in n]
    for name, array in model.items():
        if name in plain:
            assert_identical(array, plain[name])  # they draw no random numbers
        else:
            assert array.shape == (18,)
    joined = np.concatenate([array.ravel() for array in model.values()])
    assert_identical(joined, model.flat)


@every_cell
def test_other_variants_have_the_parameters_of_the_plain_cell(shown, cell):
    model = clstm.LSTM(3, 4, cell=dataclasses.replace(cell, peephole=False), rng=0)
    plain = clstm.LSTM(3, 4, rng=0)
    assert list(model.parameters) == list(plain.parameters)
    assert_identical(model.parameters.flat, plain.parameters.flat)


@pytest.mark.parametrize("torch_names", [False, True])
def test_state_dict_round_trip(torch_names):
    model = model_with(Cell(peephole=True))
    state = model.state_dict(torch_names=torch_names)
    other = copy.copy(model)
    with other.edit() as parameters:
        parameters.flat = 0
    other.load_state_dict({f"a.{name}": array for name, array in state.items()}, prefix="a.")
    same(model, other)


def test_a_state_dict_of_another_cell_is_refused():
    plain, model = clstm.LSTM(3, 4), clstm.LSTM(3, 4, cell=Cell(peephole=True))
    with pytest.raises(KeyError, match="missing from the state dict: weight_peephole_l0"):
        model.load_state_dict(plain.state_dict())
    with pytest.raises(KeyError, match="unknown in the state dict: weight_peephole_l0"):
        plain.load_state_dict(model.state_dict())


# ---- Files and copies ----


@every_cell
@pytest.mark.parametrize("kwargs", [{}, {"bias": False, "proj_size": 0, "dtype": np.float64}])
def test_save_and_load(shown, cell, kwargs, tmp_path):
    model = model_with(cell, **kwargs)
    model.save(tmp_path / "m")
    same(model, clstm.LSTM.load(tmp_path / "m"))


@every_cell
@pytest.mark.parametrize(
    "copier", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))]
)
def test_copies_are_equal_and_independent(shown, cell, copier):
    assert copier(cell) == cell
    model = model_with(cell)
    other = copier(model)
    same(model, other)
    with other.edit() as parameters:
        parameters.flat += 1
    assert (model.parameters.flat != other.parameters.flat).all()


# ---- Functions without a gradient ----


@pytest.mark.parametrize("slot", SLOTS)
@pytest.mark.parametrize("name", PARAMETERS)
def test_only_functions_with_a_gradient_are_recorded(slot, name):
    model = clstm.LSTM(3, 4, cell=Cell(**{slot: activation(name)}), rng=0)
    x = np.ones((2, 1, 3))
    assert np.isfinite(model(x)[0]).all()
    if name in TRAINABLE:
        assert len(list(model.windows(x, 1))) == 2
        assert model.record(x).y.shape == (2, 1, 4)
        return
    refusal = f"cell.{slot} is '{name}', which has no gradient here: {{}} needs 'sigmoid', 'tanh',"
    for bad in (x, None, "no array"):  # said before anything else
        with pytest.raises(ValueError, match=refusal.format("record")):
            model.record(bad, keep="nothing")
        with pytest.raises(ValueError, match=refusal.format("windows")):
            model.windows(bad, 0)


def test_peepholes_begin_at_zero():
    """The model begins as the plain cell."""
    plain = clstm.LSTM(3, 5, rng=0)
    model = clstm.LSTM(3, 5, cell=Cell(peephole=True), rng=0)
    assert not model.parameters["weight_peephole_l0"].any()
    x = np.ones((4, 2, 3))
    np.testing.assert_allclose(model(x)[0], plain(x)[0], rtol=1e-6)
