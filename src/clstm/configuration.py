"""A model's configuration: checked, shown, and read back from a file's metadata."""

import math
import operator
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike

from . import _core
from .cell import PLAIN, SLOTS, Activation, Cell
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
    cell: Cell = PLAIN
    dtype: np.dtype[Any] = np.dtype(np.float32)  # noqa: RUF009, a dtype is immutable

    def __post_init__(self) -> None:
        for name in ("input_size", "hidden_size", "num_layers", "output_size"):
            if name != "output_size" or self.output_size is not None:
                self._set(name, _size(name, getattr(self, name), 1))
        self._set("proj_size", _size("proj_size", self.proj_size, 0))
        for name in _FLAGS:
            self._set(name, bool(getattr(self, name)))
        self._set("dtype", _dtype(self.dtype))
        if not isinstance(self.cell, Cell):
            raise TypeError(f"cell must be a clstm.Cell, got {type(self.cell).__name__}")
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
        """Return flat strings; an absent readout is 0, and of a plain cell nothing is said."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        cell = values.pop("cell")
        metadata = {name: str(0 if value is None else value) for name, value in values.items()}
        return metadata if cell == PLAIN else metadata | _cell_to_metadata(cell)

    @classmethod
    def from_metadata(cls, metadata: dict[str, str]) -> Self:
        """Read what `to_metadata` wrote; KeyError or ValueError names what is wrong."""
        unread = dict(metadata)
        values: dict[str, Any] = {"cell": _take_cell(unread)}
        for field in fields(cls):
            if field.name == "cell":
                continue
            if field.name in unread:
                values[field.name] = _parse(field.name, unread.pop(field.name))
            elif field.name not in _LATER:
                raise KeyError(f"its metadata has no clstm.{field.name}")
        if unread:  # to ignore it would be to compute something else
            raise ValueError(f"clstm.{min(unread)} is an entry that this version does not know")
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
        return _parse_flag(name, text)
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(f"clstm.{name} is {text!r}, expected a number")
    return int(text) or (None if name == "output_size" else 0)


def _parse_flag(name: str, text: str) -> bool:
    if text not in ("True", "False"):
        raise ValueError(f"clstm.{name} is {text!r}, expected True or False")
    return text == "True"


def _parse_real(name: str, text: str) -> float:
    """Return a number that `float.hex` wrote."""
    try:
        value = float.fromhex(text)
    except (ValueError, OverflowError):
        value = math.nan
    if value.hex() != text:  # fromhex itself takes "1.5" for 1.3125
        raise ValueError(f"clstm.{name} is {text!r}, expected a number as float.hex() writes it")
    return value


def _cell_to_metadata(cell: Cell) -> dict[str, str]:
    """Return flat strings; numbers in hexadecimal, which is exact in every locale."""
    metadata = {}
    for name in ("peephole", "coupled"):
        metadata[f"cell.{name}"] = str(getattr(cell, name))
    for name in ("clip", "cell_clip"):
        metadata[f"cell.{name}"] = (getattr(cell, name) or 0.0).hex()
    for slot in SLOTS:
        activation = getattr(cell, slot)
        metadata[f"cell.{slot}"] = activation.name
        for parameter in ("alpha", "beta"):
            if (value := getattr(activation, parameter)) is not None:
                metadata[f"cell.{slot}.{parameter}"] = value.hex()
    return metadata


def _take_cell(metadata: dict[str, str]) -> Cell:
    """Read what `_cell_to_metadata` wrote and take it out; what is absent is default."""
    values: dict[str, Any] = {}
    for name in ("peephole", "coupled"):
        if (text := metadata.pop(f"cell.{name}", None)) is not None:
            values[name] = _parse_flag(f"cell.{name}", text)
    for name in ("clip", "cell_clip"):
        text = metadata.pop(f"cell.{name}", "0x0.0p+0")
        values[name] = None if text == "0x0.0p+0" else _parse_real(f"cell.{name}", text)
    for slot in SLOTS:
        function = metadata.pop(f"cell.{slot}", getattr(PLAIN, slot).name)
        parameters = {}
        for parameter in ("alpha", "beta"):
            key = f"cell.{slot}.{parameter}"
            if key in metadata:
                parameters[parameter] = _parse_real(key, metadata.pop(key))
        try:
            values[slot] = Activation(function, **parameters)
        except ValueError as error:
            raise ValueError(f"clstm.cell.{slot}: {error}") from None
    return Cell(**values)
