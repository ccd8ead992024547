"""Keras's layers as ours, from their configurations and weights."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...cell import Activation, Cell
from ...configuration import Configuration
from ...layout import Array
from ...lstm import LSTM
from ..layers import ACTIVATIONS, Dense

LSTM_ACTIVATIONS = {
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
"""The activations that both Keras's LSTM and `Cell` have, by Keras's names."""

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
    """Keras's output with ``return_sequences=False``: the last h of each direction."""

    bidirectional: bool
    reverse: bool

    @property
    def formula(self) -> str:
        """What it computes from y (B, T, O), for messages."""
        if self.bidirectional:
            return "np.concatenate([y[:, -1, :H], y[:, 0, H:]], axis=-1)"
        return "y[:, 0]" if self.reverse else "y[:, -1]"

    def __call__(self, y: Array) -> Array:
        first, last = y[..., 0, :], y[..., -1, :]
        if not self.bidirectional:
            return first if self.reverse else last
        half = y.shape[-1] // 2
        return np.concatenate([last[..., :half], first[..., half:]], axis=-1)


@dataclass(frozen=True)
class Reversed:
    """Keras's output with ``go_backwards=True``: the last step of the input comes first."""

    def __call__(self, y: Array) -> Array:
        return y[..., ::-1, :]


@dataclass(frozen=True)
class LayerSpec:
    """One layer of a Keras model."""

    place: str  # for messages
    kind: str  # the name of its class
    config: dict[str, Any]
    weights: Callable[[str], list[Array]]  # by part: "" for the layer itself, "cell", ...

    def __post_init__(self) -> None:
        if not isinstance(self.config, dict):
            raise ValueError(f"{self.place}: its config is not a dictionary")
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

    def inner(self, key: str) -> "LayerSpec":
        """Return the layer inside a wrapper."""
        layer, place = self.config.get(key), f"{self.place}.{key}"
        if not isinstance(layer, dict) or not isinstance(layer.get("config"), dict):
            raise ValueError(f"{place} is not a layer")
        inner = LayerSpec(place, str(layer.get("class_name")), layer["config"], self.weights)
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
        """Return the weights of a part after a check of their shapes; 0 allows any size."""
        arrays = self.weights(part)
        if len(arrays) != len(shapes):
            raise ValueError(f"{self.place} has {len(arrays)} weights, expected {len(shapes)}")
        for array, (name, shape) in zip(arrays, shapes.items(), strict=True):
            pairs = zip(array.shape, shape, strict=False)
            fits = array.ndim == len(shape) and all(a > 0 and s in (0, a) for a, s in pairs)
            if not fits or array.dtype.kind != "f":
                expected = str(shape).replace("0,", "I,") if 0 in shape else str(shape)
                raise ValueError(
                    f"{self.place}: {name} has shape {array.shape} of {array.dtype}, expected "
                    f"{expected} of floating-point numbers"
                )
        return arrays


@dataclass(frozen=True)
class _Direction:
    """An LSTM layer, alone or one of two."""

    options: dict[str, Any]  # of the Configuration, but for input_size
    arrays: list[Array]  # kernel, recurrent kernel, and a bias if there is one
    return_sequences: bool

    def state(self) -> dict[str, Array]:
        """Return the parameters by our names; Keras's order of gates, i, f, c, o, is ours."""
        suffix = "_reverse" if self.options["direction"] == "reverse" else ""
        named = zip(("weight_ih", "weight_hh", "bias"), self.arrays, strict=False)
        return {f"{name}_l0{suffix}": array.T for name, array in named}


def read_layers(specs: Iterable[LayerSpec]) -> list[Any]:
    """Return a Keras model as a list of `LSTM`, `Dense`, `Last` and `Reversed`.

    Layers that only act in training are left out.
    """
    layers: list[Any] = []
    width = 0  # of the next layer's input; 0 before the first layer
    for spec in specs:
        if spec.kind in _IDENTITIES:
            continue
        if spec.kind in ("LSTM", "Bidirectional"):
            if any(isinstance(layer, Last) for layer in layers):
                raise ValueError(f"{spec.place}: the LSTM before it has return_sequences=False")
            lstm, *last = _lstm(spec, width)
            layers += [lstm, *last]
            width = lstm.hidden_size * (1 + lstm.bidirectional)
        elif spec.kind in ("Dense", "TimeDistributed"):
            dense, width = _dense(spec, width)
            layers.append(dense)
        else:
            raise ValueError(f"{spec.place}: layers of class {spec.kind} are not supported")
    return layers


