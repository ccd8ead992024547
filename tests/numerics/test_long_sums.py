"""Sums over many columns: their rounding errors beside NumPy's, and equal bits by every path."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

import clstm
from clstm.configuration import Configuration
from tests.support import reference
from tests.support.bounds import (
    assert_close,
    assert_gradients,
    assert_same,
    assert_same_results,
    engine,
    forward_bound,
    largest,
)
from tests.support.case import OPTIONS, Case

UNITS, ROWS = 4, 8
LINEAR = clstm.Activation("affine", 1.0, 0.0)


def sums_of_inputs(x, weight):
    """Return x @ weight.T as a model computes it: the sums are its input gates, and they its c."""
    state = {
        "weight_ih_l0": np.zeros((4 * UNITS, x.shape[1]), x.dtype),
        "weight_hh_l0": np.zeros((4 * UNITS, UNITS), x.dtype),
        "bias_l0": np.repeat(np.array([0, 0, 1, 1], x.dtype), UNITS),
    }
    state["weight_ih_l0"][:UNITS] = weight
    config = Configuration(
        input_size=x.shape[1],
        hidden_size=UNITS,
        cell=clstm.Cell(gate=LINEAR, cell=LINEAR, hidden=LINEAR),
        dtype=x.dtype,
    )
    _, (_, c) = clstm.LSTM.from_state(config, state)(x[np.newaxis])
    return c[0]


def sums_of_units(h, weight):
    """The same by a projection, whose columns are units: weight (R, H) times o_t hidden(c_t)."""
    outputs, units = weight.shape
    state = {
        "weight_ih_l0": np.zeros((4 * units, 1), h.dtype),
        "weight_hh_l0": np.zeros((4 * units, outputs), h.dtype),
        "bias_l0": np.repeat(np.array([0, 1, 0, 1], h.dtype), units),
        "weight_hr_l0": weight,
    }
    config = Configuration(
        input_size=1,
        hidden_size=units,
        proj_size=outputs,
        cell=clstm.Cell(gate=LINEAR, cell=LINEAR, hidden=LINEAR),
        dtype=h.dtype,
    )
    start = np.zeros((1, len(h), outputs), h.dtype), h[np.newaxis]
    return clstm.LSTM.from_state(config, state)(np.zeros((1, len(h), 1), h.dtype), start)[0][0]


def errors(compute, columns, outputs, dtype, seed):
    """Errors of a model's sums and of NumPy's, which are of one row at a time."""
    rng = np.random.default_rng((seed, columns))
    x = rng.standard_normal((ROWS, columns)).astype(dtype)
    weight = (rng.standard_normal((outputs, columns)) / np.sqrt(columns)).astype(dtype)
    wider = np.float64 if dtype == np.float32 else np.longdouble
    exact = x.astype(wider) @ weight.astype(wider).T
    theirs = np.concatenate([x[b : b + 1] @ weight.T for b in range(ROWS)])
    return compute(x, weight) - exact, theirs - exact


def ratio(compute, columns, outputs, dtype=np.float32):
    """The root mean square of a model's errors, relative to that of NumPy's."""
    if engine() != "packed":
        pytest.skip("the BLAS chooses the order of its sums")
    seeds = range(8 if columns < 10**6 else 2)
    runs = [errors(compute, columns, outputs, dtype, seed) for seed in seeds]
    ours, theirs = (np.sqrt(np.mean(np.square(part))) for part in zip(*runs, strict=True))
    return ours / theirs


@pytest.mark.parametrize(
    ("columns", "most"),
    [
        (1000, 4),  # a single chain
        (1024, 4),
        (1025, 1.5),
        (3000, 1.5),
        (10_000, 1.5),
        (100_000, 1.5),
        (1_000_000, 1.5),
    ],
)
def test_errors_of_inputs_are_those_of_numpy(columns, most):
    assert ratio(sums_of_inputs, columns, UNITS) <= most


def test_errors_in_float64():
    assert ratio(sums_of_inputs, 10_000, UNITS, np.float64) <= 1.5


@pytest.mark.parametrize("outputs", [2, 6])  # a dot product each, and in blocks
@pytest.mark.parametrize("columns", [5000, 20_000])
def test_errors_of_a_projection_are_those_of_numpy(columns, outputs):
    assert ratio(sums_of_units, columns, outputs) <= 1.5


@pytest.mark.parametrize("columns", [10_000, 100_000])
def test_a_model_of_many_inputs_matches_the_specification(columns):
    case = Case(steps=1, batch=4, input_size=columns, hidden_size=6)
    model = case.model()
    exact = reference.forward(model.parameters, case.x(), case.state())
    y, (_, c) = model(case.x(), case.state())
    bound = forward_bound(case.steps, case.dtype)
    assert_close(y, exact.y, bound)
    assert_close(c, exact.cells[-1, :, 0][np.newaxis], bound, largest(exact.cells))


# ---- Equal bits ----

LONG = {
    "inputs": Case(input_size=2500, hidden_size=19),
    "a whole number of chains": Case(input_size=2048, hidden_size=40),
    "groups of chains": Case(input_size=9000, hidden_size=3),
    "float64": Case(input_size=1500, hidden_size=17, dtype=np.float64),
    "another cell": Case(input_size=1500, hidden_size=9, cell=clstm.Cell(peephole=True)),
    "layers and readout": Case(hidden_size=1100, num_layers=2, output_size=6),
    "narrow readout": Case(hidden_size=1100, output_size=2),
    "projection": Case(hidden_size=1100, proj_size=70),
    "narrow projection": Case(hidden_size=5000, proj_size=2),
    "reverse": Case(input_size=1100, hidden_size=5, direction="reverse"),
}
STEPS, BATCH = 4, 30  # so many rows that the input product is in the step; of fewer it is hoisted
long_sums = pytest.mark.parametrize("name", LONG)


@cache
def drawn(name):
    """A case with its model, x and state. The model's own initial weights would take seconds."""
    case = replace(LONG[name], steps=STEPS, batch=BATCH)
    options = {name: getattr(case, name) for name in OPTIONS}
    config = Configuration(**{name: value for name, value in options.items() if value is not None})
    weights = {
        name: case.draw(*shape, salt=salt) / np.sqrt(shape[-1])
        for salt, (name, shape, _) in enumerate(config.parameter_table()[0], start=40)
    }
    return case, clstm.LSTM.from_state(config, weights), case.x(), case.state()


