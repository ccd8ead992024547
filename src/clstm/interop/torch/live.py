"""A live module of PyTorch, which is read and not called."""

from collections.abc import Sequence
from typing import Any

import torch

from ...layout import Array
from .computed import base_of, check, weights_of
from .tensors import array_of_tensor


class Live:
    """A module of a running program.

    Parameters
    ----------
    module : torch.nn.Module
    place : str
        Its name inside of the whole module.
    """

    def __init__(self, module: torch.nn.Module, place: str = "") -> None:
        self._module, self._place = module, place
        base = base_of(module) or type(module)
        self.kind = f"{base.__module__}.{base.__qualname__}"

    def option(self, name: str) -> Any:
        """Return an attribute, None if there is none."""
        return getattr(self._module, name, None)

    def arrays(self) -> dict[str, Array]:
        """Return the weights that its next call computes with."""
        module = self._module
        if isinstance(module, torch.nn.LSTM):
            names = list(module._flat_weights_names)
        else:
            names = [name for name in ("weight", "bias", *_CELL) if self._has(name)]
        if not names:
            return {}
        tensors = weights_of(module, names, self._place)
        start = f"{self._place}." if self._place else ""
        return {name: array_of_tensor(torch, start + name, t) for name, t in tensors.items()}

    def _has(self, name: str) -> bool:
        return getattr(self._module, name, None) is not None and not (
            isinstance(self._module, torch.nn.LSTMCell) and name == "bias"
        )

    def children(self) -> Sequence[tuple[str, "Live"]]:
        """Return the modules inside of it by name."""
        start = f"{self._place}." if self._place else ""
        return [(name, Live(m, start + name)) for name, m in self._module.named_children()]

    def check(self, place: str) -> None:
        """Raise ValueError if it may compute something else than its class does."""
        check(self._module, place)


_CELL = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
