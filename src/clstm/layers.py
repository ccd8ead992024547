"""Layers around LSTMs in a `Sequential`: embedding, dense, last step, product, skip, gain, mask.

A layer is a function of sequences, in NumPy. Its arrays are read-only; `Sequential.edit` changes
those of the layers of a model.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np

from .layout import Array, as_array, cast
from .lstm import LSTM
from .options import real_number
from .rows import Rows

__all__ = ["Dense", "Embedding", "Gain", "Last", "Masking", "Product", "Reverse", "Skip"]

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "": lambda x: x,
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: np.exp(-np.logaddexp(0, -x)),  # does not overflow
    "softmax": lambda x: np.exp(x - np.logaddexp.reduce(x, axis=-1, keepdims=True)),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
}
"""Functions of a `Dense`, by name; softmax is over the last axis, the others are elementwise."""

# The gradient with respect to a function's argument, from its result y and the gradient dy.
_DERIVATIVES: dict[str, Callable[[Array, Array], Array]] = {
    "": lambda y, dy: dy,
    "tanh": lambda y, dy: dy * (1 - y * y),
    "relu": lambda y, dy: dy * (y > 0),
    "sigmoid": lambda y, dy: dy * (y * (1 - y)),
    "softmax": lambda y, dy: y * (dy - (dy * y).sum(axis=-1, keepdims=True)),
    "elu": lambda y, dy: dy * np.where(y > 0, 1, y + 1),
}


class Layer:
    """The base class of layers without a state.

    A subclass is a frozen dataclass, and says which of its fields are parameters, how many features
    it gives for how many it takes, and its forward and backward pass.
    """

    __slots__ = ()
    _names: tuple[str, ...] = ()  # of the parameters

    @property
    def parameters(self) -> Mapping[str, Array]:
        """The arrays of the layer by name, read-only."""
        given = {name: getattr(self, name) for name in self._names}
        return {name: array for name, array in given.items() if array is not None}

    def with_parameters(self, arrays: Mapping[str, Array]) -> Self:
        """Return the same layer with other arrays, which are not copied."""
        return replace(self, **arrays) if arrays else self  # type: ignore[type-var]

    def __repr__(self) -> str:
        """Return the arguments; of an array only its shape."""
        shown = []
        for field in fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                shown.append(f"{field.name}{value.shape}")
            elif value != field.default:
                shown.append(f"{field.name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def features(self, taken: int | None) -> int | None:
        """Return the number of features y has if x has `taken`; None stands for any number.

        Raises ValueError if x must have another number.
        """
        return taken

    def forward(self, x: Array, rows: Rows) -> tuple[Array, Rows]:
        """Return y, and its rows."""
        raise NotImplementedError

    def backward(self, x: Array, y: Array, rows: Rows, dy: Array) -> tuple[Array, list[Array]]:
        """Return the gradients of x and of each parameter; `rows` are those of x."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class Embedding(Layer):
    """y_t = weight[x_t]: a vector for each index. Only the first layer of a model can be one.

    Parameters
    ----------
    weight : ndarray, shape (V, I)
        A row for each index from 0 to V - 1.
    mask_zero : bool, default=False
        Whether the index 0 is padding: the model's LSTMs skip these steps, as after a `Masking`.
    zero_masked : bool, default=False
        As in `Masking`.

    Raises
    ------
    ValueError, TypeError
        If `weight` is not an array of two axes.
    """

    weight: Array
    mask_zero: bool = False
    zero_masked: bool = False
    _names = ("weight",)

    def __post_init__(self) -> None:
        _own(self, "weight", ("V", "I"))

    def features(self, taken: int | None) -> int | None:
        if taken is not None:
            raise ValueError("an Embedding takes indices: it can only be the first layer")
        size: int = self.weight.shape[1]
        return size

    def forward(self, x: Array, rows: Rows) -> tuple[Array, Rows]:
        wrong = (x < 0) | (x >= len(self.weight))
        if wrong.any():
            last = len(self.weight) - 1
            raise ValueError(f"x must hold indices from 0 to {last}, got {x[wrong].flat[0]}")
        masked = rows.masked(x != 0, self.zero_masked) if self.mask_zero else rows
        return self.weight[x], masked

    def backward(self, x: Array, y: Array, rows: Rows, dy: Array) -> tuple[Array, list[Array]]:
        grad = np.zeros_like(self.weight)
        np.add.at(grad, x, dy)
        return x, [grad]


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class Dense(Layer):
    """y_t = activation(weight @ x_t + bias) at every step; without a weight activation(x_t).

    Parameters
    ----------
    weight : ndarray, shape (O, I), optional
    bias : ndarray, shape (O,), optional
    activation : {"", "tanh", "relu", "sigmoid", "softmax", "elu"}, default=""
        "" is the identity; "softmax" is over the features.

    Raises
    ------
    ValueError
        If the activation is unknown, or a shape does not fit.
    TypeError
        If `weight` or `bias` is not an array.
    """

    weight: Array | None = None
    bias: Array | None = None
    activation: str = ""
    _names = ("weight", "bias")

    def __post_init__(self) -> None:
        if not isinstance(self.activation, str) or self.activation not in ACTIVATIONS:
            known = ", ".join(map(repr, ACTIVATIONS))
            raise ValueError(f"activation must be one of {known}, got {self.activation!r}")
        _own(self, "weight", ("O", "I"))
        _own(self, "bias", ("O",))
        if self.weight is not None and self.bias is not None:
            expected = self.weight.shape[:1]
            if self.bias.shape != expected:
                raise ValueError(f"bias has shape {self.bias.shape}, weight's makes it {expected}")

    def features(self, taken: int | None) -> int | None:
        array = self.weight if self.weight is not None else self.bias
        if array is not None and taken not in (None, array.shape[-1]):
            raise ValueError(f"it takes {array.shape[-1]} features, the one before gives {taken}")
        return taken if array is None else len(array)

    @np.errstate(all="ignore")
    def __call__(self, x: Array) -> Array:
        y = as_array(x, "x")
        if self.weight is not None:
            y = cast(y, self.weight.dtype) @ self.weight.T
        return ACTIVATIONS[self.activation](y if self.bias is None else y + self.bias)

    def forward(self, x: Array, rows: Rows) -> tuple[Array, Rows]:
        return self(x), rows

    @np.errstate(all="ignore")
    def backward(self, x: Array, y: Array, rows: Rows, dy: Array) -> tuple[Array, list[Array]]:
        dz = _DERIVATIVES[self.activation](y, dy)
        flat = dz.reshape(-1, dz.shape[-1])
        grads = [] if self.weight is None else [flat.T @ x.reshape(-1, x.shape[-1])]
        grads += [] if self.bias is None else [flat.sum(axis=0)]
        return dz if self.weight is None else dz @ self.weight, grads


