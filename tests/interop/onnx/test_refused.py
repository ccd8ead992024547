"""LSTM nodes that are refused by name, and malformed ONNX files."""

import itertools

import numpy as np
import pytest

import clstm
from clstm.interop import onnx as interop
from tests.interop.onnx.models import (
    UNITS,
    computed_by,
    graph_of,
    in_body,
    lstm_node,
    model_of,
    mutated,
    node_model,
    weights,
)

pytestmark = pytest.mark.peers


@pytest.fixture(autouse=True)
def peers():
    pytest.importorskip("onnx", reason="install bench/requirements.txt for this tier")


STATE = np.ones((1, 1, UNITS), np.float32)
ZEROS = np.zeros((1, 2, 7), np.float32)
DIFFERENT = np.arange(2.0 * UNITS, dtype=np.float32).reshape(1, 2, UNITS)
BOTH = ["Sigmoid", "Tanh", "Tanh"]
REFUSED = {  # attributes, what is changed of the inputs, what the message says
    "a new attribute": ({"zoneout": 1}, {}, "attribute 'zoneout'"),
    "its type": ({"hidden_size": 3.0}, {}, "'hidden_size' is of type FLOAT, not INT"),
    "hidden_size": ({"hidden_size": 4}, {}, "'hidden_size' is 4, R is made for 3"),
    "direction": ({"direction": "sideways"}, {}, "'direction' is 'sideways'"),
    "directions": ({"direction": "bidirectional"}, {}, r"W has shape \(1, 12, 2\), expected \(2"),
    "layout": ({"layout": 2}, {}, "'layout' is 2"),
    "input_forget": ({"input_forget": 2}, {}, "'input_forget' is 2"),
    "clip": ({"clip": -1.0}, {}, "clip must be a positive"),
    "a function": ({"activations": ["Sigmoid", "Tanh", "Gelu"]}, {}, "'activations' has 'Gelu'"),
    "too few": ({"activations": ["Sigmoid"]}, {}, "'activations' names 1 functions, not 3"),
    "no alpha": ({"activations": ["Affine", "Tanh", "Tanh"]}, {}, "'affine' needs alpha"),
    "alpha": ({"activation_alpha": [1.0]}, {}, "'activation_alpha' has more values"),
    "beta": ({"activation_beta": [1.0]}, {}, "'activation_beta' has more values"),
    "no R": ({}, {"R": None}, "no input R"),
    "run time": ({}, {"W": "computed"}, "W is the input 'W', expected a constant"),
    "shape": ({}, {"B": np.zeros((1, 12), np.float32)}, r"B has shape \(1, 12\), expected \(1, 24"),
    "rank": ({}, {"R": np.zeros((12, 3), np.float32)}, r"R has shape \(12, 3\), expected three"),
    "integers": ({}, {"W": np.zeros((1, 12, 2), np.int64)}, "W has elements of int64"),
    "types": ({}, {"W": np.zeros((1, 12, 2), np.float64)}, "R has float32, W has float64"),
    "bytes": ({}, {"W": np.zeros((1, 12, 2), np.int8)}, "W has elements of int8, expected floats"),
    "words": ({}, {"W": np.zeros((1, 12, 2), np.uint16)}, "elements of the type UINT16"),
    "nothing": ({}, {"R": np.zeros((1, 0, 0), np.float32)}, r"W has shape .* expected \(1, 0"),
    "lengths": ({}, {"sequence_lens": np.array([1], np.int32)}, "sequence_lens is a constant, and"),
    "rows": ({}, {"initial_h": DIFFERENT}, "initial_h is a constant that differs between rows"),
    "state": ({}, {"initial_h": STATE[0]}, r"initial_h has shape \(1, 3\), expected \(1, B, 3\)"),
    "zeros": ({}, {"initial_h": ZEROS}, r"initial_h has shape \(1, 2, 7\), expected \(1, B, 3\)"),
    "zeros c": ({}, {"initial_c": ZEROS}, r"initial_c has shape \(1, 2, 7\), expected \(1, B, 3"),
    "their rank": ({}, {"initial_h": ZEROS[0]}, r"initial_h has shape \(2, 7\), expected \(1, B"),
    "their part": (
        {"layout": 1},
        {"initial_h": np.zeros((1, 2, UNITS), np.float32)},
        r"initial_h has shape \(1, 2, 3\), expected \(B, 1, 3\)",
    ),
    "their type": (
        {},
        {"initial_h": np.zeros((1, 2, UNITS), np.int64)},
        "initial_h has elements of int64, expected floats",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_unsupported_nodes_are_refused_by_node_and_attribute(case):
    attributes, changed, message = REFUSED[case]
    held = {role: array for role, array in (weights() | changed).items() if array is not None}
    node = lstm_node("the layer", held, **attributes)
    computed = [role for role, array in held.items() if isinstance(array, str)]
    constants = {role: array for role, array in held.items() if role not in computed}
    model = model_of(graph_of([node], constants, ["X", *computed]))
    with pytest.raises(ValueError, match=f"the model: LSTM node 'the layer': .*{message}"):
        interop.nodes(model)


def test_both_directions_have_one_cell():
    names = [*BOTH, "Sigmoid", "Relu", "Tanh"]
    model = node_model({"X": None} | weights(parts=2), direction="bidirectional", activations=names)
    with pytest.raises(ValueError, match="'activations' has other functions for the reverse"):
        interop.nodes(model)


def test_an_attribute_of_a_function_is_that_of_its_call():
    model = in_body("function", lstm_node(hidden_size=UNITS), weights())
    model.graph.node[0].attribute[0].i = 7
    with pytest.raises(ValueError, match="'hidden_size' is 7, R is made for 3"):
        interop.nodes(model)


def test_an_attribute_of_a_call_without_a_function():
    node = lstm_node(hidden_size=UNITS)
    node.attribute[0].ref_attr_name = "units"
    with pytest.raises(ValueError, match="'hidden_size' is a function's"):
        interop.nodes(model_of(graph_of([node], weights())))


def test_an_attribute_is_given_once():
    node = lstm_node(hidden_size=UNITS)
    node.attribute.append(node.attribute[0])
    with pytest.raises(ValueError, match="two attributes 'hidden_size'"):
        interop.nodes(model_of(graph_of([node], weights())))


def test_weights_of_another_operator_are_refused_by_its_name():
    from onnx import helper

    erf = helper.make_node("Erf", ["V"], ["W"], name="bent")
    held = weights() | {"V": weights()["W"]}
    del held["W"]
    with pytest.raises(ValueError, match="W is Erf node 'bent', expected a constant"):
        interop.nodes(model_of(graph_of([erf, lstm_node()], held)))


# ---- Malformed files ----


def rich_models():
    """Small files with something of everything."""
    given, nodes, held = weights(), [], {"B": weights()["B"]}
    for role, kind in (("W", "Slice"), ("R", "Concat")):
        made, sources = computed_by(kind, given[role], role)
        nodes, held = nodes + made, held | sources
    folded = model_of(graph_of([*nodes, lstm_node(activations=BOTH, clip=2.0)], held))
    return in_body("If", lstm_node(hidden_size=UNITS), given), folded


def assert_survives(path, count, seed):
    """Every mutated file is refused, or its models run."""
    interop.save(clstm.LSTM(2, 3, output_size=2, batch_first=True, learn_state=True), path)
    files = [path.read_bytes(), *(model.SerializeToString() for model in rich_models())]
    rng, read = np.random.default_rng(seed), 0
    for data in itertools.islice(itertools.cycle(files), count):
        changed = mutated(data, rng)
        try:
            models = [node.lstm for node in interop.nodes(changed)]
            read += bool(models)
            models.append(interop.load(changed))
        except ValueError:
            continue
        for model in models:
            model(np.zeros((1, 1, model.input_size)))
    assert count / 20 < read < count  # some mutations are of names and weights


def test_mutated_files(tmp_path):
    assert_survives(tmp_path / "model.onnx", 1000, 0)


@pytest.mark.long
def test_many_mutated_files(tmp_path):
    assert_survives(tmp_path / "model.onnx", 100_000, 1)


def bomb(kind):
    """Few nodes that stand for very many, or for very much memory."""
    from onnx import helper

    given = weights()
    if kind == "doubled":
        nodes = [
            helper.make_node("Concat", [f"v{k}", f"v{k}"], [f"v{k + 1}"], axis=0) for k in range(50)
        ]
        held = {"v0": given["W"], "R": given["R"]}
        return model_of(graph_of([*nodes, lstm_node(given=("W", "R"))], held)), "v50"
    if kind == "circular":
        nodes = [helper.make_node("Identity", [f"v{k}"], [f"v{1 - k}"]) for k in (0, 1)]
        return model_of(graph_of([*nodes, lstm_node()], given)), "v0"
    if kind == "shared":
        nodes = [lstm_node(f"n{k}", outputs=(f"Y{k}",)) for k in range(20_000)]
        held = given | {"W": np.zeros((1, 4 * UNITS, 3000), np.float32)}
        return model_of(graph_of(nodes, held)), "W"
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    calls = 1 if kind == "recursive" else 2
    step = 0 if kind == "recursive" else 1
    functions = [
        helper.make_function(
            "own",
            f"f{k}",
            ["X"],
            ["Y"],
            [helper.make_node(f"f{k + step}", ["X"], ["Y"], domain="own")] * calls,
            opsets,
        )
        for k in range(40)
    ]
    call = helper.make_node("f0", ["X"], ["Y"], domain="own")
    return model_of(graph_of([call]), functions=functions), ""


@pytest.mark.parametrize(
    ("kind", "message"),
    {
        "doubled": "its constants would take too much",
        "circular": "is computed from itself",
        "shared": "the number of its layers would take too much",
        "recursive": "nested more than .* deep",
        "called": "nodes, counting those of functions at every call, would take too much",
    }.items(),
)
def test_a_small_file_does_not_take_much(kind, message):
    model, weight = bomb(kind)
    if weight:
        for node in model.graph.node:
            if node.op_type == "LSTM":
                node.input[1] = weight
    with pytest.raises(ValueError, match=message):
        interop.nodes(model)


@pytest.mark.parametrize("data", [b"", b"\xff" * 40, b"{}", b"no model at all"])
def test_a_file_of_another_kind_is_named(tmp_path, data):
    path = tmp_path / "other.onnx"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"other\.onnx"):
        interop.nodes(path)


def test_a_name_that_nothing_has(tmp_path):
    model = node_model({"X": None} | weights())
    model.graph.node[0].input[1] = "elsewhere"
    with pytest.raises(ValueError, match="there is no value 'elsewhere'"):
        interop.nodes(model)
