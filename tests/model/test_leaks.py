"""Memory does not grow with the number of calls."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="reads the resident size from /proc"
)

PROGRAM = """
import sys
import numpy as np, clstm

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

x, dy = np.ones((3, 2, 2), np.float32), np.ones((3, 2, 1), np.float32)
kept = clstm.LSTM(2, 8, output_size=1, rng=0)
adam = clstm.optim.Adam(kept)

def calls():
    kept(x)

def training():
    tape = kept.record(x, keep="states" if adam.t % 2 else "gates")
    grad = tape.backward(dy)
    clstm.optim.clip_global_norm(grad, 1.0)
    adam.step(grad)

def tapes_thrown_away():
    kept.record(x)

def windows():
    total = None
    for window, tape in kept.windows(x, 1):
        total = tape.backward(dy[window], into=total)

def models():
    model = clstm.LSTM(2, 4, rng=kept_rng)
    tape = model.record(x)
    model(x)
    del model
    tape.hidden

def streams():
    model = clstm.LSTM(2, 4, rng=kept_rng)
    stream = model.stream(2)
    stream.process(x)
    fork = stream.fork()
    fork.join(3)
    with model.edit() as parameters:
        parameters.flat *= 1
    fork.refresh()
    fork.step(fork.process(np.ones((1, 5, 2)))[0, :, :2])
    stream.state = stream.state

def refusals():
    backwards = clstm.LSTM(2, 4, direction="reverse", rng=kept_rng)
    wrongs = (
        lambda: kept(x[:, :, :1]),
        lambda: kept.record(x).backward(dy[:1, :1]),
        lambda: backwards.stream(),
        lambda: kept.stream().step(x),
    )
    for wrong in wrongs:
        try:
            wrong()
        except ValueError:
            pass

kept_rng = np.random.default_rng(0)
count = int(sys.argv[2])
run = globals()[sys.argv[1]]
for _ in range(count // 10 + 500):
    run()
before = resident()
for _ in range(count):
    run()
print(resident() - before)
"""
WHAT = ["calls", "training", "tapes_thrown_away", "windows", "models", "streams", "refusals"]


def growth(what, count):
    command = [sys.executable, "-c", PROGRAM, what, str(count)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.parametrize("what", WHAT)
def test_memory_does_not_grow(what):
    """A thousand tapes or models of this size would be 2 MB."""
    assert growth(what, 3000) < 1 << 20


@pytest.mark.long
@pytest.mark.parametrize("what", WHAT)
def test_memory_does_not_grow_in_a_hundred_thousand(what):
    assert growth(what, 100_000) < 1 << 20
