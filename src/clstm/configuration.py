"""A model's configuration: checked, shown, and read back from a file's metadata."""

import operator
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike

from . import _core
from .parameters import Table

_FLAGS = ("bidirectional", "bias", "batch_first", "learn_state")
_LATER = ("bidirectional", "direction", "proj_size", "learn_state")  # older files lack them


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """The arguments that a model keeps, checked."""

    input_size: int
    hidden_size: int
    num_layers: int = 1
    output_size: int | None = None
    bidirectional: bool = False
    direction: str = "forward"
    proj_size: int = 0
    bias: bool = True
    batch_first: bool = False
    learn_state: bool = False
    dtype: np.dtype[Any] = np.dtype(np.float32)  # noqa: RUF009, a dtype is immutable

    def __post_init__(self) -> None:
        for name in ("input_size", "hidden_size", "num_layers", "output_size"):
            if name != "output_size" or self.output_size is not None:
                self._set(name, _size(name, getattr(self, name), 1))
        self._set("proj_size", _size("proj_size", self.proj_size, 0))
        for name in _FLAGS:
            self._set(name, bool(getattr(self, name)))
        self._set("dtype", _dtype(self.dtype))
        if self.direction not in ("forward", "reverse"):
            raise ValueError(f"direction must be 'forward' or 'reverse', not {self.direction!r}")
        if self.bidirectional and self.direction == "reverse":
            raise ValueError(
                "direction='reverse' contradicts bidirectional=True, which has both directions"
            )
        if self.proj_size >= self.hidden_size:
            raise ValueError(
                f"proj_size must be smaller than hidden_size={self.hidden_size}, "
                f"got {self.proj_size}"
            )

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    @property
    def num_directions(self) -> int:
        """Directions D of every layer."""
        return 2 if self.bidirectional else 1

    @property
    def num_parts(self) -> int:
        """Directions of all layers together, L D: so many states there are."""
        return self.num_layers * self.num_directions

    @property
    def state_size(self) -> int:
        """Elements R of one part's h."""
        return self.proj_size or self.hidden_size

    @property
    def width(self) -> int:
        """Elements D R of a layer's h, all directions side by side."""
        return self.num_directions * self.state_size

    @property
    def output_width(self) -> int:
        """Elements O of y_t, with or without a readout."""
        return self.output_size or self.width

    def parameter_table(self) -> tuple[Table, int]:
        """Return where every parameter stands in the flat array, and that array's length."""
        return _core.parameter_table(self)

    def __repr__(self) -> str:
        """Return all that is not default, as the constructor takes it."""
        shown = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                text = value.name if field.name == "dtype" else repr(value)
                shown.append(f"{field.name}={text}")
        return ", ".join(shown)

    def to_metadata(self) -> dict[str, str]:
        """Return flat strings; an absent readout is 0."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: str(0 if value is None else value) for name, value in values.items()}

    @classmethod
    def from_metadata(cls, metadata: dict[str, str]) -> Self:
        """Read what `to_metadata` wrote; KeyError or ValueError names what is wrong."""
        values: dict[str, Any] = {}
        for field in fields(cls):
            if field.name not in metadata:
                if field.name in _LATER:
                    continue
                raise KeyError(f"its metadata has no clstm.{field.name}")
            values[field.name] = _parse(field.name, metadata[field.name])
        return cls(**values)


def _size(name: str, value: Any, least: int) -> int:
    try:
        size = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {type(value).__name__}") from None
    if size < least:
        raise ValueError(f"{name} must be at least {least}, got {size}")
    return size


def _dtype(value: DTypeLike) -> np.dtype[Any]:
    dtype = np.dtype(value)
    if dtype not in (np.float32, np.float64) or not dtype.isnative:
        raise ValueError(f"dtype must be float32 or float64, got {dtype}")
    return dtype


def _parse(name: str, text: str) -> Any:
    """Return the value of one metadata entry."""
    if name in ("dtype", "direction"):
        return text
    if name in _FLAGS:
        if text not in ("True", "False"):
            raise ValueError(f"clstm.{name} is {text!r}, expected True or False")
        return text == "True"
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(f"clstm.{name} is {text!r}, expected a number")
    return int(text) or (None if name == "output_size" else 0)
