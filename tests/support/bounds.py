"""Comparisons of results: the bounds of the specification, and equality to the bit."""

import math
from functools import cache

import numpy as np

import clstm

EPS = {np.dtype(t): float(np.finfo(t).eps) for t in (np.float32, np.float64)}


def forward_bound(steps, dtype):
    """Relative to max(1, |c|): the bound of docs/testing.md for models as initialised."""
    return 4 * math.ceil(math.log2(9 * max(steps, 1))) * EPS[np.dtype(dtype)]


def assert_close(actual, expected, bound, scale=1.0):
    """|actual - expected| <= bound * max(1, scale) everywhere."""
    error = np.abs(np.asarray(actual, float) - np.asarray(expected, float)).max(initial=0)
    assert actual.shape == expected.shape
    assert error <= bound * max(1.0, float(scale)), (
        f"error {error}, allowed {bound * max(1, scale)}"
    )


def assert_gradients(case, actual, exact):
    """Gradients by name against better ones, tensor by tensor: the bound of docs/testing.md."""
    norm = np.linalg.norm
    together = norm([norm(a) for a in exact.values()])
    units = case.hidden_size * max(case.batch * case.steps, 1)
    norm_dy = norm(np.nan_to_num(case.dy()))
    bound = 8 * math.ceil(math.log2(4 * units)) * EPS[np.dtype(case.dtype)]
    for name, array in exact.items():
        error = norm(actual[name] - array)
        assert error <= bound * max(norm(array), together, norm_dy), name


def largest(*arrays):
    return max(np.abs(a).max(initial=0) for a in arrays)


@cache
def engine():
    return clstm.config()["engine"]


def assert_identical(actual, expected):
    """Equal to the bit, the sign of zero included; a NaN equals any other."""
    np.testing.assert_array_equal(actual, expected)
    number = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(actual[number]), np.signbit(expected[number]))


def assert_same(actual, expected, scale=1.0):
    """The row contract: a row's results depend on neither threads nor chunks nor other rows.

    The packed engine keeps it to the bit, the blas engine to rounding: BLAS chooses the order of
    its sums by the shape of the whole product.
    """
    if engine() == "packed":
        assert_identical(actual, expected)
    else:
        assert_close(actual, expected, 1e-6, scale)


def assert_same_results(actual, expected):
    """(y, (h, c)) of two calls, by the row contract."""
    (y, (h, c)), (y_expected, (h_expected, c_expected)) = actual, expected
    scale = largest(c_expected)
    assert_same(y, y_expected, scale)
    assert_same(h, h_expected, scale)
    assert_same(c, c_expected, scale)
