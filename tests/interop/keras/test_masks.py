"""Masks, last steps and embeddings of a `Sequential` beside Keras's, on the PyTorch backend."""

from importlib.util import find_spec

import numpy as np
import pytest

import clstm
from clstm.layers import Dense, Embedding, Last, Masking
from tests.interop.keras.models import FEATURES, drawn, keras, layers

pytestmark = [
    pytest.mark.peers,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # Keras's own
]
if find_spec("keras") is None:
    pytest.skip("install bench/requirements.txt for this tier", allow_module_level=True)

VALUE = -9.0
HOLES = np.array(
    [
        [1, 1, 1, 1, 1, 1],
        [0, 0, 1, 1, 1, 1],  # leading
        [1, 1, 1, 0, 0, 0],  # trailing
        [1, 0, 1, 0, 0, 1],
        [0, 1, 0, 1, 0, 0],
        [0, 0, 0, 0, 0, 0],
    ],
    bool,
)


def lstm_of(weights):
    """Return a clstm.LSTM from Keras's kernel, recurrent kernel and bias of each direction."""
    model = clstm.LSTM(
        weights[0].shape[0],
        weights[1].shape[0],
        bidirectional=len(weights) == 6,
        batch_first=True,
    )
    with model.edit() as parameters:
        for d, end in enumerate(["", "_reverse"][: len(weights) // 3]):
            kernel, recurrent, bias = weights[3 * d : 3 * d + 3]
            parameters[f"weight_ih_l0{end}"][...] = kernel.T
            parameters[f"weight_hh_l0{end}"][...] = recurrent.T
            parameters[f"bias_l0{end}"][...] = bias
    return model


def reverse_of(weights):
    forward = lstm_of(weights)
    model = clstm.LSTM(
        forward.input_size, forward.hidden_size, direction="reverse", batch_first=True
    )
    with model.edit() as parameters:
        parameters.flat = forward.parameters.flat
    return model


def outputs(theirs, ours, x):
    expected = np.asarray(theirs.predict(x, verbose=0))
    return ours(x)[0], expected


def x_with_holes():
    x = np.random.default_rng(0).standard_normal((len(HOLES), 6, FEATURES)).astype(np.float32)
    x[~HOLES] = VALUE
    return x


CASES = {
    "sequences": (lambda: [layers.LSTM(4, return_sequences=True)], False),
    "two": (lambda: [layers.LSTM(4, return_sequences=True), layers.LSTM(3)], True),
    "last": (lambda: [layers.LSTM(4)], True),
    "both": (lambda: [layers.Bidirectional(layers.LSTM(4, return_sequences=True))], False),
    "both last": (lambda: [layers.Bidirectional(layers.LSTM(4))], True),
    "both two": (
        lambda: [
            layers.Bidirectional(layers.LSTM(4, return_sequences=True)),
            layers.Bidirectional(layers.LSTM(3, return_sequences=True)),
            layers.LSTM(3),
            layers.Dense(2, activation="sigmoid"),
        ],
        True,
    ),
    "dense": (lambda: [layers.LSTM(4, return_sequences=True), layers.Dense(2)], False),
}


def zeroes(inner):
    """Keras's Bidirectional makes a sequence zero at masked steps; only the last LSTM's shows."""
    last = [layer for layer in inner if not isinstance(layer, keras.layers.Dense)][-1]
    both = isinstance(last, keras.layers.Bidirectional)
    return both and last.forward_layer.return_sequences


def ours_of(first, inner, last):
    """Return the same layers as a Sequential."""
    chain = [first]
    for layer in inner:
        weights = layer.get_weights()
        if isinstance(layer, keras.layers.Dense):
            name = layer.activation.__name__
            chain.append(Dense(weights[0].T, weights[1], "" if name == "linear" else name))
        else:
            chain.append(lstm_of(weights))
        if last and layer is [k for k in inner if not isinstance(k, keras.layers.Dense)][-1]:
            chain.append(Last(ends=True))
    return clstm.Sequential(chain, batch_first=True)


@pytest.mark.parametrize("name", CASES)
def test_masked_steps_are_skipped_as_keras_does(name):
    make, last = CASES[name]
    inner = make()
    theirs = drawn(
        keras.Sequential([layers.Input((None, FEATURES)), layers.Masking(VALUE), *inner])
    )
    actual, expected = outputs(
        theirs, ours_of(Masking(VALUE, zeroes(inner)), inner, last), x_with_holes()
    )
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_an_index_of_zero_is_padding_as_in_keras(name):
    make, last = CASES[name]
    inner = make()
    embedding = layers.Embedding(7, FEATURES, mask_zero=True)
    theirs = drawn(keras.Sequential([layers.Input((None,)), embedding, *inner]))
    x = np.random.default_rng(1).integers(1, 7, HOLES.shape) * HOLES
    first = Embedding(embedding.get_weights()[0], True, zeroes(inner))
    actual, expected = outputs(theirs, ours_of(first, inner, last), x)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def test_outputs_of_masked_steps_are_zero_if_keras_makes_them_so():
    inner = [layers.LSTM(4, return_sequences=True, zero_output_for_mask=True)]
    theirs = drawn(
        keras.Sequential([layers.Input((None, FEATURES)), layers.Masking(VALUE), *inner])
    )
    ours = ours_of(Masking(VALUE, zero_masked=True), inner, False)
    actual, expected = outputs(theirs, ours, x_with_holes())
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("last", [False, True])
def test_a_layer_that_goes_backwards(last):
    layer = layers.LSTM(4, return_sequences=not last, go_backwards=True)
    theirs = drawn(keras.Sequential([layers.Input((None, FEATURES)), layers.Masking(VALUE), layer]))
    chain = [Masking(VALUE), reverse_of(layer.get_weights()), *[Last(ends=True)] * last]
    actual, expected = outputs(theirs, clstm.Sequential(chain, batch_first=True), x_with_holes())
    if not last:
        expected = expected[:, ::-1]  # Keras gives its sequence in the order of computation
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)
