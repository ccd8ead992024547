"""Indices of an embedding that a graph computes: negative ones counted from the end.

TensorFlow's converters write this with comparisons, products and sums. Such integers are a x + b
where the input x is negative, and c x + d elsewhere.
"""

from dataclasses import dataclass
from typing import Any

from ...layout import Array
from .evaluator import Evaluator
from .sizes import Undecided
from .sources import Constant, Input
from .views import View

_Line = tuple[int, int]  # factor and constant
_ITSELF: _Line = (1, 0)
KINDS = ("Add", "Sub", "Mul", "Less", "Not", "Cast", "Where")


@dataclass(frozen=True)
class Indices:
    """Integers computed from those of an input: one line where these are negative, one elsewhere.

    The view is None for a constant.
    """

    view: View | None
    negative: _Line
    other: _Line


def computed_indices(evaluator: Evaluator, kind: str, inputs: list[Any]) -> Indices | None:
    """Return the result of an operator on integers of an input; None if it takes others."""
    if not any(isinstance(value, Indices) or _is_input(value) for value in inputs):
        return None
    if kind == "Cast" and not isinstance(inputs[0], Indices):
        return None
    found = [_indices(evaluator, value) for value in inputs]
    known = [value for value in found if value is not None]
    views = [value.view for value in known if value.view is not None]
    first = views[0]
    if len(known) < len(inputs) or any(not _equal(view, first) for view in views):
        raise Undecided("it computes with indices")
    pieces = [
        _piece(kind, [getattr(value, name) for value in known], name == "negative")
        for name in ("negative", "other")
    ]
    return Indices(first, *pieces)


def _is_input(value: Any) -> bool:
    return isinstance(value, View) and isinstance(value.source, Input) and value.source.integer


def _indices(evaluator: Evaluator, value: Any) -> Indices | None:
    if isinstance(value, Indices):
        return value
    if _is_input(value):
        return Indices(value, _ITSELF, _ITSELF)
    if not isinstance(value, View) or not isinstance(value.source, Constant):
        return None
    array: Array | None = evaluator.constant(value)
    if array is None or array.size != 1 or array.dtype == object:
        return None
    number = array.reshape(-1)[0]
    return Indices(None, (0, int(number)), (0, int(number))) if number == int(number) else None


def _equal(one: View, other: View) -> bool:
    return one.source is other.source and one.axes == other.axes and one.at == other.at


def _piece(kind: str, lines: list[_Line], is_negative: bool) -> _Line:
    """Return the line of an operator's result, where the input is negative or where it is not."""
    first, last = lines[0], lines[-1]
    if kind == "Cast":
        return first
    if kind == "Less" and (first, last) == (_ITSELF, (0, 0)):
        return (0, int(is_negative))
    if kind == "Not" and first in ((0, 0), (0, 1)):
        return (0, 1 - first[1])
    if kind == "Add":
        return (first[0] + last[0], first[1] + last[1])
    if kind == "Sub":
        return (first[0] - last[0], first[1] - last[1])
    if kind == "Mul" and not (first[0] and last[0]):
        return (first[0] * last[1] + last[0] * first[1], first[1] * last[1])
    if kind == "Where" and first in ((0, 0), (0, 1)):
        return lines[1] if first[1] else last
    raise Undecided("it computes with indices")


def plain(value: Any, count: int) -> Any:
    """Return the view of an input whose indices of `count` rows a value is, if it is."""
    if not isinstance(value, Indices):
        return value
    if value.other != _ITSELF or value.negative not in (_ITSELF, (1, count)):
        raise Undecided("its indices are computed otherwise")
    return value.view
