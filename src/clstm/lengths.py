"""Rows of their own lengths: padded, with the lengths beside them, or as a list of sequences."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from . import _core
from .layout import Array, as_real


def read_lengths(value: Any, steps: int, batch: int) -> Array:
    """Check a user's lengths of a batch of rows and return a copy, (B,) of type uintp.

    A copy, as the user's array may change while the core reads it.
    """
    copied = _core.copy_lengths(value, batch, steps)
    return _convert_lengths(value, steps, batch) if copied is None else copied


def _convert_lengths(value: Any, steps: int, batch: int) -> Array:
    """Return lengths of another kind in the same way, or say what is wrong with them."""
    array = np.asarray(value)
    if array.dtype.kind not in "iu" and not (isinstance(value, (list, tuple)) and not value):
        raise TypeError(f"lengths must hold integers, got dtype {array.dtype}")
    if array.shape != (batch,):
        raise ValueError(f"lengths has shape {array.shape}, expected B of them, {(batch,)}")
    own = array.astype(np.uintp)
    wrong = np.flatnonzero(own > steps)  # a negative one has become a huge one
    if wrong.size:
        first = int(wrong[0])
        raise ValueError(f"lengths[{first}] is {array[first]}, expected 0 to T={steps}")
    return own


@dataclass(frozen=True, slots=True)
class Ragged:
    """The layout of a list of sequences (T_i, .): in the core one after the other, (sum T_i, .).

    It has what `layout.Layout` has but `to_core`: `pack` copies.
    """

    lengths: Array

    batched: ClassVar[bool] = True
    ragged: ClassVar[bool] = True

    def from_core(self, sequence: Array) -> list[Array]:
        """Return views of the sequences that stand one after the other."""
        stops = np.cumsum(self.lengths, dtype=np.intp).tolist()
        return [sequence[a:b] for a, b in zip([0, *stops], stops, strict=False)]

    def layers_to_core(self, layers: Array) -> Array:
        """Return sequences of several layers, the first axis, as they are: (., sum T_i, ...)."""
        return layers

    layers_from_core = layers_to_core

    def state_to_core(self, state: Array) -> Array:
        """Return h or c, (L D, B, .), as it is."""
        return state

    state_from_core = state_to_core

    def put_last(self, sequence: Array, values: Array) -> None:
        """Write (B, O) values to each row's own last step, if it has one."""
        rows = np.flatnonzero(self.lengths)
        stops = np.cumsum(self.lengths, dtype=np.intp)
        sequence[stops[rows] - 1] = values[rows]


def read_list(
    values: list[Any], name: str, features: int, meaning: str, dtype: DTypeLike
) -> list[Array]:
    """Check a user's list of sequences and return them as arrays of `dtype`."""
    arrays = []
    for k, value in enumerate(values):
        if isinstance(value, (list, float, int)):
            raise TypeError(
                f"{name} must be a NumPy array, got list; a list must hold a NumPy array for each "
                f"sequence, {name}[{k}] is {type(value).__name__}"
            )
        array = as_real(value, f"{name}[{k}]", dtype)
        if array.ndim != 2:
            raise ValueError(f"{name}[{k}] has shape {array.shape}, expected (T, {meaning})")
        if array.shape[1] != features:
            raise ValueError(
                f"{name}[{k}] has {array.shape[1]} features, the layer takes {meaning}={features}"
            )
        arrays.append(array)
    return arrays


def pack(arrays: Sequence[Array], features: int, dtype: DTypeLike) -> Array:
    """Return sequences (T_i, .) one after the other, (sum T_i, .), also if there are none."""
    return np.concatenate([np.empty((0, features), dtype), *arrays])
