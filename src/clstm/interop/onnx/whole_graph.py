"""An ONNX graph that is one LSTM with a linear readout, as one model.

The LSTM nodes are the layers, each fed by the one below. Transposes of x and y make the model
`batch_first`. Operators that join the directions of Y into one axis follow each node.
"""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from ...layout import Array
from ...lstm import LSTM
from ..layers import stacked, with_readout
from .constant_folding import MAX_AXES, OPERATORS
from .graph import DOMAINS, Graph, Scope, attributes, name_of, title
from .lstm_node import ROLES, STATES

_TRANSPOSED = [1, 0, 2]
_ALIKE = ("hidden_size", "bidirectional", "direction", "bias", "batch_first", "cell", "dtype")


class LayerNode(NamedTuple):
    """An LSTM node, its model, and its inputs that are not constant."""

    scope: Scope
    node: Any
    lstm: LSTM
    given: tuple[str, ...]


def read_graph(graph: Graph, layers: Sequence[LayerNode]) -> LSTM:
    """Return the model of a graph with these LSTM nodes, which are all it has.

    Raises ValueError, which names another computation of the graph.
    """
    if len(layers) == 1 and layers[0].scope is not graph.main:
        raise _more_than_lstm("its LSTM node is in a nested graph")
    if len(layers) > 1:
        _check_chain(graph, layers)
    lstm, node = layers[-1].lstm, layers[-1].node
    transposed = _check_inputs(graph, layers)
    sequences = [name for name in graph.outputs if not _is_state(graph, name, layers)]
    if len(sequences) > 1:
        raise _more_than_lstm(f"it has {len(sequences)} outputs besides the states")
    weight = bias = None
    y_transposed = transposed
    if sequences and _skip_identities(graph, sequences[0]) not in node.output[:1]:
        before, y_transposed, weight, bias = _readout(graph, sequences[0])
        if _before_join(graph, before, lstm) not in node.output[:1]:
            raise _more_than_lstm(f"its output comes from {_origin(graph, before)}")
    elif sequences:
        y_transposed = False
    if y_transposed != transposed or (transposed and lstm.batch_first):
        raise _more_than_lstm("it transposes only one of x and y")
    if len(layers) > 1:
        graph.reserve(sum(layer.lstm.parameters.flat.nbytes for layer in layers))
    lstm = stacked(_fill_states([layer.lstm for layer in layers]))
    if transposed:
        config = replace(lstm._config, batch_first=True)
        lstm = LSTM.from_state(config, lstm.state_dict())
    if weight is None:
        return lstm
    if (bias is not None) != lstm.bias:
        raise _more_than_lstm("only one of the LSTM and its readout has a bias")
    graph.reserve(2 * weight.nbytes)
    return with_readout(lstm, weight, bias)


def _more_than_lstm(what: str) -> ValueError:
    return ValueError(
        f"it is more than an LSTM with a linear readout: {what}. clstm.interop.onnx.read returns "
        "its LSTM nodes, and load with node= one of them"
    )


# ---- Layers ----


def _check_chain(graph: Graph, layers: Sequence[LayerNode]) -> None:
    """Check that the nodes are layers in order: each fed by the one below, and like it."""
    try:
        for layer in layers:
            if layer.scope is not graph.main:
                raise ValueError(f"{title(layer.node)} is in a nested graph")
        for below, layer in itertools.pairwise(layers):
            _check_next(graph, below, layer)
        _check_states(graph, layers)
    except ValueError as error:
        listed = ", ".join(f"{k} {name_of(layer.node)!r}" for k, layer in enumerate(layers))
        raise ValueError(
            f"it has {len(layers)} LSTM nodes, give node= a name or an index, or call "
            f"clstm.interop.onnx.read: {listed}. They are not the layers of one LSTM: {error}"
        ) from None


