"""Busy machines: clstm on two threads beside one thread, and beside its peers in the same state.

Every engine runs in a process of its own that may use two CPUs, also with a single thread: the
system then has a CPU left for what makes the machine busy. The processes take turns.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from statistics import median, quantiles

import pytest

from bench.engines.peers import Worker
from bench.engines.registry import build_case, installed_peers
from bench.measure.busy import neighbour
from bench.measure.case import turns
from bench.measure.lengths import active_rows
from bench.measure.shapes import FEW_ROWS, GRID, HALF_FULL, HANDOVERS, THREADS, Shape

PEERS = ("torch", "onnxruntime")
CPUS = 2

pytestmark = pytest.mark.skipif(max(THREADS) < CPUS, reason="it takes two CPUs")


@contextmanager
def prepared(names: dict[str, tuple[str, int]], shape: Shape, work: str, folder, **environment):
    """The workers of engines on numbers of threads, by their names."""
    with ExitStack() as stack:
        workers = {}
        for name, (engine, threads) in names.items():
            worker = stack.enter_context(closing(Worker(engine, threads, CPUS, environment)))
            outputs = str(folder / f"{name}.npz")
            worker.ask(do="prepare", shape=list(shape), mode=work, outputs=outputs)
            workers[name] = worker
        yield workers


def ratio(times: list[dict[str, float]], a: str, b: str) -> float:
    return median(taken[a] / taken[b] for taken in times)


def product_turn(worker: Worker) -> Callable[[], dict[str, float]]:
    def turn() -> dict[str, float]:
        found = worker.ask(do="busy")
        ninth = quantiles(found["each"], n=10)[-1]
        return {"typical": median(found["each"]), "late": ninth, "all": found["all"][0]}

    return turn


def process_turn(worker: Worker) -> Callable[[], dict[str, float]]:
    def turn() -> dict[str, float]:
        with neighbour():
            return {"typical": worker.ask(do="turn")["seconds"]}

    return turn


STATES = {"product": product_turn, "process": process_turn}


def busy_figures(times: list[dict[str, dict[str, float]]]) -> dict[str, float]:
    """Medians over rounds of two threads over one, and of the peers over two threads."""
    typical = [{name: found["typical"] for name, found in taken.items()} for taken in times]
    figures = {f"{name}_us": median(taken[name] for taken in typical) * 1e6 for name in typical[0]}
    figures["ratio"] = ratio(typical, "two", "one")
    for name in ("late", "all"):
        if name in times[0]["two"]:
            against = "typical" if name == "late" else name
            pairs = [(taken["two"][name], taken["one"][against]) for taken in times]
            figures[f"{name}_ratio"] = median(two / one for two, one in pairs)
    for peer in PEERS:
        if peer in typical[0]:
            figures[f"{peer}_ratio"] = ratio(typical, peer, "two")
    return figures


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("work", ["forward", "training"])
@pytest.mark.parametrize("shape", GRID, ids=lambda shape: shape.label)
def test_busy(benchmark, keep, rounds, tmp_path, shape, work, state):
    benchmark.group = f"busy, {state}, {work}"
    if benchmark.disabled:
        benchmark.pedantic(build_case("clstm", shape, work, CPUS).engine.run)
        return
    usable = [name for name in installed_peers(work, shape) if name in PEERS]
    names = {"two": ("clstm", CPUS), "one": ("clstm", 1)} | {p: (p, CPUS) for p in usable}
    with prepared(names, shape, work, tmp_path) as workers:
        quiet = median(workers["two"].ask(do="turn")["seconds"] for _ in range(rounds))
        times = turns({name: STATES[state](worker) for name, worker in workers.items()}, rounds)
        benchmark.pedantic(lambda: workers["two"].ask(do="turn"))
    figures = busy_figures(times)
    figures["us"] = figures["two_us"]
    figures["to_quiet"] = figures["two_us"] / (quiet * 1e6)
    identity = {"mode": "busy", "work": f"{work}, {state}", "shape": list(shape), "threads": CPUS}
    keep(**identity, **figures)


def shapes_beside(shape: Shape) -> dict[str, Shape]:
    """The shapes that tell what the lengths of a shape save."""
    if not shape.lengths:
        return {}
    full = shape._replace(lengths="")
    if shape not in FEW_ROWS:
        return {"full": full}
    active = active_rows(shape.row_lengths)
    return {str(rows): full._replace(batch=rows) for rows in active}


def handover_rounds(
    shape: Shape, work: str, folder, rounds: int, delay: int
) -> Iterator[tuple[float, float | None]]:
    """For each round: two threads over one, and the time with lengths over that without."""
    names = {"two": ("clstm", CPUS), "one": ("clstm", 1)}
    with ExitStack() as stack:

        def enter(names: dict[str, tuple[str, int]], sizes: Shape) -> dict[str, Worker]:
            environment = {"CLSTM_HANDOVER": str(delay)}
            return stack.enter_context(prepared(names, sizes, work, folder, **environment))

        workers = enter(names, shape)
        for name, sizes in shapes_beside(shape).items():
            workers |= enter({name: ("clstm", CPUS)}, sizes)
        functions = {
            name: (lambda worker=worker: worker.ask(do="turn")["seconds"])
            for name, worker in workers.items()
        }
        for taken in turns(functions, rounds):
            saved = None
            if "full" in taken:
                saved = taken["two"] / taken["full"]
            elif len(taken) > len(names):
                active = active_rows(shape.row_lengths)
                steps = sum(n * taken[str(rows)] / shape.steps for rows, n in active.items())
                saved = taken["two"] / steps
            yield taken["two"] / taken["one"], saved


@pytest.mark.parametrize("work", ["forward", "training"])
@pytest.mark.parametrize("shape", GRID + HALF_FULL + FEW_ROWS, ids=lambda shape: shape.label)
def test_handover(benchmark, keep, rounds, tmp_path, shape, work):
    benchmark.group = f"handover, {work}"
    if benchmark.disabled:
        benchmark.pedantic(build_case("clstm", shape, work, CPUS).engine.run)
        return
    figures = {}
    for delay in HANDOVERS:
        found = list(handover_rounds(shape, work, tmp_path, rounds, delay))
        figures[f"ratio_{delay}"] = median(one for one, _ in found)
        saved = [share for _, share in found if share is not None]
        figures[f"saved_{delay}"] = median(saved) if saved else None
    benchmark.pedantic(build_case("clstm", shape, work, CPUS).engine.run)
    identity = {"mode": "handover", "work": work, "shape": list(shape), "threads": CPUS}
    keep(**identity, us=0, **figures)
