"""safetensors files with PyTorch's names, of any program, and files of `LSTM.save`."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ..layout import Array
from ..lstm import LSTM
from ..names import FIRST
from ..sequential import Sequential
from ..sequential_files import FORMAT as SEQUENTIAL
from ..state_dict import write_file
from . import torch_names
from .budget import Budget
from .errors import naming
from .half import Tensors, noted

_FLOATS = ("F16", "BF16", "F32", "F64")


def load(
    path: str | os.PathLike[str],
    *,
    prefix: str | None = None,
    head: str | None = None,
    batch_first: bool | None = None,
    dtype: DTypeLike | None = None,
) -> LSTM | Sequential:
    """Read a model from a file whose tensors have PyTorch's names, or ours.

    Parameters
    ----------
    path : path
        A file of any program, with numbers of float16, bfloat16, float32 or float64.
    prefix : str, optional
        The prefix of the LSTM in a larger model: ``"encoder.lstm."``; the rest of the file is not
        read. What all names have in common, such as ``"module."``, may be left out. Without a
        prefix the file must hold one LSTM; the only linear layer that takes what the LSTM gives
        becomes the readout, and all other names stand in ``notes["not_read"]``.
    head : str, optional
        The prefix of a linear layer that becomes the readout: ``"decoder."`` for
        ``decoder.weight`` (O, D R) and ``decoder.bias`` (O,), or without a bias.
    batch_first : bool, optional
        Whether the model's sequences are (B, T, .); by default what `LSTM.save` wrote, else False.
    dtype : float32 or float64, optional
        By default what `LSTM.save` wrote, else float64 if all numbers are, else float32; half
        precision stands in ``notes["stored_as"]``.

    Returns
    -------
    LSTM or Sequential
        Names and shapes give the options (`torch_names.config_of`). A file of `LSTM.save` or
        `save` contains all of them, also the cell's functions and bounds; one of
        `Sequential.save` gives a Sequential.

    Raises
    ------
    ValueError
        If the file is not a safetensors file, or a name, shape or dtype does not fit; the message
        names it.
    OSError
        If it cannot be read.
    """
    with _open(path) as file:
        if prefix is not None or head is not None or not _is_ours(file):
            shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
            found = torch_names.find(shapes, prefix, head)
            arrays, kinds = _read(file, Tensors(file, path), found.names)
            model = torch_names.read(
                arrays, found.prefix, found.head, batch_first=bool(batch_first), dtype=dtype
            )
            return noted(torch_names.note_others(model, found.others), kinds)
        if _is_sequential(file):
            if batch_first is not None or dtype is not None:
                raise ValueError("a Sequential's file has no batch_first= and dtype=: it says both")
            return Sequential.load(path)
    return _changed(LSTM.load(path), batch_first, dtype)


def read(path: str | os.PathLike[str], *, dtype: DTypeLike | None = None) -> dict[str, LSTM]:
    """Return every LSTM of a file by its prefix; other tensors are ignored.

    A GRU or RNN of PyTorch's has the same names; its shapes tell it apart, and it is ignored, too.

    Raises ValueError and OSError as `load` does, for each of them.
    """
    budget = Budget.of(path)
    with _open(path) as file:
        if not _is_ours(file):
            models, tensors = {}, Tensors(file, path)
            for prefix, names in torch_names.names_by_prefix(file.keys()).items():
                if _is_other_layer(file, names):
                    continue
                budget.layers()
                arrays, kinds = _read(file, tensors, names)
                models[prefix] = noted(torch_names.read(arrays, prefix, dtype=dtype), kinds)
            return models
        if _is_sequential(file):
            raise ValueError("it holds a Sequential: clstm.load reads it")
    return {"": _changed(LSTM.load(path), None, dtype)}


def save(
    model: LSTM | Sequential, path: str | os.PathLike[str], *, torch_names: bool = True
) -> None:
    """Write a model with PyTorch's names, so that ``torch.nn.LSTM`` can load the state dict.

    Parameters
    ----------
    model : LSTM or Sequential
        The file of a Sequential is that of `Sequential.save`.
    path : path
        Of the file.
    torch_names : bool
        Write each bias as PyTorch's pair, the second zero. Without it the file is that of
        `LSTM.save`, which the C library reads too.

    Notes
    -----
    Parameters that PyTorch's LSTM does not have keep our names: ``weight_out``, ``bias_out``,
    ``h0``, ``c0`` and peepholes. The metadata holds the configuration, so that `load` returns the
    same model.
    """
    if isinstance(model, Sequential):
        model.save(path)
        return
    write_file(path, model.parameters, model._config.to_metadata(), model.notes, torch_names)


@contextmanager
def _open(path: str | os.PathLike[str]) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    with naming(path):
        try:
            with safe_open(os.fspath(path), framework="numpy") as file:
                yield file
        except SafetensorError as error:
            raise ValueError(f"it is not a safetensors file, or a truncated one: {error}") from None


def _is_ours(file: Any) -> bool:
    return "clstm.format" in (file.metadata() or {})


def _is_other_layer(file: Any, names: list[str]) -> bool:
    """Tell whether these are the weights of a recurrent layer that is not an LSTM."""
    first = [name for name in names if FIRST.search(name)]
    shapes = {
        name: file.get_slice(name).get_shape()
        for name in (*first, *map(torch_names.recurrent, first))
        if name in names
    }
    return any(torch_names.kind_of(shapes, name) != "LSTM" for name in first)


def _is_sequential(file: Any) -> bool:
    return (file.metadata() or {}).get("clstm.format") == SEQUENTIAL


def _read(file: Any, tensors: Tensors, names: Sequence[str]) -> tuple[dict[str, Array], set[str]]:
    """Return tensors by name, and the types of their numbers."""
    for name in names:
        kind = file.get_slice(name).get_dtype()
        if kind not in _FLOATS:
            raise ValueError(f"{name} has dtype {kind}, expected one of {', '.join(_FLOATS)}")
    return tensors.read(names)


def _changed(lstm: LSTM, batch_first: bool | None, dtype: DTypeLike | None) -> LSTM:
    """Return a model with `batch_first` and `dtype` replaced where they are given."""
    config = lstm._config
    if batch_first is not None:
        config = replace(config, batch_first=batch_first)
    if dtype is not None:
        config = replace(config, dtype=np.dtype(dtype))
    return lstm if config == lstm._config else LSTM.from_state(config, lstm.state_dict())
