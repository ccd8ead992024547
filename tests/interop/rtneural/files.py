"""RTNeural's files of both kinds, written from their definition."""

from itertools import pairwise

import numpy as np

from tests.interop.files import draw_layer


def joined(gates, order="ifgo", axis=0):
    return np.concatenate([gates[gate] for gate in order], axis)


def keras_lstm(layer):
    """A layer in the order of RTNeural's loader: transposed, i f c o, one bias."""
    hidden = len(layer["b"]["i"])
    weights = [joined(layer["w"]).T, joined(layer["r"]).T, joined(layer["b"])]
    return entry("lstm", "tanh", hidden, *weights)


def entry(kind, activation, size, *weights):
    shape, weights = [None, None, size], [array.tolist() for array in weights]
    return {"type": kind, "activation": activation, "shape": shape, "weights": weights}


def keras_file(*entries, inputs=2, **more):
    return {"in_shape": [None, None, inputs], "layers": list(entries), **more}


def torch_lstm(layers, prefix, rng):
    """PyTorch's names; the bias is two numbers that add up to it exactly."""
    state = {}
    for k, layer in enumerate(layers):
        state[f"{prefix}weight_ih_l{k}"] = joined(layer["w"]).tolist()
        state[f"{prefix}weight_hh_l{k}"] = joined(layer["r"]).tolist()
        part = np.round(rng.standard_normal(joined(layer["b"]).shape))
        state[f"{prefix}bias_ih_l{k}"] = part.tolist()
        state[f"{prefix}bias_hh_l{k}"] = (joined(layer["b"]).astype(float) - part).tolist()
    return state


def drawn(*sizes, seed=0):
    rng = np.random.default_rng(seed)
    return [draw_layer(rng, *pair) for pair in pairwise(sizes)], rng


KERAS = keras_file(
    keras_lstm(drawn(2, 3)[0][0]), entry("dense", "", 2, np.ones((3, 2)), np.ones(2))
)
TORCH = torch_lstm(*drawn(2, 3)[:1], "lstm.", np.random.default_rng(0)) | {
    "dense.weight": [[1.0, 2.0, 3.0]],
    "dense.bias": [4.0],
}
