"""Reading and writing RTNeural's files, of either kind."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ...configuration import Configuration
from ...lstm import LSTM
from ..errors import naming
from ..json_files import read_json, write_json
from ..layers import Dense, layer_name, only_lstm, require_plain
from . import layer_list, state_dict


def load(path: str | os.PathLike[str], *, dtype: DTypeLike = np.float32) -> LSTM:
    """Read a model that is an LSTM of one or more layers, with a linear readout or without one.

    Parameters
    ----------
    path : path-like
        A file of either kind.
    dtype : float32 or float64
        Of the model.

    Raises
    ------
    ValueError
        If the file holds something else, or more than that (see `read`); the message names the
        place.
    OSError
        If it cannot be read.
    """
    layers = read(path, dtype=dtype)
    with naming(path):
        return only_lstm(layers, "clstm.interop.rtneural.read")


def read(path: str | os.PathLike[str], *, dtype: DTypeLike = np.float32) -> list[Any]:
    """Read all layers of a model.

    Parameters
    ----------
    path, dtype
        As in `load`.

    Returns
    -------
    list of LSTM, Dense and Skip
        In the order of computation, for `clstm.interop.layers.run`. An `LSTM` of a state dict may
        have several layers. ``in_skip``, with which some programs add the input to the output, is a
        `Skip` around all layers.

    Raises
    ------
    ValueError, OSError
        As `load` does; also for a layer, an activation or an entry that is not supported.
    """
    root = read_json(path)
    dtype = Configuration(input_size=1, hidden_size=1, dtype=np.dtype(dtype)).dtype
    if "layers" in root.any_members():
        return layer_list.read(root, dtype)
    return state_dict.read(root, dtype)


def save(lstm: LSTM, path: str | os.PathLike[str], *, torch_names: bool = False) -> None:
    """Write a model.

    Parameters
    ----------
    lstm : LSTM
        `batch_first` is not kept.
    path : path-like
    torch_names : bool
        Write a PyTorch state dict, of the modules ``lstm`` and ``dense``.

    Raises
    ------
    ValueError
        For an option that RTNeural does not have: two directions or a reverse one, a projection, a
        learned initial state, a `Cell` other than the plain one; for numbers that are not finite.
        Nothing is written then.
    """
    write([lstm], path, torch_names=torch_names)


def write(
    layers: Sequence[Any], path: str | os.PathLike[str], *, torch_names: bool = False
) -> None:
    """Write a list of layers, LSTM and Dense, as `read` returns them.

    Parameters and errors are those of `save`. ValueError also for a `Skip`, which the program
    around RTNeural computes, and for an activation, which a PyTorch state dict cannot hold.
    """
    parts = [part for layer in layers for part in _parts_of(layer)]
    sizes = _sizes_of(parts)
    value = state_dict.to_json(parts) if torch_names else layer_list.to_json(parts, sizes)
    write_json(path, value)


def _parts_of(layer: Any) -> list[Any]:
    """Check a layer and return it, followed by its readout if it has one."""
    if isinstance(layer, LSTM):
        require_plain(layer, "RTNeural")
        p = layer.parameters
        readout = [Dense(p["weight_out"], p.get("bias_out"))] if layer.output_size else []
        return [layer, *readout]
    if not isinstance(layer, Dense):
        raise ValueError(f"RTNeural's files have no {layer_name(layer)}")
    return [layer]


def _sizes_of(layers: Sequence[Any]) -> list[int]:
    """Return the input size of the first layer, then the output size of each one."""
    if not layers or (isinstance(layers[0], Dense) and layers[0].weight is None):
        raise ValueError("the first layer must have weights")
    sizes: list[int] = []
    for k, layer in enumerate(layers):
        if isinstance(layer, LSTM):
            taken, given = layer.input_size, layer.hidden_size
        elif layer.weight is None:
            taken = given = sizes[-1]
        else:
            given, taken = layer.weight.shape
        if sizes and sizes[-1] != taken:
            raise ValueError(f"layer {k} takes {taken} features, the one before gives {sizes[-1]}")
        sizes = sizes or [taken]
        sizes.append(given)
    return sizes
