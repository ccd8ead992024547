"""Gradients with all options together: finite differences, the specification, and each other."""

from dataclasses import replace

import numpy as np
import pytest

import clstm
from tests.support.bounds import assert_gradients, assert_identical, largest
from tests.support.case import Case
from tests.support.differences import assert_differences
from tests.support.options import Pass, lengths_of, random_pass, rows_of


@pytest.mark.parametrize(
    "block", [*range(5), *(pytest.param(n, marks=pytest.mark.long) for n in range(5, 20))]
)
def test_finite_differences_of_every_input(block):
    """Twenty passes a block: every element of x, h, c and all parameters, under every option."""
    for seed in range(20 * block, 20 * block + 20):
        one = random_pass(seed, largest=3)
        assert_differences(one, one.case.model())


def test_the_passes_that_are_tested_have_every_option():
    """The seeds cover each option on and off, and the pairs that work on the same rows."""
    passes = [random_pass(seed, largest=3) for seed in range(100)]
    cases = [one.case for one in passes]
    assert {case.direction for case in cases} == {"forward", "reverse", "both"}
    for choose in (
        lambda one: one.ragged,
        lambda one: one.with_state,
        lambda one: one.recurrent_dropout,
        lambda one: one.dropout and one.ragged,
        lambda one: one.dropout and one.case.direction == "both",
        lambda one: one.case.learn_state and not one.with_state,
        lambda one: one.case.proj_size and one.case.direction == "both",
        lambda one: one.case.proj_size and one.dropout and one.recurrent_dropout,
        lambda one: one.case.lengths and 0 in one.case.lengths,
        lambda one: one.case.lengths and not any(one.case.lengths),
        lambda one: one.case.lengths and one.case.direction == "reverse",
        lambda one: one.case.output_size and one.case.direction == "both",
        lambda one: not one.case.bias and one.case.output_size,
    ):
        assert 3 <= sum(bool(choose(one)) for one in passes) <= 97


@pytest.mark.parametrize("seed", range(60))
def test_gradients_match_the_specification(seed):
    one = random_pass(seed, largest=40)
    model = one.case.model()
    expected = one.exact_gradients(model)
    for num_threads in (1, 2, 3):
        actual = one.gradients(model, num_threads=num_threads)
        assert list(actual) == list(expected)
        for name, array in expected.items():
            assert actual[name].shape == array.shape
            np.testing.assert_allclose(actual[name], array, rtol=1e-10, atol=1e-11, err_msg=name)
        assert not actual["x"][np.broadcast_to(one.case.padding(), actual["x"].shape[:2])].any()


@pytest.mark.parametrize("seed", range(100, 120))
def test_float32_gradients_against_the_specification(seed):
    one = random_pass(seed, largest=50, dtype=np.float32)
    model = one.case.model()
    expected = one.exact_gradients(model)
    for num_threads in (1, 2, 3, 8, 64):
        assert_gradients(one.case, one.gradients(model, num_threads=num_threads), expected)


@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("seed", range(200, 220))
def test_a_tape_of_states_alone_gives_the_same_gradients(seed, num_threads):
    one = random_pass(seed, largest=40, dtype=np.float64 if seed % 2 else np.float32)
    model = one.case.model()
    expected = one.gradients(model, num_threads=num_threads)
    actual = one.gradients(model, keep="states", num_threads=num_threads)
    assert_gradients(one.case, actual, expected)


@pytest.mark.parametrize("direction", ["forward", "reverse", "both"])
def test_a_tape_of_states_alone_in_several_chunks(direction):
    """A chunk of 4 MiB of gates is recomputed at a time: 1000 rows, of 1500 and more."""
    case = Case(700, 3, hidden_size=131, num_layers=2, dtype=np.float64, direction=direction)
    one = Pass(replace(case, lengths=(150, 700, 690)), dropout=True, recurrent_dropout=True)
    model = one.case.model()
    assert_gradients(case, one.gradients(model, keep="states"), one.gradients(model))


