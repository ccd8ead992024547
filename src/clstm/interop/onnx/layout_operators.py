"""Operators of ONNX that permute, merge, split, cut, join or repeat axes, as views."""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from . import views
from .arithmetic import computed, of_type
from .directions import joined_directions, stack
from .evaluator import Call, Quantised, integers, view_of
from .lasts import at_the_end
from .places import joined, listed, resolved, taken
from .sizes import Polynomial, Size, Undecided, product, quotient
from .sources import Constant, Input
from .views import View, axes_of, size_of, whole

Handler = Callable[[Call], list[Any]]

_FLOATS = (1, 10, 11, 16)  # TensorProto.FLOAT, FLOAT16, DOUBLE, BFLOAT16
_INTEGERS = (6, 7)


def _layout(operator: Handler) -> Handler:
    """Return an operator that also takes constants as arrays, quantised values and any parts."""

    def applied(call: Call) -> list[Any]:
        first = call.argument(0)
        if isinstance(first, Quantised):
            plain = replace(call, inputs=[first.view, *call.inputs[1:]])
            return [replace(first, view=view) for view in operator(plain)]
        reserve = call.evaluator.graph.reserve
        try:
            results = operator(call)
        except Undecided:
            if not isinstance(first, View):
                raise
            arrays = [call.evaluator.constant(value) for value in call.inputs]
            if all(a is not None or v is None for a, v in zip(arrays, call.inputs, strict=True)):
                given = [None if array is None else whole(Constant(array)) for array in arrays]
            elif isinstance(first.source, Constant) or operator is _concat:
                raise
            else:
                given = [_listed(call, first), *call.inputs[1:]]
            results = operator(replace(call, inputs=given))
        return [resolved(value, reserve) for value in results]

    return applied


def _listed(call: Call, view: View) -> View:
    """Return a view with its places listed, of the same list for all that take parts of it."""
    joined = call.evaluator.joined
    key = ("listed", id(view.source), view.axes, tuple(sorted(view.at.items(), key=repr)))
    if key not in joined:
        joined[key] = (view.source, listed(view, call.evaluator.graph.reserve))
    result: View = joined[key][1]
    return result


def _identity(call: Call) -> list[Any]:
    return [call.argument(0)]


def _dropout(call: Call) -> list[Any]:
    if call.argument(2) is not None:
        training = call.constant(2)
        if training is None or training.any():
            raise Undecided("it drops elements at random")
    return [call.argument(0)]


def _cast(call: Call) -> list[Any]:
    value, to = call.argument(0), call.given["to"]
    if isinstance(value, Quantised) and to in _FLOATS:
        return [value]
    view = call.view()
    if isinstance(view.source, Constant):
        return [of_type(call, view, to)]
    integer = isinstance(view.source, Input) and view.source.integer
    if to in _FLOATS or (integer and to in _INTEGERS):
        return [view]
    raise Undecided("it rounds its input")


def _transpose(call: Call) -> list[Any]:
    return [views.transpose(call.view(), call.given.get("perm"))]


def _squeeze(call: Call) -> list[Any]:
    return [views.squeeze(call.view(), call.numbers(1, "axes"))]


def _unsqueeze(call: Call) -> list[Any]:
    if (axes := call.numbers(1, "axes")) is None:
        raise ValueError("it has no axes")
    return [views.unsqueeze(call.view(), axes)]


def _reshape(call: Call) -> list[Any]:
    if (shape := call.sizes(1, "shape")) is None:
        raise ValueError("it has no shape")
    view, keeps_zero = call.view(), bool(call.given.get("allowzero"))
    try:
        return [views.reshape(view, shape, keeps_zero)]
    except Undecided:
        return [views.reshape(view, _with_fixed(call, view, shape), keeps_zero)]


def _with_fixed(call: Call, view: View, shape: list[Size]) -> list[Size]:
    """Return a shape in which a number that stands for an unknown size is that size.

    PyTorch's exporter writes the size of its example for some axes that the file leaves open. Such
    a graph computes what it should for that size only, which is noted.
    """
    own = [size for size in view.shape if size != 1]
    places = [k for k, size in enumerate(shape) if size != 1]
    fixed = list(shape)
    if len(own) != len(places):
        raise Undecided("it fits some sizes of its input only")
    for size, k in zip(own, places, strict=True):
        number = fixed[k]
        if isinstance(size, Polynomial) and isinstance(number, int) and number > 1:
            if (other := call.evaluator.fixed.setdefault(size, number)) != number:
                raise Undecided(f"it fits {number} of an axis that has {other}")
            fixed[k] = size
    return fixed


