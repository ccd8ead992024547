"""Arguments whose conversion runs code that changes other arguments: a typed error, or right."""

from types import SimpleNamespace

import numpy as np
import pytest

import clstm
from clstm.losses import mean_squared_error, softmax_cross_entropy

T, B, INPUTS, HIDDEN = 40, 16, 64, 32


class Acts:
    """A number, a truth value and an array, each of which acts when it is converted."""

    def __init__(self, value, action):
        self.value, self.action = value, action

    def __array__(self, dtype=None, copy=None):
        self.action()
        return np.asarray(self.value)

    def __index__(self):
        self.action()
        return self.value

    def __bool__(self):
        self.action()
        return bool(self.value)

    @property
    def flat(self):
        self.action()
        return self.value


class ActsWhenItDraws(np.random.Generator):
    def __init__(self, action):
        super().__init__(np.random.PCG64(0))
        self.action = action

    def random(self, *args, **kwargs):
        self.action()
        return super().random(*args, **kwargs)


def drawn(*shape):
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def shrink(array):
    """Give the array's memory back, as another library or thread may."""
    return lambda: array.resize((1,) * array.ndim, refcheck=False)


@pytest.fixture
def lstm():
    return clstm.LSTM(INPUTS, HIDDEN, 2, rng=0)


@pytest.fixture
def arrays():
    return SimpleNamespace(
        x=drawn(T, B, INPUTS),
        out=drawn(T, B, HIDDEN),
        h=drawn(2, B, HIDDEN),
        c=drawn(2, B, HIDDEN),
        lengths=np.full(B, T),
        dropout=np.ones((1, T, B, HIDDEN), np.float32),
        dy=drawn(T, B, HIDDEN),
        row=drawn(T, INPUTS),
    )


CALLS = {
    "num_threads, out": lambda f, a: f(a.x, out=a.out, num_threads=Acts(1, shrink(a.out))),
    "num_threads, x": lambda f, a: f(a.x, num_threads=Acts(1, shrink(a.x))),
    "num_threads, h": lambda f, a: f(a.x, (a.h, a.c), num_threads=Acts(1, shrink(a.h))),
    "num_threads, lengths": lambda f, a: f(
        a.x, lengths=a.lengths, num_threads=Acts(1, shrink(a.lengths))
    ),
    "lengths, x": lambda f, a: f(a.x, lengths=Acts(a.lengths, shrink(a.x))),
    "lengths, out": lambda f, a: f(a.x, lengths=Acts(a.lengths, shrink(a.out)), out=a.out),
    "h, x": lambda f, a: f(a.x, (Acts(a.h, shrink(a.x)), a.c)),
    "c, h": lambda f, a: f(a.x, (a.h, Acts(a.c, shrink(a.h)))),
    "c, out": lambda f, a: f(a.x, (a.h, Acts(a.c, shrink(a.out))), out=a.out),
    "x, c": lambda f, a: f(Acts(a.x, shrink(a.c)), (a.h, a.c)),
    "a row, another": lambda f, a: f([a.row, Acts(drawn(3, INPUTS), shrink(a.row))]),
    "c, a row": lambda f, a: f([a.row], (a.h[:, :1], Acts(a.c[:, :1], shrink(a.row)))),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call(lstm, arrays, name):
    with pytest.raises(ValueError, match=r"shape|features"):
        CALLS[name](lstm, arrays)


@pytest.mark.parametrize("name", [name for name in CALLS if "out" not in name])
def test_a_recording(lstm, arrays, name):
    with pytest.raises(ValueError, match=r"shape|features"):
        CALLS[name](lstm.record, arrays)


RECORDINGS = {
    "dropout, x": lambda f, a: f(a.x, dropout=Acts(a.dropout, shrink(a.x))),
    "recurrent_dropout, dropout": lambda f, a: f(
        a.x, dropout=a.dropout, recurrent_dropout=Acts(a.h, shrink(a.dropout))
    ),
    "rng, x": lambda f, a: f(a.x, dropout=0.5, rng=ActsWhenItDraws(shrink(a.x))),
    "rng, h": lambda f, a: f(a.x, (a.h, a.c), dropout=0.5, rng=ActsWhenItDraws(shrink(a.h))),
}


@pytest.mark.parametrize("name", RECORDINGS)
def test_dropout(lstm, arrays, name):
    with pytest.raises(ValueError, match=r"shape|features|changed"):
        RECORDINGS[name](lstm.record, arrays)


BACKWARDS = {
    "num_threads, dy": lambda f, a: f(a.dy, num_threads=Acts(1, shrink(a.dy))),
    "grad_x, dy": lambda f, a: f(a.dy, grad_x=Acts(1, shrink(a.dy))),
    "dc, dy": lambda f, a: f(a.dy, (a.h, Acts(a.c, shrink(a.dy)))),
    "dc, dh": lambda f, a: f(a.dy, (a.h, Acts(a.c, shrink(a.h)))),
}


@pytest.mark.parametrize("name", BACKWARDS)
def test_a_backward_pass(lstm, arrays, name):
    tape = lstm.record(arrays.x)
    dy = arrays.dy.copy()
    with pytest.raises(ValueError, match="shape"):
        BACKWARDS[name](tape.backward, arrays)
    tape.backward(dy)


@pytest.mark.parametrize("method", ["step", "process"])
def test_a_stream(lstm, arrays, method):
    stream = lstm.stream(B)
    x, out = (arrays.x, arrays.out) if method == "process" else (arrays.x[0], drawn(B, HIDDEN))
    with pytest.raises(ValueError, match="out has shape"):
        getattr(stream, method)(Acts(x, shrink(out)), out)
    with pytest.raises(ValueError, match="state's h has shape"):
        stream.state = arrays.h, Acts(arrays.c, shrink(arrays.h))
    assert not stream.state[0].any()


@pytest.mark.parametrize(
    ("optimiser", "name"),
    [(clstm.optim.Adam, "m"), (clstm.optim.Adam, "v"), (clstm.optim.SGD, "velocity")],
)
def test_a_step(lstm, optimiser, name):
    under_test, flat = optimiser(lstm, lr=0.1), lstm.parameters.flat.copy()
    with pytest.raises(ValueError, match=f"^{name} must be contiguous, .* and of shape"):
        under_test.step(Acts(flat.copy(), shrink(getattr(under_test, name))))
    np.testing.assert_array_equal(lstm.parameters.flat, flat)


def test_a_state_dict(lstm):
    state = lstm.state_dict()
    before = lstm.parameters.flat.copy()
    state["bias_l1"] = Acts(state["bias_l1"], shrink(state["weight_ih_l0"]))
    with pytest.raises(ValueError, match="weight_ih_l0 has shape"):
        lstm.load_state_dict(state)
    np.testing.assert_array_equal(lstm.parameters.flat, before)


def test_losses():
    for loss_function, dtype in ((mean_squared_error, float), (softmax_cross_entropy, int)):
        y = drawn(6, 3)
        target = np.zeros((6, 3) if dtype is float else 6, dtype)
        with pytest.raises(ValueError, match="target has shape"):
            loss_function(y, target, Acts(np.ones(6), shrink(y)))
