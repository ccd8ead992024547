"""The chain of layers in a configuration: of Sequential, nested and functional models."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ...layout import Array
from ..budget import Budget
from .calls import Call, Tensor, read_call, read_tensors
from .specs import LayerSpec, kind_of, shown
from .weights import Weights

_FUNCTIONAL = ("Functional", "Model")
_MODELS = ("Sequential", *_FUNCTIONAL)
_JOINS = {"Concatenate": "concat", "Add": "sum", "Average": "ave", "Multiply": "mul"}
_LAST_AXES = (-1, 1, 2)  # of (B, H) and (B, T, H); another number of axes is refused elsewhere


@dataclass(frozen=True)
class _Entry:
    """A layer in the configuration of a model."""

    place: str
    kind: str
    config: dict[str, Any]
    number: int  # among those of its class
    nodes: Any  # its calls, in functional models

    @property
    def name(self) -> str:
        return str(self.config.get("name"))


@dataclass(frozen=True)
class _Link:
    """A layer of a chain, and what the next one takes of its results."""

    entry: _Entry
    outputs: tuple[int, ...] = (0,)
    merged: str | None = None
    call: Call | None = None


def chain_of(
    model: dict[str, Any], weights: Weights, version: int, budget: Budget
) -> list[LayerSpec]:
    """Return the layers of a model in order, each with its weights.

    Raises ValueError, with the place, for a model that is not one chain.
    """
    kind = kind_of(model, "the model")
    if kind not in _MODELS:
        raise ValueError(
            f"it is a {shown(kind)!r} model, only Sequential and functional ones are supported"
        )
    return list(_specs(model, kind, "", weights, version, budget))


def layers_in(
    model: dict[str, Any], weights: Weights, version: int, budget: Budget, place: str = ""
) -> Iterator[LayerSpec]:
    """Yield all layers of a model, and of those in it, whatever they are and however joined."""
    for entry in _entries(model, place, budget):
        if entry.kind in _MODELS:
            inner = weights.inside(entry.kind, entry.name, entry.number)
            nested = {"config": entry.config}
            yield from layers_in(nested, inner, version, budget, f"{entry.place}.")
        else:
            spec = LayerSpec(entry.place, entry.kind, entry.config, _nothing, version)
            yield replace(spec, weights=weights.of(spec, entry.number))


def _specs(
    model: dict[str, Any], kind: str, place: str, weights: Weights, version: int, budget: Budget
) -> Iterator[LayerSpec]:
    entries = _entries(model, place, budget)
    links = [_Link(e) for e in entries] if kind == "Sequential" else _functional(model, entries)
    for link in links:
        entry = link.entry
        if entry.kind in _MODELS:
            if link.outputs != (0,) or link.merged:
                raise ValueError(f"{entry.place}: only models with one output are supported")
            inner = weights.inside(entry.kind, entry.name, entry.number)
            nested = {"config": entry.config}
            yield from _specs(nested, entry.kind, f"{entry.place}.", inner, version, budget)
            continue
        spec = LayerSpec(
            entry.place, entry.kind, entry.config, _nothing, version, link.outputs, link.merged
        )
        yield replace(spec, weights=weights.of(spec, entry.number))


def _nothing(part: str) -> list[Array]:
    return []


def _entries(model: dict[str, Any], place: str, budget: Budget) -> list[_Entry]:
    config = model.get("config")
    layers = config.get("layers") if isinstance(config, dict) else config  # a list before 2.2.3
    if not isinstance(layers, list):
        raise ValueError(f"{place}config.layers is not a list")
    budget.layers(len(layers))
    entries: list[_Entry] = []
    counts: Counter[str] = Counter()
    for k, layer in enumerate(layers):
        own: Any = layer.get("config") if isinstance(layer, dict) else None
        if isinstance(own, list) and layer.get("class_name") == "Sequential":
            own = {"layers": own}
        if not isinstance(own, dict):
            raise ValueError(f"{place}layers[{k}] is not a layer")
        own = {"name": layer.get("name")} | own
        where = f"{place}layers[{k}] ({shown(own['name'])})"
        kind = kind_of(layer, where)
        entries.append(_Entry(where, kind, own, counts[kind], layer.get("inbound_nodes")))
        counts[kind] += 1
    return entries


# ---- Functional models ----


def _functional(model: dict[str, Any], entries: list[_Entry]) -> list[_Link]:
    """Return the layers from the only input to the only output."""
    config = model["config"]
    named = {entry.name: entry for entry in entries}
    if len(named) < len(entries):
        raise ValueError("two layers of a functional model have one name")
    first = _only(config.get("input_layers"), "input")
    at = _only(config.get("output_layers"), "output")
    links: list[_Link] = []
    used = {first.layer}
    while at.layer != first.layer:
        link = _link(named, at, used)
        links.append(link)
        assert link.call is not None
        at = link.call.tensors[0]
    links.reverse()
    _check_masks(links, named, used)
    for entry in entries:
        if entry.name not in used:
            raise ValueError(
                f"{entry.place}: {entry.kind} is not part of the one chain of layers from input "
                "to output"
            )
    return links


def _only(tensors: Any, what: str) -> Tensor:
    found = read_tensors(tensors)
    if found is None or len(found) != 1:
        count = "no valid" if found is None else len(found)
        raise ValueError(f"a functional model has {count} {what}s, expected one")
    return found[0]


def _link(named: dict[str, _Entry], at: Tensor, used: set[str]) -> _Link:
    """Return the layer that a tensor comes from; a join of results of one layer counts to it."""
    entry, call = _call(named, at, used)
    outputs: tuple[int, ...] = (at.index,)
    merged = None
    if entry.kind in _JOINS:
        sources = {tensor.layer for tensor in call.tensors}
        if len(call.tensors) != 2 or len(sources) != 1 or at.index:
            raise ValueError(
                f"{entry.place}: {entry.kind} joins results of different layers; the model is not "
                "one chain"
            )
        if entry.kind == "Concatenate" and entry.config.get("axis", -1) not in _LAST_AXES:
            raise ValueError(f"{entry.place}: axis={entry.config.get('axis')!r} is not supported")
        outputs, merged = tuple(t.index for t in call.tensors), _JOINS[entry.kind]
        entry, call = _call(named, call.tensors[0], used)
    if len(call.tensors) != 1 or call.value is not None:
        raise ValueError(f"{entry.place}: it takes more than one tensor")
    return _Link(entry, outputs, merged, call)


def _call(named: dict[str, _Entry], at: Tensor, used: set[str]) -> tuple[_Entry, Call]:
    """Return the layer that a tensor comes from, and its only call."""
    if at.layer not in named:
        raise ValueError(f"there is no layer {shown(at.layer)!r}")
    entry = named[at.layer]
    own = entry.kind in _MODELS  # Keras counts how a model was built as its first call
    if at.call not in ((0, 1) if own else (0,)):
        raise ValueError(f"{entry.place}: it is called more than once; the model is not one chain")
    if at.layer in used:
        raise ValueError(f"{entry.place}: its output is used twice; the model is not one chain")
    used.add(at.layer)
    return entry, _only_call(entry)


def _only_call(entry: _Entry) -> Call:
    nodes = entry.nodes
    if not isinstance(nodes, list) or len(nodes) != 1:
        count = len(nodes) if isinstance(nodes, list) else "no valid"
        raise ValueError(f"{entry.place}: it has {count} calls, expected one")
    return read_call(nodes[0], entry.place)


def _check_masks(links: list[_Link], named: dict[str, _Entry], used: set[str]) -> None:
    """Check that each mask that a call is given is that of the layers before, as Keras makes it."""
    expected: tuple[Tensor, float, bool] | None = None
    for link in links:
        call, entry = link.call, link.entry
        assert call is not None
        if call.mask is not None and _mask(call.mask, named, used, entry) != expected:
            raise ValueError(f"{entry.place}: its mask is not that of the layers before it")
        if entry.kind == "Embedding" and entry.config.get("mask_zero"):
            expected = call.tensors[0], 0.0, False
        elif entry.kind == "Masking":
            expected = call.tensors[0], entry.config.get("mask_value", 0.0), True


def _mask(
    mask: Tensor, named: dict[str, _Entry], used: set[str], owner: _Entry
) -> tuple[Tensor, Any, bool]:
    """Return what a mask is computed from, its value, and whether over all features."""
    names = [mask.layer]
    over = named.get(mask.layer)
    call = None if over is None else _only_call(over)
    any_feature = over is not None and over.kind == "Any" and over.config.get("axis") == -1
    if any_feature and call is not None and len(call.tensors) == 1:
        names.append(call.tensors[0].layer)
        over = named.get(names[-1])
        call = None if over is None else _only_call(over)
    if over is None or over.kind != "NotEqual" or call is None or len(call.tensors) != 1:
        raise ValueError(f"{owner.place}: its mask is not that of the layers before it")
    used.update(names)
    return call.tensors[0], call.value, any_feature
