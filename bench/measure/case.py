"""Times an engine at one shape, here or in the process of a worker."""

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from statistics import median
from typing import Any, Protocol

import numpy as np

BATCH_SECONDS = 1e-3
TURN_SECONDS = 0.05


class Engine(Protocol):
    """What is timed: one library, built for a shape, a mode and a number of threads.

    `run` is one call of the library as its users write it, on arrays made beforehand. `outputs`
    turns the result into NumPy arrays with clstm's names. Both are called within `scope`.
    """

    def scope(self) -> AbstractContextManager: ...

    def run(self) -> Any: ...

    def outputs(self, result: Any) -> dict[str, np.ndarray]: ...


class Case:
    """An engine on a number of threads, and the number of calls that fills a turn."""

    def __init__(self, engine: Engine, threads: int) -> None:
        self.engine = engine
        self.threads = threads
        self.calls = 1
        self.batches = 1

    def outputs(self) -> dict[str, np.ndarray]:
        with self.engine.scope():
            return self.engine.outputs(self.engine.run())

    def batch_seconds(self) -> float:
        """Time of one call, from `calls` of them in a row.

        Reading the clock at every call would add 1 % to the smallest shapes.
        """
        run = self.engine.run
        start = time.perf_counter()
        for _ in range(self.calls):
            run()
        return (time.perf_counter() - start) / self.calls

    def calibrate(self) -> None:
        """Choose how many calls make a batch and how many batches make a turn."""
        with self.engine.scope():
            seconds = self.batch_seconds()
            if seconds < TURN_SECONDS:  # else one call is the whole turn
                seconds = min(self.batch_seconds() for _ in range(3))
        self.calls = math.ceil(BATCH_SECONDS / seconds)
        self.batches = math.ceil(TURN_SECONDS / (seconds * self.calls))

    def turn(self) -> dict[str, float]:
        """Median seconds of a call, and how many cores the process kept busy meanwhile."""
        with self.engine.scope():
            if self.batches > 1:  # wakes threads and warms caches; negligible in longer calls
                self.batch_seconds()
            cpu, wall = time.process_time(), time.perf_counter()
            seconds = median(self.batch_seconds() for _ in range(self.batches))
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        return {"seconds": seconds, "cores": cpu / wall}

    def seconds(self) -> float:
        """Median seconds of a call, of one turn."""
        return self.turn()["seconds"]


def turns(timed: dict[str, Callable[[], Any]], rounds: int) -> list[dict[str, Any]]:
    """The results of all functions by name, a dict a round; their order rotates."""
    names = list(timed)
    times = []
    for number in range(rounds):
        first = number % len(names)
        times.append({name: timed[name]() for name in names[first:] + names[:first]})
    return times
