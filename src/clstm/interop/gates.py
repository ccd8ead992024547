"""Gate blocks in other systems' orders."""

import numpy as np

from ..layout import Array

OURS = "ifgo"
"""Input, forget, cell and output gate. Peepholes are "ifo": the cell has none."""


def reorder(blocks: Array, order: str, target: str = OURS, axis: int = 0) -> Array:
    """Return an array with its gate blocks, equal parts of one axis, in another order.

    Parameters
    ----------
    blocks : ndarray
        One block for each letter of `order`, along `axis`.
    order, target : str
        The letters i, f, g and o, or some of them, in the present order and the new one.

    Returns
    -------
    ndarray
        A copy.
    """
    if sorted(order) != sorted(target):
        raise ValueError(f"{order!r} and {target!r} are not the same gates")
    parts = dict(zip(order, np.split(blocks, len(order), axis), strict=True))
    return np.concatenate([parts[gate] for gate in target], axis)
