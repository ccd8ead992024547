"""Dropout: the factors drawn, the places where they are applied, refusals."""

from dataclasses import replace

import numpy as np
import pytest

from tests.support import reference
from tests.support.bounds import assert_close, assert_identical, forward_bound, largest
from tests.support.case import Case
from tests.support.options import Pass, rows_of

CASE = Case(num_layers=3, output_size=2, direction="both", proj_size=4)
LENGTHS = (4, 0, 7)


def recorded(case=CASE, **kwargs):
    return case.model().record(case.x(), case.state(), **kwargs)


def test_masks_are_drawn_as_documented():
    """First the one between the layers, then the recurrent one, by the same generator."""
    tape = recorded(dropout=0.25, recurrent_dropout=0.5, rng=7)
    rng = np.random.default_rng(7)
    expected = (rng.random((2, 7, 3, 8)) >= 0.25) / np.float32(0.75)
    recurrent = (rng.random((6, 3, 4)) >= 0.5) / np.float32(0.5)
    assert tape.dropout.dtype == tape.recurrent_dropout.dtype == np.float32
    np.testing.assert_allclose(tape.dropout, expected, rtol=1e-6)
    np.testing.assert_allclose(tape.recurrent_dropout, recurrent, rtol=1e-6)
    for mask in (tape.dropout, tape.recurrent_dropout):
        with pytest.raises(ValueError, match="read-only"):
            mask[...] = 1
    alone = recorded(recurrent_dropout=0.5, rng=7)
    assert alone.dropout is None
    expected = (np.random.default_rng(7).random((6, 3, 4)) >= 0.5) * 2
    np.testing.assert_array_equal(alone.recurrent_dropout, expected)


@pytest.mark.parametrize(
    "names", [("dropout",), ("recurrent_dropout",), ("dropout", "recurrent_dropout")]
)
def test_the_seed_decides_and_drawn_masks_equal_given_ones(names):
    drawn = recorded(**dict.fromkeys(names, 0.4), rng=3)
    again = recorded(**dict.fromkeys(names, 0.4), rng=np.random.default_rng(3))
    other = recorded(**dict.fromkeys(names, 0.4), rng=4)
    given = recorded(**{name: getattr(drawn, name) for name in names})
    for same in (again, given):
        assert_identical(same.y, drawn.y)
        assert_identical(same.state[1], drawn.state[1])
        for name in ("dropout", "recurrent_dropout"):
            assert (getattr(same, name) is None) == (name not in names)
            if name in names:
                assert_identical(getattr(same, name), getattr(drawn, name))
    assert np.abs(other.y - drawn.y).max() > 1e-3
    first = drawn.backward(CASE.dy(), num_threads=1)
    assert_identical(
        given.backward(CASE.dy(), num_threads=1).parameters.flat, first.parameters.flat
    )
    unseeded = [recorded(**dict.fromkeys(names, 0.4)) for _ in range(2)]
    assert np.abs(unseeded[0].y - unseeded[1].y).max() > 1e-3


def test_one_generator_goes_on_from_call_to_call():
    rng = np.random.default_rng(3)
    first, second = (recorded(dropout=0.5, rng=rng).dropout for _ in range(2))
    assert (first != second).any()


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_mean_stays_about_one(p):
    """4.5 sigma of what the draws may differ by; the seeds are fixed."""
    case = Case(50, 20, hidden_size=30, num_layers=3)
    tape = recorded(case, dropout=p, recurrent_dropout=p, rng=1)
    for mask in (tape.dropout, tape.recurrent_dropout):
        assert_close(np.unique(mask), np.array([0, 1 / (1 - p)]), 1e-6)
        assert abs(mask.mean() - 1) < 4.5 * np.sqrt(p / (1 - p) / mask.size)
    between = tape.dropout != 0
    assert not (between[:, 1:] == between[:, :-1]).all(axis=(0, 2, 3)).any()  # each step its own


def test_none_is_no_dropout():
    plain = recorded()
    assert plain.dropout is None and plain.recurrent_dropout is None
    for kwargs in ({"dropout": 0}, {"dropout": 0.0, "recurrent_dropout": 0.0}):
        tape = recorded(**kwargs, rng=0)
        assert tape.dropout is None and tape.recurrent_dropout is None
        assert_identical(tape.y, plain.y)
    ones = recorded(dropout=np.ones((2, 7, 3, 8)), recurrent_dropout=np.ones((6, 3, 4)))
    assert_identical(ones.y, plain.y)
    y, _ = CASE.model()(CASE.x(), CASE.state())
    np.testing.assert_allclose(y, plain.y, atol=1e-6)


def test_with_zeros_between_the_layers_the_second_sees_nothing():
    case = Case(num_layers=2)
    tape = recorded(case, dropout=np.zeros((1, 7, 3, 6)))
    model = case.model()
    blind = {n: np.array(a) for n, a in model.parameters.items()}
    blind["weight_ih_l1"][...] = 0
    expected = reference.forward(blind, case.x(), case.state())
    assert_close(tape.y, expected.y, forward_bound(7, np.float32))
    grad = tape.backward(case.dy())
    assert not grad.parameters["weight_ih_l1"].any() and not grad.parameters["weight_ih_l0"].any()
    assert grad.parameters["weight_hh_l1"].any() and not grad.x.any()


