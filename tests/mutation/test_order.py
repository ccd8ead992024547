"""Which tests come first, when one hangs, and the process that runs them."""

import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.mutation.order import PATIENCE, Order, ranked, read
from tests.mutation.server import Server
from tests.support.paths import ROOT

SLOW = [f"tests/a.py::slow[{k}]" for k in range(5)]
QUICK = [f"tests/b.py::quick[{k}]" for k in range(3)]
NEW = ["tests/b.py::new"]


def test_killers_come_first_then_two_of_each_function_then_the_others() -> None:
    durations = {"tests/a.py::slow": 3.0, "tests/b.py::quick": 0.1}
    found = ranked([*SLOW, *QUICK, *NEW], ["tests/c.py::gone", SLOW[4]], durations)
    sample = [QUICK[0], QUICK[1], *NEW, SLOW[0], SLOW[2]]
    assert found == [SLOW[4], *sample, SLOW[1], SLOW[3], QUICK[2]]


def report(name: str, when: str, outcome: str, seconds: float) -> pytest.TestReport:
    return pytest.TestReport(name, (name, 0, name), {}, outcome, None, when, duration=seconds)  # type: ignore[arg-type]


def test_what_a_failed_test_took_is_not_kept(tmp_path: Path) -> None:
    """A mutant may end it early: by that it would seem to hang where it passes."""
    path = tmp_path / "durations.json"
    order = Order([], path)
    for name, outcome in (("a[0]", "passed"), ("a[1]", "passed"), ("b", "failed"), ("c", "passed")):
        seconds = 2.0 if name == "a[0]" else 1.0
        order.pytest_runtest_logreport(report(name, "setup", "passed", 0.5))
        order.pytest_runtest_logreport(report(name, "call", outcome, seconds))
        order.pytest_runtest_logreport(report(name, "teardown", "passed", 0))
        if outcome == "failed":
            break
    order.pytest_sessionfinish()
    assert read(path) == {"a": 2.5}
    path.write_text('{"a": 2')
    assert read(path) == {}


def test_a_test_may_compute_ten_times_as_long_as_before(tmp_path: Path) -> None:
    path = tmp_path / "durations.json"
    path.write_text(json.dumps({"a": 7.0}))
    order = Order([], path)
    try:
        order.pytest_runtest_logstart("a[3]")
        assert 70 < signal.getitimer(signal.ITIMER_PROF)[0] <= PATIENCE + 71
        order.pytest_runtest_logstart("b")
        assert signal.getitimer(signal.ITIMER_PROF)[0] == 0
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def test_items_are_sorted(tmp_path: Path) -> None:
    items = [SimpleNamespace(nodeid=name) for name in [*SLOW, *QUICK]]
    Order(QUICK[2:], tmp_path / "none").pytest_collection_modifyitems(items)  # type: ignore[arg-type]
    assert [item.nodeid for item in items][:2] == [QUICK[2], SLOW[0]]
    assert len(items) == 8


TESTS = """
import os, sys

def test_passes():
    assert "clstm" not in sys.modules and os.getpid() == os.getsid(0)

def test_fails():
    raise ValueError

def test_ends_the_process():
    os._exit(3)

def test_computes():
    while True:
        pass
"""


@pytest.mark.slow
def test_a_warm_process_runs_tests_in_children(tmp_path: Path) -> None:
    """Time that runs out is no failure: another run gives more of it."""
    (tmp_path / "test_some.py").write_text(TESTS)
    server = Server([], ROOT, os.environ)
    results = {}
    try:
        for name in ("passes", "fails", "ends_the_process", "computes", "is_not_there", "passes"):
            chosen = f"{tmp_path}/test_some.py::test_{name}"
            arguments = ["-q", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", chosen]
            request = {"arguments": arguments, "first": [], "seconds": 2, "engine": ""}
            log = tmp_path / "log"
            results[name] = server.run(request, log, tmp_path / "durations.json")
            assert ("1 passed" in log.read_text()) == (name == "passes")
    finally:
        server.close()
    passed = {name: result[0] for name, result in results.items()}
    assert passed == {
        "passes": True, "fails": False, "ends_the_process": False, "computes": True,
        "is_not_there": False,
    }  # fmt: skip
    assert 1 < results["computes"][1] < 10 and server.process.returncode == 0
