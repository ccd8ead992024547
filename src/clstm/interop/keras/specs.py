"""A layer in a Keras configuration: its options, each checked when it is read."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...layout import Array

_TRAINING = {
    f"{what}_{kind}"
    for what in ("kernel", "recurrent", "bias", "embeddings")
    for kind in ("initializer", "regularizer", "constraint")
}
_COMMON = {"name", "trainable", "dtype", "activity_regularizer", "batch_input_shape", "batch_shape"}
_CELL = _COMMON | _TRAINING | {"units", "activation", "recurrent_activation", "use_bias"}
_CELL |= {"unit_forget_bias", "dropout", "recurrent_dropout", "seed", "implementation"}
_CALL = {"return_sequences", "return_state", "go_backwards", "stateful", "unroll", "use_cudnn"}
_CALL |= {"zero_output_for_mask", "time_major", "input_dim", "input_length"}
_KEYS = {
    "LSTM": _CELL | _CALL,
    "RNN": _COMMON | _CALL | {"cell"},
    "LSTMCell": _CELL,
    "StackedRNNCells": _COMMON | {"cells"},
    "Bidirectional": _COMMON | {"merge_mode", "layer", "backward_layer"},
    "Embedding": _COMMON | _TRAINING | {"input_dim", "output_dim", "mask_zero", "input_length"},
    "Masking": _COMMON | {"mask_value"},
    "Dense": _COMMON | _TRAINING | {"units", "activation", "use_bias", "input_dim"},
    "TimeDistributed": _COMMON | {"layer"},
    "Activation": _COMMON | {"activation"},
    "Softmax": _COMMON | {"axis"},
    "ReLU": _COMMON | {"max_value", "negative_slope", "threshold"},
    "ELU": _COMMON | {"alpha"},
}
"""The options of each class that are read, or change no result of a call."""

_FOLDED = {"mixed_float16", "mixed_bfloat16", "float16", "bfloat16"}
"""Policies whose weights are read as float32, in which their sums are computed here."""

_NAME = 60  # characters of a name in messages


def shown(name: Any) -> str:
    """Return a name for messages."""
    text = str(name)
    return text if len(text) <= _NAME else f"{text[:_NAME]}..."


@dataclass(frozen=True)
class LayerSpec:
    """One layer of a Keras model.

    Attributes
    ----------
    place : str
        For messages.
    kind : str
        The name of its class.
    config : dict
        Its options.
    weights : callable
        Returns the arrays of a part by its name: "" for the layer itself, "cell", ...
    version : int
        2 or 3: the Keras whose layer it is.
    outputs : tuple of int
        Which of its results the next layer takes.
    merged : str or None
        How several of them are joined: as Bidirectional's ``merge_mode``.
    """

    place: str
    kind: str
    config: dict[str, Any]
    weights: Callable[[str], list[Array]]
    version: int = 3
    outputs: tuple[int, ...] = (0,)
    merged: str | None = None

    def check_options(self) -> None:
        """Refuse an option that is not known, unless it has no value."""
        for key, value in self.config.items():
            if key not in _KEYS.get(self.kind, self.config) and value is not None:
                raise ValueError(f"{self.place}: {key}={value!r} of {self.kind} is not supported")

    @property
    def name(self) -> str:
        """The name that the user or Keras gave it."""
        return str(self.config.get("name"))

    def flag(self, key: str, default: bool) -> bool:
        """Return an option that is true or false."""
        value = self.config.get(key, default)
        if not isinstance(value, bool):
            raise ValueError(f"{self.place}: {key} is {value!r}, expected true or false")
        return value

    def size(self, key: str) -> int:
        """Return an option that is a positive integer."""
        value = self.config.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{self.place}: {key} is {value!r}, expected a positive integer")
        return value

    def number(self, key: str, default: float) -> float:
        """Return an option that is a number."""
        value = self.config.get(key, default)
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise ValueError(f"{self.place}: {key} is {value!r}, expected a number")
        return float(value)

    def only(self, key: str, *values: Any) -> None:
        """Refuse an option that has none of these values; None stands for the default."""
        value = self.config.get(key)
        if value is not None and value not in values:
            expected = " or ".join(map(repr, values))
            raise ValueError(
                f"{self.place}: {key}={value!r} of {self.kind} is not supported, only {expected}"
            )

    def inner(self, key: str) -> "LayerSpec":
        """Return the layer inside a wrapper."""
        return self._inside(self.config.get(key), f"{self.place}.{key}")

    def inner_list(self, key: str) -> list["LayerSpec"]:
        """Return the layers inside a wrapper."""
        values = self.config.get(key)
        if not isinstance(values, list) or not values:
            raise ValueError(f"{self.place}: {key} is not a list of layers")
        return [self._inside(v, f"{self.place}.{key}[{k}]") for k, v in enumerate(values)]

    def _inside(self, layer: Any, place: str) -> "LayerSpec":
        if not isinstance(layer, dict) or not isinstance(layer.get("config"), dict):
            raise ValueError(f"{place} is not a layer")
        kind = kind_of(layer, place)
        inner = replace(self, place=place, kind=kind, config=layer["config"], merged=None)
        inner.check_options()
        return inner

    def _stated_policy(self) -> Any:
        """Return the name of its policy: of the arithmetic, and of the weights."""
        policy = self.config.get("dtype") or "float32"
        if isinstance(policy, dict) and isinstance(policy.get("config"), dict):
            plain = policy.get("class_name") in ("DTypePolicy", "Policy")
            return policy["config"].get("name") if plain else policy.get("class_name")
        return policy

    def dtype(self) -> np.dtype[Any]:
        """Return the dtype of our weights and arithmetic, float32 or float64."""
        policy = self._stated_policy()
        if not isinstance(policy, str) or policy not in {"float32", "float64"} | _FOLDED:
            raise ValueError(f"{self.place}: dtype {policy!r} is not supported")
        return np.dtype("float64" if policy == "float64" else "float32")

    def half_policies(self) -> set[str]:
        """Return the policies, of the layer and those inside, that compute in half precision."""
        inner = [self.inner(key) for key in ("layer", "cell") if key in self.config]
        own = {policy for policy in _FOLDED if policy == self._stated_policy()}
        return own.union(*(layer.half_policies() for layer in inner))

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


def kind_of(layer: dict[str, Any], place: str) -> str:
    """Return the class of a layer; raise for one of another package with the name of Keras's."""
    kind, module = layer.get("class_name"), layer.get("module") or "keras"
    package = module.split(".")[0] if isinstance(module, str) else None
    if not isinstance(kind, str) or package not in ("keras", "tf_keras"):
        raise ValueError(f"{place}: {kind} of {module} is not a layer of Keras")
    return kind