@dataclass(frozen=True, repr=False, slots=True)
class Last(Layer):
    """y (B, O): the last step of each row that is neither padding nor masked; zero without one.

    Behind a mask with ``zero_masked=True`` the last step counts although it is masked: as x there,
    y is zero behind an LSTM.

    Parameters
    ----------
    ends : bool, default=False
        Whether the features of a reverse direction are taken from the first step instead, where
        that direction ends: the final h of each direction, as Keras's ``return_sequences=False``
        gives it. Without `ends` all features are those of the last step, ``y[:, -1]`` in PyTorch.
    """

    ends: bool = False

    def forward(self, x: Array, rows: Rows) -> tuple[Array, Rows]:
        y = rows.take(x, rows.last_steps())
        if self.ends:
            split = rows.reversed_from
            y[:, split:] = rows.take(x[..., split:], rows.first_steps())
        return y, rows.without_steps()

    def backward(self, x: Array, y: Array, rows: Rows, dy: Array) -> tuple[Array, list[Array]]:
        dx = np.zeros_like(x)
        split = rows.reversed_from if self.ends else x.shape[-1]
        rows.put(dx[..., :split], rows.last_steps(), dy[:, :split])
        rows.put(dx[..., split:], rows.first_steps(), dy[:, split:])
        return dx, []


@dataclass(frozen=True, repr=False, slots=True)
class Reverse(Layer):
    """y_t = x_{T-1-t}: the steps of each row in the opposite order, padding aside.

    Keras gives a sequence so by ``go_backwards=True``. As there, masked steps keep their numbers: a
    mask is not reversed with x.
    """

    def forward(self, x: Array, rows: Rows) -> tuple[Array, Rows]:
        return rows.reverse(x), rows

    def backward(self, x: Array, y: Array, rows: Rows, dy: Array) -> tuple[Array, list[Array]]:
        return rows.reverse(dy), []


