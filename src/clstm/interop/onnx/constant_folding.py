"""Constant folding: the operators that lead from initializers to an LSTM's weights, in NumPy."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...layout import Array

Inputs = Sequence[Array | None]
Attributes = dict[str, Any]
Reserve = Callable[[int], None]
"""A function that is called with a number of bytes before they are allocated."""

MAX_AXES = 64
"""NumPy's limit of axes, and that of lists of axes and sizes."""
CASTS = {1: np.float32, 6: np.int32, 7: np.int64, 10: np.float16, 11: np.float64}
"""NumPy's types by the numbers of ONNX's element types."""


def _argument(inputs: Inputs, index: int) -> Array | None:
    return inputs[index] if index < len(inputs) else None


def _data(inputs: Inputs) -> Array:
    if (data := _argument(inputs, 0)) is None:
        raise ValueError("it has no input")
    return data


def _numbers(inputs: Inputs, index: int, given: Attributes, name: str) -> list[int] | None:
    """Return integers from an input (later versions of an operator) or an attribute (earlier)."""
    array = _argument(inputs, index)
    if array is None:
        return given.get(name)
    if array.ndim > 1 or array.dtype.kind != "i" or array.size > MAX_AXES:
        raise ValueError(f"{name} must be a list of integers, at most {MAX_AXES}")
    return [int(n) for n in array.reshape(-1)]


def _axes(axes: Sequence[int], rank: int) -> tuple[int, ...]:
    if any(not -rank <= axis < rank for axis in axes):
        raise ValueError(f"axes are {list(axes)}, there are {rank}")
    positive = tuple(axis % rank for axis in axes)
    if len(set(positive)) < len(positive):
        raise ValueError(f"axes are {list(axes)}, with a duplicate")
    return positive


def _identity(inputs: Inputs, given: Attributes, reserve: Reserve) -> Array:
    return _data(inputs)


def _cast(inputs: Inputs, given: Attributes, reserve: Reserve) -> Array:
    data = _data(inputs)
    if given["to"] not in CASTS:
        raise ValueError(f"to={given['to']} is a type that is not supported")
    dtype = np.dtype(CASTS[given["to"]])
    reserve(data.size * dtype.itemsize)
    with np.errstate(all="ignore"):
        return data.astype(dtype)


def _concat(inputs: Inputs, given: Attributes, reserve: Reserve) -> Array:
    arrays = [_data([array]) for array in inputs]
    if len({array.dtype for array in arrays}) > 1:
        raise ValueError("its inputs have different types")
    reserve(sum(array.nbytes for array in arrays))
    return np.concatenate(arrays, given["axis"])


def _slice(inputs: Inputs, given: Attributes, reserve: Reserve) -> Array:
    data = _data(inputs)
    parts = [_numbers(inputs, 1 + k, given, n) for k, n in enumerate(("starts", "ends", "axes"))]
    starts, ends, axes = parts
    if starts is None or ends is None:
        raise ValueError("it has no starts or no ends")
    steps = _numbers(inputs, 4, given, "steps")
    where = _axes(range(len(starts)) if axes is None else axes, data.ndim)
    cuts = [slice(None)] * data.ndim
    steps = [1] * len(starts) if steps is None else steps
    for axis, start, end, step in zip(where, starts, ends, steps, strict=True):
        # A start before the array: with a negative step ONNX takes the first element, NumPy none.
        begin = max(start, -data.shape[axis]) if step < 0 else start
        cuts[axis] = slice(begin, end, step)
    return data[tuple(cuts)]


def _unsqueeze(inputs: Inputs, given: Attributes, reserve: Reserve) -> Array:
    data = _data(inputs)
    axes = _numbers(inputs, 1, given, "axes")
    if axes is None:
        raise ValueError("it has no axes")
    return np.expand_dims(data, _axes(axes, data.ndim + len(axes)))


def _squeeze(inputs: Inputs, given: Attributes, reserve: Reserve) -> Array:
    data = _data(inputs)
    axes = _numbers(inputs, 1, given, "axes")
    return np.squeeze(data, None if axes is None else _axes(axes, data.ndim))


def _transpose(inputs: Inputs, given: Attributes, reserve: Reserve) -> Array:
    return np.transpose(_data(inputs), given.get("perm"))


def _reshape(inputs: Inputs, given: Attributes, reserve: Reserve) -> Array:
    data = _data(inputs)
    shape = _numbers(inputs, 1, given, "shape")
    if shape is None:
        raise ValueError("it has no shape")
    if not given.get("allowzero"):
        shape = [size or data.shape[axis] for axis, size in enumerate(shape)]
    if min(shape, default=0) < -1:
        raise ValueError(f"shape is {shape}")
    reserve(data.nbytes)
    return data.reshape(shape)


OPERATORS: dict[str, tuple[Callable[[Inputs, Attributes, Reserve], Array], dict[str, str]]] = {
    "Identity": (_identity, {}),
    "Cast": (_cast, {"to": "INT", "saturate": "INT"}),  # saturate only concerns 8-bit types
    "Concat": (_concat, {"axis": "INT"}),
    "Slice": (_slice, {"axes": "INTS", "starts": "INTS", "ends": "INTS"}),
    "Unsqueeze": (_unsqueeze, {"axes": "INTS"}),
    "Squeeze": (_squeeze, {"axes": "INTS"}),
    "Transpose": (_transpose, {"perm": "INTS"}),
    "Reshape": (_reshape, {"shape": "INTS", "allowzero": "INT"}),
}
"""Each operator, with its attributes and their types."""
