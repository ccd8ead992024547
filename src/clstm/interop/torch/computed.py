"""The weights that the next call of a PyTorch module computes with.

They need not be what the module stores: weight normalisation, spectral normalisation and pruning
compute a weight anew before each call, by a hook or by a parametrization. What cannot be known to
compute as PyTorch's own class is refused: another `forward`, and unknown hooks.
"""

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch.nn.utils import parametrize
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from .module import LSTM

# Methods that decide what a call computes; a subclass may have others of its own.
_CALL = ("__call__", "_call_impl", "forward", "permute_hidden", "_update_flat_weights")
_KNOWN_HOOKS = (WeightNorm, SpectralNorm, BasePruningMethod)
_BASES: tuple[type[torch.nn.Module], ...] = (
    *(torch.nn.LSTM, torch.nn.LSTMCell, torch.nn.Linear, torch.nn.Embedding, torch.nn.Sequential),
    *(torch.nn.Tanh, torch.nn.Sigmoid, torch.nn.ReLU, torch.nn.ELU, torch.nn.Softmax),
    *(torch.nn.Dropout, torch.nn.Dropout1d, torch.nn.Dropout2d, torch.nn.Dropout3d),
    *(torch.nn.AlphaDropout, torch.nn.FeatureAlphaDropout, torch.nn.Identity),
    torch.nn.DataParallel,
)


def weights_of(module: torch.nn.Module, names: Iterable[str], what: str) -> dict[str, Any]:
    """Return the tensors by name. The module, its buffers and PyTorch's generator stay unchanged.

    Parameters
    ----------
    module : torch.nn.LSTM, torch.nn.LSTMCell, torch.nn.Linear or torch.nn.Embedding
    names : iterable of str
        Of the weights, in the order in which a call reads them.
    what : str
        Names the module in messages.

    Raises
    ------
    ValueError
        If the module may compute something else than its class in PyTorch.
    """
    check(module, what)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        twin = _twin(module)
        for hook in twin._forward_pre_hooks.values():
            hook(twin, ())
        if isinstance(twin, torch.nn.LSTM):
            twin._update_flat_weights()
            return dict(zip(names, twin._flat_weights, strict=True))
        return {name: getattr(twin, name) for name in names}


def base_of(module: torch.nn.Module) -> type[torch.nn.Module] | None:
    """Return the class of PyTorch that a module is one of, None if it is none that is known."""
    return next((base for base in _BASES if isinstance(module, base)), None)


def check(module: torch.nn.Module, what: str) -> None:
    """Raise ValueError if the module may compute something else than its class in PyTorch."""
    _check_call(module, what)
    _check_hooks(module, what)


def _twin(module: torch.nn.Module) -> torch.nn.Module:
    """Return a copy with the same parameters, if reading the weights may change the module.

    Power iterations of spectral normalisation change its buffers.
    """
    if not (module._forward_pre_hooks or parametrize.is_parametrized(module)):
        return module
    if parametrize._cache_enabled:  # the next call reads what is cached for this module
        return module
    # Weights that hooks have set are results of autograd, which deepcopy refuses.
    tensors = [*vars(module).values(), *getattr(module, "_flat_weights", ())]
    kept = [t for t in tensors if isinstance(t, torch.Tensor) and not t.is_leaf]
    memo = {id(tensor): tensor.detach() for tensor in kept}
    return copy.deepcopy(module, memo | {id(p): p for p in module.parameters()})


def _check_call(module: torch.nn.Module, what: str) -> None:
    """Raise if the class or the object has another `forward` than PyTorch's."""
    base = base_of(module)
    assert base is not None
    kinds = (base, LSTM) if base is torch.nn.LSTM else (base,)
    for name in _CALL:
        known = [getattr(kind, name, None) for kind in kinds]
        if name in vars(module) or getattr(type(module), name, None) not in known:
            raise ValueError(
                f"{what} is a {type(module).__module__}.{type(module).__qualname__} with {name} "
                f"of its own, expected one that computes as torch.nn.{base.__name__}: if its "
                f"weights are meant alone, give a torch.nn.{base.__name__} that has loaded its "
                "state_dict()"
            )


def _check_hooks(module: torch.nn.Module, what: str) -> None:
    """Raise if a hook that may change what a call computes is not one of PyTorch's own."""
    pre = [h for h in module._forward_pre_hooks.values() if not isinstance(h, _KNOWN_HOOKS)]
    for hook in (*pre, *module._forward_hooks.values()):
        name = getattr(hook, "__qualname__", type(hook).__qualname__)
        raise ValueError(
            f"{what} has the forward hook {name}, which may change its results: call remove() of "
            "the handle that registering it returned, or give a module without it that has loaded "
            "its state_dict()"
        )
