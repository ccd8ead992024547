"""What stands around an LSTM in other programs' models: dense layers and skips, in NumPy.

A model that is more than an LSTM is a list of layers, each a function of a sequence.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..layout import Array
from ..lstm import LSTM

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "": lambda x: x,
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softmax": lambda x: np.exp(x - np.logaddexp.reduce(x, axis=-1, keepdims=True)),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
}


@dataclass(frozen=True)
class Dense:
    """y = activation(weight @ x + bias) at every step."""

    weight: Array  # (O, I)
    bias: Array | None = None  # (O,)
    activation: str = ""  # of ACTIVATIONS

    def __call__(self, x: Array) -> Array:
        y: Array = x @ self.weight.T
        return ACTIVATIONS[self.activation](y if self.bias is None else y + self.bias)


@dataclass(frozen=True)
class Skip:
    """y = what the layers inside make of x, plus the first features of x."""

    layers: tuple[Any, ...]

    def __call__(self, x: Array) -> Array:
        y = run(self.layers, x)
        return y + x[..., : y.shape[-1]]


def run(layers: Sequence[Any], x: Array) -> Array:
    """Send a sequence, as `LSTM` takes it, through all layers."""
    for layer in layers:
        x = layer(x)[0] if isinstance(layer, LSTM) else layer(x)
    return x


def only_lstm(layers: Sequence[Any], reader: str) -> LSTM:
    """Return the LSTM that a list of layers is, a linear `Dense` after it as its readout.

    Raises ValueError, which names what else there is and the reader that returns all of it.
    """
    first = layers[0] if layers else None
    if isinstance(first, LSTM):
        if len(layers) == 1:
            return first
        if len(layers) == 2 and _is_readout(layers[1], first):
            return with_readout(first, layers[1].weight, layers[1].bias)
    index = next((k for k, layer in enumerate(layers) if not isinstance(layer, LSTM)), 1)
    what = type(layers[index]).__name__ if index < len(layers) else "nothing"
    raise ValueError(
        f"it is more than an LSTM with a linear readout: layer {index} is {what}. {reader} returns "
        "the list of layers"
    )


def _is_readout(layer: Any, lstm: LSTM) -> bool:
    linear = isinstance(layer, Dense) and not layer.activation
    return linear and lstm.output_size is None and (layer.bias is not None) == lstm.bias


def with_readout(lstm: LSTM, weight: Array, bias: Array | None) -> LSTM:
    """Return the same model with a readout, weight (O, D R) and bias (O,), which it has none of."""
    state = lstm.state_dict() | {"weight_out": weight}
    if bias is not None:
        state["bias_out"] = bias
    return LSTM.from_state(replace(lstm._config, output_size=len(weight)), state)
