"""Layouts of the user's and the core's arrays: (T, B, .) for sequences, (L D, B, .) for states.

Axes are inserted, dropped and swapped in views. Shapes are checked, with messages in the user's
order of axes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]
State = tuple[Array, Array]
Initial = tuple[Array | None, Array | None]


class SupportsArray(Protocol):
    """An array, or an object with ``__array__``; not a list."""

    def __array__(self) -> Array: ...


@dataclass(frozen=True, slots=True)
class Layout:
    """Layout of a call: (T, B, .), (B, T, .) if `batch_first`, or (T, .) if not `batched`.

    Padded rows have `lengths` (B,), of dtype uintp.
    """

    batched: bool
    batch_first: bool
    lengths: Array | None = None

    ragged: ClassVar[bool] = False

    def axes(self, *last: int | str) -> str:
        """Return the expected shape of a sequence, for messages."""
        first = ("B, T, " if self.batch_first else "T, B, ") if self.batched else "T, "
        return f"({first}{', '.join(map(str, last))})"

    def to_core(self, sequence: Array) -> Array:
        """Return a view of a user's sequence as (T, B, ...)."""
        if not self.batched:
            return sequence[:, np.newaxis]
        return sequence.swapaxes(0, 1) if self.batch_first else sequence

    def from_core(self, sequence: Array) -> Array:
        """Return a view of a (T, B, ...) array as the user's sequence."""
        if not self.batched:
            return sequence[:, 0]
        return sequence.swapaxes(0, 1) if self.batch_first else sequence

    def layers_to_core(self, layers: Array) -> Array:
        """Return a view of the sequences of several layers (first axis) as (., T, B, ...)."""
        if not self.batched:
            return layers[:, :, np.newaxis]
        return layers.swapaxes(1, 2) if self.batch_first else layers

    def layers_from_core(self, layers: Array) -> Array:
        """Return a view of (., T, B, ...) as the user's sequences of several layers."""
        if not self.batched:
            return layers[:, :, 0]
        return layers.swapaxes(1, 2) if self.batch_first else layers

    def state_to_core(self, state: Array) -> Array:
        """Return a view of a user's h or c as (L D, B, .)."""
        return state if self.batched else state[:, np.newaxis]

    def state_from_core(self, state: Array) -> Array:
        """Return a view of an (L D, B, .) array as the user's h or c."""
        return state if self.batched else state[:, 0]

    def put_last(self, sequence: Array, values: Array) -> None:
        """Write values (B, O) to the last step of each non-empty row of a (T, B, O) array."""
        if self.lengths is None:
            sequence[-1] = values
        else:
            rows = np.flatnonzero(self.lengths)
            sequence[self.lengths[rows] - 1, rows] = values[rows]


@cache
def layout_of(axes: int, batch_first: bool) -> Layout:
    """Return the layout of a sequence with two or three axes."""
    return Layout(batched=axes == 3, batch_first=batch_first)


# A user's object may run code when it is converted, and that code may change other arguments. So an
# entry point first converts all its arguments, by `as_array` and its like, and then checks them.


def as_array(value: object, name: str) -> Array:
    """Convert `value` to an array of real numbers, of ndarray itself and not a subclass."""
    if not isinstance(value, np.ndarray) and not hasattr(value, "__array__"):
        raise TypeError(f"{name} must be a NumPy array, got {type(value).__name__}")
    array = as_plain(value, name)
    if array.dtype.kind not in "fiub":
        hint = _hint_for_objects(array, name) if array.dtype == object else ""
        raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}{hint}")
    return array


def as_plain(value: Any, name: str) -> Array:
    """Convert a user's value as `np.asarray` does, but refuse a mask, which that would drop."""
    refuse_mask(value, name)
    array = np.asanyarray(value)  # what an object's __array__ returns may have a mask, too
    refuse_mask(array, name)
    return np.asarray(array)


