"""Parameters by name, in memory and in safetensors files."""

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from .layout import Array, as_array, cast
from .names import advice, locate, parts_of, with_all_biases
from .parameters import Parameters, Table

FORMAT = "1"
"""``clstm.format`` in a file's metadata; readers refuse other values."""


def write_state_dict(parameters: Parameters, torch_names: bool) -> dict[str, Array]:
    """Return copies of all parameters; with `torch_names` a bias is a pair, the second zero."""
    result = {}
    for name, array in parameters.items():
        if torch_names and name.startswith("bias_l"):
            layer = name.removeprefix("bias_")
            result[f"bias_ih_{layer}"] = array.copy()
            result[f"bias_hh_{layer}"] = np.zeros_like(array)
        else:
            result[name] = array.copy()
    return result


def read_state_dict(
    parameters: Parameters, values: Mapping[str, Any], prefix: str = "", head: str | None = None
) -> None:
    """Write `values` into `parameters`; a bias is one array, or PyTorch's pair, which is summed.

    Only names that begin with `prefix` are read, and the prefix is removed. Each must be known.
    With `head`, the names below it are the readout's.
    """
    prefix, head = locate(values, prefix, head)
    labels = parts_of(values, prefix, head)
    named = {part: values[label] for part, label in labels.items()}
    if head is not None and "bias_out" in parameters:
        named = with_all_biases(named)
    sources = {name: _sources(name, named) for name in parameters}
    wanted = {part for parts in sources.values() for part in parts}
    hint = advice(labels or values)
    if missing := [n for n, parts in sources.items() if not named.keys() >= set(parts)]:
        listed = ", ".join(prefix + n for n in missing)
        raise KeyError(f"missing from the state dict: {listed}{hint}")
    if unknown := sorted(labels[n] for n in named.keys() - wanted):
        raise KeyError(f"unknown in the state dict: {', '.join(unknown)}{hint}")
    given = {part: _array_of(named[part], labels.get(part, part)) for part in sorted(wanted)}
    for name, target in parameters.items():
        arrays = [_checked(given[part], labels.get(part, part), target) for part in sources[name]]
        with np.errstate(all="ignore"):
            target[...] = sum(arrays)


def _array_of(value: Any, name: str) -> Array:
    """Return an array; parameters of PyTorch that track gradients are no arrays before `detach`."""
    detach = getattr(value, "detach", None)
    return as_array(value if detach is None else detach(), name)


def check_sizes(table: Table, arrays: Mapping[str, Array]) -> None:
    """Raise for a matrix that is missing or has another shape, before memory is allocated for it.

    The matrices have all sizes of a model, so the rest is of the size of what was given.
    """
    for name, shape, _ in table:
        if name.startswith("weight"):
            if name not in arrays:
                raise KeyError(f"missing from the state dict: {name}")
            if arrays[name].shape != shape:
                raise ValueError(f"{name} has shape {arrays[name].shape}, expected {shape}")


def _sources(name: str, named: Mapping[str, Any]) -> list[str]:
    """Return the names of the arrays whose sum is the parameter."""
    if name in named or not name.startswith("bias_l"):
        return [name]
    layer = name.removeprefix("bias_")
    return [f"bias_ih_{layer}", f"bias_hh_{layer}"]


def _checked(array: Array, name: str, target: Array) -> Array:
    if array.shape != target.shape:
        raise ValueError(f"{name} has shape {array.shape}, expected {target.shape}")
    return cast(array, target.dtype)


def write_file(
    path: str | os.PathLike[str],
    parameters: Parameters,
    config: dict[str, str],
    notes: Mapping[str, Any],
    torch_names: bool = False,
) -> None:
    """Write a safetensors file, with the configuration as pairs of strings in its metadata."""
    from safetensors.numpy import save_file  # late: most programs write no file

    metadata = {"clstm.format": FORMAT}
    metadata |= {f"clstm.{name}": value for name, value in config.items()} | written(notes)
    save_file(write_state_dict(parameters, torch_names), os.fspath(path), metadata)


_HINTS = {"1": "It holds an LSTM: use LSTM.load", "2": "It holds a Sequential: use Sequential.load"}
_NOTES = "notes"  # not clstm.notes: readers refuse entries of ours that they do not know
_OTHER = "Use load_state_dict for tensors from other sources"


def read_file(
    path: str | os.PathLike[str], writer: str = "LSTM", version: str = FORMAT
) -> tuple[dict[str, str], dict[str, Array], dict[str, Any]]:
    """Return the configuration, the tensors and the notes of a file of a version of the format.

    Raises ValueError, with the name of the file, for other files.
    """
    from safetensors import SafetensorError, safe_open

    from .interop.errors import naming
    from .interop.half import Tensors

    with naming(path):
        try:
            with safe_open(os.fspath(path), framework="numpy") as file:
                metadata = file.metadata() or {}
                tensors, _ = Tensors(file, path).read(file.keys())
        except SafetensorError as error:
            raise ValueError(f"{os.fspath(path)} is not a safetensors file: {error}") from None
    found = metadata.pop("clstm.format", None)
    if found != version:
        shown = "none" if found is None else f"{found!r:.80}"
        raise ValueError(
            f"{os.fspath(path)} was not written by {writer}.save: expected clstm.format "
            f"{version!r} in its metadata, got {shown}. {_HINTS.get(found or '', _OTHER)}"
        )
    ours = {k.removeprefix("clstm."): v for k, v in metadata.items() if k.startswith("clstm.")}
    try:
        notes = json.loads(metadata.get(_NOTES, "{}"))
    except (ValueError, RecursionError):
        notes = None
    if not isinstance(notes, dict):
        raise ValueError(f"{os.fspath(path)}: the {_NOTES} in its metadata are no JSON object")
    return ours, tensors, notes


def written(notes: Mapping[str, Any]) -> dict[str, str]:
    """Return the metadata entry of a model's notes; ValueError if one is no JSON value."""
    try:
        return {_NOTES: json.dumps(dict(notes), allow_nan=False)} if notes else {}
    except (TypeError, ValueError) as error:
        raise ValueError(f"notes must hold JSON values: {error}") from None
