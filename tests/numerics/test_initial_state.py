"""A learned initial state: the calls that start from it, its gradient, its training."""

from dataclasses import replace

import numpy as np
import pytest

import clstm
from tests.support.bounds import assert_identical, assert_same_results
from tests.support.case import Case
from tests.support.options import Pass

CASE = Case(6, 5, num_layers=2, direction="both", proj_size=4, learn_state=True)


def own_state(model, *batch):
    """The model's own initial state, repeated for every row."""
    parts = (model.parameters[name] for name in ("h0", "c0"))
    if not batch:
        return tuple(part.copy() for part in parts)
    return tuple(np.repeat(part[:, np.newaxis], *batch, axis=1) for part in parts)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_without_a_state_every_row_starts_from_the_models_own(dtype):
    case = replace(CASE, dtype=dtype)
    model, x = case.model(), case.x()
    y, state = model(x)
    assert_same_results((y, state), model(x, own_state(model, 5)))
    zeros = tuple(np.zeros_like(part) for part in own_state(model, 5))
    assert np.abs(model(x, zeros)[0] - y).max() > 1e-3
    tape = model.record(x)
    assert_same_results((tape.y, tape.state), (y, state))
    assert_same_results(model(x[:, 0]), model(x[:, 0], own_state(model)))
    lengths = np.array([6, 0, 3, 1, 6])
    own = model(x, own_state(model, 5), lengths=lengths)
    assert_same_results(model(x, lengths=lengths), own)
    assert_identical(model(x, lengths=lengths)[1][0][:, 1], model.parameters["h0"])


def test_it_begins_at_zero_and_like_a_model_without():
    plain = clstm.LSTM(5, 6, 2, bidirectional=True, proj_size=4, rng=0)
    model = clstm.LSTM(5, 6, 2, bidirectional=True, proj_size=4, learn_state=True, rng=0)
    assert list(model.parameters)[-2:] == ["h0", "c0"]
    assert model.parameters["h0"].shape == (4, 4)
    assert model.parameters["c0"].shape == (4, 6)
    assert not model.parameters["h0"].any() and not model.parameters["c0"].any()
    size = plain.parameters.flat.size
    np.testing.assert_array_equal(model.parameters.flat[:size], plain.parameters.flat)
    assert model.parameters.flat.size == size + 40
    assert_same_results(model(CASE.x()), plain(CASE.x()))


@pytest.mark.parametrize("keep", ["gates", "states"])
@pytest.mark.parametrize("num_threads", [1, 3])
def test_its_gradient_is_the_sum_over_rows(keep, num_threads):
    """The sum of the rows' state gradients if they started from the model's state; else zero."""
    case = replace(CASE, batch=33, lengths=(*range(6), 0, *[6] * 26), dtype=np.float64)
    for given in (False, True):
        one = Pass(case, with_state=given, recurrent_dropout=True)
        gradients = one.gradients(case.model(), keep=keep, num_threads=num_threads)
        for name, state in (("h0", "state h"), ("c0", "state c")):
            expected = gradients[state].sum(1) * (not given)
            np.testing.assert_allclose(gradients[name], expected, rtol=1e-12, atol=1e-12)
            assert gradients[state].any()


def test_a_state_given_as_the_same_numbers_gives_the_same_other_gradients():
    model = replace(CASE, dtype=np.float64).model()
    x = CASE.x().astype(float)
    dy = CASE.dy().astype(float)
    learned = model.record(x).backward(dy, num_threads=1)
    given = model.record(x, own_state(model, 5)).backward(dy, num_threads=1)
    assert_identical(given.x, learned.x)
    for part, other in zip(given.state, learned.state, strict=True):
        assert_identical(part, other)
    for name, array in given.parameters.items():
        if name in ("h0", "c0"):
            assert not array.any() and learned.parameters[name].any()
        else:
            assert_identical(array, learned.parameters[name])


def test_no_rows_have_no_gradient_of_it():
    case = replace(CASE, batch=0)
    grad = case.model().record(case.x()).backward(case.dy())
    assert grad.parameters["h0"].shape == (4, 4)
    assert not grad.parameters.flat.any()


def test_training_it_alone_lowers_the_loss():
    """The first step of a short sequence depends on the initial state most."""
    model = clstm.LSTM(1, 8, learn_state=True, rng=0)
    x = np.zeros((2, 3, 1), np.float32)
    target = np.full((2, 3, 8), 0.3, np.float32)
    adam, losses = clstm.optim.Adam(model, lr=0.05), []
    for _ in range(60):
        tape = model.record(x)
        loss, dy = clstm.losses.mean_squared_error(tape.y, target)
        grad = tape.backward(dy)
        for name, array in grad.parameters.items():
            if name not in ("h0", "c0"):
                array[...] = 0
        adam.step(grad)
        losses.append(loss)
    assert losses[-1] < 0.2 * losses[0]
    assert (model.parameters["c0"] != 0).all()
    assert_same_results(model(x), model(x, own_state(model, 3)))


def test_windows_carry_it_on():
    """The first window starts from the model's own state, the others from where one ended."""
    case = Case(23, 3, num_layers=2, proj_size=4, learn_state=True, dtype=np.float64)
    model, x, dy = case.model(), case.x(), case.dy()
    y, _ = model(x)
    total, first = None, None
    for window, tape in model.windows(x, 10):
        np.testing.assert_allclose(tape.y, y[window], rtol=1e-12, atol=1e-12)
        total = tape.backward(dy[window], into=total)
        first = total.parameters["h0"].copy() if first is None else first
    assert first.any()
    np.testing.assert_allclose(total.parameters["h0"], first, rtol=1e-12)
