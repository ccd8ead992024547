"""What all the tables say in a few lines: where clstm is behind, and how close to the limit it is.

Everything here is computed from a run. The criterion is the faster of PyTorch and ONNX Runtime:
OpenVINO stands beside them in the tables, but isn't part of it.
"""

from collections.abc import Callable
from statistics import geometric_mean

from engines import ENGINES
from markdown_table import table
from results import Result, choose
from shapes import GRID, ODD, SMALL

RIVALS = ("torch", "onnxruntime")
BEHIND = 0.97  # what is nearer to 1 than this is noise

# A small model's step: so many times the limit, and the activations' latency below some size.
STEP_FACTOR = 1.25
ACTIVATIONS_NS = 45.0
ACTIVATIONS_BELOW = 40


def step_ns(result: Result) -> tuple[float, float, float] | None:
    """Nanoseconds of a step of a small model: measured, limit, and the most that is accepted."""
    limit_us = result.figure("limit_us")
    if limit_us is None:
        return None
    limit = limit_us * 1e3 / result.shape.steps
    extra = ACTIVATIONS_NS if result.shape.hidden_size < ACTIVATIONS_BELOW else 0.0
    return result.seconds * 1e9 / result.shape.steps, limit, STEP_FACTOR * limit + extra


def rivals(result: Result) -> list[str]:
    """The peers of the criterion that took part."""
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


def _percent(results: list[Result], figure: str, wanted: Callable) -> str:
    values = {str(r.shape): r.figure(figure) for r in results if wanted(r.shape)}
    return _range({name: value for name, value in values.items() if value is not None}, 0)


def _over_one_thread(results: list[Result], threads: int) -> str:
    """Time on `threads` threads over the time on one."""
    one = {r.shape: r.seconds for r in results if r.threads == 1 and r.shape.hidden_size >= 256}
    ratios = {
        str(r.shape): r.seconds / one[r.shape]
        for r in results
        if r.threads == threads > 1 and r.shape in one
    }
    return _range(ratios, 2, name=max)


def _steps(results: list[Result]) -> str:
    steps = [step for step in map(step_ns, results) if step]
    within = sum(measured <= accepted for measured, _, accepted in steps)
    return f"{within} of {len(steps)}" if steps else ""


def _large_batch(shape) -> bool:
    return shape.batch >= 16 and shape.hidden_size >= 256 and shape.hidden_size % 16 == 0


def _large_weights(shape) -> bool:
    return shape.batch == 1 and shape.hidden_size >= 256


def _column(results: list[Result], threads: int) -> dict[str, str]:
    """The figures of one number of threads; empty where nothing was measured."""
    both = choose(results, GRID + ODD)
    chosen = [result for result in both if result.threads == threads]
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
        "time over that on one thread, H >= 256": _over_one_thread(both, threads),
        "small models within the bound": _steps(small),
    }


def _list_of_those_behind(results: list[Result], threads: int) -> str:
    compared = [r for r in choose(results, GRID + ODD) if r.threads == threads and rivals(r)]
    names = []
    for result in sorted(_behind(compared), key=worst):
        fastest = min(rivals(result), key=lambda peer: min(result.ratios(peer)))
        names.append(f"{result.shape} ({worst(result):.2f}, {ENGINES[fastest].title})")
    return f"Below {BEHIND} on {threads} thread(s): {'; '.join(names) or 'none'}."


def summary(results: list[Result]) -> str:
    """A table with a column per number of threads, then the shapes where clstm is behind.

    Empty where nothing ran forward.
    """
    counts = sorted({result.threads for result in choose(results, GRID + ODD + SMALL)})
    if not counts:
        return ""
    columns = [_column(results, threads) for threads in counts]
    rows = [[name, *(column[name] for column in columns)] for name in columns[0]]
    head = ["forward", *(f"{threads} thread(s)" for threads in counts)]
    lists = [_list_of_those_behind(results, threads) for threads in counts]
    return "\n\n".join([table(head, [row for row in rows if any(row[1:])]), *lists])
