"""The example of family names runs as users run it, with the accuracies that it states."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest

import clstm
from tests.support.paths import ROOT

PATH = ROOT / "examples" / "names.py"


pytestmark = pytest.mark.filterwarnings("ignore:lbfgs failed to converge")


@pytest.fixture
def names():
    """The example as a module, with short training: these tests do not measure its accuracy."""
    spec = importlib.util.spec_from_file_location("names", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.EPOCHS, module.HIDDEN_SIZE, module.BASELINE_STEPS = 1, 8, 5
    return module


def accuracies(folder, seed):
    """The accuracy of the LSTM and of the baseline, as the example prints them."""
    command = [sys.executable, str(PATH), "--seed", str(seed), "--out", str(folder), "--quiet"]
    result = subprocess.run([*command, "Rossi"], capture_output=True, text=True, check=True)
    *_, baseline, own = result.stdout.splitlines()
    assert own.startswith("test accuracy: ") and baseline.startswith("test accuracy of n-grams: ")
    return float(own.split(": ")[1]), float(baseline.split(": ")[1])


@pytest.mark.long
@pytest.mark.parametrize("seed", range(3))
def test_names_are_told_apart_as_well_as_stated(tmp_path, seed):
    own, baseline = accuracies(tmp_path, seed)
    assert own > 0.77
    assert 0.81 < baseline < 0.85
    model = clstm.Sequential.load(tmp_path / "names.safetensors")
    assert model([np.array([1, 2, 3])])[0].shape == (1, 12)


def test_the_names_are_told_apart(names, tmp_path, capsys):
    """With a small model and one epoch: far better than the largest class."""
    names.main(["--out", str(tmp_path), "--quiet", "Rossi", "Virtanen"])
    first, rossi, virtanen, baseline, own = capsys.readouterr().out.splitlines()
    assert f"of {len(names.LANGUAGES)} languages" in first
    assert rossi.startswith("Rossi: ") and virtanen.startswith("Virtanen: ")
    assert float(own.removeprefix("test accuracy: ")) > 0.3
    assert float(baseline.removeprefix("test accuracy of n-grams: ")) > 0.3
    assert (tmp_path / "names.safetensors").exists()


def test_the_held_out_quarter_is_the_same_always_and_shares_no_name(names):
    train, held_out = names.load()
    assert not set(train.texts) & set(held_out.texts)
    assert abs(len(held_out.texts) / (len(train.texts) + len(held_out.texts)) - 0.25) < 0.001
    assert set(held_out.labels) == set(range(len(names.LANGUAGES)))
    assert names.load()[1].texts == held_out.texts


def test_training_reads_no_held_out_name(names, tmp_path, monkeypatch):
    """The trained model is bitwise equal if the held-out names are replaced."""
    train, held_out = names.load()
    train = names.Names(train.texts[:600], train.labels[:600])

    def trained(others):
        monkeypatch.setattr(names, "load", lambda: (train, others))
        names.main(["--out", str(tmp_path), "--quiet"])
        return clstm.Sequential.load(tmp_path / "names.safetensors").parameters.flat.copy()

    spoilt = names.Names(["?"] * 30, held_out.labels[:30])
    np.testing.assert_array_equal(trained(held_out), trained(spoilt))
