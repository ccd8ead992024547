"""A module in the pickle of `torch.save(module)`, whose classes stay names."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...layout import Array
from ..budget import Budget
from .modules import KINDS, LSTM_KINDS
from .pickles import Object, Tensor

_HOOKS = ("_forward_hooks", "_forward_pre_hooks")
_DEEPEST = 40


class Pickled:
    """A module of a file.

    Parameters
    ----------
    content : Object
    read : callable
        Returns a tensor's numbers, given its name and place in the file.
    budget : Budget
    """

    def __init__(
        self,
        content: Object,
        read: Callable[[str, Any], Array],
        budget: Budget,
        place: str = "",
        depth: int = 0,
    ) -> None:
        self._content, self._read, self._place, self._depth = content, read, place, depth
        self._budget = budget
        self.kind = content.maker

    def option(self, name: str) -> Any:
        """Return an attribute, None if there is none or it is more than a plain value."""
        value = self._state().get(name)
        return value if isinstance(value, (bool, int, float, str)) else None

    def arrays(self) -> dict[str, Array]:
        """Return its own parameters by name, without those that are None."""
        start = f"{self._place}." if self._place else ""
        parts = _named(self._state(), "_parameters")
        given = {name: value for name, value in parts.items() if value is not None}
        if self.kind in LSTM_KINDS and not given:
            raise ValueError(f"it holds a {self.kind} without parameters")
        return {name: self._read(start + name, value) for name, value in given.items()}

    def children(self) -> Sequence[tuple[str, "Pickled"]]:
        """Return the modules inside of it by name."""
        if self._depth > _DEEPEST:
            raise ValueError("its modules are nested too deeply")
        start = f"{self._place}." if self._place else ""
        found = []
        for name, value in _named(self._state(), "_modules").items():
            if value is None:
                continue
            if not isinstance(value, Object):
                raise ValueError(f"{start}{name} is no module")
            self._budget.layers()
            inner = Pickled(value, self._read, self._budget, start + name, self._depth + 1)
            found.append((name, inner))
        return found

    def check(self, place: str) -> None:
        """Raise ValueError if it may compute something else than its class does."""
        if not self._content.is_instance or not isinstance(self._content.state, dict):
            raise ValueError(f"it calls {self.kind}, which would draw weights: it holds none")
        state = self._state()
        if hooks := [name for name in _HOOKS if state.get(name)]:
            raise ValueError(f"its module has {hooks[0]}: write its state dict, which has none")
        if "forward" in state:
            raise ValueError(f"{place} has a forward of its own")

    def _state(self) -> Mapping[str, Any]:
        state = self._content.state
        return state if isinstance(state, dict) else {}


def is_module(content: Any) -> bool:
    """Tell whether an object of a file is a module, of any class."""
    state = content.state if isinstance(content, Object) else None
    known = isinstance(content, Object) and content.maker in KINDS
    return known or (isinstance(state, dict) and isinstance(state.get("_modules"), dict))


def tensors_of(content: Object) -> dict[str, Any]:
    """Return the parameters and buffers of a module of any class by PyTorch's names."""
    found: dict[str, Any] = {}
    seen, waiting = {id(content)}, [("", content)]
    while waiting:
        place, module = waiting.pop()
        state = module.state if isinstance(module.state, dict) else {}
        for kind in ("_parameters", "_buffers"):
            values = _named(state, kind).items()
            found |= {place + name: value for name, value in values if isinstance(value, Tensor)}
        inner = []
        for name, value in _named(state, "_modules").items():
            if isinstance(value, Object) and id(value) not in seen:
                seen.add(id(value))
                inner.append((f"{place}{name}.", value))
        waiting += reversed(inner)
    return found


def _named(state: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return the entries of a module's own dictionary whose names are strings."""
    values = state.get(kind)
    if values is None:
        return {}
    if not isinstance(values, dict) or any(not isinstance(name, str) for name in values):
        raise ValueError(f"its {kind} are no dictionary of names")
    return values
