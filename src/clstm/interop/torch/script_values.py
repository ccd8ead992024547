"""What TorchScript's code computes with, as far as the code tells it without numbers of x.

An axis is a tuple of labels, those of the axes that were merged to one; of one element it is empty.
"""

import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from ...layers import Last
from ...lstm import LSTM
from .pickles import Tensor

FIRST, SECOND, FEATURES = "first", "second", "features"
LAYERS, DIRECTIONS = "layers", "directions"

Axis = tuple[str, ...]
Axes = tuple[Axis, ...]
HUGE = 2**31
"""The end of a slice that has none is 2**63 - 1 in the code."""


class Unknown:
    """A value that decides nothing about the model: a dtype, a device, the result of a check."""


UNKNOWN = Unknown()


@dataclass(frozen=True, slots=True)
class Size:
    """A number of elements that each call decides: of one axis of x, or of several merged ones."""

    labels: Axis


@dataclass(frozen=True, slots=True, eq=False)
class Weight:
    """A tensor of the file, and whether the code has transposed it."""

    name: str
    tensor: Tensor
    transposed: bool = False

    @property
    def shape(self) -> tuple[Any, ...]:
        """The shape that the file claims."""
        shape = self.tensor.shape
        return shape if isinstance(shape, tuple) else ()


@dataclass(frozen=True, slots=True)
class Zeros:
    """An array of zeros that the code makes, of this shape."""

    shape: tuple[Any, ...]


@dataclass(slots=True, eq=False)
class Memory:
    """What results share that may be views of each other; an operation in place spends it."""

    spent: str = ""


class Piece(NamedTuple):
    """Some features of a sequence, at all steps, the last one or the first one; all if no end."""

    step: str = "all"
    begin: int = 0
    end: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """What a chain of layers makes of an argument of the model, or pieces of it.

    Attributes
    ----------
    source : int
        The number of the argument.
    chain : tuple
        The layers; it is empty for the argument itself.
    axes : tuple of tuple of str
    features : int or None
        Number of features of the chain's result; None as long as nothing tells it.
    pieces : tuple of Piece
        Joined in the axis of features.
    time : str
        The label of the axis of steps, which the first LSTM tells.
    """

    source: int
    chain: tuple[Any, ...]
    axes: Axes
    features: int | None = None
    pieces: tuple[Piece, ...] = (Piece(),)
    time: str = ""
    memory: Memory = field(default_factory=Memory)

    def sizes(self) -> dict[str, int | Size]:
        """Return the number of elements by label."""
        found: dict[str, int | Size] = {label: Size((label,)) for label in (FIRST, SECOND)}
        width = self.width()
        found[FEATURES] = Size((FEATURES,)) if width is None else width
        return found

    def width(self) -> int | None:
        """Return the number of features of all pieces."""
        if self.features is None and self.pieces == (Piece(),):
            return None
        ends = [(self.features if p.end is None else p.end, p.begin) for p in self.pieces]
        return sum(end - begin for end, begin in ends if end is not None)

    def is_argument(self) -> bool:
        """Tell whether it is an argument as the caller gives it."""
        return not self.chain and self.pieces == (Piece(),)

    def settled(self) -> tuple[Any, ...]:
        """Return the layers that compute it: those of the chain, and a `Last` if it has one."""
        if self.memory.spent:
            raise ValueError(f"it uses what {self.memory.spent} has overwritten")
        width = self.features
        pieces = [p._replace(end=width) if p.end is None else p for p in self.pieces]
        if pieces == [Piece("all", 0, width)]:
            return self.chain
        if pieces == [Piece("last", 0, width)]:
            return (*self.chain, Last())
        lstm = self.chain[-1] if self.chain else None
        if isinstance(lstm, LSTM) and lstm.bidirectional and width is not None:
            half = width // 2
            if pieces == [Piece("last", 0, half), Piece("first", half, width)]:
                return (*self.chain, Last(ends=True))
        parts = ", ".join(f"{p.begin}:{p.end} of the {p.step} step(s)" for p in self.pieces)
        raise ValueError(f"it takes the features {parts}: expected all steps, the last, or h")


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """The final h or c of an LSTM, of all layers and directions or of one."""

    name: str
    flow: Flow  # y of the LSTM
    axes: Axes
    whole: bool = True
    direction: int | None = None

    @property
    def lstm(self) -> LSTM:
        """The LSTM."""
        lstm = self.flow.chain[-1]
        assert isinstance(lstm, LSTM)
        return lstm

    def sizes(self) -> dict[str, int | Size]:
        """Return the number of elements by label."""
        lstm = self.lstm
        size = lstm._config.state_size if self.name == "h" else lstm.hidden_size
        count = 2 if lstm.bidirectional else 1
        layers = {LAYERS: lstm.num_layers, DIRECTIONS: count, FEATURES: size}
        return self.flow.sizes() | layers

    def with_axes(self, axes: Axes) -> "State | Flow":
        """Return it with other axes; as a `Flow` if both directions are merged with features."""
        changed = replace(self, axes=axes)
        if (DIRECTIONS, FEATURES) not in axes:
            return changed
        places = ((FEATURES,) if axis == (DIRECTIONS, FEATURES) else axis for axis in axes)
        return replace(changed, axes=tuple(places)).as_flow()

    def as_flow(self) -> Flow:
        """Return h of the last layer, of one direction or of both in one axis of features."""
        if any(LAYERS in axis or DIRECTIONS in axis for axis in self.axes):
            raise ValueError("it uses a state of several layers or directions: expected the last's")
        if self.name == "c":
            raise ValueError("it uses the final c, which no layer after an LSTM gets")
        size = self.lstm._config.state_size
        both = [Piece("last", 0, size), Piece("first", size, 2 * size)]
        if not self.lstm.bidirectional:
            pieces = both[:1]
        else:
            pieces = both if self.direction is None else [both[self.direction]]
        return replace(self.flow, axes=self.axes, pieces=tuple(pieces), memory=Memory())


