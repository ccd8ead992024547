"""Reading and writing RTNeural's files, of either kind."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ...configuration import Configuration
from ...lstm import LSTM
from ...sequential import Sequential
from ..errors import naming
from ..json_files import read_json, write_json
from ..layers import Dense, as_model, layer_name, layers_of, require_plain
from . import layer_list, state_dict


def load(path: str | os.PathLike[str], *, dtype: DTypeLike = np.float32) -> LSTM | Sequential:
    """Read a model.

    Parameters
    ----------
    path : path-like
        A file of either kind.
    dtype : float32 or float64
        Of the model.

    Returns
    -------
    LSTM or Sequential
        An LSTM if the layers are one, with a linear readout or without one. ``in_skip``, by which
        programs add the input to the output, is a `Skip` around all layers; ``in_gain`` and
        ``out_gain``, in decibels, are a `Gain` before and after it. ``notes`` has the entries that
        change no result: author, sample rate, ...

    Raises
    ------
    ValueError
        If the file holds a layer, an activation or an entry that is not supported, or contradicts
        itself; the message names the place.
    OSError
        If it cannot be read.
    """
    layers, notes = _read(path, dtype)
    with naming(path):
        return as_model(layers, notes)


def read(path: str | os.PathLike[str], *, dtype: DTypeLike = np.float32) -> Sequential:
    """Return what `load` does, in any case as a Sequential of the file's layers."""
    layers, notes = _read(path, dtype)
    with naming(path):
        return Sequential(layers, notes=notes)


def _read(path: str | os.PathLike[str], dtype: DTypeLike) -> tuple[list[Any], dict[str, Any]]:
    root = read_json(path)
    dtype = Configuration(input_size=1, hidden_size=1, dtype=np.dtype(dtype)).dtype
    if "layers" in root.any_members():
        return layer_list.read(root, dtype)
    return state_dict.read(root, dtype), {}


def save(
    model: LSTM | Sequential, path: str | os.PathLike[str], *, torch_names: bool = False
) -> None:
    """Write a model.

    Parameters
    ----------
    model : LSTM or Sequential
        LSTMs and `Dense` layers; also a `Skip` of count 1 around all of them, and a `Gain` before
        and after it. `batch_first` is not kept.
    path : path-like
    torch_names : bool
        Write a PyTorch state dict, of the modules ``lstm`` and ``dense``, which has no activation,
        skip or gain.

    Raises
    ------
    ValueError
        For other layers; for an option that RTNeural does not have: two directions or a reverse
        one, a projection, a learned initial state, a `Cell` other than the plain one; for numbers
        that are not finite. Nothing is written then.
    """
    layers: Sequence[Any] = layers_of(model)
    entries: dict[str, Any] = {}
    if not torch_names:
        layers, entries = layer_list.around(layers)
    parts = [part for layer in layers for part in _parts_of(layer)]
    if torch_names:
        write_json(path, state_dict.to_json(parts))
        return
    value = layer_list.to_json(parts, _sizes_of(parts, model.input_size or 0))
    kept = {name: note for name, note in model.notes.items() if name in layer_list.NOTES}
    write_json(path, value | entries | kept)


def _parts_of(layer: Any) -> list[Any]:
    """Check a layer and return it, followed by its readout if it has one."""
    if isinstance(layer, LSTM):
        require_plain(layer, "RTNeural")
        p = layer.parameters
        readout = [Dense(p["weight_out"], p.get("bias_out"))] if layer.output_size else []
        return [layer, *readout]
    if not isinstance(layer, Dense):
        raise ValueError(f"RTNeural's files have no {layer_name(layer)} in this place")
    return [layer]


def _sizes_of(layers: Sequence[Any], input_size: int) -> list[int]:
    """Return the input size of the first layer, then the output size of each one."""
    sizes = [input_size]
    for layer in layers:
        if isinstance(layer, LSTM):
            sizes.append(layer.hidden_size)
        else:
            sizes.append(sizes[-1] if layer.weight is None else len(layer.weight))
    return sizes
