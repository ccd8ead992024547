"""`read` and `load`: the LSTM nodes of an ONNX file as models."""

import os
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from numpy.typing import DTypeLike

from ...lstm import LSTM
from ..budget import Budget
from ..errors import naming
from .graph import DOMAINS, Graph, Scope, name_of
from .lstm_node import read_node
from .messages import count_messages
from .whole_graph import LayerNode, read_graph

_T = TypeVar("_T")
_Source = str | os.PathLike[str] | bytes | Any


class Node(NamedTuple):
    """An LSTM node of a graph.

    Attributes
    ----------
    name : str
        The name of the node, or without one that of its first output.
    lstm : LSTM
        Of one layer, and without a readout.
    given : tuple of str
        The inputs among ``sequence_lens``, ``initial_h`` and ``initial_c`` that are not constant.
        The caller gives them to `lstm`, as `lengths` and `state`.
    """

    name: str
    lstm: LSTM
    given: tuple[str, ...]


def read(source: _Source, dtype: DTypeLike | None = None) -> list[Node]:
    """Read all LSTM nodes of an ONNX model, each as a model of its own.

    Parameters
    ----------
    source : str, path, bytes, or onnx.ModelProto
        Bytes and a ModelProto must contain all weights; a file may have others beside it.
    dtype : float32 or float64, optional
        Of the models; by default that of each node's weights, but float32 for float16.

    Returns
    -------
    list of Node
        In the order of the file, with those in the bodies of If, Loop and Scan, and those of
        functions once per call. Nodes that feed each other are not joined into one model.

    Raises
    ------
    ValueError
        For a file that is not an ONNX model or is malformed, and for an LSTM node with anything
        that is not supported; the message names the node and the attribute or input.
    OSError
        If the file cannot be read.
    ImportError
        Without the package onnx.

    Notes
    -----
    Weights are initializers, or computed from them by Constant, Identity, Cast, Concat, Slice,
    Squeeze, Unsqueeze, Transpose and Reshape. An initializer counts as constant, also where it is
    the default of an input.

    A constant initial state, with the same values for all rows of its batch, becomes the model's
    learned state (`learn_state`); a state of zeros needs none.

    Y (T, D, B, H) of a node is y (T, B, D H) of its model, or (B, T, D, H) and (B, T, D H) of one
    with ``layout = 1``, which is `batch_first`; its states are (B, D, H) then, the model's are (D,
    B, H).

    Examples
    --------
    >>> from clstm.interop import onnx                        # doctest: +SKIP
    >>> for name, lstm, given in onnx.read("detector.onnx"):  # doctest: +SKIP
    ...     print(name, lstm, given)
    /model/decoder/rnn/LSTM LSTM(input_size=128, hidden_size=128) ('initial_h', 'initial_c')
    """

    def every(graph: Graph) -> list[Node]:
        nodes = _lstm_nodes(graph)
        graph.budget.layers(len(nodes))
        return [_named_node(graph, scope, node, dtype) for scope, node in nodes]

    return _with_graph(source, every)


def load(source: _Source, node: str | int | None = None, dtype: DTypeLike | None = None) -> LSTM:
    """Read the LSTM that an ONNX model is, or one of its LSTM nodes.

    Parameters
    ----------
    source, dtype
        As in `read`.
    node : str or int, optional
        Name of an LSTM node, or its index among them; the rest of the file is ignored. By default
        the file must hold only one LSTM and at most a linear readout: a product with weights
        (MatMul) and a bias (Add). If x and y are transposed, the model is `batch_first`. Several
        nodes are its layers if each takes Y of the one before, with the directions joined in one
        axis, and differs from it only in weights; their states are parts of one input, or constant.

    Raises
    ------
    ValueError
        As `read` does; for a file with other computations, one of which the message names; for
        several LSTM nodes that are not layers of one, which it lists; for an unknown `node`.
    OSError, ImportError
        As `read` does.
    """

    def only(graph: Graph) -> LSTM:
        nodes = _lstm_nodes(graph)
        if not nodes:
            raise ValueError("it has no LSTM node")
        if node is None:
            graph.budget.layers(len(nodes))
            read = [_named_node(graph, scope, n, dtype) for scope, n in nodes]
            pairs = zip(nodes, read, strict=True)
            return read_graph(
                graph, [LayerNode(*place, found.lstm, found.given) for place, found in pairs]
            )
        scope, chosen = nodes[_index_of([name_of(n) for _, n in nodes], node)]
        return _named_node(graph, scope, chosen, dtype).lstm

    return _with_graph(source, only)


def _with_graph(source: _Source, use: Callable[[Graph], _T]) -> _T:
    """Call `use` with the graph of a file; every error becomes a ValueError that names it."""
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise ImportError("ONNX models need the package onnx: pip install onnx") from error
    name, folder = "the model", None
    if isinstance(source, (str, os.PathLike)):
        name = os.fspath(source)
        folder = os.path.dirname(name) or "."
        with open(name, "rb") as file:
            source = file.read()
    with naming(name, MemoryError):
        model: Any = source
        if isinstance(source, (bytes, bytearray, memoryview)):
            data = bytes(source)
            count_messages(data, onnx.ModelProto.DESCRIPTOR, Budget(len(data)))
            try:
                model = onnx.ModelProto.FromString(data)
            except DecodeError as error:
                raise ValueError(f"it is not an ONNX model: {error}") from None
        elif not isinstance(source, onnx.ModelProto):
            kind = type(source).__name__
            raise TypeError(f"source must be a path, bytes or an onnx.ModelProto, got {kind}")
        if not model.HasField("graph"):
            raise ValueError("it has no graph")
        return use(Graph(model, folder))


def _lstm_nodes(graph: Graph) -> list[tuple[Scope, Any]]:
    """Return the LSTM nodes, also quantised ones, so that these are refused by name."""
    return [
        (scope, node)
        for scope, node in graph.nodes()
        if (node.op_type == "LSTM" and node.domain in DOMAINS)
        or node.op_type == "DynamicQuantizeLSTM"
    ]


def _named_node(graph: Graph, scope: Scope, node: Any, dtype: DTypeLike | None) -> Node:
    try:
        lstm, given = read_node(graph, scope, node, dtype)
    except ValueError as error:
        raise ValueError(f"LSTM node {name_of(node)!r}: {error}") from None
    return Node(name_of(node), lstm, given)


def _index_of(names: list[str], node: str | int) -> int:
    listed = ", ".join(f"{k} {name!r}" for k, name in enumerate(names))
    if isinstance(node, str):
        if names.count(node) != 1:
            several = "several LSTM nodes have the name" if node in names else "no LSTM node is"
            raise ValueError(f"{several} {node!r}; there are: {listed}")
        return names.index(node)
    if not -len(names) <= node < len(names):
        raise ValueError(f"it has no LSTM node {node}; there are: {listed}")
    return node
