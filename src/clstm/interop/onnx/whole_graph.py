"""An ONNX graph as the chain of layers that it is, from its outputs."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ...layers import Dense, Last
from ...layout import Array
from ...lstm import LSTM
from ...sequential import Sequential
from ..layers import joined, stacked
from .evaluator import Evaluator
from .initial_states import origin
from .lasts import settled
from .recurrent import spread
from .sizes import Size, Undecided, known
from .sources import FEATURES, Beside, Cell, Constant, Input, Layered, chain_of, lstms_of
from .state_inputs import check_inputs
from .views import Digit, View, merged, places, size_of


class Whole(NamedTuple):
    """A graph as layers: those of an LSTM node are not joined."""

    layers: list[Any]
    batch_first: bool
    notes: dict[str, Any]


def read_graph(evaluator: Evaluator) -> Whole:
    """Return the layers of a graph; ValueError that names what stands outside of a chain."""
    graph = evaluator.graph
    values = {name: evaluator.value(graph.main, name) for name in graph.outputs}
    for name, value in values.items():
        if not isinstance(value, View) or isinstance(value.source, (Constant, Input)):
            raise more_than_a_chain(f"its output {name!r} comes from {origin(value)}")
    try:
        views = {name: _settled(value) for name, value in values.items()}
        if len(views) == 1:
            views = {name: _chosen(evaluator, view) for name, view in views.items()}
        last, result = _result(evaluator, views)
    except Undecided as error:
        raise more_than_a_chain(f"of an output, {error}") from None
    chain = chain_of(last)
    lstms = list(lstms_of(chain))
    _check_states(views, lstms, result)
    root = last.root
    check_inputs(root, lstms)
    notes = dict(_notes(evaluator, root, last, result))
    _reserve(evaluator, chain)
    return Whole([source.layer for source in chain], _batch_first(root), notes)


def more_than_a_chain(what: str) -> ValueError:
    """Return the error for a graph that is no chain of layers."""
    return ValueError(
        f"it is more than a chain of LSTMs and layers: {what}. clstm.interop.onnx.nodes returns "
        "its LSTM nodes, and load with node= one of them"
    )


# ---- Outputs ----


def _settled(view: View) -> View:
    try:
        return settled(view)
    except Undecided as error:
        raise more_than_a_chain(f"{origin(view)} gives more than its last step: {error}") from None


def _chosen(evaluator: Evaluator, view: View) -> View:
    """Return an output that has some of the features as that of a Dense that chooses them."""
    source, digits = view.source, view.axes[-1] if view.axes else ()
    several = isinstance(source, Layered) and isinstance(source.sizes.get(FEATURES), int)
    last = several and {digit.axis for digit in digits} == {FEATURES}
    if not last or view.along(FEATURES) != list(digits) or (_is_state(view) and len(view.axes) > 2):
        return view
    size, count = known([source.sizes[FEATURES], size_of(digits)])
    if digits == merged([Digit(size, FEATURES, 1)]):
        return view
    evaluator.graph.reserve(12 * size * count)
    weight = spread(np.eye(count, dtype=np.float32), places(view, digits, FEATURES, count), size)
    chosen = Layered(source, Dense(weight), source.name, source.sizes | {FEATURES: count})
    at = {name: place for name, place in view.at.items() if name != FEATURES}
    return View(chosen, (*view.axes[:-1], merged([Digit(count, FEATURES, 1)])), at)


def _result(evaluator: Evaluator, views: Mapping[str, View]) -> tuple[Layered, View | None]:
    """Return the last layer of the chain, and the output that it gives, if one does."""
    results = {name: view for name, view in views.items() if not _is_state(view)}
    sources = {id(view.source): view for view in results.values()}
    if len(sources) > 1:
        found = ", ".join(f"{n!r} of {origin(v)}" for n, v in list(results.items())[:8])
        raise more_than_a_chain(f"it has {len(results)} outputs besides the states: {found}")
    if sources:
        (view,) = sources.values()
        if isinstance(view.source, Beside):
            raise more_than_a_chain(f"it joins outputs of {_parts(view)}")
        return view.source, view
    first = next(iter(views.values()), None)
    if first is None:
        raise ValueError("it has no output")
    if (end := _only_last(first)) is not None:
        return end, first
    states = [_lstms_behind(view)[-1] for view in views.values()]
    return max(states, key=lambda source: len(chain_of(source))), None


def _parts(view: View) -> str:
    return ", ".join(origin(View(part, ())) for part in view.source.parts[:8])


def _is_state(view: View) -> bool:
    """Return whether a view is the last h or c of one or more LSTMs."""
    parts = view.source.parts if isinstance(view.source, Beside) else [view.source]
    return all(_state_of(part) is not None for part in parts)


def _state_of(source: Any) -> Layered | None:
    """Return the LSTM that a source is the last h or c of."""
    if isinstance(source, Cell):
        return source.lstm
    ends = isinstance(source, Layered) and isinstance(source.layer, Last) and source.layer.ends
    return source.parent if ends and isinstance(source.parent.layer, LSTM) else None


def _lstms_behind(view: View) -> list[Layered]:
    parts = view.source.parts if isinstance(view.source, Beside) else [view.source]
    return [lstm for part in parts if (lstm := _state_of(part)) is not None]


def _only_last(view: View) -> Layered | None:
    """Return the source of an output that is the last h as (B, features), and not as a state."""
    source = view.source
    if not isinstance(source, Layered) or len(view.axes) > 2:
        return None
    return source


def _check_states(views: Mapping[str, View], lstms: list[Layered], result: View | None) -> None:
    """Check that all states are those of the chain's LSTMs, in order."""
    known = [(lstm, *lstm.of_directions) for lstm in lstms]
    for name, view in views.items():
        if result is not None and view.source is result.source:
            continue
        order = []
        for lstm in _lstms_behind(view):
            place = next((k for k, own in enumerate(known) if lstm in own), None)
            if place is None:
                raise more_than_a_chain(f"its output {name!r} is of {lstm.name}, beside the chain")
            order.append(place)
        if order != list(range(order[0], order[0] + len(order))):
            raise more_than_a_chain(f"its output {name!r} joins states in another order")
        if not _is_whole(view) or not _parts_first(view):
            raise more_than_a_chain(f"its output {name!r} does not hold each part once, in order")