@long_sums
def test_a_row_is_the_same_in_every_batch(name):
    """Hoisted and in the step, in tiles of every shape."""
    _, model, x, (h, c) = drawn(name)
    y, end = model(x, (h, c))
    for batch in (*range(1, 15), 23, 24):
        rows = np.s_[:, BATCH - batch :]
        part = model(x[rows], (h[rows], c[rows]))
        assert_same_results(part, (y[rows], tuple(array[rows] for array in end)))


@long_sums
@pytest.mark.parametrize("batch", [1, 2, BATCH])
def test_threads_pieces_streams_and_recordings_are_the_same(name, batch):
    case, model, x, (h, c) = drawn(name)
    x, state = x[:, :batch], (h[:, :batch], c[:, :batch])
    expected = model(x, state, num_threads=1)
    for num_threads in (2, 3):
        assert_same_results(model(x, state, num_threads=num_threads), expected)
    tape = model.record(x, state)
    assert_same_results((tape.y, tape.state), expected)
    if case.direction == "reverse":
        return
    first, middle = model(x[:1], state)
    rest, end = model(x[1:], middle)
    assert_same_results((np.concatenate([first, rest]), end), expected)
    stream = model.stream(batch)
    stream.state = state
    y = np.concatenate([stream.step(x[0])[np.newaxis], stream.process(x[1:])])
    assert_same_results((y, stream.state), expected)


@long_sums
def test_recomputed_gates_are_the_recorded_ones(name):
    case, model, x, state = drawn(name)
    both = [model.record(x, state, keep=keep, num_threads=1) for keep in ("gates", "states")]
    one, two = (tape.backward(case.dy()) for tape in both)
    assert_same(two.x, one.x, largest(one.x))
    for recomputed, recorded in zip(two.state, one.state, strict=True):
        assert_same(recomputed, recorded, largest(recorded))


@pytest.mark.parametrize("name", ["inputs", "layers and readout", "projection"])
def test_gradients_match_those_in_float64(name):
    case, model, x, state = drawn(name)
    wide = clstm.LSTM.from_state(replace(model._config, dtype=np.dtype(float)), model.state_dict())
    exact = wide.record(x, state).backward(case.dy()).parameters
    assert_gradients(case, model.record(x, state).backward(case.dy()).parameters, exact)
