"""KeyboardInterrupt at random moments: nothing stays locked or half done."""

import os
import subprocess
import sys

import numpy as np
import pytest

import clstm
from tests.support.paths import ROOT

KINDS = [
    *("adam", "sgd", "dicts", "edits", "loads", "calls", "windows", "streams", "holds"),
    pytest.param("swaps", marks=pytest.mark.peers),
]


def run(kind: str, moments: int, seed: int) -> None:
    command = [sys.executable, "-m", "tests.support.interrupts", kind, str(moments), str(seed)]
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=60 + moments, check=False, cwd=ROOT
    )
    assert result.stdout == "interrupted every time\n", result.stderr[-3000:]


@pytest.mark.parametrize("kind", KINDS)
def test_interrupts_at_some_moments(kind):
    run(kind, 64, seed=0)


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_interrupts_at_many_moments(kind):
    run(kind, 20_000 // len(KINDS), seed=1)


@pytest.mark.parametrize("timeout", [None, 1.0])
def test_an_edit_that_is_dropped_before_its_block_begins_has_ended(timeout):
    """Python 3.14 may run a signal handler between `__enter__` and the block."""
    lstm = clstm.LSTM(3, 5, rng=0)
    before = lstm.parameters.flat.copy()
    dropped = lstm.edit(timeout)
    dropped.__enter__().flat += 1
    with pytest.raises(RuntimeError, match="already being edited"), lstm.edit():
        pass
    del dropped
    with lstm.edit() as parameters:
        np.testing.assert_array_equal(parameters.flat, before)


def test_an_edit_serves_one_block():
    lstm = clstm.LSTM(3, 5, rng=0)
    edit = lstm.edit()
    with edit as parameters:
        parameters.flat = 2
    with pytest.raises(RuntimeError, match=r"call edit\(\) once more"), edit:
        pass
    with pytest.raises(ValueError, match="read-only"):
        parameters["bias_l0"][0] = 3
    assert (lstm.parameters.flat == 2).all()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_block_that_forks_edits_in_both_processes():
    lstm, reading = clstm.LSTM(3, 5, rng=0), os.pipe()
    with lstm.edit() as parameters:
        parameters.flat = 2
        child = os.fork()
    if not child:
        try:
            lstm(np.ones((2, 3)))
            os.write(reading[1], bytes([int(lstm.parameters.flat[0])]))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(reading[1])
    assert os.read(reading[0], 1) == b"\2"
    os.close(reading[0])
    assert (lstm.parameters.flat == 2).all()
