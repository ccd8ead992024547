"""100 steps of training in float32, beside the same training by the formulas in float64."""

import numpy as np
import pytest

import clstm
from clstm import losses, optim
from tests.support import reference
from tests.support.formulas import (
    adam_by_formula,
    cross_entropy_by_formula,
    sgd_by_formula,
    squared_error_by_formula,
)


def first_symbol_task(rng):
    """Sequences of 5 symbols, one-hot; at every step the answer is the sequence's first one."""
    symbols = rng.integers(5, size=(12, 16))
    return np.eye(5)[symbols], np.tile(symbols[0], (12, 1))


def running_mean_task(rng):
    x = rng.normal(size=(12, 16, 5))
    return x, np.cumsum(x, axis=0) / np.arange(1, 13)[:, np.newaxis, np.newaxis]


def curve_of_clstm(lstm, optimiser, loss_function, x, target):
    curve = []
    for _ in range(100):
        tape = lstm.record(x)
        loss, dy = loss_function(tape.y, target)
        grad = tape.backward(dy)
        optim.clip_global_norm(grad, 1.0)
        optimiser.step(grad)
        curve.append(loss)
    return curve


def curve_of_oracle(parameters, step_by_formula, settings, loss_by_formula, x, target):
    """The same training in float64, from formulas only: specification, loss, clipping, step."""
    curve, gradients = [], []
    start = np.concatenate([p.ravel() for p in parameters.values()])
    for _ in range(100):
        tape = reference.forward(parameters, x)
        loss, dy = loss_by_formula(tape.y, target, np.ones(target.shape[:2]))
        grad = reference.backward(parameters, tape, dy).parameters
        flat = np.concatenate([g.ravel() for g in grad.values()])
        gradients.append(flat / max(1.0, np.linalg.norm(flat)))
        ends = np.cumsum([p.size for p in parameters.values()])[:-1]
        pieces = np.split(step_by_formula(start, gradients, **settings), ends)
        parameters = {
            name: piece.reshape(p.shape)
            for (name, p), piece in zip(parameters.items(), pieces, strict=True)
        }
        curve.append(loss)
    return curve


def check_curves(seed, task, loss_function, loss_by_formula, optimiser, step_by_formula, settings):
    """Train both ways from the same weights; return the last loss over the first."""
    x, target = task(np.random.default_rng(seed))
    lstm = clstm.LSTM(5, 16, 2, output_size=5, rng=seed)
    parameters = {name: p.astype(np.float64) for name, p in lstm.parameters.items()}
    curve = curve_of_clstm(lstm, optimiser(lstm, **settings), loss_function, x, target)
    expected = curve_of_oracle(parameters, step_by_formula, settings, loss_by_formula, x, target)
    np.testing.assert_allclose(curve, expected, rtol=0, atol=1e-4)
    return curve[-1] / curve[0]


@pytest.mark.parametrize("seed", range(3))
def test_adam_and_cross_entropy(seed):
    settings = {"lr": 0.01, "betas": (0.9, 0.999), "eps": 1e-8}
    loss = losses.softmax_cross_entropy, cross_entropy_by_formula
    step = optim.Adam, adam_by_formula
    assert check_curves(seed, first_symbol_task, *loss, *step, settings) < 0.2


@pytest.mark.parametrize("seed", range(3))
def test_sgd_and_squared_error(seed):
    settings = {"lr": 0.1, "momentum": 0.9}
    loss = losses.mean_squared_error, squared_error_by_formula
    step = optim.SGD, sgd_by_formula
    assert check_curves(seed, running_mean_task, *loss, *step, settings) < 0.5
