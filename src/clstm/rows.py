"""The rows of a sequence on its way through a `Sequential`, and the user's form of it.

Without lengths and masks, a sequence is an array (T, B, ...). Otherwise it is packed: the steps of
row 0, then those of row 1, and so on, (N, ...). Padding is never computed.
"""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from .layout import Array, Layout, as_array, cast, layout_of
from .lengths import Ragged, as_arrays, as_lengths, read_lengths

Where = tuple[tuple[Array, ...], Array]
"""An index of one step for each row, and whether the row has one, (B,)."""


@dataclass(frozen=True, eq=False, slots=True, kw_only=True)
class Rows:
    """Where the rows of a sequence begin and end, and which of their steps are masked.

    Attributes
    ----------
    batch : int
        Number of rows B.
    steps : int
        Number of steps T of each row, unless packed.
    lengths : ndarray of uintp, shape (B,), or None
        Number of steps of each row of a packed sequence.
    mask : ndarray of bool, shape (N,), or None
        Whether a step is computed, not skipped. Only of a packed sequence.
    zero_masked : bool
        Whether y of an LSTM is zero at masked steps, not that of the step computed before.
    reversed_from : int
        First feature of a reverse direction.
    has_steps : bool
        False after a `layers.Last`: there are only rows (B, ...).
    """

    batch: int
    steps: int = 0
    lengths: Array | None = None
    mask: Array | None = None
    zero_masked: bool = False
    reversed_from: int = 0
    has_steps: bool = True

    def masked(self, mask: Array, zero_masked: bool) -> Self:
        """Return rows with a further mask."""
        both = mask if self.mask is None else self.mask & mask
        return replace(self, mask=both, zero_masked=zero_masked or self.zero_masked)

    def without_steps(self) -> Self:
        """Return the rows alone."""
        return replace(self, has_steps=False, mask=None)

    # ---- One step of each row ----

    def last_steps(self) -> Where:
        """Return where the last step of each row is: of the computed ones, unless `zero_masked`."""
        return self._ends(True)

    def first_steps(self) -> Where:
        """Return where the first step of each row is, as `last_steps` the last one."""
        return self._ends(False)

    def _ends(self, last: bool) -> Where:
        if self.lengths is None:
            step = np.full(self.batch, self.steps - 1 if last else 0)
            return (step, np.arange(self.batch)), np.full(self.batch, self.steps > 0)
        if self.mask is None or self.zero_masked:
            stops = np.cumsum(self.lengths, dtype=np.intp)
            positions = stops - 1 if last else stops - self.lengths.astype(np.intp)
            return (positions,), self.lengths > 0
        counts, starts = self.kept()
        computed = np.append(np.flatnonzero(self.mask), 0)  # the 0 is for rows without any
        return (computed[starts + counts - 1 if last else starts],), counts > 0

    @staticmethod
    def take(x: Array, where: Where) -> Array:
        """Return the steps (B, ...) of x, zero for rows that have none."""
        index, valid = where
        y = np.zeros((len(valid), *x.shape[len(index) :]), x.dtype)
        y[valid] = x[tuple(axis[valid] for axis in index)]
        return y

    @staticmethod
    def put(x: Array, where: Where, values: Array) -> None:
        """Write `values` (B, ...) to the steps of x."""
        index, valid = where
        x[tuple(axis[valid] for axis in index)] = values[valid]

    def reverse(self, x: Array) -> Array:
        """Return x with the steps of each row in the opposite order."""
        if self.lengths is None:
            return np.ascontiguousarray(x[::-1])
        lengths = self.lengths.astype(np.intp)
        first_and_last = 2 * np.cumsum(lengths) - lengths - 1  # the sum of both positions
        y: Array = x[np.repeat(first_and_last, lengths) - np.arange(len(x))]
        return y

    # ---- Masks ----

    def kept(self) -> tuple[Array, Array]:
        """Return how many steps of each row are computed, and how many of all rows before it."""
        assert self.lengths is not None and self.mask is not None
        row = np.repeat(np.arange(self.batch), self.lengths.astype(np.intp))
        counts = np.bincount(row[self.mask], minlength=self.batch)
        return counts, np.cumsum(counts) - counts

    def sources(self, reverse: bool) -> Array:
        """Return, for each step, the computed step whose y a direction gives there, or -1."""
        assert self.lengths is not None and self.mask is not None
        counts, starts = (np.repeat(a, self.lengths.astype(np.intp)) for a in self.kept())
        at = np.cumsum(self.mask) - (self.mask if reverse else 1)
        known = (at < starts + counts) if reverse else (at >= starts)
        return np.where(known & (self.mask | (not self.zero_masked)), at, -1)


