"""Threads: any count, many callers of one model, interruption, forked children."""

import copy
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import clstm
from clstm import _core, blas_threads
from clstm import tape as tapes
from tests.support.bounds import assert_same, assert_same_results
from tests.support.case import Case
from tests.support.threads import run_all, run_beside_edits

CASE = Case(steps=40, batch=33, input_size=20, hidden_size=50, num_layers=2, output_size=3)


# From a few thousand multiply-adds to 10^8: for one thread, for two, and for all.
SHAPES = [
    Case(steps=40, batch=1, input_size=20, hidden_size=50, num_layers=2, output_size=3),
    CASE,
    Case(steps=50, batch=1, input_size=40, hidden_size=300),
    Case(steps=600, batch=1, input_size=3, hidden_size=256, output_size=2),  # several chunks
    Case(steps=40, batch=1, hidden_size=256, num_layers=4, output_size=3),
    Case(steps=30, batch=2, input_size=24, hidden_size=264, num_layers=3, dtype=np.float64),
    Case(steps=20, batch=33, input_size=72, hidden_size=130, num_layers=3, output_size=20),
    Case(steps=200, batch=33, input_size=9, hidden_size=40, num_layers=2, bias=False),
]


@pytest.mark.parametrize("case", SHAPES, ids=lambda case: f"H{case.hidden_size}-B{case.batch}")
def test_any_number_of_threads_gives_the_same_numbers(case):
    model = case.model()
    alone = model(case.x(), case.state(), num_threads=1)
    for num_threads in (2, 3, 8, 64):
        assert_same_results(model(case.x(), case.state(), num_threads=num_threads), alone)
        tape = model.record(case.x(), case.state(), num_threads=num_threads)
        assert_same_results((tape.y, tape.state), alone)


def test_backward_uses_the_threads_of_its_recording(monkeypatch):
    case = Case(steps=20, batch=33, input_size=20, hidden_size=50)
    model, x = case.model(), case.x()
    dy = np.ones((20, 33, 50), np.float32)
    seen = []
    count = tapes.thread_count
    monkeypatch.setattr(tapes, "thread_count", lambda number: seen.append(number) or count(number))
    model.record(x, num_threads=1).backward(dy)
    model.record(x, num_threads=3).backward(dy, num_threads=2)
    model.record(x).backward(dy)
    next(model.windows(x, 20, num_threads=1))[1].backward(dy)
    assert seen == [1, 2, None, 1]


def test_set_num_threads():
    before = clstm.get_num_threads()
    try:
        clstm.set_num_threads(3)
        assert clstm.get_num_threads() == 3
    finally:
        clstm.set_num_threads(before)


@pytest.mark.parametrize("wish", ["1", "1,2"])
def test_omp_num_threads_limits_the_default(wish):
    script = "import clstm; print(clstm.get_num_threads())"
    environment = {**os.environ, "OMP_NUM_THREADS": wish}
    result = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, check=True
    )
    assert result.stdout.strip() == b"1"


AFFINITY = """
import os, sys
import numpy as np
import clstm

model, x = clstm.LSTM(64, 256, rng=0), np.zeros((20, 64, 64), np.float32)
adam = clstm.optim.Adam(model)
small, step = clstm.LSTM(4, 8, rng=0), np.zeros((1, 1, 4), np.float32)
cpus = os.sched_getaffinity(0)
os.nice(3)
small(step)
for allowed in (cpus, {min(cpus)}, cpus):
    os.sched_setaffinity(0, allowed)
    print(clstm.get_num_threads(), file=sys.stderr)
    small(step)
    tape = model.record(x)
    adam.step(tape.backward(tape.y))
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs sched_setaffinity")
def test_the_affinity_counts_whenever_it_changes():
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    command = [sys.executable, "-c", AFFINITY]
    result = subprocess.run(
        command,
        env=environment | {"CLSTM_TRACE": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    lines = result.stderr.splitlines()
    numbers = [int(line) for line in lines if line.isdecimal()]
    assert numbers[1] == 1
    assert numbers[2] == numbers[0]
    traced = [int(word[8:]) for line in lines for word in line.split() if word[:8] == "threads="]
    if numbers[0] > 1 and clstm.config()["openmp"]:
        alone, shared = [False] * 3, [False, True, True]  # a small call, and a large pass each way
        assert [threads > 1 for threads in traced] == [False, *shared, *alone, *shared]


LAZY = """
import os, sys
import numpy as np
import clstm

