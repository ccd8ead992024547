"""Files that other programs made, in `samples/`, each to the program's own result."""

import importlib
from pathlib import Path

import numpy as np
import pytest

import clstm
from clstm.load import recognise
from tests.interop.makers.sample import EXPECTED, SAMPLES, read_index

LINES = {line["file"]: line for line in read_index()}
PREFERRED = ("safetensors", "nam", "guitarml", "rtneural", "npz")
every_sample = pytest.mark.parametrize("name", LINES)


def model_of(name):
    return clstm.load(SAMPLES / name, **LINES[name].get("options", {}))


def expected(name):
    with np.load(SAMPLES / (name + EXPECTED)) as arrays:
        return arrays["x"], arrays["y"]


def assert_equal(y, name):
    """To the program's own result, but for axes of one element that notes tell of."""
    _, wanted = expected(name)
    if y.shape != wanted.shape:
        y = y.reshape(wanted.shape)
    np.testing.assert_allclose(y, wanted, rtol=0, atol=LINES[name].get("error", 2e-5))


def test_every_file_is_in_the_index():
    files = {p for p in SAMPLES.rglob("*.*") if p.parent != SAMPLES and EXPECTED not in p.name}
    assert {str(path.relative_to(SAMPLES)) for path in files} == LINES.keys()
    assert len(LINES) > 50
    assert sum(path.stat().st_size for path in SAMPLES.rglob("*.*")) < 1 << 20


def test_no_file_names_a_place_of_the_machine_that_made_it():
    for path in SAMPLES.rglob("*.*"):
        data = path.read_bytes()
        assert b".debug_pkl" not in data and b"/tmp/" not in data and b"/home/" not in data, path


@every_sample
def test_a_file_computes_what_its_program_does(name):
    model, (x, y) = model_of(name), expected(name)
    computed = model(x)[0]
    assert (computed.shape == y.shape) == ("axes" not in model.notes)
    assert_equal(computed, name)


@every_sample
def test_saved_and_loaded_again(name, tmp_path):
    model = model_of(name)
    model.save(tmp_path / "model.safetensors")
    again = clstm.load(tmp_path / "model.safetensors")
    assert repr(again) == repr(model) and again.notes == model.notes
    np.testing.assert_array_equal(again(expected(name)[0])[0], model(expected(name)[0])[0])


@every_sample
def test_converted_to_every_format_that_can_hold_it(name, tmp_path):
    """A format keeps the model, or refuses it in words; the sample's own one keeps it."""
    model, kept = model_of(name), set()
    for module in PREFERRED:
        path = tmp_path / f"model.{module}"
        try:
            importlib.import_module(f"clstm.interop.{module}").save(model, path)
        except (ValueError, TypeError):
            assert not path.exists()
            continue
        again = clstm.load(path)
        y = again(batches(name, model, again.batch_first))[0]
        if again.batch_first != model.batch_first and y.ndim == 3:
            y = y.swapaxes(0, 1)
        assert_equal(y, name)
        kept.add(module)
    folder = Path(name).parts[0]
    assert "safetensors" in kept
    assert folder in kept or folder == "torch"


def batches(name, model, batch_first):
    """x for a model of which batch_first was not kept."""
    x, _ = expected(name)
    return x.swapaxes(0, 1) if batch_first != model.batch_first and x.ndim > 2 else x


@pytest.mark.parametrize("name", [name for name, line in LINES.items() if line["stream"]])
def test_streamed(name):
    """Step by step and in blocks; a row of the batch for each row."""
    model, (x, _) = model_of(name), expected(name)
    axes = x.ndim + (model.input_size is None)
    turned = model.batch_first and axes == 3
    steps = x.swapaxes(0, 1) if turned else x
    stream = model.stream(steps.shape[1] if axes == 3 else None)
    first = [stream.step(x_t) for x_t in steps[:2]]
    y = np.concatenate([first, stream.process(steps[2:])])
    assert_equal(y.swapaxes(0, 1) if turned else y, name)


@pytest.mark.parametrize("name", [name for name, line in LINES.items() if not line["stream"]])
def test_what_needs_later_steps_is_no_stream(name):
    with pytest.raises(ValueError):
        model_of(name).stream()


def test_formats_are_recognised_by_content(tmp_path):
    folders = {"torch": "PyTorch", "npz": "NumPy", "safetensors": "safetensors"}
    folders |= {"nam": "NAM", "guitarml": "GuitarML", "rtneural": "RTNeural"}
    for name in LINES:
        (tmp_path / "file").write_bytes((SAMPLES / name).read_bytes())
        assert recognise(tmp_path / "file").name == folders[Path(name).parts[0]]
