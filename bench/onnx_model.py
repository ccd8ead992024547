"""A shape as an ONNX model, which ONNX Runtime and OpenVINO read alike."""

import numpy as np
from arrays import weights
from onnx import TensorProto, checker, helper, numpy_helper
from shapes import Shape


def model_bytes(shape: Shape) -> bytes:
    """The serialised model: x -> y (T, B, H), then h and c (1, B, H) of every layer."""

    def in_onnx_order(array: np.ndarray) -> np.ndarray:
        """Gate blocks i, f, g, o as ONNX has them: i, o, f, g; a leading axis for the direction."""
        i, f, g, o = np.split(array, 4)
        return np.concatenate([i, o, f, g])[np.newaxis]

    def declare(name: str, dimensions: tuple[int, ...]):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, dimensions)

    arrays = weights(shape)
    constants = {"axis": np.array([1], np.int64)}
    nodes, results = [], {"y": (shape.steps, shape.batch, shape.hidden_size)}
    data = "x"
    for layer in range(shape.num_layers):
        names = (f"{name}_l{layer}" for name in ("weight_ih", "weight_hh", "bias"))
        w, r, b = (in_onnx_order(arrays[name]) for name in names)
        b = np.concatenate([b, np.zeros_like(b)], axis=1)  # the recurrent product has its own
        constants |= {f"W{layer}": w, f"R{layer}": r, f"B{layer}": b}
        read = [data, f"W{layer}", f"R{layer}", f"B{layer}"]
        written = [f"sequence{layer}", f"h{layer}", f"c{layer}"]
        data = "y" if layer == shape.num_layers - 1 else f"x{layer + 1}"
        nodes.append(helper.make_node("LSTM", read, written, hidden_size=shape.hidden_size))
        nodes.append(helper.make_node("Squeeze", [written[0], "axis"], [data]))
        results |= dict.fromkeys(written[1:], (1, shape.batch, shape.hidden_size))
    graph = helper.make_graph(
        nodes,
        "lstm",
        [declare("x", (shape.steps, shape.batch, shape.input_size))],
        [declare(name, dimensions) for name, dimensions in results.items()],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    checker.check_model(model)
    return model.SerializeToString()
