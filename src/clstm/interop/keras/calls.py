"""Calls of layers in the configuration of a functional model, as Keras 2 and 3 write them."""

from dataclasses import dataclass
from typing import Any

_HARMLESS = ("training", "mask", "initial_state", "constants")
"""Arguments of a call beside x that may be there without a value."""


@dataclass(frozen=True)
class Tensor:
    """A result of a layer: of which call, and which of its results."""

    layer: str
    call: int
    index: int


@dataclass(frozen=True)
class Call:
    """A call of a layer.

    Attributes
    ----------
    tensors : list of Tensor
        What it is given.
    mask : Tensor or None
    value : float or None
        A further argument, a number.
    """

    tensors: list[Tensor]
    mask: Tensor | None = None
    value: float | None = None


def read_tensors(value: Any) -> list[Tensor] | None:
    """Return [name, call, index], or a list of those; None if it is neither."""
    one = _reference(value)
    if one is not None:
        return [one]
    if not isinstance(value, list):
        return None
    found = [_reference(part) for part in value]
    return None if not found or None in found else [t for t in found if t is not None]


def read_call(node: Any, place: str) -> Call:
    """Return a call; ValueError, with the place of its layer, if it has arguments beside x."""
    if isinstance(node, dict):
        return _read_call_of_3(node, place)
    if _is_row(node):
        node = [node]
    if not isinstance(node, list) or not node or not all(map(_is_row, node)):
        raise ValueError(f"{place}: its call is not valid")
    mask = None
    for row in node:
        options = row[3] if len(row) > 3 else {}
        if not isinstance(options, dict):
            raise ValueError(f"{place}: its call is not valid")
        mask = _read_options(options, place) or mask
    tensors = read_tensors([row[:3] for row in node])
    if tensors is None:
        raise ValueError(f"{place}: it is called with something else than layers' outputs")
    return Call(tensors, mask)


def _is_row(row: Any) -> bool:
    """Return whether it is Keras 2's [name, node, index, arguments]."""
    return isinstance(row, list) and len(row) in (3, 4) and isinstance(row[0], str)


def _read_call_of_3(node: dict[str, Any], place: str) -> Call:
    args, options = node.get("args"), node.get("kwargs")
    if not isinstance(args, list) or not args or not isinstance(options, dict):
        raise ValueError(f"{place}: its call is not valid")
    tensors = read_tensors(args[0])
    if tensors is None:
        raise ValueError(f"{place}: it is called with something else than layers' outputs")
    more = [value for value in args[1:] if value is not None]
    value = more[0] if more else None
    if len(more) > 1 or isinstance(value, bool) or not isinstance(value, (int, float, type(None))):
        raise ValueError(f"{place}: it is called with more than one tensor")
    return Call(tensors, _read_options(options, place), value)


def _read_options(options: dict[str, Any], place: str) -> Tensor | None:
    """Return the mask among the keyword arguments of a call."""
    for name, value in options.items():
        if value is None or (name == "training" and value is False):
            continue
        if name != "mask":
            what = name if name in _HARMLESS else f"{name[:60]!r}"
            raise ValueError(f"{place}: it is called with {what}, which is not supported")
    mask = options.get("mask")
    if mask is None:
        return None
    tensors = read_tensors(mask)
    if tensors is None or len(tensors) != 1:
        raise ValueError(f"{place}: its mask is not valid")
    return tensors[0]


def _reference(value: Any) -> Tensor | None:
    """Return a tensor from [name, call, index], or from Keras 3's dictionary that holds it."""
    if isinstance(value, dict):
        config = value.get("config")
        value = config.get("keras_history") if isinstance(config, dict) else None
    if not isinstance(value, list) or len(value) != 3:
        return None
    name, node, index = value
    if not isinstance(name, str) or type(node) is not int or type(index) is not int:
        return None
    return Tensor(name, node, index)
