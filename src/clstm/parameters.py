"""Named parameters of a model, and their initial values."""

import math
from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .layout import refuse_mask

Array = NDArray[Any]
Table = list[tuple[str, tuple[int, ...], int]]
"""``(name, shape, offset in the flat array)`` of each parameter, in order."""


class Parameters(Mapping[str, Array]):
    """Named views of one flat array: the parameters of a model, or their gradients.

    A mapping from names to arrays, in the order of the flat array. The views of a model are
    read-only: writing to them raises ValueError. ``with lstm.edit() as p`` yields writable ones.

    Attributes
    ----------
    flat : ndarray, shape (P,)
        All parameters in one contiguous array; assigning to it copies the values. With R for
        proj_size, or H without a projection, and D directions, each layer has

        - ``weight_ih_l{k}`` (4H, I), or (4H, D R) for k > 0, with gate blocks in the order input,
          forget, cell, output;
        - ``weight_hh_l{k}`` (4H, R);
        - ``bias_l{k}`` (4H,), if `bias`;
        - ``weight_hr_l{k}`` (R, H), if `proj_size`;
        - ``weight_peephole_l{k}`` (3H,), if the cell has peepholes, with blocks input, forget,
          output.

        Names of the reverse direction end in ``_reverse``, also if it is the only one; in a
        bidirectional layer they follow those of the forward direction. After the layers come
        ``weight_out`` (O, D R) and ``bias_out`` (O,), if `output_size`, and the initial state
        ``h0`` (L D, R) and ``c0`` (L D, H), if `learn_state`.
    """

    __slots__ = ("_flat", "_views")

    def __init__(self, table: Table, flat: Array) -> None:
        self._flat = flat
        views = {}
        for name, shape, offset in table:
            views[name] = flat[offset : offset + math.prod(shape)].reshape(shape)
        self._views = MappingProxyType(views)

    @property
    def flat(self) -> Array:
        return self._flat

    @flat.setter
    def flat(self, values: Array) -> None:
        refuse_mask(values, "flat")
        with np.errstate(all="ignore"):
            self._flat[...] = values

    def __getitem__(self, name: str) -> Array:
        try:
            return self._views[name]
        except KeyError:
            raise KeyError(f"no parameter {name!r:.80}, there are: {listed(self)}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._views

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    def __repr__(self) -> str:
        lines = [f"  {name}: {view.shape}" for name, view in self.items()]
        return "\n".join([f"Parameters of {self._flat.size} {self._flat.dtype}:", *lines])

    def freeze(self) -> None:
        """Make every view read-only: later writes would have no effect."""
        for array in (self._flat, *self._views.values()):
            array.flags.writeable = False


def listed(names: Collection[str], most: int = 20) -> str:
    """Return names for a message; of very many the first ones and the last."""
    shown = list(names)
    if len(shown) > most:
        shown[most - 1 : -1] = [f"... ({len(shown) - most} more)"]
    return ", ".join(shown)


@np.errstate(all="ignore")
def initialise(parameters: Parameters, forget_bias: float, rng: "np.random.Generator") -> None:
    """Draw initial values in place.

    ``weight_ih``, ``weight_hr`` and ``weight_out`` are Glorot uniform [1]_. Each gate of
    ``weight_hh`` is orthogonal [2]_; with a projection it has more rows than columns, and the
    columns are orthonormal. The biases of the forget gates are `forget_bias` [3]_. All other
    biases, the peepholes and the initial state are 0.

    References
    ----------
    .. [1] X. Glorot, Y. Bengio, "Understanding the difficulty of training deep feedforward neural
       networks", 2010.
    .. [2] A. Saxe, J. McClelland, S. Ganguli, "Exact solutions to the nonlinear dynamics of
       learning in deep linear neural networks", 2014.
    .. [3] R. Jozefowicz, W. Zaremba, I. Sutskever, "An empirical exploration of recurrent network
       architectures", 2015.
    """
    for name, array in parameters.items():
        if name.startswith("weight_hh_l"):
            for gate in np.split(array, 4):
                gate[...] = _orthonormal(gate.shape, rng)
        elif name.startswith(("weight_ih_l", "weight_hr_l")) or name == "weight_out":
            gates = 4 if name.startswith("weight_ih_l") else 1
            fan_out, fan_in = array.shape[0] // gates, array.shape[1]
            limit = np.sqrt(6 / (fan_in + fan_out))
            array[...] = rng.uniform(-limit, limit, array.shape)
        else:
            array[...] = 0
        if name.startswith("bias_l"):
            hidden_size = array.size // 4
            array[hidden_size : 2 * hidden_size] = forget_bias


def _orthonormal(shape: tuple[int, ...], rng: "np.random.Generator") -> Array:
    """Return random orthonormal columns by QR; the draw is uniform if R's diagonal is positive."""
    q, r = np.linalg.qr(rng.standard_normal(shape))
    return q * np.where(np.diagonal(r) < 0, -1.0, 1.0)