model, x = clstm.LSTM(1, 40, rng=0), np.ones((1, 1, 1), np.float32)
tape = model.record(x)
tape.backward(np.ones((1, 1, 40)))
by_blas = os.environ["CLSTM_ENGINE"] == "blas"
assert ("clstm._blas" in sys.modules) == by_blas
assert ("threadpoolctl" in sys.modules) == by_blas
"""


@pytest.mark.parametrize("engine", ["packed", "blas"])
def test_the_blas_is_loaded_by_the_first_pass_of_its_engine(engine):
    environment = os.environ | {"CLSTM_ENGINE": engine}
    subprocess.run([sys.executable, "-c", LAZY], check=True, timeout=60, env=environment)


def test_many_threads_share_one_model_while_one_edits():
    """8 threads x 1000 calls: each equals one of the two models there ever were, or is refused."""
    case = Case(steps=6, batch=3, hidden_size=9)
    model, x = case.model(), case.x()
    old, new = model.parameters.flat.copy(), case.model().parameters.flat * 0.5
    serial = []
    for flat in (old, new):
        with model.edit() as parameters:
            parameters.flat = flat
        serial.append(model(x)[0])
    results = {"equal": 0, "refused": 0}
    lock = threading.Lock()

    def call():
        for _ in range(1000):
            try:
                y, _ = model(x)
            except RuntimeError as error:
                assert "being edited" in str(error)
                outcome = "refused"
            else:
                assert any(np.allclose(y, s, atol=1e-6, rtol=0) for s in serial)
                outcome = "equal"
            with lock:
                results[outcome] += 1

    run_beside_edits([call] * 8, model, (old, new))
    assert results["equal"] + results["refused"] == 8000
    assert results["equal"] > 0


def test_an_editor_that_waits_gets_in_between_many_calls():
    """Calls of ten threads overlap without a pause, which would keep out an editor for ever."""
    case = Case(steps=200, batch=4, hidden_size=64)
    model, x = case.model(), case.x()
    done, refused, ready = threading.Event(), [], threading.Barrier(11)

    def call():
        ready.wait(60)
        while not done.is_set():
            try:
                model(x, num_threads=1)
            except RuntimeError as error:
                assert "edited" in str(error)
                refused.append(error)

    def edit():
        try:
            ready.wait(60)
            for value in range(5):
                time.sleep(0.02)  # calls begin
                with model.edit(timeout=60) as parameters:
                    parameters.flat[0] = value
                assert model.parameters.flat[0] == value
        finally:
            done.set()

    run_all([edit, *[call] * 10])
    assert refused
    model(x)


def test_a_wait_for_an_edit_ends_with_an_error_when_time_is_over():
    model = Case().model()
    with model.edit() as parameters:
        parameters.flat[0] = 7
        for timeout in (0.01, 1e-9):
            with (
                pytest.raises(RuntimeError, match="already being edited"),
                model.edit(timeout=timeout),
            ):
                pass
    assert model.parameters.flat[0] == 7
    model(Case().x())
    with model.edit(timeout=np.inf):
        pass


def test_an_editor_waits_for_another():
    model, inside, order = Case().model(), threading.Event(), []

    def first():
        with model.edit() as parameters:
            inside.set()
            time.sleep(0.05)
            parameters.flat[0] = 1
            order.append("first")

    def second():
        inside.wait(60)
        with model.edit(timeout=60) as parameters:
            order.append("second")
            assert parameters.flat[0] == 1

    run_all([first, second])
    assert order == ["first", "second"]


@pytest.mark.parametrize(
    ("timeout", "error"), [(-1, ValueError), (np.nan, ValueError), ("1", TypeError)]
)
def test_a_timeout_that_makes_no_sense(timeout, error):
    model = Case().model()
    with pytest.raises(error, match="timeout"), model.edit(timeout=timeout):
        pass
    for nothing in (None, 0):
        with model.edit(timeout=nothing):
            pass


@pytest.mark.parametrize("reader", ["state_dict", "save", "pickle", "deepcopy"])
def test_whoever_copies_the_weights_beside_a_training_thread_gets_those_of_one_step(
    reader, tmp_path
):
    model, done = clstm.LSTM(1, 400, rng=0), threading.Event()
    model.load_state_dict({name: np.zeros_like(a) for name, a in model.state_dict().items()})
    grad = model.record(np.ones((1, 1))).backward(np.zeros((1, 400)))
    grad.parameters.flat = 1
    optimiser = clstm.optim.Adam(model)

    def train():
        while not done.is_set():
            optimiser.step(grad)

    def read():
        if reader == "save":
            model.save(tmp_path / "model.safetensors")
            return clstm.LSTM.load(tmp_path / "model.safetensors").state_dict()
        if reader == "pickle":
            return pickle.loads(pickle.dumps(model)).state_dict()
        return (copy.deepcopy(model) if reader == "deepcopy" else model).state_dict()

    def read_all():
        try:
            for _ in range(10):
                arrays = read().values()
                first = next(iter(arrays)).flat[0]
                assert all((array == first).all() for array in arrays)
        finally:
            done.set()

    run_all([train, read_all])
    with model.edit() as parameters:
        parameters.flat = 1
        assert (model.state_dict()["bias_l0"] != 1).all(), "the old ones until the block ends"


def calls_at_once(model, x, count=8):
    """Return the results of threads that all call at the same moment."""
    barrier, results = threading.Barrier(count), []

    def call():
        barrier.wait(60)
        results.append(model(x))

    run_all([call] * count)
    return results


@pytest.mark.parametrize("hidden_size", [17, 130])
def test_many_threads_make_the_first_call_of_a_fresh_model(hidden_size):
    """Packs that the first call makes, and the first call after an edit, are right."""
    case = Case(steps=4, batch=5, hidden_size=hidden_size, num_layers=2, output_size=3)
    model, x = case.model(), case.x()
    flat = model.parameters.flat.copy()
    old = copy.deepcopy(model)(x)
    with model.edit() as parameters:
        parameters.flat = flat / 2
    new = copy.deepcopy(model)(x)
    assert np.abs(old[0] - new[0]).max() > 1e-3
    for _ in range(25):
        with model.edit() as parameters:
            parameters.flat = flat
        fresh = copy.deepcopy(model)
        for result in calls_at_once(fresh, x):
            assert_same_results(result, old)
        for changed in (fresh, model):
            with changed.edit() as parameters:
                parameters.flat = flat / 2
            for result in calls_at_once(changed, x):
                assert_same_results(result, new)


def test_large_calls_side_by_side_equal_serial_ones():
    case = Case(steps=10, batch=32, input_size=64, hidden_size=96)
    model, x = case.model(), case.x()
    serial, _ = model(x)
    grad = model.record(x).backward(serial)

    def call():
        for _ in range(2):
            assert_same(model(x)[0], serial)
            again = model.record(x).backward(serial)
            np.testing.assert_allclose(again.x, grad.x, rtol=1e-3, atol=1e-5)

    run_all([call] * 4)


def test_blas_is_held_at_one_thread_and_given_back():
    model = Case(batch=64, input_size=64, hidden_size=64).model()
    model(Case(batch=64, input_size=64).x())
    libraries = blas_threads.libraries()
    before = [library.num_threads for library in libraries]
    with _core.blas_hold(), _core.blas_hold():
        assert [library.num_threads for library in libraries] == [1] * len(libraries)
    assert [library.num_threads for library in libraries] == before
    assert not any("numpy.libs" in library.filepath for library in libraries)


INTERRUPTED = """
import os, signal, sys, threading, time
import numpy as np
import clstm

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in jobs in the background
model = clstm.LSTM(64, 256, 2, rng=0)
x = np.zeros((10000, 32, 64), np.float32)
model(x[:2])
before = model.parameters.flat.copy()

