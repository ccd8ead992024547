"""Cells other than the plain one, forward: functions, peepholes, coupled gates, bounds.

Equality to the bit is tested as for the plain cell. Where the blas engine may round, the test is in
float64: functions without a bound may enlarge any difference.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import clstm
from tests.support.bounds import EPS, assert_close, assert_identical, engine, forward_bound, largest
from tests.support.case import Case
from tests.support.options import Pass, activation, lengths_of, passes, random_cell, random_pass
from tests.support.reference_cell import ACTIVATIONS, SLOPES

SLOTS = ("gate", "cell", "hidden")
INFERENCE = sorted(ACTIVATIONS.keys() - SLOPES.keys())
both_types = pytest.mark.parametrize("dtype", [np.float32, np.float64])
# Gates without a bound multiply what grows by what grows.
cells = st.builds(random_cell, st.integers(0, 10**6)).filter(
    lambda cell: cell.gate.name != "relu" or cell.clip is not None
)


def cell_pass(seed, largest=12, **fixed):
    """Functions of all kinds among them, few steps, so that nothing grows out of all bounds."""
    dtype = np.float32 if seed % 2 and engine() == "packed" else np.float64
    return random_pass(
        seed, largest, **{"dtype": dtype, "cell": random_cell(seed, trainable=False)} | fixed
    )


def flat(result):
    y, (h, c) = result
    return y, h, c


def assert_specified(one, model, result):
    """(y, (h, c)) within the bound for the plain cell, of the largest value if it has no limit.

    Or four times as far from the truth as the specification in the same type.
    """
    dtype = one.case.dtype
    exact = one.specified(model, np.longdouble if dtype == np.float64 else np.float64)
    rounded = one.specified(model, dtype)
    scale = max(largest(exact.cells), largest(exact.y), *map(largest, exact.gates.values()))
    bound = forward_bound(one.case.steps, dtype) * max(1, scale)
    of_all = flat(result), flat((exact.y, exact.state)), flat((rounded.y, rounded.state))
    for actual, expected, own in zip(*of_all, strict=True):
        assert actual.dtype == dtype
        assert np.isfinite(expected).all()
        assert_close(actual, expected, max(bound, 4 * largest(own - expected)))


def assert_same_results(actual, expected):
    """By the row contract: to the bit, or by the blas engine to rounding."""
    scale = largest(*flat(expected))
    for one, other in zip(flat(actual), flat(expected), strict=True):
        if engine() == "packed":
            assert_identical(one, other)
        else:
            assert_close(one, other, 1e-6, scale)


# ---- All options together ----


@both_types
@pytest.mark.parametrize("slot", SLOTS)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_function_in_every_slot(name, slot, dtype):
    """In two layers, of units that fill vectors of no width."""
    for options in ({}, {"peephole": True, "clip": 0.9}, {"coupled": True, "cell_clip": 0.7}):
        cell = clstm.Cell(**{slot: activation(name)}, **options)
        one = Pass(Case(6, 5, 7, 37, 2, 3, dtype=dtype, cell=cell))
        model = one.case.model()
        assert_specified(one, model, one.call(model))
        if name in SLOPES:
            assert_same_results(one.recorded(model), one.call(model))


@given(passes(cells))
def test_forward_matches_the_specification(one):
    """With a recording, of any kind, of sequences of any form, in any direction."""
    steps, lengths = min(one.case.steps, 12), one.case.lengths
    lengths = lengths and tuple(min(length, steps) for length in lengths)
    one = replace(one, case=replace(one.case, steps=steps, lengths=lengths))
    model = one.case.model()
    tape = one.record(model)
    assert_specified(one, model, (one.padded(tape.y), tape.state))
    assert_same_results(one.recorded(model, keep="states"), (one.padded(tape.y), tape.state))


@pytest.mark.parametrize("seed", range(60))
def test_random_cells_in_random_passes(seed):
    """Functions without gradients, too: lengths, lists, directions, projection, learned state."""
    one = replace(cell_pass(seed), dropout=False, recurrent_dropout=False)
    model = one.case.model()
    result = one.call(model)
    assert_specified(one, model, result)
    padding = np.broadcast_to(one.case.padding(), result[0].shape[:2])
    assert not result[0][padding].any()
    empty = lengths_of(one.case) == 0
    if one.with_state:  # which no bound changes
        for end, start in zip(result[1], one.case.state(), strict=True):
            assert_identical(end[:, empty], start[:, empty])


@pytest.mark.parametrize("seed", range(12))
def test_gates_and_cells_of_every_step_and_part(seed):
    one = cell_pass(seed, 9, dtype=np.float64, cell=random_cell(seed))
    model = one.case.model()
    tape, expected = one.record(model), one.specified(model)
    for name, gate in expected.gates.items():
        assert_close(one.padded(tape.gates[name]), gate, 1e-12, largest(gate))
    assert_close(one.padded(tape.cells), expected.cells, 1e-12, largest(expected.cells))
    assert_close(one.padded(tape.hidden), expected.hidden, 1e-12, largest(expected.hidden))


@pytest.mark.parametrize("seed", range(30))
def test_forms_of_a_call_are_the_same_numbers(seed):
    """Chunks with carried state, `record`, a list of sequences, `out=`, any number of threads."""
    one = cell_pass(seed, 40, direction="forward", lengths=None, steps=7, hidden_size=20 + 9 * seed)
    one = replace(one, with_state=True, dropout=False, recurrent_dropout=False)
    case, model = one.case, one.case.model()
    whole, x, state, parts = one.call(model, num_threads=1), case.x(), case.state(), []
    for num_threads in (2, 3, 8):
        assert_same_results(one.call(model, num_threads=num_threads), whole)
    out = np.empty_like(whole[0])
    y, end = one.call(model, out=out)
    assert y is out
    assert_same_results((y, end), whole)
    rows, end = model([x[:, b] for b in range(case.batch)], state)
    assert_same_results((np.stack(rows, 1), end), whole)
    for chunk in np.split(x, [2, 2, 5]):
        y, state = model(chunk, state)
        parts.append(y)
    assert_same_results((np.concatenate(parts), state), whole)
    if all(getattr(case.cell, slot).name in SLOPES for slot in SLOTS):
        for keep in ("gates", "states"):
            assert_same_results(one.recorded(model, keep=keep), whole)


@pytest.mark.parametrize("seed", range(20))
def test_a_row_alone_is_the_same_as_in_a_batch(seed):
    """For any other rows, NaN included."""
    one = replace(cell_pass(seed, batch=13), with_state=True)
    case, model = one.case, one.case.model()
    x, (h, c) = case.x(), case.state()
    whole = y, end = one.call(model)
    for b, length in enumerate(lengths_of(case)):
        alone = model(x[:length, b], (h[:, b], c[:, b]))
        assert_same_results(alone, (y[:length, b], tuple(part[:, b] for part in end)))
    others = np.arange(13) != 6
    for array in (x, h, c):
        array[:, others] = np.nan
    y, (h, c) = one.call(model, x, (h, c))
    of_one = [(a[:, [6]], (b[:, [6]], c[:, [6]])) for a, (b, c) in ((y, (h, c)), whole)]
    assert_same_results(*of_one)


@pytest.mark.parametrize("seed", range(20))
def test_nan_stays_in_its_row_from_its_step_on(seed):
    one = cell_pass(seed, direction="forward", lengths=None, steps=6, batch=3)
    one = replace(one, with_state=True, dropout=False, recurrent_dropout=False)
    model, x = one.case.model(), one.case.x()
    clean, (_, clean_c) = one.call(model)
    x[2, 1, 0] = np.nan
    y, (h, c) = one.call(model, x)
    assert np.isnan(y[2:, 1]).all() and np.isnan(h[:, 1]).all() and np.isnan(c[:, 1]).all()
    y[2:, 1], c[:, 1] = clean[2:, 1], clean_c[:, 1]
    assert_same_results((y, (c, c)), (clean, (clean_c, clean_c)))


# ---- Each option for itself ----


@both_types
def test_a_cell_that_spells_out_the_default_is_the_default(dtype):
    """Bitwise, gradients too, however the default is spelled."""
    case = Case(9, 5, 7, 40, 2, 3, dtype=dtype, direction="both", lengths=(4, 9, 0, 9, 2))
    plain = Pass(case)
    model = plain.case.model()
    result, gradients = plain.call(model), plain.gradients(model, num_threads=1)
    for cell in (
        clstm.Cell(),
        clstm.Cell(gate="sigmoid", cell="tanh", hidden="tanh", clip=None, cell_clip=None),
        clstm.Cell(gate=clstm.Activation("sigmoid"), hidden=clstm.Activation("tanh")),
    ):
        one = Pass(replace(case, cell=cell))
        spelled = one.case.model()
        assert list(spelled.parameters) == list(model.parameters)
        for actual, expected in zip(flat(one.call(spelled)), flat(result), strict=True):
            assert_identical(actual, expected)
        for name, array in one.gradients(spelled, num_threads=1).items():
            assert_identical(array, gradients[name])


@both_types
def test_peepholes_of_zero_are_none(dtype):
    """A new model has peepholes of zero; other values change the result."""
    case = Case(9, 5, 7, 40, 2, dtype=dtype, direction="both")
    peepholes = replace(case, cell=clstm.Cell(peephole=True))
    plain, drawn = case.model(), peepholes.model()
    fresh = clstm.LSTM(
        7, 40, 2, bidirectional=True, cell=clstm.Cell(peephole=True), dtype=dtype, rng=0
    )
    for name, array in fresh.parameters.items():
        if "peephole" in name:
            assert array.shape == (120,) and not array.any()
        else:
            assert_identical(array, plain.parameters[name])
    expected = flat(Pass(case).call(plain))
    for actual, other, wanted in zip(
        flat(Pass(case).call(fresh)), flat(Pass(case).call(drawn)), expected, strict=True
    ):
        assert_close(actual, wanted, forward_bound(9, dtype), largest(expected[2]))
        assert largest(other - wanted) > 1e-3


@both_types
def test_coupled_gates_add_up_to_one_and_the_forget_gate_has_no_parameters(dtype):
    cell = clstm.Cell(coupled=True, peephole=True, clip=0.8)
    one = Pass(Case(9, 5, 7, 40, 2, 3, dtype=dtype, direction="both", cell=cell))
    model = one.case.model()
    expected, tape = flat(one.call(model)), one.record(model)
    gates = tape.gates
    assert_identical(gates["forget"], 1 - gates["input"])

    kinds = ("weight_ih", "weight_hh", "bias_l", "weight_peephole")
    stacked = [name for name in model.parameters if name.startswith(kinds)]
    gradients = one.backward(tape)
    for name in stacked:
        rows = gradients[name][:40], gradients[name][40:80], gradients[name][80:]
        assert [array.any() for array in rows] == [True, False, True]
    with model.edit() as parameters:
        for name in stacked:
            parameters[name][40:80] = np.nan
    for actual, wanted in zip(flat(one.call(model)), expected, strict=True):
        assert_identical(actual, wanted)


@both_types
def test_clip_bounds_the_gates_sums(dtype):
    cell = clstm.Cell(clip=0.3)
    one = Pass(Case(9, 5, 7, 40, dtype=dtype, cell=cell))
    gates = one.record(one.case.model()).gates
    for name, function in (("input", "sigmoid"), ("cell", "tanh"), ("output", "sigmoid")):
        low, high = ACTIVATIONS[function](np.array([-0.3, 0.3]), None, None)
        assert abs(gates[name].min() - low) <= 4 * EPS[np.dtype(dtype)]
        assert abs(gates[name].max() - high) <= 4 * EPS[np.dtype(dtype)]


@both_types
def test_cell_clip_bounds_the_cell_states(dtype):
    """The final state is bounded, too; the caller's initial state is not."""
    cell = clstm.Cell(cell_clip=0.3)
    one = Pass(Case(9, 5, 7, 40, dtype=dtype, cell=cell, lengths=(9, 9, 0, 3, 9)))
    tape = one.record(one.case.model())
    assert np.abs(tape.cells).max() == np.abs(tape.state[1][:, :2]).max() == dtype(0.3)
    assert_identical(tape.state[1][:, 2], one.case.state()[1][:, 2])
    assert largest(tape.state[1][:, 2]) > 0.3


@pytest.mark.parametrize("slot", SLOTS)
@pytest.mark.parametrize("name", INFERENCE)
def test_functions_without_a_gradient_are_not_recorded(name, slot):
    model = Case(cell=clstm.Cell(**{slot: activation(name)})).model()
    x = Case().x()
    with pytest.raises(ValueError, match=f"cell.{slot} is '{name}'"):
        model.record(x)
    with pytest.raises(ValueError, match=f"cell.{slot} is '{name}'"):
        model.windows(x, 3)
    assert np.isfinite(model(x)[0]).all()
