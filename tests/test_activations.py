"""tanh and sigmoid of the core: accuracy, symmetry, range and limits, on each instruction set.

Errors are counted in units in the last place of the true value. The unit is floored at the smallest
normal number, because the core flushes denormals.
"""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import clstm
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

both_types = pytest.mark.parametrize("dtype", [np.float32, np.float64])
both_functions = pytest.mark.parametrize("name", ["tanh", "sigmoid"])


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
    edge = -RELATIVE_FROM[dtype]  # of sigmoid's normal results, and of exp's range
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
    unit = np.maximum(np.ldexp(wide(1), np.frexp(exact)[1] - info.nmant - 1), info.tiny)
    counted = (error / unit)[(x >= RELATIVE_FROM[dtype]) | (name == "tanh")]
    own_error = 4 * np.finfo(wide).eps / info.eps  # of the oracle; a wide type may not be wider
    assert counted.max(initial=0) <= ULP[name, dtype] + own_error

    assert np.diff(y).min() >= -BACKWARD_STEP[dtype]


@both_types
@both_functions
def test_accuracy(name, dtype):
    x = points(dtype)
    assert x.size == POINTS
    assert_good(name, x)


@both_types
def test_tanh_of_numpys_validation_set(dtype):
    data = Path(np.__file__).parent / "_core/tests/data/umath-validation-set-tanh.csv"
    rows = np.loadtxt(data, delimiter=",", skiprows=1, dtype=str)
    rows = rows[rows[:, 0] == f"np.{dtype.__name__}"]
    unsigned = f"u{np.dtype(dtype).itemsize}"
    x, expected = (
        np.array([int(bits, 16) for bits in rows[:, column]], unsigned).view(dtype)
        for column in (1, 2)
    )
    assert x.size > 500
    number = ~np.isnan(x)
    y = activation("tanh", x)
    assert np.isnan(y[~number]).all()
    unit = np.maximum(np.spacing(np.abs(expected[number])), np.finfo(dtype).tiny)
    error = np.abs(y[number].astype(np.longdouble) - expected[number]) / unit
    assert error.max() <= ULP["tanh", dtype] + 0.5  # the stored values are rounded


@both_types
def test_tanh_is_exactly_odd(dtype):
    x = points(dtype)
    integer = INTEGER[dtype]
    y, mirrored = activation("tanh", x), activation("tanh", -x)
    np.testing.assert_array_equal(mirrored.view(integer), (-y).view(integer))


@both_types
@both_functions
def test_limits(name, dtype):
    x = np.array([-np.inf, np.inf, np.finfo(dtype).min, np.finfo(dtype).max], dtype)
    np.testing.assert_array_equal(activation(name, x), [LOWEST[name], 1] * 2)
    middle = activation(name, np.array([0.0, -0.0], dtype))
    np.testing.assert_array_equal(middle, 0 if name == "tanh" else 0.5)


@both_types
@both_functions
def test_nan_stays_nan_and_alone(name, dtype):
    x = np.linspace(-3, 3, 67).astype(dtype)
    clean = activation(name, x)
    for at in range(x.size):
        holed = x.copy()
        holed[at] = -np.nan if at % 2 else np.nan
        y = activation(name, holed)
        assert np.isnan(y[at])
        np.testing.assert_array_equal(np.delete(y, at), np.delete(clean, at))


@both_types
@both_functions
def test_every_nan_stays_nan(name, dtype):
    rng = np.random.default_rng(7)
    last, integer = int(ordinal(dtype(np.inf))), np.iinfo(INTEGER[dtype])
    payload = rng.integers(last + 1, integer.max, 10_000, endpoint=True)
    x = np.concatenate([payload, payload + integer.min]).astype(integer.dtype).view(dtype)
    assert np.isnan(x).all()
    assert np.isnan(activation(name, x)).all()


@both_types
@both_functions
def test_place_in_the_array_does_not_matter(name, dtype):
    x = np.linspace(-9, 9, 200).astype(dtype)
    whole = activation(name, x)
    for start in range(17):
        for stop in range(start, start + 70):
            np.testing.assert_array_equal(activation(name, x[start:stop]), whole[start:stop])


def test_the_forced_instruction_set_is_the_one_in_use():
    config = clstm.config()
    assert config["isa"] == os.environ.get("CLSTM_ISA", config["isa"])
    assert config["isa"] in config["isas"]


def other_instruction_sets():
    config = clstm.config()
    return [isa for isa in config["isas"] if isa != config["isa"]] or [config["isa"]]


@pytest.mark.parametrize("isa", other_instruction_sets())
def test_on_instruction_set(isa):
    """Run this file again with CLSTM_ISA set, but for the long test and this one."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    command += ["-m", "not long", "-k", "not on_instruction_set"]
    environment = os.environ | {"CLSTM_ISA": isa}
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.long
@both_functions
def test_all_float32(name):
    last, chunk = int(ordinal(np.float32(np.inf))), 2**18
    for start in range(-last, last + 1, chunk):
        n = np.arange(start - 1, min(start + chunk, last + 1))  # overlapping, for the steps
        assert_good(name, from_ordinal(np.maximum(n, -last), np.float32), wide=np.float64)
