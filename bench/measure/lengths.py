"""Distributions of the lengths of a batch's rows, by their names."""

import numpy as np


def _shuffled(lengths: np.ndarray) -> np.ndarray:
    return np.random.default_rng(5).permutation(lengths.astype(np.int64))


def _uniform(steps: int, batch: int) -> np.ndarray:
    """Evenly spread over 1 to T."""
    return _shuffled(np.linspace(1, steps, batch).round())


def _half(steps: int, batch: int) -> np.ndarray:
    """Half of the rows (rounded up) full, the others empty."""
    return _shuffled(np.repeat([steps, 0], [batch - batch // 2, batch // 2]))


def _one(steps: int, batch: int) -> np.ndarray:
    """One row full, all others equally short, so that the mean is half of T."""
    short = round((batch / 2 - 1) * steps / (batch - 1))
    return _shuffled(np.repeat([steps, short], [1, batch - 1]))


LENGTHS = {
    "": lambda steps, batch: np.full(batch, steps, np.int64),
    "uniform": _uniform,
    "half": _half,
    "one": _one,
}


def active_rows(lengths: np.ndarray) -> dict[int, int]:
    """Number of active rows -> number of steps with it; steps without active rows are left out."""
    ends = np.sort(lengths)[::-1]  # n rows are active from ends[n] to ends[n - 1]
    counts = ends - np.append(ends[1:], 0)
    return {n: int(count) for n, count in enumerate(counts, start=1) if count}
