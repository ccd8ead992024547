"""Models written as Keras's: configurations and weights, for its files and for live models."""

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...cell import SLOTS, Activation
from ...layers import Dense, Embedding, Last, Masking, Product, Reverse
from ...layout import Array
from ...lstm import LSTM
from ...sequential import Sequential
from ..layers import layer_name, layers_of, require_plain
from .archive import archive_bytes
from .hdf5 import hdf5_bytes
from .recurrent import LSTM_ACTIVATIONS

_VERSION = "3.0.0"  # the oldest version with all that is written here
_GROUPS = {"LSTM": "lstm", "Bidirectional": "bidirectional", "Embedding": "embedding"} | {
    "Dense": "dense"
}


def save(model: LSTM | Sequential, path: str | os.PathLike[str]) -> None:
    """Write a .keras file, or weights alone where `path` ends with .weights.h5.

    ``keras.saving.load_model`` and ``Model.load_weights`` of Keras 3 read them. The same model
    gives the same bytes.

    Parameters
    ----------
    model : LSTM or Sequential
        Its LSTMs become LSTM or Bidirectional layers, a readout a Dense. A `Last` must stand right
        behind an LSTM, where it is ``return_sequences=False``, and a `Reverse` behind one of
        ``direction="reverse"``, which is ``go_backwards=True`` together.
    path : path

    Raises
    ------
    ValueError
        For what Keras does not have: a `Skip` or `Gain`, peepholes, coupled gates, bounds, a cell
        function unlike the hidden one, a function that Keras lacks, a projection, a learned state;
        or a note that is no JSON value. Nothing is written then.
    """
    written = _Written(model)
    text = json.dumps(written.architecture())
    try:
        notes = json.dumps(model.notes, allow_nan=False) if model.notes else None
    except (TypeError, ValueError) as error:
        raise ValueError(f"a note is not a JSON value: {error}") from None
    attributes = {"architecture": text} | ({} if notes is None else {"notes": notes})
    alone = os.fspath(path).endswith(".weights.h5")
    data = hdf5_bytes(written.groups, attributes if alone else {})
    if not alone:
        metadata = {"keras_version": _VERSION} | ({"notes": model.notes} if model.notes else {})
        data = archive_bytes(text, data, json.dumps(metadata))
    Path(path).write_bytes(data)


def to_keras(model: LSTM | Sequential) -> Any:
    """Return a ``keras.Sequential`` that computes the same, with copied weights.

    Its arrays have the batch first, whatever `batch_first` is. Raises ValueError as `save` does,
    ImportError without Keras.
    """
    written = _Written(model)
    try:
        import keras
    except ImportError:
        raise ImportError("to_keras needs Keras: pip install keras, and a backend") from None
    theirs = keras.Sequential.from_config(written.architecture()["config"])
    theirs.set_weights([array for _, arrays in written.groups for array in arrays])
    return theirs


