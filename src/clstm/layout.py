"""How a user's arrays lie, and how the core's do: (T, B, .) for sequences, (L, B, H) for states.

No arithmetic and no copies: axes are inserted, dropped and swapped, and shapes are checked, with
messages in the user's own order of axes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

Array = NDArray[Any]
State = tuple[Array, Array]


@dataclass(frozen=True, slots=True)
class Layout:
    """One call's layout: (T, B, .), (B, T, .) if `batch_first`, or (T, .) if not `batched`."""

    batched: bool
    batch_first: bool

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

    def state_to_core(self, state: Array) -> Array:
        """Return a view of a user's h or c as (L, B, H)."""
        return state if self.batched else state[:, np.newaxis]

    def state_from_core(self, state: Array) -> Array:
        """Return a view of an (L, B, H) array as the user's h or c."""
        return state if self.batched else state[:, 0]


@cache
def layout_of(axes: int, batch_first: bool) -> Layout:
    """Return the layout of a sequence of two or three axes."""
    return Layout(batched=axes == 3, batch_first=batch_first)


def as_real(value: object, name: str, dtype: DTypeLike) -> Array:
    """Return `value` as an array of `dtype`, a copy only where it must be."""
    if not isinstance(value, np.ndarray) and not hasattr(value, "__array__"):
        raise TypeError(f"{name} must be a NumPy array, got {type(value).__name__}")
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}")
    return array.astype(dtype, copy=False)


def check_out(
    out: object,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    inputs: Mapping[str, Iterable[ArrayLike]],
) -> None:
    """Raise unless `out` is exactly the result's array and shares no memory with an input."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be a NumPy array, got {type(out).__name__}")
    if out.shape != shape:
        raise ValueError(f"out has shape {out.shape}, the result has {shape}")
    if out.dtype != dtype or not out.dtype.isnative:
        raise ValueError(f"out has dtype {out.dtype}, the result has {dtype}")
    if not (out.flags.c_contiguous and out.flags.aligned and out.flags.writeable):
        raise ValueError("out must be C-contiguous, aligned and writeable")
    for name, arrays in inputs.items():
        if any(np.may_share_memory(out, np.asarray(array)) for array in arrays):
            raise ValueError(f"out shares memory with {name}")


def read_sequence(
    value: object, name: str, features: int, meaning: str, dtype: DTypeLike, batch_first: bool
) -> tuple[Array, Layout]:
    """Check a user's sequence and return it as an array of `dtype`, with its layout."""
    array = as_real(value, name, dtype)
    if array.ndim not in (2, 3):
        batched = layout_of(3, batch_first).axes(meaning)
        raise ValueError(
            f"{name} has shape {array.shape}, expected {batched}, or (T, {meaning}) without a batch"
        )
    if array.shape[-1] != features:
        raise ValueError(
            f"{name} has {array.shape[-1]} features, the layer takes {meaning}={features}"
        )
    return array, layout_of(array.ndim, batch_first)


def read_state(
    value: object, name: str, sizes: tuple[int, int, int], dtype: DTypeLike, layout: Layout
) -> tuple[Array | None, Array | None]:
    """Check a user's (h, c) and return both as `sizes` = (L, B, H); None stays None."""
    if value is None:
        return None, None
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(f"{name} must be a pair (h, c) of arrays, got {type(value).__name__}")
    expected = sizes if layout.batched else (sizes[0], sizes[2])
    parts = []
    for part, label in zip(value, "hc", strict=True):
        array = as_real(part, f"{name}'s {label}", dtype)
        if array.shape != expected:
            raise ValueError(f"{name}'s {label} has shape {array.shape}, expected {expected}")
        parts.append(layout.state_to_core(array))
    return parts[0], parts[1]