def _flatten(call: Call) -> list[Any]:
    view, axis = call.view(), call.given.get("axis", 1)
    if not -len(view.axes) <= axis <= len(view.axes):
        raise ValueError(f"axis is {axis}, there are {len(view.axes)}")
    axis = axis % len(view.axes) if axis < 0 else axis
    sizes = [product(view.shape[:axis]), product(view.shape[axis:])]
    return [views.reshape(view, sizes, keeps_zero=True)]


def _expand(call: Call) -> list[Any]:
    if (shape := call.sizes(1, "shape")) is None:
        raise ValueError("it has no shape")
    return [views.expand(call.view(), shape)]


def _tile(call: Call) -> list[Any]:
    if (repeats := call.sizes(1, "repeats")) is None:
        raise ValueError("it has no repeats")
    return [views.tile(call.view(), repeats)]


def _slice(call: Call) -> list[Any]:
    view = call.view()
    starts, ends = call.sizes(1, "starts"), call.sizes(2, "ends")
    if starts is None or ends is None:
        raise ValueError("it has no starts or no ends")
    axes, steps = call.numbers(3, "axes"), call.numbers(4, "steps")
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    where = axes_of(axes, len(view.axes))
    for axis, start, end, step in zip(where, starts, ends, steps, strict=True):
        if step == 0:
            raise ValueError("steps has a 0")
        view = views.slice_axis(view, axis, start, end, step)
    return [view]


