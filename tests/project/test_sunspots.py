"""The sunspots example runs, beats persistence, and never trains on its test years."""

import importlib.util
import re
import subprocess
import sys

import numpy as np
import pytest

import clstm
from tests.support.paths import ROOT

PATH = ROOT / "examples" / "sunspots.py"
METHODS = ("persistence", "autoregression", "LSTM")
TEST_YEARS = 88


@pytest.fixture
def sunspots():
    """The example as a module, with short training: these tests do not measure its accuracy."""
    spec = importlib.util.spec_from_file_location("sunspots", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.EPOCHS, module.MEMBERS = 2, 2
    threads = clstm.get_num_threads()
    yield module
    clstm.set_num_threads(threads)  # the example sets its own number


def errors(output):
    """Return {method: (RMSE, MAE)} of the last lines."""
    lines = output.splitlines()[-len(METHODS) :]
    found = [re.fullmatch(r"(\w+) +RMSE (\d+\.\d+)  MAE (\d+\.\d+)", line) for line in lines]
    return {match[1]: (float(match[2]), float(match[3])) for match in found}


def run(folder, seed):
    command = [sys.executable, str(PATH), "--seed", str(seed), "--out", str(folder), "--quiet"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return errors(result.stdout)


def assert_skill(found):
    assert tuple(found) == METHODS
    rmse, mae = zip(*found.values(), strict=True)
    assert all(0 < small < large for small, large in zip(mae, rmse, strict=True))
    assert found["LSTM"][0] < 0.75 * found["persistence"][0]
    assert found["LSTM"][1] < 0.75 * found["persistence"][1]


def test_the_forecast_beats_persistence(tmp_path):
    assert_skill(run(tmp_path, 0))
    assert (tmp_path / "sunspots.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 5))
def test_the_forecast_beats_persistence_with_any_seed(tmp_path, seed):
    assert_skill(run(tmp_path, seed))


def test_the_years_are_all_there(sunspots):
    years, numbers = sunspots.load()
    np.testing.assert_array_equal(years, np.arange(1700, 2009))
    assert numbers.shape == years.shape
    assert np.isfinite(numbers).all() and (numbers >= 0).all()
    assert np.sum(years >= sunspots.TEST_FROM) == TEST_YEARS
    assert years[0] < sunspots.VALIDATION_FROM < sunspots.TEST_FROM


def test_nothing_is_learnt_or_chosen_from_the_held_out_years(sunspots, tmp_path, monkeypatch):
    """The order is equal, and the weights bitwise, if the held-out years are replaced."""
    years, numbers = sunspots.load()
    spoilt = np.where(years < sunspots.TEST_FROM, numbers, np.nan)
    results = []

    def keeping(function):
        def kept(*arguments):
            results.append(function(*arguments))
            return results[-1]

        return kept

    for name in ("train", "choose_autoregression"):
        monkeypatch.setattr(sunspots, name, keeping(getattr(sunspots, name)))

    def learnt(values):
        results.clear()
        monkeypatch.setattr(sunspots, "load", lambda: (years, values))
        sunspots.main(["--out", str(tmp_path), "--quiet"])
        choice, ensemble = results
        return choice, ensemble.scale, [model.parameters.flat for model in ensemble.models]

    choice, scale, weights = learnt(numbers)
    choice_spoilt, scale_spoilt, weights_spoilt = learnt(spoilt)
    assert choice == choice_spoilt and scale == scale_spoilt
    np.testing.assert_array_equal(weights, weights_spoilt)


def test_a_forecast_depends_on_the_years_before_it_and_on_no_other(sunspots):
    years, numbers = sunspots.load()
    changed = 40  # held-out years
    other = numbers.copy()
    other[changed - TEST_YEARS :] += 50
    plain = sunspots.forecasts(years, numbers, seed=0, quiet=True)
    later = sunspots.forecasts(years, other, seed=0, quiet=True)
    assert tuple(plain) == METHODS
    for name in METHODS:
        assert plain[name].shape == (TEST_YEARS,)
        np.testing.assert_array_equal(plain[name][: changed + 1], later[name][: changed + 1])
        assert (plain[name][changed + 1 :] != later[name][changed + 1 :]).all()


def test_persistence_is_the_year_before(sunspots):
    years, numbers = sunspots.load()
    forecast = sunspots.forecasts(years, numbers, seed=0, quiet=True)["persistence"]
    np.testing.assert_array_equal(forecast, numbers[years >= sunspots.TEST_FROM - 1][:-1])


def test_the_autoregression_is_least_squares_on_the_lags(sunspots):
    """Against lstsq: statsmodels fits the regression that the example describes."""
    _, numbers = sunspots.load()
    stop, order = 221, 3
    root = np.sqrt(numbers)
    lags = [root[order - lag : len(root) - lag] for lag in range(1, order + 1)]
    design = np.column_stack([np.ones(len(root) - order), *lags])
    fitted = stop - order
    weights = np.linalg.lstsq(design[:fitted], root[order:stop], rcond=None)[0]
    expected = np.maximum(design[fitted:] @ weights, 0) ** 2
    actual = sunspots.autoregression(numbers, stop, 0.5, order)
    np.testing.assert_allclose(actual, expected, rtol=1e-8)


def test_the_scale_is_undone(sunspots):
    numbers = np.array([0.0, 5.0, 190.2])
    for power in sunspots.POWERS:
        scale = sunspots.Scale.of(numbers, power)
        z = scale.scaled(numbers)
        np.testing.assert_allclose([z.mean(), z.std()], [0, 1], atol=1e-12)
        np.testing.assert_allclose(scale.numbers(z), numbers, atol=1e-9)
        assert scale.numbers(z.min() - 1) == 0  # there are no fewer than none
