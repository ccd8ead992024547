"""Files of a `Sequential`: safetensors with the parameters, and the layers in the metadata.

The metadata is flat, as that of an `LSTM`: ``clstm.layers`` is the number of layers,
``clstm.0.kind`` the kind of the first and ``clstm.0.value`` one of its options; the names of a
layer inside of it begin with ``clstm.0.0.``. The options of an LSTM have the names and the form
that `LSTM.save` gives them.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from . import layers as kinds_of_layers
from .chain import kind
from .configuration import Configuration
from .layers import Layer, Skip
from .layout import Array
from .lstm import LSTM
from .options import read_real
from .state_dict import written

FORMAT = "2"
"""``clstm.format`` in the metadata; files of a single LSTM have 1."""

_KINDS = {name: getattr(kinds_of_layers, name) for name in kinds_of_layers.__all__}
_DEEPEST = 20  # skips inside of skips


# ---- Writing ----


def write(
    path: str | os.PathLike[str],
    layers: Sequence[Any],
    parameters: Mapping[str, Array],
    batch_first: bool,
    notes: Mapping[str, Any],
) -> None:
    """Write a file; ValueError if a note is no JSON value. Nothing is written then."""
    from safetensors.numpy import save_file  # late: most programs write no file

    metadata = {"clstm.format": FORMAT, "clstm.batch_first": str(batch_first)}
    metadata |= _entries(layers, "clstm.") | written(notes)
    save_file(dict(parameters), os.fspath(path), metadata)


def _entries(layers: Sequence[Any], prefix: str) -> dict[str, str]:
    """Return the metadata of layers, which holds all but their arrays."""
    entries = {f"{prefix}layers": str(len(layers))}
    for k, layer in enumerate(layers):
        place = f"{prefix}{k}."
        entries[f"{place}kind"] = kind(layer)
        if isinstance(layer, LSTM):
            own = layer._config.to_metadata()
        else:
            skipped = (*layer._names, "layers")
            own = {
                field.name: _text(getattr(layer, field.name))
                for field in fields(layer)
                if field.name not in skipped
            }
        entries |= {f"{place}{name}": value for name, value in own.items()}
        if isinstance(layer, Skip):
            entries |= _entries(layer.layers, place)
    return entries


def _text(value: Any) -> str:
    return value.hex() if isinstance(value, float) else str(value)


# ---- Reading ----


def read(
    path: str | os.PathLike[str], metadata: dict[str, str], tensors: dict[str, Array]
) -> tuple[list[Any], bool]:
    """Return layers and batch_first; ValueError, with the file, if they are not valid."""
    entries, arrays = dict(metadata), dict(tensors)
    try:
        batch_first = _value(entries.pop("batch_first"), bool)
        layers = _read_layers(entries, arrays, "", 0)
        if entries or arrays:
            raise ValueError(f"no layer has {min(entries.keys() | arrays.keys())!r:.80}")
    except (KeyError, TypeError, ValueError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{os.fspath(path)} holds no valid model: {reason:.500}") from None
    return layers, batch_first


def _read_layers(
    entries: dict[str, str], arrays: dict[str, Array], prefix: str, depth: int
) -> list[Any]:
    """Return layers, and remove what belongs to them from `entries` and `arrays`."""
    count = _value(entries.pop(f"{prefix}layers"), int)
    if depth > _DEEPEST or count > len(entries):  # each has at least its kind
        raise ValueError(f"{prefix}layers is {count}, which the file does not hold")
    return [_read_layer(entries, arrays, f"{prefix}{k}.", depth) for k in range(count)]


def _read_layer(
    entries: dict[str, str], arrays: dict[str, Array], place: str, depth: int
) -> LSTM | Layer:
    name = entries.pop(f"{place}kind")
    if name == "Skip":
        count = _value(entries.pop(f"{place}count"), int)
        return Skip(tuple(_read_layers(entries, arrays, place, depth + 1)), count)
    own = _take(entries, place)
    tensors = _take(arrays, place)
    if name == "LSTM":
        _check_layers(own, tensors, place)
        return LSTM.from_state(Configuration.from_metadata(own), tensors)
    if name not in _KINDS:
        raise ValueError(f"layer {place} is of the unknown kind {name!r:.80}")
    cls = _KINDS[name]
    options = {
        field.name: _value(own.pop(field.name), field.type)
        for field in fields(cls)
        if field.name not in cls._names
    }
    if unknown := own.keys() | (tensors.keys() - set(cls._names)):
        raise ValueError(f"layer {place} has no {min(unknown)!r:.80}")
    layer: Layer = cls(**tensors, **options)
    return layer


def _take(values: dict[str, Any], place: str) -> dict[str, Any]:
    """Remove and return the values of a place."""
    names = [name for name in values if name.startswith(place)]
    return {name.removeprefix(place): values.pop(name) for name in names}


def _value(text: str, kind_of_value: Any) -> Any:
    """Return what `_text` has written."""
    if kind_of_value is bool:
        if text not in ("True", "False"):
            raise ValueError(f"{text!r:.80} is neither True nor False")
        return text == "True"
    if kind_of_value is int:
        if not (text.isascii() and text.isdecimal() and len(text) < 10):
            raise ValueError(f"{text!r:.80} is no number of layers or features")
        return int(text)
    return read_real("an option", text) if kind_of_value is float else text


def _check_layers(options: dict[str, str], arrays: dict[str, Array], place: str) -> None:
    """Refuse a number of layers that the file has no arrays for, before a list of them is made."""
    if _value(options.get("num_layers", "1"), int) > len(arrays):
        raise ValueError(f"layer {place} has more layers than the file has arrays for it")
