"""PyTorch: plain, on sequences packed in advance, and on padded ones without lengths."""

from contextlib import nullcontext

import numpy as np

from bench.engines.arrays import (
    LEARNING_RATE,
    MAX_NORM,
    first_step,
    output_gradient,
    sequence,
    targets,
    weights,
    without_padding,
)
from bench.measure.shapes import CLASSES, Shape


class Torch:
    """PyTorch: `torch.nn.LSTM`, in inference mode or with gradients of x and every parameter.

    Sequences with lengths are packed and unpacked, as users of PyTorch write it. A step has a
    Linear readout and the fused Adam: 0.9 ms, the default Adam 2.3 (at 100,32,64,256,2).
    """

    title = "PyTorch"
    modes = ("forward", "training", "step")
    modules = ("torch",)
    distribution = "torch"
    options = frozenset({"directions", "proj_size", "lengths"})

    def __init__(self, shape: Shape, mode: str, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self.torch, self.shape, self.scope = torch, shape, nullcontext
        sizes = (shape.input_size, shape.hidden_size, shape.num_layers)
        options = {"bidirectional": shape.directions == 2, "proj_size": shape.proj_size}
        self.lstm = self.module()(*sizes, **options)
        self.model = torch.nn.ModuleDict({"lstm": self.lstm})
        if mode == "step":
            self.readout = self.model["readout"] = torch.nn.Linear(shape.output_size, CLASSES)
        self._load(weights(shape, mode))
        self.wanted = tuple(self.model.parameters())
        self.x = torch.from_numpy(sequence(shape))
        self.lengths = torch.from_numpy(shape.row_lengths) if shape.lengths else None
        if mode == "forward":
            self.model.eval()
            self.scope = torch.inference_mode
        if mode == "training":
            self.x.requires_grad_()
            self.dy = torch.from_numpy(output_gradient(shape))
        if mode == "step":
            self.targets = torch.from_numpy(targets(shape)).flatten()
            self.adam = torch.optim.Adam(self.wanted, LEARNING_RATE, fused=True)
        self.run, self.outputs = getattr(self, mode), getattr(self, f"{mode}_outputs")

    def module(self) -> type:
        """The class of the LSTM."""
        return self.torch.nn.LSTM

    def _load(self, arrays: dict[str, np.ndarray]) -> None:
        """Set the parameters; PyTorch's second bias is zero."""
        self.names = tuple(arrays)
        state = {_in_torch(name): self.torch.from_numpy(array) for name, array in arrays.items()}
        for name, parameter in self.model.named_parameters():
            state.setdefault(name, self.torch.zeros_like(parameter))
        self.model.load_state_dict(state)

    def _in_clstm(self, values) -> dict:
        """Values for `self.wanted` by clstm's names, without those for the second bias."""
        names = (name for name, _ in self.model.named_parameters())
        found = dict(zip(names, values, strict=True))
        return {name: found[_in_torch(name)].detach().numpy() for name in self.names}

    def forward(self):
        if self.lengths is None:
            return self.lstm(self.x)
        packed, state = self.lstm(self._packed())
        y, _ = self.torch.nn.utils.rnn.pad_packed_sequence(packed)
        return y, state

    def _packed(self):
        """x as a PackedSequence."""
        pack = self.torch.nn.utils.rnn.pack_padded_sequence
        return pack(self.x, self.lengths, enforce_sorted=False)

    def forward_outputs(self, result) -> dict[str, np.ndarray]:
        y, (h, c) = result
        return {"y": y.numpy(), "h": h.numpy(), "c": c.numpy()}

    def training(self):
        y, _ = self.forward()
        # Unlike y.backward this doesn't accumulate, so there are no old gradients to clear.
        return y, self.torch.autograd.grad(y, (self.x, *self.wanted), self.dy)

    def training_outputs(self, result) -> dict[str, np.ndarray]:
        y, (x, *gradients) = result
        return {"y": y.detach().numpy(), "x": x.numpy(), **self._in_clstm(gradients)}

    def step(self):
        self.adam.zero_grad()
        y, _ = self.forward()
        scores = self.readout(y).flatten(0, 1)
        loss = self.torch.nn.functional.cross_entropy(scores, self.targets)
        loss.backward()
        self.torch.nn.utils.clip_grad_norm_(self.wanted, MAX_NORM)
        self.adam.step()
        return loss.item()

    def step_outputs(self, loss: float) -> dict[str, np.ndarray]:
        gradients = self._in_clstm([parameter.grad for parameter in self.wanted])
        return first_step(self.shape, loss, self._in_clstm(self.wanted), gradients)


class TorchClstm(Torch):
    """PyTorch with clstm's LSTM module; in no mode a peer, only test_module.py times it."""

    title = "clstm in PyTorch"
    modes = ()

    def module(self) -> type:
        import clstm.interop.torch

        return clstm.interop.torch.LSTM


class TorchPrepacked(Torch):
    """PyTorch from a PackedSequence to a PackedSequence: packing and unpacking are not timed."""

    title = "PyTorch, packed before"
    modes = ("forward", "training")
    needs = frozenset({"lengths"})

    def __init__(self, shape: Shape, mode: str, threads: int) -> None:
        super().__init__(shape, mode, threads)
        with self.torch.no_grad():
            self.x = self._packed()
            if mode == "training":
                self.x.data.requires_grad_()
                pack = self.torch.nn.utils.rnn.pack_padded_sequence
                self.dy = pack(self.dy, self.lengths, enforce_sorted=False).data

    def forward(self):
        return self.lstm(self.x)

    def _padded(self, data) -> np.ndarray:
        """Data in the packed order of `x` as an array (T, B, ...)."""
        packed = self.x._replace(data=data.detach())
        return self.torch.nn.utils.rnn.pad_packed_sequence(packed)[0].numpy()

    def forward_outputs(self, result) -> dict[str, np.ndarray]:
        y, (h, c) = result
        return {"y": self._padded(y.data), "h": h.numpy(), "c": c.numpy()}

    def training(self):
        y, _ = self.lstm(self.x)
        return y, self.torch.autograd.grad(y.data, (self.x.data, *self.wanted), self.dy)

    def training_outputs(self, result) -> dict[str, np.ndarray]:
        y, (x, *gradients) = result
        return {"y": self._padded(y.data), "x": self._padded(x), **self._in_clstm(gradients)}


class TorchPadded(Torch):
    """PyTorch on padded sequences without their lengths: y is right up to a row's end, no state."""

    title = "PyTorch, padded"
    modes = ("forward", "training")
    options = frozenset({"proj_size", "lengths"})
    needs = frozenset({"lengths"})
    lacks = frozenset({"h", "c"})

    def __init__(self, shape: Shape, mode: str, threads: int) -> None:
        super().__init__(shape, mode, threads)
        self.lengths = None

    def forward_outputs(self, result) -> dict[str, np.ndarray]:
        y, _ = result
        return {"y": without_padding(self.shape, y.numpy())}

    def training_outputs(self, result) -> dict[str, np.ndarray]:
        arrays = super().training_outputs(result)
        return arrays | {"y": without_padding(self.shape, arrays["y"])}


def _in_torch(name: str) -> str:
    """PyTorch's name of a parameter."""
    if name.endswith("_out"):
        return f"readout.{name.removesuffix('_out')}"
    return f"lstm.{name.replace('bias_', 'bias_ih_')}"
