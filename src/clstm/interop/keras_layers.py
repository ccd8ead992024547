"""Keras layers, by their configurations and weights, as ours; and ours as configurations."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..cell import Activation, Cell
from ..configuration import Configuration
from ..layout import Array
from ..lstm import LSTM
from .layers import ACTIVATIONS, Dense

GATES = {
    "sigmoid": Activation("sigmoid"),
    "tanh": Activation("tanh"),
    "relu": Activation("relu"),
    "hard_sigmoid": Activation("hard_sigmoid", 1 / 6, 0.5),  # Keras 2 had alpha = 0.2
    "linear": Activation("affine", 1.0, 0.0),
    "leaky_relu": Activation("leaky_relu", 0.2),
    "elu": Activation("elu"),
    "softsign": Activation("softsign"),
    "softplus": Activation("softplus"),
}
"""Keras's activations of an LSTM that a `Cell` has, by Keras's names."""

_IDENTITIES = {"InputLayer", "Dropout", "SpatialDropout1D", "GaussianDropout", "GaussianNoise"}
_COMMON = {"name", "trainable", "dtype", "activity_regularizer"} | {
    f"{what}_{kind}"
    for what in ("kernel", "recurrent", "bias")
    for kind in ("initializer", "regularizer", "constraint")
}
_LSTM_TRAINING = {"unit_forget_bias", "dropout", "recurrent_dropout", "seed"}
_LSTM_CALL = {"return_state", "stateful", "unroll", "zero_output_for_mask", "use_cudnn"}
_LSTM = {"units", "activation", "recurrent_activation", "use_bias", "go_backwards"} | {
    "return_sequences"
}
_KEYS = {
    "LSTM": _COMMON | _LSTM_TRAINING | _LSTM_CALL | _LSTM,
    "Dense": _COMMON | {"units", "activation", "use_bias"},
    "Bidirectional": {"name", "trainable", "dtype", "merge_mode", "layer", "backward_layer"},
    "TimeDistributed": {"name", "trainable", "dtype", "layer"},
}


@dataclass(frozen=True)
class Last:
    """What Keras makes of y where ``return_sequences=False``: each direction's last h."""

    bidirectional: bool
    reverse: bool

    def __call__(self, y: Array) -> Array:
        first, last = y[..., 0, :], y[..., -1, :]
        if not self.bidirectional:
            return first if self.reverse else last
        half = y.shape[-1] // 2
        return np.concatenate([last[..., :half], first[..., half:]], axis=-1)


@dataclass(frozen=True)
class Entry:
    """One layer of a Keras model."""

    place: str  # for messages
    kind: str  # the name of its class
    config: dict[str, Any]
    weights: Callable[[str], list[Array]]  # of the layer itself, "", or of a part: "cell"

    def __post_init__(self) -> None:
        if not isinstance(self.config, dict):
            raise ValueError(f"{self.place}: its config is no dictionary")
        for key, value in self.config.items():
            if key not in _KEYS.get(self.kind, self.config) and value is not None:
                raise ValueError(f"{self.place}: {key}={value!r} of {self.kind} is not supported")

    def flag(self, key: str, default: bool) -> bool:
        value = self.config.get(key, default)
        if not isinstance(value, bool):
            raise ValueError(f"{self.place}: {key} is {value!r}, expected true or false")
        return value

    def units(self) -> int:
        value = self.config.get("units")
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{self.place}: units is {value!r}, expected a positive integer")
        return value

    def inner(self, key: str) -> "Entry":
        """Return the layer that a wrapper has inside."""
        layer, place = self.config.get(key), f"{self.place}.{key}"
        if not isinstance(layer, dict) or not isinstance(layer.get("config"), dict):
            raise ValueError(f"{place} is no layer")
        inner = Entry(place, str(layer.get("class_name")), layer["config"], self.weights)
        _check_origin(layer, place)
        return inner

    def dtype(self) -> np.dtype[Any]:
        """Return the dtype of weights and arithmetic, float32 or float64."""
        policy = self.config.get("dtype", "float32")
        if isinstance(policy, dict) and isinstance(policy.get("config"), dict):
            plain = policy.get("class_name") == "DTypePolicy"
            policy = policy["config"].get("name") if plain else policy.get("class_name")
        if policy not in ("float32", "float64"):
            raise ValueError(f"{self.place}: dtype {policy!r} is neither float32 nor float64")
        return np.dtype(str(policy))

    def arrays(self, part: str, **shapes: tuple[int, ...]) -> list[Array]:
        """Return the weights of a part, which must have these shapes; 0 stands for any size."""
        arrays = self.weights(part)
        if len(arrays) != len(shapes):
            raise ValueError(f"{self.place} has {len(arrays)} weights, expected {len(shapes)}")
        for array, (name, shape) in zip(arrays, shapes.items(), strict=True):
            pairs = zip(array.shape, shape, strict=False)
            fits = array.ndim == len(shape) and all(a == s or (s == 0 < a) for a, s in pairs)
            if not fits or array.dtype.kind != "f":
                expected = str(shape).replace("0,", "I,") if 0 in shape else str(shape)
                raise ValueError(
                    f"{self.place}: {name} has shape {array.shape} of {array.dtype}, expected "
                    f"{expected} of floating-point numbers"
                )
        return arrays


