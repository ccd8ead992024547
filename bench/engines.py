"""clstm and its peers behind one small interface: same weights, same input, same threads.

An engine is built for a shape, a mode and a number of threads. `run()` is what is timed: one call
of the library as its users write it, on arrays made beforehand. `outputs(result)` turns what it
returned into NumPy arrays with clstm's names, so that a peer is checked against clstm before it is
timed. No library is imported before an engine is built, since each starts threads of its own.
"""

import importlib.util
from contextlib import nullcontext
from importlib.metadata import version

import numpy as np
from arrays import inputs, weights
from shapes import Shape

TOLERANCE = 1e-4


class Clstm:
    """This project: `lstm(x)`; `record` and `backward` for training."""

    title = "clstm"
    modes = ("forward", "training")
    modules = ("clstm",)
    distribution = "clstm-cpu"
    scope = nullcontext

    def __init__(self, shape: Shape, mode: str, threads: int) -> None:
        import clstm

        self.lstm = clstm.LSTM(shape.input_size, shape.hidden_size, shape.num_layers, rng=0)
        self.lstm.load_state_dict(weights(shape))
        self.x, self.dy = inputs(shape)
        self.threads = threads
        self.run = self.forward if mode == "forward" else self.train

    def forward(self):
        return self.lstm(self.x, num_threads=self.threads)

    def train(self):
        tape = self.lstm.record(self.x, num_threads=self.threads)
        return tape, tape.backward(self.dy, num_threads=self.threads)

    def outputs(self, result) -> dict[str, np.ndarray]:
        if self.run == self.forward:
            y, (h, c) = result
            return {"y": y, "h": h, "c": c}
        tape, grad = result
        return {"y": tape.y, "x": grad.x, **grad.parameters}


class Torch:
    """PyTorch: `torch.nn.LSTM`, in inference mode or with gradients of x and every parameter."""

    title = "PyTorch"
    modes = ("forward", "training")
    modules = ("torch",)
    distribution = "torch"

    def __init__(self, shape: Shape, mode: str, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self.torch = torch
        self.lstm = torch.nn.LSTM(shape.input_size, shape.hidden_size, shape.num_layers)
        state = {}
        for name, array in weights(shape).items():
            if name.startswith("bias_"):
                layer = name.removeprefix("bias_")
                state[f"bias_ih_{layer}"] = torch.from_numpy(array)
                state[f"bias_hh_{layer}"] = torch.zeros(array.shape)
            else:
                state[name] = torch.from_numpy(array)
        self.lstm.load_state_dict(state)
        self.x, self.dy = map(torch.from_numpy, inputs(shape))
        if mode == "forward":
            self.lstm.eval()
            self.run, self.scope = self.forward, torch.inference_mode
        else:
            self.x.requires_grad_()
            self.names, self.wanted = zip(*self.lstm.named_parameters(), strict=True)
            self.run, self.scope = self.train, nullcontext

    def forward(self):
        return self.lstm(self.x)

    def train(self):
        y, _ = self.lstm(self.x)
        # Unlike y.backward this adds nothing up, so there are no old gradients to clear.
        return y, self.torch.autograd.grad(y, (self.x, *self.wanted), self.dy)

    def outputs(self, result) -> dict[str, np.ndarray]:
        if self.run == self.forward:
            y, (h, c) = result
            return {"y": y.numpy(), "h": h.numpy(), "c": c.numpy()}
        y, (x, *gradients) = result
        arrays = {"y": y.detach().numpy(), "x": x.numpy()}
        for name, gradient in zip(self.names, gradients, strict=True):
            if not name.startswith("bias_hh"):
                arrays[name.replace("bias_ih", "bias")] = gradient.numpy()
        return arrays


class OnnxRuntime:
    """ONNX Runtime: one LSTM node a layer on the CPU provider. It has no training for LSTMs."""

    title = "ONNX Runtime"
    modes = ("forward",)
    modules = ("onnxruntime", "onnx")
    distribution = "onnxruntime"
    scope = nullcontext

    def __init__(self, shape: Shape, mode: str, threads: int) -> None:
        import onnxruntime
        from onnx_model import model_bytes

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            model_bytes(shape), options, providers=["CPUExecutionProvider"]
        )
        self.feeds = {"x": inputs(shape)[0]}

    def run(self):
        return self.session.run(None, self.feeds)

    def outputs(self, result) -> dict[str, np.ndarray]:
        y, *states = result
        return _joined(y, states)


class OpenVino:
    """OpenVINO's CPU plug-in on the same ONNX model, forward only.

    Input and outputs are its own memory: nothing is copied, and a call overwrites the results of
    the one before, which no other engine here does.
    """

    title = "OpenVINO"
    modes = ("forward",)
    modules = ("openvino", "onnx")
    distribution = "openvino"
    scope = nullcontext

    def __init__(self, shape: Shape, mode: str, threads: int) -> None:
        import openvino
        from onnx_model import model_bytes

        options = {
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "f32",  # else bfloat16 where the CPU has it
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
        }
        core = openvino.Core()
        model = core.compile_model(core.read_model(model_bytes(shape)), "CPU", options)
        self.request = model.create_infer_request()
        self.x = inputs(shape)[0]
        self.request.set_input_tensor(openvino.Tensor(self.x, shared_memory=True))

    def run(self):
        return self.request.infer(share_outputs=True)

    def outputs(self, result) -> dict[str, np.ndarray]:
        y, *states = result.to_tuple()
        return _joined(y, states)


def _joined(y: np.ndarray, states: list[np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs of an ONNX model, where h and c of the layers alternate."""
    return {"y": y, "h": np.concatenate(states[0::2]), "c": np.concatenate(states[1::2])}


ENGINES = {"clstm": Clstm, "torch": Torch, "onnxruntime": OnnxRuntime, "openvino": OpenVino}
PEERS = tuple(name for name in ENGINES if name != "clstm")


def installed_peers(mode: str | None = None) -> list[str]:
    """Names of the peers that are installed and have `mode` (None: any mode)."""

    def usable(engine) -> bool:
        installed = all(importlib.util.find_spec(module) for module in engine.modules)
        return installed and (mode is None or mode in engine.modes)

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
