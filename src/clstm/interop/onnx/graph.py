"""The graphs of an ONNX model: their nodes, and the meaning of every name.

Graphs are nested in the bodies of If, Loop and Scan and in functions; each is a `Scope` of names.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...layout import Array
from ..budget import Budget
from ..json_files import count_json
from .external_data import ELEMENTS, ExternalData

MAX_DEPTH = 64
"""Limit of nested graphs, and of skips within skips."""
NODE = 192
"""Bytes that a reader counts for a node, and for each of its inputs."""
NAME = 320
"""Bytes that it counts for each name that a node defines: a string, its place, and an object."""
DOMAINS = ("", "ai.onnx")
NOTES = "clstm.notes"
"""The entry of the metadata with the notes of a model of clstm, as JSON."""
_GRAPHS = (5, 10)  # AttributeProto.GRAPH and GRAPHS


@dataclass
class Scope:
    """The names of one graph, or of one call of a function."""

    budget: Budget
    outer: "Scope | None" = None
    names: dict[str, Any] = field(default_factory=dict)
    """For each a tensor, the node that computes it, (scope, name) of an argument, or None."""
    attributes: dict[str, Any] | None = None
    """Those of the function's call; None outside of functions."""
    opset: int = 0
    """The version of ONNX's own operators."""
    values: dict[str, Any] = field(default_factory=dict)
    """What is known of each name that has been evaluated."""
    declared: dict[str, Any] = field(default_factory=dict)
    """The types of a graph's inputs."""
    within: "Scope | None" = None
    """The scope of the node that calls a function or has a branch."""
    inner: dict[str, "Scope"] = field(default_factory=dict)
    """The scopes of calls and branches, by the name of the node's first output."""

    def find(self, name: str) -> tuple["Scope", str, Any]:
        """Return the scope that defines a name, the name there, and its value."""
        scope: Scope | None = self
        for _ in range(2 * MAX_DEPTH * MAX_DEPTH):
            if scope is None:
                raise ValueError(f"there is no value {name!r}")
            if name not in scope.names:
                scope = scope.outer
            elif isinstance(found := scope.names[name], tuple):
                scope, name = found
            else:
                return scope, name, found
        raise ValueError(f"{name!r} is passed through too many functions")


class Graph:
    """All graphs of a model, and a budget for its nodes and constants.

    Parameters
    ----------
    model : onnx.ModelProto
    folder : str, optional
        The folder of the files of external data.
    """

    def __init__(self, model: Any, folder: str | None) -> None:
        self.budget = Budget(model.ByteSize())
        self._external = ExternalData(folder, self.budget)
        self._functions = {(f.domain, f.name, _overload(f)): f for f in model.functions}
        self.main = self._scope(model.graph, None)
        self.main.opset = _opset_of(model)
        self.outputs = [output.name for output in model.graph.output]
        self._body = model.graph
        self._model = model

    def notes(self) -> dict[str, Any]:
        """Return what a file says beside its computation: who wrote it, and its metadata."""
        own = self._model
        notes: dict[str, Any] = {}
        producer = f"{own.producer_name} {own.producer_version}".strip()
        if producer and own.producer_name != "clstm":
            notes["producer"] = producer
        self.budget.count(len(own.metadata_props), "its metadata")
        for entry in own.metadata_props:
            if entry.key == NOTES:
                notes |= _written_notes(entry.value, self.budget)
            else:
                notes[entry.key] = entry.value
        return notes

    def reserve(self, size: int) -> None:
        """Count bytes that will be allocated; ValueError if they exceed the budget."""
        self.budget.take(size, "its constants")

    def count(self, number: int, size: int = NODE) -> None:
        """Count nodes, or names of one; those of a function at every call."""
        self.budget.count(number, "its nodes, counting those of functions at every call,", size)

    # ---- Nodes ----

    def nodes(self) -> Iterator[tuple[Scope, Any]]:
        """Yield every node of every graph that runs, with the scope of its names."""
        yield from self._nodes(self.main, self._body, 0)

    def _nodes(self, scope: Scope, body: Any, depth: int) -> Iterator[tuple[Scope, Any]]:
        if depth > MAX_DEPTH:
            raise ValueError(f"graphs are nested more than {MAX_DEPTH} deep")
        for node in body.node:
            self.count(1)
            if (function := self.function_of(node)) is not None:
                yield from self._nodes(self._call(scope, node, function), function, depth + 1)
                continue
            yield scope, node
            self.budget.count(len(node.attribute), "its attributes")
            for attribute in node.attribute:
                if attribute.ref_attr_name and attribute.type in _GRAPHS:
                    raise ValueError(f"{title(node)} takes a graph from its function's call")
                self.budget.count(len(attribute.graphs), "its graphs")
                for graph in (attribute.g, *attribute.graphs):
                    if graph.node:
                        yield from self._nodes(self._scope(graph, scope), graph, depth + 1)

    def function_of(self, node: Any) -> Any:
        """Return the function that a node calls, or None."""
        return self._functions.get((node.domain, node.op_type, _overload(node)))

    def inner_scope(self, scope: Scope, node: Any, body: Any) -> Scope:
        """Return the scope of a function's call or of a branch, the same one every time."""
        key = f"{name_of(node)} {next(iter(node.output), '')}"
        if key not in scope.inner:
            depth, outer = 0, scope
            while outer.within is not None:
                depth, outer = depth + 1, outer.within
            if depth > MAX_DEPTH:
                raise ValueError(f"graphs are nested more than {MAX_DEPTH} deep")
            own = self._call(scope, node, body) if hasattr(body, "opset_import") else None
            scope.inner[key] = own or self._scope(body, scope)
            scope.inner[key].within = scope
        return scope.inner[key]

    def _scope(self, graph: Any, outer: Scope | None) -> Scope:
        scope = Scope(self.budget, outer, attributes=outer.attributes if outer else None)
        scope.opset = outer.opset if outer else 0
        self.count(len(graph.input) + len(graph.initializer) + len(graph.sparse_initializer))
        scope.names |= {value.name: None for value in graph.input}
        scope.declared |= {value.name: value for value in graph.input}
        scope.names |= {tensor.name: tensor for tensor in graph.initializer}
        # These are refused when they are folded, not treated as values of run time.
        scope.names |= {tensor.values.name: tensor for tensor in graph.sparse_initializer}
        self._define(scope, graph.node)
        return scope

    def _define(self, scope: Scope, nodes: Any) -> None:
        """Add the names of what nodes compute."""
        for node in nodes:
            self.count(len(node.output), NAME)
            scope.names |= {name: node for name in node.output if name}

    def _call(self, outer: Scope, node: Any, function: Any) -> Scope:
        self.count(len(node.input) + len(function.input))
        self.count(len(node.attribute) + len(function.attribute_proto))
        given = [*node.input, *[""] * (len(function.input) - len(node.input))]
        if len(given) > len(function.input):
            raise ValueError(f"{title(node)} has {len(given)} inputs, the function takes fewer")
        passed = {a.name: a for a in function.attribute_proto}
        given_now = {a.name: a for a in _resolved(outer, node)}
        scope = Scope(self.budget, attributes=passed | given_now, opset=_opset_of(function))
        for formal, name in zip(function.input, given, strict=True):
            scope.names[formal] = (outer, name) if name else None
        self._define(scope, function.node)
        return scope

    # ---- Tensors ----

    def tensor(self, tensor: Any, name: str) -> Array:
        """Return a tensor of the file, or of a file beside it."""
        from onnx import TensorProto, numpy_helper

        if not isinstance(tensor, TensorProto):
            raise ValueError(f"{name!r} is a sparse tensor, which is not supported")
        element = TensorProto.DataType.Name(tensor.data_type)
        if element not in ELEMENTS:
            raise ValueError(f"{name!r} has elements of the type {element}, which is not supported")
        if min(tensor.dims, default=0) < 0:
            raise ValueError(f"{name!r} has the shape {tuple(tensor.dims)}")
        if tensor.data_location == TensorProto.EXTERNAL:
            return self._external.read(tensor, element, name)
        # A number in these lists is a byte or more in the file, and eight in memory.
        self.reserve(tensor.ByteSize() + 8 * (len(tensor.int32_data) + len(tensor.int64_data)))
        try:
            array: Array = numpy_helper.to_array(tensor)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name!r}: {error}") from None
        if array.shape != tuple(tensor.dims):
            raise ValueError(f"{name!r} has the shape {array.shape}, not {tuple(tensor.dims)}")
        return array.astype(np.float32) if element == "BFLOAT16" else array


