"""Plain dicts of arrays: what an optimiser trains beside models, and gradients of the same form."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from .layout import Array, as_array, refuse_mask
from .parameters import listed


def names_of(arrays: Mapping[Any, Any], kind: str) -> list[str]:
    """Return the keys of a dict; raise unless they are names, of one array at least."""
    names = list(arrays)
    if not names:
        raise ValueError(f"{kind} must hold at least one array, got an empty dict")
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"the keys of {kind} must be strings, got {name!r:.80}")
    return names


def own_arrays(arrays: Any, kind: str, names: Collection[str]) -> list[Array]:
    """Return the arrays of a dict in the order of names: those themselves, which will be written.

    `kind` is what messages call the dict: ``parameters``, ``grad``, ``m``, ...
    """
    # No other mapping: NumPy's NpzFile, for example, makes a new array at each access.
    if not isinstance(arrays, dict):
        raise TypeError(f"{kind} must be a dict of arrays, got {type(arrays).__name__}")
    _check_names(arrays, kind, names, ())
    values = [arrays[name] for name in names]
    return [
        value if type(value) is np.ndarray else _in_place(value, kind, name)
        for name, value in zip(names, values, strict=True)
    ]


def _in_place(value: Any, kind: str, name: str) -> Array:
    """Return an array of a subclass as one of ndarray itself, of the same memory."""
    refuse_mask(value, _place(kind, name))
    if not isinstance(value, np.ndarray):
        got = type(value).__name__
        hint = f": np.array({value!r:.40})" if isinstance(value, (float, np.floating)) else ""
        raise TypeError(f"{_place(kind, name)} must be a NumPy array, got {got}{hint}")
    return np.asarray(value)


def gradients(grad: Any, names: Collection[str], frozen: Collection[str]) -> list[Array | None]:
    """Return a gradient for each name, in this order; a frozen array needs none, and has None."""
    by_name = getattr(grad, "parameters", grad)  # of Gradients
    if not isinstance(by_name, Mapping):
        kind = type(grad).__name__
        raise TypeError(f"grad must be a dict of arrays, like the parameters, not {kind}")
    _check_names(by_name, "grad", names, frozen)
    values = [None if name in frozen else by_name[name] for name in names]
    return [
        value
        if name in frozen or type(value) is np.ndarray
        else as_array(value, _place("grad", name))
        for name, value in zip(names, values, strict=True)
    ]


def _place(kind: str, name: str) -> str:
    return f"{kind}[{name!r:.80}]"


def _check_names(
    arrays: Mapping[Any, Any], kind: str, names: Collection[str], optional: Collection[str]
) -> None:
    if unknown := [name for name in arrays if name not in names]:
        raise KeyError(f"{kind} has {unknown[0]!r:.80}, expected only {listed(names)}")
    if missing := [name for name in names if name not in arrays and name not in optional]:
        raise KeyError(f"{kind} lacks {missing[0]!r:.80}, expected {listed(names)}")
