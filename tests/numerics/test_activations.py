"""tanh and sigmoid of the core: accuracy, symmetry, range and limits, on each instruction set."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import clstm
from tests.support.activation_accuracy import (
    INTEGER,
    LOWEST,
    POINTS,
    ULP,
    activation,
    assert_good,
    from_ordinal,
    ordinal,
    points,
)

both_types = pytest.mark.parametrize("dtype", [np.float32, np.float64])
both_functions = pytest.mark.parametrize("name", ["tanh", "sigmoid"])


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
