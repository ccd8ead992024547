"""Models of few units: rows that run side by side, and layers that run a step apart.

Whatever runs together, every value is that of a row alone in a model of one layer, bit for bit.
"""

from itertools import product

import numpy as np
import pytest

import clstm
from tests.support.bounds import assert_identical

STEPS = 70  # more than a stream takes at once
# Below, at and above whole and half vectors of every instruction set; more than five of them.
HIDDEN = (1, 2, 3, 4, 5, 8, 9, 12, 16, 17, 20, 24, 31, 32, 33, 40, 41, 48, 65, 80)


@pytest.fixture(autouse=True)
def packed_engine():
    """The blas engine has one way for all sizes."""
    clstm.set_engine("packed")
    yield
    clstm.set_engine(None)


def single_layers(lstm: clstm.LSTM) -> list[clstm.LSTM]:
    """Each layer as a model of its own; the readout goes with the last."""
    H, L = lstm.hidden_size, lstm.num_layers
    state = lstm.state_dict()
    models = []
    for layer in range(L):
        readout = lstm.output_size if layer + 1 == L else None
        one = clstm.LSTM(H if layer else lstm.input_size, H, output_size=readout, dtype=lstm.dtype)
        names = one.state_dict()
        one.load_state_dict({name: state[name.replace("_l0", f"_l{layer}")] for name in names})
        models.append(one)
    return models


def rows_alone(lstm: clstm.LSTM, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """y (T, B, O), the last layer's h (T, B, H) and the final h (L, B, H), each row alone."""
    rows = []
    for row in range(x.shape[1]):
        below, final = x[:, row], []
        for one in single_layers(lstm):
            tape = one.record(below, num_threads=1)
            below = tape.hidden
            final.append(below[-1])
        rows.append((tape.y, below, np.stack(final)))
    y, hidden, final = (np.stack(arrays, 1) for arrays in zip(*rows, strict=True))
    return y, hidden, final


def model_and_input(hidden: int, layers: int, rows: int, inputs: int, dtype=np.float32):
    lstm = clstm.LSTM(inputs, hidden, layers, output_size=2, dtype=dtype, rng=hidden)
    x = np.random.default_rng(rows).standard_normal((STEPS, rows, inputs)).astype(dtype)
    return lstm, x


def assert_all_equal(lstm: clstm.LSTM, x: np.ndarray) -> None:
    """Calls, records and streams equal the rows alone."""
    y, hidden, final = rows_alone(lstm, x)
    called, (h, _) = lstm(x, num_threads=1)
    assert_identical(called, y)
    assert_identical(h, final)
    tape = lstm.record(x, num_threads=1)
    assert_identical(tape.y, y)
    assert_identical(tape.hidden, hidden)
    stream = lstm.stream(x.shape[1])
    assert_identical(stream.process(x), y)
    assert_identical(stream.state[0], final)


@pytest.mark.parametrize("hidden", HIDDEN)
def test_rows_are_those_of_calls_alone(hidden):
    for rows in (1, 2, 3, 4, 5, 8, 9):
        assert_all_equal(*model_and_input(hidden, 1, rows, inputs=1))


@pytest.mark.parametrize(("hidden", "layers"), [*product(HIDDEN[::2], (2, 3, 4, 5))])
def test_layers_are_those_of_models_of_one_layer(hidden, layers):
    for rows, inputs in ((1, 1), (3, 9)):
        assert_all_equal(*model_and_input(hidden, layers, rows, inputs))


@pytest.mark.parametrize("layers", [1, 2])
def test_float64(layers):
    for hidden in (2, 4, 6, 8, 11, 20):
        assert_all_equal(*model_and_input(hidden, layers, 3, 2, np.float64))


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5])
def test_blocks_shorter_than_the_layers(layers, steps):
    """The upper layers begin after the lower ones have ended."""
    lstm, x = model_and_input(8, layers, 2, 1)
    y, _ = lstm(x, num_threads=1)
    stream = lstm.stream(2)
    parts = [stream.process(x[t : t + steps]) for t in range(0, STEPS, steps)]
    assert_identical(np.concatenate(parts), y)
    first, state = lstm(x[:steps], num_threads=1)
    second, _ = lstm(x[steps:], state, num_threads=1)
    assert_identical(np.concatenate([first, second]), y)


@pytest.mark.parametrize("keep", ["gates", "states"])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_gradients_of_a_record(keep, layers):
    """The gradients of rows together are the sums of those of the rows alone."""
    lstm, x = model_and_input(12, layers, 3, 2)
    tape = lstm.record(x, keep=keep, num_threads=1)
    dy = np.random.default_rng(1).standard_normal(tape.y.shape).astype(np.float32)
    together = tape.backward(dy, num_threads=1)
    total = 0.0
    for row in range(3):
        alone = lstm.record(x[:, row], keep=keep, num_threads=1)
        total = total + alone.backward(dy[:, row], num_threads=1).parameters.flat.astype(np.float64)
    error = np.abs(together.parameters.flat - total).max()
    assert error < 1e-5 * np.abs(total).max()


def test_lengths_and_dropout_between_layers():
    """What happens between two layers, or ends some rows, does so for layers a step apart, too."""
    lstm, x = model_and_input(8, 2, 3, 1)
    y, _ = lstm(x, lengths=[STEPS, 5, 0], num_threads=1)
    for row, n in enumerate((STEPS, 5, 0)):
        alone, _ = lstm(x[:n, row], num_threads=1)
        assert_identical(y[:n, row], alone)
    factors = np.ones((1, *x.shape[:2], 8), np.float32)
    factors[:, :, 1] = 0
    tape = lstm.record(x, dropout=factors, num_threads=1)
    plain, _ = lstm(x, num_threads=1)
    assert_identical(tape.y[:, ::2], plain[:, ::2])
    assert not np.array_equal(tape.y[:, 1], plain[:, 1])
