"""One LSTM node of an ONNX graph as a model."""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ...cell import Activation, Cell
from ...configuration import Configuration
from ...layout import Array
from ...lstm import LSTM
from ..gates import reorder
from .graph import Graph, Scope, attributes, title
from .shapes import check_shape, declared_shape, known_shape

GATE_ORDER = "iofg"
"""Order of the gates in W, R and B."""
PEEPHOLE_ORDER = "iof"
"""Order of the gates in P."""
ROLES = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
STATES = ("initial_h", "initial_c")
SUFFIXES = {"forward": ("",), "reverse": ("_reverse",), "bidirectional": ("", "_reverse")}
ACTIVATIONS = {
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Relu": "relu",
    "HardSigmoid": "hard_sigmoid",
    "Affine": "affine",
    "LeakyRelu": "leaky_relu",
    "ThresholdedRelu": "thresholded_relu",
    "ScaledTanh": "scaled_tanh",
    "Elu": "elu",
    "Softsign": "softsign",
    "Softplus": "softplus",
}
WITH_BETA = ("HardSigmoid", "Affine", "ScaledTanh")
WITH_ALPHA = (*WITH_BETA, "LeakyRelu", "ThresholdedRelu", "Elu")

_ATTRIBUTES = {
    "activation_alpha": "FLOATS",
    "activation_beta": "FLOATS",
    "activations": "STRINGS",
    "clip": "FLOAT",
    "direction": "STRING",
    "hidden_size": "INT",
    "input_forget": "INT",
    "layout": "INT",
    "output_sequence": "INT",  # version 1: whether Y is an output
}


def read_node(
    graph: Graph, scope: Scope, node: Any, dtype: DTypeLike | None
) -> tuple[LSTM, tuple[str, ...]]:
    """Return the model of a node, and the inputs besides X that are not constant."""
    if node.op_type != "LSTM":
        raise ValueError(f"{node.op_type} is not supported: its weights are quantised")
    if len(node.input) > len(ROLES):
        raise ValueError(f"it has {len(node.input)} inputs, more than {len(ROLES)}")
    names = {role: name for role, name in zip(ROLES, node.input, strict=False) if name}
    given = attributes(scope, node, _ATTRIBUTES)
    direction = given.get("direction", "forward")
    if direction not in SUFFIXES:
        raise ValueError(f"attribute 'direction' is {direction!r}")
    weights = _weights(graph, scope, names, len(SUFFIXES[direction]))
    hidden_size = weights["R"].shape[2]
    if given.get("hidden_size", hidden_size) != hidden_size:
        size = given["hidden_size"]
        raise ValueError(f"attribute 'hidden_size' is {size}, R is made for {hidden_size}")
    layout = _one_of(given, "layout")
    _check_shapes(graph, scope, names, weights, layout)
    states, computed = _states(graph, scope, names, weights["R"].shape[::2], layout)
    functions: dict[str, Any] = _activations(given, len(SUFFIXES[direction]))
    config = Configuration(
        input_size=weights["W"].shape[2],
        hidden_size=hidden_size,
        bidirectional=direction == "bidirectional",
        direction="reverse" if direction == "reverse" else "forward",
        bias="B" in weights,
        batch_first=layout == 1,
        learn_state=bool(states),
        cell=Cell(
            peephole="P" in weights,
            coupled=_one_of(given, "input_forget") == 1,
            clip=given.get("clip"),
            **functions,
        ),
        dtype=np.dtype(_dtype(weights["W"]) if dtype is None else dtype),
    )
    graph.reserve(sum(array.nbytes for array in weights.values()))
    parameters = _parameters(weights, SUFFIXES[direction], config.dtype) | states
    return LSTM.from_state(config, parameters), computed


def _one_of(given: dict[str, Any], name: str) -> int:
    value: int = given.get(name, 0)
    if value not in (0, 1):
        raise ValueError(f"attribute {name!r} is {value}, expected 0 or 1")
    return value


def _dtype(array: Array) -> np.dtype[Any]:
    return np.dtype(np.float32) if array.dtype == np.float16 else array.dtype


# ---- Its inputs ----


def _weights(graph: Graph, scope: Scope, names: dict[str, str], parts: int) -> dict[str, Array]:
    """Return W and R, and B and P if present, after checks."""
    weights: dict[str, Array] = {}
    for role in ("W", "R", "B", "P"):
        if role in names:
            array = graph.fold(scope, names[role])
            if array is None:
                raise ValueError(f"{role} is {_origin(scope, names[role])}, expected a constant")
            if array.dtype.kind != "f":
                raise ValueError(f"{role} has elements of {array.dtype}, expected floats")
            weights[role] = array
        elif role in ("W", "R"):
            raise ValueError(f"it has no input {role}")
    for role in ("W", "R"):
        if weights[role].ndim != 3:
            raise ValueError(f"{role} has shape {weights[role].shape}, expected three axes")
    units, inputs = weights["R"].shape[2], weights["W"].shape[2]
    rest = {"W": (4 * units, inputs), "R": (4 * units, units), "B": (8 * units,), "P": (3 * units,)}
    for role, array in weights.items():
        if array.shape != (expected := (parts, *rest[role])):
            raise ValueError(f"{role} has shape {array.shape}, expected {expected}")
        if array.dtype != weights["W"].dtype:
            raise ValueError(f"{role} has {array.dtype}, W has {weights['W'].dtype}")
    return weights


