"""What arrays of a graph come from: its inputs, constants, and the layers that are read."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ...layout import Array
from ...lstm import LSTM
from .sizes import Size

FEATURES = "features"
"""The axis of features of what a layer gives. Its other axes are those of the graph's input."""


class Source:
    """An array whose elements views lead to, with the sizes of its axes by name."""

    sizes: dict[str, Size]


@dataclass(eq=False)
class Constant(Source):
    """A constant of the file, or one element that is repeated."""

    value: Array
    sizes: dict[str, Size] = field(init=False)

    def __post_init__(self) -> None:
        self.sizes = {f"{k}": int(size) for k, size in enumerate(self.value.shape)}


@dataclass(eq=False)
class Input(Source):
    """An input of a graph. Which of its axes are time, batch and features, its use tells."""

    name: str
    sizes: dict[str, Size]
    integer: bool = False
    time: str | None = None
    batch: str | None = None
    features: str | None = None
    is_sequence: bool = False

    def bind(self, time: str | None, batch: str | None) -> None:
        """Set the axes of time and batch; ValueError if they were others."""
        if self.is_sequence and (time, batch) != (self.time, self.batch):
            raise ValueError(f"{self.name!r} is used with time and batch first")
        self.time, self.batch, self.is_sequence = time, batch, True


@dataclass(eq=False)
class Layered(Source):
    """What a layer gives: all axes of what it takes but the features, then its own.

    Attributes
    ----------
    parent : Input or Layered
    layer : LSTM or Layer
    name : str
        How a message names the node.
    given : dict
        Of an LSTM: the values of its inputs that are not constant, by role.
    inside : tuple of Layered
        Of a skip: its layers.
    depth : int
        The number of skips within each other.
    """

    parent: Any
    layer: Any
    name: str
    sizes: dict[str, Size]
    given: dict[str, Any] = field(default_factory=dict)
    inside: "tuple[Layered, ...]" = ()
    depth: int = 0
    of_directions: "tuple[Layered, ...]" = ()
    """The LSTMs of one direction each that this one joins."""
    lasts: "dict[bool, Layered]" = field(default_factory=dict)
    """What a Last of this one gives, without and with `ends`."""

    @property
    def root(self) -> Input:
        """The input of the graph that the first layer takes."""
        source: Any = self
        while isinstance(source, Layered):
            source = source.parent
        root: Input = source
        return root


@dataclass(eq=False)
class Cell(Source):
    """The last c of an LSTM: (B, features of all directions)."""

    lstm: Layered
    sizes: dict[str, Size]


@dataclass(eq=False)
class Beside(Source):
    """Several sources alike, along an axis "part"."""

    parts: list[Any]
    sizes: dict[str, Size] = field(init=False)

    def __post_init__(self) -> None:
        self.sizes = {"part": len(self.parts)} | self.parts[0].sizes


def chain_of(source: Any, until: Any = None) -> list[Layered]:
    """Return the layers from an input of the graph, or from a source, to this one."""
    chain = []
    while isinstance(source, Layered) and source is not until:
        chain.append(source)
        source = source.parent
    return chain[::-1] if until is None or source is until else []


def lstms_of(chain: list[Layered]) -> Iterator[Layered]:
    """Yield the LSTMs of a chain, also those inside of skips."""
    for source in chain:
        if isinstance(source.layer, LSTM):
            yield source
        yield from lstms_of(list(source.inside))
