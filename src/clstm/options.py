"""Kinds of options: how a value is checked, written to a file's metadata, and read back.

A dataclass annotates each field with a kind, ``Annotated[int, Size()]``. The kind holds all that
checks, files and copies need to know about the option.
"""

import math
import operator
from collections.abc import Hashable
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any, get_args


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of option. Older files lack options marked `later`, and imply their default."""

    later: bool = False

    def check(self, name: str, value: Any) -> Any:
        """Return the normalised value; raise TypeError or ValueError if it is invalid."""
        raise NotImplementedError

    def write(self, name: str, value: Any) -> dict[str, str]:
        """Return the metadata entries of a value."""
        return {name: str(value)}

    def read(self, name: str, text: str) -> Any:
        """Convert an entry to a value for `check`; raise ValueError if it is malformed."""
        return text

    def take(self, name: str, metadata: dict[str, str], default: Any) -> Any:
        """Remove an option's entries from the metadata and return its value."""
        if name in metadata:
            return self.read(name, metadata.pop(name))
        if not self.later:
            raise KeyError(f"its metadata has no clstm.{name}")
        return default


def kinds(cls: Any) -> dict[str, Kind]:
    """Return the kind of each field of a dataclass."""
    annotated = {field.name: get_args(field.type) for field in fields(cls)}
    return {name: kind for name, (_, kind) in annotated.items()}


@dataclass(frozen=True, kw_only=True)
class Size(Kind):
    """An integer >= `least`; if `optional` also None, which files store as 0."""

    least: int = 1
    optional: bool = False

    def check(self, name: str, value: Any) -> int | None:
        if value is None and self.optional:
            return None
        try:
            size = operator.index(value)
        except TypeError:
            raise TypeError(f"{name} must be an integer, got {type(value).__name__}") from None
        if size < self.least:
            raise ValueError(f"{name} must be at least {self.least}, got {size}")
        return size

    def write(self, name: str, value: int | None) -> dict[str, str]:
        return {name: str(value or 0)}

    def read(self, name: str, text: str) -> int | None:
        if not (text.isascii() and text.isdecimal()):
            raise ValueError(f"clstm.{name} is {text!r}, expected a number")
        return int(text) or (None if self.optional else 0)


@dataclass(frozen=True, kw_only=True)
class Flag(Kind):
    """True or False. Other values are converted with `bool`, or raise TypeError if `strict`."""

    strict: bool = False

    def check(self, name: str, value: Any) -> bool:
        # NumPy's booleans compare equal to Python's.
        if self.strict and not (isinstance(value, Hashable) and value in (True, False)):
            raise TypeError(f"{name} must be True or False, got {value!r}")
        return bool(value)

    def read(self, name: str, text: str) -> bool:
        if text not in ("True", "False"):
            raise ValueError(f"clstm.{name} is {text!r}, expected True or False")
        return text == "True"


@dataclass(frozen=True, kw_only=True)
class Choice(Kind):
    """One of two words. If `quiet`, files have no entry for the first, the default."""

    words: tuple[str, str]
    quiet: bool = False

    def check(self, name: str, value: Any) -> Any:
        if value not in self.words:
            first, second = self.words
            raise ValueError(f"{name} must be {first!r} or {second!r}, not {value!r}")
        return value

    def write(self, name: str, value: str) -> dict[str, str]:
        return {} if self.quiet and value == self.words[0] else {name: value}


@dataclass(frozen=True, kw_only=True)
class Bound(Kind):
    """A positive finite number or None; files store it in hexadecimal, None as 0."""

    def check(self, name: str, value: Any) -> float | None:
        if value is None:
            return None
        number = real_number(name, value)
        if not (0 < number < math.inf):
            raise ValueError(f"{name} must be a positive finite number or None, got {value!r}")
        return number

    def write(self, name: str, value: float | None) -> dict[str, str]:
        return {name: (value or 0.0).hex()}

    def read(self, name: str, text: str) -> float | None:
        return None if text == (0.0).hex() else read_real(name, text)


def real_number(name: str, value: Any) -> float:
    """Return a real number as a float, infinite if it overflows."""
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{name} must be a real number, got {type(value).__name__}")
    try:
        return float(value)
    except OverflowError:
        return math.inf


def read_real(name: str, text: str) -> float:
    """Parse a number written by `float.hex`: exact, and the same in every locale."""
    try:
        value = float.fromhex(text)
    except (ValueError, OverflowError):
        value = math.nan
    if value.hex() != text:  # fromhex reads "1.5" as 1.3125
        raise ValueError(f"clstm.{name} is {text!r}, expected a number as float.hex() writes it")
    return value