def _split(call: Call) -> list[Any]:
    view = call.view()
    (axis,) = axes_of([call.given.get("axis", 0)], len(view.axes))
    sizes: list[Size] | None = call.sizes(1, "split")
    total, count = size_of(view.axes[axis]), len(call.node.output)
    if sizes is None:
        each = quotient(total, count)
        if each is None and isinstance(total, int):
            each = -(-total // count)
        if each is None:
            raise Undecided("it splits an unknown size")
        sizes = [each] * (count - 1)
        sizes.append(total - product([each, count - 1]))
    if sum(sizes[1:], start=sizes[0]) != total or len(sizes) != count:
        raise Undecided("it splits other sizes than its input has")
    parts: list[View] = []
    place: Size = 0
    for size in sizes:
        parts.append(views.cut(view, axis, place, size))
        place = place + size
    return parts


def _concat(call: Call) -> list[Any]:
    given = [call.view(index) for index in range(len(call.inputs))]
    if not given:
        raise ValueError("it has no input")
    (axis,) = axes_of([call.given["axis"]], len(given[0].axes))
    if len(given) == 1:
        return given
    constants = [isinstance(view.source, Constant) for view in given]
    if all(constants):
        try:
            return [_joined(call, axis)]
        except Undecided:
            return [_joined_rows(call, given, axis)]
    if any(constants):
        raise Undecided("it joins a constant with what is computed")
    for parts in (given, at_the_end(given)):
        with contextlib.suppress(Undecided):
            view = views.concat(parts, axis, lambda parts: stack(call.evaluator, parts))
            return [joined_directions(call.evaluator, view)]
    return [joined(given, axis, call.evaluator.graph.reserve)]


def _joined(call: Call, axis: int) -> View:
    """Return constants joined along an axis."""
    arrays = [call.evaluator.constant(value) for value in call.inputs]
    known = [array for array in arrays if array is not None]
    if len(known) < len(arrays):
        raise Undecided("it joins constants of unknown size")
    if len({array.dtype for array in known if array.dtype != object}) > 1:
        raise ValueError("its inputs have different types")
    call.evaluator.graph.reserve(sum(array.nbytes for array in known))
    array = np.concatenate(known, axis)
    return view_of(integers(array)) if array.dtype == object else whole(Constant(array))


def _joined_rows(call: Call, given: list[View], axis: int) -> View:
    """Return constants joined that are alike along axes of unknown size, such as zeros of a state.

    Each such axis has one place while they are joined.
    """
    first = given[0]
    if any(len(view.axes) != len(first.axes) for view in given):
        raise ValueError("its inputs have different numbers of axes")
    alike = [
        k != axis and all(view.axes[k] == own for view in given) and _repeats(own)
        for k, own in enumerate(first.axes)
    ]
    single = [
        replace(view, axes=tuple(() if a else own for a, own in zip(alike, view.axes, strict=True)))
        for view in given
    ]
    joined = _joined(replace(call, inputs=single), axis)
    pairs = zip(alike, first.axes, joined.axes, strict=True)
    return replace(joined, axes=tuple(own if a else other for a, own, other in pairs))


def _repeats(axis: Any) -> bool:
    return all(digit.axis is None for digit in axis)


def _gather(call: Call) -> list[Any]:
    """Take places of an axis; a constant matrix at places of an input is an embedding."""
    view, places = call.view(), call.evaluator.constant(call.argument(1))
    (axis,) = axes_of([call.given.get("axis", 0)], len(view.axes))
    if places is None:
        raise Undecided("its indices are only known when it runs")
    if places.ndim > 1 or places.dtype.kind not in "iuO":
        return _taken(call, view)
    if places.ndim == 0:
        (index,) = integers(places)
        return [views.pick(view, axis, index)]
    if isinstance(view.source, Constant):
        return _taken(call, view)
    if not places.size:
        raise Undecided("it takes no place")
    if places.size <= views.MAX_AXES:
        try:
            cuts = [_single(view, axis, index) for index in integers(places)]
            return [views.concat(cuts, axis, lambda parts: stack(call.evaluator, parts))]
        except Undecided:
            if places.dtype == object:
                raise
    return [taken(view, axis, places, call.evaluator.graph.reserve)]


def _single(view: View, axis: int, index: Size) -> View:
    """Return one place of an axis, which stays as one of size one."""
    return views.unsqueeze(views.pick(view, axis, index), [axis])


def _taken(call: Call, view: View) -> list[Any]:
    """Return places of a constant."""
    array, places = (call.evaluator.constant(call.argument(k)) for k in (0, 1))
    if array is None or places is None or places.dtype == object:
        raise Undecided("its indices are only known when it runs")
    if array.dtype == object and array.ndim == places.ndim == 1:
        flat = integers(array)
        return [view_of([flat[int(place)] for place in places])]
    return computed(call)


def _shape(call: Call) -> list[Any]:
    shape = call.view().shape
    return [view_of(shape[call.given.get("start", 0) : call.given.get("end", len(shape))])]


def _size(call: Call) -> list[Any]:
    return [view_of([product(call.view().shape)], ())]


def _constant_of_shape(call: Call) -> list[Any]:
    shape = call.sizes(0, "shape")
    value = np.zeros(1, np.float32)
    if "value" in call.given:
        value = call.evaluator.graph.tensor(call.given["value"], "its value")
    if value.size != 1 or shape is None:
        raise ValueError(f"its value has {value.size} elements")
    return [views.expand(whole(Constant(value.reshape(()))), shape)]


_KINDS = {
    "value": "TENSOR",
    "value_float": "FLOAT",
    "value_floats": "FLOATS",
    "value_int": "INT",
    "value_ints": "INTS",
}


def _constant(call: Call) -> list[Any]:
    ((key, value),) = call.given.items() or [("", None)]
    if not key:
        raise ValueError("it has no value")
    if key == "value":
        return [whole(Constant(call.evaluator.graph.tensor(value, call.node.output[0])))]
    return [whole(Constant(np.array(value, np.float32 if "float" in key else np.int64)))]


def _reverse_sequence(call: Call) -> list[Any]:
    """Reverse an axis, if each row is reversed as a whole."""
    view, lengths = call.view(), call.evaluator.distinct(call.argument(1))
    (axis,) = axes_of([call.given.get("time_axis", 0)], len(view.axes))
    size = size_of(view.axes[axis])
    if lengths is None or any(length != size for length in integers(lengths)):
        raise Undecided("it reverses a part of each row")
    return [views.slice_axis(view, axis, size - 1, -(1 << 62), -1)]


LAYOUT: dict[str, tuple[Handler, dict[str, str]]] = {
    "Identity": (_identity, {}),
    "Dropout": (_dropout, {"ratio": "FLOAT", "seed": "INT", "is_test": "INT"}),
    "Cast": (_cast, {"to": "INT", "saturate": "INT", "round_mode": "STRING"}),
    "Transpose": (_layout(_transpose), {"perm": "INTS"}),
    "Squeeze": (_layout(_squeeze), {"axes": "INTS"}),
    "Unsqueeze": (_layout(_unsqueeze), {"axes": "INTS"}),
    "Reshape": (_layout(_reshape), {"shape": "INTS", "allowzero": "INT"}),
    "Flatten": (_layout(_flatten), {"axis": "INT"}),
    "Expand": (_layout(_expand), {}),
    "Tile": (_layout(_tile), {}),
    "Slice": (_layout(_slice), {"axes": "INTS", "starts": "INTS", "ends": "INTS"}),
    "Split": (_layout(_split), {"axis": "INT", "split": "INTS", "num_outputs": "INT"}),
    "Concat": (_layout(_concat), {"axis": "INT"}),
    "Gather": (_layout(_gather), {"axis": "INT"}),
    "Shape": (_shape, {"start": "INT", "end": "INT"}),
    "Size": (_size, {}),
    "ConstantOfShape": (_constant_of_shape, {"value": "TENSOR"}),
    "Constant": (_constant, _KINDS),
    "ReverseSequence": (_reverse_sequence, {"batch_axis": "INT", "time_axis": "INT"}),
}
"""Each operator, with its attributes and their types."""
