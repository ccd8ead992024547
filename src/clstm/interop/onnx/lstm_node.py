"""One LSTM node of an ONNX graph as a model."""

from typing import Any, NamedTuple

import numpy as np

from ...cell import Activation, Cell
from ...configuration import Configuration
from ...layout import Array
from ...lstm import LSTM
from ..gates import reorder
from .evaluator import Evaluator
from .graph import Scope, attributes, name_of
from .initial_states import check_shapes, origin, read_states

GATE_ORDER = "iofg"
"""Order of the gates in W, R and B."""
PEEPHOLE_ORDER = "iof"
"""Order of the gates in P."""
ROLES = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
QUANTISED_ROLES = ("W_scale", "W_zero_point", "R_scale", "R_zero_point")
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

ATTRIBUTES = {
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


class NodeRead(NamedTuple):
    """The model of a node, of one layer, and its inputs besides X that are not constant."""

    lstm: LSTM
    given: dict[str, Any]


def read_node(evaluator: Evaluator, scope: Scope, node: Any, values: list[Any]) -> NodeRead:
    """Return the model of a node, from the values of its inputs."""
    quantised = node.op_type == "DynamicQuantizeLSTM"
    roles = (*ROLES, *QUANTISED_ROLES) if quantised else ROLES
    if len(values) > len(roles):
        raise ValueError(f"it has {len(values)} inputs, more than {len(roles)}")
    inputs = {role: v for role, v in zip(roles, values, strict=False) if v is not None}
    given = attributes(scope, node, ATTRIBUTES)
    direction = given.get("direction", "forward")
    if direction not in SUFFIXES:
        raise ValueError(f"attribute 'direction' is {direction!r}")
    weights = _weights(evaluator, inputs, len(SUFFIXES[direction]), quantised)
    hidden_size = weights["R"].shape[2]
    if given.get("hidden_size", hidden_size) != hidden_size:
        size = given["hidden_size"]
        raise ValueError(f"attribute 'hidden_size' is {size}, R is made for {hidden_size}")
    if quantised:
        evaluator.dequantised[name_of(node)] = None
    layout = _one_of(given, "layout")
    check_shapes(evaluator, inputs, weights, layout)
    states, computed = read_states(evaluator, inputs, weights["R"].shape[::2], layout)
    functions: dict[str, Any] = _activations(given, len(SUFFIXES[direction]))
    dtype = evaluator.dtype
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
    evaluator.graph.reserve(sum(array.nbytes for array in weights.values()))
    parameters = _parameters(weights, SUFFIXES[direction], config.dtype) | states
    return NodeRead(LSTM.from_state(config, parameters), computed)


def _one_of(given: dict[str, Any], name: str) -> int:
    value: int = given.get(name, 0)
    if value not in (0, 1):
        raise ValueError(f"attribute {name!r} is {value}, expected 0 or 1")
    return value


def _dtype(array: Array) -> np.dtype[Any]:
    return np.dtype(np.float32) if array.dtype == np.float16 else array.dtype


# ---- Its weights ----


def _weights(
    evaluator: Evaluator, inputs: dict[str, Any], parts: int, quantised: bool
) -> dict[str, Array]:
    """Return W and R, and B and P if present, after checks."""
    weights: dict[str, Array] = {}
    for role in ("W", "R", "B", "P"):
        if role in inputs:
            weights[role] = _constant(evaluator, inputs, role)
        elif role in ("W", "R"):
            raise ValueError(f"it has no input {role}")
    for role in ("W", "R"):
        if weights[role].ndim != 3:
            raise ValueError(f"{role} has shape {weights[role].shape}, expected three axes")
        if quantised:
            weights[role] = _dequantised(evaluator, inputs, role, weights[role])
    for role, array in weights.items():
        if array.dtype.kind != "f":
            raise ValueError(f"{role} has elements of {array.dtype}, expected floats")
    units, features = weights["R"].shape[2], weights["W"].shape[2]
    rest = {
        "W": (4 * units, features),
        "R": (4 * units, units),
        "B": (8 * units,),
        "P": (3 * units,),
    }
    for role, array in weights.items():
        if array.shape != (expected := (parts, *rest[role])):
            raise ValueError(f"{role} has shape {array.shape}, expected {expected}")
        if array.dtype != weights["W"].dtype:
            raise ValueError(f"{role} has {array.dtype}, W has {weights['W'].dtype}")
    return weights


def _constant(evaluator: Evaluator, inputs: dict[str, Any], role: str) -> Array:
    array = evaluator.constant(inputs[role])
    if array is None or array.dtype == object:
        raise ValueError(f"{role} is {origin(inputs[role])}, expected a constant")
    return array


def _dequantised(evaluator: Evaluator, inputs: dict[str, Any], role: str, array: Array) -> Array:
    """Return W (D, 4H, I) or R from integers (D, I, 4H), and a scale for each row or for all."""
    if array.dtype.kind not in "iu":
        raise ValueError(f"{role} has elements of {array.dtype}, expected integers of 8 bits")
    scale = _constant(evaluator, inputs, f"{role}_scale")
    zero = _constant(evaluator, inputs, f"{role}_zero_point")
    shapes = (array.shape[:1], array.shape[::2])
    if scale.shape not in shapes or zero.shape not in shapes:
        raise ValueError(f"{role}_scale has shape {scale.shape}, expected one of {shapes}")
    evaluator.graph.reserve(16 * array.size)
    wide = (part.reshape(len(part), 1, -1) for part in (scale, zero))
    factors, zeros = (part.astype(np.float32) for part in wide)
    return np.ascontiguousarray(((array - zeros) * factors).swapaxes(1, 2).astype(np.float32))


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