def state_axes(lstm: LSTM, batch: Axis) -> Axes:
    """Return the axes of h and c: (L D, B, .)."""
    layers = (LAYERS,) if lstm.num_layers > 1 else ()
    directions = (DIRECTIONS,) if lstm.bidirectional else ()
    return ((*layers, *directions), batch, (FEATURES,))


def place_of(axes: Sequence[Any], number: Any) -> int:
    """Return an axis's number from 0."""
    if type(number) is not int or not -len(axes) <= number < len(axes):
        raise ValueError(f"axis {shown(number)} is none of {len(axes)}")
    return number % len(axes)


def permuted(axes: Axes, order: Iterable[Any]) -> Axes:
    """Return axes in another order."""
    places = [place_of(axes, number) for number in order]
    if sorted(places) != list(range(len(axes))):
        raise ValueError(f"the order {shown(places)} of axes is no permutation of {len(axes)}")
    return tuple(axes[place] for place in places)


def reshaped(axes: Axes, sizes: Mapping[str, int | Size], shape: Sequence[Any]) -> Axes:
    """Return the axes of a view; ValueError if the code does not tell which ones it merges."""
    labels = [label for axis in axes for label in axis]
    open_axes = [k for k, size in enumerate(shape) if size == -1 and type(size) is int]
    first = open_axes[0] if open_axes else len(shape)
    before = _taken(labels, sizes, shape[:first], shape)
    rest = labels[sum(map(len, before)) :]
    after = [axis[::-1] for axis in _taken(rest[::-1], sizes, shape[:first:-1], shape)][::-1]
    middle = rest[: len(rest) - sum(map(len, after))]
    if not open_axes:
        if middle:
            raise _no_view(shape)
        return tuple(before)
    return (*before, tuple(middle), *after)


def _taken(
    labels: list[str], sizes: Mapping[str, int | Size], shape: Sequence[Any], whole: Sequence[Any]
) -> list[Axis]:
    """Return the axes that the sizes of a shape stand for, from the first label on."""
    axes: list[Axis] = []
    at = 0
    for size in shape:
        own = sizes.get(labels[at]) if at < len(labels) else None
        if isinstance(size, Size):
            axis = tuple(labels[at : at + len(size.labels)])
            if sorted(axis) != sorted(size.labels):
                raise _no_view(whole)
        elif type(size) is int and size == own:
            axis = (labels[at],)
        elif type(size) is int and size == 1:
            axis = ()
        else:
            raise _no_view(whole)
        axes.append(axis)
        at += len(axis)
    return axes


def _no_view(shape: Sequence[Any]) -> ValueError:
    sizes = (" * ".join(n.labels) if isinstance(n, Size) else shown(n) for n in shape[:20])
    return ValueError(
        f"the axes of the view ({', '.join(sizes)}) are not known, or fixed by tracing"
    )


def shown(value: Any) -> str:
    """Return a value for a message, in few words: a list that holds another twice may be large."""
    return reprlib.repr(value)
