"""Options and fixtures of all measurements, their records, and the tables at the end.

    pytest bench/                                    the whole grid, tables at the end
    pytest bench/ --rounds 3                         quicker and noisier
    pytest bench/ -k "forward and H256" --benchmark-json=out.json
    pytest bench/test_streams.py --rtneural FOLDER   beside RTNeural, compiled from FOLDER
    pytest bench/test_streams.py --neuralaudio FOLDER   likewise; both can be given
    pytest bench/ --benchmark-disable                runs every case once and times nothing

Peers that are not installed are absent from the figures (bench/requirements.txt has them all).
"""

import os
import re
import shlex
import time
from pathlib import Path
from statistics import median

import pytest

import clstm
from bench.engines import registry
from bench.engines.peers import PAUSE_SECONDS, ROUNDS, Peers, peak_memory
from bench.engines.registry import build_case
from bench.measure import limit, native
from bench.measure.case import Case, turns
from bench.measure.cpus import bound, usable_cpus
from bench.measure.shapes import THREADS, Shape
from bench.report import results
from bench.report.tables import tables

# The environment variables that choose kernels and numbers of threads, in clstm and its peers.
VARIABLES = (
    "CLSTM_ISA",
    "CLSTM_ENGINE",
    "ONEDNN_MAX_CPU_ISA",
    "ATEN_CPU_CAPABILITY",
    "MKL_ENABLE_INSTRUCTIONS",
    "OMP_NUM_THREADS",
    "XLA_FLAGS",
)

RECORDS = pytest.StashKey[list]()
LIMIT = pytest.StashKey[limit.Limit | None]()
LOAD = pytest.StashKey[float]()


def pytest_addoption(parser) -> None:
    parser.addoption("--rounds", type=int, default=ROUNDS, help=f"a case (default: {ROUNDS})")
    for peer in ("RTNeural", "NeuralAudio"):
        help_text = f"{peer}'s source tree, to compile it as a peer of streams"
        parser.addoption(f"--{peer.lower()}", type=Path, metavar="FOLDER", help=help_text)


def pytest_configure(config) -> None:
    config.stash[RECORDS] = []
    config.stash[LIMIT] = None
    config.stash[LOAD] = os.getloadavg()[0]


@pytest.fixture(scope="session")
def rounds(request) -> int:
    """The number of rounds a case."""
    return request.config.getoption("--rounds")


@pytest.fixture(scope="session")
def peers():
    """The processes of the peers, alive until the session ends."""
    with Peers() as workers:
        yield workers


@pytest.fixture(scope="session")
def meter(tmp_path_factory) -> limit.Meter | None:
    """The program that measures the peaks of this machine, None without a C compiler."""
    return limit.Meter(tmp_path_factory.mktemp("limit")) if native.compiler() else None


@pytest.fixture(scope="session")
def machine_limit(request, meter) -> limit.Limit | None:
    """The peaks of this machine, None without a C compiler."""
    request.config.stash[LIMIT] = meter.measure() if meter else None
    return request.config.stash[LIMIT]


@pytest.fixture
def keep(request, benchmark):
    """A function that stores figures in `benchmark.extra_info` and for the tables at the end."""

    def store(**figures) -> None:
        benchmark.extra_info.update(figures)
        request.config.stash[RECORDS].append({"extra_info": figures})

    return store


@pytest.fixture
def own_figures(machine_limit, meter, rounds):
    """A function that times clstm and the limit in turns; with several threads, also one alone."""

    def run(case: Case, shape: Shape, mode: str) -> dict:
        threads, flop = case.threads, shape.flop(mode)
        timed = {"clstm": case.seconds}
        if meter:
            timed["limit"] = lambda: meter.turn(machine_limit, shape, mode, threads)
        if threads > 1 and mode == "forward":
            alone = build_case("clstm", shape, mode, 1)
            alone.calibrate()
            timed["alone"] = alone.seconds
        times = turns(timed, rounds)
        seconds = [taken["clstm"] for taken in times]
        figures = {"us": median(seconds) * 1e6, "gflops": flop / median(seconds) / 1e9}
        if meter:
            limits = [taken["limit"] for taken in times]
            least = [limit.seconds(shape, mode, threads) for limit in limits]
            peak = [flop / limit.flops[threads] for limit in limits]
            figures["limit_us"] = median(least) * 1e6
            figures["percent_of_limit"] = 100 * _median_ratio(least, seconds)
            figures["percent_of_peak"] = 100 * _median_ratio(peak, seconds)
            if threads > 1:
                figures["handover_ns"] = median(limit.handovers[threads] for limit in limits) * 1e9
        if "alone" in timed:
            figures["over_one_thread"] = _median_ratio(seconds, [t["alone"] for t in times])
        return figures

    return run


