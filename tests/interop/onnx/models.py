"""ONNX models around an LSTM node, made for the tests of `clstm.interop.onnx`.

onnx is imported where it is used: the tests of this tier are collected without it.
"""

import numpy as np

from tests.interop.onnx.nodes import WEIGHTS, make_node

UNITS, INPUTS = 3, 2  # other, so that shapes tell W from R


def weights(seed=0, parts=1, bias=True, peephole=False, dtype=np.float32):
    """W, R and what else there is, all values different."""
    rng = np.random.default_rng(seed)
    shapes = {"W": (4 * UNITS, INPUTS), "R": (4 * UNITS, UNITS)}
    shapes |= {"B": (8 * UNITS,)} if bias else {}
    shapes |= {"P": (3 * UNITS,)} if peephole else {}
    return {role: rng.standard_normal((parts, *s)).astype(dtype) for role, s in shapes.items()}


def constant(array, name, kind="initializer"):
    """A tensor, or a Constant node of it."""
    from onnx import helper, numpy_helper

    tensor = numpy_helper.from_array(np.asarray(array, order="C"), name)
    if kind == "initializer":
        return tensor
    return helper.make_node("Constant", [], [name], name=f"constant {name}", value=tensor)


def info(name, rank=3, kind="FLOAT"):
    from onnx import TensorProto, helper

    shape = [f"{name}{axis}" for axis in range(rank)]
    return helper.make_tensor_value_info(name, TensorProto.DataType.Value(kind), shape)


def graph_of(nodes, constants=(), inputs=("X",), outputs=("Y",), name="graph"):
    """A graph of nodes, in which arrays by name are initializers."""
    from onnx import helper

    return helper.make_graph(
        list(nodes),
        name,
        [info(n, 1, "INT32") if n == "sequence_lens" else info(n) for n in inputs],
        [info(n, 4 if n.startswith("Y") else 3) for n in outputs],
        [constant(array, n) for n, array in dict(constants).items()],
    )


def model_of(graph, opset=17, functions=()):
    from onnx import helper

    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("own", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=list(functions))


def node_model(given, node=None, **attributes):
    """A model of one node: arrays by role, weights as initializers and others as inputs."""
    made = make_node(given, name="lstm", **attributes) if node is None else node
    inputs = [role for role in given if role not in WEIGHTS]
    constants = {role: given[role] for role in given if role in WEIGHTS}
    return model_of(graph_of([made], constants, ["X", *(i for i in inputs if i != "X")]))


def lstm_node(name="lstm", given=("W", "R", "B"), outputs=("Y", "Y_h", "Y_c"), **attributes):
    """A node whose inputs are named after their roles."""
    node = make_node(dict.fromkeys(("X", *given)), name=name, **attributes)
    del node.output[:]
    node.output.extend(outputs)
    return node


def in_body(kind, node, held):
    """A model whose node stands in a body, its weights around it."""
    from onnx import TensorProto, helper

    if kind == "function":
        body = [constant(held["B"], "B", "node"), node]
        node.attribute[0].ref_attr_name = "units"
        node.attribute[0].ClearField("i")
        opsets = [helper.make_opsetid("", 17)]
        own = helper.make_function(
            "own", "Layer", ["X", "V", "R"], ["Y"], body, opsets, attributes=["units"]
        )
        call = helper.make_node("Layer", ["X", "W", "R"], ["out"], domain="own", units=UNITS)
        node.input[1] = "V"  # which is W where it is called
        own.node[1].input[1] = "V"
        return model_of(graph_of([call], held, outputs=["out"]), functions=[own])
    inner = graph_of([node], {"B": held["B"]}, [], ["Y"])
    outer = {"W": held["W"], "R": held["R"], "condition": np.array(True), "trips": np.array(1)}
    if kind == "If":
        made = helper.make_node(
            "If", ["condition"], ["out"], then_branch=inner, else_branch=graph_of([], {}, [], [])
        )
    else:
        inner.input.extend([helper.make_tensor_value_info("i", TensorProto.INT64, [])])
        names = ["trips", "condition"] if kind == "Loop" else ["X"]
        extra = {} if kind == "Loop" else {"num_scan_inputs": 1}
        made = helper.make_node(kind, names, ["out"], body=inner, **extra)
    return model_of(graph_of([made], outer, outputs=["out"]))


def computed_by(kind, array, name):
    """Nodes that make an array by an operator, and the arrays they take by name.

    An array of three axes, the first of size one.
    """
    from onnx import helper

    def node(kind, inputs, output, **attributes):
        return helper.make_node(kind, inputs, [output], **attributes)

    def ints(key, *numbers):
        held[f"{name}.{key}"] = np.array(numbers, np.int64)
        return f"{name}.{key}"

    held = {}
    source, half = f"{name}.source", array.shape[1] // 2
    if kind == "Constant":
        return [constant(array, name, "node")], {}
    if kind == "Identity":
        made = [node("Identity", [source], name)]
        held[source] = array
    elif kind == "Cast":
        made = [node("Cast", [source], name, to=1)]
        held[source] = array.astype(np.float64)
    elif kind == "Concat":
        made = [node("Concat", [f"{source}0", f"{source}1"], name, axis=1)]
        held |= {f"{source}0": array[:, :half], f"{source}1": array[:, half:]}
    elif kind == "Slice":  # takes the rows in reverse, between others
        held[source] = np.concatenate([array[:, :1], array[:, ::-1], array[:, :1]], 1)
        ends = ints("starts", array.shape[1]), ints("ends", 0)
        made = [node("Slice", [source, *ends, ints("axes", 1), ints("steps", -1)], name)]
    elif kind == "Unsqueeze":
        made = [node("Unsqueeze", [source, ints("axes", 0)], name)]
        held[source] = array[0]
    elif kind == "Squeeze":
        made = [node("Squeeze", [source, ints("axes", -1)], name)]
        held[source] = array[..., np.newaxis]
    elif kind == "Transpose":
        made = [node("Transpose", [source], name, perm=[2, 0, 1])]
        held[source] = array.transpose(1, 2, 0)
    else:
        made = [node("Reshape", [source, ints("shape", 0, array.shape[1], -1)], name)]
        held[source] = array.reshape(1, -1)
    return made, held


def mutated(data, rng):
    """A file with one to four of its bytes changed, or a piece cut out or doubled."""
    changed = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        changed[rng.integers(len(changed))] = rng.integers(256)
    if rng.random() < 0.2:
        start, stop = sorted(rng.integers(len(changed), size=2))
        changed[start:stop] = bytes(changed[start:stop]) * int(rng.choice([0, 2]))
    return bytes(changed)
