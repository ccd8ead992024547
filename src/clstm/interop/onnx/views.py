"""Views: arrays whose elements are those of another array, moved.

An operator that only permutes, splits, merges, cuts or repeats axes makes a `View` of its input's
source. Each axis of a view is a list of digits, as of a number in a mixed base: a digit counts
along one axis of the source, or along none, where elements repeat. So a Reshape regroups digits,
and what a chain of such operators does does not depend on how it is written.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from ...layout import Array
from .sizes import Polynomial, Size, Undecided, equal, known, least, product, quotient

MAX_AXES = 64
"""NumPy's limit of axes, and that of digits and of lists of axes and sizes."""
_FAR = (1 << 31) - 1
"""ONNX's files write ends beyond every size for the end of an axis."""


class Digit(NamedTuple):
    """`size` elements, which are `stride` apart on an axis of the source; None repeats one."""

    size: Size
    axis: str | None
    stride: Size


Axis = tuple[Digit, ...]


@dataclass(frozen=True, eq=False)
class View:
    """An array of elements of a source.

    Attributes
    ----------
    source : Source
        With the sizes of its axes by name.
    axes : tuple of tuple of Digit
        An axis of size one has no digits.
    at : dict
        Where the first element is on the axes of the source, if not at zero.
    """

    source: Any
    axes: tuple[Axis, ...]
    at: dict[str, Size] = field(default_factory=dict)

    def __post_init__(self) -> None:
        at = {name: place for name, place in self.at.items() if place != 0}
        object.__setattr__(self, "at", at)

    @property
    def shape(self) -> list[Size]:
        """The sizes of the axes."""
        return [size_of(axis) for axis in self.axes]

    def along(self, axis: str) -> list[Digit]:
        """Return the digits that count along an axis of the source."""
        return [digit for own in self.axes for digit in own if digit.axis == axis]

    def of(self, source: Any) -> "View":
        """Return the same view of another source with these axes."""
        return replace(self, source=source)


def size_of(axis: Axis) -> Size:
    """Return the number of elements on an axis."""
    return product(digit.size for digit in axis)


def whole(source: Any) -> View:
    """Return a source as it is."""
    pairs = source.sizes.items()
    return View(source, tuple(merged([Digit(size, name, 1)]) for name, size in pairs))


def merged(digits: Sequence[Digit]) -> Axis:
    """Return digits without those of size one, and with those joined that count on."""
    kept: list[Digit] = []
    for digit in digits:
        if digit.size == 1:
            continue
        if kept and kept[-1].axis == digit.axis:
            before = kept[-1]
            if digit.axis is None or before.stride == digit.stride * digit.size:
                kept[-1] = Digit(before.size * digit.size, digit.axis, digit.stride)
                continue
        kept.append(digit)
    if len(kept) > MAX_AXES:
        raise Undecided("its axes are split too often")
    return tuple(kept)


def _with(view: View, axis: int, digits: Sequence[Digit], at: Any = None) -> View:
    axes = [*view.axes[:axis], merged(digits), *view.axes[axis + 1 :]]
    return View(view.source, tuple(axes), view.at if at is None else at)


def axes_of(numbers: Sequence[int], rank: int) -> list[int]:
    """Return axes counted from the first; ValueError for one that is not there, or twice."""
    if any(not -rank <= axis < rank for axis in numbers):
        raise ValueError(f"axes are {list(numbers)[:MAX_AXES]}, there are {rank}")
    positive = [axis % rank for axis in numbers]
    if len(set(positive)) < len(positive):
        raise ValueError(f"axes are {list(numbers)[:MAX_AXES]}, with a duplicate")
    return positive


# ---- Operators ----


def transpose(view: View, perm: Sequence[int] | None) -> View:
    """Return a view with its axes in another order, by default the reverse one."""
    order = list(range(len(view.axes)))[::-1] if perm is None else list(perm)
    if sorted(order) != list(range(len(view.axes))):
        raise ValueError(f"perm is {order[:MAX_AXES]}, there are {len(view.axes)} axes")
    return replace(view, axes=tuple(view.axes[axis] for axis in order))


def squeeze(view: View, axes: Sequence[int] | None) -> View:
    """Return a view without axes of size one, by default all of them."""
    if axes is None:
        if any(isinstance(size, Polynomial) for size in view.shape):
            raise Undecided("it drops all axes of size one")
        gone = [k for k, axis in enumerate(view.axes) if not axis]
    else:
        gone = axes_of(axes, len(view.axes))
    for axis in gone:
        if isinstance(size := size_of(view.axes[axis]), int) and size != 1:
            raise ValueError(f"axis {axis} has size {size}, not 1")
        if view.axes[axis]:
            raise Undecided(f"axis {axis} has an unknown size")
    return replace(view, axes=tuple(own for k, own in enumerate(view.axes) if k not in gone))


