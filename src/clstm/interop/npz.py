"""NumPy's ``.npz``: arrays with PyTorch's names, or ours."""

import math
import os
import zipfile
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import DTypeLike

from ..layout import Array
from ..lstm import LSTM
from ..sequential import Sequential
from . import torch_names
from .budget import Budget
from .errors import naming
from .half import noted
from .layers import require_plain

_SUFFIX = ".npy"


def load(
    path: str | os.PathLike[str],
    *,
    prefix: str | None = None,
    head: str | None = None,
    batch_first: bool = False,
    dtype: DTypeLike | None = None,
) -> LSTM:
    """Read a model from a file of `numpy.savez` or `numpy.savez_compressed`.

    Parameters
    ----------
    path : path
    prefix, head : str, optional
        As in `clstm.interop.safetensors.load`; other arrays stand in ``notes["not_read"]``.
    batch_first : bool, default=False
        Whether the model's sequences are (B, T, .).
    dtype : float32 or float64, optional
        By default float64 if all numbers are, else float32.

    Returns
    -------
    LSTM

    Raises
    ------
    ValueError
        If the file is malformed, or a name, shape or dtype does not fit; the message names it.
        Arrays of Python objects are never read.
    OSError
        If it cannot be read.
    """
    budget = Budget.of(path)
    with open(path, "rb") as file, naming(path, MemoryError):
        try:
            archive = zipfile.ZipFile(file)
        except Exception:  # zipfile raises various types for malformed files
            raise ValueError("it is not a zip archive, or a truncated one") from None
        with archive:
            entries = _entries(archive, budget)
            shapes = {name: _header(archive, entry)[0] for name, entry in entries.items()}
            found = torch_names.find(shapes, prefix, head)
            arrays = {name: _array(archive, entries[name], budget) for name in found.names}
        model = torch_names.read(
            arrays, found.prefix, found.head, batch_first=batch_first, dtype=dtype
        )
        kinds = {array.dtype.name for array in arrays.values()}
        return noted(torch_names.note_others(model, found.others), kinds)


def read(
    path: str | os.PathLike[str], *, batch_first: bool = False, dtype: DTypeLike | None = None
) -> Sequential:
    """Read a file as `load` does, always as a Sequential."""
    lstm = load(path, batch_first=batch_first, dtype=dtype)
    return Sequential([lstm], batch_first=batch_first, notes=lstm.notes)


def save(lstm: LSTM, path: str | os.PathLike[str], *, torch_names: bool = False) -> None:
    """Write a model's parameters; options that names and shapes do not give are not kept.

    Parameters
    ----------
    lstm : LSTM
    path : path
    torch_names : bool
        Write each bias as PyTorch's pair, the second zero.

    Raises
    ------
    TypeError
        If it is not an LSTM.
    ValueError
        For a cell that names and shapes do not give, and for the reverse direction's readout.
    """
    if not isinstance(lstm, LSTM):
        raise TypeError(f"an .npz file holds an LSTM, not a {type(lstm).__name__}")
    require_plain(
        lstm, "NumPy's .npz", "bidirectional", "direction", "proj_size", "learn_state",
        "cell.peephole",
    )  # fmt: skip
    with open(path, "wb") as file:  # savez would add a suffix to a path
        arrays: dict[str, Any] = lstm.state_dict(torch_names=torch_names)
        np.savez(file, **arrays)


def _entries(archive: zipfile.ZipFile, budget: Budget) -> dict[str, zipfile.ZipInfo]:
    """Return the arrays by name."""
    infos = archive.infolist()
    budget.count(len(infos), "the number of its arrays")
    entries: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        name = info.filename.removesuffix(_SUFFIX)
        if name in entries:
            raise ValueError(f"{name} stands in it twice")
        if info.filename.endswith(_SUFFIX):
            entries[name] = info
    return entries


def _header(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> tuple[Any, ...]:
    """Return an array's shape, whether it is in Fortran's order, its dtype and its place."""
    try:
        with archive.open(entry) as opened:
            file = cast(BinaryIO, opened)
            version = np.lib.format.read_magic(file)
            if version not in ((1, 0), (2, 0)):
                raise ValueError(f"its format is {version}")
            first = version == (1, 0)
            read = (
                np.lib.format.read_array_header_1_0
                if first
                else np.lib.format.read_array_header_2_0
            )
            shape, fortran, dtype = read(file)
            return shape, fortran, dtype, file.tell()
    except ValueError as error:
        raise ValueError(f"{entry.filename} is no array of NumPy's: {error}") from None
    except Exception as error:  # zipfile and zlib raise various types for malformed files
        raise ValueError(f"{entry.filename} cannot be read: {error}") from None


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, budget: Budget) -> Array:
    """Return an array, which must be of the size that its header says."""
    shape, fortran, dtype, begin = _header(archive, entry)
    if dtype.kind != "f":
        raise ValueError(f"{entry.filename} has dtype {dtype}, expected floating-point numbers")
    size = math.prod(shape) * dtype.itemsize
    if size + begin != entry.file_size:
        raise ValueError(
            f"{entry.filename} has shape {shape} of {dtype}, but {entry.file_size - begin} bytes"
        )
    budget.take(2 * size, entry.filename)
    try:
        with archive.open(entry) as file:
            data = file.read(begin + size)[begin:]
    except Exception as error:
        raise ValueError(f"{entry.filename} cannot be read: {error}") from None
    if len(data) != size:
        raise ValueError(f"{entry.filename} ends early")
    array = np.frombuffer(data, dtype)
    return array.reshape(shape, order="F" if fortran else "C")
