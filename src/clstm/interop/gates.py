"""Gate blocks in other systems' orders."""

import numpy as np

from ..layout import Array

OURS = "ifgo"
"""Input, forget, cell, output gate; o-peepholes leave the cell out."""


def reorder(blocks: Array, order: str, target: str = OURS, axis: int = 0) -> Array:
    """Return gate blocks, equal parts of an axis in the order of the letters, in another order.

    Parameters
    ----------
    blocks : ndarray
        As many equal blocks along `axis` as `order` has letters.
    order, target : str
        The same letters: i, f, g and o, or those of them that there are.

    Returns
    -------
    ndarray
        A copy.
    """
    if sorted(order) != sorted(target):
        raise ValueError(f"{order!r} and {target!r} are not the same gates")
    parts = dict(zip(order, np.split(blocks, len(order), axis), strict=True))
    return np.concatenate([parts[gate] for gate in target], axis)
