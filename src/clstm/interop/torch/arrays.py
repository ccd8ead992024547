"""NumPy's arrays in a pickle: read from the bytes and fields of their states, nothing is called."""

import math
from typing import Any, Literal

import numpy as np

from ...layout import Array
from ..budget import Budget
from .archive import OLD
from .pickles import Object, Tensor, interpret

_MAKERS = ("numpy._core.multiarray._reconstruct", "numpy.core.multiarray._reconstruct")
_BUFFERS = ("numpy._core.numeric._frombuffer", "numpy.core.numeric._frombuffer")  # protocol 5
_FLOATS = ("f2", "f4", "f8")
_ORDERS = ("<", ">", "=", "|")


def is_array(value: Any) -> bool:
    """Tell whether an object of a file is an array of NumPy, of any type."""
    return _fields(value) is not None


def _fields(value: Any) -> tuple[Any, Any, Any, Any] | None:
    """Return an array's shape, dtype, whether it is in Fortran's order, and its bytes."""
    if not isinstance(value, Object) or value.is_instance:
        return None
    if value.maker in _MAKERS and isinstance(value.state, tuple) and len(value.state) == 5:
        _, shape, dtype, is_fortran, data = value.state
        return shape, dtype, is_fortran, data
    if value.maker in _BUFFERS and len(value.arguments) == 4:
        data, dtype, shape, order = value.arguments
        return shape, dtype, order == "F", data
    return None


def shape_of(value: Object) -> Any:
    """Return the shape of an array as the file claims it."""
    fields = _fields(value)
    return () if fields is None else fields[0]


def numbers_of(value: Object, budget: Budget) -> Array:
    """Return the numbers; raise ValueError if their type or count does not fit the shape."""
    fields = _fields(value)
    assert fields is not None
    shape, kind, is_fortran, data = fields
    dtype = _dtype(kind)
    if not isinstance(shape, tuple) or any(type(n) is not int or n < 0 for n in shape):
        raise ValueError("its shape is no tuple of sizes")
    if len(shape) > 8:
        raise ValueError(f"it has {len(shape)} axes, expected one or two")
    stored = _bytes(data, budget)
    if math.prod(shape) * dtype.itemsize != len(stored):
        raise ValueError(f"it has shape {shape} and {len(stored)} bytes of {dtype.name}")
    budget.take(math.prod(shape) * 8, "its arrays")
    order: Literal["F", "C"] = "F" if is_fortran is True else "C"
    array = np.frombuffer(stored, dtype).reshape(shape, order=order)
    return np.ascontiguousarray(array, dtype.newbyteorder("="))


def _dtype(kind: Any) -> np.dtype[Any]:
    """Return the type that ``numpy.dtype("f4", False, True)`` makes."""
    arguments = kind.arguments if isinstance(kind, Object) and kind.maker == "numpy.dtype" else ()
    name = arguments[0] if isinstance(arguments, tuple) and arguments else None
    if not isinstance(name, str) or name not in _FLOATS:
        words = f"numbers of {name:.20}" if isinstance(name, str) else "values"
        raise ValueError(f"it has {words}, expected one of {', '.join(_FLOATS)}")
    state = kind.state if isinstance(kind.state, tuple) else ()
    order = state[1] if len(state) > 1 else "="
    if not isinstance(order, str) or order not in _ORDERS:
        raise ValueError("its type has no order of bytes")
    return np.dtype(name if order in "=|" else order + name)


def _bytes(data: Any, budget: Budget) -> bytes:
    """Return bytes, which older protocols hold as a text of the characters 0 to 255."""
    if isinstance(data, Object) and data.maker == "_codecs.encode" and not data.is_instance:
        text = data.arguments[0] if data.arguments else None
        if isinstance(text, str):
            budget.take(len(text), "its arrays")
            try:
                return text.encode("latin-1")
            except UnicodeEncodeError:
                pass
    if not isinstance(data, (bytes, bytearray)):
        raise ValueError("its numbers are no bytes")
    return bytes(data)


class Plain:
    """A file of `pickle.dump` that is read; in place of an `Archive`, which `torch.save` writes."""

    is_script = False

    def __init__(self, data: bytes, budget: Budget) -> None:
        self._data = data
        self._budget = budget
        self.kinds: set[str] = set()

    def content(self) -> Any:
        """Return what was pickled."""
        content = interpret(self._data, self._budget)
        if type(content) is int:
            raise ValueError(OLD)
        return content

    def array(self, tensor: Tensor) -> Array:
        """Raise ValueError: a pickle alone has no storages."""
        raise ValueError("its numbers are not in the file, which pickle.dump wrote")
