"""The values of an ONNX graph: the meaning of every name, and the constants.

Graphs are nested in the bodies of If, Loop and Scan and in functions; each is a `Scope` of names.
Constants are folded by the few operators that lead from initializers to the weights of an LSTM;
every other value is only known at run time.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...layout import Array
from ..budget import Budget
from .constant_folding import OPERATORS
from .external_data import ELEMENTS, ExternalData

MAX_DEPTH = 64
"""Limit of nested graphs, and of chains of folded values."""
NODE = 192
"""Bytes that a reader counts for a node, and for each name that it defines."""
DOMAINS = ("", "ai.onnx")
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
    folded: dict[str, Array | None] = field(default_factory=dict)
    declared: dict[str, Any] = field(default_factory=dict)
    """The types of a graph's inputs."""

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
        self.outputs = [output.name for output in model.graph.output]
        self._body = model.graph

    def reserve(self, size: int) -> None:
        """Count bytes that will be allocated; ValueError if they exceed the budget."""
        self.budget.take(size, "its constants")

    def count(self, number: int) -> None:
        """Count nodes, or names of one; those of a function at every call."""
        self.budget.count(number, "its nodes, counting those of functions at every call,", NODE)

    # ---- Nodes ----

    def nodes(self) -> Iterator[tuple[Scope, Any]]:
        """Yield every node of every graph that runs, with the scope of its names."""
        yield from self._nodes(self.main, self._body, 0)

    def _nodes(self, scope: Scope, body: Any, depth: int) -> Iterator[tuple[Scope, Any]]:
        if depth > MAX_DEPTH:
            raise ValueError(f"graphs are nested more than {MAX_DEPTH} deep")
        for node in body.node:
            self.count(1)
            function = self._functions.get((node.domain, node.op_type, _overload(node)))
            if function is not None:
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

    def _scope(self, graph: Any, outer: Scope | None) -> Scope:
        scope = Scope(self.budget, outer, attributes=outer.attributes if outer else None)
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
            self.count(len(node.output))
            scope.names |= {name: node for name in node.output if name}

    def _call(self, outer: Scope, node: Any, function: Any) -> Scope:
        self.count(len(node.input) + len(function.input))
        self.count(len(node.attribute) + len(function.attribute_proto))
        given = [*node.input, *[""] * (len(function.input) - len(node.input))]
        if len(given) > len(function.input):
            raise ValueError(f"{title(node)} has {len(given)} inputs, the function takes fewer")
        passed = {a.name: a for a in function.attribute_proto}
        scope = Scope(self.budget, attributes=passed | {a.name: a for a in _resolved(outer, node)})
        for formal, name in zip(function.input, given, strict=True):
            scope.names[formal] = (outer, name) if name else None
        self._define(scope, function.node)
        return scope

    # ---- Values ----

    def fold(self, scope: Scope, name: str, depth: int = 0) -> Array | None:
        """Return a constant, or None for a value of run time; ValueError if it cannot be read."""
        scope, name, found = scope.find(name)
        if name not in scope.folded:
            if depth > MAX_DEPTH:
                raise ValueError(f"{name!r} depends on more than {MAX_DEPTH} values in a chain")
            self.count(1)
            scope.folded[name] = self._folded(scope, name, found, depth)
        return scope.folded[name]

    def _folded(self, scope: Scope, name: str, found: Any, depth: int) -> Array | None:
        if found is None:
            return None
        if not hasattr(found, "op_type"):
            return self.tensor(found, name)
        if found.domain not in DOMAINS:
            return None
        if found.op_type == "Constant":
            return self._constant(scope, found, name)
        if found.op_type not in OPERATORS:
            return None
        compute, allowed = OPERATORS[found.op_type]
        inputs = [self.fold(scope, n, depth + 1) if n else None for n in found.input]
        if any(n and array is None for n, array in zip(found.input, inputs, strict=True)):
            return None
        given = attributes(scope, found, allowed)
        try:
            return compute(inputs, given, self.reserve)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise ValueError(f"{title(found)}: {_message(error)}") from None

    def _constant(self, scope: Scope, node: Any, name: str) -> Array:
        kinds = {
            "value": "TENSOR",
            "value_float": "FLOAT",
            "value_floats": "FLOATS",
            "value_int": "INT",
            "value_ints": "INTS",
        }
        ((key, value),) = attributes(scope, node, kinds).items() or [("", None)]
        if key == "value":
            return self.tensor(value, name)
        if not key:
            raise ValueError(f"{title(node)} has no value")
        return np.array(value, np.float32 if "float" in key else np.int64)

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
        return array


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


def _overload(proto: Any) -> str:
    """Return the overload name of a function; older versions of onnx have none."""
    return getattr(proto, "overload", "")


def _message(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"it has no attribute {error.args[0]!r}"
    return str(error)
