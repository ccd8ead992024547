"""Tensors in a file beside an ONNX model: checked against that file before they are read."""

import math
import os
import stat
from typing import Any

import numpy as np

from ...layout import Array
from ..budget import Budget

ELEMENTS = {
    **{"FLOAT": "<f4", "DOUBLE": "<f8", "FLOAT16": "<f2", "BFLOAT16": "<u2"},
    **{"INT32": "<i4", "INT64": "<i8", "INT8": "i1", "UINT8": "u1", "BOOL": "?"},
}
"""The element types that are read, by ONNX's names, as they lie in a file."""


class ExternalData:
    """The files beside a model.

    Parameters
    ----------
    folder : str, optional
        The model's folder, in which they lie; without it none is read.
    budget : Budget
        Extended by what is read for the first time: data that many tensors share counts once.
    """

    def __init__(self, folder: str | None, budget: Budget) -> None:
        self._folder = folder
        self._budget = budget
        self._unread: dict[str, int] = {}
        """The bytes of each file that have not extended the budget."""

    def read(self, tensor: Any, element: str, name: str) -> Array:
        """Return a tensor whose data lie in another file."""
        if self._folder is None:
            raise ValueError(f"{name!r} is in an external file: read the model by its path")
        try:
            array = self._read(self._folder, tensor, np.dtype(ELEMENTS[element]))
        except (OSError, ValueError) as error:
            raise ValueError(f"{name!r}, external data: {error}") from None
        if element != "BFLOAT16":
            return array
        self._budget.take(6 * array.size, "its external data")
        return (array.astype(np.uint32) << 16).view(np.float32)

    def _read(self, folder: str, tensor: Any, dtype: np.dtype[Any]) -> Array:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        shape = tuple(tensor.dims)
        length = math.prod(shape) * dtype.itemsize
        offset = _number(entries, "offset", 0)
        if (given := _number(entries, "length", length)) != length:
            raise ValueError(f"length is {given}, its shape {shape} takes {length} bytes")
        path, size = _regular_file(folder, entries.get("location", ""))
        if offset + length > size:
            raise ValueError(
                f"it is bytes {offset} to {offset + length} of {path}, which has {size}"
            )
        new = min(length, self._unread.setdefault(path, size))
        self._unread[path] -= new
        self._budget.extend(new)
        self._budget.take(length, "its external data")
        with open(path, "rb") as file:
            file.seek(offset)
            data = file.read(length)
        array: Array = np.frombuffer(data, dtype).reshape(shape)
        return array.astype(dtype.newbyteorder("="), copy=False)


def _number(entries: dict[str, str], name: str, default: int) -> int:
    text = entries.get(name, "")
    if text and not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise ValueError(f"{name} is {text!r:.40}, expected a number of bytes")
    return int(text) if text else default


def _regular_file(folder: str, location: str) -> tuple[str, int]:
    """Return the path and the size of a file in a folder; a link may not lead out of it."""
    if not location or "\0" in location or os.path.isabs(location):
        raise ValueError(f"location is {location!r:.80}, expected the name of a file in {folder}")
    home = os.path.realpath(folder)
    path = os.path.realpath(os.path.join(home, location))
    if os.path.commonpath([home, path]) != home:
        raise ValueError(f"{location!r:.80} is not in the folder of the model, {folder}")
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{location!r:.80} is not a regular file")
    return path, status.st_size