def unsqueeze(view: View, axes: Sequence[int]) -> View:
    """Return a view with further axes of size one."""
    rank = len(view.axes) + len(axes)
    if rank > MAX_AXES:
        raise ValueError(f"it has {rank} axes")
    new, left = axes_of(axes, rank), iter(view.axes)
    return replace(view, axes=tuple(() if k in new else next(left) for k in range(rank)))


def reshape(view: View, shape: Sequence[Size], keeps_zero: bool = False) -> View:
    """Return a view with its digits grouped to other axes; -1 and 0 mean what ONNX says."""
    sizes = list(shape)
    if len(sizes) > MAX_AXES:
        raise ValueError(f"it has {len(sizes)} axes")
    for k, size in enumerate(sizes):
        if size == 0 and not keeps_zero:
            if k >= len(view.axes):
                raise ValueError(f"shape keeps the size of axis {k}, there are {len(view.axes)}")
            sizes[k] = size_of(view.axes[k])
    total = product(view.shape)
    if sizes.count(-1) == 1:
        known = product(size for size in sizes if size != -1)
        rest = quotient(total, known)
        if rest is None:
            raise _not_a_product(total, known)
        sizes[sizes.index(-1)] = rest
    if any(isinstance(size, int) and size < 0 for size in sizes):
        raise ValueError(f"shape is {sizes[:MAX_AXES]}")
    if (own := product(sizes)) != total:
        raise _not_a_product(total, own)
    digits = [digit for axis in view.axes for digit in axis][::-1]
    return replace(view, axes=tuple(merged(_taken(digits, size)) for size in sizes))


def _not_a_product(total: Size, other: Size) -> Exception:
    if isinstance(total, int) and isinstance(other, int):
        return ValueError(f"it makes {other} elements of {total}")
    return Undecided("it fits some sizes of its input only")


def _taken(digits: list[Digit], size: Size) -> list[Digit]:
    """Take digits of this size from the end of a list."""
    taken: list[Digit] = []
    while size != 1:
        if not digits:
            raise Undecided("it merges and splits axes otherwise")
        digit = digits.pop()
        if (rest := quotient(size, digit.size)) is not None:
            taken.append(digit)
            size = rest
        elif (inner := quotient(digit.size, size)) is not None:
            taken.append(Digit(size, digit.axis, digit.stride * inner))
            digits.append(Digit(inner, digit.axis, digit.stride))
            size = 1
        else:
            raise Undecided("it merges and splits axes otherwise")
    return taken


def expand(view: View, shape: Sequence[Size]) -> View:
    """Return a view broadcast to a shape."""
    rank = max(len(shape), len(view.axes))
    if rank > MAX_AXES:
        raise ValueError(f"it has {rank} axes")
    axes = [()] * (rank - len(view.axes)) + list(view.axes)
    target = [1] * (rank - len(shape)) + list(shape)
    wider = []
    for axis, size in zip(axes, target, strict=True):
        if size == 1 or size == size_of(axis):
            wider.append(axis)
        elif not axis:
            wider.append((Digit(size, None, 0),))
        else:
            equal(size, size_of(axis))  # raises if only unknown sizes could make them fit
            raise ValueError(f"it expands an axis of size {size_of(axis)} to {size}")
    return replace(view, axes=tuple(wider))


def tile(view: View, repeats: Sequence[Size]) -> View:
    """Return a view with its axes repeated."""
    if len(repeats) != len(view.axes):
        raise ValueError(f"it has {len(repeats)} repeats for {len(view.axes)} axes")
    pairs = zip(view.axes, repeats, strict=True)
    return replace(view, axes=tuple(merged([Digit(n, None, 0), *axis]) for axis, n in pairs))


