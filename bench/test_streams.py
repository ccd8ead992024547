"""Cost of a step of a live stream in a host in C, and in Python; one thread.

The models are those of test_small.py with a readout of one value, and with some rows or layers. A
host in C, linked to the library as users link it, processes whole blocks; or single samples, if it
needs each y immediately; or single samples while it flushes denormals itself, so that no call has
to; or whole blocks with fast activations. Python calls `Stream.step`.

With `--rtneural FOLDER` RTNeural is measured, too, one sample a call, and with `--neuralaudio
FOLDER` NeuralAudio in whole blocks; the fastest of the builds counts in each round.

A turn repeats the same sequence to fill TURN_SECONDS. A figure is the median over rounds; in
a round every way has one turn, and the order rotates. The limit leaves the readout out. An error is
the largest difference from y in float64.
"""

import ctypes
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import clstm
from bench.engines import neuralaudio, rtneural
from bench.engines.peers import PAUSE_SECONDS
from bench.measure import native
from bench.measure.case import TURN_SECONDS, turns
from bench.measure.cpus import bound
from bench.measure.shapes import STREAM_BLOCK, STREAMS

KEEP_ENVIRONMENT = 1  # CLSTM_STREAM_KEEP_ENVIRONMENT
# Whether activations are fast, flags of the stream, and steps of a call; 0: step by step.
OPTIONS = {
    "process": (0, 0, STREAM_BLOCK),
    "step": (0, 0, 0),
    "kept": (0, KEEP_ENVIRONMENT, 0),
    "fast": (1, 0, STREAM_BLOCK),
}
EXACT = ("process", "step", "kept", "python")
PEERS = {"rtneural": rtneural, "neuralaudio": neuralaudio}
Peers = dict[str, dict[str, Callable[..., float]]]

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
    flags_of = (ctypes.c_int, ctypes.c_int)
    arguments = (size, size, size, pointer, *flags_of, size, size, size, pointer, pointer)
    return native.function(
        "engines/stream.c",
        tmp_path_factory.mktemp("stream") / "stream.so",
        "step_seconds",
        arguments,
        *flags,
        libraries=("-lclstm", "-lm"),
    )


@pytest.fixture(scope="module")
def peers(request, tmp_path_factory) -> Peers:
    """Every build of each peer; none if no source tree was given."""
    found = {}
    for name, module in PEERS.items():
        tree = request.config.getoption(f"--{name}")
        folder = tmp_path_factory.mktemp(name)
        found[name] = module.builds(tree.resolve(), clstm.config()["isa"], folder) if tree else {}
    return found


def in_c(function, sizes: Sequence[int], options: Sequence[int], lstm, x: np.ndarray) -> Way:
    """By a function of stream.c, rtneural.cpp or neuralaudio.cpp.

    `sizes` and `options` are its arguments before and after the parameters.
    """

    def run(repeats: int) -> tuple[float, np.ndarray]:
        y = np.empty_like(x)
        model = (*sizes, lstm.parameters.flat.ctypes.data, *options)
        seconds = function(*model, len(x), repeats, x.ctypes.data, y.ctypes.data)
        if seconds < 0:
            raise RuntimeError(f"{function.__name__} returned {seconds:.0f} for {lstm}")
        return seconds, y

    return run


def in_python(lstm, x: np.ndarray) -> Way:
    """Stream.step, a call for every sample."""
    samples = list(x[..., None])

    def run(repeats: int) -> tuple[float, np.ndarray]:
        step = lstm.stream(x.shape[1]).step
        y = np.array([step(sample) for sample in samples])[..., 0]
        start = time.perf_counter()
        for _ in range(repeats):
            for sample in samples:
                step(sample)
        return (time.perf_counter() - start) / (repeats * len(samples)), y

    return run


def ways_to_step(function, peers: Peers, lstm, x: np.ndarray) -> dict[str, Way]:
    """Every way to step the model; those of peers begin with the peer's name."""
    rows, layers, hidden = x.shape[1], lstm.num_layers, lstm.hidden_size
    ways = {"python": in_python(lstm, x)}
    for name, options in OPTIONS.items():
        ways[name] = in_c(function, (rows, layers, hidden), options, lstm, x)
    if rows == 1 and layers == 1:
        for name, build in peers["rtneural"].items():
            ways[name] = in_c(build, (hidden,), (), lstm, x)
    if rows == 1 and hidden in neuralaudio.HIDDEN_SIZES:
        for name, build in peers["neuralaudio"].items():
            ways[name] = in_c(build, (layers, hidden), (STREAM_BLOCK,), lstm, x)
    return ways


def errors(ways: dict[str, Way], lstm, x: np.ndarray) -> dict[str, float]:
    """The largest error of every way, beside float64."""
    options = {"num_layers": lstm.num_layers, "output_size": 1, "dtype": np.float64}
    model = clstm.LSTM(1, lstm.hidden_size, **options)
    model.load_state_dict(lstm.state_dict())
    exact, _ = model(x[..., None])
    found = {name: float(abs(way(1)[1] - exact[..., 0]).max()) for name, way in ways.items()}
    for name, error in found.items():
        assert error < (1e-5 if name in EXACT else 0.1), f"{name} errs by {error}"
    return found


def peer_figures(peer: str, times: list[dict[str, float]], found: dict[str, float]) -> dict:
    """The fastest build of a peer, round by round, and the error of the most exact one."""
    names = [name for name in times[0] if name.startswith(peer)]
    if not names:
        return {}
    best = [min(taken[name] for name in names) for taken in times]
    figures = {f"{peer}_ns": median(best) * 1e9}
    figures[f"{peer}_error"] = min(found[name] for name in names)
    for name in ("process", "step", "fast"):
        ratios = [other / taken[name] for other, taken in zip(best, times, strict=True)]
        figures[f"{peer}_to_{name}"] = median(ratios)
    return figures


@pytest.mark.parametrize("shape", STREAMS, ids=lambda shape: shape.label)
def test_streams(request, benchmark, keep, rounds, step_seconds, peers, shape):
    benchmark.group = "streams"
    with threadpool_limits(1, user_api="blas"):  # the initial weights are drawn by QR
        lstm = clstm.LSTM(1, shape.hidden_size, shape.num_layers, output_size=1, rng=0)
    size = (shape.steps, shape.batch)
    x = np.random.default_rng(2).standard_normal(size, dtype=np.float32)
    ways = ways_to_step(step_seconds, peers, lstm, x)
    found = errors(ways, lstm, x)
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
    limit = request.getfixturevalue("machine_limit").seconds(shape, "forward", 1) / shape.steps
    figures = {"limit_ns": limit * 1e9}
    figures |= {f"{name}_error": found[name] for name in ("process", "fast")}
    for name in OPTIONS:
        value = median(taken[name] for taken in times)
        figures |= {f"{name}_ns": value * 1e9, f"{name}_to_limit": value / limit}
    figures["python_us"] = median(taken["python"] for taken in times) * 1e6
    for peer in PEERS:
        figures |= peer_figures(peer, times, found)
    keep(mode="streams", shape=list(shape), threads=1, **figures)
