"""Whether an ONNX graph is one LSTM node with a linear readout, and nothing else.

Transposes may make it `batch_first`, and what joins Y's directions into one axis stands between
the node and the readout.
"""

from dataclasses import replace
from typing import Any

from ..layout import Array
from ..lstm import LSTM
from .layers import with_readout
from .onnx_fold import FOLDED
from .onnx_graph import DOMAINS, Graph, Scope, attributes, title
from .onnx_node import ROLES

_TRANSPOSED = [1, 0, 2]


def whole(graph: Graph, scope: Scope, node: Any, lstm: LSTM, given: tuple[str, ...]) -> LSTM:
    """Return the model of a graph whose only LSTM node is `node`: `lstm`, and a readout if any.

    Raises ValueError, which names what else the graph computes.
    """
    if scope is not graph.main:
        raise _more("its LSTM node stands in a body inside of the graph")
    transposed = _input(graph, node, given)
    sequences = [name for name in graph.outputs if _same(graph, name) not in node.output[1:3]]
    if len(sequences) > 1:
        raise _more(f"it has {len(sequences)} outputs beside the states")
    weight = bias = None
    y_transposed = transposed
    if sequences and _same(graph, sequences[0]) not in node.output[:1]:
        before, y_transposed, weight, bias = _readout(graph, sequences[0])
        _check_joined(graph, before, node, lstm)
    elif sequences:
        y_transposed = False
    if y_transposed != transposed or (transposed and lstm.batch_first):
        raise _more("it transposes one of x and y alone")
    if transposed:
        config = replace(lstm._config, batch_first=True)
        lstm = LSTM.from_state(config, lstm.state_dict())
    if weight is None:
        return lstm
    if (bias is not None) != lstm.bias:
        raise _more("one of the LSTM and its readout has a bias, the other has none")
    return with_readout(lstm, weight, bias)


def _more(what: str) -> ValueError:
    return ValueError(
        f"it is more than an LSTM with a linear readout: {what}. clstm.interop.onnx.read returns "
        "its LSTM nodes, and load with node= one of them"
    )


def _step(graph: Graph, name: str, kinds: tuple[str, ...]) -> Any:
    """Return the node of one of these kinds that computes a value, or None."""
    found = graph.main.find(name)[2]
    fits = getattr(found, "op_type", "") in kinds and found.domain in DOMAINS and found.input
    return found if fits else None


def _same(graph: Graph, name: str) -> str:
    """Return the value of which this one is a copy."""
    seen = 0
    while (node := _step(graph, name, ("Identity",))) and seen < 64:
        name, seen = node.input[0], seen + 1
    return name


def _back(graph: Graph, name: str) -> tuple[str, bool]:
    """Return what a value is transposed from, time for batch; and whether it is."""
    name = _same(graph, name)
    node = _step(graph, name, ("Transpose",))
    if node and _given(graph, node).get("perm") == _TRANSPOSED:
        return _same(graph, node.input[0]), True
    return name, False


def _given(graph: Graph, node: Any) -> dict[str, Any]:
    return attributes(graph.main, node, FOLDED[node.op_type][1])


def _input(graph: Graph, node: Any, given: tuple[str, ...]) -> bool:
    """Return whether x is transposed on its way to the node; it, or a state, must not be computed.

    What is not in `given` is constant.
    """
    x, transposed = _back(graph, node.input[0])
    others = [_same(graph, node.input[ROLES.index(role)]) for role in given]
    for role, name in zip(("X", *given), (x, *others), strict=True):
        if (found := graph.main.find(name)[2]) is not None:
            raise _more(f"{role} comes of {_title(found)}")
    return transposed


def _title(found: Any) -> str:
    return title(found) if hasattr(found, "op_type") else f"the constant {found.name!r}"


def _readout(graph: Graph, name: str) -> tuple[str, bool, Array | None, Array | None]:
    """Return what the readout reads, whether it is transposed, and the weight (O, D R) and bias."""
    name, after = _back(graph, name)
    weight = bias = None
    if add := _step(graph, name, ("Add",)):
        name, bias = _operands(graph, add, 1)
    if product := _step(graph, name, ("MatMul",)):
        name, weight = _operands(graph, product, 2)
        weight = weight.T
    elif add:
        raise _more(title(add))
    name, before = _back(graph, name)
    if weight is not None and bias is not None and bias.shape != weight.shape[:1]:
        raise _more(f"{title(add)} adds an array of shape {bias.shape}")
    return name, before != after, weight, bias


def _operands(graph: Graph, node: Any, rank: int) -> tuple[str, Array]:
    """Return the computed operand and the constant one, which is the second of a product."""
    attributes(graph.main, node, {})
    first, second = node.input
    if node.op_type == "Add" and graph.fold(graph.main, second) is None:
        first, second = second, first
    constant = graph.fold(graph.main, second)
    if constant is None or constant.ndim != rank or constant.dtype.kind != "f":
        raise _more(title(node))
    return _same(graph, first), constant


def _check_joined(graph: Graph, name: str, node: Any, lstm: LSTM) -> None:
    """Check that a value is Y, (T, D, B, H) or (B, T, D, H), with the directions in one axis."""
    joined = _squeezed(graph, name, lstm) or _reshaped(graph, name, lstm)
    if joined is None or joined not in node.output[:1]:
        raise _more(f"its output comes of {_title(graph.main.find(name)[2])}")


def _squeezed(graph: Graph, name: str, lstm: LSTM) -> str | None:
    """Return the value that has one axis more, of the one direction that there is."""
    node = _step(graph, name, ("Squeeze",))
    if not node or lstm.bidirectional:
        return None
    axes = _given(graph, node).get("axes")
    if len(node.input) == 2:
        axes = _constant(graph, node.input[1])
    axis = 2 if lstm.batch_first else 1
    return _same(graph, node.input[0]) if axes in ([axis], [axis - 4]) else None


def _reshaped(graph: Graph, name: str, lstm: LSTM) -> str | None:
    """Return the value of which two axes, the directions moved beside the units, are one here."""
    node = _step(graph, name, ("Reshape",))
    if not node or len(node.input) != 2 or _given(graph, node).get("allowzero"):
        return None
    width = lstm.hidden_size * (1 + lstm.bidirectional)
    if _constant(graph, node.input[1]) not in ([0, 0, -1], [0, 0, width]):
        return None
    moved = _same(graph, node.input[0])
    if lstm.batch_first:
        return moved
    transpose = _step(graph, moved, ("Transpose",))
    if not transpose or _given(graph, transpose).get("perm") != [0, 2, 1, 3]:
        return None
    return _same(graph, transpose.input[0])


def _constant(graph: Graph, name: str) -> Any:
    array = graph.fold(graph.main, name)
    return None if array is None else array.tolist()
