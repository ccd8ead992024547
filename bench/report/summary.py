"""The summary of all tables: where clstm is behind a rival, and how close it is to the limit.

All figures are measured; none is judged. The rivals are PyTorch and ONNX Runtime, the faster of
them counts; OpenVINO and JAX are in the tables only. ONNX Runtime doesn't train LSTMs, so in
training PyTorch is the only rival. For ragged rows every way to run them is a rival.
"""

from collections.abc import Callable
from statistics import geometric_mean

from bench.engines.registry import ENGINES, PEERS
from bench.measure.shapes import (
    BIDIRECTIONAL,
    FEW_ROWS,
    GRID,
    HALF_FULL,
    ODD,
    OTHER_CELLS,
    PROJECTED,
    RAGGED,
    SMALL,
    STEPS,
    Shape,
)
from bench.report.markdown_table import table
from bench.report.results import Result, choose

RIVALS = ("torch", "onnxruntime", "torch_prepacked", "torch_padded", "onnxruntime_padded")
SEQUENCES = {"bidirectional": BIDIRECTIONAL, "projected": PROJECTED, "ragged": RAGGED}
WITH_OPTIONS = BIDIRECTIONAL + PROJECTED + RAGGED
LONG = tuple(shape for shape in GRID if shape.steps > 1)  # those with a backward recurrence
BEHIND = 0.97  # ratios between this and 1 are within the noise

# 30 to 40 ns between cores that share a cache, else 160: every barrier takes longer then.
HANDOVER = "ns of a handover between threads"


def step_ns(result: Result) -> tuple[float, float] | None:
    """Nanoseconds of a step of a small model, measured and at the limit."""
    limit_us = result.figure("limit_us")
    if limit_us is None:
        return None
    steps = result.shape.steps
    return result.seconds * 1e9 / steps, limit_us * 1e3 / steps


def rivals(result: Result) -> list[str]:
    """The rivals that took part."""
    return [name for name in RIVALS if name in result.peers]


def worst(result: Result) -> float:
    """The ratio to the fastest rival in the worst run."""
    return min(result.ratios(*rivals(result)))


def typical(result: Result) -> float:
    """The ratio to the fastest rival in the median run."""
    return result.ratio(*rivals(result))


def _behind(results: list[Result]) -> list[Result]:
    return [result for result in results if worst(result) < BEHIND]


def _count(chosen: list[Result]) -> str:
    return f"{len(_behind(chosen))} of {len(chosen)}" if chosen else ""


def _mean(chosen: list[Result]) -> str:
    if not chosen:
        return ""
    usual = geometric_mean(map(typical, chosen))
    if all(len(result.records) == 1 for result in chosen):
        return f"{usual:.2f}"
    return f"{usual:.2f} (worst runs: {geometric_mean(map(worst, chosen)):.2f})"


def _range(values: dict[str, float], digits: int, name: Callable = min) -> str:
    """Smallest and largest value, and the shape of the one that `name` picks."""
    if not values:
        return ""
    ends = (f"{end(values.values()):.{digits}f}" for end in (min, max))
    return f"{' to '.join(dict.fromkeys(ends))} ({name(values, key=values.get)})"


def _figures(results: list[Result], figure: str, wanted: Callable) -> dict[str, float]:
    values = {str(r.shape): r.figure(figure) for r in results if wanted(r.shape)}
    return {name: value for name, value in values.items() if value is not None}


def _percent(results: list[Result], figure: str, wanted: Callable) -> str:
    return _range(_figures(results, figure, wanted), 0)


def _handover(results: list[Result]) -> str:
    return _range(_figures(results, "handover_ns", lambda shape: True), 0, max)


def _over_limit(results: list[Result]) -> str:
    steps = {str(result.shape): step_ns(result) for result in results}
    return _range({name: step[0] / step[1] for name, step in steps.items() if step}, 2, max)


def _large_batch(shape) -> bool:
    return shape.batch >= 16 and shape.hidden_size >= 256 and shape.hidden_size % 16 == 0


def _large_weights(shape) -> bool:
    return shape.batch == 1 and shape.hidden_size >= 256


def _forward(results: list[Result], threads: int) -> dict[str, str]:
    chosen = [r for r in choose(results, GRID + ODD) if r.threads == threads]
    compared = [result for result in chosen if rivals(result)]
    grid, odd = choose(compared, GRID), choose(compared, ODD)
    small = [result for result in choose(results, SMALL) if result.threads == threads]
    return {
        f"shapes of the grid below {BEHIND} in any run": _count(grid),
        f"odd shapes below {BEHIND} in any run": _count(odd),
        "geometric mean over the grid": _mean(grid),
        "% of the multiply-add peak, B >= 16, H >= 256, H % 16 = 0": _percent(
            chosen, "percent_of_peak", _large_batch
        ),
        "% of the limit, B = 1, H >= 256": _percent(chosen, "percent_of_limit", _large_weights),
        "time over that on one thread, H >= 256": _range(
            _figures(chosen, "over_one_thread", lambda shape: shape.hidden_size >= 256), 2, max
        ),
        HANDOVER: _handover(chosen),
        "small models: time / limit": _over_limit(small),
        **_sequences(results, "forward", threads),
    }