def refuse_mask(value: object, name: str) -> None:
    """Raise TypeError for a masked array, or a list that holds one."""
    if _has_mask(value):
        raise TypeError(
            f"{name} must be an array without a mask, got a masked array, whose masked elements "
            "have no value: pass its filled(value); lengths= leaves out padding, weight= of a loss "
            "leaves out rows"
        )


def _has_mask(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return any(map(_has_mask, value))
    # The type first: numpy.ma is imported when it is first used.
    is_subclass = isinstance(value, np.ndarray) and type(value) is not np.ndarray
    return is_subclass and isinstance(value, np.ma.MaskedArray)


def _hint_for_objects(array: Array, name: str) -> str:
    """Return what to write instead of an array of objects, for messages."""
    if array.ndim == 1 and any(isinstance(part, np.ndarray) for part in array):
        return f": list({name}) makes its arrays a list of sequences"
    return f": {name}.astype(float) converts objects that are numbers"


def as_pair(value: object, name: str) -> tuple[Array, Array] | None:
    """Convert a user's (h, c), or None, to arrays for `read_state`."""
    if value is None:
        return None
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(f"{name} must be a pair (h, c) of arrays, got {type(value).__name__}")
    h, c = value
    return as_array(h, f"{name}'s h"), as_array(c, f"{name}'s c")


def as_real(value: object, name: str, dtype: DTypeLike) -> Array:
    """Return `value` as an array of `dtype`, copied only if necessary."""
    return cast(as_array(value, name), dtype)


def cast(array: Array, dtype: DTypeLike) -> Array:
    """Return an array of `dtype`, copied only if necessary, whatever the caller's `np.errstate`.

    Values that are too large become inf, those that are too small 0.
    """
    if array.dtype == dtype:
        return array
    with np.errstate(all="ignore"):
        return array.astype(dtype)


def check_out(
    out: object,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    inputs: Mapping[str, Iterable[Array]],
) -> None:
    """Raise unless `out` is exactly the result's array and shares no memory with an input."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be a NumPy array, got {type(out).__name__}")
    refuse_mask(out, "out")
    if out.shape != shape:
        raise ValueError(f"out has shape {out.shape}, expected {shape}")
    if out.dtype != dtype or not out.dtype.isnative:
        raise ValueError(f"out has dtype {out.dtype}, expected {dtype}")
    if not (out.flags.c_contiguous and out.flags.aligned and out.flags.writeable):
        raise ValueError("out must be C-contiguous, aligned and writeable")
    for name, arrays in inputs.items():
        if any(np.may_share_memory(out, array) for array in arrays):
            raise ValueError(f"out shares memory with {name}")


def read_sequence(
    value: object, name: str, features: int, meaning: str, dtype: DTypeLike, batch_first: bool
) -> tuple[Array, Layout]:
    """Check a user's sequence; return it as an array of `dtype`, and its layout."""
    array = as_real(value, name, dtype)
    if array.ndim not in (2, 3):
        batched = layout_of(3, batch_first).axes(meaning)
        raise ValueError(
            f"{name} has shape {array.shape}, expected {batched}, or (T, {meaning}) without a batch"
        )
    if array.shape[-1] != features:
        raise ValueError(f"{name} has {array.shape[-1]} features, expected {meaning}={features}")
    return array, layout_of(array.ndim, batch_first)


def read_state(
    value: tuple[Array, Array] | None,
    name: str,
    sizes: tuple[int, int, int, int],
    dtype: DTypeLike,
    batched: bool,
) -> Initial:
    """Check the result of `as_pair`; return (L D, B, R), (L D, B, H), for `sizes` (L D, B, R, H).

    None gives (None, None).
    """
    if value is None:
        return None, None
    parts = []
    for part, label, size in zip(value, "hc", sizes[2:], strict=True):
        array = cast(part, dtype)
        expected = (*sizes[:2], size) if batched else (sizes[0], size)
        if array.shape != expected:
            raise ValueError(f"{name}'s {label} has shape {array.shape}, expected {expected}")
        parts.append(array if batched else array[:, np.newaxis])
    return parts[0], parts[1]
