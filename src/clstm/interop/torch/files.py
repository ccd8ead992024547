"""PyTorch's files: written by it, and read without it and without running anything."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike

from ...layout import Array
from ...lstm import LSTM as Model
from ...names import FIRST
from ...parameters import listed
from ...sequential import Sequential
from .. import torch_names
from ..budget import Budget
from ..errors import naming
from ..half import noted
from . import arrays as numpy_arrays
from . import modules, script
from .archive import Archive
from .arrays import Plain
from .convert import import_torch, to_torch
from .pickled import Pickled, is_module, tensors_of
from .pickles import Object, Symbol, Tensor

_DEEPEST = 100  # mappings in mappings


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
) -> Model | Sequential:
    """Read a file of `torch.save` or `torch.jit.save`: a state dict, a whole module, TorchScript.

    A dictionary of NumPy arrays, written by `pickle.dump`, is a state dict, too.

    PyTorch is not needed, and nothing in the file is run: its pickle is only interpreted as far as
    it describes tensors and modules, and TorchScript's code as far as it says what becomes of x.

    Parameters
    ----------
    path : str or path
        In the format of PyTorch 1.6 and later, with tensors or NumPy arrays of float16, bfloat16,
        float32 or float64.
    head, prefix : str, optional
        As in `from_torch`: the weights of one LSTM are read by their names, and of one linear
        layer, whatever the file says about the rest. Of a state dict without a prefix, the file
        must hold one LSTM; the only linear layer that takes what the LSTM gives becomes the head.
        Weights say nothing else about what is computed: all other names stand in
        ``notes["not_read"]``. A GRU or RNN is another layer; its shapes tell it apart.
    key : str, optional
        Of a checkpoint, the place of the state dict or module: ``"model.state_dict"``. By default
        the only mapping at any depth that has the names of an LSTM.
    batch_first, dtype
        As in `from_torch`; by default what a module or TorchScript says. float16 and bfloat16
        become float32 by default, and stand in ``notes["stored_as"]``.

    Returns
    -------
    LSTM or Sequential
        A whole module is an `nn.LSTM`, an `nn.LSTMCell`, or an `nn.Sequential` of Embedding,
        Linear, Dropout, Tanh, Sigmoid, ReLU, ELU and Softmax that ends with an LSTM. TorchScript is
        any module whose `forward` sends x through such layers, in whatever classes; also y at the
        last step, h of the last layer, sums with what an LSTM takes, products with numbers, and
        initial states that are zeros or parameters.

    Raises
    ------
    ValueError
        For any other file, and as `from_torch` does; the message names the file, and of
        TorchScript the line of its code.
    OSError
        If it cannot be read.
    """
    budget = Budget.of(path)
    with open(path, "rb") as file, naming(path, ArithmeticError, MemoryError):
        with _opened(file, budget) as archive:
            by_name = prefix is not None or head is not None
            if isinstance(archive, Archive) and archive.is_script and not by_name and key is None:
                options = {"batch_first": batch_first, "dtype": dtype}
                return noted(script.model_of(archive, budget, options), archive.kinds)
            content = _chosen(archive.content(), key)
            if is_module(content) and not archive.is_script and not by_name:
                tree = Pickled(content, partial(_array, archive, budget), budget)
                return noted(modules.model_of(tree, batch_first, dtype), archive.kinds)
            tensors = _named(content, archive.is_script)
            found = torch_names.find({n: _shape(t) for n, t in tensors.items()}, prefix, head)
            arrays = {name: _array(archive, budget, name, tensors[name]) for name in found.names}
        if dtype is None:
            _check_one_dtype(arrays)
        model = torch_names.read(
            arrays, found.prefix, found.head, batch_first=bool(batch_first), dtype=dtype
        )
        return noted(torch_names.note_others(model, found.others), archive.kinds)


def read(
    path: str | os.PathLike[str],
    *,
    batch_first: bool | None = None,
    dtype: DTypeLike | None = None,
) -> Sequential:
    """Read a file as `load` does, always as a Sequential."""
    model = load(path, batch_first=batch_first, dtype=dtype)
    if isinstance(model, Sequential):
        return model
    return Sequential([model], batch_first=model.batch_first, notes=model.notes)


def _opened(file: BinaryIO, budget: Budget) -> AbstractContextManager[Archive | Plain]:
    """Return what reads a file: an archive, or a pickle alone."""
    start = file.read(2)
    file.seek(0)
    if start[:1] != b"\x80":
        return Archive(file, budget)
    return nullcontext(Plain(file.read(), budget))


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
    """Yield each mapping with the names of an LSTM, and its place: ``models.0.state_dict``.

    A mapping that a file holds in many places is looked at once.
    """
    seen: set[int] = {id(content)}
    waiting: list[tuple[str, Any]] = [("", content)]
    while waiting:
        place, values = waiting.pop()
        if place.count(".") > _DEEPEST:
            raise ValueError("its mappings and lists are nested too deeply")
        named = {}
        if isinstance(values, dict):
            named = {n: _shape(v) for n, v in _parts(values) if _is_tensor(v)}
        if any(FIRST.search(n) and torch_names.kind_of(named, n) == "LSTM" for n in named):
            yield place, values
            continue
        for name, value in reversed(list(_parts(values))):
            if isinstance(value, (dict, list, tuple)) and id(value) not in seen:
                seen.add(id(value))
                waiting.append((f"{place}.{name}" if place else name, value))


def _parts(values: Any) -> Iterable[tuple[str, Any]]:
    """Return what a mapping holds by strings, or a list or tuple by numbers."""
    if isinstance(values, dict):
        return ((name, value) for name, value in values.items() if isinstance(name, str))
    return ((str(k), value) for k, value in enumerate(values))


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) or numpy_arrays.is_array(value)


def _named(content: Any, is_script: bool) -> Mapping[str, Any]:
    """Return what a file holds by name."""
    if is_script and isinstance(content, Object):
        return script.tensors_of(content)
    if is_module(content):
        return tensors_of(content)
    if not isinstance(content, dict):
        raise ValueError(
            f"it holds {_kind(content)}, expected model.state_dict() alone, a torch.nn.LSTM, or an "
            f"nn.Sequential that ends with one: {modules.SAVE_INSTEAD}"
        )
    if any(not isinstance(name, str) for name in content):
        raise ValueError("it is not a state dict: some keys are not strings")
    return content


def _kind(value: Any) -> str:
    """Return the type of a value, for messages."""
    if isinstance(value, Object):
        return value.maker
    return f"the name {value.name}" if isinstance(value, Symbol) else type(value).__name__


def _array(archive: Archive | Plain, budget: Budget, name: str, value: Any) -> Array:
    if not _is_tensor(value):
        raise ValueError(
            f"{name} is {_kind(value)}, expected a tensor. If the checkpoint holds more than a "
            "state dict, give the state dict to from_torch"
        )
    try:
        if isinstance(value, Tensor):
            return archive.array(value)
        array = numpy_arrays.numbers_of(value, budget)
        archive.kinds.add(array.dtype.name)
        return array
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
    shape: Any = ()
    if _is_tensor(value):
        shape = value.shape if isinstance(value, Tensor) else numpy_arrays.shape_of(value)
    fits = isinstance(shape, tuple) and len(shape) <= 2 and all(type(n) is int for n in shape)
    return shape if fits else ()
