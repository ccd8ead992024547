"""Shapes of values in an ONNX graph, as far as they are known before it runs."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from .constant_folding import MAX_AXES, OPERATORS
from .graph import DOMAINS, MAX_DEPTH, Graph, Scope, attributes

Shape = list[int | None]
"""The sizes of all axes; None for one that is known at run time only."""

_ATTRIBUTES: dict[str, dict[str, str]] = {
    "ConstantOfShape": {"value": "TENSOR"},
    "Expand": {},
    **{kind: OPERATORS[kind][1] for kind in ("Slice", "Squeeze", "Unsqueeze", "Transpose")},
    "Reshape": OPERATORS["Reshape"][1],
}


def check_shape(role: str, shape: Shape | None, expected: Sequence[int | str]) -> None:
    """Raise ValueError for a shape that does not fit; a letter stands for any size."""
    if shape is None:
        return
    pairs = zip(shape, expected, strict=False)
    if len(shape) == len(expected) and all(isinstance(e, str) or s in (None, e) for s, e in pairs):
        return
    found, wanted = (_shown(sizes) for sizes in (shape, expected))
    raise ValueError(f"{role} has shape {found}, expected {wanted}")


def _shown(sizes: Sequence[Any]) -> str:
    shown = ["?" if size is None else str(size) for size in sizes[:8]]
    more = "..." if len(sizes) > 8 else ""
    return f"({', '.join(shown)}{',' * (len(sizes) == 1)}{more})"


def declared_shape(scope: Scope, name: str, depth: int = 0) -> Shape | None:
    """Return the shape that a graph declares for an input or a tensor, or for a transpose of it."""
    scope, name, found = scope.find(name)
    scope.budget.count(1, "its shapes")
    kind = getattr(found, "op_type", "")
    if found is None:
        return _of_input(scope.declared.get(name))
    if not kind:
        return list(found.dims)
    if kind not in ("Identity", "Transpose") or not found.input or depth > MAX_DEPTH:
        return None
    shape = declared_shape(scope, found.input[0], depth + 1)
    perm = next((list(a.ints) for a in found.attribute if a.name == "perm"), None)
    if kind == "Identity" or shape is None:
        return shape
    return _transposed(shape, perm)


def known_shape(graph: Graph, scope: Scope, name: str, depth: int = 0) -> Shape | None:
    """Return a value's shape; None if not even the number of its axes is known."""
    graph.count(1)
    if (array := graph.fold(scope, name)) is not None:
        return list(array.shape)
    within, name, node = scope.find(name)
    if node is None:
        return _of_input(within.declared.get(name))
    kind = getattr(node, "op_type", "")
    if depth > MAX_DEPTH or kind == "" or node.domain not in DOMAINS or not node.input:
        return None
    if kind in ("Identity", "Cast"):
        return known_shape(graph, within, node.input[0], depth + 1)
    if kind not in _ATTRIBUTES:
        return None
    if kind == "ConstantOfShape":
        return _sizes(graph, within, node.input[0], depth)
    shape = known_shape(graph, within, node.input[0], depth + 1)
    if shape is None:
        return None
    try:
        return _changed(graph, within, node, shape, depth)
    except (ArithmeticError, LookupError, ValueError):
        return None  # a malformed operator is refused where its value is needed


def _of_input(declared: Any) -> Shape | None:
    """Return the shape in an input's type."""
    if declared is None or not declared.type.HasField("tensor_type"):
        return None
    if not declared.type.tensor_type.HasField("shape"):
        return None
    sizes = [axis.dim_value for axis in declared.type.tensor_type.shape.dim]  # 0 for a name
    return [size if size > 0 else None for size in sizes]


