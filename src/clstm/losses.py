"""Loss functions with gradients: ``loss, dy = loss_function(y, target, weight=None)``.

Each loss is a weighted mean over the rows of y, that is, over all axes but the last. dy is the
gradient for `Tape.backward`. Rows of weight 0 are ignored, whatever y and target hold there. y may
be a list of arrays, as a tape of sequences has it: the mean is over the rows of all of them.
"""

from collections.abc import Callable
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike

from .layout import Array, SupportsArray, as_plain

__all__ = ["mean_squared_error", "softmax_cross_entropy"]

Rows = Array | slice
Loss = Callable[[Array, Array, Array | None], tuple[float, Array]]


@overload
def softmax_cross_entropy(
    y: SupportsArray, target: ArrayLike, weight: ArrayLike | None = None
) -> tuple[float, Array]: ...
@overload
def softmax_cross_entropy(
    y: list[Any], target: Any, weight: Any = None
) -> tuple[float, list[Array]]: ...
def softmax_cross_entropy(y: Any, target: Any, weight: Any = None) -> tuple[float, Any]:
    """Cross-entropy between class indices and the softmax of y.

    With p = softmax(y) along the last axis, and n the index of a row::

        loss = sum_n weight_n * -log(p[n, target_n]) / sum_n weight_n
        dy[n, k] = weight_n * (p[n, k] - (k == target_n)) / sum_n weight_n

    Parameters
    ----------
    y : array_like, shape (..., O), floating, or list of ndarray (T_k, O)
        Scores (logits) of the O classes; -inf excludes a class.
    target : array_like of int, shape (...), or list of array_like (T_k,)
        Class of each row, from 0 to O - 1. A list if y is a list of arrays.
    weight : array_like, broadcastable to the shape of `target`, or list, optional
        Non-negative weights of the rows; 1 by default. Rows of weight 0, such as padding, are
        ignored, and their y and `target` may have any value. If y is a list of arrays, a list of
        weights (T_k,) or of one number for each array, or an array of these numbers.

    Returns
    -------
    loss : float
        Weighted mean of the cross-entropy.
    dy : ndarray, shape and dtype of y, or list of ndarray
        Gradient of the loss with respect to y; a list if y is a list of arrays.

    Raises
    ------
    TypeError
        If y is not floating-point, `target` does not hold integers, `weight` does not hold real
        numbers, or one of them has a mask; or if y is a tape, or the pair that a model returns.
    ValueError
        If a shape does not fit, a target is not a class, a weight is negative or not finite, or no
        row has a positive weight (for example if y is empty).

    Notes
    -----
    The equations are 4.108 and 4.109 of C. M. Bishop, "Pattern Recognition and Machine Learning",
    Springer 2006. The largest score of each row is subtracted first, so that no exponential
    overflows.

    Examples
    --------
    >>> import clstm, numpy as np
    >>> loss, dy = clstm.losses.softmax_cross_entropy(np.zeros((2, 4)), [3, -1], weight=[1, 0])
    >>> round(loss, 4), dy.tolist()
    (1.3863, [[0.25, 0.25, 0.25, -0.75], [0.0, 0.0, 0.0, 0.0]])
    """
    return _of_array_or_list(_cross_entropy, 1, y, target, weight)


@np.errstate(all="ignore")
def _cross_entropy(y: Array, classes: Array, weight: Array | None) -> tuple[float, Array]:
    _check_scores(y)
    if classes.dtype.kind not in "iu":
        raise TypeError(f"target must hold integers (class indices), not {classes.dtype}")
    if classes.shape != y.shape[:-1]:
        raise ValueError(f"target has shape {classes.shape}, expected {y.shape[:-1]} as y")
    rows, share = _weighted_rows(y, weight)
    classes = classes.reshape(-1)[rows]
    wrong = (classes < 0) | (classes >= y.shape[-1])
    if wrong.any():
        found, last = classes[wrong][0], y.shape[-1] - 1
        raise ValueError(f"target must be from 0 to {last}, a class of y, got {found}")

    scores = _as_rows(y, rows)
    each = np.arange(len(scores)), classes
    d = scores - scores.max(axis=-1, keepdims=True)
    of_target = d[each].astype(np.float64)
    np.exp(d, out=d)
    total = d.sum(axis=-1, dtype=np.float64)
    loss = float((share * (np.log(total) - of_target)).sum())
    d *= (share / total).astype(d.dtype)[:, np.newaxis]
    d[each] -= share.astype(d.dtype)
    return loss, _like(y, rows, d)