def _sequences(results: list[Result], mode: str, threads: int) -> dict[str, str]:
    """Rows for shapes with options, and the time of PyTorch's packed sequences."""

    def compared(shapes: tuple[Shape, ...]) -> list[Result]:
        chosen = choose(results, shapes, mode)
        return [result for result in chosen if result.threads == threads and rivals(result)]

    counts = {
        f"{name} shapes below {BEHIND} in any run": _count(compared(shapes))
        for name, shapes in SEQUENCES.items()
    }
    packed = {str(r.shape): min(r.ratios("torch")) for r in compared(RAGGED) if "torch" in r.peers}
    return counts | {"ragged: time of PyTorch, packed / clstm": _range(packed, 2)}


def _lengths(results: list[Result], threads: int) -> dict[str, str]:
    """Time with lengths over time without, the worst run."""
    parts = (
        (HALF_FULL, "full rows, B >= 8", "ratio"),
        (FEW_ROWS, "their steps, B < 8", "ratio_to_steps"),
    )
    rows = {}
    for shapes, over, figure in parts:
        chosen = [r for r in choose(results, shapes, "lengths") if r.threads == threads]
        rows |= _shares(chosen, over, figure)
    return rows


def _cells(results: list[Result], threads: int) -> dict[str, str]:
    """Time of other cells over time of the plain one, the worst run."""
    chosen = [r for r in choose(results, OTHER_CELLS, "cells") if r.threads == threads]
    return _shares(chosen, "the plain cell", "ratio")


def _shares(results: list[Result], over: str, figure: str) -> dict[str, str]:
    """The range of a figure, a row for each work."""
    rows = {}
    for work in ("forward", "training"):
        shares = {str(r.shape): r.most(figure) for r in results if r.identity("work") == work}
        rows[f"{work}: time over that of {over}"] = _range(shares, 2, max)
    return rows


def _training(results: list[Result], threads: int) -> dict[str, str]:
    chosen = [r for r in choose(results, GRID, "training") if r.threads == threads]
    compared = [result for result in choose(chosen, LONG, "training") if rivals(result)]
    return {
        f"shapes of the grid, T > 1, below {BEHIND} in any run": _count(compared),
        "geometric mean over the grid, T > 1": _mean(compared),
        "% of the multiply-add peak, B >= 32, H >= 256": _percent(
            chosen, "percent_of_peak", lambda shape: shape.batch >= 32 and shape.hidden_size >= 256
        ),
        HANDOVER: _handover(chosen),
        **_sequences(results, "training", threads),
    }


def _whole_step(results: list[Result], threads: int) -> dict[str, str]:
    chosen = [r for r in choose(results, STEPS, "step") if r.threads == threads]
    rows = {}
    for peer in (name for name in PEERS if "step" in ENGINES[name].modes):
        times = {str(r.shape): min(r.ratios(peer)) for r in chosen if peer in r.peers}
        rows[f"time of {ENGINES[peer].title} / clstm"] = _range(times, 2)
        rows[f"memory of {ENGINES[peer].title} / clstm"] = _range(_memory_ratios(chosen, peer), 2)
    return rows


def _memory_ratios(results: list[Result], peer: str) -> dict[str, float]:
    peaks = {str(r.shape): (r.memory(peer), r.memory("clstm")) for r in results}
    # An engine that seems to take nothing used pages that its process already had.
    return {shape: theirs / ours for shape, (theirs, ours) in peaks.items() if theirs and ours}


# Mode -> head of its table, function for a column, shapes that are listed if clstm is behind.
TABLES = {
    "forward": ("forward", _forward, GRID + ODD + WITH_OPTIONS),
    "training": ("forward and backward", _training, LONG + WITH_OPTIONS),
    "lengths": ("rows half full", _lengths, ()),
    "cells": ("cells other than the plain one", _cells, ()),
    "step": ("whole training step", _whole_step, STEPS),
}


def _table(results: list[Result], mode: str) -> str:
    """A column per number of threads, the rows with a figure; empty without any."""
    head, fill, _ = TABLES[mode]
    counts = sorted({result.threads for result in results if result.mode == mode})
    columns = [fill(results, threads) for threads in counts]
    names = [name for name in (columns[0] if columns else ()) if any(c[name] for c in columns)]
    rows = [[name, *(column[name] for column in columns)] for name in names]
    return table([head, *(f"{threads} thread(s)" for threads in counts)], rows) if rows else ""


def _list_of_those_behind(results: list[Result], threads: int) -> str:
    names = []
    for result in sorted(_behind([r for r in results if r.threads == threads]), key=worst):
        fastest = min(rivals(result), key=lambda peer: min(result.ratios(peer)))
        names.append(f"{result.shape} ({worst(result):.2f}, {ENGINES[fastest].title})")
    return f"Below {BEHIND} on {threads} thread(s): {'; '.join(names) or 'none'}."


def _lists(results: list[Result], mode: str) -> list[str]:
    """The shapes where clstm is behind, a line for each number of threads."""
    chosen = choose(results, TABLES[mode][2], mode)
    compared = [result for result in chosen if rivals(result)]
    counts = sorted({result.threads for result in chosen})
    return [_list_of_those_behind(compared, threads) for threads in counts]


def summary(results: list[Result]) -> str:
    """A table and a list of the shapes where clstm is behind, for every mode with results."""
    parts = []
    for mode in TABLES:
        parts += [_table(results, mode), *_lists(results, mode)]
    return "\n\n".join(part for part in parts if part)
