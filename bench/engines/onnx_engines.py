"""Engines that run the ONNX model of a shape; none of them trains LSTMs."""

from contextlib import nullcontext

import numpy as np

from bench.engines.arrays import sequence, without_padding
from bench.measure.shapes import Shape


class OnnxRuntime:
    """ONNX Runtime: one LSTM node a layer on the CPU provider. It doesn't train LSTMs.

    The lengths of rows are an input of the nodes.
    """

    title = "ONNX Runtime"
    modes = ("forward",)
    modules = ("onnxruntime", "onnx")
    distribution = "onnxruntime"
    options = frozenset({"directions", "lengths"})
    scope = nullcontext

    def __init__(self, shape: Shape, mode: str, threads: int) -> None:
        import onnxruntime

        from bench.engines.onnx_model import model_bytes

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            model_bytes(shape), options, providers=["CPUExecutionProvider"]
        )
        self.shape = shape
        self.feeds = {"x": sequence(shape)}
        if shape.lengths:
            self.feeds["lengths"] = shape.row_lengths.astype(np.int32)

    def run(self):
        return self.session.run(None, self.feeds)

    def outputs(self, result) -> dict[str, np.ndarray]:
        y, *states = result
        return _joined(y, states)


class OnnxPadded(OnnxRuntime):
    """ONNX Runtime without the lengths: y is right up to a row's end, the states are not."""

    title = "ONNX Runtime, padded"
    options = frozenset({"lengths"})
    needs = frozenset({"lengths"})
    lacks = frozenset({"h", "c"})

    def __init__(self, shape: Shape, mode: str, threads: int) -> None:
        super().__init__(shape._replace(lengths=""), mode, threads)
        self.shape = shape

    def outputs(self, result) -> dict[str, np.ndarray]:
        return {"y": without_padding(self.shape, result[0])}


class OpenVino:
    """OpenVINO's CPU plug-in on the same ONNX model, forward only.

    Input and outputs are its own memory: nothing is copied, and a call overwrites the results of
    the last one, which no other engine here does.
    """

    title = "OpenVINO"
    modes = ("forward",)
    modules = ("openvino", "onnx")
    distribution = "openvino"
    scope = nullcontext

    def __init__(self, shape: Shape, mode: str, threads: int) -> None:
        import openvino

        from bench.engines.onnx_model import model_bytes

        options = {
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "f32",  # else bfloat16 where the CPU has it
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
        }
        core = openvino.Core()
        model = core.compile_model(core.read_model(model_bytes(shape)), "CPU", options)
        self.request = model.create_infer_request()
        self.x = sequence(shape)
        self.request.set_input_tensor(openvino.Tensor(self.x, shared_memory=True))

    def run(self):
        return self.request.infer(share_outputs=True)

    def outputs(self, result) -> dict[str, np.ndarray]:
        y, *states = result.to_tuple()
        return _joined(y, states)


def _joined(y: np.ndarray, states: list[np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs of an ONNX model, where h and c of the layers alternate."""
    return {"y": y, "h": np.concatenate(states[0::2]), "c": np.concatenate(states[1::2])}
