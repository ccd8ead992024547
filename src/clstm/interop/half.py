"""Numbers of half precision in files: bfloat16, which NumPy lacks, and a note of either kind."""

import json
import os
from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np

from ..layout import Array
from .budget import Budget
from .json_files import count_json

_Model = TypeVar("_Model", bound=Any)


def widened(words: Array) -> Array:
    """Return bfloat16 numbers, given as 16-bit unsigned integers, as float32 without rounding."""
    wide: Array = np.left_shift(words, 16, dtype=np.uint32).view(np.float32)
    return wide


def noted(model: _Model, kinds: Iterable[str]) -> _Model:
    """Write into a model's notes that a file's numbers have half precision, if some have."""
    if halves := sorted({"float16", "bfloat16"} & set(kinds)):
        model.notes["stored_as"] = " and ".join(halves)
    return model


class Tensors:
    """The tensors of an open safetensors file; the package reads all types but bfloat16.

    Parameters
    ----------
    file : safe_open of safetensors
        Of NumPy's arrays.
    path : path
        Of the same file.
    """

    def __init__(self, file: Any, path: str | os.PathLike[str]) -> None:
        self._file = file
        self._path = path
        self._header: tuple[int, dict[str, Any]] | None = None

    def read(self, names: Iterable[str]) -> tuple[dict[str, Array], set[str]]:
        """Return tensors by name, and the types of their numbers, as NumPy and PyTorch name them.

        Raises ValueError if the numbers of one are of a type that NumPy lacks.
        """
        arrays, kinds = {}, set()
        for name in names:
            kind = self._file.get_slice(name).get_dtype()
            try:
                bfloat16 = kind == "BF16"
                arrays[name] = self._bfloat16(name) if bfloat16 else self._file.get_tensor(name)
            except TypeError:
                raise ValueError(f"{name} has dtype {kind}, which NumPy does not have") from None
            kinds.add("bfloat16" if bfloat16 else arrays[name].dtype.name)
        return arrays, kinds

    def _bfloat16(self, name: str) -> Array:
        """Read a tensor by its place in the header, which the package has checked."""
        with open(self._path, "rb") as file:
            if self._header is None:
                size = int.from_bytes(file.read(8), "little")
                text = file.read(size)
                count_json(text, Budget.of(self._path))
                self._header = (8 + size, json.loads(text))
            start, header = self._header
            begin, end = header[name]["data_offsets"]
            file.seek(start + begin)
            words = np.frombuffer(file.read(end - begin), "<u2")
        return widened(words.reshape(header[name]["shape"]))