def _changed(graph: Graph, scope: Scope, node: Any, shape: Shape, depth: int) -> Shape | None:
    """Return the shape of what an operator makes of an array."""
    given = attributes(scope, node, _ATTRIBUTES[node.op_type])

    def numbers(index: int, name: str) -> list[int] | None:
        if len(node.input) <= index or not node.input[index]:
            value: list[int] | None = given.get(name)
            return value
        array = graph.fold(scope, node.input[index])
        return None if array is None or array.size > MAX_AXES else [*map(int, array.reshape(-1))]

    if node.op_type == "Transpose":
        return _transposed(shape, given.get("perm"))
    if node.op_type == "Expand":
        return _broadcast(shape, _sizes(graph, scope, node.input[1], depth))
    if node.op_type == "Reshape":
        target = numbers(1, "shape")
        keeps = not given.get("allowzero")
        if target is None:
            return None
        sizes = [shape[k] if n == 0 and keeps else n for k, n in enumerate(target)]
        return [None if size == -1 else size for size in sizes]
    if node.op_type == "Slice":
        cuts = [numbers(1 + k, n) for k, n in enumerate(("starts", "ends", "axes", "steps"))]
        if cuts[3] is None and len(node.input) > 4:
            return [None] * len(shape)
        return _sliced(shape, *cuts, all_axes=len(node.input) < 4 and "axes" not in given)
    axes = numbers(1, "axes")
    if node.op_type == "Unsqueeze":
        return None if axes is None else _unsqueezed(shape, axes)
    if axes is None:
        given_all = node.op_type == "Squeeze" and len(node.input) == 1 and None not in shape
        return [size for size in shape if size != 1] if given_all else None
    gone = {axis % len(shape) for axis in axes}
    return [size for k, size in enumerate(shape) if k not in gone]


def _transposed(shape: Shape, perm: list[int] | None) -> Shape | None:
    if perm is None:
        return shape[::-1]
    return [shape[axis] for axis in perm] if sorted(perm) == list(range(len(shape))) else None


def _unsqueezed(shape: Shape, axes: list[int]) -> Shape:
    rank = len(shape) + len(axes)
    new, left = {axis % rank for axis in axes}, iter(shape)
    return [1 if k in new else next(left, None) for k in range(rank)]


def _sliced(
    shape: Shape,
    starts: list[int] | None,
    ends: list[int] | None,
    axes: list[int] | None,
    steps: list[int] | None,
    *,
    all_axes: bool,
) -> Shape:
    """Return the shape of a slice; no size is known if the cuts are not."""
    where = list(range(len(starts or ()))) if all_axes else axes
    if starts is None or ends is None or where is None:
        return [None] * len(shape)
    sizes = list(shape)
    for k, (axis, start, end) in enumerate(zip(where, starts, ends, strict=True)):
        size = sizes[axis]
        step = 1 if steps is None else steps[k]
        known = size is not None and step > 0
        sizes[axis] = len(range(*slice(start, end, step).indices(size or 0))) if known else None
    return sizes


def _broadcast(shape: Shape, target: Shape | None) -> Shape | None:
    if target is None:
        return None
    pairs = list(zip_longest(shape[::-1], target[::-1], fillvalue=1))[::-1]
    return [_larger(*pair) for pair in pairs]


def _larger(one: int | None, other: int | None) -> int | None:
    """Return the size that two sizes are broadcast to."""
    if one == 1 or other == 1:
        return other if one == 1 else one
    return one if other is None else other


def _sizes(graph: Graph, scope: Scope, name: str, depth: int, join: bool = True) -> Shape | None:
    """Return the elements of a list of sizes, which a graph often joins from known and unknown."""
    if (array := graph.fold(scope, name)) is not None:
        fits = array.ndim == 1 and array.size <= MAX_DEPTH and array.dtype.kind == "i"
        return [int(n) for n in array] if fits else None
    scope, _, node = scope.find(name)
    kind = getattr(node, "op_type", "")
    if depth > MAX_DEPTH or not kind or not node.input:
        return None
    if kind in ("Identity", "Cast"):
        return _sizes(graph, scope, node.input[0], depth + 1, join)
    if kind == "Unsqueeze":
        return [None]  # a list of one size
    if kind != "Concat" or not join or len(node.input) > MAX_DEPTH:
        return None  # lists of lists could double at every level
    sizes: Shape = []
    for part in node.input:
        if (known := _sizes(graph, scope, part, depth + 1, join=False)) is None:
            return None
        sizes += known
    return sizes
