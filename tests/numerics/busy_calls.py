"""Calls of one case on a busy machine, each compared with those of a quiet one.

`python -m tests.numerics.busy_calls NAME ENGINE SECONDS` computes a case of CASES once with nothing
beside it, and then again and again while processes compete for every CPU. It prints how many calls
it made; with CLSTM_TRACE=1 the library prints how often a thread lost its CPU.
"""

import os
import subprocess
import sys
import time

import numpy as np

import clstm
from tests.support.bounds import assert_identical
from tests.support.case import Case

CASES = {
    "units": Case(steps=60, batch=2, input_size=90, hidden_size=210),
    "units, projection": Case(60, 2, 50, 260, proj_size=130, output_size=3),
    "units, lengths": Case(50, 4, 90, 200, lengths=(50, 31, 9, 44)),
    "rows": Case(steps=60, batch=40, input_size=40, hidden_size=70, num_layers=2),
    "rows, lengths": Case(60, 40, 40, 70, output_size=3, lengths=tuple(range(20, 60))),
    "layers": Case(steps=200, batch=1, input_size=40, hidden_size=64, num_layers=3),
    "directions": Case(60, 4, 60, 120, num_layers=2, direction="both", output_size=5),
    "initial state": Case(steps=60, batch=4, input_size=60, hidden_size=120, learn_state=True),
}
COMPETITORS = (os.cpu_count() or 1) + 1
# It ends by itself, should this process be killed.
SPIN = "import time; end = time.monotonic() + 60\nwhile time.monotonic() < end: pass"


def arrays(case: Case, model: clstm.LSTM, num_threads: int, dropout: float = 0.0) -> list:
    """y, the final state and every gradient."""
    drop = {"recurrent_dropout": dropout, "rng": 7} if dropout else {}
    lengths = {} if case.lengths is None else {"lengths": case.lengths}
    tape = model.record(case.x(), case.state(), num_threads=num_threads, **lengths, **drop)
    y = tape.y.copy()
    grad = tape.backward(case.dy(), num_threads=num_threads)
    return [y, *tape.state, grad.x, *grad.state, *grad.parameters.values()]


def main(name: str, engine: str, seconds: float) -> None:
    clstm.set_engine(engine)
    clstm.set_team("pool")
    case = CASES[name]
    model, settings = case.model(), [(2, 0.0), (3, 0.0), (2, 0.25)]
    expected = [arrays(case, model, *setting) for setting in settings]
    competitors = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(COMPETITORS)]
    calls = 0
    try:
        end = time.monotonic() + seconds
        while time.monotonic() < end or calls < 10:
            for setting, quiet in zip(settings, expected, strict=True):
                for a, b in zip(arrays(case, model, *setting), quiet, strict=True):
                    assert_identical(np.asarray(a), np.asarray(b))
                calls += 1
    finally:
        for process in competitors:
            process.kill()
            process.wait()
    print(calls)


if __name__ == "__main__":
    main(*sys.argv[1:3], float(sys.argv[3]))