class _Written:
    """The layers of a model as Keras's: their configurations, and their weights by groups."""

    def __init__(self, model: LSTM | Sequential) -> None:
        self.groups: list[tuple[str, list[Array]]] = []  # in Keras's order of weights
        self._layers: list[dict[str, Any]] = []
        self._counts: Counter[str] = Counter()
        self._dtype = model.dtype.name if isinstance(model, (LSTM, Sequential)) else ""
        self._mask: Masking | Embedding | None = None
        layers = layers_of(model)
        self._shape = _input_shape(model)
        kind = "int32" if isinstance(layers[0], Embedding) else self._dtype
        self._append("InputLayer", {"batch_shape": self._shape, "dtype": kind})
        last = max((k for k, layer in enumerate(layers) if isinstance(layer, LSTM)), default=-1)
        k = 0
        while k < len(layers):
            layer = layers[k]
            if isinstance(layer, LSTM):
                k += self._append_lstm(layer, layers[k + 1 : k + 3], k == last)
            else:
                self._append_other(layer, k < last)
            k += 1

    def architecture(self) -> dict[str, Any]:
        """Return the configuration of a Sequential model."""
        config = {"name": "sequential", "layers": self._layers, "build_input_shape": self._shape}
        return _entry("Sequential", config, "keras") | {
            "build_config": {"input_shape": self._shape}
        }

    def _append(self, kind: str, config: dict[str, Any]) -> str:
        """Append a layer; return the group of its weights."""
        number = self._counts[kind]
        self._counts[kind] += 1
        name = f"{_GROUPS.get(kind, kind.lower())}_{number}"
        self._layers.append(_entry(kind, {"name": name, "dtype": self._dtype} | config))
        return f"layers/{_GROUPS.get(kind, '')}" + (f"_{number}" if number else "")

    def _append_other(self, layer: Any, before_an_lstm: bool) -> None:
        if isinstance(layer, Dense) and layer.weight is not None:
            self._append_dense(layer.weight, layer.bias, layer.activation)
        elif isinstance(layer, Dense) and layer.bias is None:
            self._append("Activation", {"activation": layer.activation or "linear"})
        elif isinstance(layer, Embedding):
            sizes = dict(zip(("input_dim", "output_dim"), layer.weight.shape, strict=True))
            group = self._append("Embedding", sizes | {"mask_zero": layer.mask_zero})
            self.groups.append((group, [layer.weight]))
            self._mask = layer if layer.mask_zero else None
        elif isinstance(layer, Masking) and self._mask is None and before_an_lstm:
            self._append("Masking", {"mask_value": layer.value})
            self._mask = layer
        else:
            raise ValueError(f"Keras has no layer for {layer!r}{_why(layer)}")

    def _append_dense(self, weight: Array, bias: Array | None, activation: str = "") -> None:
        options = {"units": len(weight), "activation": activation or "linear"}
        group = self._append("Dense", options | {"use_bias": bias is not None})
        self.groups.append((group, [weight.T] if bias is None else [weight.T, bias]))

    def _append_lstm(self, lstm: LSTM, behind: Sequence[Any], last: bool) -> int:
        """Append an LSTM; return how many of the layers behind it are part of Keras's."""
        first = behind[0] if behind else None
        self._check_lstm(lstm, first, last)
        ends = isinstance(first, Last)
        product = lstm.bidirectional and lstm.output_size is None
        product = product and any(isinstance(x, Product) for x in behind[ends : ends + 1])
        for k in range(lstm.num_layers):
            top = k == lstm.num_layers - 1
            self._append_one(lstm, k, ends and top, "mul" if product and top else "concat")
        if lstm.output_size is not None:
            parameters = lstm.parameters
            self._append_dense(parameters["weight_out"], parameters.get("bias_out"))
        return int(ends or lstm.direction == "reverse") + int(product)

    def _check_lstm(self, lstm: LSTM, behind: Any, last: bool) -> None:
        """Raise ValueError if Keras computes something else, with this layer behind the LSTM."""
        _check(lstm)
        reverse, ends = lstm.direction == "reverse", isinstance(behind, Last)
        if self._mask is not None and lstm.output_size is not None:
            raise ValueError(
                "Keras computes a readout at masked steps, too: behind a mask, use an LSTM without "
                "output_size, and a Dense after it"
            )
        if ends and not behind.ends and (reverse or lstm.bidirectional):
            raise ValueError("Keras has only the ends of a reverse direction: use Last(ends=True)")
        if ends and behind.ends and lstm.bidirectional and lstm.output_size is not None:
            raise ValueError("a Last(ends=True) must stand right behind the LSTM")
        if reverse and not ends and not isinstance(behind, Reverse):
            raise ValueError(
                "Keras leaves the steps of direction='reverse' in reversed order: put a "
                "clstm.layers.Reverse behind the LSTM"
            )
        if reverse and (lstm.num_layers > 1 or lstm.output_size is not None):
            raise ValueError(
                "Keras leaves steps reversed: direction='reverse' takes one layer, and no readout"
            )
        if self._mask is not None and lstm.bidirectional and last and self._zeroes() == ends:
            zero = "zero at masked steps, not what it held"
            gives = "the last step that it computed, not zero" if ends else zero
            raise ValueError(
                f"Keras's Bidirectional gives {gives}: make the {layer_name(self._mask)} with "
                f"zero_masked={not ends}"
            )

    def _zeroes(self) -> bool:
        """Return whether y of LSTMs is zero at masked steps."""
        return self._mask is not None and self._mask.zero_masked

    def _append_one(self, lstm: LSTM, k: int, ends: bool, merge_mode: str) -> None:
        """Append a layer of an LSTM."""
        options = {
            "units": lstm.hidden_size,
            "activation": _name("cell", lstm.cell.cell),
            "recurrent_activation": _name("gate", lstm.cell.gate),
            "use_bias": lstm.bias,
            "return_sequences": not ends,
            "zero_output_for_mask": self._zeroes(),
            "dtype": self._dtype,
        }
        if not lstm.bidirectional:
            reverse = lstm.direction == "reverse"
            group = self._append("LSTM", options | {"go_backwards": reverse})
            self.groups.append((f"{group}/cell", _arrays(lstm, k, "_reverse" if reverse else "")))
            return
        number = self._counts["Bidirectional"]
        inner = {
            end: _entry("LSTM", {"name": f"{end}_lstm_{number}"} | options | {"go_backwards": back})
            for end, back in (("forward", False), ("backward", True))
        }
        both = {"layer": inner["forward"], "backward_layer": inner["backward"]}
        group = self._append("Bidirectional", {"merge_mode": merge_mode} | both)
        for end, suffix in (("forward", ""), ("backward", "_reverse")):
            self.groups.append((f"{group}/{end}_layer/cell", _arrays(lstm, k, suffix)))


