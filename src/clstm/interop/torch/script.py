"""TorchScript: the layers of a model, by following its argument through the code of `forward`.

Nothing is executed. Each statement is read as what it says about the layers that x runs through;
what does not say it in a known way is refused with its place in the code.
"""

import ast
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...layout import Array
from ...lstm import LSTM
from ...sequential import Sequential
from ..budget import Budget
from ..layers import as_model, merged
from .archive import Archive
from .pickles import Object, Tensor
from .script_code import Code
from .script_ops import AXES, OPERATIONS, Given, Restart, flow_of
from .script_values import FEATURES, FIRST, SECOND, UNKNOWN, Flow, State, Unknown, Weight

_DEEPEST = 40  # calls in calls
_FLOW, _LAYER = 500, 16  # bytes of a `Flow`, and for each layer of its chain
_LISTS = ("torch.jit._pickle.restore_type_tag", "torch.jit._pickle.build_tensorlist")
_MANGLED = re.compile(r"___torch_mangle_[0-9]+[.]")
_REFUSED = re.compile(
    r"__torch__[.]torch[.](ao[.])?nn[.](quantized[.].*|modules[.](conv|transformer)[.].*"
    r"|modules[.](rnn[.](GRU|RNN)|activation[.]MultiheadAttention).*)"
)
_CASTS = {"int": int, "float": float, "bool": bool}
_KEEP = ("annotate", "unchecked_cast", "unchecked_unwrap_optional")


class Module:
    """A module of the archive, and its place in the model: ``encoder.lstm``."""

    def __init__(self, content: Object, place: str) -> None:
        self.content = content
        self.place = place

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Its attributes by name."""
        state = self.content.state
        return state if isinstance(state, dict) else {}

    def __getitem__(self, name: str) -> Any:
        """Return an attribute as the code computes with it; KeyError if there is none."""
        if name == "training":
            return False  # as after model.eval()
        return self._value(self.attributes[name], f"{self.place}.{name}" if self.place else name)

    def _value(self, value: Any, place: str) -> Any:
        if isinstance(value, Object) and value.maker in _LISTS and value.arguments:
            value = value.arguments[0]
        if isinstance(value, Tensor):
            return Weight(place, value)
        if isinstance(value, Object) and value.is_instance:
            return Module(value, place)
        if isinstance(value, list) and any(isinstance(v, Tensor) for v in value):
            return [self._value(v, f"{place}.{k}") for k, v in enumerate(value)]
        return UNKNOWN if isinstance(value, Object) else value


class Function:
    """A function outside of classes, by its name."""

    def __init__(self, name: str) -> None:
        self.name = name


def model_of(archive: Archive, budget: Budget, options: Mapping[str, Any]) -> LSTM | Sequential:
    """Return what `forward` of the archive's module computes.

    Parameters
    ----------
    archive : Archive
    budget : Budget
    options : mapping
        ``batch_first`` and ``dtype``; None stands for what the file says.

    Raises
    ------
    ValueError
        If the code computes something else than a chain of layers; the message names the place.
    """
    content = archive.content()
    if not isinstance(content, Object) or not content.is_instance:
        raise ValueError("its TorchScript holds no module")
    dtype = options["dtype"] or _dtype_of(content, archive)
    script = Script(archive, budget, dtype)
    indices, batched = False, True
    for _ in AXES:
        try:
            return _as_model(script.forward(content, AXES[indices, batched]), options)
        except Restart as other:
            indices, batched = other.indices, other.batched
    raise ValueError("its forward uses its argument with different axes")


def _dtype_of(content: Object, archive: Archive) -> np.dtype[Any]:
    """Return the type of the first tensor with an LSTM's name."""
    for name, tensor in tensors_of(content).items():
        if name.rpartition(".")[2].startswith("weight_hh"):
            double = archive.kind_of(tensor) == "float64"
            return np.dtype(np.float64 if double else np.float32)
    return np.dtype(np.float32)


def tensors_of(content: Object) -> dict[str, Tensor]:
    """Return the parameters and buffers of a module and those inside by PyTorch's names."""
    found: dict[str, Tensor] = {}
    seen, waiting = {id(content)}, [("", content)]
    while waiting:
        place, module = waiting.pop()
        inner = []
        for name, value in Module(module, "").attributes.items():
            if isinstance(value, Tensor) and isinstance(name, str):
                found[place + name] = value
            elif isinstance(value, Object) and value.is_instance and id(value) not in seen:
                seen.add(id(value))
                inner.append((f"{place}{name}.", value))
        waiting += reversed(inner)
    return found


