"""clstm and its peers behind one small interface: same weights, same input, same threads.

An engine is built for a shape, a mode and a number of threads. `run()` is what is timed: one call
of the library as its users write it, on arrays made beforehand. `outputs(result)` turns what it
returned into NumPy arrays with clstm's names, so that a peer is checked against clstm before it is
timed. No library is imported before an engine is built, since each starts threads of its own.

A "step" trains: it changes the model, and `outputs` can tell of the first one only.
"""

import importlib.util
from contextlib import nullcontext
from importlib.metadata import version

import numpy as np
from arrays import LEARNING_RATE, MAX_NORM, first_step, output_gradient, sequence, targets, weights
from jax_engine import Jax
from onnx_engines import OnnxRuntime, OpenVino
from shapes import CLASSES, Shape

TOLERANCE = 1e-4


class Clstm:
    """This project: `lstm(x)`; `record` and `backward` for training; its loss and its Adam."""

    title = "clstm"
    modes = ("forward", "training", "step")
    modules = ("clstm",)
    distribution = "clstm-cpu"
    scope = nullcontext

    def __init__(self, shape: Shape, mode: str, threads: int) -> None:
        import clstm

        self.clstm, self.shape, self.threads = clstm, shape, threads
        sizes = (shape.input_size, shape.hidden_size, shape.num_layers)
        self.lstm = clstm.LSTM(*sizes, output_size=CLASSES if mode == "step" else None, rng=0)
        self.lstm.load_state_dict(weights(shape, mode))
        self.x = sequence(shape)
        if mode == "training":
            self.dy = output_gradient(shape)
        if mode == "step":
            self.targets = targets(shape)
            self.adam = clstm.optim.Adam(self.lstm, LEARNING_RATE)
            clstm.set_num_threads(threads)  # clipping and Adam take no number of their own
        self.run, self.outputs = getattr(self, mode), getattr(self, f"{mode}_outputs")

    def forward(self):
        return self.lstm(self.x, num_threads=self.threads)

    def forward_outputs(self, result) -> dict[str, np.ndarray]:
        y, (h, c) = result
        return {"y": y, "h": h, "c": c}

    def training(self):
        tape = self.lstm.record(self.x, num_threads=self.threads)
        return tape, tape.backward(self.dy, num_threads=self.threads)

    def training_outputs(self, result) -> dict[str, np.ndarray]:
        tape, grad = result
        return {"y": tape.y, "x": grad.x, **grad.parameters}

    def step(self):
        tape = self.lstm.record(self.x, num_threads=self.threads)
        loss, dy = self.clstm.losses.softmax_cross_entropy(tape.y, self.targets)
        grad = tape.backward(dy, num_threads=self.threads)
        self.clstm.optim.clip_global_norm(grad, MAX_NORM)
        self.adam.step(grad)
        return loss, grad.parameters

    def step_outputs(self, result) -> dict[str, np.ndarray]:
        loss, gradients = result
        return first_step(self.shape, loss, dict(self.lstm.parameters), dict(gradients))


class Torch:
    """PyTorch: `torch.nn.LSTM`, in inference mode or with gradients of x and every parameter.

    A step is what its users write, with a Linear readout and the fused Adam: on a CPU that takes a
    third of the default's time (0.9 ms for 2.3, at T,B,I,H,L = 100,32,64,256,2).
    """

    title = "PyTorch"
    modes = ("forward", "training", "step")
    modules = ("torch",)
    distribution = "torch"

    def __init__(self, shape: Shape, mode: str, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self.torch, self.shape, self.scope = torch, shape, nullcontext
        sizes = (shape.input_size, shape.hidden_size, shape.num_layers)
        self.lstm = torch.nn.LSTM(*sizes)
        self.model = torch.nn.ModuleDict({"lstm": self.lstm})
        if mode == "step":
            self.readout = self.model["readout"] = torch.nn.Linear(shape.hidden_size, CLASSES)
        self._load(weights(shape, mode))
        self.wanted = tuple(self.model.parameters())
        self.x = torch.from_numpy(sequence(shape))
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

    def _load(self, arrays: dict[str, np.ndarray]) -> None:
        """Set the parameters. PyTorch has a second bias, which begins as zero."""
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
        return self.lstm(self.x)

    def forward_outputs(self, result) -> dict[str, np.ndarray]:
        y, (h, c) = result
        return {"y": y.numpy(), "h": h.numpy(), "c": c.numpy()}

    def training(self):
        y, _ = self.lstm(self.x)
        # Unlike y.backward this adds nothing up, so there are no old gradients to clear.
        return y, self.torch.autograd.grad(y, (self.x, *self.wanted), self.dy)

    def training_outputs(self, result) -> dict[str, np.ndarray]:
        y, (x, *gradients) = result
        return {"y": y.detach().numpy(), "x": x.numpy(), **self._in_clstm(gradients)}

    def step(self):
        self.adam.zero_grad()
        y, _ = self.lstm(self.x)
        scores = self.readout(y).flatten(0, 1)
        loss = self.torch.nn.functional.cross_entropy(scores, self.targets)
        loss.backward()
        self.torch.nn.utils.clip_grad_norm_(self.wanted, MAX_NORM)
        self.adam.step()
        return loss.item()

    def step_outputs(self, loss: float) -> dict[str, np.ndarray]:
        gradients = self._in_clstm([parameter.grad for parameter in self.wanted])
        return first_step(self.shape, loss, self._in_clstm(self.wanted), gradients)


def _in_torch(name: str) -> str:
    """PyTorch's name of a parameter."""
    if name.endswith("_out"):
        return f"readout.{name.removesuffix('_out')}"
    return f"lstm.{name.replace('bias_', 'bias_ih_')}"


ENGINES = {
    "clstm": Clstm,
    "torch": Torch,
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVino,
    "jax": Jax,
}
PEERS = tuple(name for name in ENGINES if name != "clstm")


def installed_peers(mode: str | None = None) -> list[str]:
    """Names of the peers that are installed and have `mode` (None: any mode)."""

    def usable(engine) -> bool:
        installed = all(importlib.util.find_spec(module) for module in engine.modules)
        return installed and (mode in engine.modes if mode else bool(engine.modes))

    return [name for name in PEERS if usable(ENGINES[name])]


def versions() -> dict[str, str]:
    """Title -> version of clstm and of every installed peer."""
    chosen = (ENGINES[name] for name in ("clstm", *installed_peers()))
    return {engine.title: version(engine.distribution) for engine in chosen}


def check(peer: str, found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """Compare a peer's outputs with clstm's; AssertionError names the array that differs.

    Gradients add up T * B rows, so the tolerance is relative to the largest value of each array.
    """
    missing = expected.keys() ^ found.keys()
    if missing:
        raise AssertionError(f"clstm and {peer} don't return the same arrays: {sorted(missing)}")
    for name, array in expected.items():
        if found[name].shape != array.shape:
            raise AssertionError(f"{name}: clstm {array.shape}, {peer} {found[name].shape}")
        error = np.abs(found[name] - array).max()
        bound = TOLERANCE * max(1.0, np.abs(array).max())
        if not error <= bound:  # a NaN must fail too
            message = f"{name}: clstm and {peer} differ by {error:.2e}, allowed {bound:.2e}"
            raise AssertionError(message)
