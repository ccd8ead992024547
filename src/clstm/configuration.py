"""The configuration of a model: its checks, its repr, and its entries in a file's metadata."""

from dataclasses import dataclass, fields
from typing import Annotated, Any, Self

import numpy as np

from . import _core
from .cell import PLAIN, Cell, Variant, check_gradients
from .options import Choice, Flag, Kind, Size, kinds
from .parameters import Table


@dataclass(frozen=True, kw_only=True)
class DType(Kind):
    """float32 or float64."""

    def check(self, name: str, value: Any) -> np.dtype[Any]:
        dtype: np.dtype[Any] = np.dtype(value)
        if dtype not in (np.float32, np.float64) or not dtype.isnative:
            raise ValueError(f"{name} must be float32 or float64, got {dtype}")
        return dtype


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """The checked arguments of a model; one line defines all of an option."""

    input_size: Annotated[int, Size()]
    hidden_size: Annotated[int, Size()]
    num_layers: Annotated[int, Size()] = 1
    output_size: Annotated[int | None, Size(optional=True)] = None
    bidirectional: Annotated[bool, Flag(later=True)] = False
    direction: Annotated[str, Choice(words=("forward", "reverse"), later=True)] = "forward"
    proj_size: Annotated[int, Size(least=0, later=True)] = 0
    bias: Annotated[bool, Flag()] = True
    batch_first: Annotated[bool, Flag()] = False
    learn_state: Annotated[bool, Flag(later=True)] = False
    cell: Annotated[Cell, Variant()] = PLAIN
    activations: Annotated[str, Choice(words=("accurate", "fast"), later=True, quiet=True)] = (
        "accurate"
    )
    # A dtype is immutable.
    dtype: Annotated[np.dtype[Any], DType()] = np.dtype(np.float32)  # noqa: RUF009

    def __post_init__(self) -> None:
        for name, kind in kinds(type(self)).items():
            object.__setattr__(self, name, kind.check(name, getattr(self, name)))
        if self.bidirectional and self.direction == "reverse":
            raise ValueError(
                "direction='reverse' contradicts bidirectional=True, which has both directions"
            )
        if self.proj_size >= self.hidden_size:
            raise ValueError(
                f"proj_size must be smaller than hidden_size={self.hidden_size}, "
                f"got {self.proj_size}"
            )
        if self.activations == "fast" and (self.cell != PLAIN or self.dtype != np.float32):
            other = f"cell={self.cell!r}" if self.cell != PLAIN else f"dtype={self.dtype}"
            raise ValueError(f"activations='fast' is for the plain cell in float32, got {other}")

    @property
    def num_directions(self) -> int:
        """Number of directions D of each layer."""
        return 2 if self.bidirectional else 1

    @property
    def num_parts(self) -> int:
        """Number of parts L D, the directions of all layers. Each has a state."""
        return self.num_layers * self.num_directions

    @property
    def state_size(self) -> int:
        """Number of elements R of h of one part."""
        return self.proj_size or self.hidden_size

    @property
    def width(self) -> int:
        """Number of elements D R of a layer's h, all directions concatenated."""
        return self.num_directions * self.state_size

    @property
    def output_width(self) -> int:
        """Number of elements O of y_t, with or without a readout."""
        return self.output_size or self.width

    def parameter_table(self) -> tuple[Table, int]:
        """Return ``(name, shape, offset)`` of each parameter, and the length of the flat array."""
        return _core.parameter_table(self)

    def check_gradients(self, what: str) -> None:
        """Raise ValueError if a function has no gradient; `what` names what needs it."""
        if self.activations == "fast":
            raise ValueError(
                f"activations is 'fast', which has no gradient: {what} needs "
                "model.with_activations('accurate')"
            )
        check_gradients(self.cell, what)

    def __repr__(self) -> str:
        """Return all non-default values, as the constructor takes them."""
        shown = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                text = value.name if field.name == "dtype" else repr(value)
                shown.append(f"{field.name}={text}")
        return ", ".join(shown)

    def to_metadata(self) -> dict[str, str]:
        """Return flat strings. No readout is written as 0; a plain cell is omitted."""
        metadata: dict[str, str] = {}
        for name, kind in kinds(type(self)).items():
            metadata |= kind.write(name, getattr(self, name))
        return metadata

    @classmethod
    def from_metadata(cls, metadata: dict[str, str]) -> Self:
        """Read a result of `to_metadata`; KeyError or ValueError names the wrong entry."""
        unread = dict(metadata)
        defaults = {field.name: field.default for field in fields(cls)}
        values: dict[str, Any] = {
            name: kind.take(name, unread, defaults[name]) for name, kind in kinds(cls).items()
        }
        if unread:  # ignoring it would change what the model computes
            raise ValueError(f"clstm.{min(unread)} is unknown to this version")
        return cls(**values)
