"""Several callers on two CPUs: threads of one process, processes, and workers of other libraries.

The rate of all callers together is compared with that of one caller on two threads, and for
processes with that of as many processes of one thread each. Nothing is set: `num_threads` is the
default.
"""

from collections.abc import Callable
from statistics import median

import pytest

from bench.engines.registry import build_case
from bench.measure.case import turns
from bench.measure.pools import POOLS, SIZES, rate, work
from bench.measure.shapes import SHARED, THREADS, Shape
from bench.measure.sharing import processes_rate, threads_rate

CALLERS = (2, 4, 8)
PROCESSES = (2, 4)

pytestmark = pytest.mark.skipif(max(THREADS) < 2, reason="it takes two CPUs")


def keep_rates(
    benchmark, keep, rounds, shape, work: str, rates: dict[str, Callable[[], float]]
) -> None:
    """Keep every rate over the first, the median over rounds."""
    times = turns(rates, rounds)
    first, *others = rates
    figures = {name: median(taken[name] / taken[first] for taken in times) for name in others}
    rate = median(taken[first] for taken in times)
    benchmark.pedantic(lambda: rates[first]())
    identity = {"mode": "sharing", "work": work, "shape": list(shape), "threads": 2}
    keep(**identity, us=1e6 / rate, **figures)


@pytest.mark.parametrize("models", ["one model", "several models"])
@pytest.mark.parametrize("shape", SHARED, ids=lambda shape: shape.label)
def test_threads(benchmark, keep, rounds, shape, models):
    benchmark.group = f"sharing, threads, {models}"
    if benchmark.disabled:
        benchmark.pedantic(build_case("clstm", shape, "forward", 2).engine.run)
        return
    rates = {"one": lambda: threads_rate(shape, 1, 1, 2)}
    for callers in CALLERS:
        count = 1 if models == "one model" else callers
        rates[f"rate_{callers}"] = lambda n=callers, m=count: threads_rate(shape, n, m, None)
    keep_rates(benchmark, keep, rounds, shape, f"threads, {models}", rates)


@pytest.mark.parametrize("shape", SHARED, ids=lambda shape: shape.label)
def test_processes(benchmark, keep, rounds, shape):
    benchmark.group = "sharing, processes"
    if benchmark.disabled:
        benchmark.pedantic(build_case("clstm", shape, "forward", 2).engine.run)
        return
    rates = {"one": lambda: processes_rate(shape, 1, 2)}
    for n in PROCESSES:
        rates[f"rate_{n}"] = lambda n=n: processes_rate(shape, n, None)
        rates[f"rate_{n}_alone"] = lambda n=n: processes_rate(shape, n, 1)
    keep_rates(benchmark, keep, rounds, shape, "processes", rates)


@pytest.mark.parametrize("name", POOLS)
def test_pools(benchmark, keep, rounds, name):
    module, pool = POOLS[name]
    pytest.importorskip(module, reason="install bench/requirements.txt to measure it")
    benchmark.group = "sharing, pools"
    if benchmark.disabled:
        benchmark.pedantic(work)
        return
    rates = {"one": lambda: rate([work()])}
    rates |= {f"rate_{n}": (lambda n=n: pool(n)) for n in PROCESSES}
    steps, batch, size = SIZES
    keep_rates(benchmark, keep, rounds, Shape(steps, batch, size, size, 1), name, rates)
