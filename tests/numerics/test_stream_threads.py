"""Streams and threads: one caller at a time, many streams of one model, and Ctrl-C."""

import subprocess
import sys
import threading

import numpy as np
import pytest

import clstm
from tests.support.bounds import assert_identical
from tests.support.case import Case
from tests.support.streams import stream_of
from tests.support.threads import run_all, run_beside_edits


@pytest.mark.parametrize("steps", [None, 20, 2000])
def test_one_caller_at_a_time(steps):
    """Eight threads, all with the same x: those that were let in came one after the other."""
    case = Case(steps=steps or 1, batch=4, hidden_size=40)
    model, x = case.model(), case.x()
    stream, lock, done = stream_of(case, model), threading.Lock(), 0
    barrier = threading.Barrier(8)

    def call():
        nonlocal done
        barrier.wait(60)
        for _ in range(20 if steps == 2000 else 500):
            try:
                stream.process(x) if steps else stream.step(x[0])
            except RuntimeError as error:
                assert "in use by another caller" in str(error)
            else:
                with lock:
                    done += 1

    run_all([call] * 8)
    assert done > 0
    serial = stream_of(case, model)
    for _ in range(done):
        serial.process(x)
    for actual, wanted in zip(stream.state, serial.state, strict=True):
        assert_identical(actual, wanted)


def in_use(stream):
    try:
        return stream.state is None
    except RuntimeError:
        return True


def test_others_run_during_a_long_block_but_not_on_its_stream():
    model = clstm.LSTM(1, 64, rng=0)
    stream, x = model.stream(8), np.zeros((40_000, 8, 1), np.float32)
    worker = threading.Thread(target=stream.process, args=(x,))
    calls = [
        lambda: stream.step(x[0]),
        lambda: stream.process(x),
        lambda: stream.state,
        lambda: setattr(stream, "state", initial),
        stream.join,
        lambda: stream.leave(0),
        stream.fork,
        stream.reset,
        stream.refresh,
    ]
    initial = stream.state
    worker.start()
    while worker.is_alive() and not in_use(stream):
        pass
    for call in calls:
        with pytest.raises(RuntimeError, match="in use by another caller"):
            call()
    assert stream.batch_size == 8
    worker.join(120)
    alone = model.stream(8)
    alone.process(x)
    assert_identical(stream.state[1], alone.state[1])


def test_many_threads_with_streams_of_one_model_while_one_edits():
    """A stream, refreshed or new, has all weights of one model, never a mixture."""
    case = Case(steps=6, batch=3, hidden_size=9)
    model, x = case.model(), case.x()
    flats = [model.parameters.flat.copy(), model.parameters.flat * 0.5]
    serial = [stream_of(case, one).process(x).tobytes() for one in (model, case.model())]
    with model.edit() as parameters:
        parameters.flat = flats[1]
    serial[1] = stream_of(case, model).process(x).tobytes()
    counts, lock = {"equal": 0, "refused": 0}, threading.Lock()

    def call():
        stream = None
        for turn in range(1000):
            try:
                if stream is None or turn % 2:
                    stream = model.stream(3)
                else:
                    stream.refresh()
            except RuntimeError as error:
                assert "being edited" in str(error)
                outcome = "refused"
            else:
                stream.reset()
                assert stream.process(x).tobytes() in serial
                outcome = "equal"
            with lock:
                counts[outcome] += 1

    run_beside_edits([call] * 8, model, flats)
    assert sum(counts.values()) == 8000 and counts["equal"] > 0


INTERRUPTED = """
import os, signal, threading, time
import numpy as np
import clstm

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in jobs in the background
model = clstm.LSTM(1, 32, output_size=1, rng=0)
stream = model.stream()
x = np.random.default_rng(0).standard_normal((10_000_000, 1), np.float32)
y = np.empty_like(x)

for moment in np.random.default_rng(0).uniform(0.01, 0.3, 20):
    stream.reset()
    y[...] = np.nan
    timer = threading.Timer(moment, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    start = time.monotonic()
    try:
        while True:
            stream.process(x, y)
    except KeyboardInterrupt:
        assert time.monotonic() - start < moment + 2, "hangs"
    timer.join()
    steps = len(y) - np.isnan(y).sum()
    again = model.stream()
    assert (again.process(x[:steps]) == y[:steps]).all()
    for actual, expected in zip(stream.state, again.state):
        assert (actual == expected).all(), steps
    assert 0 < steps < len(y)
print("interrupted every time")
"""


def test_ctrl_c_ends_a_long_block_after_a_whole_step():
    """Twenty random moments; the two seconds guard against a hang, they measure nothing."""
    command = [sys.executable, "-c", INTERRUPTED]
    result = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert result.stdout == "interrupted every time\n", result.stderr
