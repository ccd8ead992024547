"""Keras's files and live layers, read as models."""

import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ...lstm import LSTM
from ...sequential import Sequential
from ..budget import Budget
from ..errors import naming
from .archive import json_object, major_version, read_archive
from .graph import chain_of, layers_in
from .hdf5 import SIGNATURE, WeightsFile
from .layers import read_layers, read_lstm, simplified
from .recurrent import KINDS
from .specs import LayerSpec, shown
from .weights import Folders, Legacy, Live, Weights, reader_of

_MODELS = ("Sequential", "Functional", "Model")
_WITHOUT_WEIGHTS = re.compile(
    r"(input_layer|dropout|spatial_dropout1d|gaussian_(dropout|noise))(_\d+)?"
)
_Model = TypeVar("_Model")


def load(
    path: str | os.PathLike[str], *, architecture: str | None = None, layer: str | None = None
) -> LSTM | Sequential:
    """Return what a .keras, .h5 or .weights.h5 file of Keras 2 or 3 computes.

    Parameters
    ----------
    path : path
        A file of a Sequential model, also with models in it, or of a functional model that is one
        chain of layers, which Keras or `save` wrote.
    architecture : str, optional
        For files of weights, which do not contain it: the result of the Keras model's
        ``to_json()``. Without it a .weights.h5 may only have LSTM layers; Keras's default
        activations and ``return_sequences=True`` are assumed.
    layer : str, optional
        The name of a recurrent layer: it alone is read, as an LSTM that gives y at every step in
        the order of time.

    Returns
    -------
    LSTM or Sequential
        With ``batch_first=True``. An LSTM, with a linear layer at every step behind it as its
        readout, or a Sequential if there is more. What only acts in training is left out.

    Raises
    ------
    ValueError
        If the file is malformed, or holds something that is not supported; the message names the
        file, the layer and its place.
    OSError, ImportError
        If the file cannot be read; if h5py is not installed.
    """
    if layer is not None:
        if not isinstance(layer, str):
            raise TypeError(f"layer must be the name of a layer, got {type(layer).__name__}")
        return _read(path, architecture, lambda *found: _only(layer, *found))
    return _read(path, architecture, _whole)


def read(path: str | os.PathLike[str], *, architecture: str | None = None) -> Sequential:
    """Return what `load` does, in any case as a Sequential, with an LSTM for each layer."""
    return _read(path, architecture, _as_listed)


def from_keras(layer: Any) -> LSTM | Sequential:
    """Return what a built Keras model or recurrent layer computes, with copied weights.

    Parameters
    ----------
    layer : keras.Model or keras.layers.Layer
        A Sequential or functional model, or a LSTM, RNN or Bidirectional layer, of Keras 3, or of
        Keras 2 (tf_keras).

    Returns
    -------
    LSTM or Sequential
        As `load` does.

    Raises
    ------
    ValueError
        As `load` does.
    """
    if not (hasattr(layer, "get_config") and hasattr(layer, "get_weights")):
        hint = "give the layer itself, not its weights"
        if isinstance(layer, (str, os.PathLike)):
            hint = "clstm.interop.keras.load reads a file"
        raise ValueError(
            "layer must be a built layer or model of Keras, for example an LSTM or a Sequential, "
            f"got {type(layer).__name__}: {hint}"
        )
    module, kind = type(layer).__module__, type(layer).__name__
    package = module.split(".")[0]
    if package not in ("keras", "tf_keras") or package not in sys.modules:
        raise ValueError(f"only layers of Keras are supported, this one is of {module}")
    version = major_version(sys.modules[package].__version__, "the version of Keras")
    if kind not in _MODELS:
        place = f"layer ({shown(getattr(layer, 'name', None))})"
        spec = LayerSpec(place, kind, layer.get_config(), reader_of(layer, place), version)
        return _model([spec], {})
    memory = Budget(sum(array.nbytes for array in layer.get_weights()) + (1 << 20))
    text = json.loads(layer.to_json())
    return _model(chain_of(text, Live(layer), version, memory), {})


# ---- What is made of a configuration ----


@dataclass(frozen=True)
class _Found:
    """What a file holds: its configuration, and where the weights are."""

    config: dict[str, Any]
    weights: Weights
    version: int
    budget: Budget
    notes: dict[str, Any]

    def chain(self) -> list[LayerSpec]:
        return chain_of(self.config, self.weights, self.version, self.budget)


def _whole(found: _Found) -> LSTM | Sequential:
    return _model(found.chain(), found.notes)


def _as_listed(found: _Found) -> Sequential:
    specs = found.chain()
    return Sequential(read_layers(specs), batch_first=True, notes=_noted(specs, found.notes))


