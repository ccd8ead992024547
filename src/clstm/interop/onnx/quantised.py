"""Operators of quantised ONNX files: read with the weights as real numbers, nothing is rounded."""

from typing import Any

import numpy as np

from ...layers import Dense
from ...layout import Array
from .arithmetic import computed
from .evaluator import Call, Quantised, Scale, ZeroPoint
from .graph import name_of
from .initial_states import origin
from .layer_operators import activated, product_of, scaled, with_bias
from .sizes import Undecided
from .sources import Constant, Layered
from .views import View


def quantise_dynamically(call: Call) -> list[Any]:
    """Return integers, and their scale and zero, which only fit each other."""
    token = object()
    return [Quantised(call.view(), token), Scale(token, 1), ZeroPoint(token)]


def quantise(call: Call) -> list[Any]:
    """Return integers with a constant scale.

    The lowest of them may stand for zero. That is how ONNX Runtime's quantiser writes a Relu.
    """
    view = call.view()
    if isinstance(view.source, Constant):
        raise Undecided("it rounds a constant")
    numbers = _numbers(call)
    if _begins_at_zero(call) and not _is_positive(view):
        view = activated(call, view, "relu")
    return [Quantised(view, numbers)]


def _begins_at_zero(call: Call) -> bool:
    """Return whether no integer stands for a negative number."""
    zero = call.constant(2)
    if zero is None:
        return call.given.get("output_dtype", 0) in _UNSIGNED
    lowest = zero == np.iinfo(zero.dtype).min if zero.dtype.kind in "iu" else np.zeros(1, bool)
    if lowest.any() and not lowest.all():
        raise Undecided("its integers begin at zero for some features only")
    return bool(lowest.all())


def _is_positive(view: View) -> bool:
    layer = view.source.layer if isinstance(view.source, Layered) else None
    return isinstance(layer, Dense) and layer.activation in ("relu", "sigmoid", "softmax")


def dequantise(call: Call) -> list[Any]:
    """Return real numbers: of integers that a node made of them, or of constants."""
    value = call.argument(0)
    if isinstance(value, Quantised):
        other = call.argument(1)
        token = other.token if isinstance(other, Scale) else _numbers(call)
        if value.token is not token and value.token != token:
            raise Undecided("it has another scale than its input")
        return [value.view]
    if not isinstance(call.view().source, Constant):
        raise Undecided(f"it takes integers of {origin(value)}")
    call.evaluator.dequantised[name_of(call.node)] = None
    return computed(call)


def _numbers(call: Call) -> tuple[Any, ...]:
    """Return constant scale and zero point, to be compared."""
    scale = call.constant(1)
    if scale is None:
        raise Undecided("its scale is only known when it runs")
    zero = call.constant(2)
    zeros = [0] if zero is None else zero.reshape(-1).tolist()
    return (tuple(scale.reshape(-1).tolist()), tuple(zeros))


def _weight(call: Call, index: int, zero: int) -> Array:
    """Return a constant matrix of integers less its zero point, (I, O)."""
    array, zeros = call.constant(index), call.constant(zero)
    if array is None or array.ndim != 2 or array.dtype.kind not in "iu":
        raise Undecided(f"its matrix is {origin(call.argument(index))}")
    call.evaluator.graph.reserve(12 * array.size)
    call.evaluator.dequantised[name_of(call.node)] = None
    return array.astype(np.float32) - (np.float32(0) if zeros is None else zeros.astype(np.float32))


def integer_product(call: Call) -> list[Any]:
    """Multiply integers by a constant matrix of integers."""
    value = call.argument(0)
    fits = isinstance(value, Quantised) and _is_zero_of(call.argument(2), value)
    if not fits:
        raise Undecided("it multiplies integers of another kind")
    matrix = _weight(call, 1, 3)
    view = product_of(call, value.view, len(value.view.axes) - 1, matrix.T)
    return [Quantised(view, value.token)]


def _is_zero_of(zero: Any, value: Quantised) -> bool:
    return isinstance(zero, ZeroPoint) and zero.token is value.token


def product_to_float(call: Call) -> list[Any]:
    """Multiply integers by a constant matrix of integers, and scale the result (ONNX Runtime's)."""
    value, scale = call.argument(0), call.argument(2)
    fits = isinstance(value, Quantised) and isinstance(scale, Scale) and scale.token is value.token
    if not fits or not _is_zero_of(call.argument(4), value):
        raise Undecided("it multiplies integers of another kind")
    factor = call.constant(3)
    if factor is None:
        raise Undecided("its scale is only known when it runs")
    view = product_of(call, value.view, len(value.view.axes) - 1, _weight(call, 1, 5).T)
    return [_with_bias(call, scaled(call, view, factor * scale.factor), 6)]


def dynamic_product(call: Call) -> list[Any]:
    """Multiply a value by a constant matrix of integers (ONNX Runtime's)."""
    view, factor = call.view(), call.constant(2)
    if factor is None:
        raise Undecided("its scale is only known when it runs")
    result = product_of(call, view, len(view.axes) - 1, _weight(call, 1, 3).T)
    return [_with_bias(call, scaled(call, result, factor), 4)]


def _with_bias(call: Call, view: View, index: int) -> View:
    if call.argument(index) is None:
        return view
    if (bias := call.constant(index)) is None:
        raise Undecided(f"its bias comes from {origin(call.argument(index))}")
    return with_bias(call, view, bias)


_UNSIGNED = (0, 2, 4, 21)  # none given, TensorProto.UINT8, UINT16, UINT4
_DEQUANTISE = {"axis": "INT", "block_size": "INT", "output_dtype": "INT"}

QUANTISED: dict[str, tuple[Any, dict[str, str]]] = {
    "DynamicQuantizeLinear": (quantise_dynamically, {}),
    "QuantizeLinear": (quantise, _DEQUANTISE | {"saturate": "INT", "precision": "INT"}),
    "DequantizeLinear": (dequantise, _DEQUANTISE),
    "MatMulInteger": (integer_product, {}),
}
"""Operators of ONNX itself, with their attributes."""
OF_ONNX_RUNTIME: dict[str, tuple[Any, dict[str, str]]] = {
    "QuantizeLinear": QUANTISED["QuantizeLinear"],
    "DequantizeLinear": QUANTISED["DequantizeLinear"],
    "DynamicQuantizeMatMul": (dynamic_product, {}),
    "MatMulIntegerToFloat": (product_to_float, {}),
}
"""Operators of the domain com.microsoft."""
