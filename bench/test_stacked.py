"""The recurrent product of a stacked weight matrix beside four products, by BLAS.

A step multiplies the hidden state by the recurrent weights of four gates: stacked, one product of
(4H, H), separate, four products of (H, H). Operations and bytes of weights are the same. One call
does the fixed work of BLAS (checks, choice of a kernel, remainders) once instead of four times, and
reads and packs the state once instead of four times.

The gain is some per cent, except where OpenBLAS treats the two differently: it multiplies small
matrices without packing, up to M * N * K = 10^6 (and M * N = 1200, transposed). If a quarter of the
product is below that threshold and the whole is above it, four calls win by a wide margin, because
packing all weights at every step dominates a small batch. Weights packed once avoid that cost.

Both call scipy's sgemm on one thread from a loop in C, so that no figure contains Python's
overhead. The ratio is the median over rounds; in a round both have one turn.
"""

import ctypes
import time
from functools import partial
from statistics import median

import numpy as np
import pytest
from scipy.linalg import cython_blas
from threadpoolctl import threadpool_limits

from bench.engines.peers import PAUSE_SECONDS
from bench.measure import native

GATES = 4
TURN_SECONDS = 0.01


def sgemm_address() -> int:
    """Address of scipy's sgemm for Cython."""
    api = ctypes.pythonapi
    api.PyCapsule_GetName.restype = ctypes.c_char_p
    api.PyCapsule_GetName.argtypes = [ctypes.py_object]
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    capsule = cython_blas.__pyx_capi__["sgemm"]
    return api.PyCapsule_GetPointer(capsule, api.PyCapsule_GetName(capsule))


@pytest.fixture(scope="module")
def step_seconds(tmp_path_factory):
    """The function of stacked.c."""
    if native.compiler() is None:
        pytest.skip("needs a C compiler")
    size, pointer = ctypes.c_int64, ctypes.c_void_p
    arguments = (pointer, ctypes.c_int, size, size, size, pointer, pointer, pointer)
    target = tmp_path_factory.mktemp("stacked") / "stacked.so"
    return native.function("engines/stacked.c", target, "step_seconds", arguments)


class Step:
    """A step as `one` product and as `four`, on its own arrays; both take a number of repeats."""

    def __init__(self, function, batch: int, hidden: int) -> None:
        rng = np.random.default_rng(0)
        self.state = rng.standard_normal((batch, hidden), dtype=np.float32)
        self.weights = rng.standard_normal((GATES * hidden, hidden), dtype=np.float32)
        self.stacked = np.empty((batch, GATES * hidden), np.float32)
        self.separate = np.empty((GATES, batch, hidden), np.float32)

        def bind(parts: int, gates: np.ndarray):
            arrays = [array.ctypes.data for array in (self.weights, self.state, gates)]
            head = (sgemm_address(), parts, batch, hidden)
            return lambda repeats: function(*head, repeats, *arrays)

        self.one = bind(1, self.stacked)
        self.four = bind(GATES, self.separate)

    def check(self) -> None:
        """Both give NumPy's pre-activations."""
        self.one(1)
        self.four(1)
        expected = self.state @ self.weights.T
        np.testing.assert_allclose(self.stacked, expected, rtol=1e-4, atol=1e-3)
        together = np.concatenate(list(self.separate), axis=1)
        np.testing.assert_allclose(together, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("hidden", [64, 256, 512])
@pytest.mark.parametrize("batch", [1, 8, 32, 128])
def test_stacked_product(benchmark, keep, rounds, step_seconds, batch, hidden):
    benchmark.group = "stacked"
    step = Step(step_seconds, batch, hidden)
    time.sleep(PAUSE_SECONDS)
    with threadpool_limits(1, user_api="blas"):
        step.check()
        repeats = 1 + int(TURN_SECONDS / step.one(3))
        benchmark.pedantic(partial(step.one, 1), rounds=rounds, iterations=repeats, warmup_rounds=1)
        if benchmark.disabled:
            return
        times = [(step.one(repeats), step.four(repeats)) for _ in range(rounds)]
    keep(
        mode="stacked",
        batch=batch,
        hidden_size=hidden,
        stacked_us=median(one for one, _ in times) * 1e6,
        separate_us=median(four for _, four in times) * 1e6,
        ratio=median(four / one for one, four in times),
    )
