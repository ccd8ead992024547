"""Models from arrays with PyTorch's names, or ours; names and shapes give the options."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from ..cell import Cell
from ..configuration import Configuration
from ..layout import Array
from ..lstm import LSTM
from ..names import CELL, FIRST, advice, locate, parts_of, with_all_biases

Shape = tuple[int, ...]

_LAYER = re.compile(
    r"(?P<kind>weight_ih|weight_hh|weight_hr|weight_peephole|bias_ih|bias_hh|bias)"
    r"_l(?P<layer>0|[1-9][0-9]{0,5})(?P<reverse>_reverse)?"
)
_BIASES = {"bias", "bias_ih", "bias_hh"}
_READOUT = {"weight_out", "bias_out"}
_OTHER = _READOUT | {"h0", "c0"}
_FIRST_NAMES = ("weight_ih_l0", "weight_ih_l0_reverse", "weight_ih")
_RECURRENT = ("weight_hh_l0", "weight_hh_l0_reverse", "weight_hh")
_MOST_NOTED = 20


def config_of(shapes: Mapping[str, Shape], prefix: str = "") -> dict[str, Any]:
    """Return the arguments of the `Configuration` that parameters of these shapes have.

    Parameters
    ----------
    shapes : mapping from name to shape
        With the names of PyTorch's ``LSTM`` or ``LSTMCell``, or those of `Parameters`.
    prefix : str
        Only names with this prefix are used; it is removed from them.

    Returns
    -------
    dict
        All arguments but `batch_first`, `dtype` and the functions and bounds of `cell`.

    Raises
    ------
    ValueError
        If a name is missing or unknown, or a shape does not fit the others. Arrays of shapes that
        pass are accepted by `LSTM.from_state`, and the model is no larger than the arrays.
    """
    parts = parts_of(shapes, prefix)
    return _options({part: shapes[name] for part, name in parts.items()}, prefix)


def _options(shapes: Mapping[str, Shape], prefix: str) -> dict[str, Any]:
    """Return the options of a model with these parameters; messages have the prefix."""
    places = [match for match in map(_LAYER.fullmatch, shapes) if match]
    if unknown := sorted(shapes.keys() - _OTHER - {place[0] for place in places}):
        raise ValueError(
            f"{prefix}{unknown[0]} is not a parameter of an LSTM{_advice(shapes, prefix)}"
        )
    layers = {int(place["layer"]) for place in places}
    if missing := set(range(max(len(layers), 1))) - layers:
        hint = _advice(shapes, prefix)
        raise ValueError(f"there is no {prefix}weight_ih_l{min(missing)}{hint}")
    directions = {bool(place["reverse"]) for place in places}
    kinds = {place["kind"] for place in places}
    first = "l0" if False in directions else "l0_reverse"
    options: dict[str, Any] = _sizes(shapes, first, prefix) | {
        "num_layers": len(layers),
        "bidirectional": len(directions) == 2,
        "direction": "forward" if False in directions else "reverse",
        "bias": not kinds.isdisjoint(_BIASES) or "bias_out" in shapes,
        "learn_state": "h0" in shapes,
        "cell": Cell(peephole="weight_peephole" in kinds),
    }
    _check(shapes, Configuration(**options), prefix)
    return options


def read(
    arrays: Mapping[str, Any],
    prefix: str = "",
    head: str | None = None,
    *,
    batch_first: bool = False,
    dtype: DTypeLike | None = None,
) -> LSTM:
    """Return a model with copies of arrays that have PyTorch's names, or ours.

    Parameters
    ----------
    arrays : mapping from name to ndarray
        A whole state dict.
    prefix : str
        Take only names that begin with this: ``"encoder.lstm."``. What all names have in common,
        such as ``"module."``, may be left out.
    head : str, optional
        The prefix of a linear layer that becomes the readout: ``"decoder."`` for
        ``decoder.weight`` (O, D R) and ``decoder.bias`` (O,), or without a bias.
    batch_first : bool
        Whether the model's sequences are (B, T, .).
    dtype : float32 or float64, optional
        By default float64 if all of the arrays are, else float32.

    Raises
    ------
    ValueError
        As `config_of` does; for numbers that are not real floating-point ones; for a head that is
        not there or does not fit.
    """
    prefix, head = locate(arrays, prefix, head)
    parts = parts_of(arrays, prefix, head)
    state = {part: arrays[name] for part, name in parts.items()}
    for part, array in state.items():
        if array.dtype.kind != "f":
            raise ValueError(
                f"{parts[part]} has dtype {array.dtype}, expected floating-point numbers"
            )
    if head is None:
        options = _options({part: array.shape for part, array in state.items()}, prefix)
    else:
        options, state = _with_head(state, prefix, head)
    if dtype is None:
        double = all(array.dtype == np.float64 for array in state.values())
        dtype = np.float64 if double else np.float32
    config = Configuration(**options, batch_first=batch_first, dtype=np.dtype(dtype))
    return LSTM.from_state(config, state)


def recurrent(weight_ih: str) -> str:
    """Return the name of the recurrent matrix that belongs to an input matrix."""
    begin, _, end = weight_ih.rpartition("weight_ih")
    return f"{begin}weight_hh{end}"


def kind_of(shapes: Mapping[str, Sequence[int]], weight_ih: str) -> str:
    """Return the kind of layer that an input matrix belongs to: "LSTM", "GRU" or "RNN".

    PyTorch's recurrent layers have the same names. The recurrent matrix of H columns has at least
    4 H rows in an LSTM, 3 H in a GRU, and H in an RNN. Shapes that fit none are an LSTM's, and the
    reader of LSTMs says what is wrong with them.
    """
    rows, *_ = shapes[weight_ih] or (0,)
    shape = shapes.get(recurrent(weight_ih), ())
    if len(shape) != 2 or shape[0] != rows or not rows:
        return "LSTM"
    return {3 * shape[1]: "GRU", shape[1]: "RNN"}.get(rows, "LSTM")


class Found(NamedTuple):
    """The parts of a file of weights: the LSTM, the linear layer behind it, and what else it has.

    Attributes
    ----------
    prefix, head : str, str or None
        Of the LSTM's names and of those of the linear layer.
    names : list of str
        The names of both.
    others : list of str
        All other names.
    """

    prefix: str
    head: str | None
    names: list[str]
    others: list[str]


def find(
    shapes: Mapping[str, Sequence[int]], prefix: str | None = None, head: str | None = None
) -> Found:
    """Find the LSTM in a file of weights.

    Weights say nothing about what is computed. Without a prefix, the only LSTM is the model; a
    linear layer is its readout if it is the only one that takes what the LSTM gives.

    Raises
    ------
    ValueError
        If there are several LSTMs and no prefix.
    """
    if prefix is not None:
        prefix, head = locate(shapes, prefix, head)
        starts = (prefix,) if head is None else (prefix, head)
        names = [name for name in shapes if name.startswith(starts)]
        return Found(prefix, head, names, sorted(shapes.keys() - names))
    firsts = [name for name in shapes if name.rpartition(".")[2] in _FIRST_NAMES]
    prefixes = {FIRST.sub("", name) for name in firsts if kind_of(shapes, name) == "LSTM"}
    if len(prefixes) > 1:
        several = ", ".join(map(repr, sorted(prefixes)))
        raise ValueError(f"it holds several LSTMs: prefix must be one of {several}")
    prefix = min(prefixes, default="")
    names = [n for n in shapes if n.startswith(prefix) and "." not in n.removeprefix(prefix)]
    if head is None:
        head = _only_head(shapes, prefix, names)
    else:
        head = locate(shapes, prefix, head)[1]
    names += [name for name in shapes if head is not None and name.startswith(head)]
    return Found(prefix, head, names, sorted(shapes.keys() - names))


def _only_head(
    shapes: Mapping[str, Sequence[int]], prefix: str, names: Sequence[str]
) -> str | None:
    """Return the prefix of the only linear layer that takes what an LSTM gives, or None."""
    recurrents = [n for n in names if n.removeprefix(prefix) in _RECURRENT]
    width = sum(shapes[n][1] for n in recurrents if len(shapes[n]) == 2)
    parts: dict[str, set[str]] = {}
    for name in shapes.keys() - set(names):
        part, _, last = name.rpartition(".")
        parts.setdefault(part, set()).add(last)
    heads = [
        f"{part}."
        for part, ends in parts.items()
        if part and "weight" in ends <= {"weight", "bias"}
        and len(shapes[f"{part}.weight"]) == 2
        and shapes[f"{part}.weight"][1] == width
    ]  # fmt: skip
    return heads[0] if len(heads) == 1 else None


def note_others(model: LSTM, others: Sequence[str]) -> LSTM:
    """Write into a model's notes which names of a file were not read."""
    if others:
        more = [f"{len(others) - _MOST_NOTED} more"] if len(others) > _MOST_NOTED else []
        model.notes["not_read"] = [*others[:_MOST_NOTED], *more]
    return model


