"""Dropout masks: factors 0 or 1 / (1 - p) by which a recorded pass multiplies hidden states."""

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from .configuration import Configuration
from .layout import Array, Layout, as_array, cast
from .lengths import Ragged

Masks = tuple[Array | None, Array | None]
"""Between layers and in the recurrent products, in the core's layout; None means no dropout."""


def read_masks(
    config: Configuration,
    x: Array,
    layout: Layout | Ragged,
    factors: "tuple[float | Array, float | Array]",
    rng: "int | np.random.Generator | None",
) -> Masks:
    """Check the results of `as_factors`; draw or copy the masks. `x` is laid out as in `Call`."""
    dropout, recurrent_dropout = factors
    no_dropout, no_recurrent = _is_zero(dropout), _is_zero(recurrent_dropout)
    if no_dropout and no_recurrent:
        return None, None
    if config.num_layers == 1 and not no_dropout:
        raise ValueError("dropout acts between layers: it must be 0 with num_layers=1")
    if isinstance(layout, Ragged):
        batch = layout.lengths.shape
    else:
        batch = layout.to_core(x).shape[1:2] if layout.batched else ()
    between = _Argument(
        "dropout",
        (config.num_layers - 1, *x.shape[:-1], config.width),
        config.dtype,
        layout.layers_to_core,
    )
    recurrent = _Argument(
        "recurrent_dropout",
        (config.num_parts, *batch, config.state_size),
        config.dtype,
        layout.state_to_core,
    )
    # Both are checked before one is drawn: an error leaves the generator unchanged.
    checked = between.check(dropout), recurrent.check(recurrent_dropout)
    generator = np.random.default_rng(rng)
    return between.mask(checked[0], generator), recurrent.mask(checked[1], generator)


@dataclass(frozen=True, slots=True)
class Dropout:
    """What a recorded pass of a `Sequential` drops: probabilities, and the source of factors."""

    between: float
    recurrent: float
    rng: "np.random.Generator | None"  # None if nothing is dropped

    def draw(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array | None:
        """Return factors for what goes from one LSTM into the next; None for probability 0."""
        if not self.between or self.rng is None:
            return None
        return _Argument("dropout", shape, dtype, lambda mask: mask).mask(self.between, self.rng)

    def masks(self, config: Configuration, x: Array, layout: Layout | Ragged) -> Masks:
        """Draw the masks of one LSTM, as `LSTM.record` does."""
        between = self.between if config.num_layers > 1 else 0.0
        return read_masks(config, x, layout, (between, self.recurrent), self.rng)


def read_dropout(dropout: Any, recurrent_dropout: Any, rng: Any, has_between: bool) -> Dropout:
    """Check the arguments of `Sequential.record`."""
    between = _probability(dropout, "dropout")
    recurrent = _probability(recurrent_dropout, "recurrent_dropout")
    if between and not has_between:
        raise ValueError(
            "dropout acts between layers of LSTMs: it must be 0 in a model without two of them "
            "right after each other, in one LSTM or in two"
        )
    drops = between or recurrent
    return Dropout(between, recurrent, np.random.default_rng(rng) if drops else None)


def _probability(value: Any, name: str) -> float:
    if not isinstance(value, Real):
        raise TypeError(
            f"{name} must be a probability, got {type(value).__name__}: a Sequential draws the "
            "factors of each LSTM by rng"
        )
    probability = float(value)
    if not 0 <= probability < 1:
        raise ValueError(f"{name} must be in [0, 1), not {value}")
    return probability


def as_factors(value: Any, name: str) -> float | Array:
    """Convert a user's probability or mask for `read_masks`."""
    if type(value) is float or isinstance(value, Real):
        return float(value)
    return as_array(value, name)


def _is_zero(value: float | Array) -> bool:
    return isinstance(value, float) and value == 0


@dataclass(frozen=True, slots=True)
class _Argument:
    """An argument for masks: its name, and the shape of an array."""

    name: str
    shape: tuple[int, ...]  # in the user's order of axes
    dtype: np.dtype[Any]
    to_core: Callable[[Array], Array]

    def check(self, value: float | Array) -> float | Array:
        """Check a probability or a mask, and convert the mask."""
        if isinstance(value, float):
            if not 0 <= value < 1:
                raise ValueError(f"{self.name} must be in [0, 1), not {value}")
            return value
        if value.shape != self.shape:
            raise ValueError(f"{self.name} has shape {value.shape}, expected {self.shape}")
        return cast(value, self.dtype)

    def mask(self, value: float | Array, generator: "np.random.Generator") -> Array | None:
        """Return a drawn or copied mask in the core's layout; None for probability 0."""
        if not isinstance(value, float):
            return np.array(self.to_core(value), self.dtype, order="C")
        if value == 0:
            return None
        kept = self.to_core(generator.random(self.shape) >= value)
        return np.multiply(kept, 1 / (1 - value), dtype=self.dtype, order="C")