@pytest.mark.parametrize("seed", range(300, 320))
def test_without_the_gradient_of_x_the_others_are_the_same(seed):
    one = random_pass(seed, largest=20)
    model = one.case.model()
    whole = one.gradients(model)
    without = one.backward(one.record(model), grad_x=False)
    assert without.pop("x") is None
    for name, array in without.items():
        np.testing.assert_allclose(array, whole[name], rtol=1e-12, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("seed", range(400, 420))
def test_gradients_add_up_into_others(seed):
    """A learned initial state's too."""
    one = random_pass(seed, largest=9)
    model = one.case.model()
    alone = one.gradients(model)
    total = one.record(model).backward(None)
    before = total.parameters.flat.copy()
    assert not before.any()
    for times in (1, 2):
        one.backward(one.record(model), into=total)
        for name, array in total.parameters.items():
            np.testing.assert_allclose(array, times * alone[name], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("seed", range(500, 530))
def test_dy_of_each_rows_own_last_step(seed):
    one = random_pass(seed, largest=9)
    case, model = one.case, one.case.model()
    lengths = lengths_of(case)
    last = case.draw(case.batch, case.output_size or case.width, salt=9)
    last[lengths == 0] = np.nan  # they have no last step
    dy = np.zeros((case.steps, *last.shape))
    for b, length in enumerate(lengths):
        dy[length - 1 : length, b] = last[b]
    expected = one.backward(one.record(model), dy)
    grad = one.record(model).backward(last, case.state(salt=6))
    for name, array in grad.parameters.items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-12, atol=1e-13, err_msg=name)
    np.testing.assert_allclose(one.padded(grad.x), expected["x"], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("direction", ["forward", "reverse", "both"])
@pytest.mark.parametrize(
    ("steps", "lengths"), [(0, (0, 0, 0)), (4, (0, 0, 0)), (4, ()), (0, ()), (4, (0, 3, 0))]
)
def test_rows_without_steps_give_their_state_and_its_gradient_through(
    steps, lengths, direction, ragged
):
    case = Case(steps, len(lengths), num_layers=2, output_size=2, direction=direction)
    case = replace(case, proj_size=4, learn_state=True, lengths=lengths)
    one = Pass(case, ragged=ragged and len(lengths) > 0, dropout=True, recurrent_dropout=True)
    model, dstate = case.model(), case.state(salt=6)
    empty = lengths_of(case) == 0
    for given in (True, False):
        one = replace(one, with_state=given)
        own = [
            model.parameters[n][:, None] + np.zeros((1, case.batch, 1), "f4") for n in ("h0", "c0")
        ]
        tape = one.record(model)
        for end, start in zip(tape.state, case.state() if given else own, strict=True):
            assert_identical(end[:, empty], start[:, empty])
        assert not one.padded(tape.y)[:, empty].any()
        gradients = one.backward(tape)
        for part, expected in zip("hc", dstate, strict=True):
            assert_identical(gradients[f"state {part}"][:, empty], expected[:, empty])
        if empty.all():
            learned = {"h0": dstate[0], "c0": dstate[1]}
            for name in model.parameters:
                total = learned[name].sum(1) if name in learned and not given else 0
                np.testing.assert_allclose(gradients[name], total + 0 * gradients[name], atol=1e-6)
        assert not gradients["x"][:, empty].any()


def test_an_empty_list_is_an_empty_batch():
    case = Case(0, 0, num_layers=2, output_size=2, direction="both", proj_size=3)
    model = case.model()
    y, (h, c) = model([])
    assert y == [] and h.shape == (4, 0, 3) and c.shape == (4, 0, 6)
    tape = model.record([], keep="states")
    assert tape.y == tape.hidden == tape.cells == []
    grad = tape.backward([])
    assert grad.x == [] and not grad.parameters.flat.any()


@pytest.mark.parametrize("direction", ["forward", "reverse", "both"])
def test_nan_in_padding_changes_no_gradient(direction):
    """Padding of x and dy: NaN gives the same as numbers; NaN in a row's steps stays in it."""
    case = Case(9, 5, hidden_size=17, num_layers=2, output_size=3, direction=direction)
    one = Pass(replace(case, lengths=(9, 0, 4, 5, 1)))
    model, x, dy = one.case.model(), one.case.x(), one.case.dy()
    nothing_read = one.backward(one.record(model), num_threads=1)
    tape = one.record(model, np.nan_to_num(x, nan=1e30))
    for name, array in one.backward(tape, np.nan_to_num(dy, nan=-1e30), num_threads=1).items():
        assert_identical(array, nothing_read[name])
    x[2, 0, 0] = np.nan
    touched = one.backward(one.record(model, x))
    assert np.isnan(touched["x"][:, 0]).all() and np.isnan(touched["state h"][:, 0]).all()
    np.testing.assert_allclose(touched["x"][:, 1:], nothing_read["x"][:, 1:], rtol=1e-4, atol=1e-6)
    assert np.isnan(touched["weight_out"]).any()


def test_dy_that_does_not_fit():
    model = Case(output_size=2).model()
    x = Case(lengths=(7, 0, 3)).x()
    rows = rows_of(x, (7, 0, 3))
    fitting = [np.zeros((n, 2)) for n in (7, 0, 3)]
    for given, dy, error, words in (
        (x, np.zeros((6, 3, 2)), ValueError, r"dy has shape \(6, 3, 2\)"),
        (x, fitting, TypeError, "dy must be"),
        (rows, fitting[:2], ValueError, "dy has 2 sequences"),
        (rows, [np.zeros((7, 2))] * 3, ValueError, r"dy\[1\] has shape \(7, 2\)"),
        (rows, np.zeros((7, 3, 2)), ValueError, r"dy has shape \(7, 3, 2\)"),
    ):
        tape = model.record(given, lengths=None if isinstance(given, list) else (7, 0, 3))
        with pytest.raises(error, match=words):
            tape.backward(dy)
        assert largest(tape.backward(None).parameters.flat) == 0  # it can still be used


@pytest.mark.parametrize("optimiser", [clstm.optim.Adam, clstm.optim.SGD])
def test_every_parameter_of_every_option_is_trained(optimiser):
    one = Pass(
        Case(9, 4, num_layers=2, output_size=3, direction="both", proj_size=3, learn_state=True),
        with_state=False,
    )
    model = one.case.model()
    before = {name: array.copy() for name, array in model.parameters.items()}
    optimiser(model, 0.01).step(model.record(**one.arguments()).backward(one.case.dy()))
    for name, array in model.parameters.items():
        assert (array != before[name]).mean() > 0.9, name
