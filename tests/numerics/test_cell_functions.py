"""The functions that a cell may have: accuracy, limits, NaN, defaults; through a model's y."""

import numpy as np
import pytest

import clstm
from tests.support.bounds import EPS, assert_identical
from tests.support.options import activation
from tests.support.reference_cell import ACTIVATIONS

both_types = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def through_hidden_slot(function, x):
    """function(x) by a model whose cell states are x: gates of 1, and nothing added."""
    units = 37  # whole vectors of every width, and the rest
    one, nothing = clstm.Activation("affine", 0, 1), clstm.Activation("affine", 1, 0)
    cell = clstm.Cell(gate=one, cell=nothing, hidden=function)
    model = clstm.LSTM(1, units, bias=False, cell=cell, dtype=x.dtype, rng=0)
    c = np.resize(x, (1, -(-x.size // units), units))
    state = np.zeros_like(c), c
    y, (_, end) = model(np.zeros((1, c.shape[1], 1), x.dtype), state)
    number = np.abs(c) >= np.finfo(x.dtype).tiny  # others are flushed, or not
    assert_identical(end[number], c[number])
    return y.ravel()[: x.size]


def points(dtype):
    """Sorted numbers of all magnitudes, dense where functions bend; zeros; infinities."""
    info, rng = np.finfo(dtype), np.random.default_rng(3)
    small = [0.0, info.smallest_subnormal, info.tiny / 2, info.tiny, 1e-30, 1e-12, 1e-6, 1e-4]
    large = [87.0, 88.0, 89.0, 104.0, 700.0, 709.0, 710.0, 745.0, 1e30, info.max, np.inf]
    bends = np.array([0.4, 2.0, -4 / 3], dtype)  # where thresholded_relu and hard_sigmoid bend
    x = np.array([*small, *large, *np.nextafter(bends, dtype(0)), *bends], dtype)
    spread = [rng.uniform(-r, r, 20_000) for r in (0.01, 1, 10, 100)]
    return np.sort(np.concatenate([x, -x, *spread]).astype(dtype))


# Units in the last place, and what an error may be in any case. Others are exact.
ULP = dict.fromkeys(("sigmoid", "tanh", "scaled_tanh", "elu", "softplus"), 8) | {"softsign": 3}
FLOOR = {np.float32: 1e-7, np.float64: 1e-15}


@both_types
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_function_alone(name, dtype):
    x, function = points(dtype), activation(name)
    y = through_hidden_slot(function, x)
    assert y.dtype == dtype
    alpha, beta = (None if v is None else dtype(v) for v in (function.alpha, function.beta))
    wide = np.longdouble if dtype == np.float64 else np.float64
    with np.errstate(all="ignore"):
        exact = ACTIVATIONS[name](x.astype(wide), alpha, beta)
        expected = exact.astype(dtype)
        rounding = np.zeros(x.size)
        if name in ULP:
            unit = np.spacing(np.abs(expected)).astype(float)
            rounding = np.maximum(ULP[name] * unit, FLOOR[dtype])
        elif alpha is not None:  # a product and a sum
            rounding = 2 * EPS[np.dtype(dtype)] * (np.abs(alpha * x.astype(wide)) + abs(beta or 0))
    finite = np.isfinite(expected)
    assert_identical(y[~finite], expected[~finite])
    flushed = 2 * float(np.finfo(dtype).tiny)
    error = np.abs(y[finite] - exact[finite])
    assert (error <= np.maximum(rounding[finite], flushed)).all()
    if name == "thresholded_relu":  # not a rounded sum at all
        at_or_above = x >= alpha
        assert_identical(y[at_or_above], x[at_or_above])
        assert not y[~at_or_above].any()


@both_types
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nan_stays_nan_and_alone_in_every_function(name, dtype):
    x = np.linspace(-3, 3, 74).astype(dtype)
    clean = through_hidden_slot(activation(name), x)
    for at in range(x.size):
        holed = x.copy()
        holed[at] = -np.nan if at % 2 else np.nan
        y = through_hidden_slot(activation(name), holed)
        assert np.isnan(y[at])
        assert_identical(np.delete(y, at), np.delete(clean, at))


@pytest.mark.parametrize("name", ["hard_sigmoid", "leaky_relu", "thresholded_relu", "elu"])
def test_defaults_of_alpha_and_beta(name):
    usual = {"hard_sigmoid": (0.2, 0.5), "leaky_relu": (0.01,), "thresholded_relu": (1.0,)}
    given = clstm.Activation(name, *usual.get(name, (1.0,)))
    x = np.linspace(-4, 4, 101)
    y = through_hidden_slot(clstm.Activation(name), x)
    assert_identical(y, through_hidden_slot(given, x))
    assert (y != through_hidden_slot(activation(name), x)).any()
