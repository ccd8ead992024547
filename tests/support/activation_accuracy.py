"""The accuracy of tanh and sigmoid, in units in the last place of the true value.

Below the smallest normal number, and for a few units above it, that number is the unit, because the
core flushes denormals.
"""

from functools import cache

import numpy as np

from clstm import _core

ULP = {("tanh", np.float32): 5, ("sigmoid", np.float32): 4}
ULP |= {("tanh", np.float64): 4, ("sigmoid", np.float64): 4}
ABSOLUTE = {("tanh", np.float32): 3e-7, ("sigmoid", np.float32): 1e-7}
ABSOLUTE |= {("tanh", np.float64): 5e-16, ("sigmoid", np.float64): 2e-16}
BACKWARD_STEP = {np.float32: 5e-7, np.float64: 1e-15}
# Below, sigmoid is less than the smallest normal number, or nearly: only the absolute error counts.
RELATIVE_FROM = {np.float32: -87.0, np.float64: -708.0}
LOWEST = {"tanh": -1, "sigmoid": 0}
INTEGER = {np.float32: np.int32, np.float64: np.int64}
POINTS = 10**6


def activation(name, x):
    return getattr(_core, name)(x)


def truth(name, x, wide=np.longdouble):
    x = x.astype(wide)
    if name == "tanh":
        return np.tanh(x)
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-x))


def ordinal(x):
    """Number the floats in their order: 0 is 0, the smallest positive one 1, its negative -1."""
    bits = np.asarray(x).view(INTEGER[np.asarray(x).dtype.type])
    return np.where(bits < 0, np.iinfo(bits.dtype).min - bits, bits)


def from_ordinal(n, dtype):
    n = np.asarray(n, INTEGER[dtype])
    return np.where(n < 0, np.iinfo(n.dtype).min - n, n).view(dtype)


@cache
def points(dtype):
    """Return 10^6 sorted numbers: all magnitudes, dense where something happens, infinities."""
    rng = np.random.default_rng(20240229)
    last = int(ordinal(dtype(np.inf)))
    edge = -RELATIVE_FROM[dtype]  # ends sigmoid's normal results, and exp's range
    centres = [0, 2**-6, 0.2, 0.35, 0.5, 0.625, 1, 2, 4, 8, 8.8, 9.01, 16.6, 19.06, 20, 36.7, edge]
    centres += [edge + more for more in (0.35, 0.7, 1, 1.4, 1.7, 2, 17)]
    centres += [np.finfo(dtype).tiny, np.finfo(dtype).max]
    windows = ordinal(np.array(centres, dtype))[:, np.newaxis] + np.arange(-2000, 2001)
    windows = np.clip(windows, -last, last).ravel()
    specials = from_ordinal(np.concatenate([windows, -windows]), dtype)
    everywhere = from_ordinal(rng.integers(-last, last, 200_000, endpoint=True), dtype)
    spread = [10, 10, 1, 25, edge, 1.1 * edge]
    size = POINTS - specials.size - everywhere.size
    ranges = [rng.uniform(-r, r, -(-size // len(spread))).astype(dtype) for r in spread]
    return np.sort(np.concatenate([specials, everywhere, np.concatenate(ranges)[:size]]))


def assert_good(name, x, wide=np.longdouble, function=activation):
    """Check accuracy and range over x, and steps from each x to the next; x is sorted."""
    dtype = x.dtype.type
    y, exact = function(name, x), truth(name, x, wide)
    assert y.dtype == dtype
    assert y.min() >= LOWEST[name]
    assert y.max() <= 1

    error = np.abs(y - exact)
    assert error.max() <= ABSOLUTE[name, dtype]

    info = np.finfo(dtype)
    unit = np.ldexp(wide(1), np.frexp(exact)[1] - info.nmant - 1)
    unit[np.abs(exact) < wide(info.tiny) * (1 + 8 * wide(info.eps))] = info.tiny
    counted = (error / unit)[(x >= RELATIVE_FROM[dtype]) | (name == "tanh")]
    own_error = 4 * np.finfo(wide).eps / info.eps  # the oracle's; a wide type may not be wider
    assert counted.max(initial=0) <= ULP[name, dtype] + own_error

    assert np.diff(y).min() >= -BACKWARD_STEP[dtype]