def call():
    model(x)

def train():
    tape = model.record(x[:500])
    tape.backward(np.ones_like(tape.y))

for moment in np.random.default_rng(0).uniform(0.01, 0.4, 10):
    timer = threading.Timer(moment, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    start = time.monotonic()
    try:
        while True:
            {"call": call, "train": train}[sys.argv[1]]()
    except KeyboardInterrupt:
        assert time.monotonic() - start < moment + 2, "hangs"
    timer.join()
    assert (model.parameters.flat == before).all()
    model(x[:2])
    with model.edit() as parameters:
        parameters.flat *= 1
print("interrupted every time")
"""


@pytest.mark.parametrize("what", ["call", "train"])
def test_ctrl_c_ends_a_long_call(what):
    """Ten random moments each; the two seconds guard against a hang, they measure nothing."""
    command = [sys.executable, "-c", INTERRUPTED, what]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.stdout == "interrupted every time\n", result.stderr


def child_call(queue, model, x):
    queue.put(model(x, num_threads=2)[0])


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads affinities from /proc")
def test_threads_may_run_where_they_might_before():
    """Helpers run on the caller's other CPUs, at its nice value; no other affinity is changed."""
    code = """
import os, time
import numpy as np, clstm

cpus = os.sched_getaffinity(0)
model = clstm.LSTM(64, 256, rng=0)
x = np.zeros((20, 8, 64), np.float32)
for _ in range(10):
    model(x, num_threads=3)
    time.sleep(0.01)  # they fall asleep, and wake up together
helpers = others = 0
for task in os.listdir("/proc/self/task"):
    with open(f"/proc/self/task/{task}/comm") as file:
        helps = file.read() == "clstm\\n"
    allowed = os.sched_getaffinity(int(task))
    assert allowed and allowed <= cpus
    assert not helps or os.getpriority(os.PRIO_PROCESS, int(task)) == os.nice(0)
    assert helps or allowed == cpus
    assert not helps or len(cpus) == 1 or len(allowed) == len(cpus) - 1
    helpers, others = helpers + helps, others + (not helps)
print(helpers, others)
"""
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    helpers, others = map(int, result.stdout.split())
    assert helpers == 2 or clstm.get_team() != "pool"
    threads = helpers + others
    assert threads >= 3 or not clstm.config()["openmp"]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_children_compute_the_same(method):
    model, x = CASE.model(), CASE.x()
    expected, _ = model(x, num_threads=2)
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=child_call, args=(queue, model, x))
    child.start()
    try:
        assert_same(queue.get(timeout=30), expected)
    finally:
        child.join(10)
        hung = child.is_alive()
        if hung:
            os.kill(child.pid, signal.SIGKILL)
    assert not hung


def test_a_tape_is_used_by_one_of_many_threads():
    model, gradients, refused = CASE.model(), [], []
    tape = model.record(CASE.x())

    def use():
        try:
            gradients.append(tape.backward(CASE.dy()))
        except RuntimeError:
            refused.append(True)

    run_all([use] * 8)
    assert len(gradients) == 1
    assert len(refused) == 7
    expected = model.record(CASE.x()).backward(CASE.dy())
    np.testing.assert_allclose(gradients[0].x, expected.x, rtol=1e-3, atol=1e-5)
