"""A model's configuration: checked, shown, and read back from a file's metadata."""

import operator
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike

from . import _core
from .parameters import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """The arguments that a model keeps, checked."""

    input_size: int
    hidden_size: int
    num_layers: int = 1
    output_size: int | None = None
    bias: bool = True
    batch_first: bool = False
    dtype: np.dtype[Any] = np.dtype(np.float32)  # noqa: RUF009, a dtype is immutable

    def __post_init__(self) -> None:
        for name in ("input_size", "hidden_size", "num_layers", "output_size"):
            if name != "output_size" or self.output_size is not None:
                object.__setattr__(self, name, _size(name, getattr(self, name)))
        object.__setattr__(self, "bias", bool(self.bias))
        object.__setattr__(self, "batch_first", bool(self.batch_first))
        object.__setattr__(self, "dtype", _dtype(self.dtype))

    def parameter_table(self) -> tuple[Table, int]:
        """Return where every parameter stands in the flat array, and that array's length."""
        return _core.parameter_table(
            self.input_size, self.hidden_size, self.num_layers, self.output_size, self.bias
        )

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
                raise KeyError(f"its metadata has no clstm.{field.name}")
            values[field.name] = _parse(field.name, metadata[field.name])
        return cls(**values)


def _size(name: str, value: Any) -> int:
    try:
        size = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {type(value).__name__}") from None
    if size < 1:
        raise ValueError(f"{name} must be at least 1, got {size}")
    return size


def _dtype(value: DTypeLike) -> np.dtype[Any]:
    dtype = np.dtype(value)
    if dtype not in (np.float32, np.float64) or not dtype.isnative:
        raise ValueError(f"dtype must be float32 or float64, got {dtype}")
    return dtype


def _parse(name: str, text: str) -> Any:
    """Return the value of one metadata entry."""
    if name == "dtype":
        return text
    if name in ("bias", "batch_first"):
        if text not in ("True", "False"):
            raise ValueError(f"clstm.{name} is {text!r}, expected True or False")
        return text == "True"
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(f"clstm.{name} is {text!r}, expected a number")
    return int(text) or (None if name == "output_size" else 0)