def _arrays(lstm: LSTM, k: int, suffix: str) -> list[Array]:
    """Return the weights of a direction of a layer in Keras's order."""
    names = [f"{name}_l{k}{suffix}" for name in ("weight_ih", "weight_hh", "bias")]
    parameters = lstm.parameters
    return [parameters[name].T for name in names if name in parameters]


def _input_shape(model: LSTM | Sequential) -> list[int | None]:
    size = model.input_size
    return [None, None] if size is None else [None, None, size]


def _entry(kind: str, config: dict[str, Any], module: str = "keras.layers") -> dict[str, Any]:
    return {"module": module, "class_name": kind, "config": config, "registered_name": None}


def _why(layer: Any) -> str:
    """Return what a layer would need, for messages."""
    if isinstance(layer, Last):
        return ": it must stand right behind an LSTM"
    if isinstance(layer, Reverse):
        return ": it must stand right behind an LSTM with direction='reverse'"
    if isinstance(layer, Product):
        return ": it must stand behind a bidirectional LSTM, or its Last(ends=True)"
    if isinstance(layer, Masking):
        return ": only one mask, with an LSTM behind it, can be written"
    return ""


def _check(lstm: LSTM) -> None:
    """Raise ValueError for an option that Keras does not have; the message names it."""
    cell = lstm.cell
    functions = [f"cell.{slot}" for slot in SLOTS]
    require_plain(lstm, "Keras", "bidirectional", "direction", *functions)
    if cell.cell != cell.hidden:
        raise ValueError(
            f"Keras has one function for both: cell.cell={cell.cell}, cell.hidden={cell.hidden}"
        )
    for slot in ("gate", "cell"):
        _name(slot, getattr(cell, slot))


def _name(slot: str, activation: Activation) -> str:
    for name, ours in LSTM_ACTIVATIONS.items():
        if ours == activation:
            return name
    raise ValueError(f"Keras has no cell.{slot}={activation}")
