"""The pickle in a file of PyTorch, interpreted: nothing is imported, looked up or called.

A pickle is a program for a stack machine that names functions and calls them. Here a name stays a
`Symbol` and a call an `Object` with its arguments. Tensors alone are understood, from the functions
of PyTorch that rebuild them.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..budget import Budget


@dataclass(frozen=True, slots=True, eq=False)
class Symbol:
    """The name of a class or function: "torch.FloatStorage"."""

    name: str


@dataclass(slots=True, eq=False)
class Object:
    """What a class or function would make of arguments; nothing was called."""

    maker: str
    arguments: Any
    is_instance: bool = False
    """Whether it is an instance of the class `maker`, made without a call of its own functions."""
    state: Any = None


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A tensor's place in the archive; the sizes are claims until `files` has checked them."""

    storage: Any
    offset: Any
    shape: Any
    strides: Any
    folder: str = "data"


class _Key:
    """A key that is not a string. Equal hashes of numbers can be made, and take quadratic time."""


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_LITERALS = {
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "BINSTRING", "SHORT_BINSTRING"),
}
_EMPTY = {"EMPTY_LIST": list, "EMPTY_SET": list, "EMPTY_DICT": dict}
_IGNORED = {"PROTO", "FRAME"}
_TENSORS = {"torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2"}
_PARAMETERS = {"torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"}


def interpret(data: bytes, budget: Budget) -> Any:
    """Return the content of a pickle: plain data, `Tensor`, `Symbol` and `Object`.

    Raises ValueError for a malformed pickle, and for instructions that `torch.save` does not write.
    """
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(data):
            budget.count(1, "the number of its instructions")
            if opcode.name == "STOP":
                return machine.stack.pop()
            machine.run(opcode.name, argument)
    except (IndexError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"its pickle is malformed: {type(error).__name__}") from None
    except ValueError as error:
        raise ValueError(f"its pickle: {error}") from None
    raise ValueError("its pickle has no end")


@dataclass(slots=True)
class _Machine:
    """The stack, and the memo, to which a pickle adds what it needs again."""

    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def run(self, name: str, argument: Any) -> None:
        """Execute one instruction."""
        if name in _LITERALS:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            self.stack.append(_EMPTY[name]())
        elif name in _OPERATIONS:
            _OPERATIONS[name](self, argument)
        elif name not in _IGNORED:
            raise ValueError(f"the instruction {name} is none that torch.save writes")

    def since_mark(self) -> list[Any]:
        """Remove and return what lies above the last mark."""
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def tuple_of(self, count: int) -> None:
        values = self.stack[-count:]
        if len(values) < count:
            raise IndexError
        self.stack[-count:] = [tuple(values)]

    def put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def named(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise TypeError
        self.stack.append(Symbol(f"{module}.{name}"))

    def call(self, is_instance: bool) -> None:
        arguments, maker = self.stack.pop(), self.stack.pop()
        if not isinstance(maker, (Symbol, Object)) or not isinstance(arguments, tuple):
            raise TypeError
        name = maker.name if isinstance(maker, Symbol) else maker.maker
        self.stack.append(_made(name, arguments, is_instance))

    def build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Object):
            target.state = state  # a dictionary's attributes, such as _metadata, are dropped

    def extend(self, values: list[Any]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(values)
        elif not isinstance(self.stack[-1], Object):
            raise TypeError

    def set_items(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if len(values) % 2 or not isinstance(target, (dict, Object)):
            raise TypeError
        if isinstance(target, dict):
            for key, value in zip(values[::2], values[1::2], strict=True):
                target[key if isinstance(key, str) else _Key()] = value

    def pop_pair(self) -> list[Any]:
        value, key = self.stack.pop(), self.stack.pop()
        return [key, value]


def _made(maker: str, arguments: tuple[Any, ...], is_instance: bool) -> Any:
    """Return a tensor, an empty dictionary, or an object of which only the maker is known."""
    if not is_instance and maker in _TENSORS and len(arguments) >= 4:
        return Tensor(*arguments[:4])
    if not is_instance and maker in _PARAMETERS and arguments:
        return arguments[0]
    if maker == "collections.OrderedDict" and not arguments:
        return {}
    return Object(maker, arguments, is_instance)


_OPERATIONS: dict[str, Callable[[_Machine, Any], Any]] = {
    "MARK": lambda m, _: m.marks.append(len(m.stack)),
    "POP": lambda m, _: m.stack.pop(),
    "POP_MARK": lambda m, _: m.since_mark(),
    "TUPLE": lambda m, _: m.stack.append(tuple(m.since_mark())),
    "TUPLE1": lambda m, _: m.tuple_of(1),
    "TUPLE2": lambda m, _: m.tuple_of(2),
    "TUPLE3": lambda m, _: m.tuple_of(3),
    "FROZENSET": lambda m, _: m.stack.append(m.since_mark()),
    "APPEND": lambda m, _: m.extend([m.stack.pop()]),
    "APPENDS": lambda m, _: m.extend(m.since_mark()),
    "ADDITEMS": lambda m, _: m.extend(m.since_mark()),
    "SETITEM": lambda m, _: m.set_items(m.pop_pair()),
    "SETITEMS": lambda m, _: m.set_items(m.since_mark()),
    "BINPUT": lambda m, index: m.put(index),
    "LONG_BINPUT": lambda m, index: m.put(index),
    "MEMOIZE": lambda m, _: m.put(len(m.memo)),
    "BINGET": lambda m, index: m.stack.append(m.memo[index]),
    "LONG_BINGET": lambda m, index: m.stack.append(m.memo[index]),
    "GLOBAL": lambda m, names: m.named(*names.split(" ", 1)),
    "STACK_GLOBAL": lambda m, _: m.named(*m.pop_pair()),
    "BINPERSID": lambda m, _: m.stack.append(Object("storage", m.stack.pop())),
    "REDUCE": lambda m, _: m.call(False),
    "NEWOBJ": lambda m, _: m.call(True),
    "BUILD": lambda m, _: m.build(),
}
"""The instructions that change the stack, by the names of `pickletools`."""
