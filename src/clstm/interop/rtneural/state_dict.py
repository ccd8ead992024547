"""RTNeural's JSON of the second kind: a PyTorch state dict."""

import re
import reprlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...lstm import LSTM
from .. import torch_names
from ..json_files import Node
from ..layers import Dense, layer_name

_LSTM_NAME = re.compile(r"(weight|bias)_[ih]h_l\d+(_reverse)?|weight_hr_l\d+(_reverse)?")


def read(root: Node, dtype: np.dtype[Any]) -> list[Any]:
    """Return the layers of a file."""
    modules: dict[str, dict[str, Node]] = {}
    for name, node in root.any_members().items():
        prefix, _, last = name.rpartition(".")
        modules.setdefault(prefix and prefix + ".", {})[last] = node
    layers: list[Any] = []
    size = None
    root.count_layers(len(modules))
    for prefix, parts in modules.items():
        layer, taken, given = _read_module(root, prefix, parts, dtype)
        if size not in (None, taken):
            module = prefix.rstrip(".")
            root.fail(f"has {module!r}, which takes {taken} features, after one that gives {size}")
        layers.append(layer)
        size = given
    if not layers:
        root.fail("is empty")
    return layers


def _read_module(
    root: Node, prefix: str, parts: dict[str, Node], dtype: np.dtype[Any]
) -> tuple[Any, int, int]:
    """Return a layer, its input size and its output size."""
    if all(map(_LSTM_NAME.fullmatch, parts)):
        arrays = {
            prefix + name: node.array((None, None)[: 1 + name.startswith("weight")], dtype)
            for name, node in parts.items()
        }
        try:
            lstm = torch_names.read(arrays, prefix, dtype=dtype)
        except ValueError as error:
            raise ValueError(f"{root.file}: {error}") from None
        return lstm, lstm.input_size, lstm._config.width
    if unknown := sorted(parts.keys() - {"weight", "bias"}):
        name = reprlib.repr(prefix + unknown[0])
        root.fail(f"has {name}, which is neither of PyTorch's LSTM nor of its Linear")
    if "weight" not in parts:
        root.fail(f"has no {prefix + 'weight'!r}")
    weight = parts["weight"].array((None, None), dtype)
    if 0 in weight.shape:
        parts["weight"].fail(f"has shape {weight.shape}")
    bias = parts["bias"].array(weight.shape[:1], dtype) if "bias" in parts else None
    return Dense(weight, bias), weight.shape[1], weight.shape[0]


def to_json(layers: Sequence[Any]) -> dict[str, Any]:
    """Return the content of a file: the modules lstm, dense, lstm2, ..."""
    state: dict[str, Any] = {}
    counts = {"lstm": 0, "dense": 0}
    for layer in layers:
        kind = "lstm" if isinstance(layer, LSTM) else "dense"
        counts[kind] += 1
        prefix = kind + (str(counts[kind]) if counts[kind] > 1 else "")
        if isinstance(layer, LSTM):
            arrays = layer.state_dict(torch_names=True)
            arrays.pop("weight_out", None)
            arrays.pop("bias_out", None)
        elif layer.activation or layer.weight is None:
            raise ValueError(f"a state dict has no {layer_name(layer)}")
        else:
            arrays = {"weight": layer.weight}
            if layer.bias is not None:
                arrays["bias"] = layer.bias
        state |= {f"{prefix}.{name}": array.tolist() for name, array in arrays.items()}
    return state
