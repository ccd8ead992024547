"""LSTM nodes of ONNX: read as a model, made at random, and run by ONNX Runtime.

onnx is imported where it is used: the tests of this tier are collected without it.
"""

import numpy as np

import clstm

ROLES = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
WEIGHTS = {"W", "R", "B", "P"}
NAMES = {  # functions as the operator's specification names them
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Relu": "relu",
    "HardSigmoid": "hard_sigmoid",
    "Affine": "affine",
    "LeakyRelu": "leaky_relu",
    "ThresholdedRelu": "thresholded_relu",
    "ScaledTanh": "scaled_tanh",
    "Elu": "elu",
    "Softsign": "softsign",
    "Softplus": "softplus",
}
ALPHAS = {  # other than the defaults, so that they count
    "HardSigmoid": 0.3,
    "Affine": 0.7,
    "LeakyRelu": 0.2,
    "ThresholdedRelu": 0.4,
    "ScaledTanh": 1.3,
    "Elu": 0.8,
}
BETAS = {"HardSigmoid": 0.4, "Affine": -0.2, "ScaledTanh": 0.6}
DIRECTIONS = {"forward": ("",), "reverse": ("_reverse",), "bidirectional": ("", "_reverse")}


def functions_of(attributes):
    """The cell's functions: alpha and beta are listed for those that have one, in order."""
    names = [name.decode() for name in attributes.get("activations", ())]
    alphas, betas = (iter(attributes.get(f"activation_{kind}", ())) for kind in ("alpha", "beta"))
    functions = [
        clstm.Activation(
            NAMES[name],
            next(alphas, None) if name in ALPHAS else None,
            next(betas, None) if name in BETAS else None,
        )
        for name in names
    ]
    assert functions[3:] in ([], functions[:3]), "both directions of a model have the same cell"
    return dict(zip(("gate", "cell", "hidden"), functions[:3], strict=bool(functions)))


def reordered(blocks, order):
    parts = np.split(blocks, len(order))
    return np.concatenate([parts[k] for k in order])


def read_node(node, given):
    """A node and its inputs by role, as a model and what a call of it takes."""
    from onnx import helper

    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    direction = attributes.get("direction", b"forward").decode()
    first = attributes.get("layout", 0) == 1
    cell = clstm.Cell(
        peephole="P" in given,
        coupled=bool(attributes.get("input_forget", 0)),
        clip=attributes.get("clip"),
        **functions_of(attributes),
    )
    model = clstm.LSTM(
        given["W"].shape[2],
        attributes["hidden_size"],
        bidirectional=direction == "bidirectional",
        direction="reverse" if direction == "reverse" else "forward",
        bias="B" in given,
        batch_first=first,
        cell=cell,
        dtype=given["X"].dtype,
    )
    with model.edit() as parameters:
        for d, suffix in enumerate(DIRECTIONS[direction]):
            gates = {"weight_ih": given["W"][d], "weight_hh": given["R"][d]}
            if "B" in given:  # one for each of the two products
                gates["bias"] = given["B"][d].reshape(2, -1).sum(0)
            for kind, blocks in gates.items():
                parameters[f"{kind}_l0{suffix}"][...] = reordered(blocks, (0, 2, 3, 1))
            if "P" in given:
                parameters[f"weight_peephole_l0{suffix}"][...] = reordered(given["P"][d], (0, 2, 1))
    state = None
    if "initial_h" in given:
        state = [given[role] for role in ("initial_h", "initial_c")]
        state = [part.swapaxes(0, 1) if first else part for part in state]
    return model, {"x": given["X"], "state": state, "lengths": given.get("sequence_lens")}


def as_outputs(model, y, state):
    """Y, Y_h and Y_c of the node, from what a call returns."""
    directions, first = len(state[0]), model.batch_first
    y = y.reshape(*y.shape[:2], directions, -1)
    if first:
        return y, *(part.swapaxes(0, 1) for part in state)
    return y.swapaxes(1, 2), *state


def of_functions(names):
    """The attributes of a node with these functions, f, g and h of each direction."""
    alphas, betas = ([of[name] for name in names if name in of] for of in (ALPHAS, BETAS))
    attributes = {"activations": names, "activation_alpha": alphas, "activation_beta": betas}
    return {name: values for name, values in attributes.items() if values}


def random_node(seed):
    """A node with every option by chance, but layout, which ONNX Runtime lacks; and its inputs."""
    rng = np.random.default_rng(seed)
    steps, batch, inputs, units = (int(n) for n in rng.integers(1, (8, 9, 20, 40)))
    direction = str(rng.choice(list(DIRECTIONS)))
    bias, peephole, initial, unequal, coupled, clip, functions = rng.random(7) < 0.6
    parts = len(DIRECTIONS[direction])

    def draw(*shape, limit=units**-0.5):
        return rng.uniform(-limit, limit, shape).astype(np.float32)

    given = {
        "X": draw(steps, batch, inputs, limit=2),
        "W": draw(parts, 4 * units, inputs),
        "R": draw(parts, 4 * units, units),
    }
    if bias:
        given["B"] = draw(parts, 8 * units)
    if peephole:
        given["P"] = draw(parts, 3 * units, limit=0.5)
    if initial:
        given["initial_h"], given["initial_c"] = draw(2, parts, batch, units, limit=1)
    if unequal:  # after 0 steps ONNX Runtime returns a final state of zeros
        given["sequence_lens"] = rng.integers(1, steps + 1, batch).astype(np.int32)
    attributes = {"hidden_size": units, "direction": direction, "input_forget": int(coupled)}
    if clip:
        attributes["clip"] = float(np.float32(rng.uniform(0.2, 1)))
    if functions:
        attributes |= of_functions(rng.choice(list(NAMES), 3).tolist() * parts)
    return make_node(given, **attributes), given


def make_node(given, **attributes):
    from onnx import helper

    inputs = [role if role in given else "" for role in ROLES]
    return helper.make_node("LSTM", inputs, ["Y", "Y_h", "Y_c"], **attributes)


def run_onnx_runtime(node, given):
    """Y, Y_h and Y_c."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    types = dict.fromkeys(ROLES, TensorProto.FLOAT) | {"sequence_lens": TensorProto.INT32}
    feeds = {role: array for role, array in given.items() if role not in WEIGHTS}
    constants = [numpy_helper.from_array(given[role], role) for role in WEIGHTS & given.keys()]
    inputs = [
        helper.make_tensor_value_info(role, types[role], array.shape)
        for role, array in feeds.items()
    ]
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in node.output]
    graph = helper.make_graph([node], "lstm", inputs, outputs, constants)
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)
