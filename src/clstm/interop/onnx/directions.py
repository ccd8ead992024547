"""Two LSTM nodes of one direction each, side by side, as one bidirectional LSTM."""

from dataclasses import replace
from typing import Any

import numpy as np

from ...layers import Last
from ...layout import Array
from ...lstm import LSTM
from . import views
from .evaluator import Evaluator
from .lasts import last_of
from .places import Listed
from .sizes import Size, Undecided
from .sources import FEATURES, Beside, Cell, Layered
from .views import View


def stack(evaluator: Evaluator, parts: list[Any]) -> Beside:
    """Return several sources alike as one, the same one every time."""
    key = tuple(map(id, parts))
    if key not in evaluator.joined:
        kinds = {type(part) for part in parts}
        if len(kinds) > 1 or Listed in kinds or any(part.sizes != parts[0].sizes for part in parts):
            raise Undecided("it joins what is computed apart")
        evaluator.graph.budget.count(len(parts), "its parts")
        evaluator.joined[key] = Beside(parts)
    beside: Beside = evaluator.joined[key]
    return beside


def joined_directions(evaluator: Evaluator, view: View) -> View:
    """Return a view of the results of both directions as one of a bidirectional LSTM's."""
    if not isinstance(view.source, Beside) or len(view.source.parts) != 2:
        return view
    lstms = [_lstm_of(part) for part in view.source.parts]
    if any(lstm is None for lstm in lstms):
        return view
    backwards = [lstm.layer.direction == "reverse" for lstm in lstms]
    if sum(backwards) != 1:
        return view
    forward, reverse = lstms[::-1] if backwards[0] else lstms
    both = _both(evaluator, forward, reverse)
    if both is None:
        return view
    first = view.source.parts[0]
    if isinstance(first, Cell):
        source: Any = cell_of(evaluator, both)
    else:
        source = both if first in lstms else last_of(both, ends=True)
    return _translated(view, source, forward.layer.hidden_size, bool(backwards[0]))


def cell_of(evaluator: Evaluator, lstm: Layered) -> Cell:
    """Return the last c of an LSTM, the same source every time."""
    key = ("cell", id(lstm))
    if key not in evaluator.joined:
        evaluator.joined[key] = Cell(lstm, last_of(lstm, ends=True).sizes)
    cell: Cell = evaluator.joined[key]
    return cell


def _lstm_of(source: Any) -> Any:
    """Return the LSTM of one direction that a source is y, h or c of; None for others."""
    if isinstance(source, Cell):
        source = source.lstm
    elif isinstance(source, Layered) and isinstance(source.layer, Last) and source.layer.ends:
        source = source.parent
    plain = isinstance(source, Layered) and isinstance(source.layer, LSTM)
    return source if plain and not source.layer.bidirectional else None


def _translated(view: View, source: Any, size: int, swapped: bool) -> View:
    """Return a view along "part" as one along the features of both directions."""
    step = -size if swapped else size
    axes = [
        [d._replace(axis=FEATURES, stride=d.stride * step) if d.axis == "part" else d for d in axis]
        for axis in view.axes
    ]
    at: dict[str, Size] = {name: place for name, place in view.at.items() if name != "part"}
    at[FEATURES] = at.get(FEATURES, 0) + view.at.get("part", 0) * step + (size if swapped else 0)
    moved = View(source, tuple(views.merged(axis) for axis in axes), at)
    return moved


def _both(evaluator: Evaluator, forward: Layered, reverse: Layered) -> Layered | None:
    """Return the bidirectional LSTM of two, or None if they do not fit."""
    key = ("both", id(forward), id(reverse))
    if key in evaluator.joined:
        return evaluator.joined[key]  # type: ignore[no-any-return]
    one, other = forward.layer._config, reverse.layer._config
    alike = replace(other, direction="forward", bias=one.bias, learn_state=one.learn_state) == one
    if not alike or forward.parent is not reverse.parent or {*forward.given} != {*reverse.given}:
        return None
    try:
        given = {role: _given(role, forward, reverse) for role in forward.given}
    except Undecided:
        return None
    evaluator.graph.reserve(forward.layer.parameters.flat.nbytes * 4)
    sizes = forward.sizes | {FEATURES: 2 * forward.layer.hidden_size}
    both = Layered(forward.parent, _lstm(forward.layer, reverse.layer), forward.name, sizes, given)
    both.of_directions = (forward, reverse)
    evaluator.joined[key] = both
    return both


def _given(role: str, forward: Layered, reverse: Layered) -> View:
    """Return the value of an input that is not constant, for both directions."""
    one, other = forward.given[role], reverse.given[role]
    if role != "sequence_lens":
        return views.concat([one, other], int(forward.layer.batch_first), _not_beside)
    if one.source is not other.source or one.axes != other.axes:
        raise Undecided("the directions have other lengths")
    return one  # type: ignore[no-any-return]


def _not_beside(parts: list[Any]) -> Any:
    raise Undecided("the directions have states of different inputs")


def _lstm(forward: LSTM, reverse: LSTM) -> LSTM:
    config = replace(
        forward._config,
        bidirectional=True,
        bias=forward.bias or reverse.bias,
        learn_state=forward.learn_state or reverse.learn_state,
    )
    state: dict[str, Array] = {n: np.zeros(shape) for n, shape, _ in config.parameter_table()[0]}
    for lstm in (forward, reverse):
        state |= {n: a for n, a in lstm.state_dict().items() if n not in ("h0", "c0")}
    if config.learn_state:
        zeros = np.zeros((1, config.hidden_size))
        for name in ("h0", "c0"):
            halves = [lstm.state_dict().get(name, zeros) for lstm in (forward, reverse)]
            state[name] = np.concatenate(halves)
    return LSTM.from_state(config, state)
