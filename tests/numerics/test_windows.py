"""Truncated BPTT: windows carry the state, stop the gradient, and bound the memory."""

import subprocess
import sys

import numpy as np
import pytest

import clstm
from tests.support import reference
from tests.support.bounds import assert_gradients
from tests.support.case import Case

CASE = Case(steps=23, batch=3, num_layers=2, output_size=2)


@pytest.mark.parametrize("length", [1, 5, 23, 100])
def test_windows_cover_the_sequence_and_carry_the_state(length):
    model, x, state = CASE.model(), CASE.x(), CASE.state()
    y, (h, c) = model(x, state)
    windows = model.windows(x, length, state)
    assert len(windows) == -(-23 // length)
    seen = []
    for window, tape in windows:
        np.testing.assert_array_equal(tape.y, y[window])
        seen += range(window.start, window.stop)
    assert seen == list(range(23)) and len(windows) == 0
    np.testing.assert_array_equal(windows.state[0], h)
    np.testing.assert_array_equal(windows.state[1], c)


def test_gradients_are_those_of_windows_that_begin_where_the_last_one_ended():
    model, x, dy = CASE.model(), CASE.x(), CASE.dy()
    total, expected, state = None, {}, CASE.state()
    for window, tape in model.windows(x, 6, state):
        recorded = reference.forward(model.parameters, x[window], state)
        wanted = reference.backward(model.parameters, recorded, dy[window])
        for name, array in wanted.parameters.items():
            expected[name] = expected.get(name, 0) + array
        state = tape.state
        total = tape.backward(dy[window], into=total)
    assert_gradients(CASE, dict(total.parameters), expected)


def test_the_model_may_change_between_windows():
    model, x = CASE.model(), CASE.x()
    adam = clstm.optim.Adam(model)
    for window, tape in model.windows(x, 10):
        adam.step(tape.backward(CASE.dy()[window]))
    assert adam.t == 3


@pytest.mark.parametrize("batched", [True, False])
def test_windows_of_other_layouts(batched):
    model = clstm.LSTM(2, 4, batch_first=True, rng=0)
    x = np.random.default_rng(0).normal(size=(3, 20, 2))
    y, _ = model(x)
    for window, tape in model.windows(x if batched else x[0], 7):
        np.testing.assert_array_equal(tape.y, y[:, window] if batched else y[0][window])


def test_an_empty_sequence_has_no_window():
    windows = CASE.model().windows(CASE.x()[:0], 5, CASE.state())
    assert list(windows) == []
    assert windows.state is not None


@pytest.mark.parametrize("options", [{"direction": "reverse"}, {"bidirectional": True}])
def test_windows_go_forwards(options):
    with pytest.raises(ValueError, match="reverse direction"):
        clstm.LSTM(1, 2, **options).windows(np.zeros((4, 1)), 2)


def test_windows_refuse():
    model = CASE.model()
    for length, error in ((0, ValueError), (-3, ValueError), (2.5, TypeError), (None, TypeError)):
        with pytest.raises(error):
            model.windows(CASE.x(), length)
    with pytest.raises(ValueError, match="x has 4 features, expected input_size=5"):
        model.windows(np.zeros((7, 3, 4)), 5)
    with pytest.raises(ValueError, match=r"expected \(T, B, input_size\)"):
        model.windows(np.zeros(7), 5)
    with pytest.raises(TypeError, match="x must be a NumPy array, got list"):
        model.windows([1, 2], 5)
    with pytest.raises(ValueError, match="state's h has shape"):
        next(model.windows(CASE.x(), 5, (np.zeros(3), np.zeros(3))))


PEAK = """
import resource, sys
import numpy as np, clstm
steps = int(sys.argv[1])
lstm = clstm.LSTM(8, 64, rng=0)
x, dy = np.zeros((steps, 4, 8), np.float32), np.ones((100, 4, 64), np.float32)
total = None
for window, tape in lstm.windows(x, 100):
    total = tape.backward(dy, into=total)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_is_that_of_a_window():
    """200 windows need as much memory as 20, but for x (1.3 MB); one tape would need 120 MB."""

    def peak(steps):
        command = [sys.executable, "-c", PEAK, str(steps)]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        return int(result.stdout)

    assert peak(20000) - peak(2000) < 6000
