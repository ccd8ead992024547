"""`save`: a model as an ONNX graph."""

import os
from typing import Any

import numpy as np

from ...cell import PLAIN, SLOTS, Cell
from ...layout import Array
from ...lstm import LSTM
from ..gates import OURS, reorder
from ..layers import require_plain
from .lstm_node import ACTIVATIONS, GATE_ORDER, PEEPHOLE_ORDER, SUFFIXES, WITH_ALPHA, WITH_BETA

OPSET = 17
IR_VERSION = 8
_LARGEST = 2**31 - 2**20  # bytes of a protobuf message, less room for the rest of the graph
_OPTIONS = (
    *("bidirectional", "direction", "learn_state"),
    *("cell.peephole", "cell.coupled", "cell.clip"),
    *(f"cell.{slot}" for slot in SLOTS),
)
_NAMES = {ours: theirs for theirs, ours in ACTIVATIONS.items()}


def save(lstm: LSTM, path: str | os.PathLike[str]) -> None:
    """Write a model as ONNX, of opset 17, as ONNX Runtime runs it.

    Inputs are ``x`` (T, B, I), or (B, T, I) if `batch_first`, ``h0`` (L D, B, H) and ``c0`` (L D,
    B, H); outputs are ``y`` (T, B, O), or (B, T, O), ``h_n`` and ``c_n`` like the initial state.
    T and B are free. With `learn_state` the parameters are the defaults of h0 and c0, which need
    not be given then; ONNX Runtime warns that it cannot take them for constants.

    Parameters
    ----------
    lstm : LSTM
        Each layer becomes an LSTM node, a readout a MatMul and an Add.
    path : str or path
        Of the file.

    Raises
    ------
    ValueError
        For options that ONNX's LSTM does not have: a projection (`proj_size`), a bound of the cell
        state (`cell_clip`); for float64, which ONNX Runtime lacks; for numbers of the cell that
        single precision cannot represent; for more than 2 GB.
    OSError
        If the file cannot be written.
    ImportError
        Without the package onnx.

    Notes
    -----
    ONNX Runtime 1.32 computes some functions differently at the edges: ThresholdedRelu of alpha
    itself is 0, Softplus is infinite above 88. Numbers of the cell (`clip`, alpha and beta of the
    functions) are written in single precision, as ONNX requires.
    """
    try:
        import onnx
    except ImportError as error:
        raise ImportError("ONNX models need the package onnx: pip install onnx") from error
    if lstm.proj_size:
        raise ValueError(f"proj_size is {lstm.proj_size}: ONNX's LSTM has no projection")
    if lstm.cell.cell_clip is not None:
        raise ValueError(f"cell_clip is {lstm.cell.cell_clip}: ONNX's LSTM has no such bound")
    require_plain(lstm, "ONNX's LSTM", *_OPTIONS)
    if lstm.dtype != np.float32:
        raise ValueError(f"dtype is {lstm.dtype}: ONNX Runtime's LSTM is float32")
    if (size := lstm.parameters.flat.nbytes) > _LARGEST:
        raise ValueError(f"its parameters have {size} bytes, an ONNX file holds less than 2 GB")
    graph = _Writer(lstm).graph()
    opset = onnx.helper.make_opsetid("", OPSET)
    model = onnx.helper.make_model(
        graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="clstm"
    )
    with open(path, "wb") as file:
        file.write(model.SerializeToString())


