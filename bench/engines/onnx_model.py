"""A shape as an ONNX model, which ONNX Runtime and OpenVINO read alike."""

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

from bench.engines.arrays import weights
from bench.measure.shapes import Shape


def model_bytes(shape: Shape) -> bytes:
    """The serialised model: x -> y (T, B, D*H), then h and c (D, B, H) of every layer.

    A shape with lengths has a second input, the lengths (B,).
    """

    def declare(name: str, dimensions: tuple[int, ...], kind: int = TensorProto.FLOAT):
        return helper.make_tensor_value_info(name, kind, dimensions)

    arrays = weights(shape)
    joined = {"axis": [1]} if shape.directions == 1 else {"joined": [0, 0, -1]}
    constants = {name: np.array(numbers, np.int64) for name, numbers in joined.items()}
    lengths = "lengths" if shape.lengths else ""
    direction = "bidirectional" if shape.directions == 2 else "forward"
    attributes = {"hidden_size": shape.hidden_size, "direction": direction}
    nodes, results = [], {"y": (shape.steps, shape.batch, shape.output_size)}
    data = "x"
    for layer in range(shape.num_layers):
        w, r, b = _stacked(arrays, layer, shape.directions)
        constants |= {f"W{layer}": w, f"R{layer}": r, f"B{layer}": b}
        read = [data, f"W{layer}", f"R{layer}", f"B{layer}", lengths]
        written = [f"sequence{layer}", f"h{layer}", f"c{layer}"]
        data = "y" if layer == shape.num_layers - 1 else f"x{layer + 1}"
        nodes.append(helper.make_node("LSTM", read, written, **attributes))
        nodes += _joining(written[0], data, shape.directions)
        results |= dict.fromkeys(written[1:], (shape.directions, shape.batch, shape.hidden_size))
    inputs = [declare("x", (shape.steps, shape.batch, shape.input_size))]
    if lengths:
        inputs.append(declare(lengths, (shape.batch,), TensorProto.INT32))
    graph = helper.make_graph(
        nodes,
        "lstm",
        inputs,
        [declare(name, dimensions) for name, dimensions in results.items()],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    checker.check_model(model)
    return model.SerializeToString()


def _stacked(arrays: dict[str, np.ndarray], layer: int, directions: int) -> list[np.ndarray]:
    """W, R and B of a layer; gate blocks i, f, g, o as ONNX has them: i, o, f, g."""

    def in_onnx_order(name: str, suffix: str) -> np.ndarray:
        i, f, g, o = np.split(arrays[f"{name}_l{layer}{suffix}"], 4)
        return np.concatenate([i, o, f, g])

    suffixes = ("", "_reverse")[:directions]
    names = ("weight_ih", "weight_hh", "bias")
    w, r, b = (np.stack([in_onnx_order(name, suffix) for suffix in suffixes]) for name in names)
    return [w, r, np.concatenate([b, np.zeros_like(b)], axis=1)]  # R's product has its own bias


def _joining(sequence: str, y: str, directions: int) -> list:
    """Nodes from the (T, D, B, H) of an LSTM to (T, B, D*H)."""
    if directions == 1:
        return [helper.make_node("Squeeze", [sequence, "axis"], [y])]
    beside = f"{sequence}_beside"
    return [
        helper.make_node("Transpose", [sequence], [beside], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", [beside, "joined"], [y]),
    ]