def _only(name: str, found: _Found) -> LSTM:
    """Return the recurrent layer of a name, wherever it is."""
    specs = list(layers_in(found.config, found.weights, found.version, found.budget))
    named = [spec for spec in specs if spec.name == name]
    if len(named) != 1:
        known = ", ".join(repr(shown(spec.name)) for spec in specs if spec.kind in KINDS)
        raise ValueError(
            f"it has {len(named)} layers {shown(name)!r}, expected one; its recurrent layers are "
            f"{known or 'none'}"
        )
    lstm = read_lstm(named[0])
    lstm.notes.update(_noted(named, {}))
    return lstm


def _model(specs: list[LayerSpec], notes: dict[str, Any]) -> LSTM | Sequential:
    chain = simplified(read_layers(specs))
    notes = _noted(specs, notes)
    if len(chain) > 1 or not isinstance(chain[0], LSTM):
        return Sequential(chain, batch_first=True, notes=notes)
    chain[0].notes.update(notes)
    return chain[0]


def _noted(specs: list[LayerSpec], notes: dict[str, Any]) -> dict[str, Any]:
    """Return notes, with the policy of a model that Keras computes in half precision."""
    policies = sorted({policy for spec in specs for policy in spec.half_policies()})
    return notes | ({"dtype_policy": policies[0]} if policies else {})


# ---- Files ----


def _read(
    path: str | os.PathLike[str], architecture: str | None, build: Callable[[_Found], _Model]
) -> _Model:
    """Return what `build` makes of a file; an error names the file."""
    data = Path(path).read_bytes()
    budget = Budget(len(data))
    with naming(path, KeyError, TypeError, MemoryError, RecursionError):
        if data.startswith(SIGNATURE):
            with WeightsFile(data, budget) as file:
                return build(_of_hdf5(file, architecture))
        metadata, text, weights = read_archive(data, budget)
        version = major_version(metadata.get("keras_version"), "metadata.json: keras_version")
        config = json_object(text, "config.json", budget)
        notes = metadata.get("notes")
        with WeightsFile(weights, budget) as file:
            own = notes if isinstance(notes, dict) else {}
            return build(_Found(config, Folders(file), version, budget, own))


def _of_hdf5(file: WeightsFile, architecture: str | None) -> _Found:
    """Return what a whole model, or a file of weights, holds."""
    budget = file.budget
    whole = file.has_attribute("model_config")
    legacy = whole or file.has_group("model_weights") or file.has_attribute("layer_names")
    text = file.text("model_config" if whole else "architecture")
    if architecture is not None:
        config = json_object(architecture, "architecture", Budget(len(architecture)))
    elif text is None:
        if not legacy:
            return _of_lstms(file)
        raise ValueError(
            "it has weights without the model's configuration: give architecture=, which the Keras "
            "model's to_json() returns"
        )
    else:
        config = json_object(text, "model_config" if whole else "architecture", budget)
    if not legacy:
        stated = config.get("keras_version", "3.0.0")  # Keras 3 states none
        version = major_version(stated, "keras_version of the architecture")
        notes = json_object(file.text("notes") or "{}", "notes", budget)
        return _Found(config, Folders(file), version, budget, notes)
    version = major_version(file.text("keras_version"), "keras_version")
    root = "model_weights" if file.has_group("model_weights") else ""
    return _Found(config, Legacy(file, root), version, budget, {})


def _of_lstms(file: WeightsFile) -> _Found:
    """Return a configuration for weights that are only of LSTM layers, with default options."""
    if not file.has_group("layers"):
        raise ValueError("it has no group 'layers', as weights that Keras saved have")
    groups = [name for name in file.names("layers") if not _WITHOUT_WEIGHTS.fullmatch(name)]
    names = [f"lstm_{k}" if k else "lstm" for k in range(len(groups))]
    if not names or sorted(groups) != sorted(names):
        raise ValueError(
            f"its layers are {', '.join(groups) or 'none'}, and it does not tell their order "
            "and functions: give architecture=, which the Keras model's to_json() returns"
        )
    layers = []
    for name in names:
        arrays = file.numbered(f"layers/{name}/cell/vars")
        units = arrays[1].shape[0] if len(arrays) > 1 and arrays[1].ndim == 2 else 0
        config = {
            "name": name,
            "units": units,
            "use_bias": len(arrays) > 2,
            "return_sequences": True,
            "dtype": str(arrays[0].dtype) if arrays else "",
        }
        layers.append({"class_name": "LSTM", "config": config})
    whole = {"class_name": "Sequential", "config": {"layers": layers}}
    return _Found(whole, Folders(file), 3, file.budget, {})
