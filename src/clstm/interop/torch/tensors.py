"""Tensors of a running PyTorch as arrays, and what else is given in place of one."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from ...layout import Array


def array_of_tensor(torch: Any, name: str, value: Any) -> Array:
    """Return a tensor's own memory as an array, or the array itself; half precision widened."""
    if isinstance(value, np.ndarray):
        return value
    if not isinstance(value, torch.Tensor):
        hint = hint_of(torch, value)
        raise ValueError(f"{name} is {type(value).__name__}, expected a tensor or array{hint}")
    if type(value) not in (torch.Tensor, torch.nn.Parameter):
        raise ValueError(
            f"{name} is a {kind_of(value)}, expected a torch.Tensor itself, whose memory is its "
            "value"
        )
    if value.is_meta:
        raise ValueError(f"{name} is on meta, where tensors have no values: load its weights first")
    if value.device.type != "cpu":
        raise ValueError(f"{name} is on {value.device}, expected the CPU: give a copy by .cpu()")
    if value.is_quantized:
        raise ValueError(
            f"{name} is quantised, expected plain numbers: give a copy by .dequantize()"
        )
    if value.layout != torch.strided:
        raise ValueError(
            f"{name} is {value.layout}, expected a dense tensor: give it by .to_dense()"
        )
    if value.dtype in (torch.float16, torch.bfloat16):
        value = value.float()
    if value.dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"{name} has dtype {value.dtype}, expected numbers of floating point: convert it by "
            ".float()"
        )
    array: Array = value.detach().resolve_neg().numpy()
    return array


def kinds_of(values: Iterable[Any]) -> set[str]:
    """Return the types of the numbers of tensors or arrays: float16, bfloat16, float32."""
    return {str(value.dtype).removeprefix("torch.") for value in values}


def hint_of(torch: Any, value: Any) -> str:
    """Return what to give instead of what PyTorch has made of a float module."""
    if "quantized" in kind_of(value) or isinstance(value, torch.ScriptObject):
        return "; quantised weights are not supported: give the float module it was made from"
    return ""


def kind_of(value: Any) -> str:
    """Return a type's name, with its module: PyTorch has several LSTM and Linear."""
    kind = type(value)
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"
