"""The zip archive of `torch.save` and `torch.jit.save`: pickle, code, and numbers in NumPy."""

import math
import zipfile
from dataclasses import replace
from types import TracebackType
from typing import Any, BinaryIO, Literal, Self

import numpy as np

from ...layout import Array
from ..budget import Budget
from ..half import widened
from .pickles import Object, Symbol, Tensor, interpret

OLD = (
    "it is not a file of torch.save in the format of PyTorch 1.6 and later: with PyTorch, "
    "torch.save(torch.load(path, weights_only=True), path) writes it anew"
)
_BFLOAT16 = "bfloat16"
_FLOATS = {
    "torch.FloatStorage": "f4",
    "torch.DoubleStorage": "f8",
    "torch.HalfStorage": "f2",
    "torch.BFloat16Storage": _BFLOAT16,
}
_INTEGERS = {"torch.LongStorage": "i8", "torch.IntStorage": "i4"}


class Archive:
    """A file of `torch.save` or `torch.jit.save` that is open for reading.

    Parameters
    ----------
    file : binary file
        In the format of PyTorch 1.6 and later.
    budget : Budget

    Attributes
    ----------
    is_script : bool
        Whether it is TorchScript.
    kinds : set of str
        The types of the numbers that `array` has read.

    Raises
    ------
    ValueError
        If it is another file.
    """

    def __init__(self, file: BinaryIO, budget: Budget) -> None:
        self._budget = budget
        try:
            self._zip = zipfile.ZipFile(file)
            entries = self._zip.infolist()
        except Exception:  # BadZipFile, and others for malformed files
            raise ValueError(OLD) from None
        self.kinds: set[str] = set()
        self._entries = {entry.filename: entry for entry in entries}
        if len(self._entries) < len(entries):
            raise ValueError("two entries of the archive have the same name")
        ends = [name for name in self._entries if name.endswith("/data.pkl")]
        if len(ends) != 1:
            raise ValueError(f"it has {len(ends)} entries data.pkl, a file of torch.save has one")
        self._root = ends[0].removesuffix("data.pkl")
        self.is_script = f"{self._root}constants.pkl" in self._entries
        self._check_entries()
        self._storages: dict[str, bytes] = {}
        self._order: Literal["<", ">"] = "<"
        if f"{self._root}byteorder" in self._entries:
            self._order = ">" if self._read("byteorder") == b"big" else "<"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None
    ) -> None:
        self._zip.close()

    def content(self) -> Any:
        """Return what was saved; its tensors are read one by one, by `array`."""
        return interpret(self._read("data.pkl"), self._budget)

    def constants(self) -> tuple[Any, ...]:
        """Return the constants of TorchScript's code."""
        values = interpret(self._read("constants.pkl"), self._budget)
        if not isinstance(values, tuple):
            raise ValueError("its constants are no tuple")
        return tuple(
            replace(value, folder="constants") if isinstance(value, Tensor) else value
            for value in values
        )

    def code(self, name: str) -> str:
        """Return the text of an entry of TorchScript's code, such as ``__torch__.py``."""
        return self._read(f"code/{name}").decode("utf-8", "replace")

    def kind_of(self, tensor: Tensor) -> str:
        """Return the type of a tensor's numbers, by NumPy's name or as bfloat16."""
        kind, _ = _storage(tensor.storage)
        known = _FLOATS | _INTEGERS if tensor.shape == () else _FLOATS  # 2 in y * 2, traced
        if kind not in known:
            raise ValueError(f"it has numbers of {kind}, expected one of {', '.join(_FLOATS)}")
        name = known[kind]
        return name if name == _BFLOAT16 else np.dtype(name).name

    def array(self, tensor: Tensor) -> Array:
        """Return a copy of a tensor's numbers; bfloat16 becomes float32."""
        kind, (_, key) = self.kind_of(tensor), _storage(tensor.storage)
        self.kinds.add(kind)
        words = np.dtype(np.uint16 if kind == _BFLOAT16 else kind)
        dtype = words.newbyteorder(self._order)
        place = f"{tensor.folder}/{key}"
        if place not in self._storages:
            self._storages[place] = self._read(place)
        data = self._storages[place]
        room = len(data) // dtype.itemsize
        _check_place(tensor, room)
        self._budget.take(math.prod(tensor.shape) * 8, "its tensors")
        numbers = np.frombuffer(data, dtype, room)[tensor.offset :]
        strides = [stride * dtype.itemsize for stride in tensor.strides]
        view = np.lib.stride_tricks.as_strided(numbers, tensor.shape, strides)
        if kind != _BFLOAT16:
            return view.astype(dtype.newbyteorder("="))
        return widened(view)

    def _check_entries(self) -> None:
        code = f"{self._root}code/"
        for name, entry in self._entries.items():
            if self.is_script and name.startswith(code):
                if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise ValueError(f"{name!r} is compressed by a method of its own")
            elif (
                entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size
            ):
                raise ValueError(f"{name!r} is compressed, which torch.save never does")

    def _read(self, name: str) -> bytes:
        entry = self._entries.get(f"{self._root}{name}")
        if entry is None:
            raise ValueError(f"the archive has no {name!r}")
        self._budget.take(entry.file_size, "its entries")
        try:
            with self._zip.open(entry) as file:
                return file.read(entry.file_size)  # what is deflated may hold much more
        except Exception as error:  # zipfile raises various types for malformed files
            raise ValueError(f"the archive's {name!r} cannot be read: {error}") from None


def _storage(value: Any) -> tuple[str, str]:
    """Return the type of a storage and its key in the archive."""
    parts = value.arguments if isinstance(value, Object) and value.maker == "storage" else ()
    if not isinstance(parts, tuple) or len(parts) < 3 or parts[0] != "storage":
        raise ValueError("it is not in a storage of the archive")
    if not isinstance(parts[1], Symbol) or not isinstance(parts[2], str):
        raise ValueError("its storage has no type or no key")
    return parts[1].name, parts[2]


def _check_place(tensor: Tensor, room: int) -> None:
    """Raise unless all elements of a tensor lie in its storage, of `room` elements."""
    shape, strides = tensor.shape, tensor.strides
    if not isinstance(shape, tuple) or not isinstance(strides, tuple):
        raise ValueError("its shape or its strides are no tuple")
    numbers = (tensor.offset, *shape, *strides)
    if len(shape) != len(strides):
        raise ValueError(f"it has {len(shape)} axes and {len(strides)} strides")
    if any(type(n) is not int or not 0 <= n < 1 << 62 for n in numbers):
        raise ValueError("its shape, strides and offset are not integers from 0 to 2**62")
    if len(shape) > 8:
        raise ValueError(f"it has {len(shape)} axes, expected one or two")
    if 0 in shape:
        return
    last = sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if tensor.offset + last >= room:
        raise ValueError(f"it has shape {shape}, which is more than the {room} numbers stored")
