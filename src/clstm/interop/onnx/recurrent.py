"""LSTM nodes as layers: the views of what a node takes and gives."""

from dataclasses import replace
from typing import Any

import numpy as np

from ...layout import Array
from ...lstm import LSTM
from .directions import cell_of
from .evaluator import Call, Unknown
from .graph import title
from .lasts import last_of, settled
from .lstm_node import read_node
from .sizes import Undecided, equal
from .sources import FEATURES, Constant, Input, Layered
from .views import Axis, Digit, View, merged, places, size_of


def lstm(call: Call) -> list[Any]:
    """Return Y, Y_h and Y_c of an LSTM node as views of a layer's results."""
    evaluator, x = call.evaluator, call.argument(0)
    if x is None:
        raise ValueError("it has no input X")
    for role, value in zip(("X",), (x,), strict=True):
        if not isinstance(value, View):
            cause = value.cause if isinstance(value, Unknown) else "a quantised value"
            return [Unknown(f"{role} of {title(call.node)} comes from {cause}")] * 3
    evaluator.graph.budget.layers(1)
    model, given = read_node(evaluator, call.scope, call.node, call.inputs)
    layout = int(model.batch_first)
    view = settled(x)
    steps, rows, features = _ordered(view, layout)
    if isinstance(view.source, Constant):
        raise Undecided("X is a constant")
    time, batch = _axis_of(view, steps), _axis_of(view, rows)
    backwards = bool(steps) and steps[0].stride == -1
    if backwards and "sequence_lens" in given:
        raise Undecided("it reverses a sequence with lengths")
    model = _fed(call, model, view, features)
    if backwards:
        model = _turned(model)
    root = view.source if isinstance(view.source, Input) else view.source.root
    _check_whole(view, {time, batch})
    root.bind(time, batch)
    sizes = {n: view.source.sizes[n] for n in (time, batch) if n is not None}
    sizes[FEATURES] = model._config.width
    source = Layered(view.source, model, title(call.node), sizes, given)
    return _outputs(call, source, backwards, layout, (steps, rows))


def _ordered(view: View, layout: int) -> tuple[Axis, Axis, Axis]:
    """Return the digits of time, batch and features."""
    steps, rows, features = view.axes[::1] if not layout else (view.axes[k] for k in (1, 0, 2))
    return steps, rows, features


def _axis_of(view: View, digits: Axis) -> str | None:
    """Return the axis of the source that an axis of X is, as a whole; None for one of size one."""
    if not digits:
        return None
    (digit,) = digits if len(digits) == 1 else (None,)
    if digit is None or digit.axis is None:
        raise Undecided("X has an axis that is joined or repeated")
    size = view.source.sizes[digit.axis]
    start = view.at.get(digit.axis, 0)
    if digit.axis == FEATURES or not equal(digit.size, size):
        raise Undecided("X is a part of what comes before")
    if (digit.stride, start) not in ((1, 0), (-1, size - 1)):
        raise Undecided("X takes other steps or rows")
    return digit.axis


def _check_whole(view: View, used: set[str | None]) -> None:
    """Raise Undecided if one place of an axis is taken that is neither time, batch nor features."""
    feature = features_of(view)
    for name, size in view.source.sizes.items():
        if name not in used and name != feature and size != 1:
            raise Undecided("X has further axes")


def features_of(view: View) -> str | None:
    """Return the axis of features of a view's source, as far as it is known."""
    source = view.source
    if isinstance(source, Input):
        return source.features
    return FEATURES if FEATURES in source.sizes else _inherited(source)


def _inherited(source: Any) -> str | None:
    root: Input = source.root
    return root.features


def bind_features(view: View, digits: Axis) -> str | None:
    """Return the axis of features on which digits count; of a graph's input it is the first use.

    Raises Undecided if they count on several axes.
    """
    names = {digit.axis for digit in digits if digit.axis is not None}
    if len(names) > 1:
        raise Undecided("its features are of several axes")
    known, name = features_of(view), next(iter(names), None)
    if known is not None and name not in (None, known):
        raise Undecided("its features are another axis of the input")
    if known is None and name is not None:
        source = view.source
        (source if isinstance(source, Input) else source.root).features = name
    return known if name is None else name


def _fed(call: Call, model: LSTM, view: View, digits: Axis) -> LSTM:
    """Return the model for all features of the source, if X has some, or in another order."""
    name = bind_features(view, digits)
    if name is None or (places_of := _permutation(view, digits, name, model.input_size)) is None:
        return model
    size = view.source.sizes[name]
    if not isinstance(size, int):
        raise Undecided("X is a part of an unknown number of features")
    rows = model.hidden_size * 4 * model._config.num_directions
    call.evaluator.graph.reserve(8 * size * rows)
    state = model.state_dict()
    for key in [key for key in state if key.startswith("weight_ih")]:
        state[key] = spread(state[key], places_of, size)
    return LSTM.from_state(replace(model._config, input_size=size), state)


def _permutation(view: View, digits: Axis, name: str, most: int) -> Array | None:
    """Return which features an axis has, or None if it has all of them in order."""
    whole = digits in ((Digit(view.source.sizes[name], name, 1),), ())
    if whole and view.at.get(name, 0) == 0 and (digits or view.source.sizes[name] == 1):
        return None
    return places(view, digits, name, most)


def spread(matrix: Array, features: Array, size: int) -> Array:
    """Return a matrix (O, N) of N features as one of all, zero for those that it does not take."""
    whole = np.zeros((len(matrix), size), matrix.dtype)
    np.add.at(whole.T, features, matrix.T)
    return whole


def _turned(model: LSTM) -> LSTM:
    """Return the model that computes the same of a reversed sequence, with its y reversed."""
    turned = {}
    for name, array in model.state_dict().items():
        if name in ("h0", "c0"):
            turned[name] = array[::-1]
        elif name.endswith("_reverse"):
            turned[name.removesuffix("_reverse")] = array
        else:
            turned[f"{name}_reverse"] = array
    if model.bidirectional:
        return LSTM.from_state(model._config, turned)
    direction = "forward" if model.direction == "reverse" else "reverse"
    return LSTM.from_state(replace(model._config, direction=direction), turned)


def _outputs(
    call: Call, source: Layered, backwards: bool, layout: int, outer: tuple[Axis, Axis]
) -> list[Any]:
    model: LSTM = source.layer
    units = model.hidden_size
    steps, rows = outer
    flipped = backwards and model.bidirectional
    at: dict[str, Any] = {FEATURES: units} if flipped else {}
    step = -units if flipped else units
    directions = merged([Digit(model._config.num_directions, FEATURES, step)])
    own = merged([Digit(units, FEATURES, 1)])
    if backwards:
        name = steps[0].axis
        at = at | {str(name): source.sizes[str(name)] - 1}
    order = (rows, steps, directions) if layout else (steps, directions, rows)
    y = View(source, (*order, own), at)
    if size_of(steps) != 1 and not steps:
        raise Undecided("it has no steps")
    state = (rows, directions, own) if layout else (directions, rows, own)
    kept = {FEATURES: units} if flipped else {}
    h = View(last_of(source, ends=True), state, dict(kept))
    c = View(cell_of(call.evaluator, source), state, dict(kept))
    return [y, h, c]
