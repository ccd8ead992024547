"""NumPy's arrays in a pickle: read from the bytes and fields of their states, nothing is called."""

import math
from typing import Any, Literal

import numpy as np

from ...layout import Array
from ..budget import Budget
from .pickles import Object

_MAKERS = ("numpy._core.multiarray._reconstruct", "numpy.core.multiarray._reconstruct")
_FLOATS = ("f2", "f4", "f8")
_ORDERS = ("<", ">", "=", "|")


def is_array(value: Any) -> bool:
    """Tell whether an object of a file is an array of NumPy, of any type."""
    known = isinstance(value, Object) and value.maker in _MAKERS
    return known and isinstance(value.state, tuple) and len(value.state) == 5


def shape_of(value: Object) -> Any:
    """Return the shape as the file claims it."""
    return value.state[1]


def numbers_of(value: Object, budget: Budget) -> Array:
    """Return the numbers; ValueError if they are of another type, or not as many as claimed."""
    _, shape, kind, is_fortran, data = value.state
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
    if isinstance(data, Object) and data.maker == "_codecs.encode":
        text = data.arguments[0] if data.arguments else None
        if isinstance(text, str):
            budget.take(len(text), "its arrays")
            try:
                return text.encode("latin-1")
            except UnicodeEncodeError:
                pass
    if not isinstance(data, bytes):
        raise ValueError("its numbers are no bytes")
    return data
