"""Operators of ONNX that are layers: embedding, dense, activations, gain and skip."""

from dataclasses import replace
from typing import Any

import numpy as np

from ...layers import Dense, Embedding, Gain, Last, Skip
from ...layout import Array
from .arithmetic import computed
from .evaluator import Call, Quantised, Scale
from .graph import MAX_DEPTH, title
from .indices import Indices, plain
from .initial_states import origin
from .lasts import settled
from .layout_operators import LAYOUT
from .recurrent import bind_features, features_of, spread
from .sizes import Size, Undecided, equal, known
from .sources import FEATURES, Beside, Cell, Constant, Input, Layered, chain_of
from .views import Axis, Digit, View, axes_of, merged, places, size_of, transpose, unsqueeze

_MOST = 1 << 24  # features of a layer, if their places are listed


# ---- Embedding ----


def gather(call: Call) -> list[Any]:
    """Take rows of a constant matrix at an input's indices, an embedding; or places of an axis."""
    indices, data = call.argument(1), call.argument(0)
    if isinstance(indices, Indices) and isinstance(data, View) and data.axes:
        (count,) = known(data.shape[:1])
        indices = plain(indices, count)
    if not isinstance(indices, View) or isinstance(indices.source, Constant):
        return LAYOUT["Gather"][0](call)
    weight = call.constant(0)
    if weight is None or weight.ndim != 2 or call.given.get("axis", 0) not in (0, -2):
        raise Undecided(f"its indices come from {origin(indices)}")
    if not isinstance(indices.source, Input) or weight.dtype.kind != "f":
        raise Undecided(f"its indices come from {origin(indices)}, and it takes {origin(data)}")
    call.evaluator.graph.reserve(8 * weight.size)
    sizes = indices.source.sizes | {FEATURES: weight.shape[1]}
    source = Layered(indices.source, Embedding(weight), title(call.node), sizes)
    own = merged([Digit(weight.shape[1], FEATURES, 1)])
    return [View(source, (*indices.axes, own), indices.at)]


# ---- Products ----


def product_of(call: Call, view: View, axis: int, weight: Array) -> View:
    """Return a view of a Dense that takes the features on an axis; weight is (O, I)."""
    view = _of_layers(view)
    digits = view.axes[axis]
    name = bind_features(view, digits)
    if name is not None and any(d not in digits for d in view.along(name)):
        raise Undecided("its features are on several axes")
    inputs = weight.shape[1]
    if isinstance(size := size_of(digits), int) and size != inputs:
        raise ValueError(f"it multiplies {size} features by a matrix for {inputs}")
    sizes = {n: size for n, size in view.source.sizes.items() if n != name}
    if name is not None and not _is_whole(view, digits, name):
        whole = view.source.sizes[name]
        if not isinstance(whole, int):
            raise Undecided("it takes a part of an unknown number of features")
        call.evaluator.graph.reserve(8 * whole * len(weight))
        weight = spread(weight, places(view, digits, name, _MOST), whole)
    sizes[FEATURES] = len(weight)
    source = Layered(view.source, Dense(weight), title(call.node), sizes)
    axes = list(view.axes)
    axes[axis] = merged([Digit(len(weight), FEATURES, 1)])
    return View(source, tuple(axes), {n: at for n, at in view.at.items() if n != name})


def _of_layers(view: View) -> View:
    view = settled(view)
    if isinstance(view.source, (Constant, Cell, Beside)):
        raise Undecided(f"it takes {origin(view)}")
    return view


def _is_whole(view: View, digits: Axis, name: str) -> bool:
    whole = digits == merged([Digit(view.source.sizes[name], name, 1)])
    return whole and view.at.get(name, 0) == 0


def matmul(call: Call) -> list[Any]:
    """Multiply a value by a constant matrix, from either side."""
    return [_product(call)]