# ---- The result ----


def _as_model(result: Any, options: Mapping[str, Any]) -> LSTM | Sequential:
    """Return the model that gives what `forward` returns."""
    first, *rest = _leaves(result)
    try:
        flow = flow_of(first)
        chain = flow.settled()
    except ValueError as error:
        raise ValueError(f"the result of its forward: {error}") from None
    lstms = [layer for layer in chain if isinstance(layer, LSTM)]
    if not flow.time:
        raise ValueError("its forward computes no LSTM")
    for value in rest:
        if not (isinstance(value, State) and value.whole and value.lstm in lstms):
            raise ValueError("its forward returns more than y and the final states of its LSTMs")
    axes = tuple(axis for axis in flow.axes if axis)
    last = chain != flow.chain or not any(flow.time in axis for axis in axes)
    expected = [(FIRST,), (SECOND,), (FEATURES,)]
    if last:
        expected.remove((flow.time,))
    steps = {(label,) for label in (FIRST, SECOND)}
    known = [axis for axis in expected if axis in axes or axis not in steps]
    notes = {}
    if flow.axes != tuple(known):
        notes["axes"] = "PyTorch's result has other axes of one element"
        known = [a for a in known if a in axes or a != (FEATURES,) or flow.width() != 1]
    if axes != tuple(known):
        raise ValueError("its forward returns other axes than those of x")
    batch_first = options["batch_first"]
    if batch_first is None:
        batch_first = flow.time == SECOND
    return as_model(merged(chain), notes, batch_first)


def _leaves(value: Any) -> list[Any]:
    """Return what a result consists of: a tensor, or a tuple of tensors and tuples of them."""
    if not isinstance(value, tuple):
        return [value]
    if len(value) > 1000:
        raise ValueError("its forward returns too much")
    return [leaf for part in value for leaf in (part if isinstance(part, tuple) else (part,))] or [
        None
    ]


# ---- The code ----


