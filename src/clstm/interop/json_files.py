"""JSON files of models: checks name the place of a bad value; numbers are written exactly."""

import json
import os
import reprlib
from collections import Counter
from collections.abc import Iterator, Set
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import DTypeLike

from ..layout import Array
from .budget import Budget
from .errors import naming, shortened

NOTES = frozenset(
    ("author", "date", "esr", "metadata", "name", "notes", "samplerate", "sample_rate", "version")
)
"""Entries that programs write beside a model and that change no result."""


@dataclass(frozen=True, slots=True)
class Node:
    """A value of a JSON file and its place, which the ValueError of every check names."""

    value: Any
    file: str
    place: str = ""  # layers[2].weights[0]
    budget: Budget | None = None

    def fail(self, what: str) -> NoReturn:
        """Raise ValueError with the place: "model.json: layers[2].weights[0] has ..."."""
        text = shortened(f"{self.place or 'the file'} {what}")
        raise ValueError(f"{self.file}: {text}")

    def count_layers(self, number: int = 1) -> None:
        """Count layers that will be made of this value; ValueError if the file has too many."""
        if self.budget is not None:
            with naming(self.file):
                self.budget.layers(number)

    def _inner(self, key: str | int) -> "Node":
        step = f"[{key}]" if isinstance(key, int) else f".{key}" if self.place else key
        return Node(self.value[key], self.file, self.place + step, self.budget)

    def members(self, required: Set[str], optional: Set[str] = frozenset()) -> dict[str, "Node"]:
        """Return the members of an object with exactly these names."""
        members = self.at_least(required)
        if unknown := sorted(members.keys() - required - optional):
            self.fail(f"has {reprlib.repr(unknown[0])}, which is not supported")
        return members

    def at_least(self, required: Set[str]) -> dict[str, "Node"]:
        """Return the members of an object that has these names, and maybe others."""
        members = self.any_members()
        if missing := sorted(required - members.keys()):
            self.fail(f"has no {missing[0]!r}")
        return members

    def any_members(self) -> dict[str, "Node"]:
        """Return the members of an object."""
        if not isinstance(self.value, dict):
            self.fail(f"is {_kind(self.value)}, expected an object")
        return {key: self._inner(key) for key in self.value}

    def items(self, least: int = 0, largest: int | None = None) -> Iterator["Node"]:
        """Check the length of a list and return an iterator over its items."""
        if not isinstance(self.value, list):
            self.fail(f"is {_kind(self.value)}, expected a list")
        count = len(self.value)
        if count < least or (largest is not None and count > largest):
            self.fail(f"has {count} items, expected {_limits(least, largest)}")
        return (self._inner(k) for k in range(count))

    def text(self, *choices: str) -> str:
        """Return a string; with choices, one of them."""
        expected = " or ".join(map(repr, choices)) or "a string"
        if not isinstance(self.value, str):
            self.fail(f"is {_kind(self.value)}, expected {expected}")
        if choices and self.value not in choices:
            self.fail(f"is {reprlib.repr(self.value)}, expected {expected}")
        return self.value

    def integer(self, least: int, largest: int | None = None) -> int:
        """Return an integer within a range."""
        if type(self.value) is not int:
            found = self.value if isinstance(self.value, float) else _kind(self.value)
            self.fail(f"is {found}, expected an integer")
        if self.value < least or (largest is not None and self.value > largest):
            self.fail(f"is {_shortened(self.value)}, expected {_limits(least, largest)}")
        return self.value

    def number(self, least: float, largest: float) -> float:
        """Return a number within a range."""
        if type(self.value) not in (int, float):
            self.fail(f"is {_kind(self.value)}, expected a number")
        if not least <= self.value <= largest:
            self.fail(f"is {self.value:.10g}, expected {least} to {largest}")
        return float(self.value)

    def array(self, shape: tuple[int | None, ...], dtype: DTypeLike) -> Array:
        """Return a list of numbers, or a list of such lists; None in the shape allows any size."""
        rows = self.value if len(shape) == 2 else [self.value]
        if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
            self.fail(f"is not an array of {len(shape)} axes")
        lengths = set(map(len, rows))
        if len(lengths) > 1:
            self.fail("has rows of different lengths")
        found = (len(rows), *lengths)[-len(shape) :]
        if len(found) != len(shape) or any(
            size is not None and size != there for size, there in zip(shape, found, strict=True)
        ):
            expected = ", ".join("any" if size is None else _shortened(size) for size in shape)
            self.fail(f"has shape {found}, expected ({expected}{',' * (len(shape) == 1)})")
        if not set(map(type, chain.from_iterable(rows))) <= {int, float}:
            self.fail("contains a value that is not a number")
        try:
            with np.errstate(over="ignore"):
                array = np.array(self.value, np.float64).astype(dtype)
        except OverflowError:  # an integer of hundreds of digits
            self.fail("holds a number that is too large")
        if not np.isfinite(array).all():
            self.fail(f"holds a number that is too large for {array.dtype}")
        return array


def read_json(path: str | os.PathLike[str]) -> Node:
    """Read a file; ValueError for invalid JSON, NaN, infinities and duplicate members."""
    file = os.fspath(path)
    data = Path(file).read_bytes()
    budget = Budget(len(data))
    with naming(file):
        count_json(data, budget)
        try:
            value = json.loads(data, parse_constant=_no_constant, object_pairs_hook=_no_duplicates)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
        except ValueError as error:  # also UnicodeDecodeError and JSONDecodeError
            raise ValueError(f"it is not valid JSON: {error}") from None
    return Node(value, file, budget=budget)


def notes_of(parts: dict[str, "Node"]) -> dict[str, Any]:
    """Return the entries of an object that change no result."""
    return {name: parts[name].value for name in sorted(parts.keys() & NOTES)}


def count_json(data: bytes, budget: Budget) -> None:
    """Count what Python makes of JSON before it is parsed; ValueError if it is too much.

    An empty list of two characters takes 56 bytes and an object of eight 250. Characters in strings
    are counted, too: the limit is far above what a model's numbers take.
    """
    values = data.count(b",") + data.count(b":")
    text = len(data) if data.isascii() else 4 * len(data)
    size = text + 32 * values + 88 * data.count(b"[") + 256 * data.count(b"{")
    budget.take(size, "its JSON")


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write lists, not arrays; with a number that is not finite nothing is written."""
    file = os.fspath(path)
    try:
        text = json.dumps(value, allow_nan=False)
    except ValueError:
        raise ValueError(f"{file}: the model has NaN or infinity, which JSON cannot hold") from None
    Path(file).write_text(text + "\n", encoding="utf-8")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):  # json keeps the last one
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"an object has {reprlib.repr(twice)} twice")
    return members


def _kind(value: Any) -> str:
    """Return the kind of a value, in JSON's words."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    kinds: dict[type, str] = {dict: "an object", list: "a list", str: "a string"}
    return kinds.get(type(value), "a number")


def _limits(least: int, largest: int | None) -> str:
    if largest is None:
        return f"at least {least}"
    return str(least) if least == largest else f"{least} to {largest}"


def _shortened(value: int) -> str:
    return str(value) if abs(value) < 10**20 else "a very large number"
