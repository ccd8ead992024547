"""Engines and teams chosen at run time, and teams that get fewer threads than they want."""

import os
import subprocess
import sys

import numpy as np
import pytest

import clstm
from tests.support.bounds import assert_identical
from tests.support.case import Case
from tests.support.paths import ROOT
from tests.support.threads import run_all

CASE = Case(steps=20, batch=33, input_size=20, hidden_size=70, num_layers=2, output_size=3)
TEAMS = ["pool", "openmp"] if clstm.config()["openmp"] else ["pool"]


@pytest.fixture(autouse=True)
def restored():
    yield
    clstm.set_engine(None)
    clstm.set_team(None)


def python(script, **environment):
    return subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_engine_is_chosen_at_run_time():
    before = clstm.get_engine()
    for name in ("blas", "packed"):
        clstm.set_engine(name)
        assert clstm.get_engine() == clstm.config()["engine"] == name
    clstm.set_engine(None)
    assert clstm.get_engine() == before


def test_the_team_follows_the_engine_unless_it_is_chosen():
    if "CLSTM_TEAM" in os.environ:
        pytest.skip("the environment chooses the team")
    for engine, team in (("packed", "pool"), ("blas", TEAMS[-1])):
        clstm.set_engine(engine)
        assert clstm.get_team() == clstm.config()["team"] == team
    for team in TEAMS:
        clstm.set_team(team)
        assert clstm.get_team() == team


@pytest.mark.parametrize("choose", [clstm.set_engine, clstm.set_team])
def test_an_unknown_name_is_refused(choose):
    with pytest.raises(ValueError, match=r"must be '.*' or '.*' or None, got 'steam'"):
        choose("steam")


def test_an_unknown_team_of_the_environment_is_a_clear_error():
    call = "import clstm, numpy; clstm.LSTM(3, 4)(numpy.zeros((2, 1, 3)), num_threads=2)"
    result = python(call, CLSTM_TEAM="steam")
    assert result.returncode == 1
    assert "CLSTM_TEAM names no team, expected pool or openmp, got 'steam'" in result.stderr
    for name in ("", *TEAMS):
        assert python(call, CLSTM_TEAM=name).returncode == 0


def everything(engine, team, num_threads):
    clstm.set_engine(engine)
    clstm.set_team(team)
    model = CASE.model()
    y, state = model(CASE.x(), CASE.state(), num_threads=num_threads)
    tape = model.record(CASE.x(), CASE.state(), num_threads=num_threads)
    grad = tape.backward(CASE.dy())
    norm = clstm.optim.clip_global_norm(grad, 1e9)
    clstm.optim.Adam(model).step(grad)
    return y, *state, tape.y, grad.x, grad.parameters.flat, norm, model.parameters.flat.copy()


def assert_all_identical(actual, expected):
    for one, other in zip(actual, expected, strict=True):
        assert_identical(np.asarray(one), np.asarray(other))


@pytest.mark.parametrize("num_threads", [2, 3])
def test_both_teams_give_the_same_bits(num_threads):
    expected = everything("packed", "pool", num_threads)
    for team in TEAMS:
        assert_all_identical(everything("packed", team, num_threads), expected)


def test_results_do_not_depend_on_which_calls_get_helpers():
    """Four callers compete for the helpers; a caller without them computes alone."""
    expected, results = everything("packed", "pool", 2), []

    def often():
        model = CASE.model()
        for _ in range(20):
            tape = model.record(CASE.x(), CASE.state(), num_threads=2)
            grad = tape.backward(CASE.dy())
            norm = clstm.optim.clip_global_norm(grad, 1e9)
            results.append((tape.y, grad.x, grad.parameters.flat, norm))

    run_all([often] * 4)
    assert len(results) == 80
    for result in results:
        assert_all_identical(result, expected[3:7])


def test_a_call_has_the_engine_of_its_moment():
    """The engines differ in the last bits, so equal bits show which one computed."""
    packed = everything("packed", None, 1)
    blas = everything("blas", None, 1)
    assert not np.array_equal(packed[0], blas[0])
    for one, other in zip(packed[:-1], blas[:-1], strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-4)
    assert_all_identical(everything("packed", None, 1), packed)
    assert_all_identical(everything("blas", None, 1), blas)


@pytest.mark.parametrize(("first", "then"), [("packed", "blas"), ("blas", "packed")])
def test_a_recording_goes_backward_with_either_engine(first, then):
    clstm.set_engine(first)
    expected = CASE.model().record(CASE.x(), CASE.state()).backward(CASE.dy())
    tape = CASE.model().record(CASE.x(), CASE.state())
    clstm.set_engine(then)
    grad = tape.backward(CASE.dy())
    np.testing.assert_allclose(grad.x, expected.x, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(grad.parameters.flat, expected.parameters.flat, rtol=1e-3, atol=1e-3)


# A process that may make no thread at first, and later some. Root may always: it becomes nobody.
SCARCE = """
import os, resource, sys
import numpy as np
import clstm

model = clstm.LSTM(40, 200, rng=0)
x = np.ones((20, 64, 40), np.float32)
expected = model(x, num_threads=1)[0]
import scipy.linalg.blas  # what the blas engine loads
if {limit!r} == "threads":
    if not os.geteuid():
        os.setuid(65534)
    limits = resource.RLIMIT_NPROC, resource.getrlimit(resource.RLIMIT_NPROC)
    resource.setrlimit(resource.RLIMIT_NPROC, (1, limits[1][1]))
else:
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[0])
    limits = resource.RLIMIT_AS, resource.getrlimit(resource.RLIMIT_AS)
    size = pages * resource.getpagesize() + (40 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (size, limits[1][1]))

def compute():
    y = model(x, num_threads=64)[0]
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    tape = model.record(x, num_threads=64)
    return tape.backward(tape.y)

try:
    compute()
except MemoryError:
    assert {limit!r} == "memory"
resource.setrlimit(*limits)
clstm.optim.Adam(model).step(compute())
print("goes on")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's limits of a process")
@pytest.mark.parametrize("limit", ["threads", "memory"])
@pytest.mark.parametrize("team", TEAMS)
@pytest.mark.parametrize("engine", ["packed", "blas"])
def test_a_refused_thread_means_fewer_threads(engine, team, limit):
    script = SCARCE.format(limit=limit)
    limits = {"OPENBLAS_NUM_THREADS": "1"}  # OpenBLAS makes its threads when it is loaded
    result = python(script, CLSTM_TEAM=team, CLSTM_ENGINE=engine, **limits)
    assert result.stdout == "goes on\n", result.stderr


FORKING = """
import os, signal, sys
import numpy as np
import clstm

children = []
signal.signal(signal.SIGALRM, lambda *_: children.append(os.fork()))
model = clstm.LSTM(64, 512, rng=0)
x = np.ones((600, 32, 64), np.float32)
small = np.ones((20, 32, 64), np.float32)
signal.setitimer(signal.ITIMER_REAL, 0.05)
try:
    model(x, num_threads=2)
    outcome = "computed"
except RuntimeError as error:
    outcome = str(error)
signal.alarm(0)
model(small, num_threads=2)
print(outcome, flush=True)
if children and not children[0]:
    os._exit(0)
os.waitpid(children[0], 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_signal_handler_may_fork_during_a_call():
    """The parent's results stand; the child is told that its own are lost."""
    result = python(FORKING)
    lines = sorted(result.stdout.splitlines())
    assert len(lines) == 2, result.stderr
    assert "forked this process during the call" in lines[0]
    assert lines[1] == "computed"
