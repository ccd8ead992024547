"""clstm's LSTM module for PyTorch beside PyTorch's own.

Each runs in a process of its own, and so does clstm on NumPy arrays: the difference between that
and the module is the overhead of PyTorch.
"""

from statistics import median

import pytest

from bench.engines.peers import Comparison
from bench.engines.registry import build_case
from bench.measure.shapes import GRID, THREADS


def figures(comparison: Comparison) -> dict[str, float]:
    """Medians in microseconds, and the ratio of every round."""
    times = {"module_us": "torch_clstm", "torch_us": "torch", "clstm_us": "clstm"}
    found = {name: comparison.seconds(engine) * 1e6 for name, engine in times.items()}
    rounds = comparison.rounds
    pairs = zip(rounds["torch"], rounds["torch_clstm"], strict=True)
    return found | {"ratio": median(torch / module for torch, module in pairs)}


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("work", ["forward", "training"])
@pytest.mark.parametrize("shape", GRID, ids=lambda shape: shape.label)
def test_module(request, benchmark, keep, rounds, shape, work, threads):
    pytest.importorskip("torch", reason="install bench/requirements.txt to measure it")
    benchmark.group = f"module, {work}"
    if benchmark.disabled:
        benchmark.pedantic(build_case("torch_clstm", shape, work, threads).outputs)
        return
    workers = request.getfixturevalue("peers")
    found = workers.compare(shape, work, threads, rounds, ["torch", "torch_clstm"])
    case = build_case("clstm", shape, work, threads)
    case.calibrate()
    benchmark.pedantic(case.engine.run, rounds=max(rounds, case.batches), iterations=case.calls)
    identity = {"mode": "module", "work": work, "shape": list(shape), "threads": threads}
    keep(**identity, **figures(found))
