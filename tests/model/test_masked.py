"""Masked arrays are refused wherever a user's array is read: what is masked has no value."""

from types import SimpleNamespace

import numpy as np
import pytest

import clstm
from clstm.interop.layers import Dense, Skip, run, with_readout
from clstm.losses import mean_squared_error, softmax_cross_entropy
from clstm.parameters import Parameters

T, B, INPUTS, HIDDEN = 5, 2, 3, 4


def masked(*shape, dtype=np.float32):
    return np.ma.masked_array(np.ones(shape, dtype), np.zeros(shape, bool))


class Offers:
    """An object whose ``__array__`` has a mask."""

    def __init__(self, *shape):
        self.shape = shape

    def __array__(self, dtype=None, copy=None):
        return masked(*self.shape)


def ones(*shape):
    return np.ones(shape, np.float32)


X, H, Y = (T, B, INPUTS), (2, B, HIDDEN), (T, B, HIDDEN)
CALLS = {
    "x": lambda f: f(masked(*X)),
    "x of float64": lambda f: f(masked(*X, dtype=float)),
    "x without a batch": lambda f: f(masked(T, INPUTS)),
    "x, an object": lambda f: f(Offers(*X)),
    "x[1]": lambda f: f([ones(T, INPUTS), masked(T, INPUTS)]),
    "state's h": lambda f: f(ones(*X), (masked(*H), ones(*H))),
    "state's c": lambda f: f(ones(*X), (ones(*H), masked(*H))),
    "lengths": lambda f: f(ones(*X), lengths=masked(B, dtype=np.intp)),
    "lengths, a list": lambda f: f(ones(*X), lengths=[1, np.ma.masked]),
}
RECORDINGS = {
    "dropout": lambda f: f(ones(*X), dropout=masked(1, *Y)),
    "recurrent_dropout": lambda f: f(ones(*X), recurrent_dropout=masked(*H)),
}


def refuses(name, call, *arguments):
    name = name.partition(",")[0].partition(" of ")[0].partition(" without")[0]
    name = name.replace("[", r"\[").replace("]", r"\]")
    with pytest.raises(TypeError, match=rf"^{name} must be an array without a mask, .*filled\("):
        call(*arguments)


@pytest.fixture
def lstm():
    return clstm.LSTM(INPUTS, HIDDEN, 2, rng=0)


@pytest.mark.parametrize("name", CALLS)
def test_calls(lstm, name):
    refuses(name, CALLS[name], lstm)


@pytest.mark.parametrize("name", CALLS | RECORDINGS)
def test_recordings(lstm, name):
    refuses(name, (CALLS | RECORDINGS)[name], lstm.record)


def test_a_mask_without_a_masked_element_is_refused(lstm):
    """Whether a call succeeds does not depend on the values."""
    refuses("x", lstm, np.ma.masked_array(ones(*X)))
    refuses("x", lstm, np.ma.masked_invalid(np.full(X, np.nan)))


def test_out(lstm):
    refuses("out", lambda: lstm(ones(*X), out=masked(*Y)))
    stream = lstm.stream(B)
    refuses("out", lambda: stream.step(ones(B, INPUTS), masked(B, HIDDEN)))
    x = masked(B, INPUTS)
    refuses("x", lambda: stream.step(x, x))


def test_windows(lstm):
    refuses("x", lstm.windows, masked(*X), 2)
    refuses("x", lstm.windows, Offers(*X), 2)
    for k in range(2):
        state = [ones(*H), ones(*H)]
        state[k] = masked(*H)
        refuses(f"state's {'hc'[k]}", next, lstm.windows(ones(*X), 2, tuple(state)))


def test_streams(lstm):
    stream = lstm.stream(B)
    refuses("x", stream.step, masked(B, INPUTS))
    refuses("x", stream.process, masked(*X))
    with pytest.raises(TypeError, match=r"^state's c must be an array without a mask"):
        stream.state = ones(*H), masked(*H)
    assert not stream.state[1].any()


def test_backward_passes(lstm):
    tape = lstm.record(ones(*X))
    refuses("dy", tape.backward, masked(*Y))
    refuses("dy", tape.backward, masked(B, HIDDEN))
    refuses("dstate's h", tape.backward, None, (masked(*H), ones(*H)))
    into = Parameters(lstm._table, np.ma.masked_array(np.zeros_like(lstm.parameters.flat)))
    refuses("into", lambda: tape.backward(ones(*Y), into=into))
    tape.backward(ones(*Y))
    ragged = lstm.record([ones(2, INPUTS), ones(3, INPUTS)])
    refuses("dy[1]", ragged.backward, [ones(2, HIDDEN), masked(3, HIDDEN)])


@pytest.mark.parametrize("loss_function", [mean_squared_error, softmax_cross_entropy])
def test_losses(loss_function):
    target = np.zeros((T, B), int) if loss_function is softmax_cross_entropy else ones(*Y)
    hidden = np.ma.masked_array(target)
    refuses("y", loss_function, masked(*Y), target)
    refuses("target", loss_function, ones(*Y), hidden)
    refuses("weight", loss_function, ones(*Y), target, masked(T, B))
    refuses("y[0]", loss_function, [masked(B, HIDDEN), masked(B, HIDDEN)], target[:2])
    refuses("y", loss_function, [masked(HIDDEN), masked(HIDDEN)], target[0])
    refuses("target", loss_function, ones(*Y), list(hidden))
    refuses("weight", loss_function, ones(*Y), target, [[1.0, np.ma.masked]] * T)


def test_optimisers(lstm):
    flat = np.ma.masked_array(np.ones_like(lstm.parameters.flat))
    grad, before = SimpleNamespace(flat=flat.data), lstm.parameters.flat.copy()
    for optimiser, names in ((clstm.optim.Adam, "mv"), (clstm.optim.SGD, ["velocity"])):
        refuses("grad", optimiser(lstm, lr=0.1).step, SimpleNamespace(flat=flat))
        for name in names:
            under_test = optimiser(lstm, lr=0.1)
            setattr(under_test, name, flat)
            refuses(name, under_test.step, grad)
    refuses("grad", clstm.optim.clip_global_norm, SimpleNamespace(flat=flat), 1.0)
    np.testing.assert_array_equal(lstm.parameters.flat, before)


def test_parameters(lstm):
    before = lstm.parameters.flat.copy()

    def edit():
        with lstm.edit() as parameters:
            parameters.flat = np.ma.masked_array(before + 1)

    refuses("flat", edit)
    state = lstm.state_dict()
    refuses("bias_l1", lstm.load_state_dict, state | {"bias_l1": masked(4 * HIDDEN)})
    np.testing.assert_array_equal(lstm.parameters.flat, before)


def test_layers(lstm):
    dense = Dense(ones(1, INPUTS))
    refuses("weight", Dense, masked(1, INPUTS))
    refuses("bias", Dense, ones(1, INPUTS), masked(1))
    refuses("weight_out", with_readout, lstm, masked(1, HIDDEN), None)
    for layers in ([lstm], [dense], [Dense(activation="tanh")], [Skip((dense,))], [Skip(())]):
        refuses("x", run, layers, masked(*X))
        if not isinstance(layers[0], clstm.LSTM):
            refuses("x", layers[0], masked(*X))