def _product(call: Call) -> View:
    turn_a, turn_b, alpha = (call.given.get(name) for name in ("transA", "transB", "alpha"))
    constants = [call.constant(k) for k in (0, 1)]
    if all(array is not None for array in constants):
        raise Undecided("it multiplies constants")
    if all(array is None for array in constants):
        raise Undecided("it multiplies two values that are computed")
    first = constants[0] is None
    array = constants[1] if first else constants[0]
    assert array is not None
    view = call.view(0 if first else 1)
    if turn_a if first else turn_b:
        view = transpose(view, [*range(len(view.axes) - 2), len(view.axes) - 1, len(view.axes) - 2])
    turned = turn_b if first else turn_a
    matrix = _matrix(array, bool(turned)) * np.float32(1 if alpha is None else alpha)
    if array.dtype == np.float16 or matrix.dtype.kind != "f":
        matrix = matrix.astype(np.float32)
    call.evaluator.graph.reserve(4 * matrix.nbytes)
    if len(view.axes) == 1:  # ONNX adds an axis and takes it away again
        return product_of(call, view, 0, matrix.T if first else matrix)
    for _ in range(array.ndim - len(view.axes)):
        view = unsqueeze(view, [0])
    if first:
        return product_of(call, view, len(view.axes) - 1, matrix.T)
    return product_of(call, view, len(view.axes) - 2, matrix)


def _matrix(array: Array, turned: bool) -> Array:
    """Return a constant operand as a matrix; ONNX may write it with leading axes of size one."""
    if array.ndim < 2 or any(size != 1 for size in array.shape[:-2]) or not array.size:
        raise Undecided(f"its matrix has shape {array.shape}")
    matrix = array.reshape(array.shape[-2:])
    return matrix.T if turned else matrix


def gemm(call: Call) -> list[Any]:
    """Multiply by a constant matrix and add a bias; ONNX Runtime's may have an activation."""
    given, view = call.given, _product(call)
    if call.argument(2) is not None:
        bias = call.constant(2)
        if bias is None:
            raise Undecided(f"its bias comes from {origin(call.argument(2))}")
        view = with_bias(call, view, bias * np.float32(given.get("beta", 1)))
    if (name := given.get("activation")) is not None:
        if name not in ACTIVATIONS or name == "Softmax" or given.get("activation_alpha", 1) != 1:
            raise Undecided(f"its activation is {name}")
        view = activated(call, view, ACTIVATIONS[name])
    return [view]


# ---- Elementwise ----


def _layer(call: Call, view: View, layer: Any, parent: Any = None) -> View:
    """Return the same view of what a layer makes of the source, element by element."""
    source = view.source if parent is None else parent
    return view.of(Layered(source, layer, title(call.node), view.source.sizes))


def with_bias(call: Call, view: View, array: Array) -> View:
    """Return a view of the source plus a constant for each feature."""
    view = _of_layers(view)
    vector = _per_feature(call, view, array)
    layer = view.source.layer if isinstance(view.source, Layered) else None
    linear = isinstance(layer, Dense) and layer.weight is not None and not layer.activation
    if isinstance(layer, Dense) and linear and layer.bias is None:
        return _layer(call, view, Dense(layer.weight, vector), view.source.parent)
    return _layer(call, view, Dense(None, vector))


def _per_feature(call: Call, view: View, array: Array) -> Array:
    """Return a constant that is broadcast to a view as one number for each feature."""
    if array.dtype.kind not in "fiu":
        raise Undecided(f"it computes with {array.dtype}")
    numbers = array.astype(np.float64 if array.dtype == np.float64 else np.float32)
    if array.ndim > len(view.axes) and any(size != 1 for size in array.shape[: -len(view.axes)]):
        raise Undecided(f"it computes with a constant of shape {array.shape}")
    aligned = [1] * (len(view.axes) - array.ndim) + list(array.shape)[-len(view.axes) or None :]
    wide = [(axis, n) for axis, n in zip(view.axes, aligned, strict=True) if n != 1]
    for axis, n in wide:
        if not equal(size_of(axis), n):
            raise ValueError(f"it combines {size_of(axis)} elements with {n} of a constant")
    digits = tuple(digit for axis, _ in wide for digit in axis)
    name = bind_features(view, digits) or features_of(view) or _unit_features(view)
    whole = view.source.sizes[name] if name is not None else 1
    if not isinstance(whole, int):
        raise Undecided("its number of features is unknown")
    call.evaluator.graph.reserve(16 * whole)
    if not wide:
        return np.full(whole, numbers.reshape(-1)[0] if numbers.size else 0, numbers.dtype)
    if any(digit.axis is None for digit in digits):
        raise Undecided("it combines a repeated axis with a constant")
    vector = np.zeros(whole, numbers.dtype)
    vector[places(view, digits, str(name), _MOST)] = numbers.reshape(-1)
    return vector