class _Writer:
    """The nodes and constants of a graph that is being written."""

    def __init__(self, lstm: LSTM) -> None:
        self._lstm = lstm
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def graph(self) -> Any:
        """Return the whole graph."""
        lstm = self._lstm
        value = "x"
        if lstm.batch_first:
            value = self._node("Transpose", [value], "x_by_time", perm=[1, 0, 2])
        if lstm.learn_state:
            for name in ("h0", "c0"):
                self._constant(name, lstm.parameters[name][:, np.newaxis])
            self._batch(value)
        for layer in range(lstm.num_layers):
            value = self._layer(layer, value)
        if lstm.num_layers > 1:
            for name in ("h_n", "c_n"):
                parts = [f"{name}_l{layer}" for layer in range(lstm.num_layers)]
                self._node("Concat", parts, name, axis=0)
        if lstm.output_size is not None:
            weight = self._constant("weight_out", lstm.parameters["weight_out"].T)
            value = self._node("MatMul", [value, weight], "product_out")
            if lstm.bias:
                bias = self._constant("bias_out", lstm.parameters["bias_out"])
                value = self._node("Add", [value, bias], "sum_out")
        if lstm.batch_first:
            self._node("Transpose", [value], "y", perm=[1, 0, 2])
        else:
            self._node("Identity", [value], "y")
        return self._with_inputs_and_outputs()

    def _with_inputs_and_outputs(self) -> Any:
        from onnx import TensorProto, helper

        lstm = self._lstm
        first = ["batch", "time"] if lstm.batch_first else ["time", "batch"]
        parts = lstm.num_layers * (1 + lstm.bidirectional)
        state = [parts, "batch", lstm.hidden_size]
        # A learned state has one row or B rows, so this axis has its own name.
        initial = [parts, "rows", lstm.hidden_size] if lstm.learn_state else state
        shapes = {"x": [*first, lstm.input_size], "h0": initial, "c0": initial}
        results = {"y": [*first, lstm._config.output_width], "h_n": state, "c_n": state}
        inputs, outputs = (
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, s) for name, s in given.items()]
            for given in (shapes, results)
        )
        return helper.make_graph(self._nodes, "clstm", inputs, outputs, self._constants)

    def _node(self, kind: str, inputs: list[str], output: str, **given: Any) -> str:
        from onnx import helper

        self._nodes.append(helper.make_node(kind, inputs, [output], name=output, **given))
        return output

    def _constant(self, name: str, array: Array) -> str:
        from onnx import numpy_helper

        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def _integers(self, name: str, numbers: list[int]) -> str:
        return self._constant(name, np.array(numbers, np.int64))

    def _batch(self, x: str) -> None:
        """Compute the shape that a learned state of one row is expanded to: 1, B, 1."""
        one = self._integers("one", [1])
        shape = self._node("Shape", [x], "batch", start=1, end=2)
        self._node("Concat", [one, shape, one], "state_shape", axis=0)

    def _state(self, name: str, layer: int) -> str:
        """Return one layer's part of the initial state."""
        directions = 1 + self._lstm.bidirectional
        part = name
        if self._lstm.num_layers > 1:
            cut = [layer * directions, (layer + 1) * directions]
            ends = [self._integers(f"{name}_l{layer}_{k}", [cut[k]]) for k in (0, 1)]
            axis = self._integers(f"{name}_l{layer}_axis", [0])
            part = self._node("Slice", [name, *ends, axis], f"{name}_l{layer}")
        if self._lstm.learn_state:
            part = self._node("Expand", [part, "state_shape"], f"{name}_l{layer}_rows")
        return part

    def _layer(self, layer: int, x: str) -> str:
        """Add a layer; return its y, both directions in one axis."""
        from onnx import helper

        lstm = self._lstm
        direction = "bidirectional" if lstm.bidirectional else lstm.direction
        weights = _weights(lstm, [f"_l{layer}{suffix}" for suffix in SUFFIXES[direction]])
        names = {role: self._constant(f"{role}_l{layer}", a) for role, a in weights.items()}
        states = [self._state(name, layer) for name in ("h0", "c0")]
        inputs = [x, names["W"], names["R"], names.get("B", ""), "", *states, names.get("P", "")]
        end = f"_l{layer}" if lstm.num_layers > 1 else ""
        outputs = [f"Y_l{layer}", f"h_n{end}", f"c_n{end}"]
        given = {"hidden_size": lstm.hidden_size, "direction": direction}
        given |= _attributes(lstm.cell, 1 + lstm.bidirectional)
        self._nodes.append(helper.make_node("LSTM", inputs, outputs, f"lstm_l{layer}", **given))
        moved = self._node("Transpose", outputs[:1], f"moved_l{layer}", perm=[0, 2, 1, 3])
        width = self._integers(f"shape_l{layer}", [0, 0, lstm._config.width])
        return self._node("Reshape", [moved, width], f"y_l{layer}")


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