@dataclass(frozen=True, eq=False, slots=True)
class Given:
    """The user's form of a sequence: how it becomes values of `Rows`, and back."""

    layout: Layout | Ragged
    padded: Array | None = None  # (B, T), whether a step of a padded batch belongs to its row

    def to_user(self, values: Array, rows: Rows) -> Any:
        """Return values as the user gave x: (T, B, ...), a list, ...; zero after a row's end."""
        if not rows.has_steps:
            return values if self.layout.batched else values[0]
        if isinstance(self.layout, Ragged):
            return self.layout.from_core(values)
        if rows.lengths is None:
            return self.layout.from_core(values)
        shape = (rows.batch, rows.steps) if self.padded is None else self.padded.shape
        y = np.zeros((*shape, *values.shape[1:]), values.dtype)
        if self.padded is None:
            y.reshape(-1, *values.shape[1:])[...] = values
        else:
            y[self.padded] = values
        return self.layout.from_core(y.swapaxes(0, 1))

    def leading(self, rows: Rows, has_steps: bool) -> tuple[int, ...]:
        """Return the first axes of a result that is one array, as the user has it."""
        if not self.layout.batched:
            return (rows.steps,) if has_steps else ()
        if not has_steps:
            return (rows.batch,)
        assert isinstance(self.layout, Layout)
        return (rows.batch, rows.steps) if self.layout.batch_first else (rows.steps, rows.batch)

    def read(self, dy: Any, name: str, y: Any, values: Array, rows: Rows) -> Array:
        """Check an array or list like the user's y, and return what it is to the values of y.

        It may be of the last step of each row alone, (B, O) or (O,).
        """
        if isinstance(y, list) and isinstance(dy, list):
            return _read_like(dy, name, y, values)
        array = cast(as_array(dy, name), values.dtype)
        last = self._shape_of_last(values, rows)
        if array.shape == last:
            grad = np.zeros_like(values)
            where = replace(rows, mask=None).last_steps()
            rows.put(grad, where, array if self.layout.batched else array[np.newaxis])
            return grad
        if isinstance(y, list) or array.shape != y.shape:
            whole = "a list like y" if isinstance(y, list) else f"y's {y.shape}"
            hint = "" if last is None else f", or {last} for the last step alone"
            raise ValueError(f"{name} has shape {array.shape}, expected {whole}{hint}")
        if not rows.has_steps:
            return array if self.layout.batched else array[np.newaxis]
        assert isinstance(self.layout, Layout)
        core = self.layout.to_core(array)
        return core if rows.lengths is None else self.pack(core)

    def _shape_of_last(self, values: Array, rows: Rows) -> tuple[int, ...] | None:
        """Return the shape of the last step of y as the user has it, or None if there is none."""
        if not rows.has_steps or (rows.lengths is None and not rows.steps):
            return None
        width = values.shape[-1:]
        return (rows.batch, *width) if self.layout.batched else width

    def pack(self, core: Array) -> Array:
        """Return a sequence (T, B, ...) as the packed steps of its rows."""
        by_row = core.swapaxes(0, 1)
        if self.padded is None:
            return np.ascontiguousarray(by_row).reshape(-1, *core.shape[2:])
        packed: Array = by_row[self.padded]
        return packed


def read_rows(
    x: Any, lengths: Any, features: int | None, dtype: np.dtype[Any], batch_first: bool, pack: bool
) -> tuple[Array, Rows, Given]:
    """Check the user's x and lengths; return its values, their rows, and the user's form.

    `features` is the number of features of x, or None for indices, without an axis of features.
    With `pack` the values are packed in any case.
    """
    given = None if lengths is None else as_lengths(lengths)
    if isinstance(x, list):
        if given is not None:
            raise ValueError("lengths must be None if x is a list of sequences")
        return _read_list(x, features, dtype)
    array = _checked(as_array(x, "x"), "x", features, dtype)
    axes = array.ndim + (features is None)
    if axes not in (2, 3):
        raise ValueError(f"x has shape {array.shape}, expected {_shapes(features, batch_first)}")
    layout = layout_of(axes, batch_first)
    core = layout.to_core(array)
    steps, batch = core.shape[:2]
    if given is None and not pack:
        return core, Rows(batch=batch, steps=steps), Given(layout)
    if given is None:
        own = np.full(batch, steps, np.uintp)
        form = Given(layout)
    else:
        if not layout.batched:
            raise ValueError(f"lengths must be None without a batch, x has shape {array.shape}")
        own = read_lengths(given, steps, batch)
        form = Given(layout, np.arange(steps) < own[:, np.newaxis])
    return form.pack(core), Rows(batch=batch, steps=steps, lengths=own), form


def _read_list(
    x: list[Any], features: int | None, dtype: np.dtype[Any]
) -> tuple[Array, Rows, Given]:
    arrays = as_arrays(x, "x")
    for k, array in enumerate(arrays):
        if array.ndim != (1 if features is None else 2):
            expected = "(T,) of indices" if features is None else f"(T, input_size={features})"
            raise ValueError(f"x[{k}] has shape {array.shape}, expected {expected}")
        arrays[k] = _checked(array, f"x[{k}]", features, dtype)
    own = np.array([len(array) for array in arrays], np.uintp)
    empty = np.empty(
        (0,) if features is None else (0, features), np.intp if features is None else dtype
    )
    values = np.concatenate([empty, *arrays])
    return values, Rows(batch=len(arrays), lengths=own), Given(Ragged(own))


def _checked(array: Array, name: str, features: int | None, dtype: np.dtype[Any]) -> Array:
    if features is None:
        if array.dtype.kind not in "iu":
            raise TypeError(
                f"{name} must hold integers, indices of the Embedding, got {array.dtype}"
            )
        return array.astype(np.intp, copy=False)
    if array.ndim and array.shape[-1] != features:
        raise ValueError(f"{name} has {array.shape[-1]} features, expected input_size={features}")
    return cast(array, dtype)


def _shapes(features: int | None, batch_first: bool) -> str:
    first = "B, T" if batch_first else "T, B"
    last = "" if features is None else ", input_size"
    alone = "(T,)" if features is None else "(T, input_size)"
    return f"({first}{last}), or {alone} without a batch"


def _read_like(dy: list[Any], name: str, y: list[Array], values: Array) -> Array:
    """Check a list of arrays like y, and concatenate it."""
    arrays = [cast(array, values.dtype) for array in as_arrays(dy, name)]
    if len(arrays) != len(y):
        raise ValueError(f"{name} has {len(arrays)} sequences, expected y's {len(y)}")
    for k, (array, expected) in enumerate(zip(arrays, y, strict=True)):
        if array.shape != expected.shape:
            raise ValueError(f"{name}[{k}] has shape {array.shape}, expected y's {expected.shape}")
    return np.concatenate([np.empty((0, *values.shape[1:]), values.dtype), *arrays])
