"""Weights that live in PyTorch, as a clstm model; forward and backward of a pass on it.

Sequences are (T, B, .) here.
"""

import ctypes
from collections.abc import Iterable
from typing import Any
from weakref import WeakSet

import numpy as np
import torch
from torch import Tensor

from ... import _core
from ...configuration import Configuration
from ...layout import Array
from ...parameters import Parameters

Inputs = tuple[Array, tuple[Array, Array] | None, Array | None, Array | None]
"""x, the state, lengths and dropout masks, as the core takes them."""
Outer = tuple[Array | None, Array | None, Array | None]
"""Gradients of y, h and c; None for zero."""

_memcmp = ctypes.CDLL(None).memcmp
_memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)


def inputs_of(
    x: Tensor, h0: Tensor | None, c0: Tensor | None, lengths: Array | None, masks: Array | None
) -> Inputs:
    state = None if h0 is None or c0 is None else (array_of(h0), array_of(c0))
    return array_of(x), state, lengths, masks


def array_of(tensor: Tensor) -> Array:
    """Return a tensor's own memory, or that of a contiguous copy."""
    array: Array = tensor.detach().contiguous().numpy()
    return array


class _Pass:
    """A recorded pass; its tape can be used once."""

    __slots__ = ("__weakref__", "recording")

    def __init__(self, recording: _core.Recording) -> None:
        self.recording: _core.Recording | None = recording


class Weights:
    """A clstm model of weights that live in PyTorch, and the passes that run on it.

    Parameters
    ----------
    config : Configuration
    names : iterable of str
        PyTorch's names of the weights, in the order in which every call gives the tensors.
    """

    def __init__(self, config: Configuration, names: Iterable[str]) -> None:
        self.dtype: torch.dtype = getattr(torch, config.dtype.name)
        self._config = config
        self._names = tuple(names)
        self._table, size = config.parameter_table()
        self._flat = np.empty(size, config.dtype)
        ours = Parameters(self._table, self._flat)
        # The content of the model by tensor: views of the flat array, except for the two biases.
        self._known = [
            np.empty_like(ours[_ours(name)]) if name.startswith("bias") else ours[name]
            for name in self._names
        ]
        self._places = [(known.ctypes.data, known.nbytes) for known in self._known]
        known = dict(zip(self._names, self._known, strict=True))
        self._biases = [
            (ours[_ours(name)], known[name], known[name.replace("_ih_", "_hh_")])
            for name in self._names
            if name.startswith("bias_ih")
        ]
        self._model: _core.Model | None = None
        self._passes: WeakSet[_Pass] = WeakSet()  # those that need the present weights
        self._current = False  # whether the model has the content of `_known`
        self._lock = _core.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return Weights, (self._config, self._names)  # copies make models of their own

    def _model_of(self, parameters: Any) -> _core.Model:
        """Return a model with these weights.

        Their content is compared: PyTorch's version counters miss changes through ``.data``.
        """
        for name, tensor, known in zip(self._names, parameters, self._known, strict=True):
            if tensor.shape != known.shape:
                raise ValueError(f"{name} has shape {tuple(tensor.shape)}, expected {known.shape}")
        with _core.Turn(self._lock):
            model = self._model
            if model is not None and self._current and all(map(_same, parameters, self._places)):
                return model
            # If a signal handler raises, or the process is forked, before the model has all of the
            # new content, the next call copies it once more.
            self._current = False
            for tensor, known in zip(parameters, self._known, strict=True):
                known[...] = array_of(tensor)
            with np.errstate(all="ignore"):
                for both, first, second in self._biases:
                    np.add(first, second, out=both)
            # A recorded pass, or a call in another thread, needs the old weights.
            if model is None or self._passes or not model.try_replace(self._flat):
                self._passes = WeakSet()
                model = self._model = _core.Model(self._config, self._flat)
            self._current = True
            return model

    def forward(self, parameters: Any, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
        """Return y, h, c, without recording the pass."""
        x, state, lengths, masks = inputs
        if masks is not None:
            return self.record(parameters, inputs)[1]
        model = self._model_of(parameters)
        y, (h, c) = model.forward(x, state, None, torch.get_num_threads(), lengths)
        return torch.from_numpy(y), torch.from_numpy(h), torch.from_numpy(c)

    def record(
        self, parameters: Any, inputs: Inputs
    ) -> tuple[_Pass, tuple[Tensor, Tensor, Tensor]]:
        """Return the recorded pass, and y, h, c."""
        x, state, lengths, masks = inputs
        model = self._model_of(parameters)
        threads = torch.get_num_threads()
        recording, (y, h, c) = model.record(x, state, False, threads, lengths, False, (masks, None))
        done = _Pass(recording)
        self._passes.add(done)
        return done, (torch.from_numpy(y), torch.from_numpy(h), torch.from_numpy(c))

    def backward(
        self, done: _Pass, outer: Outer, grad_x: bool
    ) -> tuple[Tensor | None, Tensor, Tensor, list[Tensor]]:
        """Return the gradients of x, the state and every weight."""
        dy, dh, dc = outer
        recording, done.recording = done.recording, None
        assert recording is not None
        self._passes.discard(done)
        threads = torch.get_num_threads()
        dx, dh0, dc0, flat = recording.backward(dy, dh, dc, None, grad_x, threads)
        ours = Parameters(self._table, flat)
        weights = [
            # In-place changes of one bias's gradient must not reach the other's.
            torch.from_numpy(ours[_ours(n)].copy() if n.startswith("bias_hh") else ours[_ours(n)])
            for n in self._names
        ]
        x = None if dx is None else torch.from_numpy(dx)
        return x, torch.from_numpy(dh0), torch.from_numpy(dc0), weights


def _ours(name: str) -> str:
    return name.replace("bias_ih_", "bias_").replace("bias_hh_", "bias_")


def _same(tensor: Tensor, place: tuple[int, int]) -> bool:
    """Return whether a tensor equals an array bit by bit; faster than torch.equal and NumPy."""
    address, size = place
    return bool(tensor.is_contiguous() and _memcmp(tensor.data_ptr(), address, size) == 0)