def _unit_features(view: View) -> str | None:
    """Return the last axis of an input, whose features have not been used yet."""
    digits = view.axes[-1] if view.axes else ()
    return bind_features(view, digits)


def activated(call: Call, view: View, name: str) -> View:
    """Return a view of the source after an activation."""
    view = _of_layers(view)
    layer = view.source.layer if isinstance(view.source, Layered) else None
    if isinstance(layer, Dense) and not layer.activation:
        return _layer(call, view, Dense(layer.weight, layer.bias, name), view.source.parent)
    return _layer(call, view, Dense(None, None, name))


def activation(call: Call) -> list[Any]:
    """Apply an elementwise function that a Dense has."""
    view = call.view()
    if isinstance(view.source, Constant):
        return computed(call)
    if call.given.get("alpha", 1) != 1:
        raise Undecided(f"its alpha is {call.given['alpha']}")
    return [activated(call, view, ACTIVATIONS[call.node.op_type])]


def softmax(call: Call) -> list[Any]:
    """Apply softmax if it is over all features; before opset 13 it is over all later axes, too."""
    view = _of_layers(call.view())
    old = call.scope.opset < 13
    (axis,) = axes_of([call.given.get("axis", 1 if old else -1)], len(view.axes))
    taken = view.axes[axis:] if old else view.axes[axis : axis + 1]
    digits = tuple(digit for own in taken for digit in own)
    name = bind_features(view, digits)
    size: Size = view.source.sizes[name] if name is not None else 1
    if not isinstance(size, int) or size > _MOST:
        raise Undecided("its number of features is unknown")
    found = places(view, digits, name, _MOST) if name is not None else np.zeros(1, np.int64)
    if sorted(found.tolist()) != list(range(size)):
        raise Undecided("it is not over all features")
    return [activated(call, view, "softmax")]


ACTIVATIONS = {
    "Tanh": "tanh",
    "Relu": "relu",
    "Sigmoid": "sigmoid",
    "Softmax": "softmax",
    "Elu": "elu",
}


# ---- Sums and gains ----


def add(call: Call) -> list[Any]:
    """Add or subtract a constant, which is a bias, or what a skip goes past."""
    values, minus = call.inputs[:2], call.node.op_type == "Sub"
    if len(values) != 2 or not all(isinstance(value, View) for value in values):
        raise Undecided("it adds quantised values")
    constants = [call.constant(k) for k in (0, 1)]
    kinds = [isinstance(value.source, Constant) for value in values]
    if all(kinds):
        return computed(call)
    if any(kinds):
        first = kinds[1]
        array = constants[1] if first else constants[0]
        if array is None or (minus and not first):
            raise Undecided("it adds something that is no constant of known size")
        return [with_bias(call, values[0 if first else 1], -array if minus else array)]
    if minus:
        raise Undecided("it subtracts two values that are computed")
    return [_skip(call, *values)]


def _skip(call: Call, one: View, other: View) -> View:
    """Return the sum of what layers give and of what they take."""
    views = [_of_layers(one), _of_layers(other)]
    if views[1].source is _ancestor(views[0].source, views[1].source):
        after, before = views
    elif views[0].source is _ancestor(views[1].source, views[0].source):
        before, after = views
    else:
        raise Undecided("it adds values of which neither is computed from the other")
    inner = chain_of(after.source, before.source)
    if not inner or any(isinstance(s.layer, (Embedding, Last)) for s in inner):
        raise Undecided("it adds values of which neither is computed from the other")
    count = _count_of_skip(before, after)
    layer = Skip(tuple(source.layer for source in inner), count)
    source = Layered(before.source, layer, title(call.node), after.source.sizes)
    source.inside = tuple(inner)
    source.depth = 1 + max(part.depth for part in inner)
    if source.depth > MAX_DEPTH:
        raise Undecided(f"skips are nested more than {MAX_DEPTH} deep")
    return after.of(source)


