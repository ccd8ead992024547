"""RTNeural's JSON of the first kind: a list of Keras's layers."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...configuration import Configuration
from ...layout import Array
from ...lstm import LSTM
from .. import json_files
from ..json_files import Node
from ..layers import ACTIVATIONS, Dense, Gain, Skip

NOTES = json_files.NOTES | {"input_batch", "output_batch"}
_AROUND = {"in_skip", "in_gain", "out_gain"}
_LOUDEST = 200  # dB; a hundred times what any sound card can do
_DENSE = ("dense", "time-distributed-dense")
_LAYER = {"type", "shape", "weights"}


def read(root: Node, dtype: np.dtype[Any]) -> tuple[list[Any], dict[str, Any]]:
    """Return the layers of a file, and its notes."""
    parts = root.members({"in_shape", "layers"}, _AROUND | NOTES)
    size = _last_of_shape(parts["in_shape"])
    layers: list[Any] = []
    for node in parts["layers"].items(1):
        layer, size = _read_layer(node, size, dtype)
        previous = layers[-1] if layers else None
        bare = isinstance(layer, Dense) and layer.weight is None
        if bare and isinstance(previous, Dense) and not previous.activation:
            layers[-1] = Dense(previous.weight, previous.bias, layer.activation)
        else:
            layers.append(layer)
    if "in_skip" in parts and parts["in_skip"].integer(0, 1) == 1:
        layers = [Skip(tuple(layers))]
    before, after = (_read_gain(parts, name) for name in ("in_gain", "out_gain"))
    notes = {name: parts[name].value for name in sorted(parts.keys() & NOTES)}
    return [*before, *layers, *after], notes


def _read_gain(parts: dict[str, Node], name: str) -> list[Gain]:
    """Return a gain that a file gives in decibels, none if it is 0 dB."""
    node = parts.get(name)
    if node is None or node.value in (0, None):
        return []
    return [Gain(10 ** (node.number(-_LOUDEST, _LOUDEST) / 20))]


def _last_of_shape(node: Node) -> int:
    """Return I of [null, null, I]; the first two may also be numbers."""
    axes = list(node.items(1, 3))
    for axis in axes[:-1]:
        if axis.value is not None:
            axis.integer(1)
    return axes[-1].integer(1)


def _read_layer(node: Node, size: int, dtype: np.dtype[Any]) -> tuple[Any, int]:
    """Return a layer with `size` input features, and its output size."""
    node.count_layers()
    parts = node.any_members()
    if "type" not in parts:
        node.fail("has no 'type'")
    kind = parts["type"].text("lstm", *_DENSE, "activation")
    required = {"activation": {"type", "shape", "activation"}}.get(kind, _LAYER)
    parts = node.members(required, _LAYER | {"activation"})
    features = _last_of_shape(parts["shape"])
    functions = ("", "tanh") if kind == "lstm" else tuple(ACTIVATIONS)
    activation = parts["activation"].text(*functions) if "activation" in parts else ""
    count = {"lstm": 3, "activation": 0}.get(kind, 2)
    weights = list(parts["weights"].items(count, count)) if "weights" in parts else []
    if kind == "activation":
        if features != size:
            parts["shape"].fail(f"ends with {features}, but the layer takes {size} features")
        return Dense(activation=activation), features
    if kind in _DENSE:
        kernel = weights[0].array((size, features), dtype)
        bias = weights[1].array((features,), dtype)
        return Dense(np.ascontiguousarray(kernel.T), bias, activation), features
    state = {
        "weight_ih_l0": weights[0].array((size, 4 * features), dtype).T,
        "weight_hh_l0": weights[1].array((features, 4 * features), dtype).T,
        "bias_l0": weights[2].array((4 * features,), dtype),
    }
    config = Configuration(input_size=size, hidden_size=features, dtype=dtype)
    return LSTM.from_state(config, state), features


def around(layers: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the inner layers, and the entries for the gains and the skip around them."""
    inner, entries = tuple(layers), {}
    if inner and isinstance(inner[0], Gain):
        entries["in_gain"], inner = _decibels(inner[0]), inner[1:]
    if inner and isinstance(inner[-1], Gain):
        entries["out_gain"], inner = _decibels(inner[-1]), inner[:-1]
    if len(inner) == 1 and isinstance(inner[0], Skip) and inner[0].count == 1:
        entries["in_skip"], inner = 1, inner[0].layers
    return inner, entries


def _decibels(gain: Gain) -> float:
    if gain.value <= 0:
        raise ValueError(f"RTNeural's files have gains in decibels, which {gain.value} is not")
    return float(20 * np.log10(gain.value))


def to_json(layers: Sequence[Any], sizes: list[int]) -> dict[str, Any]:
    """Return the content of a file; `sizes` are the input size and each output size."""
    entries = []
    for layer, size in zip(layers, sizes[1:], strict=True):
        if isinstance(layer, LSTM):
            for k in range(layer.num_layers):
                entries.append(_entry("lstm", "tanh", size, _lstm_weights(layer, k)))
        elif layer.weight is None:
            entries.append(_entry("activation", layer.activation, size, []))
        else:
            bias = np.zeros(size) if layer.bias is None else layer.bias
            entries.append(_entry("dense", layer.activation, size, [layer.weight.T, bias]))
    return {"in_shape": [None, None, sizes[0]], "layers": entries}


def _entry(kind: str, activation: str, size: int, arrays: list[Array]) -> dict[str, Any]:
    weights = [array.tolist() for array in arrays]
    shape = [None, None, size]
    return {"type": kind, "activation": activation, "shape": shape, "weights": weights}


def _lstm_weights(lstm: LSTM, layer: int) -> list[Array]:
    p, zeros = lstm.parameters, np.zeros(4 * lstm.hidden_size)
    bias = p[f"bias_l{layer}"] if lstm.bias else zeros
    return [p[f"weight_ih_l{layer}"].T, p[f"weight_hh_l{layer}"].T, bias]