@dataclass(frozen=True)
class _Recurrent:
    """One LSTM or Bidirectional layer."""

    options: dict[str, Any]  # of the Configuration, but for input_size and num_layers
    directions: list[list[Array]]  # kernel, recurrent kernel, and a bias if there is one
    return_sequences: bool

    def state(self, layer: int) -> dict[str, Array]:
        """Return the layer's parameters by our names; the gates' order i, f, c, o is ours."""
        reverse = self.options["direction"] == "reverse"
        suffixes = ["_reverse"] if reverse else ["", "_reverse"]
        state = {}
        for arrays, suffix in zip(self.directions, suffixes, strict=False):
            for array, name in zip(arrays, ("weight_ih", "weight_hh", "bias"), strict=False):
                state[f"{name}_l{layer}{suffix}"] = array.T
        return state


def read_layers(entries: Iterable[Entry]) -> list[Any]:
    """Return a Keras model as a list of `LSTM`, `Dense` and `Last`.

    Consecutive LSTM layers of one size and kind become one model. Layers that do nothing outside of
    training are left out.
    """
    layers: list[Any] = []
    stack: list[_Recurrent] = []  # LSTM layers at the end of `layers` that are none yet
    width = 0  # features of what comes next; 0 before the first layer
    for entry in entries:
        if entry.kind in _IDENTITIES:
            continue
        if entry.kind in ("LSTM", "Bidirectional"):
            _check_before(entry, layers, stack)
            layer = _recurrent(entry, width)
            if stack and stack[-1].options != layer.options:
                layers += _finish(stack)
                stack = []
            stack.append(layer)
            width = layer.options["hidden_size"] * len(layer.directions)
        elif entry.kind in ("Dense", "TimeDistributed"):
            layers += _finish(stack)
            stack = []
            layers.append(_dense(entry, width))
            width = len(layers[-1].weight)
        else:
            raise ValueError(f"{entry.place}: layers of class {entry.kind} are not supported")
    return layers + _finish(stack)


def _check_before(entry: Entry, layers: list[Any], stack: list[_Recurrent]) -> None:
    """Raise where an LSTM reads what is no sequence in the order of time."""
    reverse = stack and stack[-1].options["direction"] == "reverse"
    reverse = reverse or any(isinstance(x, LSTM) and x.direction == "reverse" for x in layers)
    if any(isinstance(layer, Last) for layer in layers) or (
        stack and not stack[-1].return_sequences
    ):
        raise ValueError(f"{entry.place}: the LSTM before it has return_sequences=False")
    if reverse:  # Keras leaves its steps in reversed order
        raise ValueError(
            f"{entry.place}: an LSTM after one with go_backwards=True is not supported"
        )


