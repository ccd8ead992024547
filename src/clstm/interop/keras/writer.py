"""Models written as Keras's: configurations and weights, for its files and for live layers."""

import json
import os
from pathlib import Path
from typing import Any

from ...cell import SLOTS, Activation
from ...layout import Array
from ...lstm import LSTM
from ..layers import require_plain
from .archive import archive_bytes
from .hdf5 import hdf5_bytes
from .layers import LSTM_ACTIVATIONS

_VERSION = '{"keras_version": "3.0.0"}'  # the oldest version with all that is written here


def save(lstm: LSTM, path: str | os.PathLike[str]) -> None:
    """Write a .keras file, or weights alone where `path` ends with .weights.h5.

    One LSTM or Bidirectional layer for each layer, with ``return_sequences=True``, and a Dense for
    the readout; ``keras.saving.load_model`` and ``Model.load_weights`` read them.

    Raises
    ------
    ValueError
        For an option that Keras does not have: peepholes, coupled gates, bounds, a cell function
        unlike the hidden one, a function that Keras lacks, a projection, a learned state, more than
        one layer with ``direction="reverse"``.
    """
    text = json.dumps(_architecture_of(lstm))
    data = hdf5_bytes(_weights_by_group(lstm), text)
    if not os.fspath(path).endswith(".weights.h5"):
        data = archive_bytes(text, data, _VERSION)
    Path(path).write_bytes(data)


def to_keras(lstm: LSTM) -> Any:
    """Return a ``keras.Sequential`` model of the layers that `save` writes, with copied weights.

    Raises ValueError as `save` does, ImportError without Keras.
    """
    architecture = _architecture_of(lstm)
    try:
        import keras
    except ImportError:
        raise ImportError("to_keras needs Keras: pip install keras, and a backend") from None
    model = keras.Sequential.from_config(architecture["config"])
    model.set_weights([array for _, arrays in _weights_by_group(lstm) for array in arrays])
    return model


def _architecture_of(lstm: LSTM) -> dict[str, Any]:
    """Return the configuration of a Sequential model; ValueError for an option Keras lacks."""
    _check(lstm)
    dtype, bias = lstm.dtype.name, lstm.bias
    shape = [None, None, lstm.input_size]
    layers = [_layer("InputLayer", "input", {"batch_shape": shape, "dtype": dtype})]
    for k in range(lstm.num_layers):
        options = {
            "units": lstm.hidden_size,
            "activation": _name("cell", lstm.cell.cell),
            "recurrent_activation": _name("gate", lstm.cell.gate),
            "use_bias": bias,
            "return_sequences": True,
            "dtype": dtype,
        }
        if lstm.bidirectional:
            both = {
                "layer": _layer("LSTM", f"forward_lstm_{k}", options | {"go_backwards": False}),
                "backward_layer": _layer(
                    "LSTM", f"backward_lstm_{k}", options | {"go_backwards": True}
                ),
            }
            wrapper = {"merge_mode": "concat", "dtype": dtype} | both
            layers.append(_layer("Bidirectional", f"bidirectional_{k}", wrapper))
        else:
            options["go_backwards"] = lstm.direction == "reverse"
            layers.append(_layer("LSTM", f"lstm_{k}", options))
    if lstm.output_size is not None:
        linear = {"units": lstm.output_size, "activation": "linear", "use_bias": bias}
        layers.append(_layer("Dense", "readout", linear | {"dtype": dtype}))
    return {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"name": "sequential", "layers": layers, "build_input_shape": shape},
        "registered_name": None,
        "build_config": {"input_shape": shape},
    }


def _weights_by_group(lstm: LSTM) -> list[tuple[str, list[Array]]]:
    """Return each group of a weights file with its arrays, in Keras's order of weights."""
    parameters, names = lstm.parameters, ("weight_ih", "weight_hh", "bias")
    folders = []
    for k in range(lstm.num_layers):
        number = f"_{k}" if k else ""
        if lstm.bidirectional:
            layer = f"layers/bidirectional{number}"
            parts = {"": f"{layer}/forward_layer/cell", "_reverse": f"{layer}/backward_layer/cell"}
        else:
            suffix = "_reverse" if lstm.direction == "reverse" else ""
            parts = {suffix: f"layers/lstm{number}/cell"}
        for suffix, folder in parts.items():
            own = [f"{name}_l{k}{suffix}" for name in names]
            folders.append((folder, [parameters[n].T for n in own if n in parameters]))
    if lstm.output_size is not None:
        own = [name for name in ("weight_out", "bias_out") if name in parameters]
        folders.append(("layers/dense", [parameters[name].T for name in own]))
    return folders


def _layer(kind: str, name: str, config: dict[str, Any]) -> dict[str, Any]:
    return {
        "module": "keras.layers",
        "class_name": kind,
        "config": {"name": name} | config,
        "registered_name": None,
    }


def _check(lstm: LSTM) -> None:
    """Raise ValueError for an option that Keras does not have; the message names it."""
    cell = lstm.cell
    functions = [f"cell.{slot}" for slot in SLOTS]
    require_plain(lstm, "Keras", "bidirectional", "direction", *functions)
    if cell.cell != cell.hidden:
        raise ValueError(
            f"Keras has one function for both: cell.cell={cell.cell}, cell.hidden={cell.hidden}"
        )
    if lstm.direction == "reverse" and lstm.num_layers > 1:
        raise ValueError("Keras leaves steps reversed: direction='reverse' takes one layer")
    for slot in ("gate", "cell"):
        _name(slot, getattr(cell, slot))


def _name(slot: str, activation: Activation) -> str:
    for name, ours in LSTM_ACTIVATIONS.items():
        if ours == activation:
            return name
    raise ValueError(f"Keras has no cell.{slot}={activation}")