def _lstm(spec: LayerSpec, width: int) -> list[Any]:
    """Return the model of a layer, and `Last` or `Reversed` if Keras applies it to y."""
    if spec.kind == "LSTM":
        one = _direction(spec, "cell", width)
        options, state = one.options, one.state()
    else:
        one, back = _two_directions(spec, width)
        options, state = one.options | _BOTH, one.state() | back.state()
    config = Configuration(**options, input_size=one.arrays[0].shape[0], batch_first=True)
    lstm = LSTM.from_state(config, state)
    reverse = lstm.direction == "reverse"
    if one.return_sequences:
        return [lstm, Reversed()] if reverse else [lstm]
    return [lstm, Last(lstm.bidirectional, reverse)]


_BOTH = {"bidirectional": True, "direction": "forward"}


def _two_directions(spec: LayerSpec, width: int) -> tuple[_Direction, _Direction]:
    if (mode := spec.config.get("merge_mode", "concat")) != "concat":
        raise ValueError(f"{spec.place}: merge_mode={mode!r} is not supported, only 'concat'")
    parts = {"layer": "forward_layer/cell", "backward_layer": "backward_layer/cell"}
    inner = [spec.inner(key) for key in parts]
    for layer in inner:
        if layer.kind != "LSTM":
            raise ValueError(f"{layer.place}: Bidirectional of {layer.kind} is not supported")
    forward, back = (_direction(x, p, width) for x, p in zip(inner, parts.values(), strict=True))
    directions = forward.options["direction"], back.options["direction"]
    if directions != ("forward", "reverse"):
        raise ValueError(f"{spec.place}: go_backwards of its layers is not False and True")
    if (
        forward.options | _BOTH != back.options | _BOTH
        or forward.return_sequences != back.return_sequences
        or forward.arrays[0].shape != back.arrays[0].shape
    ):
        raise ValueError(f"{spec.place}: its two layers differ in more than go_backwards")
    return forward, back


def _direction(spec: LayerSpec, part: str, width: int) -> _Direction:
    units, bias = spec.units(), spec.flag("use_bias", True)
    activation = _activation(spec, "activation", "tanh")
    gate = _activation(spec, "recurrent_activation", "sigmoid")
    options = {
        "hidden_size": units,
        "direction": "reverse" if spec.flag("go_backwards", False) else "forward",
        "bias": bias,
        "cell": Cell(gate=gate, cell=activation, hidden=activation),
        "dtype": spec.dtype(),
    }
    shapes: dict[str, tuple[int, ...]] = {
        "kernel": (width, 4 * units),
        "recurrent_kernel": (units, 4 * units),
    }
    arrays = spec.arrays(part, **shapes | ({"bias": (4 * units,)} if bias else {}))
    return _Direction(options, arrays, spec.flag("return_sequences", False))


def _activation(spec: LayerSpec, key: str, default: str) -> Activation:
    name = spec.config.get(key, default)
    if not isinstance(name, str) or name not in LSTM_ACTIVATIONS:
        raise ValueError(f"{spec.place}: {key}={name!r} is not supported in an LSTM")
    return LSTM_ACTIVATIONS[name]


def _dense(spec: LayerSpec, width: int) -> tuple[Dense, int]:
    part = ""
    if spec.kind == "TimeDistributed":
        spec, part = spec.inner("layer"), "layer"
        if spec.kind != "Dense":
            raise ValueError(f"{spec.place}: TimeDistributed of {spec.kind} is not supported")
    units, bias = spec.units(), spec.flag("use_bias", True)
    name = spec.config.get("activation", "linear")
    activation = "" if name == "linear" else name
    if not isinstance(activation, str) or activation not in ACTIVATIONS or name == "":
        raise ValueError(f"{spec.place}: activation={name!r} is not supported in a Dense")
    shapes: dict[str, tuple[int, ...]] = {"kernel": (width, units)}
    arrays = spec.arrays(part, **shapes | ({"bias": (units,)} if bias else {}))
    arrays = [np.array(array, spec.dtype()) for array in arrays]
    return Dense(arrays[0].T.copy(), arrays[1] if bias else None, activation), units


def _check_origin(layer: dict[str, Any], place: str) -> None:
    """Raise for a class of another module with the name of a Keras class."""
    module = layer.get("module", "keras.layers")
    if module not in ("keras.layers", "keras"):
        raise ValueError(f"{place}: class {layer.get('class_name')} of {module} is not supported")