def _check_shapes(
    graph: Graph, scope: Scope, names: dict[str, str], weights: dict[str, Array], layout: int
) -> None:
    """Check all other inputs against the sizes of W and R, whatever their values are."""
    parts, _, units = weights["R"].shape
    sequence = ("B", "T") if layout else ("T", "B")
    state: tuple[int | str, ...] = ("B", parts) if layout else (parts, "B")
    if "X" in names:
        expected = (*sequence, weights["W"].shape[2])
        check_shape("X", declared_shape(scope, names["X"]), expected)
    if "sequence_lens" in names:
        check_shape("sequence_lens", declared_shape(scope, names["sequence_lens"]), ("B",))
    for role in STATES:
        if role in names:
            check_shape(role, known_shape(graph, scope, names[role]), (*state, units))
            array = graph.fold(scope, names[role])
            if array is not None and array.dtype.kind != "f":
                raise ValueError(f"{role} has elements of {array.dtype}, expected floats")


def _origin(scope: Scope, name: str) -> str:
    found = scope.find(name)[2]
    return f"{name!r} of {title(found)}" if found is not None else f"the input {name!r}"


def _states(
    graph: Graph, scope: Scope, names: dict[str, str], shape: tuple[int, int], layout: int
) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Return h0 and c0 if they are constants other than zero, and the inputs that are not."""
    known, computed = {}, []
    if "sequence_lens" in names:
        if graph.fold(scope, names["sequence_lens"]) is not None:
            raise ValueError("sequence_lens is a constant, which is not supported")
        computed.append("sequence_lens")
    for role in STATES:
        if role not in names or _is_zero(graph, scope, names[role], 0):
            continue
        array = _rows(graph, scope, names[role])
        if array is None:
            computed.append(role)
            continue
        rows = array.swapaxes(0, 1) if layout and array.ndim == 3 else array
        if rows.ndim != 3 or rows.shape[::2] != shape or not rows.size or rows.dtype.kind != "f":
            raise ValueError(f"{role} is an array of {array.dtype}, of shape {array.shape}")
        graph.reserve(array.nbytes)
        if (rows != rows[:, :1]).any():
            raise ValueError(f"{role} is a constant that differs between rows of the batch")
        known[role] = rows[:, 0]
    if not known:
        return {}, tuple(computed)
    if mixed := [role for role in computed if role in STATES]:
        raise ValueError(f"{mixed[0]} is not constant, the other part of the initial state is")
    zeros = np.zeros(shape, np.float32)
    return dict(zip(("h0", "c0"), (known.get(r, zeros) for r in STATES), strict=True)), (*computed,)


def _rows(graph: Graph, scope: Scope, name: str) -> Array | None:
    """Return a constant state, also if it is expanded to the size of a batch."""
    array = graph.fold(scope, name)
    within, _, found = scope.find(name)
    if array is None and getattr(found, "op_type", "") == "Expand" and len(found.input) == 2:
        array = graph.fold(within, found.input[0])
        if array is not None and array.ndim != 3:
            raise ValueError(
                f"{title(found)} expands a state of shape {array.shape}, not three axes"
            )
    return array


def _is_zero(graph: Graph, scope: Scope, name: str, depth: int) -> bool:
    """Return whether a value is zero in any shape, as PyTorch exports a missing state."""
    if (array := graph.fold(scope, name)) is not None:
        graph.reserve(array.nbytes)  # many nodes may share it
        return not array.any()
    within, _, found = scope.find(name)
    kind = getattr(found, "op_type", "")
    if kind == "ConstantOfShape":
        value = attributes(within, found, {"value": "TENSOR"}).get("value")
        return value is None or not graph.tensor(value, name).any()
    moving = ("Expand", "Slice", "Squeeze", "Unsqueeze", "Transpose", "Reshape", "Identity", "Cast")
    if kind not in moving or not found.input or depth > 16:
        return False
    return _is_zero(graph, within, found.input[0], depth + 1)


# ---- Its cell, its parameters ----


def _activations(given: dict[str, Any], parts: int) -> dict[str, Activation]:
    """Return the cell's functions; alpha and beta are only listed for functions that have them."""
    names = given.get("activations", ["Sigmoid", "Tanh", "Tanh"] * parts)
    if len(names) != 3 * parts:
        raise ValueError(f"attribute 'activations' names {len(names)} functions, not {3 * parts}")
    left = {kind: list(given.get(f"activation_{kind}", ())) for kind in ("alpha", "beta")}
    functions = []
    for name in names:
        if name not in ACTIVATIONS:
            raise ValueError(f"attribute 'activations' has {name!r}, which is not supported")
        having = {"alpha": WITH_ALPHA, "beta": WITH_BETA}
        values = {k: left[k].pop(0) for k, those in having.items() if name in those and left[k]}
        functions.append(Activation(ACTIVATIONS[name], **values))
    for kind, rest in left.items():
        if rest:
            raise ValueError(f"attribute 'activation_{kind}' has more values than functions")
    if functions[3:] not in ([], functions[:3]):
        raise ValueError("attribute 'activations' has other functions for the reverse direction")
    return dict(zip(("gate", "cell", "hidden"), functions, strict=False))


def _parameters(
    weights: dict[str, Array], suffixes: tuple[str, ...], dtype: np.dtype[Any]
) -> dict[str, Array]:
    parameters = {}
    for part, suffix in enumerate(suffixes):
        gates = {"weight_ih": weights["W"][part], "weight_hh": weights["R"][part]}
        if "B" in weights:  # one bias for each of the two products
            gates["bias"] = weights["B"][part].reshape(2, -1).astype(dtype).sum(0)
        for name, blocks in gates.items():
            parameters[f"{name}_l0{suffix}"] = reorder(blocks, GATE_ORDER)
        if "P" in weights:
            peepholes = reorder(weights["P"][part], PEEPHOLE_ORDER, "ifo")
            parameters[f"weight_peephole_l0{suffix}"] = peepholes
    return parameters
