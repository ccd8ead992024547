"""The nodes and constants of a model, as ONNX names them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...cell import PLAIN, SLOTS, Cell
from ...chain import lstms_in, takes
from ...layers import Dense, Embedding, Gain, Last, Skip
from ...layout import Array
from ...lstm import LSTM
from ...sequential import Sequential
from ..gates import OURS, reorder
from ..layers import layers_of
from .lstm_node import ACTIVATIONS, GATE_ORDER, PEEPHOLE_ORDER, SUFFIXES, WITH_ALPHA, WITH_BETA

_NAMES = {ours: theirs for theirs, ours in ACTIVATIONS.items()}
_OF_DENSE = {
    "tanh": "Tanh",
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "softmax": "Softmax",
    "elu": "Elu",
}


class GraphWriter:
    """A graph that is being written.

    Within it sequences have the steps first.
    """

    def __init__(self, model: LSTM | Sequential, lengths: bool, states: bool) -> None:
        self._model = model
        self._layers = layers_of(model)
        self._lengths = lengths
        self._with_states = states
        self._lstms = list(lstms_in(self._layers))
        self._written = 0  # LSTMs so far
        self._split: int | None = None  # first feature of a reverse direction, from the last LSTM
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}
        self._x = "x"

    def graph(self) -> Any:
        """Return the whole graph."""
        value = "x"
        if self._model.batch_first:
            value = self._node("Transpose", [value], "x_by_time", perm=self._turned())
        self._x = value
        value, has_steps = self._chain(self._layers, value, "", not isinstance(self._model, LSTM))
        if self._model.batch_first and has_steps:
            self._node("Transpose", [value], "y", perm=[1, 0, 2])
        else:
            self._node("Identity", [value], "y")
        return self._with_inputs_and_outputs(has_steps)

    def _turned(self) -> list[int]:
        return [1, 0] if isinstance(self._layers[0], Embedding) else [1, 0, 2]

    # ---- Inputs and outputs ----

    def _with_inputs_and_outputs(self, has_steps: bool) -> Any:
        from onnx import TensorProto, helper

        model, float32 = self._model, TensorProto.FLOAT
        first = ["batch", "time"] if model.batch_first else ["time", "batch"]
        indices = isinstance(self._layers[0], Embedding)
        width = takes(self._layers)
        whole = first if indices else [*first, "features" if width is None else width]
        kind = TensorProto.INT64 if indices else float32
        inputs = [helper.make_tensor_value_info("x", kind, whole)]
        if self._lengths:
            inputs.append(helper.make_tensor_value_info("lengths", TensorProto.INT32, ["batch"]))
        size = model._config.output_width if isinstance(model, LSTM) else model.output_size
        y = [*first, size] if has_steps else ["batch", size]
        outputs = [helper.make_tensor_value_info("y", float32, y)]
        for k, lstm in enumerate(self._lstms if self._with_states else []):
            parts = lstm.num_layers * (1 + lstm.bidirectional)
            shape = [parts, "batch", lstm.hidden_size]
            # A learned state has one row or B rows, so this axis has its own name.
            initial = [parts, "rows", lstm.hidden_size] if lstm.learn_state else shape
            names = [self._state_name(name, k) for name in ("h0", "c0")]
            inputs += [helper.make_tensor_value_info(name, float32, initial) for name in names]
            names = [self._state_name(name, k) for name in ("h_n", "c_n")]
            outputs += [helper.make_tensor_value_info(name, float32, shape) for name in names]
        return helper.make_graph(
            self._nodes, "clstm", inputs, outputs, list(self._constants.values())
        )

    def _state_name(self, name: str, number: int) -> str:
        return name if len(self._lstms) == 1 else f"{name}_{number}"

    # ---- Nodes ----

    def _node(self, kind: str, inputs: list[str], output: str, **given: Any) -> str:
        from onnx import helper

        self._nodes.append(helper.make_node(kind, inputs, [output], name=output, **given))
        return output

    def _constant(self, name: str, array: Any) -> str:
        from onnx import numpy_helper

        if name not in self._constants:
            whole = np.asarray(array, order="C")
            self._constants[name] = numpy_helper.from_array(whole, name)
        return name

    def _integers(self, name: str, numbers: list[int]) -> str:
        return self._constant(name, np.array(numbers, np.int64))

    # ---- Layers ----

    def _chain(
        self, layers: Sequence[Any], value: str, prefix: str, numbered: bool
    ) -> tuple[str, bool]:
        """Add layers; return the value after them, and whether it has steps."""
        has_steps = True
        for k, layer in enumerate(layers):
            place = f"{prefix}{k}." if numbered else prefix
            if isinstance(layer, LSTM):
                value = self._lstm(layer, value, place)
            elif isinstance(layer, Embedding):
                value = self._embedding(layer, value, place)
            elif isinstance(layer, Dense):
                value = self._dense(layer, value, place)
            elif isinstance(layer, Gain):
                factor = self._constant(f"{place}value", np.float32(layer.value))
                value = self._node("Mul", [value, factor], f"{place}product")
            elif isinstance(layer, Skip):
                value = self._skip(layer, value, place)
            elif isinstance(layer, Last):
                value, has_steps = self._last(layer, value, place), False
            else:
                raise ValueError(f"ONNX has no layer {layer!r}")
        return value, has_steps

    def _embedding(self, layer: Embedding, value: str, place: str) -> str:
        weight = self._constant(f"{place}weight", layer.weight)
        return self._node("Gather", [weight, value], f"{place}rows", axis=0)

    def _dense(self, layer: Dense, value: str, place: str) -> str:
        if layer.weight is not None:
            weight = self._constant(f"{place}weight", layer.weight.T)
            value = self._node("MatMul", [value, weight], f"{place}product")
        if layer.bias is not None:
            bias = self._constant(f"{place}bias", layer.bias)
            value = self._node("Add", [value, bias], f"{place}sum")
        if layer.activation:
            given = {"axis": -1} if layer.activation == "softmax" else {}
            value = self._node(_OF_DENSE[layer.activation], [value], f"{place}function", **given)
        return value

    def _skip(self, layer: Skip, value: str, place: str) -> str:
        after, _ = self._chain(layer.layers, value, place, numbered=True)
        before = value
        if takes(layer.layers) != layer.count:
            before = self._cut(value, 0, layer.count, -1, f"{place}first")
        return self._node("Add", [after, before], f"{place}skipped")

    def _cut(self, value: str, start: int, end: int, axis: int, name: str) -> str:
        """Add a slice of an axis."""
        ends = [self._integers(f"{name}_{k}", [number]) for k, number in enumerate((start, end))]
        return self._node("Slice", [value, *ends, self._integers(f"{name}_axis", [axis])], name)

    def _last(self, layer: Last, value: str, place: str) -> str:
        """Add the last step; with lengths that of each row, which only the LSTM itself has."""
        if self._lengths:
            return self._ends_of_rows(place)
        last = self._constant(f"{place}last", np.array(-1, np.int64))
        if not layer.ends or self._split is None:
            return self._node("Gather", [value, last], f"{place}step", axis=0)
        first = self._constant(f"{place}first", np.array(0, np.int64))
        if self._split == 0:
            return self._node("Gather", [value, first], f"{place}step", axis=0)
        halves = []
        for name, step, cut in (
            ("forward", last, (0, self._split)),
            ("reverse", first, (self._split, 2**31 - 1)),
        ):
            half = self._cut(value, *cut, -1, f"{place}{name}")
            halves.append(self._node("Gather", [half, step], f"{place}{name}_end", axis=0))
        return self._node("Concat", halves, f"{place}ends", axis=-1)

    def _ends_of_rows(self, place: str) -> str:
        if not isinstance(self._before_last(), LSTM) or self._before_last().output_size:
            raise ValueError("a Last can be written with lengths right behind an LSTM only")
        axis = self._integers(f"{place}axis", [0])
        return self._node("Squeeze", [self._final, axis], f"{place}step")

    def _before_last(self) -> Any:
        place = next(k for k, layer in enumerate(self._layers) if isinstance(layer, Last))
        return self._layers[place - 1]

    # ---- LSTMs ----

    def _lstm(self, lstm: LSTM, value: str, place: str) -> str:
        """Add an LSTM; return its y."""
        number = self._written
        self._written += 1
        initial = self._initial(lstm, number)
        for layer in range(lstm.num_layers):
            value = self._layer(lstm, layer, value, place, number, initial)
        if lstm.num_layers > 1 and self._with_states:
            for name in ("h_n", "c_n"):
                parts = [self._final_name(name, number, layer) for layer in range(lstm.num_layers)]
                self._node("Concat", parts, self._state_name(name, number), axis=0)
        if lstm.bidirectional:
            self._split = lstm.hidden_size
        else:
            self._split = 0 if lstm.direction == "reverse" else None
        if lstm.output_size is not None:
            weight = self._constant(f"{place}weight_out", lstm.parameters["weight_out"].T)
            value = self._node("MatMul", [value, weight], f"{place}product_out")
            if lstm.bias:
                bias = self._constant(f"{place}bias_out", lstm.parameters["bias_out"])
                value = self._node("Add", [value, bias], f"{place}sum_out")
        return value

    def _initial(self, lstm: LSTM, number: int) -> list[str]:
        """Return the initial states of all layers: inputs, defaults of them, or nothing."""
        names = [self._state_name(name, number) for name in ("h0", "c0")]
        if lstm.learn_state:
            for name, own in zip(names, ("h0", "c0"), strict=True):
                self._constant(name, lstm.parameters[own][:, np.newaxis])
            if "one" not in self._constants:  # the shape that one row is expanded to: 1, B, 1
                one = self._integers("one", [1])
                shape = self._node("Shape", [self._x], "batch", start=1, end=2)
                self._node("Concat", [one, shape, one], "state_shape", axis=0)
        return names if self._with_states or lstm.learn_state else []

    def _state(self, lstm: LSTM, name: str, layer: int) -> str:
        """Return one layer's part of the initial state."""
        directions = 1 + lstm.bidirectional
        part = name
        if lstm.num_layers > 1:
            cut = layer * directions, (layer + 1) * directions
            part = self._cut(name, *cut, 0, f"{name}_l{layer}")
        if lstm.learn_state:
            part = self._node("Expand", [part, "state_shape"], f"{name}_l{layer}_rows")
        return part

    def _final_name(self, name: str, number: int, layer: int) -> str:
        own = self._state_name(name, number)
        return f"{own}_l{layer}" if self._lstms[number].num_layers > 1 else own

    def _layer(
        self, lstm: LSTM, layer: int, x: str, place: str, number: int, initial: list[str]
    ) -> str:
        """Add a layer; return its y, both directions in one axis."""
        from onnx import helper

        direction = "bidirectional" if lstm.bidirectional else lstm.direction
        weights = _weights(lstm, [f"_l{layer}{suffix}" for suffix in SUFFIXES[direction]])
        names = {r: self._constant(f"{place}{r}_l{layer}", a) for r, a in weights.items()}
        states = [self._state(lstm, name, layer) for name in initial] or ["", ""]
        lengths = "lengths" if self._lengths else ""
        inputs = [x, names["W"], names["R"], names.get("B", ""), lengths, *states]
        inputs.append(names.get("P", ""))
        self._final, c_n = (self._final_name(name, number, layer) for name in ("h_n", "c_n"))
        outputs = [f"{place}Y_l{layer}", self._final, c_n]
        given = {"hidden_size": lstm.hidden_size, "direction": direction}
        given |= _attributes(lstm.cell, 1 + lstm.bidirectional)
        self._nodes.append(
            helper.make_node("LSTM", inputs, outputs, f"{place}lstm_l{layer}", **given)
        )
        moved = self._node("Transpose", outputs[:1], f"{place}moved_l{layer}", perm=[0, 2, 1, 3])
        width = self._integers(f"{place}shape_l{layer}", [0, 0, lstm._config.width])
        return self._node("Reshape", [moved, width], f"{place}y_l{layer}")


