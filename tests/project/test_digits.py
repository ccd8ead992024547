"""The digits example runs as users run it, and reaches the accuracy that it states."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest

import clstm
from tests.support.paths import ROOT

PATH = ROOT / "examples" / "digits.py"


@pytest.fixture
def digits():
    """The example as a module, with short training: these tests do not measure its accuracy."""
    spec = importlib.util.spec_from_file_location("digits", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.EPOCHS = 2
    threads = clstm.get_num_threads()
    yield module
    clstm.set_num_threads(threads)  # the example sets its own number


def run(folder, seed):
    command = [sys.executable, str(PATH), "--seed", str(seed), "--out", str(folder), "--quiet"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    last = result.stdout.splitlines()[-1]
    assert last.startswith("test accuracy: ")
    return float(last.removeprefix("test accuracy: "))


def test_digits_are_recognised(tmp_path):
    assert run(tmp_path, 0) >= 0.97
    for name in ("confusion.png", "gates.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "digits.safetensors").exists()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 5))
def test_digits_are_recognised_with_any_seed(tmp_path, seed):
    assert run(tmp_path, seed) >= 0.97


def test_the_held_out_quarter_is_the_same_for_every_seed_and_stratified(digits):
    train, held_out = digits.load()
    assert len(held_out.labels) == 450
    assert len(train.labels) + len(held_out.labels) == 1797
    counts = np.bincount(held_out.labels)
    assert counts.max() - counts.min() <= 3
    again = digits.load()[1]
    np.testing.assert_array_equal(again.images, held_out.images)


def test_training_reads_no_held_out_digit(digits, tmp_path, monkeypatch):
    """The trained model is bitwise equal if the held-out digits are replaced."""
    load = digits.load

    def spoilt():
        train, held_out = load()
        return train, digits.Digits(np.full_like(held_out.images, np.nan), 9 - held_out.labels)

    def trained(folder):
        digits.main(["--out", str(folder), "--quiet"])
        return clstm.LSTM.load(folder / "digits.safetensors").parameters.flat

    plain = trained(tmp_path / "plain")
    monkeypatch.setattr(digits, "load", spoilt)
    np.testing.assert_array_equal(trained(tmp_path / "spoilt"), plain)


def test_the_held_out_digits_are_predicted_once(digits, tmp_path, monkeypatch):
    held_out = digits.load()[1].images
    seen = []
    scores = digits.scores

    def counted(model, images):
        seen.append(images.shape == held_out.shape and np.array_equal(images, held_out))
        return scores(model, images)

    monkeypatch.setattr(digits, "scores", counted)
    digits.main(["--out", str(tmp_path), "--quiet"])
    assert sum(seen) == 1 and seen[-1]
