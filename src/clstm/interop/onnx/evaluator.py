"""What is known of every value of a graph before it runs.

A value is a `View` of a constant, of an input or of what a layer gives; or it is `Unknown`, with
the operator that computes it. Values are evaluated from the graph's outputs backwards, so nodes
that lead to no output are not looked at.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...layout import Array
from .graph import DOMAINS, Graph, Scope, title
from .sizes import Polynomial, Size, Undecided, unknown
from .sources import Constant, Input
from .views import MAX_AXES, View, array_of, whole


@dataclass(frozen=True)
class Unknown:
    """A value that is no view; `cause` names the node that computes it, and why."""

    cause: str


@dataclass(frozen=True)
class Quantised:
    """A view whose elements are rounded to integers, or a product of such integers.

    The value of `scale` that fits it makes it a view of real numbers again.
    """

    view: View
    token: Any


@dataclass(frozen=True)
class Scale:
    """The scale of a `Quantised` value that is known at run time only, times a constant."""

    token: Any
    factor: Any


@dataclass(frozen=True)
class ZeroPoint:
    """The integer for zero of a `Quantised` value."""

    token: Any


Operators = Callable[["Evaluator", Scope, Any, list[Any]], list[Any]]


class Evaluator:
    """Values of a graph, each evaluated at its first use.

    Parameters
    ----------
    graph : Graph
    operators : callable
        ``operators(evaluator, scope, node, inputs)`` returns the outputs of a node.
    dtype : dtype, optional
        Of the LSTMs that are read.
    """

    def __init__(self, graph: Graph, operators: Operators, dtype: Any = None) -> None:
        self.graph = graph
        self._operators = operators
        self.dtype = dtype
        self.dequantised: dict[str, None] = {}
        """The nodes whose weights are quantised in the file, in order."""
        self.fixed: dict[Polynomial, int] = {}
        """Unknown sizes for which the graph has numbers: it is written for these only."""
        self.joined: dict[Any, Any] = {}
        """Sources that consist of others, by the identities of these."""

    # ---- Names ----

    def value(self, scope: Scope, name: str) -> Any:
        """Return what is known of a value."""
        scope, name, _ = scope.find(name)
        left = [(scope, name)]
        waiting: dict[tuple[int, str], int] = {}  # the number of times that a value has waited
        while left:
            scope, name = left[-1]
            if name in scope.values:
                left.pop()
                continue
            found, needed = scope.names[name], []
            for place in self._needs(scope, found):
                if place[1] not in place[0].values:
                    needed.append(place)
            key = (id(scope), name)
            if not needed:
                self._define(scope, name, found)
                left.pop()
            elif waiting.get(key, 0) > _MOST_WAITS:
                raise ValueError(f"{name!r} is computed from itself")
            else:
                waiting[key] = waiting.get(key, 0) + 1
                left += needed
                self.graph.count(len(needed))
        return scope.values[name]

    def _needs(self, scope: Scope, found: Any) -> list[tuple[Scope, str]]:
        """Return the values from which a node computes its outputs."""
        if not hasattr(found, "op_type"):
            return []
        if (function := self.graph.function_of(found)) is not None:
            inner = self.graph.inner_scope(scope, found, function)
            return [inner.find(name)[:2] for name in function.output]
        self.graph.count(len(found.input))
        needs = [scope.find(name)[:2] for name in found.input if name]
        if found.op_type == "If" and all(name in within.values for within, name in needs):
            return self._results(scope, found)[0]
        return needs

    def _results(self, scope: Scope, node: Any) -> tuple[list[tuple[Scope, str]], str]:
        """Return what an If with a known condition gives, or why it is not known."""
        condition = self.constant(self.value(scope, node.input[0])) if node.input else None
        if condition is None or condition.size != 1 or condition.dtype == object:
            return [], f"{title(node)}, whose condition is only known when it runs"
        wanted = "then_branch" if condition.reshape(-1)[0] else "else_branch"
        for attribute in node.attribute:
            if attribute.name == wanted:
                inner = self.graph.inner_scope(scope, node, attribute.g)
                return [inner.find(output.name)[:2] for output in attribute.g.output], ""
        raise ValueError(f"{title(node)} has no {wanted}")

    def _define(self, scope: Scope, name: str, found: Any) -> None:
        """Evaluate a node whose inputs are known, or a name that is no node's."""
        if found is None:
            scope.values[name] = self._input(scope, name)
            return
        if not hasattr(found, "op_type"):
            scope.values[name] = whole(Constant(self.graph.tensor(found, name)))
            return
        self.graph.count(1 + len(found.output))
        if (function := self.graph.function_of(found)) is not None:
            inner = self.graph.inner_scope(scope, found, function)
            results = [self.value(inner, output) for output in function.output]
        elif found.op_type == "If" and found.domain in DOMAINS:
            places, cause = self._results(scope, found)
            results = [self.value(*place) for place in places]
            results = results or [Unknown(cause)] * len(found.output)
        else:
            results = self._evaluated(scope, found)
        results += [Unknown(title(found))] * (len(found.output) - len(results))
        scope.values |= {n: r for n, r in zip(found.output, results, strict=False) if n}

    def _evaluated(self, scope: Scope, node: Any) -> list[Any]:
        inputs = [self.value(scope, name) if name else None for name in node.input]
        try:
            return self._operators(self, scope, node, inputs)
        except Undecided as error:
            return [Unknown(f"{title(node)}: {error}")] * len(node.output)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            message = str(error)
            if isinstance(error, KeyError):
                message = f"it has no attribute {error.args[0]!r}"
            if title(node) in message:
                raise ValueError(message) from None
            raise ValueError(f"{title(node)}: {message}") from None

    def _input(self, scope: Scope, name: str) -> Any:
        """Return an input of a graph as a view; the sizes of its axes may be unknown."""
        if scope is not self.graph.main and name not in scope.declared:
            return None  # an argument that a function's call leaves out
        shape = declared_shape(scope.declared[name], name)
        kind = scope.declared[name].type.tensor_type.elem_type
        integer = kind in _INTEGERS
        if shape is None:  # as the operator needs it that takes it
            rank = 1 if integer else 3  # lengths, a sequence or a state
            shape = [unknown(f"{name}:{k}") for k in range(rank)]
        if len(shape) > MAX_AXES:
            raise ValueError(f"the input {name!r} has more than {MAX_AXES} axes")
        sizes = {f"{name}:{k}": size for k, size in enumerate(shape)}
        return whole(Input(name, sizes, integer))

    # ---- Values ----

    def constant(self, value: Any) -> Array | None:
        """Return a value as an array if it is constant; sizes may be polynomials."""
        if not isinstance(value, View) or not isinstance(value.source, Constant):
            return None
        if not value.at and value.axes == whole(value.source).axes:
            return value.source.value
        try:
            return array_of(value, self.graph.reserve)
        except Undecided:
            return None

    def distinct(self, value: Any) -> Array | None:
        """Return a constant as `constant` does, with each axis along which it repeats once."""
        if not isinstance(value, View):
            return None
        kept = (tuple(d for d in axis if d.axis is not None) for axis in value.axes)
        return self.constant(replace(value, axes=tuple(kept)))

    def sizes(self, value: Any, what: str) -> list[Size] | None:
        """Return a list of integers, which may be polynomials; None if the value is not known."""
        if value is None:
            return None
        array = self.constant(value)
        if array is None:
            raise Undecided(f"{what} is only known when it runs")
        if array.ndim > 1 or array.dtype.kind not in "iuO" or array.size > MAX_AXES:
            raise ValueError(f"{what} must be a list of integers, at most {MAX_AXES}")
        return integers(array)


