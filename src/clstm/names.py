"""Names of parameters in state dicts: ours, and those of PyTorch's LSTM, LSTMCell and Linear."""

import re
from collections.abc import Iterable, Mapping
from itertools import takewhile
from typing import Any

import numpy as np

CELL = {name: f"{name}_l0" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
"""Names of PyTorch's LSTMCell, and those of an LSTM of one layer."""

FIRST = re.compile(r"weight_ih(_l0(_reverse)?)?\Z")
"""The input matrices of a first layer."""
# What weights are computed from, in state dicts of torch.nn.utils' normalisations and pruning.
_COMPUTED = re.compile(r"(\A|\.)parametrizations\.|(weight|bias)[^.]*_(orig|mask|[guv])\Z")


def locate(
    names: Iterable[str], prefix: str = "", head: str | None = None
) -> tuple[str, str | None]:
    """Return both prefixes in full: what all names have in common may be left out.

    That is ``"module."`` of `torch.nn.DataParallel`, ``"_orig_mod."`` of `torch.compile`, or the
    place of an LSTM whose names are alone in a state dict.
    """
    every = list(names)
    if others := [name for name in every if not isinstance(name, str)]:
        raise ValueError(f"the names of a state dict must be strings, got {others[0]!r:.80}")
    common = _common(every)

    def full(start: str) -> str:
        found = any(name.startswith(start) for name in every)
        longer = any(name.startswith(common + start) for name in every)
        return common + start if longer and not found else start

    prefix, head = full(prefix), None if head is None else full(head)
    own = [name.removeprefix(prefix) for name in _below(every, prefix, head)]
    return prefix + _common(own), head


def parts_of(names: Iterable[str], prefix: str = "", head: str | None = None) -> dict[str, str]:
    """Return the full name of each parameter, by its name in a model without LSTMCells and heads.

    Parameters
    ----------
    names : iterable of str
        All names of a state dict.
    prefix, head : str
        As `locate` returns them; other names are ignored.

    Raises
    ------
    ValueError
        If the names below `head` are not those of a linear layer.
    """
    every = list(names)
    parts = {name.removeprefix(prefix): name for name in _below(every, prefix, head)}
    if parts.keys() <= CELL.keys():
        parts = {CELL[part]: name for part, name in parts.items()}
    if head is None:
        return parts
    linear = {name.removeprefix(head): name for name in every if name.startswith(head)}
    if "weight" not in linear:
        raise ValueError(f"there is no {head}weight{advice(linear)}")
    if unknown := sorted(linear.keys() - {"weight", "bias"}):
        raise ValueError(f"{head}{unknown[0]} is not a parameter of a linear layer")
    if "weight_out" in parts:
        raise ValueError(f"{head}weight would be a second readout, there is weight_out already")
    return parts | {f"{part}_out": name for part, name in linear.items()}


def with_all_biases(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arrays of an LSTM with its head; where one of both has no bias, with zeros.

    Parameters
    ----------
    state : mapping
        By the names that `parts_of` returns.
    """
    layers = any(name.startswith("bias") and name != "bias_out" for name in state)
    if layers == ("bias_out" in state):
        return dict(state)
    if layers:
        wanted = {"bias_out": "weight_out"}
    else:
        gates = [name for name in state if name.startswith("weight_ih")]
        wanted = {name.replace("weight_ih", "bias"): name for name in gates}
    zeros = {bias: np.zeros(len(state[weight])) for bias, weight in wanted.items()}
    return {**state, **zeros}


def advice(names: Iterable[str], prefix: str = "") -> str:
    """Return what to do about unknown or missing names, for a message, or an empty string."""
    every = list(names)
    found = {FIRST.sub("", name) for name in every if FIRST.search(name)}
    if found - {""}:
        return "; prefix may be " + " or ".join(sorted(repr(prefix + f) for f in found if f))
    if not any(map(_COMPUTED.search, every)):
        return ""
    return (
        "; the state dict is of a normalised or pruned module, whose weights are computed anew "
        "before each call: give the module to clstm.interop.torch.from_torch(module), or make its "
        "weights plain first, by remove_weight_norm, remove_spectral_norm, prune.remove or "
        "remove_parametrizations of torch.nn.utils"
    )


def _common(names: list[str]) -> str:
    """Return the modules that all names begin with, up to the last dot."""
    levels = zip(*(name.split(".")[:-1] for name in names), strict=False)
    same = takewhile(lambda level: len(set(level)) == 1, levels)
    return "".join(f"{level[0]}." for level in same)


def _below(names: list[str], prefix: str, head: str | None) -> list[str]:
    """Return the names below a prefix without those of the head."""
    own = [name for name in names if name.startswith(prefix)]
    return own if head is None else [name for name in own if not name.startswith(head)]