def _is_whole(view: View) -> bool:
    """Return whether a view has each element of its source once, parts and features in order."""
    source = view.source
    digits = [digit for axis in view.axes for digit in axis]
    if any(place != 0 for place in view.at.values()) or any(d.axis is None for d in digits):
        return False
    for name, size in source.sizes.items():
        own = [digit for digit in digits if digit.axis == name]
        expected: Size = 1
        for digit in reversed(own):
            if digit.stride != expected:
                return False
            expected = digit.stride * digit.size
        if expected != size:
            return False
    return True


def _parts_first(view: View) -> bool:
    """Return whether the states of several layers follow each other, their directions inside."""
    seen = set()
    for axis in view.axes:
        names = [digit.axis for digit in axis]
        if "part" in names:
            return FEATURES not in seen and names[0] == "part" and {*names[1:]} <= {FEATURES}
        seen |= {*names}
    return True


# ---- What a call takes and gives ----


def _batch_first(root: Input) -> bool:
    """Return whether the batch comes before time in x."""
    names = list(root.sizes)
    time, batch = (
        names.index(name) if name is not None else None for name in (root.time, root.batch)
    )
    if time is None and batch is None:
        return False
    units = [k for k, n in enumerate(names) if root.sizes[n] == 1 and n != root.features]
    if time is None:
        time = next(iter(units), len(names))
    if batch is None:
        if not units:
            return False
        batch = units[0]
    return batch < time


