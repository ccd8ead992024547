"""Keras's files and layers, read: as a model, or as a list of layers."""

import os
import re
import sys
from functools import reduce
from pathlib import Path
from typing import Any

from ...layout import Array
from ...lstm import LSTM
from ..budget import Budget
from ..errors import naming
from ..layers import only_lstm
from .archive import json_object, read_archive
from .hdf5 import SIGNATURE, WeightsFile
from .layers import Last, LayerSpec, Reversed, read_layers

_READER = "clstm.interop.keras.read"
_WITHOUT_WEIGHTS = re.compile(r"(dropout|spatial_dropout1d|gaussian_(dropout|noise))(_\d+)?")
_GROUPS = {
    "LSTM": "lstm",
    "Bidirectional": "bidirectional",
    "Dense": "dense",
    "TimeDistributed": "time_distributed",
}
"""A weights file's group for each class of layer; the second layer of a class has _1 appended."""


def load(path: str | os.PathLike[str], *, architecture: str | None = None) -> LSTM:
    """Return the model of a .keras or .weights.h5 file: LSTM layers of one size and kind.

    Parameters
    ----------
    path : path
        A file of a Sequential model that Keras 3 or `save` wrote. Layers may be LSTM, Bidirectional
        ones with ``merge_mode="concat"``, and a linear Dense, also TimeDistributed, as the readout.
    architecture : str, optional
        For .weights.h5, which does not contain it: the result of the Keras model's ``to_json()``.
        Without it the file may only have LSTM layers; Keras's default activations and
        ``return_sequences=True`` are assumed.

    Returns
    -------
    LSTM
        With ``batch_first=True``.

    Raises
    ------
    ValueError
        If the file holds anything else; the message names the layer, and `read` if it can read it.
        Also if Keras returns the last h of a reverse direction, with ``return_sequences=False``,
        which is not the last step of y.
    OSError, ImportError
        If the file cannot be read; if h5py is not installed.
    """
    layers = read(path, architecture=architecture)
    with naming(path):
        return _only_lstm(layers)


def read(path: str | os.PathLike[str], *, architecture: str | None = None) -> list[Any]:
    """Return all layers of a file: `LSTM`, `Dense`, `Last` and `Reversed`, in order.

    An `LSTM` is followed by `Last` if Keras returns only the last step, and by `Reversed` if Keras
    leaves the steps in reversed order, so that `clstm.interop.layers.run` computes what the Keras
    model does.
    """
    data = Path(path).read_bytes()
    budget = Budget(len(data))
    with naming(path, KeyError, TypeError, MemoryError, RecursionError):
        if data.startswith(SIGNATURE):
            return _read_weights(data, architecture, budget)
        text, weights = read_archive(data, budget)
        with WeightsFile(weights, budget) as file:
            config = json_object(text, "config.json", budget)
            return read_layers(_specs_of_sequential(config, file))


def from_keras(layer: Any) -> LSTM:
    """Return the model of a built Keras layer, LSTM or Bidirectional, or of a Sequential model.

    Weights are copied. Raises ValueError as `load` does.
    """
    if not (hasattr(layer, "get_config") and hasattr(layer, "get_weights")):
        hint = "give the layer itself, not its weights"
        if isinstance(layer, (str, os.PathLike)):
            hint = "clstm.interop.keras.load reads a file"
        raise ValueError(
            "layer must be a built layer of Keras 3, LSTM or Bidirectional, or a Sequential model, "
            f"got {type(layer).__name__}: {hint}"
        )
    version = getattr(sys.modules.get("keras"), "__version__", None)
    if version is None:
        module = type(layer).__module__
        raise ValueError(f"only layers of Keras 3 are supported, this one is of {module}")
    if not version.startswith("3."):  # functions of the same name differ in Keras 2
        raise ValueError(f"only layers of Keras 3 are supported, this is Keras {version}")
    layers = layer.layers if type(layer).__name__ == "Sequential" else [layer]
    return _only_lstm(read_layers([_spec_of_layer(k, each) for k, each in enumerate(layers)]))


