"""Cost of a step of a live stream in a host in C, and in Python; one thread.

The models are those of test_small.py with a readout of one value. A host in C, linked to the
library as users link it, processes whole blocks; or single samples, if it needs each y immediately;
or single samples while it flushes denormals itself, so that no call has to. Python calls
`Stream.step`.

With `--rtneural FOLDER` RTNeural is measured, too, one sample a call; the fastest of its builds
counts in each round.

A turn repeats the same sequence to fill TURN_SECONDS. A figure is the median over rounds; in
a round every way has one turn, and the order rotates. The limit leaves the readout out.
"""

import ctypes
import math
import time
from collections.abc import Callable
from functools import partial
from statistics import median

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import clstm
from bench.engines import rtneural
from bench.engines.peers import PAUSE_SECONDS
from bench.measure import native
from bench.measure.case import TURN_SECONDS, turns
from bench.measure.cpus import bound
from bench.measure.shapes import STREAM_BLOCK, STREAMS, Shape

KEEP_ENVIRONMENT = 1  # CLSTM_STREAM_KEEP_ENVIRONMENT

# Takes a number of repeats; returns the seconds of a step, and y (T, 1).
Way = Callable[[int], tuple[float, np.ndarray]]


@pytest.fixture(scope="module")
def step_seconds(tmp_path_factory):
    """The function of stream.c."""
    if native.compiler() is None:
        pytest.skip("needs a C compiler")
    flags = [f"-I{clstm.get_include()}", f"-L{clstm.get_library()}"]
    flags += ["-fopenmp"] if clstm.config()["openmp"] else []
    size, pointer = ctypes.c_size_t, ctypes.c_void_p
    arguments = (size, pointer, ctypes.c_int, size, size, size, pointer, pointer)
    return native.function(
        "engines/stream.c",
        tmp_path_factory.mktemp("stream") / "stream.so",
        "step_seconds",
        arguments,
        *flags,
        libraries=("-lclstm", "-lm"),
    )


@pytest.fixture(scope="module")
def rtneural_builds(request, tmp_path_factory) -> dict[str, rtneural.Function]:
    """Every build of RTNeural, if a source tree was given."""
    tree = request.config.getoption("--rtneural")
    if tree is None:
        return {}
    return rtneural.builds(
        tree.resolve(), clstm.config()["isa"], tmp_path_factory.mktemp("rtneural")
    )


def in_c(function, lstm, x: np.ndarray, flags: int, block: int) -> Way:
    """By stream.c; block 0 means step by step."""

    def run(repeats: int) -> tuple[float, np.ndarray]:
        y = np.empty_like(x)
        model = (lstm.hidden_size, lstm.parameters.flat.ctypes.data)
        sizes = (block, len(x), repeats)
        seconds = function(*model, flags, *sizes, x.ctypes.data, y.ctypes.data)
        if seconds < 0:
            raise RuntimeError(f"stream.c: a call returned clstm_status {-seconds:.0f}")
        return seconds, y

    return run


def in_rtneural(function: rtneural.Function, lstm, x: np.ndarray) -> Way:
    """By rtneural.cpp."""

    def run(repeats: int) -> tuple[float, np.ndarray]:
        y = np.empty_like(x)
        model = (lstm.hidden_size, lstm.parameters.flat.ctypes.data)
        seconds = function(*model, len(x), repeats, x.ctypes.data, y.ctypes.data)
        if seconds < 0:
            raise RuntimeError(f"rtneural.cpp has no hidden size {lstm.hidden_size}")
        return seconds, y

    return run


def in_python(lstm, x: np.ndarray) -> Way:
    """Stream.step, a call for every sample."""
    samples = list(x)

    def run(repeats: int) -> tuple[float, np.ndarray]:
        stream = lstm.stream()
        step = stream.step
        y = np.array([step(sample) for sample in samples])
        start = time.perf_counter()
        for _ in range(repeats):
            for sample in samples:
                step(sample)
        return (time.perf_counter() - start) / (repeats * len(samples)), y

    return run


def ways_to_step(function, builds: dict[str, rtneural.Function], shape: Shape) -> dict[str, Way]:
    """Every way to step the model, checked against y of one call."""
    with threadpool_limits(1, user_api="blas"):  # the initial weights are drawn by QR
        lstm = clstm.LSTM(1, shape.hidden_size, output_size=1, rng=0)
    x = np.random.default_rng(2).standard_normal((shape.steps, 1), dtype=np.float32)
    ways = {
        "process": in_c(function, lstm, x, 0, STREAM_BLOCK),
        "step": in_c(function, lstm, x, 0, 0),
        "kept": in_c(function, lstm, x, KEEP_ENVIRONMENT, 0),
    }
    if hasattr(lstm, "stream"):
        ways["python"] = in_python(lstm, x)
    ways |= {name: in_rtneural(build, lstm, x) for name, build in builds.items()}
    expected, _ = lstm(x, num_threads=1)
    for name, way in ways.items():
        np.testing.assert_allclose(way(1)[1], expected, rtol=0, atol=1e-5, err_msg=name)
    return ways


@pytest.mark.parametrize("shape", STREAMS, ids=lambda shape: shape.label)
def test_streams(request, benchmark, keep, rounds, step_seconds, rtneural_builds, shape):
    benchmark.group = "streams"
    ways = ways_to_step(step_seconds, rtneural_builds, shape)
    if benchmark.disabled:
        benchmark.pedantic(partial(ways["process"], 1))
        return
    time.sleep(PAUSE_SECONDS)
    timed = {}
    for name, way in ways.items():
        repeats = math.ceil(TURN_SECONDS / (way(1)[0] * shape.steps))
        timed[name] = lambda way=way, repeats=repeats: way(repeats)[0]
    with bound(1):
        times = turns(timed, rounds)
        benchmark.pedantic(timed["process"], rounds=rounds)
    machine = request.getfixturevalue("machine_limit")
    limit = machine.seconds(shape, "forward", 1) / shape.steps
    figures = {"limit_ns": limit * 1e9}
    for name in ("process", "step", "kept"):
        value = median(taken[name] for taken in times)
        figures |= {f"{name}_ns": value * 1e9, f"{name}_to_limit": value / limit}
    if "python" in ways:
        figures["python_us"] = median(taken["python"] for taken in times) * 1e6
    if rtneural_builds:
        peer = [min(taken[name] for name in rtneural_builds) for taken in times]
        figures["rtneural_ns"] = median(peer) * 1e9
        for name in ("process", "step"):
            ratios = [other / taken[name] for other, taken in zip(peer, times, strict=True)]
            figures[f"rtneural_to_{name}"] = median(ratios)
    keep(mode="streams", shape=list(shape), threads=1, **figures)
