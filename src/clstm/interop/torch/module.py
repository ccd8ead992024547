"""The module: `torch.nn.LSTM` computed by clstm. It passes sequences on as (T, B, .)."""

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import parametrize
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from ...configuration import Configuration
from ...layout import Array
from .autograd import LSTMFunction
from .recording import recorder
from .weights import Weights, inputs_of

State = tuple[Tensor, Tensor]


class LSTM(torch.nn.LSTM):
    """`torch.nn.LSTM`, computed by clstm: its arguments, parameters, results and gradients.

    State dicts are interchangeable, and an instance is also one of `torch.nn.LSTM`. Weights may be
    changed in any way, also through ``.data``: every call compares them with its copy.

    Parameters
    ----------
    input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size
        As of `torch.nn.LSTM`.
    device : optional
        The CPU.
    dtype : torch.float32 or torch.float64, optional
        By default PyTorch's.

    Raises
    ------
    ValueError
        For another device or dtype; by a call also after the module was moved to one, except to the
        meta device.

    Notes
    -----
    It runs on `torch.get_num_threads` threads. Dropout masks come from PyTorch's generator, so
    `torch.manual_seed` repeats them; they may differ from those of `torch.nn.LSTM`, and from one
    version to another.

    Second derivatives are not supported: ``create_graph=True`` raises RuntimeError.
    ``backward(retain_graph=True)`` works; every further backward pass through the same graph
    recomputes the forward pass. Batched gradients, as of ``is_grads_batched=True``, raise
    RuntimeError. Autocast has no effect.

    While PyTorch records or replaces operations, the module computes as `torch.nn.LSTM` does, by
    PyTorch: under `torch.jit.trace`, both ONNX exporters, `torch.export`, `make_fx`, `torch.func`,
    forward-mode differentiation and `torch.compile`, with dispatch and function modes, and for
    tensors of another class or kind (fake, meta, sparse). `torch.fx.symbolic_trace` records the
    module as a whole. `torch.jit.script` puts a `torch.nn.LSTM` in its place, also in the model
    that it is given.

    Examples
    --------
    >>> import torch, clstm.interop.torch
    >>> lstm = clstm.interop.torch.LSTM(3, 8, batch_first=True)
    >>> y, (h, c) = lstm(torch.ones(2, 5, 3))  # a batch of 2, 5 steps
    >>> y.sum().backward()
    >>> lstm.weight_ih_l0.grad.shape
    torch.Size([32, 3])
    """

    _clstm: Weights | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _check_weights(self._flat_weights_names, self._flat_weights)

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        state.pop("_clstm", None)  # copies make their own
        return state

    def forward(self, input: Any, hx: State | None = None) -> Any:
        """Run over a sequence, a batch of them, or a `PackedSequence`, as `torch.nn.LSTM` does."""
        if torch.compiler.is_compiling():  # Dynamo follows no further call than this
            return super().forward(input, hx)
        given = _tensors(input, hx)
        if proxies := [value for value in given if isinstance(value, torch.fx.Proxy)]:
            return self._leaf(proxies[0].tracer, input, hx)
        if recorder((*given, *self._parameters.values())):
            return super().forward(input, hx)
        self._update_flat_weights()
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx)
        return self._forward_padded(input, hx)

    def _leaf(self, tracer: Any, input: Any, hx: Any) -> Any:
        """Record a call of this module, as `torch.fx` does for the modules of `torch.nn`."""
        path = tracer.path_of_module(self)
        if not path:
            raise RuntimeError(
                "torch.fx cannot trace an LSTM itself: give it a module that contains the LSTM"
            )
        return tracer.create_proxy("call_module", path, (input, hx), {})

    def __prepare_scriptable__(self) -> torch.nn.LSTM:
        """Return what `torch.jit.script` compiles: `torch.nn.LSTM` with the same parameters."""
        if type(self) is not LSTM:  # with parametrizations, which TorchScript does not compile
            return self
        plain = copy.copy(self)
        plain.__class__ = torch.nn.LSTM
        return plain

    def _forward_padded(self, input: Tensor, hx: State | None) -> Any:
        """Run over a sequence or a batch of them."""
        if input.dim() not in (2, 3):
            raise ValueError(f"LSTM: Expected input to be 2D or 3D, got {input.dim()}D instead")
        batched, axis = input.dim() == 3, 0 if self.batch_first else 1
        x = input if batched else input.unsqueeze(axis)
        if hx is not None:
            if any(part.dim() != input.dim() for part in hx):
                raise RuntimeError(
                    f"For a {input.dim()}-D input, hx and cx should also be {input.dim()}-D but "
                    f"got ({hx[0].dim()}-D, {hx[1].dim()}-D) tensors"
                )
            hx = hx if batched else (hx[0].unsqueeze(1), hx[1].unsqueeze(1))
        self._check(x, hx, None)
        x = x.transpose(0, 1) if self.batch_first else x
        if not len(x):
            raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
        factors = self._draw(x.shape[:2], x.dtype)
        y, h, c = self._run(x, hx, None, factors)
        y = y.transpose(0, 1) if self.batch_first else y
        return (y, (h, c)) if batched else (y.squeeze(axis), (h.squeeze(1), c.squeeze(1)))

    def _forward_packed(self, input: PackedSequence, hx: State | None) -> Any:
        """Run over a `PackedSequence`, whose rows are sorted by length."""
        data, batch_sizes, sorted_indices, unsorted_indices = input
        if hx is not None:
            hx = self.permute_hidden(hx, sorted_indices)
        self._check(data, hx, batch_sizes)
        x, lengths = pad_packed_sequence(PackedSequence(data, batch_sizes))
        factors = self._draw(data.shape[:1], data.dtype)
        if factors is not None:
            layers = [pad_packed_sequence(PackedSequence(f, batch_sizes))[0] for f in factors]
            factors = torch.stack(layers)
        y, h, c = self._run(x, hx, lengths.numpy().astype(np.uintp), factors)
        y = pack_padded_sequence(y, lengths).data
        packed = PackedSequence(y, batch_sizes, sorted_indices, unsorted_indices)
        return packed, self.permute_hidden((h, c), unsorted_indices)

    def _check(self, x: Tensor, hx: State | None, batch_sizes: Tensor | None) -> None:
        """Check the inputs, as `torch.nn.LSTM` does."""
        _check_weights(self._flat_weights_names, self._flat_weights)
        dtype = self._flat_weights[0].dtype
        for name, tensor in (("input", x), *zip(("hx", "cx"), hx or (), strict=False)):
            if tensor.dtype != dtype or not tensor.is_cpu:
                raise ValueError(
                    f"{name} is {tensor.dtype} on {tensor.device}, the weights are {dtype} on cpu"
                )
        if hx is None:
            self.check_input(x, batch_sizes)
        else:
            self.check_forward_args(x, hx, batch_sizes)

    def _draw(self, rows: tuple[int, ...], dtype: torch.dtype) -> Tensor | None:
        """Return the dropout masks, (L - 1, *rows, D R), from PyTorch's generator."""
        if not self.training or self.dropout == 0 or self.num_layers == 1:
            return None
        width = (1 + self.bidirectional) * (self.proj_size or self.hidden_size)
        kept = 1 - self.dropout
        shape = (self.num_layers - 1, *rows, width)
        factors = torch.empty(shape, dtype=dtype, device="cpu").bernoulli_(kept)
        return factors.div_(kept) if kept else factors

    def _run(
        self, x: Tensor, hx: State | None, lengths: Array | None, factors: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        weights = self._clstm
        if weights is None or weights.dtype != x.dtype:
            config = _config_of(self, x.dtype)
            weights = self._clstm = Weights(config, self._flat_weights_names)
        h0, c0 = (None, None) if hx is None else hx
        masks = None if factors is None else factors.numpy()
        parameters = self._flat_weights
        if torch.is_grad_enabled():
            given = (x, *parameters) if hx is None else (x, *hx, *parameters)
            if any(tensor.requires_grad for tensor in given):
                result: tuple[Tensor, Tensor, Tensor]
                result = LSTMFunction.apply(weights, lengths, masks, x, h0, c0, *parameters)
                return result
        return weights.forward(parameters, inputs_of(x, h0, c0, lengths, masks))


def accelerate(module: torch.nn.Module) -> torch.nn.Module:
    """Make every `torch.nn.LSTM` in a module, or itself, compute by clstm, in place.

    Each one becomes an `LSTM` and stays the same object, with its parameters, hooks and mode, so
    that optimisers and other references remain valid.

    Parameters
    ----------
    module : torch.nn.Module
        With at least one `torch.nn.LSTM`, each on the CPU, of float32 or float64, and not of a
        subclass. Other layers are not changed.

    Returns
    -------
    torch.nn.Module
        The same module.

    Raises
    ------
    ValueError
        For an LSTM that is not supported, which the message names, or if there is none. Nothing is
        changed then.

    Examples
    --------
    >>> import torch, clstm.interop.torch
    >>> model = torch.nn.Sequential(torch.nn.LSTM(3, 8))
    >>> clstm.interop.torch.accelerate(model)
    Sequential(
      (0): LSTM(3, 8)
    )
    """
    found = {n: m for n, m in module.named_modules() if isinstance(m, torch.nn.LSTM)}
    if not found:
        kinds = {n: type(m) for n, m in module.named_modules() if "LSTM" in type(m).__name__}
        others = [f"{n or 'it'} is {k.__module__}.{k.__qualname__}" for n, k in kinds.items()]
        hint = f": {others[0]}, another class" if others else ""
        raise ValueError(f"there is no torch.nn.LSTM in {type(module).__name__}{hint}")
    for name, lstm in found.items():
        if type(lstm) not in (torch.nn.LSTM, LSTM):
            kind = f"{type(lstm).__module__}.{type(lstm).__qualname__}"
            hint = "; derive the class from clstm.interop.torch.LSTM instead"
            if parametrize.is_parametrized(lstm):
                hint = "; accelerate it first and register its parametrizations afterwards"
            raise ValueError(f"{name or 'module'} is a {kind}, not a torch.nn.LSTM itself{hint}")
        if "forward" in vars(lstm):
            raise ValueError(
                f"{name or 'module'} has a forward of its own, which was set on the object: "
                "accelerate it before"
            )
        names = (f"{name}.{n}".lstrip(".") for n in lstm._flat_weights_names)
        _check_weights(names, lstm._flat_weights)
    for lstm in found.values():
        lstm.__class__ = LSTM
    return module


def _tensors(input: Any, hx: Any) -> tuple[Any, ...]:
    """Return the tensors of a call's arguments, or what stands for them."""
    first = input[:2] if isinstance(input, PackedSequence) else (input,)
    if hx is None:
        return first
    return (*first, *(hx if isinstance(hx, (tuple, list)) else (hx,)))


def _config_of(module: torch.nn.LSTM, dtype: torch.dtype) -> Configuration:
    return Configuration(
        input_size=module.input_size,
        hidden_size=module.hidden_size,
        num_layers=module.num_layers,
        bidirectional=module.bidirectional,
        proj_size=module.proj_size,
        bias=module.bias,
        dtype=np.dtype(str(dtype).removeprefix("torch.")),
    )


def _check_weights(names: Any, weights: list[Tensor]) -> None:
    dtype = weights[0].dtype
    for name, tensor in zip(names, weights, strict=True):
        if not tensor.is_cpu:
            raise ValueError(f"{name} is on {tensor.device}, expected the CPU")
        if tensor.dtype not in (torch.float32, torch.float64) or tensor.dtype != dtype:
            raise ValueError(
                f"{name} is {tensor.dtype}, expected torch.float32 or torch.float64 of all weights"
            )
