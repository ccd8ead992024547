"""The sample files in tests/interop/samples are what today's programs write."""

import io
import itertools

import numpy as np
import pytest

import clstm

torch = pytest.importorskip("torch", reason="install bench/requirements.txt for this tier")

from tests.interop.makers import __main__ as makers  # noqa: E402
from tests.interop.makers.sample import EXPECTED, SAMPLES, read_index  # noqa: E402

pytestmark = pytest.mark.peers
PART = 4  # every fourth sample


def test_a_part_of_the_samples_made_anew(tmp_path):
    assert_made_anew(0, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("first", range(PART))
def test_all_samples_made_anew(first, tmp_path):
    assert_made_anew(first, tmp_path)


def assert_made_anew(first, tmp_path):
    """The same model, and the same result of the program."""
    every = [sample for maker in makers.MAKERS for sample in maker.samples()]
    assert [sample.name for sample in every] == [line["file"] for line in read_index()]
    for sample in itertools.islice(every, first, None, PART):
        line = sample.make(tmp_path)
        made = clstm.load(tmp_path / sample.name, **sample.options)
        kept = clstm.load(SAMPLES / sample.name, **line.get("options", {}))
        assert repr(made) == repr(kept) and made.notes == kept.notes
        np.testing.assert_array_equal(made.parameters.flat, kept.parameters.flat)
        with np.load(SAMPLES / (sample.name + EXPECTED)) as arrays:
            np.testing.assert_array_equal(arrays["x"], sample.x)
            np.testing.assert_allclose(arrays["y"], sample.y, rtol=0, atol=1e-6 + sample.error / 9)


def test_pytorch_runs_the_scripts_that_are_kept():
    """They have been stripped of the names of source files."""
    names = [line["file"] for line in read_index() if line["file"].endswith("ed.pt")]
    ran = 0
    for name in names:
        data = (SAMPLES / name).read_bytes()
        if b"constants.pkl" not in data:
            continue
        with np.load(SAMPLES / (name + EXPECTED)) as arrays, torch.no_grad():
            module = torch.jit.load(io.BytesIO(data))
            forward = module if hasattr(module, "forward") else module.forward__0
            y = forward(torch.tensor(arrays["x"]))
            y = y[0] if isinstance(y, tuple) else y
            np.testing.assert_allclose(y.numpy(), arrays["y"], rtol=0, atol=1e-6)
        ran += 1
    assert ran > 20
