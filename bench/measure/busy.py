"""Times a case on a busy machine: after NumPy products, whose threads spin for 0.1 s, or beside a
process that computes.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np

from bench.measure.case import Case

PRODUCT_SIZE = 512
SPINNING_SECONDS = 0.1  # of OpenBLAS's threads after a product
TURN_SECONDS = 0.5
CALLS = (5, 50)  # of a turn, at least and at most, each after a product
# It ends by itself, should this process be killed.
SPIN = "import time; end = time.monotonic() + 600\nwhile time.monotonic() < end: pass"


@cache
def _matrix() -> np.ndarray:
    size = (PRODUCT_SIZE, PRODUCT_SIZE)
    return np.random.default_rng(6).standard_normal(size, dtype=np.float32)


def after_products(case: Case) -> dict[str, list[float]]:
    """Seconds of calls, each right after a product; and of a call in the 0.1 s after one."""
    matrix, run = _matrix(), case.engine.run
    each = []
    with case.engine.scope():
        least, most = CALLS
        for _ in range(max(least, min(most, int(TURN_SECONDS / case.batch_seconds())))):
            matrix @ matrix
            start = time.perf_counter()
            run()
            each.append(time.perf_counter() - start)
        time.sleep(2 * SPINNING_SECONDS)
        matrix @ matrix
        calls, start = 0, time.perf_counter()
        while (taken := time.perf_counter() - start) < SPINNING_SECONDS or not calls:
            run()
            calls += 1
    return {"each": each, "all": [taken / calls]}


@contextmanager
def neighbour() -> Iterator[None]:
    """A process that computes all the time, within the block."""
    process = subprocess.Popen([sys.executable, "-c", SPIN])
    try:
        time.sleep(SPINNING_SECONDS)
        yield
    finally:
        process.kill()
        process.wait()