def _check_next(graph: Graph, below: LayerNode, layer: LayerNode) -> None:
    own, other = layer.lstm._config, below.lstm._config
    source = _skip_identities(graph, layer.node.input[0])
    if _before_join(graph, source, below.lstm) not in below.node.output[:1]:
        raise ValueError(f"X of {title(layer.node)} comes from {_origin(graph, source)}")
    for name in _ALIKE:
        if (value := getattr(own, name)) != (expected := getattr(other, name)):
            raise ValueError(
                f"{title(layer.node)} has {name}={value!r}, the one below {expected!r}"
            )
    if own.input_size != other.width:
        raise ValueError(
            f"{title(layer.node)} has input_size={own.input_size}, the one below gives "
            f"{other.width}"
        )
    if layer.given != below.given:
        raise ValueError(f"{title(layer.node)} is given {layer.given}, the one below {below.given}")


def _check_states(graph: Graph, layers: Sequence[LayerNode]) -> None:
    """Check that the layers' inputs are consecutive parts of one input of the graph."""
    for role in layers[0].given:
        sources = []
        for part, layer in enumerate(layers):
            name = _skip_identities(graph, layer.node.input[ROLES.index(role)])
            source = _sliced_states(graph, name, part, layer.lstm) if role in STATES else name
            sources.append(source)
            if source != sources[0] or source is None or graph.main.find(source)[2] is not None:
                origin = _origin(graph, source or name)
                raise ValueError(f"{role} of {title(layer.node)} comes from {origin}")


def _sliced_states(graph: Graph, name: str, part: int, lstm: LSTM) -> str | None:
    """Return the value that holds all layers' states and that this layer's is sliced from."""
    node = _producer(graph, name, ("Slice",))
    if not node or len(node.input) < 4:
        return None
    _attributes_of(graph, node)
    directions, axis = lstm._config.num_directions, int(lstm.batch_first)
    start, end, axes, *steps = [_folded_list(graph, n) for n in node.input[1:] if n]
    ends = [directions * part], [directions * (part + 1)]
    if (start, end) != ends or axes not in ([axis], [axis - 3]) or steps not in ([], [[1]]):
        return None
    return _skip_identities(graph, node.input[0])


def _is_state(graph: Graph, name: str, layers: Sequence[LayerNode]) -> bool:
    """Return whether a value is h or c after the last step, of all layers in order."""
    name = _skip_identities(graph, name)
    if len(layers) == 1:
        return name in layers[0].node.output[1:3]
    node = _producer(graph, name, ("Concat",))
    axis = int(layers[0].lstm.batch_first)
    if not node or _attributes_of(graph, node).get("axis") not in (axis, axis - 3):
        return False
    parts = [_skip_identities(graph, part) for part in node.input]
    return any(
        parts == [name for la in layers for name in la.node.output[k : k + 1]] for k in (1, 2)
    )


def _fill_states(lstms: list[LSTM]) -> list[LSTM]:
    """If one layer has a learned state, return all with one, zero for the others."""
    if not any(lstm.learn_state for lstm in lstms):
        return lstms
    filled = []
    for lstm in lstms:
        config = replace(lstm._config, learn_state=True)
        zeros = np.zeros((config.num_parts, config.hidden_size))
        state = {"h0": zeros, "c0": zeros} | lstm.state_dict()
        filled.append(LSTM.from_state(config, state))
    return filled


# ---- From a value to its producers ----


def _producer(graph: Graph, name: str, kinds: tuple[str, ...]) -> Any:
    """Return the node that computes a value if it is of one of these kinds, else None."""
    found = graph.main.find(name)[2]
    fits = getattr(found, "op_type", "") in kinds and found.domain in DOMAINS and found.input
    return found if fits else None


def _skip_identities(graph: Graph, name: str) -> str:
    """Return the value that this one is a copy of."""
    seen = 0
    while (node := _producer(graph, name, ("Identity",))) and seen < 64:
        name, seen = node.input[0], seen + 1
    return name


def _skip_transpose(graph: Graph, name: str) -> tuple[str, bool]:
    """Return the value before a transpose of time and batch, and whether there is one."""
    name = _skip_identities(graph, name)
    node = _producer(graph, name, ("Transpose",))
    if node and _attributes_of(graph, node).get("perm") == _TRANSPOSED:
        return _skip_identities(graph, node.input[0]), True
    return name, False


def _attributes_of(graph: Graph, node: Any) -> dict[str, Any]:
    return attributes(graph.main, node, OPERATORS[node.op_type][1])