def _finish(stack: list[_Recurrent]) -> list[Any]:
    """Return the model of consecutive LSTM layers, and `Last` where Keras takes the last step."""
    if not stack:
        return []
    options = stack[0].options
    size = stack[0].directions[0][0].shape[0]
    config = Configuration(**options, input_size=size, num_layers=len(stack), batch_first=True)
    state: dict[str, Array] = {}
    for k, layer in enumerate(stack):
        state |= layer.state(k)
    lstm = LSTM.from_state(config, state)
    if stack[-1].return_sequences:
        return [lstm]
    return [lstm, Last(lstm.bidirectional, lstm.direction == "reverse")]


def _recurrent(entry: Entry, width: int) -> _Recurrent:
    if entry.kind == "LSTM":
        return _one_direction(entry, "cell", width)
    if (mode := entry.config.get("merge_mode", "concat")) != "concat":
        raise ValueError(f"{entry.place}: merge_mode={mode!r} is not supported, only 'concat'")
    forward, backward = entry.inner("layer"), entry.inner("backward_layer")
    for inner in (forward, backward):
        if inner.kind != "LSTM":
            raise ValueError(f"{inner.place}: Bidirectional of {inner.kind} is not supported")
    ahead = _one_direction(forward, "forward_layer/cell", width)
    back = _one_direction(backward, "backward_layer/cell", width)
    for layer, direction in ((ahead, "forward"), (back, "reverse")):
        if layer.options["direction"] != direction:
            raise ValueError(f"{entry.place}: its layers' go_backwards are not False and True")
    both = {"bidirectional": True, "direction": "forward"}
    options = ahead.options | both
    if options != back.options | both or ahead.return_sequences != back.return_sequences:
        raise ValueError(f"{entry.place}: its two layers differ in more than go_backwards")
    return _Recurrent(options, ahead.directions + back.directions, ahead.return_sequences)


def _one_direction(entry: Entry, part: str, width: int) -> _Recurrent:
    units, bias = entry.units(), entry.flag("use_bias", True)
    activation = _activation(entry, "activation", "tanh")
    gate = _activation(entry, "recurrent_activation", "sigmoid")
    options = {
        "hidden_size": units,
        "bidirectional": False,
        "direction": "reverse" if entry.flag("go_backwards", False) else "forward",
        "bias": bias,
        "cell": Cell(gate=gate, cell=activation, hidden=activation),
        "dtype": entry.dtype(),
    }
    shapes: dict[str, tuple[int, ...]] = {
        "kernel": (width, 4 * units),
        "recurrent_kernel": (units, 4 * units),
    }
    arrays = entry.arrays(part, **shapes | ({"bias": (4 * units,)} if bias else {}))
    return _Recurrent(options, [arrays], entry.flag("return_sequences", False))


def _activation(entry: Entry, key: str, default: str) -> Activation:
    name = entry.config.get(key, default)
    if not isinstance(name, str) or name not in GATES:
        raise ValueError(f"{entry.place}: {key}={name!r} is not supported in an LSTM")
    return GATES[name]


def _dense(entry: Entry, width: int) -> Dense:
    part = ""
    if entry.kind == "TimeDistributed":
        entry, part = entry.inner("layer"), "layer"
        if entry.kind != "Dense":
            raise ValueError(f"{entry.place}: TimeDistributed of {entry.kind} is not supported")
    units, bias = entry.units(), entry.flag("use_bias", True)
    name = entry.config.get("activation", "linear")
    activation = "" if name == "linear" else name
    if not isinstance(activation, str) or activation not in ACTIVATIONS or name == "":
        raise ValueError(f"{entry.place}: activation={name!r} is not supported in a Dense")
    shapes: dict[str, tuple[int, ...]] = {"kernel": (width, units)}
    arrays = entry.arrays(part, **shapes | ({"bias": (units,)} if bias else {}))
    arrays = [np.array(array, entry.dtype()) for array in arrays]
    return Dense(arrays[0].T.copy(), arrays[1] if bias else None, activation)


def _check_origin(layer: dict[str, Any], place: str) -> None:
    """Raise for a class that only has the name of one of Keras's."""
    module = layer.get("module", "keras.layers")
    if module not in ("keras.layers", "keras"):
        raise ValueError(f"{place}: class {layer.get('class_name')} of {module} is not supported")
