"""Neural Amp Modeler's files, ``.nam``: the architecture "LSTM", with its start state and head.

All numbers are one flat list: for every layer a matrix (4H, I + H) of the input and recurrent
weights side by side, the bias (4H,), h0 (H,) and c0 (H,); at the end the head's weight (O, H) and
bias (O,). The gates are in our order.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ..configuration import Configuration
from ..layout import Array
from ..lstm import LSTM
from ..sequential import Sequential
from .json_files import Node, read_json, write_json
from .layers import layers_of, only_lstm, require_plain

_VERSION = "0.5.4"
_NEEDED = {"version", "architecture", "config", "weights"}
_KNOWN_VERSION = re.compile(r"0\.[567]\.\d{1,9}")
_SIZES = {"input_size", "hidden_size", "num_layers"}
_CHANNELS = {"in_channels", "out_channels"}


def load(path: str | os.PathLike[str], *, dtype: DTypeLike = np.float32) -> LSTM:
    """Read a model.

    Parameters
    ----------
    path : path-like
        A file of version 0.5, 0.6 or 0.7.
    dtype : float32 or float64
        Of the model.

    Returns
    -------
    LSTM
        With the head as its readout, and with `learn_state`: the stored start state is where a
        call or a stream begins. Plug-ins then feed half a second of silence to it; `load` does
        not. ``notes`` has the sample rate and the metadata, and every entry that is unknown.

    Raises
    ------
    ValueError
        If the file holds something else or contradicts itself; the message names the place.
    OSError
        If it cannot be read.
    """
    parts = _parts_of(path)
    parts["architecture"].text("LSTM")
    config = _read_config(parts["config"], dtype)
    weights = parts["weights"].array((_count(config),), config.dtype)
    parts["config"].count_layers(config.num_layers)
    lstm = LSTM.from_state(config, _state_of(config, weights))
    lstm.notes.update(_notes_of(parts))
    return lstm


def read(path: str | os.PathLike[str], *, dtype: DTypeLike = np.float32) -> Sequential:
    """Return the model that `load` returns, as a Sequential of one layer."""
    lstm = load(path, dtype=dtype)
    return Sequential([lstm], notes=lstm.notes)


def save(
    model: LSTM | Sequential,
    path: str | os.PathLike[str],
    *,
    sample_rate: float | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write a model.

    Parameters
    ----------
    model : LSTM or Sequential
        An LSTM with a readout or a linear `Dense` after it. `batch_first` is not kept; without
        `learn_state` it starts from zeros. Its notes are written beside it.
    path : path-like
    sample_rate : float, optional
        Of the sound that the model is for, in Hz; by default that of the notes. Programs assume
        48000 without one.
    metadata : mapping, optional
        Notes for people and programs, as JSON has them: ``{"loudness": -20}``; by default those of
        the model's notes.

    Raises
    ------
    ValueError
        For an option that the format does not have: no readout, two directions or a reverse one,
        a projection, a `Cell` other than the plain one; for other layers; for numbers that are not
        finite. Nothing is written then.
    """
    lstm, notes = only_lstm(layers_of(model), "clstm.load"), model.notes
    require_plain(lstm, "Neural Amp Modeler", "learn_state")
    if lstm.output_size is None:
        raise ValueError("Neural Amp Modeler's LSTM needs a head, but output_size is None")
    config = {name: getattr(lstm, name) for name in ("input_size", "hidden_size", "num_layers")}
    if (lstm.input_size, lstm.output_size) != (1, 1):
        config |= {"in_channels": lstm.input_size, "out_channels": lstm.output_size}
    value = {
        "version": _VERSION,
        "metadata": {},
        "architecture": "LSTM",
        "config": config,
        "weights": _weights_of(lstm).tolist(),
    }
    value |= {name: note for name, note in notes.items() if name not in _NEEDED}
    given = {"sample_rate": sample_rate, "metadata": None if metadata is None else dict(metadata)}
    write_json(path, value | {name: note for name, note in given.items() if note is not None})


def _parts_of(path: str | os.PathLike[str]) -> dict[str, Node]:
    """Return the entries of a file of a known version."""
    parts = read_json(path).at_least(_NEEDED)
    if not _KNOWN_VERSION.fullmatch(parts["version"].text()):
        parts["version"].fail("is not supported, only 0.5, 0.6 and 0.7 are")
    return parts


def _notes_of(parts: dict[str, Node]) -> dict[str, Any]:
    """Return what a file says beside the model; ValueError if a known entry is of another type."""
    for name, kinds, words in (
        ("sample_rate", (int, float), "a number"),
        ("metadata", (dict,), "an object"),
    ):
        if name in parts and type(parts[name].value) not in (*kinds, type(None)):
            parts[name].fail(f"is not {words}")
    return {
        name: node.value
        for name, node in parts.items()
        if name not in _NEEDED and node.value is not None
    }


def _read_config(node: Node, dtype: DTypeLike) -> Configuration:
    parts = node.members(_SIZES, _CHANNELS)
    sizes: dict[str, Any] = {name: parts[name].integer(1) for name in sorted(_SIZES)}
    if "in_channels" in parts and parts["in_channels"].value != sizes["input_size"]:
        parts["in_channels"].fail(f"is not input_size={sizes['input_size']}")
    outputs = parts["out_channels"].integer(1) if "out_channels" in parts else 1
    return Configuration(**sizes, output_size=outputs, learn_state=True, dtype=np.dtype(dtype))


def _count(config: Configuration) -> int:
    """Return the number of parameters, without allocating for the sizes that a file claims."""
    hidden, outputs = config.hidden_size, config.output_width
    first, later = config.input_size + hidden, 2 * hidden
    rows = 4 * hidden * (first + (config.num_layers - 1) * later)
    return rows + config.num_layers * 6 * hidden + outputs * (hidden + 1)


def _state_of(config: Configuration, weights: Array) -> dict[str, Array]:
    """Cut the list into parameters."""
    hidden, begin = config.hidden_size, 0

    def take(*shape: int) -> Array:
        nonlocal begin
        end = begin + int(np.prod(shape))
        part, begin = weights[begin:end].reshape(shape), end
        return part

    state: dict[str, Array] = {}
    h0, c0 = np.empty((2, config.num_layers, hidden), config.dtype)
    for k in range(config.num_layers):
        inputs = hidden if k else config.input_size
        matrix = take(4 * hidden, inputs + hidden)
        state[f"weight_ih_l{k}"], state[f"weight_hh_l{k}"] = np.split(matrix, [inputs], axis=1)
        state[f"bias_l{k}"] = take(4 * hidden)
        h0[k], c0[k] = take(hidden), take(hidden)
    state |= {
        "weight_out": take(config.output_width, hidden),
        "bias_out": take(config.output_width),
    }
    return state | {"h0": h0, "c0": c0}


def _weights_of(lstm: LSTM) -> Array:
    """Return all numbers in the file's order; parameters that the model lacks are zero."""
    p, parts = lstm.parameters, []
    zeros = np.zeros((lstm.num_layers, lstm.hidden_size))
    h0, c0 = (p["h0"], p["c0"]) if lstm.learn_state else (zeros, zeros)
    for k in range(lstm.num_layers):
        bias = p.get(f"bias_l{k}", np.zeros(4 * lstm.hidden_size))
        matrix = np.hstack([p[f"weight_ih_l{k}"], p[f"weight_hh_l{k}"]])
        parts += [matrix.ravel(), bias, h0[k], c0[k]]
    parts += [p["weight_out"].ravel(), p.get("bias_out", np.zeros(lstm.output_size or 0))]
    return np.concatenate(parts)