def integers(array: Array) -> list[Size]:
    """Return the elements of an array of sizes."""
    flat = array.reshape(-1).tolist()
    return [n if isinstance(n, Polynomial) else int(n) for n in flat]


def view_of(sizes: Any, shape: Any = None) -> View:
    """Return a list of sizes as a constant of the graph."""
    flat = list(sizes)
    if any(isinstance(n, Polynomial) for n in flat):
        array: Array = np.empty(len(flat), object)
        array[:] = flat
    else:
        array = np.array(flat, np.int64)
    return whole(Constant(array if shape is None else array.reshape(shape)))


_MOST_WAITS = 2  # for the condition of an If, then for one of its branches
_INTEGERS = (2, 3, 4, 5, 6, 7, 12, 13)  # TensorProto.UINT8 ... INT64, UINT32, UINT64


def declared_shape(declared: Any, name: str) -> list[Size] | None:
    """Return the shape in the type of a graph's input; None if it has none."""
    if not declared.type.HasField("tensor_type"):
        raise ValueError(f"the input {name!r} is no tensor")
    if not declared.type.tensor_type.HasField("shape"):
        return None
    sizes: list[Size] = []
    for k, axis in enumerate(declared.type.tensor_type.shape.dim[: MAX_AXES + 1]):
        if axis.dim_value > 0:
            sizes.append(axis.dim_value)
        else:
            sizes.append(unknown(axis.dim_param or f"{name}:{k}"))
    return sizes


@dataclass
class Call:
    """A node and the values of its inputs.

    Attributes
    ----------
    inputs : list
        None for one that is left out.
    given : dict
        The attributes by name.
    """

    evaluator: Evaluator
    scope: Scope
    node: Any
    inputs: list[Any]
    given: dict[str, Any]

    def argument(self, index: int) -> Any:
        """Return an input, or None if there is none."""
        return self.inputs[index] if index < len(self.inputs) else None

    def view(self, index: int = 0) -> View:
        """Return an input that is a view of something; Undecided otherwise."""
        value = self.argument(index)
        if value is None:
            raise ValueError(f"it has no input {index}")
        if not isinstance(value, View):
            raise Undecided("its input is quantised")
        return value

    def constant(self, index: int) -> Array | None:
        """Return an input as an array of numbers; None if it is missing or not constant."""
        array = self.evaluator.constant(self.argument(index))
        return None if array is None or array.dtype == object else array

    def sizes(self, index: int, name: str) -> list[Size] | None:
        """Return integers from an input (later versions of an operator) or an attribute."""
        if (value := self.argument(index)) is not None:
            return self.evaluator.sizes(value, name)
        given = self.given.get(name)
        if given is not None and len(given) > MAX_AXES:
            raise ValueError(f"{name} must be a list of integers, at most {MAX_AXES}")
        return given

    def numbers(self, index: int, name: str) -> list[int] | None:
        """Return integers that are known, such as axes."""
        sizes = self.sizes(index, name)
        if sizes is None:
            return None
        if any(isinstance(n, Polynomial) for n in sizes):
            raise Undecided(f"{name} is only known when it runs")
        return [int(n) for n in sizes]  # type: ignore[arg-type]
