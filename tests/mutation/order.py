"""The order of tests that finds most faults in the first seconds, as a plugin of pytest."""

import json
import signal
from collections import defaultdict
from pathlib import Path

import pytest

PATIENCE = 5.0  # seconds of processor time, beside ten times what a test took at most
UNKNOWN = 1.0  # seconds that a function is taken to last before it has run once


def function_of(name: str) -> str:
    return name.partition("[")[0]


def ranked(names: list[str], first: list[str], durations: dict[str, float]) -> list[str]:
    """Return the names of tests: `first`, then two of each function, then the others.

    The two are those in front and in the middle of the function's parameters. Quick functions
    come before slow ones.
    """
    functions = defaultdict(list)
    for name in dict.fromkeys(names):
        functions[function_of(name)].append(name)
    samples = [[own[0], own[len(own) // 2]] for own in functions.values()]
    quick = sorted(
        (name for pair in samples for name in pair),
        key=lambda name: durations.get(function_of(name), UNKNOWN),
    )
    known = set(names)
    return list(dict.fromkeys([*(name for name in first if name in known), *quick, *names]))


def read(path: Path) -> dict[str, float]:
    """Return the most seconds that a test of each function took."""
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (FileNotFoundError, ValueError):  # a process may have been killed while it wrote
        return {}


class Order:
    """Sorts what is collected, and keeps how long it takes for the next run."""

    def __init__(self, first: list[str], path: Path) -> None:
        self.first = first
        self.path = path
        self.durations = read(path)
        self.failed = False
        self.taken: dict[str, float] = defaultdict(float)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        by_name = {item.nodeid: item for item in items}
        names = [item.nodeid for item in items]
        items[:] = [by_name[name] for name in ranked(names, self.first, self.durations)]

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Let SIGPROF end the process if a test of known duration computes for much longer."""
        known = self.durations.get(function_of(nodeid))
        signal.setitimer(signal.ITIMER_PROF, 0 if known is None else PATIENCE + 10 * known)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.taken[report.nodeid] += report.duration
        self.failed |= not report.passed and not report.skipped
        if report.when == "teardown" and not self.failed:
            function = function_of(report.nodeid)
            seconds = self.taken.pop(report.nodeid)
            self.durations[function] = round(max(self.durations.get(function, 0), seconds), 3)

    def pytest_sessionfinish(self) -> None:
        self.path.write_text(json.dumps(self.durations), "utf-8")