def _median_ratio(a: list[float], b: list[float]) -> float:
    return median(x / y for x, y in zip(a, b, strict=True))


@pytest.fixture
def measure(request, benchmark, keep, rounds):
    """A function that times clstm here and its peers in their processes, and keeps the figures."""

    def run(mode: str, shape: Shape, threads: int) -> None:
        benchmark.group = mode
        case = build_case("clstm", shape, mode, threads)
        if benchmark.disabled:
            benchmark.pedantic(case.engine.run)
            return
        own_figures = request.getfixturevalue("own_figures")  # binds CPUs itself: not within bound
        time.sleep(PAUSE_SECONDS)
        figures = {"shape": list(shape), "mode": mode, "threads": threads}
        with bound(threads):
            case.calibrate()
            figures |= own_figures(case, shape, mode)
            calls = max(rounds, case.batches)
            benchmark.pedantic(case.engine.run, rounds=calls, iterations=case.calls)
        if registry.installed_peers(mode, shape):
            workers = request.getfixturevalue("peers")
            beside = workers.compare(shape, mode, threads, rounds).as_dict()
            figures |= {"peers": beside["peers"], "clstm_beside_peers_us": beside["clstm_us"]}
        if mode == "step":
            figures["memory_mb"] = peak_memory(shape, mode, threads)
        keep(**figures)

    return run


@pytest.fixture
def in_turns(benchmark, rounds):
    """A function that times cases in turns, all in this process: seconds by name, a dict a round.

    pytest-benchmark gets the figures of the first case.
    """

    def run(cases: dict[str, Case]) -> list[dict[str, float]]:
        first = next(iter(cases.values()))
        if benchmark.disabled:
            benchmark.pedantic(first.engine.run)
            return []
        time.sleep(PAUSE_SECONDS)
        with bound(first.threads):
            for case in cases.values():
                case.calibrate()
            times = turns({name: case.seconds for name, case in cases.items()}, rounds)
            calls = max(rounds, first.batches)
            benchmark.pedantic(first.engine.run, rounds=calls, iterations=first.calls)
        return times

    return run


def _command(config) -> str:
    """The command line, without absolute folders."""
    words = (re.sub(r"(^|=)/.*/", r"\1", word) for word in config.invocation_params.args)
    return shlex.join(["pytest", *words])


def _configuration() -> dict[str, str]:
    """The kernels and libraries that clstm used; a BLAS by name and version, without its path."""
    config = clstm.config()
    chosen = {name: str(config[name]) for name in ("isa", "engine", "openmp")}
    libraries = (f"{library['name']} {library['version']}" for library in config["blas"])
    return chosen | {"blas": ", ".join(libraries)}


def pytest_benchmark_update_json(config, benchmarks, output_json) -> None:
    machine = config.stash[LIMIT]
    output_json["run"] = {
        "command": _command(config),
        "rounds": config.getoption("--rounds"),
        "threads": THREADS,
        "cpus": usable_cpus(),
        "environment": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "load": config.stash[LOAD],
        "versions": registry.versions(),
        "clstm": _configuration(),
        "limit": machine.as_dict() if machine else None,
    }


def pytest_terminal_summary(terminalreporter, config) -> None:
    if config.stash[RECORDS]:
        terminalreporter.write_line("")
        terminalreporter.write_line(tables(results.merge([config.stash[RECORDS]])))
