"""Busy machines: late helpers change no bit of any result, neither forward nor of gradients."""

import sys

import pytest

import clstm
from tests.numerics.busy_calls import CASES
from tests.support.commands import execute
from tests.support.paths import ROOT

LOST = "clstm: a thread lost its CPU"
QUICK = ("units", "rows", "layers", "directions")


def check(name, engine, seconds):
    command = (sys.executable, "-m", "tests.numerics.busy_calls", name, engine, seconds)
    printed = execute(*command, cwd=ROOT, CLSTM_TRACE="1")
    calls = int(printed.splitlines()[-1])
    assert calls >= 10
    waits = engine == "packed" and name.startswith("units") and sys.platform == "linux"
    if waits and clstm.get_num_threads() > 1:
        assert LOST in printed, "nothing was late: the test shows nothing"


@pytest.mark.parametrize("name", QUICK)
def test_results_are_those_of_a_quiet_machine(name):
    check(name, "packed", 0.2)


@pytest.mark.long
@pytest.mark.parametrize("engine", ["packed", "blas"])
@pytest.mark.parametrize("name", CASES)
def test_results_are_those_of_a_quiet_machine_for_longer(name, engine):
    check(name, engine, 4)


def test_slow_handovers_change_no_result():
    command = (sys.executable, "-m", "tests.numerics.busy_calls", "units", "packed", 0.2)
    assert int(execute(*command, cwd=ROOT, CLSTM_HANDOVER="270").splitlines()[-1]) >= 10