def cut(view: View, axis: int, start: Size, count: Size, step: int = 1) -> View:
    """Return `count` elements of an axis from `start` on."""
    digits = view.axes[axis] or (Digit(1, None, 0),)
    if count == size_of(digits) and step == 1:
        return view
    if len(digits) == 1:
        return _cut_digit(view, axis, digits[0], (), start, count, step)
    if step == -1 and count == size_of(digits) and start == count - 1:
        return _reversed(view, axis, digits)
    inner = size_of(digits[1:])
    if count == 1:
        return _picked(view, axis, digits, start)
    outer, many = quotient(start, inner), quotient(count, inner)
    if step == 1 and outer is not None and many is not None:
        return _cut_digit(view, axis, digits[0], digits[1:], outer, many, 1)
    if step == 1 and not any(isinstance(n, Polynomial) for n in (start, count, inner)):
        place, many, length = known((start, count, inner))
        if place // length == (place + many - 1) // length:
            single = _cut_digit(view, axis, digits[0], digits[1:], place // length, 1, 1)
            return cut(single, axis, place % length, many)
    raise Undecided("it cuts a merged axis otherwise")


def _cut_digit(
    view: View, axis: int, digit: Digit, after: Axis, start: Size, count: Size, step: int
) -> View:
    at = dict(view.at)
    if digit.axis is not None:
        at[digit.axis] = at.get(digit.axis, 0) + digit.stride * start
    return _with(view, axis, (Digit(count, digit.axis, digit.stride * step), *after), at)


def _reversed(view: View, axis: int, digits: Axis) -> View:
    at = dict(view.at)
    for digit in digits:
        if digit.axis is not None:
            at[digit.axis] = at.get(digit.axis, 0) + digit.stride * (digit.size - 1)
    return _with(view, axis, [digit._replace(stride=-digit.stride) for digit in digits], at)


def _picked(view: View, axis: int, digits: Axis, index: Size) -> View:
    """Return the view at one place of a merged axis: the first, the last, or a known one."""
    at, last = dict(view.at), index == size_of(digits) - 1
    for digit in reversed(digits):
        if last:
            number: Size = digit.size - 1
        elif isinstance(index, int) and isinstance(digit.size, int):
            index, number = divmod(index, digit.size)
        elif index == 0:
            number = 0
        else:
            raise Undecided("it takes a place of a merged axis of unknown size")
        if digit.axis is not None:
            at[digit.axis] = at.get(digit.axis, 0) + digit.stride * number
    return _with(view, axis, (), at)


def slice_axis(view: View, axis: int, start: Size, end: Size, step: int) -> View:
    """Return a slice of an axis, as ONNX's Slice takes it."""
    size = size_of(view.axes[axis])
    if step not in (1, -1) and not all(isinstance(n, int) for n in (size, start, end)):
        raise Undecided(f"it takes every {step}th element of an unknown number")
    if all(isinstance(n, int) for n in (size, start, end)):
        # A start before the array: with a negative step ONNX takes the first element, Python none.
        first, last, length = known((start, end, size))
        place = max(first, -length) if step < 0 else first
        numbers = range(*slice(place, last, step).indices(length))
        return cut(view, axis, numbers.start if numbers else 0, len(numbers), step)
    begin, stop = (_place(n, size, step) for n in (start, end))
    count = (stop - begin) * step
    if (bound := least(count)) is None or bound < 0 or (bound == 0 and count != 0):
        raise Undecided("its length depends on an unknown size")
    return cut(view, axis, begin, count, step)


def _place(number: Size, size: Size, step: int) -> Size:
    """Return a start or an end counted from the first element; for step -1 an end may be -1."""
    lowest = 0 if step > 0 else -1
    if isinstance(number, int):
        if abs(number) >= _FAR:
            return lowest if number < 0 else size + min(lowest, 0)
        if number < 0:
            number = size + number
    for excess in (number - size, number - (size - 1)):
        if excess == 0:
            return number
    room = least(size - number)
    if least(number) is None or room is None or room < 0:
        raise Undecided("it cuts an axis of unknown size at a fixed place")
    return number


def pick(view: View, axis: int, index: Size) -> View:
    """Return the view at one index of an axis, which is dropped."""
    size = size_of(view.axes[axis])
    if isinstance(index, int) and index < 0:
        index = size + index
    if isinstance(size, int) and isinstance(index, int) and not 0 <= index < size:
        raise ValueError(f"index {index} is not on an axis of size {size}")
    if least(index) is None and index != size - 1:
        raise Undecided("its index depends on an unknown size")
    if isinstance(index, int) and index > 0 and isinstance(size, Polynomial) and index != size - 1:
        raise Undecided("it takes a fixed place of an axis of unknown size")
    single = cut(view, axis, index, 1)
    return replace(single, axes=single.axes[:axis] + single.axes[axis + 1 :])


def concat(views: Sequence[View], axis: int, stacked: Callable[[list[Any]], Any]) -> View:
    """Return views joined along an axis.

    `stacked` returns a source that holds several alike, along an axis "part".
    """
    first = views[0]
    for view in views[1:]:
        if len(view.axes) != len(first.axes) or any(
            own != other
            for k, (own, other) in enumerate(zip(view.axes, first.axes, strict=True))
            if k != axis
        ):
            raise Undecided("its inputs are not arranged alike")
    if any(view.source is not first.source for view in views):
        return _beside(views, axis, stacked)
    runs = [views[0]]
    for view in views[1:]:
        if (longer := _continued(runs[-1], view, axis)) is not None:
            runs[-1] = longer
        else:
            runs.append(view)
    if len(runs) == 1:
        return runs[0]
    if any(view.axes[axis] != runs[0].axes[axis] for view in runs):
        raise Undecided("its inputs have different sizes")
    step = _step(runs)
    return _with(runs[0], axis, [Digit(len(runs), *step), *runs[0].axes[axis]])


def _continued(one: View, other: View, axis: int) -> View | None:
    """Return two views joined, if the second goes on where the first ends."""
    ends = [view.axes[axis] for view in (one, other)]
    if any(len(digits) > 1 for digits in ends):
        return None
    moved = _moved(one, other)
    if moved is None:
        return None
    name, distance = moved
    sizes = [size_of(digits) for digits in ends]
    strides = {digits[0].stride for digits in ends if digits}
    names = {digits[0].axis for digits in ends if digits}
    stride = strides.pop() if strides else distance
    if strides or names - {name} or distance != stride * sizes[0]:
        return None
    return _with(one, axis, [Digit(sizes[0] + sizes[1], name, stride)])


def _moved(one: View, other: View) -> tuple[str, Size] | None:
    """Return the only axis of the source on which two views begin apart, and how far."""
    names = {*one.at, *other.at}
    apart = {name: other.at.get(name, 0) - one.at.get(name, 0) for name in names}
    different = {name: distance for name, distance in apart.items() if distance != 0}
    return next(iter(different.items())) if len(different) == 1 else None


def _step(views: Sequence[View]) -> tuple[str | None, Size]:
    """Return the axis and the distance of the source between views that follow each other."""
    if all(view.at == views[0].at for view in views):
        return None, 0
    steps = {_moved(one, other) for one, other in itertools.pairwise(views)}
    if len(steps) != 1 or None in steps:
        raise Undecided("its inputs are not evenly spaced")
    (step,) = steps
    assert step is not None
    return step


def _beside(views: Sequence[View], axis: int, stacked: Callable[[list[Any]], Any]) -> View:
    """Return views of different sources, joined along an axis."""
    single = [part for view in views for part in _parts(view, axis)]
    first = single[0]
    if any(part.axes != first.axes or part.at != first.at for part in single):
        raise Undecided("its inputs are not arranged alike")
    source = stacked([part.source for part in single])
    view = View(source, first.axes, first.at)
    return _with(view, axis, [Digit(len(single), "part", 1), *first.axes[axis]])


def _parts(view: View, axis: int) -> list[View]:
    """Return the views of single sources of which a view along an axis consists."""
    digits = view.axes[axis]
    if not hasattr(view.source, "parts"):
        return [view]
    if not digits or digits[0].axis != "part":
        return [unstacked(view)]
    rest = size_of(digits[1:])
    (count,) = known([digits[0].size])
    return [unstacked(cut(view, axis, rest * k, rest)) for k in range(count)]


def unstacked(view: View) -> View:
    """Return a view of one of several sources as a view of that one."""
    if not hasattr(view.source, "parts") or view.along("part"):
        return view
    at = dict(view.at)
    return View(view.source.parts[at.pop("part", 0)], view.axes, at)


# ---- Places ----


def places(view: View, digits: Axis, axis: str, most: int) -> Array:
    """Return the places on an axis of the source that digits lead to, in order.

    Raises Undecided if there are unknown ones, or more than `most`.
    """
    sizes = known([digit.size for digit in digits])
    steps = known([digit.stride if digit.axis == axis else 0 for digit in digits])
    if math.prod(sizes) > most:
        raise Undecided(f"it takes more than {most} places")
    found = np.array(known([view.at.get(axis, 0)]), np.int64)
    for size, step in zip(sizes, steps, strict=True):
        found = (found[:, np.newaxis] + np.arange(size) * step).reshape(-1)
    return found


def array_of(view: View, reserve: Callable[[int], None]) -> Array:
    """Return a view of a constant as an array; raise Undecided if its size is unknown."""
    value: Array = view.source.value
    shape = known(view.shape)
    reserve(math.prod(shape) * value.itemsize)
    if not math.prod(shape):
        return np.empty(shape, value.dtype)
    names = list(view.source.sizes)
    begins = known([view.at.get(name, 0) for name in names])
    first: Array = value[tuple(slice(begin, None) for begin in begins)]
    digits = [digit for axis in view.axes for digit in axis]
    strides = [
        0 if d.axis is None else value.strides[names.index(d.axis)] * stride
        for d, stride in zip(digits, known([digit.stride for digit in digits]), strict=True)
    ]
    sizes = known([digit.size for digit in digits])
    moved = np.lib.stride_tricks.as_strided(first, sizes, strides, writeable=False)
    return np.array(moved).reshape(shape)