def _notes(evaluator: Evaluator, root: Input, last: Layered, result: View | None) -> Any:
    """Yield what the file says beside the computation."""
    letters = {root.time: "T", root.batch: "B", root.features: "I"}
    axes = [letters.get(name, "1") for name in root.sizes]
    first = ["B", "T"] if _batch_first(root) else ["T", "B"]
    _check_root(root, axes)
    whole = [*first, "I"] if FEATURES not in _taken(root, last) else first
    if axes != whole and not _fits(axes, whole):
        yield "axes of x", f"({', '.join(axes)})"
    if result is None:
        pass
    elif not _is_whole(result):
        raise more_than_a_chain(f"its output is a part of what {origin(result)} gives")
    else:
        given = [_letters(axis, root) for axis in result.axes]
        ends = root.time not in last.sizes
        wanted = [*(["B"] if ends else first), "O"]
        if given != wanted and not _fits(given, wanted):
            yield "axes of y", f"({', '.join(given)})"
    if evaluator.fixed:
        axes_by_size = {root.sizes.get(str(n)): letter for n, letter in letters.items()}
        sizes = [f"{axes_by_size.get(size, '?')} = {n}" for size, n in evaluator.fixed.items()]
        yield "written for", ", ".join(sizes)
    if evaluator.dequantised:
        yield "dequantised", list(evaluator.dequantised)


def _check_root(root: Input, axes: list[str]) -> None:
    for name, letter in zip(root.sizes, axes, strict=True):
        if letter == "1" and root.sizes[name] != 1:
            raise more_than_a_chain(f"of the input {root.name!r}, axis {name} is not used")


def _taken(root: Input, last: Layered) -> list[str]:
    """Return FEATURES if the first layer takes indices."""
    return [FEATURES] if root.integer else []


def _fits(axes: list[str], whole: list[str]) -> bool:
    """Return whether axes differ only where one of them has size one."""
    return len(axes) == len(whole) and all(a in (w, "1") for a, w in zip(axes, whole, strict=True))


def _letters(axis: Any, root: Input) -> str:
    letters = {root.time: "T", root.batch: "B", FEATURES: "O"}
    return " ".join(letters.get(digit.axis, "?") for digit in axis) or "1"


# ---- Layers ----


def _reserve(evaluator: Evaluator, chain: list[Layered]) -> None:
    """Count the copies that joining layers to a model makes."""
    arrays = [a for source in chain for a in _arrays(source.layer)]
    evaluator.graph.reserve(4 * sum(array.nbytes for array in arrays))


def _arrays(layer: Any) -> list[Array]:
    return list(layer.parameters.values()) if hasattr(layer, "parameters") else []


def as_model(whole: Whole) -> LSTM | Sequential:
    """Return layers as one LSTM if they are one, else as a Sequential."""
    layers = joined(_stacked(whole.layers))
    if len(layers) > 1 or not isinstance(layers[0], LSTM):
        return Sequential(layers, whole.batch_first, notes=whole.notes)
    lstm: LSTM = layers[0]
    if whole.batch_first:
        config = replace(lstm._config, batch_first=True)
        lstm = LSTM.from_state(config, lstm.state_dict())
    lstm.notes.update(whole.notes)
    return lstm


def _stacked(layers: list[Any]) -> list[Any]:
    """Return layers with LSTMs that follow each other, and are alike, as one."""
    chain: list[Any] = []
    for layer in layers:
        before = chain[-1] if chain else None
        if isinstance(layer, LSTM) and isinstance(before, LSTM) and _alike(before, layer):
            pair = [_filled(lstm, before, layer) for lstm in (before, layer)]
            chain[-1] = stacked(pair)
        else:
            chain.append(layer)
    return chain


def _alike(below: LSTM, layer: LSTM) -> bool:
    """Return whether two LSTMs differ only in weights, and in which have a bias or a state."""
    own, other = layer._config, below._config
    free = {n: getattr(other, n) for n in ("input_size", "num_layers", "bias", "learn_state")}
    return replace(own, **free) == other and own.input_size == other.width


def _filled(lstm: LSTM, *pair: LSTM) -> LSTM:
    """Return an LSTM with zeros for what the other one has: a bias, an initial state."""
    bias, learn = (any(getattr(p, n) for p in pair) for n in ("bias", "learn_state"))
    if (lstm.bias, lstm.learn_state) == (bias, learn):
        return lstm
    config = replace(lstm._config, bias=bias, learn_state=learn)
    zeros = {name: np.zeros(shape) for name, shape, _ in config.parameter_table()[0]}
    return LSTM.from_state(config, zeros | lstm.state_dict())
