"""Whether PyTorch computes operations alone, or something records or replaces them.

A recorder sees PyTorch's operations only, so what clstm computes would become a constant in its
result. PyTorch has four places for one:

- keys of its dispatcher, of a tensor or a thread: jit.trace, make_fx, torch.export, torch.func,
  dispatch modes, and tensors that are fake, meta, sparse, quantised, batched or negated lazily;
- `__torch_function__`, of a tensor's class or of a mode;
- Dynamo, which reads bytecode: torch.compile and torch.export;
- levels of forward-mode differentiation.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch.autograd import forward_ad
from torch.overrides import _get_current_function_mode_stack
from torch.utils._device import DeviceContext

_PLAIN_TYPES = {torch.Tensor, torch.nn.Parameter}
# The module itself refuses tensors on these devices, except for the CPU, with a message of its own.
_DEVICES = ("CPU", "CUDA", "XPU", "MPS", "HPU", "XLA", "PrivateUse1")


def _mask(names: Iterable[str]) -> int:
    """Return the bits of dispatch keys."""
    bits = 0
    for name in names:
        bits |= torch._C.DispatchKeySet(getattr(torch._C.DispatchKey, name)).raw_repr()
    return bits


# Autocast does not record. It chooses a dtype, which the module leaves as it is.
_PLAIN = _mask(
    ["BackendSelect", "ADInplaceOrView", "AutocastCPU", *_DEVICES]
    + [f"Autograd{device}" for device in _DEVICES]
)


def recorder(values: Iterable[Any]) -> str | None:
    """Return what records or replaces operations on these tensors, for a message, or None.

    Parameters
    ----------
    values : iterable of tensors
        What is no tensor counts as a stand-in for one.
    """
    if torch.compiler.is_compiling():  # first: Dynamo cannot read what follows
        return "torch.compile or torch.export"
    excluded = torch._C._dispatch_tls_local_exclude_set().raw_repr()
    found = torch._C._dispatch_tls_local_include_set().raw_repr()
    for value in values:
        if type(value) not in _PLAIN_TYPES:
            return f"{type(value).__module__}.{type(value).__qualname__}"
        found |= torch._C._dispatch_keys(value).raw_repr()
    if others := found & ~excluded & ~_PLAIN:
        return str(torch._C.DispatchKeySet.from_raw_repr(others)).replace(
            "DispatchKeySet", "dispatch keys "
        )
    if forward_ad._current_level >= 0:
        return "forward-mode differentiation"
    for mode in _get_current_function_mode_stack():
        if type(mode) is not DeviceContext:  # of torch.set_default_device: for new tensors only
            return type(mode).__qualname__
    return None