def test_with_zeros_in_the_recurrence_gates_see_x_alone():
    """The cell state is kept, and y and the final h are not masked."""
    case = Case()
    tape = recorded(case, recurrent_dropout=np.zeros((1, 3, 6)))
    alone = {n: np.array(a) for n, a in case.model().parameters.items()}
    alone["weight_hh_l0"][...] = 0
    expected = reference.forward(alone, case.x(), case.state())
    assert_close(tape.y, expected.y, forward_bound(7, np.float32))
    assert_close(tape.cells, expected.cells, forward_bound(7, np.float32), largest(expected.cells))
    assert_identical(tape.state[0][0], tape.y[-1])
    grad = tape.backward(case.dy())
    assert not grad.parameters["weight_hh_l0"].any()
    assert not grad.state[0].any() and grad.state[1].any()


@pytest.mark.parametrize("form", ["batch_first", "unbatched", "ragged"])
def test_shapes_of_masks_in_other_forms(form):
    """Drawn ones and the given ones: in the order of axes of x."""
    case = replace(CASE, lengths=LENGTHS if form == "ragged" else None)
    model = case.model(batch_first=form == "batch_first")
    x = {
        "batch_first": lambda: case.x().swapaxes(0, 1),
        "unbatched": lambda: case.x()[:, 0],
        "ragged": lambda: rows_of(case.x(), LENGTHS),
    }[form]()
    between = {"batch_first": (2, 3, 7, 8), "unbatched": (2, 7, 8), "ragged": (2, 11, 8)}[form]
    recurrent = (6, 4) if form == "unbatched" else (6, 3, 4)
    tape = model.record(x, dropout=0.5, recurrent_dropout=0.5, rng=2)
    rng = np.random.default_rng(2)
    np.testing.assert_array_equal(tape.dropout, 2 * (rng.random(between) >= 0.5))
    np.testing.assert_array_equal(tape.recurrent_dropout, 2 * (rng.random(recurrent) >= 0.5))
    given = {"dropout": tape.dropout, "recurrent_dropout": tape.recurrent_dropout}
    again = model.record(x, **given)
    pairs = zip(again.y, tape.y, strict=True) if form == "ragged" else [(again.y, tape.y)]
    for one, other in pairs:
        assert_identical(one, other)
    wrong = np.ones(CASE.draw(2, 7, 3, 8).shape)
    with pytest.raises(ValueError, match=r"^dropout has shape \(2, 7, 3, 8\)"):
        model.record(x, dropout=wrong)


@pytest.mark.parametrize(
    ("kwargs", "error", "words"),
    [
        ({"dropout": 1.0}, ValueError, r"^dropout must be in \[0, 1\)"),
        ({"dropout": -0.1}, ValueError, r"^dropout must be in \[0, 1\)"),
        ({"dropout": np.nan}, ValueError, r"^dropout must be in \[0, 1\)"),
        ({"recurrent_dropout": 1}, ValueError, r"^recurrent_dropout must be in \[0, 1\)"),
        ({"recurrent_dropout": 2.5}, ValueError, r"^recurrent_dropout must be in \[0, 1\)"),
        ({"dropout": np.ones((7, 3, 8))}, ValueError, r"^dropout has shape \(7, 3, 8\)"),
        ({"dropout": np.ones((3, 7, 3, 8))}, ValueError, r"^dropout has shape .*\(2, 7, 3, 8\)"),
        ({"recurrent_dropout": np.ones((6, 3, 6))}, ValueError, r"^recurrent_dropout has shape"),
        ({"recurrent_dropout": np.ones((3, 4))}, ValueError, r"^recurrent_dropout has shape"),
        ({"dropout": "half"}, TypeError, "^dropout must"),
        ({"dropout": None}, TypeError, "^dropout must"),
        ({"dropout": np.ones((2, 7, 3, 8), complex)}, TypeError, "^dropout must hold real"),
        ({"recurrent_dropout": [0.5]}, TypeError, "^recurrent_dropout must"),
    ],
)
def test_dropout_that_makes_no_sense(kwargs, error, words):
    with pytest.raises(error, match=words):
        recorded(**kwargs)


@pytest.mark.parametrize("dropout", [0.5, np.ones((0, 7, 3, 6))])
def test_one_layer_has_no_place_for_dropout(dropout):
    with pytest.raises(ValueError, match=r"^dropout .*num_layers"):
        recorded(Case(), dropout=dropout)
    assert recorded(Case(), dropout=0, recurrent_dropout=0.5, rng=0).dropout is None


def test_refused_arguments_draw_nothing():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="recurrent_dropout"):
        recorded(dropout=0.5, recurrent_dropout=1.5, rng=rng)
    assert rng.random() == np.random.default_rng(0).random()


def test_a_call_has_no_dropout():
    for name in ("dropout", "recurrent_dropout", "rng"):
        with pytest.raises(TypeError, match=name):
            CASE.model()(CASE.x(), **{name: 0.5})


def test_keep_states_sees_the_same_masks():
    one = Pass(replace(CASE, lengths=LENGTHS), dropout=True, recurrent_dropout=True)
    model = one.case.model()
    assert_identical(one.record(model, keep="states").y, one.record(model).y)