@overload
def mean_squared_error(
    y: SupportsArray, target: ArrayLike, weight: ArrayLike | None = None
) -> tuple[float, Array]: ...
@overload
def mean_squared_error(
    y: list[Any], target: Any, weight: Any = None
) -> tuple[float, list[Array]]: ...
def mean_squared_error(y: Any, target: Any, weight: Any = None) -> tuple[float, Any]:
    """Mean of the squared differences between y and `target`.

    With n the index of a row and k the index of a feature::

        loss = sum_n weight_n * mean_k (y[n, k] - target[n, k])**2 / sum_n weight_n
        dy[n, k] = weight_n * 2 / O * (y[n, k] - target[n, k]) / sum_n weight_n

    Parameters
    ----------
    y : array_like, shape (..., O), floating, or list of ndarray (T_k, O)
        Output of the model.
    target : array_like of real numbers, shape (..., O), or list of array_like (T_k, O)
        Expected output. It is not broadcast, and it is converted to y's dtype. A list if y is a
        list of arrays.
    weight : array_like, broadcastable to shape (...), or list, optional
        Non-negative weights of the rows; 1 by default. Rows of weight 0 are ignored, and their y
        and `target` may have any value. If y is a list of arrays, a list of weights (T_k,) or of
        one number for each array, or an array of these numbers.

    Returns
    -------
    loss : float
        Weighted mean of the squared differences.
    dy : ndarray, shape and dtype of y, or list of ndarray
        Gradient of the loss with respect to y; a list if y is a list of arrays.

    Raises
    ------
    TypeError
        If y is not floating-point, `target` or `weight` does not hold real numbers, or one of them
        has a mask; or if y is a tape, or the pair that a model returns.
    ValueError
        If a shape does not fit, a weight is negative or not finite, or no row has a positive weight
        (for example if y is empty).
    """
    return _of_array_or_list(_squared_error, 0, y, target, weight)


@np.errstate(all="ignore")
def _squared_error(y: Array, wanted: Array, weight: Array | None) -> tuple[float, Array]:
    _check_scores(y)
    if wanted.dtype.kind not in "biuf":
        raise TypeError(f"target must hold real numbers, not {wanted.dtype}")
    if wanted.shape != y.shape:
        raise ValueError(f"target has shape {wanted.shape}, expected y's {y.shape}")
    rows, share = _weighted_rows(y, weight)
    d = _as_rows(y, rows)
    d = d - _as_rows(wanted, rows).astype(d.dtype, copy=False)
    of_row = np.einsum("nk,nk->n", d, d, dtype=np.float64, casting="same_kind")
    loss = float((share * of_row).sum()) / y.shape[-1]
    d *= (share * (2 / y.shape[-1])).astype(d.dtype)[:, np.newaxis]
    return loss, _like(y, rows, d)


def _of_array_or_list(
    loss_function: Loss, reduced: int, y: Any, target: Any, weight: Any
) -> tuple[float, Any]:
    """Convert a loss's arguments, and compute it; conversions see the caller's `np.errstate`.

    A target has y's shape without the last `reduced` axes.
    """
    for value, name in ((y, "y"), (target, "target")):
        _refuse_what_holds_y(value, name)
    if not _is_list_of_sequences(y):
        given = None if weight is None else _as_one(weight, "weight")
        return loss_function(_as_one(y, "y"), _as_one(target, "target"), given)
    parts = _as_parts(y, "y", len(y))
    shapes = [part.shape for part in parts]
    if different := [shape for shape in shapes if shape[1:] != shapes[0][1:]]:
        raise ValueError(f"y has arrays of shapes {shapes[0]} and {different[0]}: O differs")
    targets = _as_parts(target, "target", len(y))
    if isinstance(weight, np.ndarray) and weight.dtype != object and weight.shape == (len(y),):
        weight = list(as_plain(weight, "weight"))
    weights = None if weight is None else _as_parts(weight, "weight", len(y))
    _check_shapes(targets, [shape[: len(shape) - reduced] for shape in shapes], "target")
    loss, dy = loss_function(
        np.concatenate(parts),
        np.concatenate(targets),
        None if weights is None else _join_weights(weights, [shape[:-1] for shape in shapes]),
    )
    return loss, np.split(dy, np.cumsum([len(part) for part in parts[:-1]], dtype=np.intp))


def _refuse_what_holds_y(value: Any, name: str) -> None:
    """Raise for a tape, and for what a call of a model returns: y is in there."""
    if hasattr(value, "y") and hasattr(value, "backward"):
        kind = type(value).__name__
        raise TypeError(f"{name} must be an array or a list of arrays, got a {kind}: write tape.y")
    if _is_result_of_a_call(value):
        raise TypeError(
            f"{name} must be an array or a list of arrays, got the pair (y, state) that a model "
            "returns: write y, state = model(x), or to train tape = model.record(x) and tape.y"
        )


