"""Views whose elements are listed, where no digits describe them.

A part of a merged axis that ends within one of its digits is no `View` of the source, and neither
are parts joined in another order. As long as sizes are known, such a value is a view of a list of
places; once the parts are together again, it is a view of the source.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...layout import Array
from .sizes import Size, Undecided, known
from .sources import Source
from .views import Axis, Digit, View, merged, size_of

_MOST = 1 << 20
"""Elements of a list."""
_STEP = 2048
"""Bytes that are counted for a list, for its time."""
_Reserve = Callable[[int], None]


@dataclass(eq=False)
class Listed(Source):
    """Elements of a source at listed places.

    Attributes
    ----------
    source : Source
    sizes : dict
        Of the axes of the source whose size is unknown, then those of the list.
    places : dict
        For each axis of known size of the source, the places on it.
    """

    source: Any
    sizes: dict[str, Size]
    places: dict[str, Array]


def listed(view: View, reserve: _Reserve, axis: int | None = None) -> View:
    """Return a view with each run of digits of known size as one digit, whose places are listed.

    That of `axis` is one also if it has size one.
    """
    axes, runs = _runs(view, axis)
    shape = known([size_of(tuple(run)) for run in runs])
    if not 0 < math.prod(shape) <= _MOST:
        raise Undecided("it cuts or joins merged axes otherwise")
    sizes = view.source.sizes
    names = [name for name, size in sizes.items() if isinstance(size, int)]
    reserve(_STEP + 16 * math.prod(shape) * (len(names) + 1))
    found = {name: _places(view, runs, shape, name) for name in names}
    source: Any = view.source
    if isinstance(source, Listed):
        index = tuple(found[name] for name in names)
        found = {name: places[index] for name, places in source.places.items()}
        source = source.source
    left = {name: size for name, size in sizes.items() if not isinstance(size, int)}
    own = left | {_name(k): size for k, size in enumerate(shape)}
    at = {name: place for name, place in view.at.items() if name in left}
    return View(Listed(source, own, found), tuple(axes), at)


def _name(run: int) -> str:
    return f"places {run}"


def _runs(view: View, axis: int | None) -> tuple[list[Axis], list[list[Digit]]]:
    """Return the axes of a view with a digit for each run of known ones, and these runs."""

    def is_known(digit: Digit) -> bool:
        size = 1 if digit.axis is None else view.source.sizes[digit.axis]
        return isinstance(digit.size, int) and isinstance(size, int)

    axes: list[Axis] = []
    runs: list[list[Digit]] = []
    for k, own in enumerate(view.axes):
        digits: list[Digit] = []
        wanted = own or ((Digit(1, None, 0),) if k == axis else ())
        for kind, group in itertools.groupby(wanted, is_known):
            run = list(group)
            if kind:
                digits.append(Digit(size_of(tuple(run)), _name(len(runs)), 1))
                runs.append(run)
            else:
                digits += run
        axes.append(tuple(digits))
    return axes, runs


def _places(view: View, runs: list[list[Digit]], shape: list[int], name: str) -> Array:
    """Return the places on an axis of the source, with an axis for each run."""
    (first,) = known([view.at.get(name, 0)])
    total: Array = np.full(shape, first, np.int64)
    for k, run in enumerate(runs):
        line = np.zeros(1, np.int64)
        for digit in run:
            size, stride = known([digit.size, digit.stride if digit.axis == name else 0])
            line = (line[:, np.newaxis] + np.arange(size) * stride).reshape(-1)
        total += line.reshape([-1 if k == other else 1 for other in range(len(runs))])
    return total


# ---- Views again ----


def resolved(value: Any, reserve: _Reserve) -> Any:
    """Return a view of listed places as one of the source, if digits describe it."""
    if not isinstance(value, View) or not isinstance(value.source, Listed):
        return value
    whole = listed(value, reserve)
    source: Listed = whole.source
    names, tables = list(source.places), list(source.places.values())
    count = sum(name.startswith("places ") for name in source.sizes)
    corner = (0,) * count
    lines, totals = [], [table[corner] for table in tables]
    for run in range(count):
        index = tuple(slice(None) if k == run else 0 for k in range(count))
        line = np.stack([table[index] - table[corner] for table in tables], 1)
        wide = [-1 if k == run else 1 for k in range(count)]
        totals = [t + line[:, k].reshape(wide) for k, t in enumerate(totals)]
        lines.append(_digits(line, names))
    known_digits = [digits for digits in lines if digits is not None]
    pairs = zip(totals, tables, strict=True)
    if len(known_digits) < count or any((total != table).any() for total, table in pairs):
        return whole
    digits_of = {_name(k): digits for k, digits in enumerate(known_digits)}
    axes = [
        merged([part for d in axis for part in digits_of.get(str(d.axis), (d,))])
        for axis in whole.axes
    ]
    at = whole.at | {
        n: int(table[corner]) for n, table in source.places.items() if table[corner] != 0
    }
    return View(source.source, tuple(axes), at)


def _digits(line: Array, names: Sequence[str]) -> Axis | None:
    """Return the digits that count along places (N, axes); None if there are none."""
    digits: list[Digit] = []
    while (count := len(line)) > 1:
        step = line[1] - line[0]
        (moved,) = np.nonzero(step)
        if len(moved) > 1:
            return None
        regular = (line == line[0] + np.arange(count)[:, np.newaxis] * step).all(1)
        longest = count if regular.all() else int(np.argmin(regular))
        size = next((n for n in range(longest, 1, -1) if _repeats(line, n, step)), None)
        if size is None:
            return None
        name = names[moved[0]] if len(moved) else None
        digits.insert(0, Digit(size, name, int(step[moved[0]]) if len(moved) else 0))
        line = line[::size]
    return merged(digits)


def _repeats(line: Array, size: int, step: Array) -> bool:
    """Return whether places go on in steps within each group of this size."""
    if len(line) % size:
        return False
    groups = line.reshape(-1, size, line.shape[1])
    return bool((groups == groups[:, :1] + np.arange(size)[:, np.newaxis] * step).all())


# ---- Operators ----


def joined(views: Sequence[View], axis: int, reserve: _Reserve) -> View:
    """Return views of one source joined along an axis."""
    parts = [listed(view, reserve, axis) for view in views]
    first = parts[0]
    run = _run_of(first, axis)
    for part in parts[1:]:
        same = part.source.source is first.source.source and part.at == first.at
        alike = _run_of(part, axis) == run and _others(part, axis) == _others(first, axis)
        if not same or not alike:
            raise Undecided("its inputs are not arranged alike")
    names = list(first.source.places)
    tables = [np.concatenate([part.source.places[name] for part in parts], run) for name in names]
    return _of_tables(first, axis, run, dict(zip(names, tables, strict=True)))


def taken(view: View, axis: int, indices: Array, reserve: _Reserve) -> View:
    """Return these places of an axis."""
    whole = listed(view, reserve, axis)
    run = _run_of(whole, axis)
    reserve(8 * indices.size * sum(t.size // t.shape[run] for t in whole.source.places.values()))
    size = int(whole.source.sizes[_name(run)])
    if (indices < -size).any() or (indices >= size).any():
        raise ValueError(f"an index is not on an axis of size {size}")
    tables = {name: np.take(t, indices, run) for name, t in whole.source.places.items()}
    return _of_tables(whole, axis, run, tables)


def _run_of(view: View, axis: int) -> int:
    """Return the number of the run that an axis is."""
    digits = view.axes[axis]
    if len(digits) != 1 or not str(digits[0].axis).startswith("places "):
        raise Undecided("its inputs are not arranged alike")
    return int(str(digits[0].axis).split()[1])


def _others(view: View, axis: int) -> list[Axis]:
    return [own for k, own in enumerate(view.axes) if k != axis]


def _of_tables(view: View, axis: int, run: int, tables: dict[str, Array]) -> View:
    """Return a view of other places, of which there are more or fewer on one axis."""
    source: Listed = view.source
    size = next(iter(tables.values())).shape[run] if tables else 0
    sizes = source.sizes | {_name(run): size}
    own = merged([Digit(size, _name(run), 1)])
    axes = (*view.axes[:axis], own, *view.axes[axis + 1 :])
    return replace(view, source=Listed(source.source, sizes, tables), axes=axes)
