"""Whole modules of PyTorch, live ones and pickled ones, as layers: what each of them computes.

A `Tree` says what a module is without calling it: an `nn.LSTM`, an `nn.LSTMCell`, or an
`nn.Sequential` of known layers with an LSTM at the end. PyTorch's LSTM gives a tuple, which no
other layer takes.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike

from ...layers import Dense, Embedding
from ...layout import Array
from ...lstm import LSTM
from ...sequential import Sequential
from .. import torch_names
from ..layers import as_model, merged

NN = "torch.nn.modules."
LSTM_KINDS = (f"{NN}rnn.LSTM", "clstm.interop.torch.module.LSTM")
CELL = f"{NN}rnn.LSTMCell"
SEQUENTIAL = f"{NN}container.Sequential"
EMBEDDING = f"{NN}sparse.Embedding"
_LINEAR = (f"{NN}linear.Linear", f"{NN}linear.NonDynamicallyQuantizableLinear")
_ACTIVATIONS = {
    f"{NN}activation.{name}": name.lower() for name in ("Tanh", "Sigmoid", "ReLU", "ELU", "Softmax")
}
_DROPOUTS = (
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "AlphaDropout",
    "FeatureAlphaDropout",
)
_NOTHING = (f"{NN}linear.Identity", *(f"{NN}dropout.{name}" for name in _DROPOUTS))
_WRAPPER = "torch.nn.parallel.data_parallel.DataParallel"
KINDS = (
    *(*LSTM_KINDS, CELL, SEQUENTIAL, EMBEDDING, _WRAPPER),
    *(*_LINEAR, *_ACTIVATIONS, *_NOTHING),
)
"""The classes that are known, by their full names."""

SAVE_INSTEAD = (
    "save its state_dict(), or all of it by torch.jit.script or torch.jit.trace; prefix= reads the "
    "weights of one LSTM inside of it alone"
)


class Tree(Protocol):
    """A module, without a call of it."""

    kind: str
    """The full name of its class in PyTorch."""

    def option(self, name: str) -> Any:
        """Return an attribute that is no tensor and no module, None if there is none."""

    def arrays(self) -> dict[str, Array]:
        """Return its own parameters by name, without those that are None."""

    def children(self) -> Sequence[tuple[str, "Tree"]]:
        """Return the modules inside of it by name."""

    def check(self, place: str) -> None:
        """Raise ValueError if it may compute something else than its class does."""


def model_of(
    tree: Tree,
    batch_first: bool | None = None,
    dtype: DTypeLike | None = None,
    more: Sequence[Any] = (),
) -> LSTM | Sequential:
    """Return what a module computes, followed by further layers.

    Raises ValueError, which names the module by its place, for what is not known.
    """
    parts = list(_parts(tree, ""))
    if not parts or parts[-1][1].kind not in (*LSTM_KINDS, CELL):
        raise ValueError(f"its last layer is no LSTM{_hint(parts)}")
    for place, part in parts[:-1]:
        if part.kind in (*LSTM_KINDS, CELL):
            raise ValueError(
                f"{place} is an LSTM before the last layer: it gives a tuple, with which PyTorch's "
                f"Sequential fails. Of a module that takes y out of it, {SAVE_INSTEAD}"
            )
    if parts[-1][1].kind == CELL and len(parts) > 1:
        raise ValueError(f"{parts[-1][0]} is an LSTMCell, which computes one step of a sequence")
    arrays = [(place, part, part.arrays()) for place, part in parts]
    kind = np.dtype(_dtype_of(arrays) if dtype is None else dtype)
    layers = [_layer(place, part, own, kind) for place, part, own in arrays]
    first = parts[-1][1].option("batch_first") is True if batch_first is None else batch_first
    return as_model(merged([*layers, *more]), None, first)


def _parts(tree: Tree, place: str) -> Iterator[tuple[str, Tree]]:
    """Yield the layers of a module in the order of computation, but those that change nothing."""
    if tree.kind not in KINDS:
        what = f"{place} is" if place else "it holds"
        raise ValueError(f"{what} {tree.kind}, which clstm does not know: {SAVE_INSTEAD}")
    tree.check(place or "the module")
    if tree.kind in (SEQUENTIAL, _WRAPPER):
        for name, child in tree.children():
            yield from _parts(child, f"{place}.{name}" if place else name)
    elif tree.kind not in _NOTHING:
        yield place, tree


def _hint(parts: Sequence[tuple[str, Tree]]) -> str:
    return f", it is {parts[-1][0] or 'a'} {parts[-1][1].kind}" if parts else ""


def _dtype_of(parts: Sequence[tuple[str, Tree, Mapping[str, Array]]]) -> np.dtype[Any]:
    """Return the type of all numbers; half precision becomes float32."""
    kinds = {
        f"{place}.{name}".lstrip("."): array.dtype
        for place, _, arrays in parts
        for name, array in arrays.items()
    }
    first = next(iter(kinds), "")
    for name, kind in kinds.items():
        if (kind == np.float64) != (kinds[first] == np.float64):
            raise ValueError(
                f"{name} has dtype {kind}, {first} {kinds[first]}: choose one by dtype="
            )
    return np.dtype(np.float64 if kinds and kinds[first] == np.float64 else np.float32)


# ---- Layers ----


def _layer(place: str, part: Tree, arrays: dict[str, Array], dtype: np.dtype[Any]) -> Any:
    """Return a module as a layer."""
    start = f"{place}." if place else ""
    if part.kind in (*LSTM_KINDS, CELL):
        named = {start + name: array for name, array in arrays.items()}
        lstm = torch_names.read(named, start, dtype=dtype)
        _check_options(part, place, lstm)
        return lstm
    if part.kind == EMBEDDING:
        return _embedding(part, place, _matrix(arrays, place, dtype))
    if part.kind in _LINEAR:
        weight, bias = _matrix(arrays, place, dtype), arrays.get("bias")
        _check(part, place, in_features=weight.shape[1], out_features=len(weight))
        return Dense(weight, None if bias is None else bias.astype(dtype, copy=False))
    return _activation(part, place)


def _matrix(arrays: Mapping[str, Array], place: str, dtype: np.dtype[Any]) -> Array:
    weight = arrays.get("weight")
    if weight is None or weight.ndim != 2:
        raise ValueError(f"{place} has no weight of two axes")
    return weight.astype(dtype, copy=False)


def _embedding(part: Tree, place: str, weight: Array) -> Embedding:
    if part.option("max_norm") is not None:
        raise ValueError(f"{place} has max_norm, by which a call changes its weight")
    _check(part, place, num_embeddings=len(weight), embedding_dim=weight.shape[1])
    return Embedding(weight)


def _activation(part: Tree, place: str) -> Dense:
    name = _ACTIVATIONS[part.kind]
    if name == "elu" and part.option("alpha") != 1:
        raise ValueError(f"{place} has alpha={part.option('alpha')!r:.20}, expected 1")
    if name == "softmax" and part.option("dim") not in (-1, 2):
        raise ValueError(
            f"{place} has dim={part.option('dim')!r:.20}, expected -1 or 2, the features"
        )
    return Dense(activation=name)


def _check_options(part: Tree, place: str, lstm: LSTM) -> None:
    """Raise if a module says another size or option than its weights."""
    options = {"input_size": lstm.input_size, "hidden_size": lstm.hidden_size}
    if part.kind != CELL:
        options |= {
            "num_layers": lstm.num_layers,
            "bidirectional": lstm.bidirectional,
            "proj_size": lstm.proj_size,
        }
    _check(part, place, **options)


def _check(part: Tree, place: str, **expected: int) -> None:
    for name, value in expected.items():
        given = part.option(name)
        if given != value and not (name == "proj_size" and given is None):  # before PyTorch 1.8
            raise ValueError(
                f"{place or 'the module'} has {name}={given!r:.20}, its weights {value}"
            )