def _only_lstm(layers: list[Any]) -> LSTM:
    """Return the layers as one LSTM, ignoring `Reversed` or a `Last` that is y[:, -1] after it."""
    k = next((k for k, layer in enumerate(layers) if isinstance(layer, (Last, Reversed))), None)
    if k is not None and not any(isinstance(layer, LSTM) for layer in layers[k:]):
        if isinstance(layers[k], Last) and layers[k].formula != "y[:, -1]":
            raise ValueError(
                f"its result with return_sequences=False is {layers[k].formula}, not y[:, -1]: "
                f"{_READER} returns the list of layers that computes it from the file, and the "
                "same layer with return_sequences=True is a model"
            )
        layers = layers[:k] + layers[k + 1 :]
    return only_lstm(layers, _READER)


def _spec_of_layer(k: int, layer: Any) -> LayerSpec:
    kind, place = type(layer).__name__, f"layers[{k}] ({getattr(layer, 'name', None)})"
    if not type(layer).__module__.startswith(("keras.src.", "keras.layers")):
        raise ValueError(f"{place}: {type(layer)} is not a layer of Keras")

    def weights(part: str) -> list[Array]:
        names = part.split("/") if part else []
        owner = reduce(getattr, names, layer)
        if not owner.built:
            raise ValueError(f"{place} has no weights yet: build it, or call it once")
        return list(owner.get_weights())

    return LayerSpec(place, kind, layer.get_config(), weights)


def _specs_of_sequential(architecture: dict[str, Any], weights: WeightsFile) -> list[LayerSpec]:
    """Return the layers of a Sequential model in order, each with its weights."""
    if architecture.get("class_name") != "Sequential":
        raise ValueError(
            f"it is a {architecture.get('class_name')!r} model, only Sequential is supported; "
            "from_keras takes a layer of any"
        )
    config = architecture.get("config")
    layers = config.get("layers") if isinstance(config, dict) else None
    if not isinstance(layers, list):
        raise ValueError("config.layers is not a list")
    weights.budget.layers(len(layers))
    result: list[LayerSpec] = []
    counts: dict[str, int] = {}
    for k, layer in enumerate(layers):
        if not isinstance(layer, dict) or not isinstance(layer.get("config"), dict):
            raise ValueError(f"layers[{k}] is not a layer")
        kind, name = layer.get("class_name"), layer["config"].get("name")
        place = f"layers[{k}] ({name})"
        if layer.get("module", "keras.layers") != "keras.layers" or not isinstance(kind, str):
            raise ValueError(f"{place}: {kind} of {layer.get('module')} is not a layer of Keras")
        count = counts[kind] = counts.get(kind, 0) + 1
        group = _GROUPS.get(kind, "") + (f"_{count - 1}" if count > 1 else "")
        arrays = weights.weights_of(f"layers/{group}")
        result.append(LayerSpec(place, kind, layer["config"], arrays))
    return result


def _read_weights(data: bytes, architecture: str | None, budget: Budget) -> list[Any]:
    with WeightsFile(data, budget) as file:
        groups = file.groups()
        text = file.architecture() if architecture is None else architecture
        if text is not None:
            own = budget if architecture is None else Budget(len(architecture))
            config = json_object(text, "architecture", own)
            return read_layers(_specs_of_sequential(config, file))
        groups = [name for name in groups if not _WITHOUT_WEIGHTS.fullmatch(name)]
        names = [f"lstm_{k}" if k else "lstm" for k in range(len(groups))]
        if not names or sorted(groups) != sorted(names):
            raise ValueError(
                f"its layers are {', '.join(groups) or 'none'}, and it does not tell their order "
                "and functions: give architecture=, which the Keras model's to_json() returns"
            )
        budget.layers(len(names))
        return read_layers([_spec_of_weights(file, name) for name in names])


def _spec_of_weights(file: WeightsFile, name: str) -> LayerSpec:
    """Return an LSTM layer from its weights alone, with default options."""
    weights = file.weights_of(f"layers/{name}")
    arrays = weights("cell")
    units = arrays[1].shape[0] if len(arrays) > 1 and arrays[1].ndim == 2 else 0
    config = {
        "units": units,
        "use_bias": len(arrays) > 2,
        "return_sequences": True,
        "dtype": str(arrays[0].dtype) if arrays else "",
    }
    return LayerSpec(name, "LSTM", config, weights)
