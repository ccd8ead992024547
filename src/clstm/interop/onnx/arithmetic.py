"""Operators of ONNX on constants, by onnx's reference evaluator; and on sizes that are unknown."""

import operator
from typing import Any

import numpy as np

from ...layout import Array
from .evaluator import Call, integers, view_of
from .sizes import Size, Undecided, equal, product, quotient
from .sources import Constant
from .views import View, whole

OPSET = 18
"""The opset of the reference evaluator; in it, axes are inputs."""
_COPIES = 4
"""Arrays that the reference evaluator holds at most beside its inputs, as large as the result."""
_REDUCED = ("ReduceProd", "ReduceSum", "ReduceMin", "ReduceMax")


def computed(call: Call) -> list[Any]:
    """Return the result of an operator on constants of known size."""
    arrays = [call.evaluator.constant(value) for value in call.inputs]
    if any(a is None and v is not None for a, v in zip(arrays, call.inputs, strict=True)):
        raise Undecided("it computes with values that are only known when it runs")
    if any(array is not None and array.dtype == object for array in arrays):
        return [_of_sizes(call, [array for array in arrays if array is not None])]
    names = [f"i{k}" if array is not None else "" for k, array in enumerate(arrays)]
    feeds = {n: array for n, array in zip(names, arrays, strict=True) if array is not None}
    elements = _elements(call.node.op_type, list(feeds.values()))
    call.evaluator.graph.reserve(_COPIES * 8 * elements)
    return [whole(Constant(array)) for array in _run(call, names, feeds)]


def _run(call: Call, names: list[str], feeds: dict[str, Array]) -> list[Array]:
    from onnx import helper
    from onnx.reference import ReferenceEvaluator

    kind = call.node.op_type
    node = helper.make_node(kind, names, ["result"], **call.given)
    version = 21 if kind == "DequantizeLinear" else OPSET
    with np.errstate(all="ignore"):
        try:
            results = ReferenceEvaluator(node, opsets={"": version}).run(None, feeds)
        except Exception as error:  # the evaluator raises various types for malformed nodes
            raise ValueError(f"it cannot be computed: {error}") from None
    return [np.asarray(result) for result in results]


def _elements(kind: str, arrays: list[Array]) -> int:
    """Return the number of elements of the result, or a bound of it."""
    sizes = [array.size for array in arrays]
    if kind == "Gather":
        size, places = sizes
        return size * places  # more, if several axes are left
    if kind == "Range":
        start, limit, step = (float(array.reshape(-1)[0]) for array in arrays)
        if not step or not np.isfinite([start, limit, step]).all():
            raise ValueError("it has no finite range")
        return max(int((limit - start) / step) + 1, 0)
    if kind in _REDUCED:
        return max(sizes)
    return int(np.prod(np.broadcast_shapes(*(array.shape for array in arrays)), dtype=object))


# ---- Sizes ----


def _of_sizes(call: Call, arrays: list[Array]) -> View:
    """Return the result of an operator on sizes, some of which are unknown."""
    kind = call.node.op_type
    if kind == "ReduceProd":
        shape = (1,) if call.given.get("keepdims", 1) else ()
        return view_of([product(integers(arrays[0]))], shape)
    if kind not in _ON_SIZES:
        raise Undecided("it computes with unknown sizes")
    wide = np.broadcast_arrays(*arrays)
    if max(array.size for array in wide) > 64:
        raise Undecided("it computes with many sizes")
    columns = zip(*(_elements_of(array) for array in wide), strict=True)
    results = [_ON_SIZES[kind](*column) for column in columns]
    if kind in ("Equal", "Less", "Greater", "Not"):
        return whole(Constant(np.array(results, bool).reshape(wide[0].shape)))
    return view_of(results, wide[0].shape)


def _elements_of(array: Array) -> list[Any]:
    return array.reshape(-1).tolist() if array.dtype == bool else integers(array)


def _divided(one: Size, other: Size) -> Size:
    if isinstance(one, int) and isinstance(other, int) and other:
        return int(one / other)
    if (result := quotient(one, other)) is None:
        raise Undecided("it divides an unknown size")
    return result


def _largest(one: Size, other: Size) -> Size:
    if isinstance(one, int) and isinstance(other, int):
        return max(one, other)
    if isinstance(one, int) and one <= 1:
        return other
    if isinstance(other, int) and other <= 1:
        return one
    raise Undecided("it compares unknown sizes")


def _where(condition: bool, one: Size, other: Size) -> Size:
    return one if condition else other


_ON_SIZES: dict[str, Any] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mul": operator.mul,
    "Neg": operator.neg,
    "Div": _divided,
    "Equal": equal,
    "Where": _where,
    "Max": _largest,
}

_REDUCING = {"axes": "INTS", "keepdims": "INT", "noop_with_empty_axes": "INT"}
_PLAIN = (
    *("Neg", "Sqrt", "Exp", "Reciprocal", "Abs", "Floor", "Ceil", "Not"),
    *("Pow", "Equal", "Less", "Greater", "And", "Or", "Min", "Max", "Where", "Range"),
)
ARITHMETIC: dict[str, dict[str, str]] = {
    **{kind: {} for kind in _PLAIN},
    **dict.fromkeys(_REDUCED, _REDUCING),
    "Mod": {"fmod": "INT"},
}
"""Operators on constants only, with their attributes."""


def of_type(call: Call, view: View, to: int) -> View:
    """Return a constant with elements of another type; a repeated one stays a view."""
    value = view.source.value
    if value.dtype == object:
        if to not in (6, 7):
            raise Undecided("it computes with unknown sizes")
        return view
    kinds = {1: np.float32, 6: np.int32, 7: np.int64, 9: bool, 10: np.float16, 11: np.float64}
    kinds |= {2: np.uint8, 3: np.int8, 16: np.float32}
    if to not in kinds:
        raise ValueError(f"to={to} is a type that is not supported")
    dtype = np.dtype(kinds[to])
    call.evaluator.graph.reserve(value.size * dtype.itemsize)
    with np.errstate(all="ignore"):
        return view.of(Constant(value.astype(dtype)))