def _is_result_of_a_call(value: Any) -> bool:
    """Tell (y, (h, c)) and (y, ((h, c), ...)) from array_like pairs of rows."""
    if not isinstance(value, tuple) or len(value) != 2 or not isinstance(value[1], tuple):
        return False
    y, state = value
    if state and isinstance(state[0], tuple):
        state = state[0]
    if len(state) != 2 or not all(isinstance(part, np.ndarray) for part in state):
        return False
    return isinstance(y, list) or all(part.ndim >= np.ndim(y) for part in state)


def _is_list_of_sequences(value: object) -> bool:
    """Tell such a list from array_like ones, of numbers or of rows (O,)."""
    if not isinstance(value, list):
        return False
    return any(isinstance(part, np.ndarray) and part.ndim > 1 for part in value)


def _as_one(value: Any, name: str) -> Array:
    """Convert an argument that is one array."""
    try:
        return as_plain(value, name)
    except ValueError:
        if not isinstance(value, (list, tuple)):
            raise
        raise ValueError(
            f"{name} must be one array, or, like y, a list of arrays, got a {type(value).__name__} "
            "of parts that differ in shape"
        ) from None


def _as_parts(value: Any, name: str, count: int) -> list[Array]:
    """Convert an argument that is a list, of one array for each of y's."""
    if not isinstance(value, (list, tuple)):
        kind = type(value).__name__
        raise TypeError(f"{name} must be a list of arrays, because y is one, got {kind}")
    parts = [_as_one(part, f"{name}[{k}]") for k, part in enumerate(tuple(value))]
    if len(parts) != count:
        raise ValueError(f"{name} has {len(parts)} arrays, expected y's {count}")
    return parts


def _check_shapes(parts: list[Array], shapes: list[tuple[int, ...]], name: str) -> None:
    for k, (part, expected) in enumerate(zip(parts, shapes, strict=True)):
        if part.shape != expected:
            raise ValueError(f"{name}[{k}] has shape {part.shape}, expected {expected} as y[{k}]")


def _join_weights(parts: list[Array], shapes: list[tuple[int, ...]]) -> Array:
    """Concatenate the weights of several arrays' rows; one of no axes holds for all its rows."""
    filled = [
        np.full(shape, part) if part.ndim == 0 else part
        for part, shape in zip(parts, shapes, strict=True)
    ]
    _check_shapes(filled, shapes, "weight")
    return np.concatenate(filled)


def _check_scores(y: Array) -> None:
    if y.dtype.kind != "f":
        raise TypeError(f"y must be a floating-point array, not {y.dtype}")
    if y.ndim == 0 or y.shape[-1] == 0:
        raise ValueError(f"y must have a last axis of at least one output, got shape {y.shape}")


def _weighted_rows(y: Array, weight: Array | None) -> tuple[Rows, Array]:
    """Return the rows of positive weight, and their shares of the mean: float64, with sum 1."""
    shape = y.shape[:-1]
    if weight is None:
        if y.size == 0:
            raise ValueError(f"y must have at least one row, got shape {y.shape}")
        count = y.size // y.shape[-1]
        return slice(None), np.full(count, 1 / count)
    if weight.dtype.kind not in "biuf":
        raise TypeError(f"weight must hold real numbers, not {weight.dtype}")
    try:
        w = np.broadcast_to(weight, shape).astype(np.float64).reshape(-1)
    except ValueError:
        raise ValueError(
            f"weight has shape {weight.shape}, expected one that broadcasts to {shape}"
        ) from None
    if not (np.isfinite(w) & (w >= 0)).all():
        raise ValueError("weight must be finite and non-negative in every row")
    if not w.any():
        raise ValueError("weight must be positive in at least one row, got only zeros")
    w /= w.max()  # so that no sum overflows
    rows: Rows = slice(None) if w.all() else np.flatnonzero(w)
    return rows, w[rows] / w.sum()


def _as_rows(array: Array, rows: Rows) -> Array:
    """Return the chosen rows as (N, O), in at least float32."""
    chosen: Array = array.reshape(-1, array.shape[-1])[rows]
    return chosen.astype(np.result_type(array.dtype, np.float32), copy=False)


def _like(y: Array, rows: Rows, d: Array) -> Array:
    """Return an array of y's shape and dtype: d in the given rows, zero in the others."""
    if isinstance(rows, slice):
        return d.astype(y.dtype, copy=False).reshape(y.shape)
    dy: Array = np.zeros(y.shape, y.dtype)
    dy.reshape(-1, y.shape[-1])[rows] = d
    return dy
