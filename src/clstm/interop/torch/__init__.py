"""PyTorch: models from and to `torch.nn.LSTM`, and modules that compute by clstm inside PyTorch.

PyTorch is imported on first use: `LSTM` and `accelerate` are attributes that import module.py.
"""

import importlib
from typing import TYPE_CHECKING, Any

from . import convert
from .convert import from_torch, to_torch
from .files import load, read, save

if TYPE_CHECKING:
    from .module import LSTM, accelerate

__all__ = ["LSTM", "accelerate", "from_torch", "load", "read", "save", "to_torch"]


def __getattr__(name: str) -> Any:
    if name not in ("LSTM", "accelerate"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    convert.import_torch()
    return getattr(importlib.import_module(".module", __name__), name)