def _ancestor(source: Any, wanted: Any) -> Any:
    while isinstance(source, Layered) and source is not wanted:
        source = source.parent
    return source


def _count_of_skip(before: View, after: View) -> int:
    """Return how many features are added: one, which is added to all, or all of them."""
    rank = max(len(before.axes), len(after.axes))
    axes = [((),) * (rank - len(view.axes)) + view.axes for view in (before, after)]
    name = features_of(before)
    width = after.source.sizes[FEATURES]
    all_of = merged([Digit(width, name, 1)]), merged([Digit(width, FEATURES, 1)])
    for own, others in zip(*axes, strict=True):
        if any(digit.axis == FEATURES for digit in others) or any(d.axis == name for d in own):
            same = (own, others) == all_of
            if own and not same:
                raise Undecided("it adds other features")
        elif own != others:
            raise Undecided("it adds values that are arranged otherwise")
    if any(place != 0 for place in (*before.at.values(), *after.at.values())):
        raise Undecided("it adds a part of the features")
    single = not before.along(str(name))
    return 1 if single else int(width)


def multiply(call: Call) -> list[Any]:
    """Multiply or divide by one constant number, which is a gain; or by the scale of integers."""
    values = call.inputs[:2]
    if any(isinstance(value, (Quantised, Scale)) for value in values):
        return [_scaled(call, *values)]
    kinds = [isinstance(value.source, Constant) for value in values]
    if all(kinds):
        return computed(call)
    divides = call.node.op_type == "Div"
    if not any(kinds) or (divides and not kinds[1]):
        raise Undecided("it multiplies two values that are computed")
    number = call.constant(1 if kinds[1] else 0)
    if number is None or number.size != 1 or number.dtype.kind != "f":
        raise Undecided("it multiplies by more than one number")
    value = float(number.reshape(-1)[0])
    if not np.isfinite(value) or (divides and not value):
        raise Undecided(f"its factor is {value}")
    view = _of_layers(values[0 if kinds[1] else 1])
    if number.ndim > len(view.axes):
        view = unsqueeze(view, list(range(number.ndim - len(view.axes))))
    return [view if value == 1 else _layer(call, view, Gain(1 / value if divides else value))]


def _scaled(call: Call, one: Any, other: Any) -> Any:
    """Return a scale times a constant, or a product of integers times its scale."""
    if isinstance(other, Scale):
        one, other = other, one
    if not isinstance(one, Scale) or call.node.op_type != "Mul":
        raise Undecided("it computes with quantised values")
    factor = call.evaluator.constant(other)
    if factor is not None:
        return replace(one, factor=one.factor * factor)
    if not isinstance(other, Quantised) or other.token is not one.token:
        raise Undecided("it multiplies by another scale")
    return scaled(call, other.view, one.factor)


def scaled(call: Call, view: View, factor: Any) -> View:
    """Return a product of integers as one of real numbers: its weight times a scale."""
    layer = view.source.layer
    rows = _per_feature(call, view, np.asarray(factor, np.float32))
    weight = (layer.weight * rows[:, np.newaxis]).astype(np.float32)
    return _layer(call, view, Dense(weight), view.source.parent)


PRODUCT = {"transA": "INT", "transB": "INT", "alpha": "FLOAT", "beta": "FLOAT"}
"""The attributes of a Gemm."""
LAYERS: dict[str, tuple[Any, dict[str, str]]] = {
    "Gather": (gather, LAYOUT["Gather"][1]),
    "MatMul": (matmul, {}),
    "Gemm": (gemm, PRODUCT | {"broadcast": "INT"}),
    "Add": (add, {}),
    "Sub": (add, {}),
    "Mul": (multiply, {}),
    "Div": (multiply, {}),
    "Softmax": (softmax, {"axis": "INT"}),
    **dict.fromkeys(("Tanh", "Relu", "Sigmoid"), (activation, {})),
    "Elu": (activation, {"alpha": "FLOAT"}),
}
"""Each operator, with its attributes and their types."""
