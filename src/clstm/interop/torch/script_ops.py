"""PyTorch's operations in TorchScript's code, on the values of script_values.py."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...layers import Dense, Embedding, Gain, Skip
from ...layout import Array
from ...lstm import LSTM
from .. import torch_names
from .script_values import (
    DIRECTIONS,
    FEATURES,
    FIRST,
    HUGE,
    LAYERS,
    SECOND,
    UNKNOWN,
    Axes,
    Flow,
    Memory,
    Piece,
    Size,
    State,
    Unknown,
    Weight,
    Zeros,
    permuted,
    place_of,
    reshaped,
    shown,
    state_axes,
)

_FLOAT_TYPES = (6, 7)  # PyTorch's numbers of float32 and float64
_INTEGER_TYPES = (3, 4)
_MOST = 16  # axes, or parts of a sequence


class Restart(Exception):
    """The argument has other axes than those assumed: whether it holds indices, and a batch."""

    def __init__(self, indices: bool, batched: bool) -> None:
        super().__init__("the axes of the argument")
        self.indices = indices
        self.batched = batched


class Given:
    """The arguments of an operation.

    Parameters
    ----------
    read : callable
        Returns the numbers of a `Weight`.
    """

    def __init__(
        self,
        values: Sequence[Any],
        named: dict[str, Any],
        read: Callable[[Weight], Array],
        dtype: Any,
    ) -> None:
        self.values = list(values)
        self.named = named
        self.read = read
        self.dtype = dtype

    def get(self, number: int, name: str, default: Any = None) -> Any:
        """Return an argument by its place or its name."""
        if number < len(self.values):
            return self.values[number]
        return self.named.get(name, default)

    def flow(self, number: int = 0, name: str = "input") -> Flow:
        """Return an argument that is a sequence, or the last step of one."""
        return flow_of(self.get(number, name))

    def weight(self, number: int, name: str) -> Weight:
        value = self.get(number, name)
        if not isinstance(value, Weight):
            raise ValueError(f"its {name} is no tensor of the file")
        return value


def flow_of(value: Any) -> Flow:
    """Return a value that is a sequence, or the last step of one."""
    if isinstance(value, State):
        value = value.as_flow()
    if not isinstance(value, Flow):
        raise ValueError("it computes with what does not come from the model's argument")
    if value.memory.spent:
        raise ValueError(f"it uses what {value.memory.spent} has overwritten")
    return value


# ---- Layers ----


def _followed(flow: Flow, layer: Any, features: int | None) -> Flow:
    """Return what a layer makes of a sequence."""
    chain = (*flow.settled(), layer)
    return replace(flow, chain=chain, features=features, pieces=(Piece(),), memory=Memory())


def _on_features(flow: Flow, size: Any) -> None:
    """Raise unless the last axis is that of the features, of this size."""
    width = flow.width()
    if not flow.axes or flow.axes[-1] != (FEATURES,):
        raise ValueError("it takes features that are not the last axis")
    if width not in (None, size):
        raise ValueError(f"it takes {shown(size)} features, and is given {width}")


def _embedding(given: Given) -> Flow:
    flow, weight = given.flow(1, "indices"), given.weight(0, "weight")
    if not flow.is_argument():
        raise ValueError("it embeds what is computed: expected the model's argument")
    if any(FEATURES in axis for axis in flow.axes):
        raise Restart(True, len(flow.axes) == 3)
    layer = Embedding(given.read(weight))
    axes = (*flow.axes, (FEATURES,))
    return replace(_followed(flow, layer, layer.weight.shape[1]), axes=axes)


def _dense(given: Given, flow: Flow, weight: Weight, bias: Any, stored: bool) -> Flow:
    """Return weight @ x; `stored` is whether the matrix is (O, I) without being transposed."""
    matrix = given.read(weight)
    if weight.transposed == stored:
        matrix = np.ascontiguousarray(matrix.T)
    if matrix.ndim != 2:
        raise ValueError(f"{weight.name} has shape {matrix.shape}, expected two axes")
    _on_features(flow, matrix.shape[1])
    if bias is not None and not isinstance(bias, Weight):
        raise ValueError("its bias is no tensor of the file")
    numbers = None if bias is None else given.read(bias)
    return _followed(flow, Dense(matrix, numbers), len(matrix))


def _linear(given: Given) -> Flow:
    weight = given.weight(1, "weight")
    return _dense(given, given.flow(), weight, given.get(2, "bias"), stored=True)


def _matmul(given: Given) -> Flow:
    return _dense(given, given.flow(), given.weight(1, "other"), None, stored=False)


def _addmm(given: Given) -> Flow:
    for name in ("beta", "alpha"):
        if given.get(9, name, 1) != 1:
            raise ValueError(f"its {name} is not 1")
    flow, weight = given.flow(1, "mat1"), given.weight(2, "mat2")
    return _dense(given, flow, weight, given.weight(0, "input"), stored=False)


def _activation(name: str) -> Callable[[Given], Flow]:
    def apply(given: Given) -> Flow:
        flow = given.flow()
        return _followed(flow, Dense(activation=name), flow.width())

    return apply


def _elu(given: Given) -> Flow:
    if any(given.get(k + 1, name, 1) != 1 for k, name in enumerate(("alpha", "scale", "input"))):
        raise ValueError("its alpha or scale is not 1")
    return _activation("elu")(given)


def _softmax(given: Given) -> Flow:
    flow = given.flow()
    axis = place_of(flow.axes, given.get(1, "dim"))
    if flow.axes[axis] != (FEATURES,):
        raise ValueError("it is a softmax over another axis than the features, the last")
    return _activation("softmax")(given)


def _dropout(given: Given) -> Flow:
    if given.get(2, "train") is not False and given.get(1, "p") != 0:
        raise ValueError(
            "it drops random features at each call, as it was traced in training mode: trace the "
            "model after model.eval()"
        )
    return given.flow()


def _in_place(name: str, operation: Callable[[Given], Flow]) -> Callable[[Given], Flow]:
    def apply(given: Given) -> Flow:
        flow = given.flow()
        result = operation(given)
        if result is not flow:
            flow.memory.spent = f"torch.{name}"
        return result

    return apply


# ---- Sums and products with numbers ----


def _add(given: Given) -> Flow:
    first, second = given.get(0, "self"), given.get(1, "other")
    if given.get(2, "alpha", 1) != 1:
        raise ValueError("its alpha is not 1")
    if isinstance(first, Weight):
        first, second = second, first
    if isinstance(second, Weight):
        flow = flow_of(first)
        _on_features(flow, second.shape[-1] if len(second.shape) == 1 else None)
        return _followed(flow, Dense(bias=given.read(second)), flow.width())
    return _skip(flow_of(first), flow_of(second))


def _skip(inner: Flow, outer: Flow) -> Flow:
    """Return the sum of what layers give and of what they take, or its first features."""
    if len(inner.chain) < len(outer.chain):
        inner, outer = outer, inner
    taken, width = len(outer.chain), inner.features
    same = all(a is b for a, b in zip(inner.chain, outer.chain, strict=False))
    whole = inner.pieces[0]._replace(begin=0, end=None)
    if inner.pieces[0].end == width:
        inner = replace(inner, pieces=(inner.pieces[0]._replace(end=None), *inner.pieces[1:]))
    [piece, *others] = outer.pieces
    if (
        not (same and inner.source == outer.source and len(inner.chain) > taken)
        or inner.pieces != (whole,)
        or others
        or (piece.step, piece.begin) != (whole.step, 0)
        or inner.axes != outer.axes
    ):
        raise ValueError("it adds what is not the features that its layers take")
    count = piece.end or outer.features or width
    skip = Skip(inner.chain[taken:], 1 if count is None else count)
    return replace(inner, chain=(*outer.chain, skip), memory=Memory())


def _number(given: Given, value: Any) -> float | None:
    """Return a number of the code, or a tensor of the file that is one."""
    if isinstance(value, Weight) and value.shape == ():
        return float(given.read(value))
    return float(value) if type(value) in (int, float) else None


def _multiply(given: Given) -> Any:
    first, second = given.get(0, "self"), given.get(1, "other")
    if isinstance(first, (int, Size)) and isinstance(second, (int, Size)):
        return _product(first, second)
    if isinstance(first, Unknown) or isinstance(second, Unknown):
        return UNKNOWN
    number = _number(given, second)
    if number is None:
        first, number = second, _number(given, first)
    if number is None:
        raise ValueError("it multiplies by what is no number")
    flow = flow_of(first)
    return _followed(flow, Gain(number), flow.width())


def _product(first: int | Size, second: int | Size) -> Any:
    if isinstance(first, Size) and isinstance(second, Size):
        labels = first.labels + second.labels
        return Size(labels) if len(labels) <= _MOST else UNKNOWN
    if isinstance(first, Size) or isinstance(second, Size):
        return second if first == 1 else first if second == 1 else UNKNOWN
    return first * second if abs(first) < HUGE and abs(second) < HUGE else UNKNOWN


def _divide(given: Given) -> Flow:
    flow, number = given.flow(), _number(given, given.get(1, "other"))
    if not number or given.named:
        raise ValueError("it divides by what is no number")
    return _followed(flow, Gain(1 / number), flow.width())


# ---- LSTM ----


def _lstm(given: Given) -> tuple[Any, ...]:
    states, weights = given.get(1, "hx"), given.get(2, "params")
    if not isinstance(states, list):
        raise ValueError(
            "it packs sequences, pack_padded_sequence: write the model without it, and give "
            "lengths to the call"
        )
    _, count, dropout, train, both, batch_first = (given.get(k, "") for k in range(3, 9))
    if train is not False and dropout != 0 and count != 1:
        raise ValueError("it was traced in training mode with dropout: trace it after model.eval()")
    flow = given.flow()
    batch, time = _axes_of(flow, batch_first)
    lstm = _model(given, weights, count, both)
    _on_features(flow, lstm.input_size)
    if (kept := _initial(given, lstm, flow, states)) is not None:
        lstm = _with_state(lstm, *kept)
    y = replace(_followed(flow, lstm, lstm._config.width), time=time)
    axes = state_axes(lstm, batch)
    return y, State("h", y, axes), State("c", y, axes)


def _axes_of(flow: Flow, batch_first: Any) -> tuple[Any, str]:
    """Return the axis of the batch, and the label of the steps."""
    if len(flow.axes) == 4 and () in flow.axes and not flow.time:
        raise Restart(not _has_features(flow), False)
    if len(flow.axes) != 3 or type(batch_first) is not bool:
        raise ValueError(f"its LSTM takes {len(flow.axes)} axes, expected (T, B, I) or (B, T, I)")
    batch, time = flow.axes[0 if batch_first else 1], flow.axes[1 if batch_first else 0]
    if len(time) != 1 or len(batch) > 1 or time == (FEATURES,):
        raise ValueError("the axes of its LSTM's argument are merged ones")
    if flow.time not in ("", time[0]):
        raise ValueError("its LSTMs have their steps in different axes")
    return batch, time[0]


def _has_features(flow: Flow) -> bool:
    return not any(isinstance(layer, Embedding) for layer in flow.chain)


def _model(given: Given, weights: Any, count: Any, both: Any) -> LSTM:
    """Return the LSTM of a flat list of weights, in PyTorch's order."""
    if not isinstance(weights, list) or not all(isinstance(w, Weight) for w in weights):
        raise ValueError("the weights of its LSTM are no tensors of the file")
    if type(count) is not int or type(both) is not bool or not 0 < count <= len(weights):
        raise ValueError(f"its LSTM has {shown(count)} layers and {len(weights)} weights")
    parts = count * (1 + both)
    kinds = {
        2: ("weight_ih", "weight_hh"),
        3: ("weight_ih", "weight_hh", "weight_hr"),
        4: ("weight_ih", "weight_hh", "bias_ih", "bias_hh"),
        5: ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr"),
    }.get(len(weights) // parts, ())
    if not kinds or len(weights) % parts:
        raise ValueError(f"its LSTM has {len(weights)} weights for {parts} layers and directions")
    ends = ("", "_reverse") if both else ("",)
    names = [f"{kind}_l{k}{end}" for k in range(count) for end in ends for kind in kinds]
    arrays = {name: given.read(w) for name, w in zip(names, weights, strict=True)}
    return torch_names.read(arrays, dtype=given.dtype)


def _initial(given: Given, lstm: LSTM, flow: Flow, states: list[Any]) -> tuple[Array, Array] | None:
    """Check the initial state; return the arrays of a learned one, not one of zeros."""
    rows = lstm.num_layers * (2 if lstm.bidirectional else 1)
    sizes = (lstm._config.state_size, lstm.hidden_size)
    if len(states) != 2:
        raise ValueError(f"its LSTM has {len(states)} initial states, expected h and c")
    if all(isinstance(s, Flow) and s.is_argument() and s.source != flow.source for s in states):
        return None  # the caller gives them to a call of the model
    arrays = []
    for name, value, size in zip("hc", states, sizes, strict=True):
        if isinstance(value, Zeros):
            _check_zeros(value.shape, rows, size, name)
            arrays.append(np.zeros((rows, size)))
        elif isinstance(value, Weight):
            arrays.append(_rows_of(given.read(value), (rows, size), value.name))
        else:
            raise ValueError(f"the initial {name} of its LSTM is computed: expected zeros")
    return (arrays[0], arrays[1]) if any(array.any() for array in arrays) else None


def _with_state(lstm: LSTM, h0: Array, c0: Array) -> LSTM:
    """Return an LSTM that starts from a learned state."""
    config = dataclasses.replace(lstm._config, learn_state=True)
    return LSTM.from_state(config, lstm.state_dict() | {"h0": h0, "c0": c0})


def _check_zeros(shape: tuple[Any, ...], rows: int, size: int, name: str) -> None:
    known = [shape[0], shape[-1]] if len(shape) == 3 else []
    if [k for k in known if type(k) is int] != known or known != [rows, size]:
        raise ValueError(
            f"the initial {name} of its LSTM has another shape than ({rows}, B, {size})"
        )


def _rows_of(array: Array, shape: tuple[int, int], name: str) -> Array:
    """Return a learned state (L D, .) from (L D, 1, .), or (L D, B, .) of equal rows."""
    if array.ndim != 3 or (array.shape[0], array.shape[2]) != shape or not array.shape[1]:
        raise ValueError(f"{name} has shape {array.shape}, expected ({shape[0]}, 1, {shape[1]})")
    if (array != array[:, :1]).any():
        raise ValueError(f"{name} is an initial state that differs among the rows of a batch")
    first: Array = array[:, 0]
    return first


# ---- Axes and pieces ----


def _size(given: Given) -> Any:
    value, axis = given.get(0, "self"), given.get(1, "dim")
    if isinstance(value, (Weight, Zeros)):
        sizes: list[Any] = list(value.shape)
    elif isinstance(value, (Flow, State)):
        by_label = value.sizes()
        sizes = [_length(axis, by_label) for axis in value.axes]
    else:
        raise ValueError("it takes the size of what has none")
    return sizes if axis is None else sizes[place_of(sizes, axis)]


def _length(axis: tuple[str, ...], sizes: dict[str, int | Size]) -> Any:
    length: Any = 1
    for label in axis:
        length = _product(length, sizes[label]) if length is not UNKNOWN else UNKNOWN
    return length


def _dim(given: Given) -> Any:
    value = given.get(0, "self")
    if isinstance(value, (Flow, State)):
        return len(value.axes)
    return len(value.shape) if isinstance(value, (Weight, Zeros)) else UNKNOWN


def _of(given: Given) -> Flow | State:
    value = given.get(0, "self")
    return value if isinstance(value, State) else flow_of(value)


def _with_axes(value: Flow | State, axes: Axes) -> Flow | State:
    """Return a view; an axis of features that a squeeze has removed comes back at the end."""
    if len(axes) > _MOST:
        raise ValueError(f"it makes {len(axes)} axes")
    if isinstance(value, State):
        return value.with_axes(axes)
    lost = not any(FEATURES in axis for axis in (*value.axes, *axes))
    if lost and axes[-1:] == ((),) and len(axes) > len(value.axes) and value.width() == 1:
        axes = (*axes[:-1], (FEATURES,))
    return replace(value, axes=axes)


def _permute(given: Given) -> Any:
    value = _of(given)
    return _with_axes(value, permuted(value.axes, given.get(1, "dims")))


def _transpose(given: Given) -> Any:
    value = _of(given)
    order = list(range(len(value.axes)))
    a, b = (place_of(value.axes, given.get(k, f"dim{k - 1}")) for k in (1, 2))
    order[a], order[b] = b, a
    return _with_axes(value, permuted(value.axes, order))


def _weight_transposed(given: Given) -> Any:
    value = given.get(0, "self")
    if isinstance(value, Weight):
        return replace(value, transposed=not value.transposed)
    flow = _of(given)
    return _with_axes(flow, permuted(flow.axes, range(len(flow.axes))[::-1]))


def _squeeze(given: Given) -> Any:
    value, axis = _of(given), given.get(1, "dim")
    sizes = value.sizes()
    if axis is None:
        return _with_axes(value, tuple(a for a in value.axes if _length(a, sizes) != 1))
    place = place_of(value.axes, axis)
    if _length(value.axes[place], sizes) != 1:
        raise ValueError("it squeezes an axis that has more than one element")
    return _with_axes(value, value.axes[:place] + value.axes[place + 1 :])


def _unsqueeze(given: Given) -> Any:
    value = given.get(0, "self")
    if not isinstance(value, (Flow, State)):
        raise ValueError("it adds an axis to what is no sequence")
    place = place_of((*value.axes, ()), given.get(1, "dim"))
    return _with_axes(value, (*value.axes[:place], (), *value.axes[place:]))


def _view(given: Given) -> Any:
    value, shape = _of(given), given.get(1, "size")
    if not isinstance(shape, list):
        raise ValueError("its view has no list of sizes")
    return _with_axes(value, reshaped(value.axes, value.sizes(), shape))


def _flatten(given: Given) -> Any:
    value = _of(given)
    begin = place_of(value.axes, given.get(1, "start_dim", 0))
    end = place_of(value.axes, given.get(2, "end_dim", -1))
    merged = tuple(label for axis in value.axes[begin : end + 1] for label in axis)
    return _with_axes(value, (*value.axes[:begin], merged, *value.axes[end + 1 :]))


def _select(given: Given) -> Any:
    value = _of(given)
    place, index = place_of(value.axes, given.get(1, "dim")), given.get(2, "index")
    axes = value.axes[:place] + value.axes[place + 1 :]
    axis = value.axes[place]
    if isinstance(value, State):
        return _select_state(value, axis, axes, index)
    if axis == () and index in (0, -1):
        return _with_axes(value, axes)
    if axis == (FEATURES,) and type(index) is int and value.width() != 1:
        end = index + 1 or None
        return _with_axes(_of_features(value, index, end), axes)
    if axis == (FEATURES,) and index in (0, -1):
        return _with_axes(value, axes)
    return _with_axes(_one_step(value, axis, index), axes)


def _select_state(state: State, axis: tuple[str, ...], axes: Axes, index: Any) -> Any:
    """Return h of one layer, of one direction, or of both of one."""
    sizes = state.sizes()
    length = _length(axis, sizes)
    if type(length) is not int or type(index) is not int or not -length <= index < length:
        raise ValueError(f"it takes number {shown(index)} of an axis of h or c")
    index %= length
    directions = sizes[DIRECTIONS] if DIRECTIONS in axis else 1
    assert isinstance(directions, int)
    if LAYERS in axis and index // directions != state.lstm.num_layers - 1:
        raise ValueError("it uses h of another layer than the last")
    if FEATURES in axis:
        raise ValueError("it takes one feature of h")
    direction = index % directions if DIRECTIONS in axis else state.direction
    whole = state.whole and axis == ()
    return replace(state, direction=direction, whole=whole).with_axes(axes)


def _one_step(flow: Flow, axis: tuple[str, ...], index: Any) -> Flow:
    """Return the last or the first step."""
    steps = {-1: "last", 0: "first"}
    if not flow.time or axis != (flow.time,) or type(index) is not int or index not in steps:
        raise ValueError("it takes one element of an axis: expected the last step of an LSTM's y")
    if any(piece.step != "all" for piece in flow.pieces):
        raise ValueError("it takes a step twice")
    pieces = tuple(piece._replace(step=steps[index]) for piece in flow.pieces)
    return replace(flow, pieces=pieces)


def _of_features(flow: Flow, begin: int, end: int | None) -> Flow:
    """Return some features."""
    [piece, *others] = flow.pieces
    width = flow.width()
    if width is not None:
        begin, end, _ = slice(begin, end).indices(width)
    if others or begin < 0 or (end is not None and end <= begin):
        raise ValueError(f"it takes the features {begin}:{end} of others")
    stop = piece.end if end is None else piece.begin + end
    return replace(flow, pieces=(Piece(piece.step, piece.begin + begin, stop),))


def _slice(given: Given) -> Any:
    value = _of(given)
    place = place_of(value.axes, given.get(1, "dim", 0))
    begin, end = given.get(2, "start", None), given.get(3, "end", None)
    if given.get(4, "step", 1) != 1:
        raise ValueError("it takes every other element of an axis")
    begin = 0 if begin is None else begin
    end = None if type(end) is int and end >= HUGE else end
    axis = value.axes[place]
    length = _length(axis, value.sizes())
    if begin == 0 and (end is None or end == length):
        return value
    if type(begin) is not int or not (end is None or type(end) is int):
        raise ValueError("it takes a part of an axis that each call decides")
    if isinstance(value, State):
        last = (LAYERS, DIRECTIONS)
        directions = value.sizes()[DIRECTIONS]
        if axis == last and end in (None, length) and begin in (-2, length - 2):
            assert directions == 2
            axes = (*value.axes[:place], (DIRECTIONS,), *value.axes[place + 1 :])
            return replace(value, axes=axes, whole=False)
        raise ValueError("it takes a part of h or c that is not the last layer's")
    if axis == (FEATURES,):
        return _of_features(value, begin, end)
    if (begin, end) not in ((-1, None), (0, 1)):
        raise ValueError("it takes a part of an axis: expected the last step of an LSTM's y")
    axes = (*value.axes[:place], (), *value.axes[place + 1 :])
    return _with_axes(_one_step(value, axis, begin), axes)


def _concatenate(given: Given) -> Flow:
    """Return pieces of one sequence, joined in the axis of features."""
    parts = given.get(0, "tensors")
    if not isinstance(parts, list) or not 0 < len(parts) <= _MOST:
        raise ValueError("it joins what is no list, or a long one")
    flows = [flow_of(part) for part in parts]
    first, axis = flows[0], flows[0].axes[place_of(flows[0].axes, given.get(1, "dim", 0))]
    same = all(
        f.axes == first.axes and len(f.chain) == len(first.chain) and f.source == first.source
        and all(a is b for a, b in zip(f.chain, first.chain, strict=True))
        for f in flows
    )  # fmt: skip
    if axis != (FEATURES,) or not same:
        raise ValueError("it joins what are not features of one sequence")
    pieces = tuple(
        piece._replace(end=first.features if piece.end is None else piece.end)
        for f in flows
        for piece in f.pieces
    )
    if len(pieces) > _MOST:
        raise ValueError(f"it joins {len(pieces)} parts of one sequence")
    return replace(first, pieces=pieces, memory=Memory())


# ---- What changes no number ----


def _same(given: Given) -> Any:
    return given.get(0, "self")


def _as_type(given: Given) -> Any:
    """Return a value in another type of numbers, which may be that of the weights alone."""
    value = given.get(0, "self")
    kinds = [v for v in (*given.values[1:], given.named.get("dtype")) if type(v) is int]
    allowed: tuple[int, ...] = _FLOAT_TYPES
    if isinstance(value, Flow) and value.is_argument():
        allowed += _INTEGER_TYPES
    if isinstance(value, (Flow, State)) and any(kind not in allowed for kind in kinds):
        raise ValueError("it rounds to another type of numbers")
    return value


def _expand(given: Given) -> Weight:
    """Return a learned initial state for each row of a batch."""
    value, shape = given.get(0, "self"), given.get(1, "size")
    if isinstance(value, Weight) and isinstance(shape, list) and len(value.shape) == len(shape):
        ends = [(shape[0], value.shape[0]), (shape[-1], value.shape[-1])]
        if len(shape) == 3 and all(size in (-1, own) for size, own in ends):
            return value
    raise ValueError("it expands what is no learned initial state (L D, 1, .)")


def _repeat(given: Given) -> Weight:
    value, shape = given.get(0, "self"), given.get(1, "repeats")
    if not isinstance(value, Weight) or not isinstance(shape, list) or len(shape) != 3:
        raise ValueError("it repeats what is no learned initial state")
    if len(value.shape) == 3 and shape[0] == shape[2] == 1:
        return value
    raise ValueError("it repeats what is no learned initial state (L D, 1, .)")


def _zeros(given: Given) -> Zeros:
    shape = given.get(0, "size")
    if not isinstance(shape, list):
        raise ValueError("it makes zeros of no shape")
    return Zeros(tuple(shape))


def _zeros_like(given: Given) -> Zeros:
    value = given.get(0, "self")
    sizes = _size(Given([value], {}, given.read, given.dtype))
    return Zeros(tuple(sizes))


def _new_zeros(given: Given) -> Zeros:
    return _zeros(Given(given.values[1:], given.named, given.read, given.dtype))


def _unknown(given: Given) -> Any:
    return UNKNOWN


def _compare(apply: Callable[[Any, Any], Any]) -> Callable[[Given], Any]:
    """Return a comparison or sum of numbers; of a size that a call decides nothing is known."""

    def compare(given: Given) -> Any:
        first, second = given.get(0, "a"), given.get(1, "b")
        known = (int, float, bool, str)
        if isinstance(first, known) and isinstance(second, known):
            small = all(isinstance(v, (str, bool)) or abs(v) < HUGE for v in (first, second))
            alike = isinstance(first, str) == isinstance(second, str)
            return apply(first, second) if small and alike else UNKNOWN
        return UNKNOWN

    return compare


def _add_anything(given: Given) -> Any:
    numbers = (int, float, Size, Unknown)
    if isinstance(given.get(0, "self"), numbers):
        whole = isinstance(given.get(1, "other"), numbers)
        return _compare(lambda a, b: a + b)(given) if whole else UNKNOWN
    return _add(given)


def _not(given: Given) -> Any:
    value = given.get(0, "self")
    return (not value) if type(value) is bool else UNKNOWN


def _is(given: Given) -> Any:
    first, second = given.get(0, "a"), given.get(1, "b")
    if second is None:
        return UNKNOWN if isinstance(first, Unknown) else first is None
    return UNKNOWN


def _is_not(given: Given) -> Any:
    found = _is(given)
    return (not found) if type(found) is bool else found


def _contains(given: Given) -> Any:
    values, value = given.get(0, "l"), given.get(1, "item")
    short = isinstance(values, list) and len(values) <= _MOST
    if short and type(value) is int and all(type(v) is int for v in values):
        return value in values
    return UNKNOWN


def _length_of(given: Given) -> Any:
    value = given.get(0, "a")
    return len(value) if isinstance(value, (list, tuple)) else UNKNOWN


def _raise(given: Given) -> Any:
    message = given.get(0, "msg")
    words = f" {message[:200]!r}" if isinstance(message, str) else ""
    raise ValueError(f"its forward raises an error for every x{words}")


_LAYERS: dict[str, Callable[[Given], Any]] = {
    "tanh": _activation("tanh"),
    "relu": _activation("relu"),
    "sigmoid": _activation("sigmoid"),
    "elu": _elu,
    "dropout": _dropout,
    "feature_dropout": _dropout,
    "alpha_dropout": _dropout,
    "mul": _multiply,
    "div": _divide,
    "add": _add_anything,
}
OPERATIONS: dict[str, Callable[[Given], Any]] = {
    **{f"torch.{name}": operation for name, operation in _LAYERS.items()},
    **{f"torch.{name}_": _in_place(f"{name}_", operation) for name, operation in _LAYERS.items()},
    "torch.embedding": _embedding,
    "torch.linear": _linear,
    "torch.matmul": _matmul,
    "torch.mm": _matmul,
    "torch.addmm": _addmm,
    "torch.softmax": _softmax,
    "torch.lstm": _lstm,
    "torch.cat": _concatenate,
    "torch.concat": _concatenate,
    "torch.size": _size,
    "torch.dim": _dim,
    "torch.permute": _permute,
    "torch.transpose": _transpose,
    "torch.swapaxes": _transpose,
    "torch.t": _weight_transposed,
    "torch.numpy_T": _weight_transposed,
    "torch.squeeze": _squeeze,
    "torch.unsqueeze": _unsqueeze,
    "torch.view": _view,
    "torch.reshape": _view,
    "torch.flatten": _flatten,
    "torch.select": _select,
    "torch.slice": _slice,
    "torch.to": _as_type,
    "torch.expand": _expand,
    "torch.repeat": _repeat,
    "torch.zeros": _zeros,
    "torch.zeros_like": _zeros_like,
    "torch.new_zeros": _new_zeros,
    "torch.len": _length_of,
    "torch.__not__": _not,
    "torch.__is__": _is,
    "torch.__isnot__": _is_not,
    "torch.__contains__": _contains,
    "torch.eq": _compare(lambda a, b: a == b),
    "torch.ne": _compare(lambda a, b: a != b),
    "torch.lt": _compare(lambda a, b: a < b),
    "torch.le": _compare(lambda a, b: a <= b),
    "torch.gt": _compare(lambda a, b: a > b),
    "torch.ge": _compare(lambda a, b: a >= b),
    "torch.sub": _compare(lambda a, b: a - b),
    "torch.floordiv": _compare(lambda a, b: a // b if b else UNKNOWN),
    "ops.prim.RaiseException": _raise,
    **dict.fromkeys(
        ("torch.contiguous", "torch.detach", "torch.clone", "torch.alias", "torch.list"), _same
    ),
    **dict.fromkeys(
        ("ops.prim.NumToTensor", "torch.cpu", "torch.Int", "torch.ScalarImplicit"), _same
    ),
    **dict.fromkeys(
        ("torch.device", "torch.format", "torch.str", "torch.neg", "torch.warn"), _unknown
    ),
    **dict.fromkeys((f"ops.prim.{name}" for name in ("dtype", "device", "layout")), _unknown),
}
"""The operations by their names in the code."""
AXES = {
    (False, True): ((FIRST,), (SECOND,), (FEATURES,)),
    (True, True): ((FIRST,), (SECOND,)),
    (False, False): ((FIRST,), (FEATURES,)),
    (True, False): ((FIRST,),),
}
"""The axes of an argument: whether it holds indices, and a batch."""