def _written_notes(text: str, budget: Budget) -> dict[str, Any]:
    """Return the notes of a file of clstm."""
    data = text.encode("utf-8", "surrogatepass")
    count_json(data, budget)
    try:
        notes = json.loads(text)
    except (ValueError, RecursionError):
        notes = None
    if not isinstance(notes, dict):
        raise ValueError(f"the entry {NOTES!r} of its metadata is no JSON object")
    return notes


def title(node: Any) -> str:
    """Return how a message names a node."""
    return f"{node.op_type} node {name_of(node)!r}"


def name_of(node: Any) -> str:
    """Return a node's name: its own, or that of its first output."""
    return node.name or next((name for name in node.output if name), "")


def attributes(scope: Scope, node: Any, allowed: dict[str, str]) -> dict[str, Any]:
    """Return a node's attributes by name; ValueError for one of another name or type.

    Strings are decoded, and tensors stay as they are.
    """
    from onnx import AttributeProto, helper

    values = {}
    for attribute in _resolved(scope, node):
        name, kind = attribute.name, AttributeProto.AttributeType.Name(attribute.type)
        if name not in allowed:
            raise ValueError(f"{title(node)}: attribute {name!r} is not supported")
        if kind != allowed[name]:
            wanted = allowed[name]
            raise ValueError(f"{title(node)}: attribute {name!r} is of type {kind}, not {wanted}")
        if name in values:
            raise ValueError(f"{title(node)} has two attributes {name!r}")
        if kind.endswith("S"):
            scope.budget.take(32 * attribute.ByteSize(), "its attributes")
        value = helper.get_attribute_value(attribute)
        if kind == "STRING":
            value = value.decode()
        elif kind.endswith("S"):
            value = [v.decode() if kind == "STRINGS" else v for v in value]
        values[name] = value
    return values


def _resolved(scope: Scope, node: Any) -> Iterator[Any]:
    """Yield a node's attributes; references to those of a function's call are resolved."""
    for attribute in node.attribute:
        if not attribute.ref_attr_name:
            yield attribute
        elif scope.attributes is None:
            raise ValueError(f"{title(node)}: attribute {attribute.name!r} is a function's")
        elif (given := scope.attributes.get(attribute.ref_attr_name)) is not None:
            scope.budget.take(given.ByteSize(), "its attributes")
            own = type(attribute)()
            own.CopyFrom(given)
            own.name = attribute.name
            yield own


def _opset_of(proto: Any) -> int:
    """Return the version of ONNX's own operators that a model or a function is written for."""
    return max((o.version for o in proto.opset_import if o.domain in DOMAINS), default=1)


def _overload(proto: Any) -> str:
    """Return the overload name of a function; older versions of onnx have none."""
    return getattr(proto, "overload", "")