def _weights(lstm: LSTM, suffixes: list[str]) -> dict[str, Array]:
    """Return a node's W, R, B and P, directions stacked."""

    def stacked(name: str, order: str, target: str) -> Array:
        return np.stack([reorder(lstm.parameters[name + s], order, target) for s in suffixes])

    weights = {
        "W": stacked("weight_ih", OURS, GATE_ORDER),
        "R": stacked("weight_hh", OURS, GATE_ORDER),
    }
    if lstm.bias:
        bias = stacked("bias", OURS, GATE_ORDER)  # both products share it: the second bias is zero
        weights["B"] = np.concatenate([bias, np.zeros_like(bias)], 1)
    if lstm.cell.peephole:
        weights["P"] = stacked("weight_peephole", "ifo", PEEPHOLE_ORDER)
    return weights


def _attributes(cell: Cell, parts: int) -> dict[str, Any]:
    """Return a node's attributes for a cell other than the plain one."""
    given: dict[str, Any] = {}
    if cell.coupled:
        given["input_forget"] = 1
    if cell.clip is not None:
        given["clip"] = _single("clip", cell.clip)
    functions = [getattr(cell, slot) for slot in SLOTS] * parts
    if functions != [getattr(PLAIN, slot) for slot in SLOTS] * parts:
        names = [_NAMES[function.name] for function in functions]
        given["activations"] = names
        for kind, having in (("alpha", WITH_ALPHA), ("beta", WITH_BETA)):
            pairs = zip(names, functions, strict=True)
            values = [getattr(function, kind) for name, function in pairs if name in having]
            if values:
                given[f"activation_{kind}"] = [_single(kind, value) for value in values]
    return given


def _single(name: str, value: float) -> float:
    """Return a number rounded to single precision; ValueError if it overflows or underflows."""
    with np.errstate(over="ignore", under="ignore"):
        single = float(np.float32(value))
    if not np.isfinite(single) or (value and not single):
        raise ValueError(f"{name} is {value}: ONNX's single precision cannot hold it")
    return single
