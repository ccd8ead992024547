"""CLSTM_TRACE=1: a line for each call on standard error, and results as without it."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import numpy as np, clstm
lstm = clstm.LSTM(12, 20, num_layers=2, output_size=3, rng=0)
x = np.zeros((9, 4, 12), np.float32)
lstm(x, num_threads=1)
lstm(x, num_threads=1)
tape = lstm.record(x, num_threads=1)
tape.backward(tape.y, num_threads=1)
"""


def lines_of(value: str) -> list[str]:
    environment = os.environ | {"CLSTM_TRACE": value, "CLSTM_ENGINE": "packed"}
    command = [sys.executable, "-c", PROGRAM]
    run = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert run.stdout == ""
    return run.stderr.splitlines()


def test_each_call_prints_what_was_decided():
    lines = lines_of("1")
    assert [line.split()[1] for line in lines] == [
        *("packed", "forward", "forward", "record"),
        *("packed", "backward", "backward"),  # one line for each layer
    ]
    forward = lines[1]
    assert "T=9 B=4 rows=36 I=12 H=20 L=2 D=1 float32" in forward
    for part in ("engine=packed", "threads=1", "split=units", "hoist=yes", "chunk="):
        assert part in forward
    assert lines[0].endswith("bytes")


@pytest.mark.parametrize("value", ["", "0"])
def test_nothing_is_printed_by_default(value):
    assert lines_of(value) == []