@dataclass(frozen=True, repr=False, slots=True)
class Product(Layer):
    """y_t = x_t[:O] * x_t[O:]: the first half of the features times the second.

    Behind a bidirectional LSTM that is Keras's ``merge_mode="mul"``.
    """

    def features(self, taken: int | None) -> int | None:
        if taken is not None and taken % 2:
            raise ValueError(f"it takes an even number of features, the one before gives {taken}")
        return None if taken is None else taken // 2

    @np.errstate(all="ignore")
    def forward(self, x: Array, rows: Rows) -> tuple[Array, Rows]:
        first, second = np.split(x, 2, axis=-1)
        return first * second, rows

    @np.errstate(all="ignore")
    def backward(self, x: Array, y: Array, rows: Rows, dy: Array) -> tuple[Array, list[Array]]:
        first, second = np.split(x, 2, axis=-1)
        return np.concatenate([dy * second, dy * first], axis=-1), []


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class Skip(Layer):
    """y = layers(x) + x[..., :count]: the first features of x are added to the result.

    Parameters
    ----------
    layers : iterable of layers and LSTMs
    count : int, default=1
        Number of features that are added: 1, which is added to every feature of the result, or as
        many as the result has.
    """

    layers: tuple[Any, ...]
    count: int = 1

    def __post_init__(self) -> None:
        if isinstance(self.layers, Mapping) or not isinstance(self.layers, Iterable):
            kind = type(self.layers).__name__
            raise TypeError(f"layers must be a list of layers, got {kind}")
        object.__setattr__(self, "layers", tuple(self.layers))
        if not isinstance(self.count, int) or self.count < 1:
            raise ValueError(f"count must be a positive integer, got {self.count!r}")

    def added(self, x: Array, y: Array) -> Array:
        """Return the result, from x and the result of the inner layers."""
        with np.errstate(all="ignore"):
            sums: Array = y + x[..., : self.count].astype(y.dtype, copy=False)
        return sums

    def gradient(self, dx: Array, dy: Array) -> Array:
        """Return the gradient of x: dx through the inner layers, and dy past them."""
        past = dy.sum(axis=-1, keepdims=True) if self.count == 1 else dy
        dx = dx.copy()
        dx[..., : self.count] += past
        return dx

    def __call__(self, x: Array) -> Array:
        array = y = as_array(x, "x")
        for layer in self.layers:
            if not callable(layer):
                raise TypeError(
                    f"a Skip cannot hold {type(layer).__name__} when it is called alone: it needs "
                    "the rows that clstm.Sequential([skip]) gives its layers"
                )
            y = layer(y)[0] if isinstance(layer, LSTM) else layer(y)
        if self.count not in (1, y.shape[-1]):
            raise ValueError(f"count={self.count} must be 1 or the {y.shape[-1]} features of y")
        return self.added(array, y)


@dataclass(frozen=True, repr=False, slots=True)
class Gain(Layer):
    """y = value * x.

    Parameters
    ----------
    value : float
        A finite factor, not in decibels: d dB are ``10 ** (d / 20)``. It is no parameter.
    """

    value: float

    def __post_init__(self) -> None:
        value = real_number("value", self.value)
        if not np.isfinite(value):
            raise ValueError(f"value must be finite, got {value}")
        object.__setattr__(self, "value", value)

    @np.errstate(all="ignore")
    def __call__(self, x: Array) -> Array:
        array = as_array(x, "x")
        y: Array = array * array.dtype.type(self.value)
        return y

    def forward(self, x: Array, rows: Rows) -> tuple[Array, Rows]:
        return self(x), rows

    def backward(self, x: Array, y: Array, rows: Rows, dy: Array) -> tuple[Array, list[Array]]:
        return self(dy), []


@dataclass(frozen=True, repr=False, slots=True)
class Masking(Layer):
    """y = x; the model's LSTMs skip the steps at which all features equal `value`.

    A skipped step leaves the state as it is. y of an LSTM there is, for each direction, that of the
    step that the direction computed before, and zero if there is none.

    Parameters
    ----------
    value : float, default=0.0
    zero_masked : bool, default=False
        Whether y of an LSTM is zero at every masked step instead, as Keras makes it by
        ``zero_output_for_mask`` and in a Bidirectional.
    """

    value: float = 0.0
    zero_masked: bool = False

    def forward(self, x: Array, rows: Rows) -> tuple[Array, Rows]:
        return x, rows.masked((x != self.value).any(axis=-1), self.zero_masked)

    def backward(self, x: Array, y: Array, rows: Rows, dy: Array) -> tuple[Array, list[Array]]:
        return dy, []


def _own(layer: Layer, name: str, axes: tuple[str, ...]) -> None:
    """Check an array of a layer, and make a read-only view of it."""
    value = getattr(layer, name)
    if value is None and not isinstance(layer, Embedding):
        return
    expected = f"({', '.join(axes)}{',' * (len(axes) == 1)})"
    if not isinstance(value, np.ndarray):
        nothing = "" if isinstance(layer, Embedding) else " or None"
        raise TypeError(
            f"{name} must be a NumPy array {expected}{nothing}, got {type(value).__name__}"
        )
    array = as_array(value, name).view()
    if array.ndim != len(axes):
        raise ValueError(f"{name} has shape {array.shape}, expected {expected}")
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float32)
    array.flags.writeable = False
    object.__setattr__(layer, name, array)
