"""Rows of different lengths: a padded batch with lengths, or a list of sequences."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from . import _core
from .layout import Array, as_array, as_plain, cast


def as_lengths(value: Any) -> Array:
    """Convert a user's lengths to an array for `read_lengths`."""
    if isinstance(value, (list, tuple)) and not value:
        return np.empty(0, np.intp)
    return as_plain(value, "lengths")


def read_lengths(value: Array, steps: int, batch: int) -> Array:
    """Check the result of `as_lengths`; return a copy (B,) of dtype uintp.

    The copy is needed because another thread may change the user's array during the call.
    """
    copied = _core.copy_lengths(value, batch, steps)
    return _convert_lengths(value, steps, batch) if copied is None else copied


def _convert_lengths(array: Array, steps: int, batch: int) -> Array:
    """Convert lengths of other types; raise for invalid ones, naming the first."""
    if array.dtype.kind not in "iu":
        raise TypeError(f"lengths must hold integers, got dtype {array.dtype}")
    if array.shape != (batch,):
        raise ValueError(f"lengths has shape {array.shape}, expected (B,) = {(batch,)}")
    own = array.astype(np.uintp)
    wrong = np.flatnonzero(own > steps)  # a negative length wraps to a huge one
    if wrong.size:
        first = int(wrong[0])
        raise ValueError(f"lengths[{first}] is {array[first]}, expected 0 to T={steps}")
    return own


@dataclass(frozen=True, slots=True)
class Ragged:
    """Layout of a list of sequences (T_i, .), which the core has concatenated as (sum T_i, .).

    It has the methods of `layout.Layout` except `to_core`; `pack` concatenates instead.
    """

    lengths: Array

    batched: ClassVar[bool] = True
    ragged: ClassVar[bool] = True

    def from_core(self, sequence: Array) -> list[Array]:
        """Return views of the concatenated sequences."""
        stops = np.cumsum(self.lengths, dtype=np.intp).tolist()
        return [sequence[a:b] for a, b in zip([0, *stops], stops, strict=False)]

    def layers_to_core(self, layers: Array) -> Array:
        """Return the sequences of several layers (first axis) unchanged: (., sum T_i, ...)."""
        return layers

    layers_from_core = layers_to_core

    def state_to_core(self, state: Array) -> Array:
        """Return h or c (L D, B, .) unchanged."""
        return state

    state_from_core = state_to_core

    def put_last(self, sequence: Array, values: Array) -> None:
        """Write values (B, O) to the last step of each non-empty row."""
        rows = np.flatnonzero(self.lengths)
        stops = np.cumsum(self.lengths, dtype=np.intp)
        sequence[stops[rows] - 1] = values[rows]


def as_arrays(values: list[Any], name: str) -> list[Array]:
    """Convert a user's list of sequences to arrays for `read_list`."""
    arrays = []
    for k, value in enumerate(tuple(values)):
        if isinstance(value, (list, float, int)):
            raise TypeError(
                f"{name} must be a NumPy array or a list of NumPy arrays, one per sequence; "
                f"{name}[{k}] is {type(value).__name__}"
            )
        arrays.append(as_array(value, f"{name}[{k}]"))
    return arrays


def read_list(
    values: list[Array], name: str, features: int, meaning: str, dtype: DTypeLike
) -> list[Array]:
    """Check the result of `as_arrays`; return arrays of `dtype`."""
    for k, array in enumerate(values):
        if array.ndim != 2:
            raise ValueError(f"{name}[{k}] has shape {array.shape}, expected (T, {meaning})")
        if array.shape[1] != features:
            raise ValueError(
                f"{name}[{k}] has {array.shape[1]} features, expected {meaning}={features}"
            )
    return [cast(array, dtype) for array in values]


def pack(arrays: Sequence[Array], features: int, dtype: DTypeLike) -> Array:
    """Concatenate sequences (T_i, .) to (sum T_i, .); an empty list gives (0, features)."""
    return np.concatenate([np.empty((0, features), dtype), *arrays])