def _check_inputs(graph: Graph, layers: Sequence[LayerNode]) -> bool:
    """Return whether x is transposed before the first layer.

    Raises ValueError if x is computed by the graph, or lengths or states of a single layer; for
    several layers `_check_states` has checked the latter.
    """
    node = layers[0].node
    given = layers[0].given if len(layers) == 1 else ()
    x, transposed = _skip_transpose(graph, node.input[0])
    others = [_skip_identities(graph, node.input[ROLES.index(role)]) for role in given]
    for role, name in zip(("X", *given), (x, *others), strict=True):
        if graph.main.find(name)[2] is not None:
            raise _more_than_lstm(f"{role} comes from {_origin(graph, name)}")
    return transposed


def _origin(graph: Graph, name: str) -> str:
    """Return the name of the origin of a value, for messages."""
    found = graph.main.find(name)[2]
    if found is None:
        return f"the input {name!r}"
    return title(found) if hasattr(found, "op_type") else f"the constant {found.name!r}"


def _readout(graph: Graph, name: str) -> tuple[str, bool, Array | None, Array | None]:
    """Return the readout's input, whether it is transposed, and the weight (O, D R) and bias."""
    name, after = _skip_transpose(graph, name)
    weight = bias = None
    if add := _producer(graph, name, ("Add",)):
        name, bias = _operands(graph, add, 1)
    if product := _producer(graph, name, ("MatMul",)):
        name, weight = _operands(graph, product, 2)
        weight = weight.T
    elif add:
        raise _more_than_lstm(title(add))
    name, before = _skip_transpose(graph, name)
    if weight is not None and bias is not None and bias.shape != weight.shape[:1]:
        raise _more_than_lstm(f"{title(add)} adds an array of shape {bias.shape}")
    return name, before != after, weight, bias


def _operands(graph: Graph, node: Any, rank: int) -> tuple[str, Array]:
    """Return the computed operand and the constant one, which is second in a product."""
    attributes(graph.main, node, {})
    first, second = node.input
    if node.op_type == "Add" and graph.fold(graph.main, second) is None:
        first, second = second, first
    constant = graph.fold(graph.main, second)
    if constant is None or constant.ndim != rank or constant.dtype.kind != "f":
        raise _more_than_lstm(title(node))
    return _skip_identities(graph, first), constant


def _before_join(graph: Graph, name: str, lstm: LSTM) -> str | None:
    """Return the Y, (T, D, B, H) or (B, T, D, H), whose directions are joined in this value."""
    return _before_squeeze(graph, name, lstm) or _before_reshape(graph, name, lstm)


def _before_squeeze(graph: Graph, name: str, lstm: LSTM) -> str | None:
    """Return the value before a squeeze of the axis of the only direction."""
    node = _producer(graph, name, ("Squeeze",))
    if not node or lstm.bidirectional:
        return None
    axes = _attributes_of(graph, node).get("axes")
    if len(node.input) == 2:
        axes = _folded_list(graph, node.input[1])
    axis = 2 if lstm.batch_first else 1
    return _skip_identities(graph, node.input[0]) if axes in ([axis], [axis - 4]) else None


def _before_reshape(graph: Graph, name: str, lstm: LSTM) -> str | None:
    """Return the value before a transpose and reshape that join directions and units."""
    node = _producer(graph, name, ("Reshape",))
    if not node or len(node.input) != 2 or _attributes_of(graph, node).get("allowzero"):
        return None
    width = lstm.hidden_size * (1 + lstm.bidirectional)
    if _folded_list(graph, node.input[1]) not in ([0, 0, -1], [0, 0, width]):
        return None
    moved = _skip_identities(graph, node.input[0])
    if lstm.batch_first:
        return moved
    transpose = _producer(graph, moved, ("Transpose",))
    if not transpose or _attributes_of(graph, transpose).get("perm") != [0, 2, 1, 3]:
        return None
    return _skip_identities(graph, transpose.input[0])


def _folded_list(graph: Graph, name: str) -> Any:
    array = graph.fold(graph.main, name)
    return None if array is None or array.size > MAX_AXES else array.tolist()
