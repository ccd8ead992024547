"""GuitarML's and Proteus' JSON: a PyTorch LSTM, a linear layer, and an optional skip.

``{"model_data": {...}, "state_dict": {...}}``: the first holds sizes, the second arrays,
``rec.weight_ih_l{k}`` and PyTorch's other names, ``lin.weight`` and ``lin.bias``. With ``skip`` 1
the first feature of the input is added to the output.
"""

import os
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ..configuration import Configuration
from ..layout import Array
from ..lstm import LSTM
from ..sequential import Sequential
from .json_files import NOTES, Node, notes_of, read_json, write_json
from .layers import Skip, as_model, layers_of, only_lstm, require_plain

_SIZES = {"input_size", "hidden_size", "num_layers", "output_size"}
_REQUIRED = {"input_size", "hidden_size", "skip", "unit_type"}
_LARGEST = 10**6  # sizes are multiplied before the arrays are seen


def load(path: str | os.PathLike[str], *, dtype: DTypeLike = np.float32) -> LSTM | Sequential:
    """Read a model.

    Parameters
    ----------
    path : path-like
    dtype : float32 or float64
        Of the model.

    Returns
    -------
    LSTM or Sequential
        An LSTM with the linear layer as its readout, of bias zero if it has none; with ``skip`` a
        Sequential of one `Skip` around it. ``notes`` has the entries that change no result.

    Raises
    ------
    ValueError
        If the file holds something else or contradicts itself; the message names the place.
    OSError
        If it cannot be read.
    """
    return as_model(*_read(path, dtype))


def read(path: str | os.PathLike[str], *, dtype: DTypeLike = np.float32) -> Sequential:
    """Return what `load` does, in any case as a Sequential."""
    layers, notes = _read(path, dtype)
    return Sequential(layers, notes=notes)


def _read(path: str | os.PathLike[str], dtype: DTypeLike) -> tuple[list[Any], dict[str, Any]]:
    parts = read_json(path).members({"model_data", "state_dict"}, NOTES)
    data = parts["model_data"].members(_REQUIRED, _SIZES | {"model", "bias_fl"})
    if "model" in data:
        data["model"].text("SimpleRNN")
    data["unit_type"].text("LSTM")
    skips = data["skip"].integer(0, 1) == 1
    linear_bias = data["bias_fl"].value if "bias_fl" in data else True
    if not isinstance(linear_bias, bool):
        data["bias_fl"].fail("is neither true nor false")
    sizes: dict[str, Any] = {"output_size": 1}
    sizes |= {name: data[name].integer(1, _LARGEST) for name in sorted(_SIZES & data.keys())}
    config = Configuration(**sizes, dtype=np.dtype(dtype))
    lstm = LSTM.from_state(config, _read_state(parts["state_dict"], config, linear_bias))
    return [Skip((lstm,))] if skips else [lstm], notes_of(parts)


def save(model: LSTM | Sequential, path: str | os.PathLike[str]) -> None:
    """Write a model.

    Parameters
    ----------
    model : LSTM or Sequential
        An LSTM with a readout or a linear `Dense` after it, or one `Skip` of count 1 around them.
        `batch_first` is not kept.
    path : path-like

    Raises
    ------
    ValueError
        For other layers; for an option that the format does not have: no readout, two directions or
        a reverse one, a projection, a learned initial state, a `Cell` other than the plain one; for
        numbers that are not finite. Nothing is written then.
    """
    layers = layers_of(model)
    skips = len(layers) == 1 and isinstance(layers[0], Skip) and layers[0].count == 1
    try:
        lstm = only_lstm(layers[0].layers if skips else layers, "")
    except ValueError:
        raise ValueError(
            "GuitarML's files hold one LSTM with a linear layer, or a Skip around it"
        ) from None
    require_plain(lstm, "GuitarML")
    if lstm.output_size is None:
        raise ValueError("GuitarML's LSTM needs a linear layer, but output_size is None")
    data = {
        "model": "SimpleRNN",
        "input_size": lstm.input_size,
        "skip": int(skips),
        "output_size": lstm.output_size,
        "unit_type": "LSTM",
        "num_layers": lstm.num_layers,
        "hidden_size": lstm.hidden_size,
        "bias_fl": lstm.bias,
    }
    kept = {name: note for name, note in model.notes.items() if name in NOTES}
    write_json(path, {"model_data": data, "state_dict": _state_dict_of(lstm)} | kept)


def _names(config: Configuration) -> dict[str, tuple[str, ...]]:
    """Return the names in a file whose arrays add up to each of our parameters."""
    names: dict[str, tuple[str, ...]] = {
        "weight_out": ("lin.weight",),
        "bias_out": ("lin.bias",),
    }
    for k in range(config.num_layers):
        names[f"bias_l{k}"] = (f"rec.bias_ih_l{k}", f"rec.bias_hh_l{k}")
        for kind in ("weight_ih", "weight_hh"):
            names[f"{kind}_l{k}"] = (f"rec.{kind}_l{k}",)
    return names


def _read_state(node: Node, config: Configuration, linear_bias: bool) -> dict[str, Array]:
    found, expected = len(node.any_members()), 4 * config.num_layers + 1 + linear_bias
    if found != expected:  # checked before a name is made for each layer that the file claims
        node.fail(f"has {found} arrays, expected {expected}")
    node.count_layers(config.num_layers)
    names = _names(config)
    present = {name for parts in names.values() for name in parts}
    if not linear_bias:
        present.remove("lin.bias")
    arrays = node.members(present)
    state = {}
    for name, shape, _ in config.parameter_table()[0]:
        parts = [arrays[part].array(shape, config.dtype) for part in names[name] if part in arrays]
        state[name] = np.sum(parts, axis=0) if parts else np.zeros(shape)
    return state


def _state_dict_of(lstm: LSTM) -> dict[str, Any]:
    """Return all arrays as lists.

    A file always has both biases of PyTorch's LSTM: the second is zero, without a bias the first,
    too. The linear layer has a bias only if the model does.
    """
    p, state = lstm.parameters, {}
    for name, parts in _names(lstm._config).items():
        if name != "bias_out" or lstm.bias:
            zeros = np.zeros(4 * lstm.hidden_size)
            for part, array in zip(parts, (p.get(name, zeros), zeros), strict=False):
                state[part] = array.tolist()
    return state
