"""`load`, `read` and `nodes`: an ONNX file as a model, its layers, and its LSTM nodes."""

import os
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from numpy.typing import DTypeLike

from ...chain import lstms_in
from ...lstm import LSTM
from ...sequential import Sequential
from ..budget import Budget
from ..errors import naming
from .evaluator import Evaluator
from .graph import Graph, Scope, name_of
from .lstm_node import read_node
from .messages import count_messages
from .operators import is_lstm, operators
from .whole_graph import Whole, as_model, read_graph

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


def nodes(source: _Source, dtype: DTypeLike | None = None) -> list[Node]:
    """Read all LSTM nodes of an ONNX model, each as a model of its own.

    Parameters
    ----------
    source : str, path, bytes, or onnx.ModelProto
        Bytes and a ModelProto must contain all weights; a file may have others beside it.
    dtype : float32 or float64, optional
        Of the models; by default that of each node's weights, but float32 for half precision.

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
    Weights are initializers, or computed from them. An initializer counts as constant, also where
    it is the default of an input. Weights of 8 bits are read as the real numbers that they stand
    for.

    A constant initial state, with the same values for all rows of its batch, becomes the model's
    learned state (`learn_state`); a state of zeros needs none.

    Y (T, D, B, H) of a node is y (T, B, D H) of its model, or (B, T, D, H) and (B, T, D H) of one
    with ``layout = 1``, which is `batch_first`; its states are (B, D, H) then, the model's are (D,
    B, H).

    Examples
    --------
    >>> from clstm.interop import onnx                         # doctest: +SKIP
    >>> for name, lstm, given in onnx.nodes("detector.onnx"):  # doctest: +SKIP
    ...     print(name, lstm, given)
    /model/decoder/rnn/LSTM LSTM(input_size=128, hidden_size=128) ('initial_h', 'initial_c')
    """

    def every(graph: Graph) -> list[Node]:
        found = _lstm_nodes(graph)
        graph.budget.layers(len(found))
        evaluator = Evaluator(graph, operators, dtype)
        return [_named_node(evaluator, scope, node) for scope, node in found]

    return _with_graph(source, every)


def load(
    source: _Source, node: str | int | None = None, dtype: DTypeLike | None = None
) -> LSTM | Sequential:
    """Read the model that an ONNX graph is, or one of its LSTM nodes.

    Parameters
    ----------
    source, dtype
        As in `nodes`.
    node : str or int, optional
        Name of an LSTM node, or its index among them; the rest of the file is ignored.

    Returns
    -------
    LSTM or Sequential
        What the graph computes from its input x: an LSTM, with a linear readout or without one, or
        a `Sequential` of LSTMs, `Embedding`, `Dense`, `Last`, `Skip` and `Gain`. Nodes that are
        layers of one LSTM are joined. It is `batch_first` if the batch comes before time in x.
        `notes` has the program that wrote the file, the nodes whose quantised weights are read as
        real numbers (``dequantised``), and the axes of x and y where they are other ones.

    Raises
    ------
    ValueError
        As `nodes` does; for a graph that is more than a chain of layers: the message names what
        stands outside; for an unknown `node`.
    OSError, ImportError
        As `nodes` does.

    Notes
    -----
    Operators that only permute, merge, split, cut or repeat axes are followed, however they are
    written, with sizes that are known, computed or open. Nodes of which no output of the graph
    depends are ignored. Other inputs of the graph are initial states and lengths, which the caller
    gives as `state` and `lengths`.
    """

    def only(graph: Graph) -> LSTM | Sequential:
        evaluator = Evaluator(graph, operators, dtype)
        if node is None:
            return as_model(_whole(evaluator))
        found = _lstm_nodes(graph)
        scope, chosen = found[_index_of([name_of(n) for _, n in found], node)]
        return _named_node(evaluator, scope, chosen).lstm

    return _with_graph(source, only)


def read(source: _Source, dtype: DTypeLike | None = None) -> Sequential:
    """Return the layers that `load` reads as a Sequential, an LSTM for each node.

    Parameters
    ----------
    source, dtype
        As in `nodes`.

    Raises
    ------
    ValueError, OSError, ImportError
        As `load` does.
    """

    def layers(graph: Graph) -> Sequential:
        whole = _whole(Evaluator(graph, operators, dtype))
        return Sequential(whole.layers, whole.batch_first, notes=whole.notes)

    return _with_graph(source, layers)


def _whole(evaluator: Evaluator) -> Whole:
    """Return the layers of a graph, with the notes of its file."""
    try:
        whole = read_graph(evaluator)
    except ValueError as error:
        try:
            has_lstm = any(is_lstm(node) for _, node in evaluator.graph.nodes())
        except ValueError:  # of further nodes, or of a budget that is used up
            raise error from None
        if not has_lstm:
            raise ValueError("it has no LSTM node") from None
        raise
    if not any(True for _ in lstms_in(whole.layers)):
        raise ValueError("it has no LSTM node that its outputs depend on")
    return whole._replace(notes=evaluator.graph.notes() | whole.notes)


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
    """Return the LSTM nodes, also quantised ones."""
    return [(scope, node) for scope, node in graph.nodes() if is_lstm(node)]


def _named_node(evaluator: Evaluator, scope: Scope, node: Any) -> Node:
    try:
        values = [evaluator.value(scope, name) if name else None for name in node.input]
        lstm, given = read_node(evaluator, scope, node, values)
    except ValueError as error:
        raise ValueError(f"LSTM node {name_of(node)!r}: {error}") from None
    return Node(name_of(node), lstm, tuple(given))


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
