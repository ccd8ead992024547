"""Files of `torch.save`: written by PyTorch, and read without it and without running anything."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from ...layout import Array
from ...lstm import LSTM as Model
from ...names import FIRST
from ...parameters import listed
from .. import torch_names
from ..budget import Budget
from ..errors import naming
from .archive import Archive
from .convert import import_torch, to_torch
from .pickles import Object, Symbol, Tensor

_MODULES = ("torch.nn.modules.rnn.LSTM", "torch.nn.modules.rnn.LSTMCell")
_HOOKS = ("_forward_hooks", "_forward_pre_hooks")


def save(lstm: Model, path: str | os.PathLike[str]) -> None:
    """Write a state dict by `torch.save`: that of the `torch.nn.LSTM` which `to_torch` makes.

    With a readout the names are ``lstm.weight_ih_l0``, ..., ``head.weight`` and ``head.bias``.
    `load` reads both forms. A state dict does not hold `batch_first`.

    Raises
    ------
    ValueError
        As `to_torch` does.
    """
    module, head = to_torch(lstm)
    state = module.state_dict()
    if head is not None:
        parts = {"lstm": state, "head": head.state_dict()}
        state = {
            f"{part}.{n}": value for part, values in parts.items() for n, value in values.items()
        }
    import_torch().save(dict(state), path)


def load(
    path: str | os.PathLike[str],
    head: str | None = None,
    *,
    prefix: str | None = None,
    key: str | None = None,
    batch_first: bool | None = None,
    dtype: DTypeLike | None = None,
) -> Model:
    """Read a file of `torch.save`: a state dict, or a whole `torch.nn.LSTM` or `LSTMCell`.

    PyTorch is not needed, and nothing in the file is run: its pickle is only interpreted as far as
    it describes tensors.

    Parameters
    ----------
    path : str or path
        In the format of PyTorch 1.6 and later, with numbers of float16, bfloat16, float32 or
        float64.
    head, prefix : str, optional
        As in `from_torch`. Without a prefix the file must hold one LSTM; the only linear layer
        that takes what the LSTM gives becomes the head. Weights say nothing else about what is
        computed: all other names stand in ``notes["not_read"]``. A GRU or RNN is another layer;
        its shapes tell it apart.
    key : str, optional
        Of a checkpoint, the place of the state dict: ``"model.state_dict"``. By default the only
        mapping at any depth that has the names of an LSTM.
    batch_first, dtype
        As in `from_torch`; float16 and bfloat16 become float32 by default.

    Raises
    ------
    ValueError
        For any other file, and as `from_torch` does; the message names the file.
    OSError
        If it cannot be read.
    """
    budget = Budget.of(path)
    with open(path, "rb") as file, naming(path, ArithmeticError, MemoryError):
        with Archive(file, budget) as archive:
            tensors, first = _named(_chosen(archive.content(), key))
            found = torch_names.find({n: _shape(t) for n, t in tensors.items()}, prefix, head)
            arrays = {name: _array(archive, name, tensors[name]) for name in found.names}
        if dtype is None:
            _check_one_dtype(arrays)
        chosen = first if batch_first is None else batch_first
        model = torch_names.read(arrays, found.prefix, found.head, batch_first=chosen, dtype=dtype)
        return torch_names.note_others(model, found.others)


def _chosen(content: Any, key: str | None) -> Any:
    """Return the state dict of a checkpoint that has an LSTM: the only one, or by key."""
    if not isinstance(content, dict):
        if key is not None:
            raise ValueError(f"it holds {_kind(content)}, which has no key {key!r:.80}")
        return content
    found = dict(_state_dicts(content))
    if key is not None:
        if key not in found:
            known = f"there are: {listed(found)}" if found else "there are none"
            raise ValueError(f"key {key!r:.80} is no state dict with an LSTM, {known}")
        return found[key]
    if len(found) > 1:
        several = " or ".join(repr(name) for name in found)
        raise ValueError(f"it holds several state dicts: key must be {several}")
    return next(iter(found.values()), content)


def _state_dicts(content: dict[Any, Any]) -> Iterator[tuple[str, Any]]:
    """Yield each mapping with the names of an LSTM, and its place: ``model.state_dict``.

    A mapping that a file holds in many places is looked at once.
    """
    seen, waiting = {id(content)}, [("", content)]
    while waiting:
        place, values = waiting.pop()
        named = {n: _shape(v) for n, v in values.items() if isinstance(n, str) and _is_tensor(v)}
        if any(FIRST.search(n) and torch_names.kind_of(named, n) == "LSTM" for n in named):
            yield place, values
            continue
        for name, value in reversed(values.items()):
            if isinstance(value, dict) and isinstance(name, str) and id(value) not in seen:
                seen.add(id(value))
                waiting.append((f"{place}.{name}" if place else name, value))


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _named(content: Any) -> tuple[Mapping[str, Any], bool]:
    """Return what a file holds by name, and whether sequences are (B, T, .)."""
    if isinstance(content, dict):
        if any(not isinstance(name, str) for name in content):
            raise ValueError("it is not a state dict: some keys are not strings")
        return content, False
    if not isinstance(content, Object) or content.maker not in _MODULES:
        raise ValueError(
            f"it holds {_kind(content)}, expected model.state_dict() alone, or a torch.nn.LSTM"
        )
    module = content.state
    if not content.is_instance or not isinstance(module, dict):
        raise ValueError(f"it calls {content.maker}, which would draw weights: it holds none")
    if hooks := [name for name in _HOOKS if module.get(name)]:
        raise ValueError(f"its module has {hooks[0]}: write its state dict, which has none")
    tensors = module.get("_parameters")
    if not isinstance(tensors, dict) or any(not isinstance(name, str) for name in tensors):
        raise ValueError(f"it holds a {content.maker} without parameters")
    given = {name: value for name, value in tensors.items() if value is not None}
    return given, module.get("batch_first") is True


def _kind(value: Any) -> str:
    """Return the type of a value, for messages."""
    if isinstance(value, Object):
        return value.maker
    return f"the name {value.name}" if isinstance(value, Symbol) else type(value).__name__


def _array(archive: Archive, name: str, value: Any) -> Array:
    if not isinstance(value, Tensor):
        raise ValueError(
            f"{name} is {_kind(value)}, expected a tensor. If the checkpoint holds more than a "
            "state dict, give the state dict to from_torch"
        )
    try:
        return archive.array(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _check_one_dtype(arrays: Mapping[str, Array]) -> None:
    first = next(iter(arrays), "")
    for name, array in arrays.items():
        if (array.dtype == np.float64) != (arrays[first].dtype == np.float64):
            raise ValueError(
                f"{name} has dtype {array.dtype}, {first} {arrays[first].dtype}: choose one "
                "by dtype="
            )


def _shape(value: Any) -> tuple[int, ...]:
    """Return a tensor's shape as the file claims it; an empty one for what has none."""
    shape = value.shape if isinstance(value, Tensor) else ()
    fits = isinstance(shape, tuple) and len(shape) <= 2 and all(type(n) is int for n in shape)
    return shape if fits else ()