def _advice(shapes: Mapping[str, Shape], prefix: str) -> str:
    """Return what to do about unknown or missing names; the weights of a GRU are no LSTM's."""
    others = [n for n in shapes if FIRST.search(n) and kind_of(shapes, n) != "LSTM"]
    return advice(shapes.keys() - others, prefix)


def names_by_prefix(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the names of each LSTM's parameters by its prefix; other names are ignored."""
    found: dict[str, list[str]] = {}
    for name in sorted(names):
        last = name.rpartition(".")[2]
        if _LAYER.fullmatch(last) or last in _OTHER or last in CELL:
            found.setdefault(name.removesuffix(last), []).append(name)
    return {p: own for p, own in found.items() if any(n.startswith(p + "weight_ih") for n in own)}


def _sizes(shapes: Mapping[str, Shape], first: str, prefix: str) -> dict[str, Any]:
    """Return the sizes, from the shapes of the first layer and the readout."""

    def matrix(name: str) -> Shape:
        if name not in shapes:
            raise ValueError(f"there is no {prefix}{name}")
        if len(shapes[name]) != 2 or 0 in shapes[name]:
            raise ValueError(f"{prefix}{name} has shape {shapes[name]}, expected two axes")
        return shapes[name]

    rows, input_size = matrix(f"weight_ih_{first}")
    recurrent_size = matrix(f"weight_hh_{first}")[1]
    if (kind := kind_of(shapes, f"weight_ih_{first}")) != "LSTM":
        raise ValueError(
            f"{prefix}weight_ih_{first} has {rows} rows, expected four blocks of equal size: "
            f"{prefix}weight_hh_{first} {shapes[f'weight_hh_{first}']} is a {kind}'s"
        )
    if rows % 4:
        raise ValueError(
            f"{prefix}weight_ih_{first} has {rows} rows, expected four blocks of equal size"
        )
    hidden_size, projected = rows // 4, f"weight_hr_{first}" in shapes
    if recurrent_size >= hidden_size if projected else recurrent_size != hidden_size:
        expected = f"fewer than {hidden_size}" if projected else hidden_size
        raise ValueError(
            f"{prefix}weight_hh_{first} has shape {shapes[f'weight_hh_{first}']}, expected "
            f"({rows}, {expected})"
        )
    return {
        "input_size": input_size,
        "hidden_size": hidden_size,
        "proj_size": recurrent_size if projected else 0,
        "output_size": matrix("weight_out")[0] if "weight_out" in shapes else None,
    }


def _check(shapes: Mapping[str, Shape], config: Configuration, prefix: str) -> None:
    """Raise unless these are exactly the parameters of a model, each bias one or a pair."""
    expected: dict[str, Shape] = {}
    for name, shape, _ in config.parameter_table()[0]:
        if name.startswith("bias_l") and name not in shapes:
            place = name.removeprefix("bias_")
            expected |= {f"bias_ih_{place}": shape, f"bias_hh_{place}": shape}
        else:
            expected[name] = shape
    for name, shape in expected.items():
        if name not in shapes:
            raise ValueError(f"there is no {prefix}{name}")
        if tuple(shapes[name]) != shape:
            raise ValueError(f"{prefix}{name} has shape {tuple(shapes[name])}, expected {shape}")
    if unknown := sorted(shapes.keys() - expected.keys()):
        raise ValueError(f"{prefix}{unknown[0]} does not fit the other parameters")


def _with_head(
    state: dict[str, Array], prefix: str, head: str
) -> tuple[dict[str, Any], dict[str, Array]]:
    """Return options and arrays of a model whose readout is a linear layer."""
    layers = {part: array.shape for part, array in state.items() if part not in _READOUT}
    options = _options(layers, prefix)
    width = Configuration(**options).width
    weight, bias = state["weight_out"], state.get("bias_out")
    if weight.ndim != 2 or weight.shape[0] == 0 or weight.shape[1] != width:
        raise ValueError(f"{head}weight has shape {weight.shape}, expected (O, {width})")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"{head}bias has shape {bias.shape}, expected {weight.shape[:1]}")
    options["output_size"] = len(weight)
    options["bias"] = options["bias"] or bias is not None
    return options, with_all_biases(state)