class Script:
    """The code of an archive, followed from an argument to a result."""

    def __init__(self, archive: Archive, budget: Budget, dtype: np.dtype[Any]) -> None:
        self._archive = archive
        self._budget = budget
        self._code = Code(archive, budget)
        self._dtype = dtype
        self._constants: tuple[Any, ...] | None = None
        self._depth = 0
        self._arguments = 0

    def forward(self, content: Object, axes: tuple[Any, ...]) -> Any:
        """Return the result of the module for arguments of these axes."""
        self._arguments = self._depth = 0
        module = Module(content, "")
        # A scripted LSTM has one for tensors, and one for packed sequences.
        name = "forward" if self._code.has(content.maker, "forward") else "forward__0"
        function = self._code.method(content.maker, name)
        _check_kind(module)
        given: list[Any] = [module]
        parameters = function.args.args[1:]
        required = len(parameters) - len(function.args.defaults)
        for parameter in parameters[:required]:
            given.append(self._argument(parameter.annotation, axes))
        return self._call(function, given, {}, f"{_shown(module)}.{name}")

    def _argument(self, annotation: ast.expr | None, axes: tuple[Any, ...]) -> Any:
        """Return the value of an argument of this type: a tensor, or a tuple or list of them."""
        if isinstance(annotation, ast.Subscript) and isinstance(annotation.value, ast.Name):
            inner = annotation.slice
            if annotation.value.id == "Tuple":
                parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
                return tuple(self._argument(part, axes) for part in parts)
            if annotation.value.id == "Optional":
                return self._argument(inner, axes)
        if isinstance(annotation, ast.Name) and annotation.id == "Tensor":
            self._arguments += 1
            return Flow(self._arguments, (), axes)
        return UNKNOWN

    def _call(
        self, function: ast.FunctionDef, given: Sequence[Any], named: Mapping[str, Any], name: str
    ) -> Any:
        """Return the result of a function for these arguments."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError(f"{name}: its functions call each other too deeply")
        parameters = [parameter.arg for parameter in function.args.args]
        defaults = function.args.defaults
        names: dict[str, Any] = {}
        frame = Frame(self, name, names)
        for parameter, default in zip(parameters[::-1], defaults[::-1], strict=False):
            names[parameter] = frame.value(default)
        names |= dict(zip(parameters, given, strict=False)) | dict(named)
        if names.keys() != set(parameters) or len(given) > len(parameters):
            raise ValueError(f"{name}: it is called with other arguments than it has")
        _, result = frame.run(function.body)
        self._depth -= 1
        return result

    # ---- What the code names ----

    def constant(self, name: str) -> Any:
        """Return ``CONSTANTS.c0``."""
        if self._constants is None:
            self._constants = self._archive.constants()
        number = name.removeprefix("c")
        if not number.isdecimal() or len(number) > 6 or int(number) >= len(self._constants):
            raise ValueError(f"it has no constant {name:.80}")
        value = self._constants[int(number)]
        return Weight(f"CONSTANTS.{name}", value) if isinstance(value, Tensor) else UNKNOWN

    def attribute(self, module: Module, name: str) -> Any:
        """Return an attribute of a module, or a constant of its class."""
        try:
            value = module[name]
        except KeyError:
            pass
        else:
            self.count(len(value) if isinstance(value, list) else 1)
            return value
        try:
            return self._code.constant(module.content.maker, name)
        except KeyError:
            raise ValueError(f"{_shown(module)} has no attribute {name:.80}") from None

    def call_method(
        self, module: Module, name: str, given: Sequence[Any], named: Mapping[str, Any]
    ) -> Any:
        """Return the result of a method of a module."""
        _check_kind(module)
        function = self._code.method(module.content.maker, name)
        place = f"{_shown(module)}.{name}"
        return self._call(function, [module, *given], named, place)

    def call(self, name: str, given: Sequence[Any], named: dict[str, Any]) -> Any:
        """Return the result of a function or an operation."""
        if name.startswith("__torch__."):
            return self._call(self._code.function(name), given, named, name)
        operation = OPERATIONS.get(name)
        if operation is None:
            raise ValueError(f"{name:.80} is none of the layers and operations that clstm knows")
        try:
            result = operation(Given(given, named, self._numbers, self._dtype))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        if isinstance(result, Flow):
            self._budget.take(_FLOW + _LAYER * len(result.chain), "the layers in its code")
        return result

    def _numbers(self, weight: Weight) -> Array:
        try:
            array = self._archive.array(weight.tensor)
        except ValueError as error:
            raise ValueError(f"{weight.name}: {error}") from None
        self._budget.layers()
        return array

    def count(self, number: int = 1) -> None:
        """Count steps."""
        self._budget.count(number, "the number of steps in its code")


class Frame:
    """A call of a function: its names, and the statements that give them values."""

    def __init__(self, script: Script, place: str, names: dict[str, Any]) -> None:
        self._script = script
        self._place = place
        self._names = names

    # ---- Statements ----

    def run(self, body: Sequence[ast.stmt]) -> tuple[bool, Any]:
        """Run statements; return whether they end the function, and its result."""
        for statement in body:
            self._script.count()
            try:
                ended, result = self._run_one(statement)
            except ValueError as error:
                if str(error).startswith("forward of "):
                    raise
                line = f"forward of {self._place}, line {statement.lineno} of its code"
                raise ValueError(f"{line}: {error}") from None
            if ended:
                return True, result
        return False, None

    def _run_one(self, statement: ast.stmt) -> tuple[bool, Any]:
        if isinstance(statement, ast.Return):
            return True, None if statement.value is None else self.value(statement.value)
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            self._assign(statement.targets[0], self.value(statement.value))
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            self._assign(statement.target, self.value(statement.value))
        elif isinstance(statement, ast.Expr):
            self.value(statement.value)
        elif isinstance(statement, ast.If):
            return self._branch(statement)
        elif not isinstance(statement, ast.Pass):
            raise ValueError(f"it has a {type(statement).__name__.lower()} statement")
        return False, None

    def _branch(self, statement: ast.If) -> tuple[bool, Any]:
        """Run the branch that is taken; where calls decide it, the one that raises no error."""
        test = self.value(statement.test)
        if type(test) is not bool:
            if not isinstance(test, Unknown):
                raise ValueError("it decides by what is no condition")
            self._script.count(len(statement.body) + len(statement.orelse))
            raising = [_raises(statement.body), _raises(statement.orelse)]
            if raising[0] == raising[1]:
                raise ValueError("x decides what it computes")
            test = raising[1]
        return self.run(statement.body if test else statement.orelse)

    def _assign(self, target: ast.expr, value: Any) -> None:
        if isinstance(target, ast.Name):
            self._names[target.id] = value
            return
        if not isinstance(target, (ast.Tuple, ast.List)):
            raise ValueError("it assigns to what is no name")
        if not isinstance(value, (tuple, list)):
            raise ValueError("it takes apart what is no tuple")
        if len(value) != len(target.elts):
            if len(value) == 3 and len(target.elts) == 2 and isinstance(value, list):
                raise Restart(True, True)  # B, T = x.shape
            raise ValueError(f"it takes {len(target.elts)} of {len(value)} values")
        self._script.count(len(value))
        for part, inner in zip(target.elts, value, strict=True):
            self._assign(part, inner)

    # ---- Expressions ----

    def value(self, node: ast.expr) -> Any:
        """Return the value of an expression."""
        self._script.count()
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                if name not in self._names:
                    raise ValueError(f"it has no value {name:.80}")
                return self._names[name]
            case ast.List(elts=parts):
                return [self.value(part) for part in parts]
            case ast.Tuple(elts=parts):
                return tuple(self.value(part) for part in parts)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=(int() | float()) as value)):
                return -value
            case ast.Attribute():
                return self._attribute(node)
            case ast.Subscript(value=inner, slice=index):
                return self._item(self.value(inner), self.value(index))
            case ast.Call(func=ast.Name(id=name), args=[*_, inner]) if name in _KEEP:
                return self.value(inner)  # the type before it is no value
            case ast.Call(func=ast.Name(id="uninitialized")):
                return UNKNOWN  # what is returned before it gets a value
            case ast.Call(func=function, args=parts, keywords=named):
                given = [self.value(part) for part in parts]
                return self._call(function, given, {n.arg: self.value(n.value) for n in named})
        raise ValueError(f"it has the expression {type(node).__name__}")

    def _item(self, values: Any, index: Any) -> Any:
        if not isinstance(values, (tuple, list)) or type(index) is not int:
            raise ValueError("it takes a part of what is no tuple")
        if not -len(values) <= index < len(values):
            raise ValueError(f"it takes number {index} of {len(values)} values")
        return values[index]

    def _attribute(self, node: ast.Attribute) -> Any:
        dotted = self._dotted(node)
        if dotted is not None:
            kind, _, rest = dotted.partition(".")
            return self._script.constant(rest) if kind == "CONSTANTS" else Function(dotted)
        value = self.value(node.value)
        if not isinstance(value, Module):
            raise ValueError(f"it takes the attribute {node.attr:.80} of what is no module")
        return self._script.attribute(value, node.attr)

    def _dotted(self, node: ast.expr) -> str | None:
        """Return ``torch.nn.x`` if an expression names it, not an attribute of a value."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id in self._names:
            return None
        return ".".join([node.id, *reversed(parts)])

    def _call(self, function: ast.expr, given: list[Any], named: dict[Any, Any]) -> Any:
        if None in named:
            raise ValueError("it has a call with **")
        if isinstance(function, ast.Name):
            return self._call_name(function.id, given, named)
        dotted = self._dotted(function)
        if dotted is not None:
            return self._script.call(dotted, given, named)
        if isinstance(function, ast.Attribute):
            module = self.value(function.value)
            if isinstance(module, Module):
                return self._script.call_method(module, function.attr, given, named)
        raise ValueError("it calls what is no function")

    def _call_name(self, name: str, given: list[Any], named: dict[str, Any]) -> Any:
        known = self._names.get(name)
        if isinstance(known, Function):
            return self._script.call(known.name, given, named)
        if name == "getattr" and len(given) == 2 and isinstance(given[0], Module):
            return self._script.attribute(given[0], str(given[1]))
        if name in _CASTS and len(given) == 1:
            value = given[0]
            return _CASTS[name](value) if type(value) in _CASTS.values() else value
        raise ValueError(f"it calls {name:.80}, which is no function that clstm knows")


def _raises(body: Sequence[ast.stmt]) -> bool:
    """Tell whether statements raise an error."""
    return any(
        isinstance(part, ast.Expr)
        and isinstance(part.value, ast.Call)
        and isinstance(part.value.func, ast.Attribute)
        and part.value.func.attr == "RaiseException"
        for part in body
    )


def _check_kind(module: Module) -> None:
    """Refuse a layer of PyTorch by its name, before an operation in its code is refused."""
    kind = _MANGLED.sub("", module.content.maker)
    if _REFUSED.fullmatch(kind):
        words = "quantised " if ".quantized." in kind else ""
        place = f"{module.place:.80} is" if module.place else "it is"
        name = kind.rpartition(".")[2]
        raise ValueError(f"{place} a {words}{name:.80}, which clstm does not compute")


def _shown(module: Module) -> str:
    """Return the name of a module for messages."""
    kind = module.content.maker.rpartition(".")[2]
    return f"{module.place} ({kind})" if module.place else kind
