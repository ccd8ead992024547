"""Loss functions with gradients: ``loss, dy = loss_function(y, target, weight=None)``.

Each loss is a weighted mean over the rows of y, that is, over all axes but the last. dy is the
gradient for `Tape.backward`. Rows of weight 0 are ignored, whatever y and target hold there.
"""

import numpy as np
from numpy.typing import ArrayLike

from .layout import Array, as_plain

__all__ = ["mean_squared_error", "softmax_cross_entropy"]

Rows = Array | slice


def softmax_cross_entropy(
    y: ArrayLike, target: ArrayLike, weight: ArrayLike | None = None
) -> tuple[float, Array]:
    """Cross-entropy between class indices and the softmax of y.

    With p = softmax(y) along the last axis, and n the index of a row::

        loss = sum_n weight_n * -log(p[n, target_n]) / sum_n weight_n
        dy[n, k] = weight_n * (p[n, k] - (k == target_n)) / sum_n weight_n

    Parameters
    ----------
    y : array_like, shape (..., O), floating
        Scores (logits) of the O classes; -inf excludes a class.
    target : array_like of int, shape (...)
        Class of each row, from 0 to O - 1.
    weight : array_like, broadcastable to the shape of `target`, optional
        Non-negative weights of the rows; 1 by default. Rows of weight 0, such as padding, are
        ignored, and their y and `target` may have any value.

    Returns
    -------
    loss : float
        Weighted mean of the cross-entropy.
    dy : ndarray, shape and dtype of y
        Gradient of the loss with respect to y.

    Raises
    ------
    TypeError
        If y is not floating-point, `target` does not hold integers, or `weight` does not hold real
        numbers.
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
    return _cross_entropy(*_arrays(y, target, weight))


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


def mean_squared_error(
    y: ArrayLike, target: ArrayLike, weight: ArrayLike | None = None
) -> tuple[float, Array]:
    """Mean of the squared differences between y and `target`.

    With n the index of a row and k the index of a feature::

        loss = sum_n weight_n * mean_k (y[n, k] - target[n, k])**2 / sum_n weight_n
        dy[n, k] = weight_n * 2 / O * (y[n, k] - target[n, k]) / sum_n weight_n

    Parameters
    ----------
    y : array_like, shape (..., O), floating
        Output of the model.
    target : array_like of real numbers, shape (..., O)
        Expected output. It is not broadcast, and it is converted to y's dtype.
    weight : array_like, broadcastable to shape (...), optional
        Non-negative weights of the rows; 1 by default. Rows of weight 0 are ignored, and their y
        and `target` may have any value.

    Returns
    -------
    loss : float
        Weighted mean of the squared differences.
    dy : ndarray, shape and dtype of y
        Gradient of the loss with respect to y.

    Raises
    ------
    TypeError
        If y is not floating-point, or `target` or `weight` does not hold real numbers.
    ValueError
        If a shape does not fit, a weight is negative or not finite, or no row has a positive weight
        (for example if y is empty).
    """
    return _squared_error(*_arrays(y, target, weight))


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


def _arrays(
    y: ArrayLike, target: ArrayLike, weight: ArrayLike | None
) -> tuple[Array, Array, Array | None]:
    """Convert a loss's arguments; what they run sees the caller's `np.errstate`."""
    given = None if weight is None else as_plain(weight, "weight")
    return as_plain(y, "y"), as_plain(target, "target"), given


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
