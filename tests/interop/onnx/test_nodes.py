"""LSTM nodes of ONNX models, read as models from anywhere in the graph.

peers/test_onnx_cells.py measures the meaning of a node against ONNX Runtime, through a reader of
the tests' own; here the product's reader is compared with that one.
"""

import numpy as np
import pytest

import clstm
from clstm.interop import onnx as interop
from tests.interop.onnx.models import (
    UNITS,
    computed_by,
    constant,
    graph_of,
    in_body,
    lstm_node,
    model_of,
    node_model,
    weights,
)
from tests.interop.onnx.nodes import random_node, read_node, run_onnx_runtime

pytestmark = pytest.mark.peers


@pytest.fixture(autouse=True)
def peers():
    for name in ("onnx", "onnxruntime"):
        pytest.importorskip(name, reason="install bench/requirements.txt for this tier")


def only(model):
    (found,) = interop.nodes(model)
    return found


def assert_equal(model, expected):
    assert model._config == expected._config
    for name, array in expected.parameters.items():
        np.testing.assert_array_equal(model.parameters[name], array)


def assert_holds(lstm, given, suffix=""):
    """The weights of one direction, by the letters of the gates."""
    blocks = {role: np.split(given[role][0], 4) for role in ("W", "R")}
    bias = given["B"].reshape(2, -1).sum(0)
    for ours, theirs in enumerate((0, 2, 3, 1)):
        own = slice(ours * UNITS, (ours + 1) * UNITS)
        np.testing.assert_array_equal(lstm.parameters["weight_ih_l0"][own], blocks["W"][theirs])
        np.testing.assert_array_equal(lstm.parameters["weight_hh_l0"][own], blocks["R"][theirs])
        np.testing.assert_array_equal(lstm.parameters["bias_l0"][own], np.split(bias, 4)[theirs])


# ---- One node ----


def test_random_nodes_equal_those_of_the_tests_own_reader():
    for seed in range(100):
        node, given = random_node(seed)
        found = only(node_model(given, node))
        assert_equal(found.lstm, read_node(node, given)[0])
        computed = [r for r in ("sequence_lens", "initial_h", "initial_c") if r in given]
        assert list(found.given) == computed


@pytest.mark.parametrize("seed", range(5))
def test_a_node_computes_the_same_as_onnx_runtime(seed):
    node, given = random_node(seed)
    lstm = only(node_model(given, node)).lstm
    state = (given["initial_h"], given["initial_c"]) if "initial_h" in given else None
    y, final = lstm(given["X"], state, lengths=given.get("sequence_lens"))
    wanted_y, *wanted = run_onnx_runtime(node, given)
    directed = y.reshape(*y.shape[:2], len(final[0]), -1).swapaxes(1, 2)
    for actual, expected in zip((directed, *final), (wanted_y, *wanted), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_layout_1_is_batch_first():
    found = only(node_model({"X": None} | weights(), layout=1))
    assert found.lstm.batch_first
    assert_holds(found.lstm, weights())


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_model_has_the_dtype_of_its_weights_or_of_the_argument(dtype):
    given = weights(dtype=dtype)
    model = node_model({"X": None} | given)
    assert only(model).lstm.dtype == (np.float64 if dtype == np.float64 else np.float32)
    (found,) = interop.nodes(model, dtype=np.float64)
    assert found.lstm.dtype == np.float64
    assert_holds(found.lstm, {role: array.astype(np.float64) for role, array in given.items()})


@pytest.mark.parametrize("source", ["path", "bytes", "model"])
def test_a_model_comes_from_a_file_from_bytes_or_from_memory(tmp_path, source):
    model = node_model({"X": None} | weights())
    before = data = model.SerializeToString()
    (tmp_path / "model.onnx").write_bytes(data)
    sources = {"path": tmp_path / "model.onnx", "bytes": data, "model": model}
    assert_holds(only(sources[source]).lstm, weights())
    assert model.SerializeToString() == before


def test_a_node_without_a_name_has_that_of_its_first_output():
    model = node_model({"X": None} | weights())
    model.graph.node[0].name = ""
    model.graph.node[0].output[0] = ""
    assert only(model).name == "Y_h"


# ---- Where weights and nodes stand ----

MOVING = ["Unsqueeze", "Squeeze", "Transpose", "Reshape"]


@pytest.mark.parametrize("kind", ["Constant", "Identity", "Cast", "Concat", "Slice", *MOVING])
def test_weights_behind_an_operator(kind):
    given, nodes, held = weights(), [], {}
    for role in ("W", "R"):
        made, sources = computed_by(kind, given[role], role)
        nodes, held = nodes + made, held | sources
    model = model_of(graph_of([*nodes, lstm_node()], held | {"B": given["B"]}))
    assert_holds(only(model).lstm, given)


def test_axes_are_attributes_in_earlier_versions():
    from onnx import helper

    given = weights()
    rows = helper.make_node("Slice", ["doubled"], ["W"], axes=[1], starts=[0], ends=[4 * UNITS])
    whole = helper.make_node("Squeeze", ["wide"], ["R"], axes=[0])
    added = helper.make_node("Unsqueeze", ["narrow"], ["B"], axes=[0])
    held = {"doubled": np.repeat(given["W"], 2, 1), "wide": given["R"][np.newaxis]}
    held["doubled"][:, : 4 * UNITS] = given["W"]
    model = graph_of([rows, whole, added, lstm_node()], held | {"narrow": given["B"][0]})
    assert_holds(only(model_of(model, opset=9)).lstm, given)


def folded_cases():
    """Operators with random arguments: node, and its inputs by name."""
    from onnx import helper

    rng = np.random.default_rng(0)
    for _ in range(150):
        rank = int(rng.integers(1, 5))
        shape = rng.integers(1, 5, rank)
        held = {"data": rng.standard_normal(shape).astype(np.float32)}
        kind, given = str(rng.choice(["Slice", "Reshape", "Squeeze", "Unsqueeze", "Concat"])), {}
        if kind == "Slice":
            axes = rng.permutation(rank)[: rng.integers(1, rank + 1)]
            held["starts"], held["ends"] = rng.integers(-7, 8, (2, len(axes)))
            held["axes"] = np.where(rng.random(len(axes)) < 0.5, axes, axes - rank)
            held["steps"] = rng.choice([-2, -1, 1, 2], len(axes))
        elif kind == "Reshape":
            held["shape"] = np.array([0, -1, 1] if rank > 1 else [-1, 1])
        elif kind == "Squeeze":
            held["data"] = held["data"][..., np.newaxis, :1]
            held |= {"axes": np.array([-2])} if rng.random() < 0.5 else {}
        elif kind == "Unsqueeze":
            held["axes"] = np.array([-1, 0, 2]) if rank > 1 else np.array([1])
        else:
            given["axis"] = int(rng.integers(-rank, rank))
            held["more"] = held["data"] + 1
        yield helper.make_node(kind, list(held), ["result"], **given), held


def test_operators_fold_to_the_results_of_onnx_runtime():
    import onnxruntime

    from clstm.interop.onnx.evaluator import Evaluator
    from clstm.interop.onnx.graph import Graph
    from clstm.interop.onnx.operators import operators

    for node, held in folded_cases():
        model = model_of(graph_of([node], held, [], ["result"]))
        model.graph.output[0].type.tensor_type.ClearField("shape")
        evaluator = Evaluator(Graph(model, None), operators)
        session = onnxruntime.InferenceSession(model.SerializeToString())
        expected = session.run(None, {})[0]
        actual = evaluator.constant(evaluator.value(evaluator.graph.main, "result"))
        np.testing.assert_array_equal(actual, expected, strict=True)


@pytest.mark.parametrize("kind", ["If", "Loop", "Scan", "function"])
def test_nodes_in_bodies(kind):
    model = in_body(kind, lstm_node(hidden_size=UNITS), weights())
    assert_holds(only(model).lstm, weights())


def test_a_function_counts_at_every_call():
    model = in_body("function", lstm_node(hidden_size=UNITS), weights())
    again = model.graph.node.add()
    again.CopyFrom(model.graph.node[0])
    again.input[1], again.output[0] = "other", "second"
    other = weights() | {"W": weights(5)["W"]}
    model.graph.initializer.append(constant(other["W"], "other"))
    first, second = interop.nodes(model)
    assert_holds(first.lstm, weights())
    assert_holds(second.lstm, other)


def test_a_name_of_a_body_hides_the_one_around_it():
    model = in_body("If", lstm_node(), weights())
    model.graph.initializer.append(constant(np.zeros((1, 8 * UNITS), np.float32), "B"))
    assert_holds(only(model).lstm, weights())


# ---- Initial states ----


def state_model(nodes=(), **held):
    roles = ("W", "R", "B", "initial_h", "initial_c")
    model = graph_of([*nodes, lstm_node(given=roles)], weights() | held)
    return model_of(model)


def test_an_initial_state_of_zeros_is_none():
    from onnx import helper

    zeros = np.zeros((1, 4, UNITS), np.float32)
    shaped = [helper.make_node("ConstantOfShape", ["size"], [f"z{k}"]) for k in "hc"]
    cut = [helper.make_node("Squeeze", [f"z{k}", "axes"], [f"initial_{k}"]) for k in "hc"]
    for model in (
        state_model(initial_h=zeros, initial_c=zeros),
        state_model([*shaped, *cut], size=np.array([1, 1, 4, UNITS]), axes=np.array([0])),
    ):
        found = only(model)
        assert not found.given and not found.lstm.learn_state


def test_an_initial_state_of_other_constants_is_not_taken_for_zero():
    from onnx import helper, numpy_helper

    one = numpy_helper.from_array(np.ones(1, np.float32))
    ones = helper.make_node("ConstantOfShape", ["size"], ["initial_h"], value=one)
    zeros = np.zeros((1, 4, UNITS), np.float32)
    found = only(state_model([ones], size=np.array([1, 4, UNITS]), initial_c=zeros))
    assert not found.given
    np.testing.assert_array_equal(found.lstm.parameters["h0"], np.ones((1, UNITS)))
    assert not found.lstm.parameters["c0"].any()


def test_the_state_of_layout_1_has_the_batch_first():
    h, c = np.arange(4.0 * UNITS, dtype=np.float32).reshape(2, 1, 2, UNITS)
    held = weights(parts=2) | {"initial_h": np.repeat(h, 3, 0), "initial_c": np.repeat(c, 3, 0)}
    node = lstm_node(given=held, layout=1, direction="bidirectional")
    lstm = only(model_of(graph_of([node], held))).lstm
    np.testing.assert_array_equal(lstm.parameters["h0"], h[0])
    np.testing.assert_array_equal(lstm.parameters["c0"], c[0])


def test_a_constant_initial_state_is_a_learned_one():
    from onnx import helper

    rng = np.random.default_rng(1)
    h, c = rng.standard_normal((2, 1, 1, UNITS)).astype(np.float32)
    expand = helper.make_node("Expand", ["h", "size"], ["initial_h"])
    size, zeros = np.array([1, 4, 1]), np.zeros((1, 4, UNITS), np.float32)
    for model, cell in (
        (state_model(initial_h=np.repeat(h, 4, 1), initial_c=np.repeat(c, 4, 1)), c),
        (state_model([expand], h=h, size=size, initial_c=zeros), 0 * c),
    ):
        found = only(model)
        assert not found.given
        np.testing.assert_array_equal(found.lstm.parameters["h0"], h[:, 0])
        np.testing.assert_array_equal(found.lstm.parameters["c0"], cell[:, 0])


# ---- Files ----


def test_external_data(tmp_path):
    import onnx

    model = node_model({"X": None} | weights())
    path = tmp_path / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights", size_threshold=0)
    assert_holds(only(path).lstm, weights())
    with pytest.raises(ValueError, match="in an external file"):
        interop.nodes(path.read_bytes())
    (tmp_path / "weights").unlink()
    with pytest.raises(ValueError, match=r"model\.onnx: .*'W', external data"):
        interop.nodes(path)


def test_the_detector_has_its_lstm_in_both_branches(reference_data):
    """With and without a batch; the graph slices the weights and concatenates them again."""
    data = np.load(reference_data / "silero" / "lstm.npz")
    state = {"weight_ih_l0": data["weight_ih"], "weight_hh_l0": data["weight_hh"]}
    expected = clstm.LSTM(128, 128)
    expected.load_state_dict(state | {"bias_l0": data["bias_ih"] + data["bias_hh"]})
    found = interop.nodes(reference_data / "silero" / "silero_vad_16k_op15.onnx")
    assert [node.name for node in found] == ["/model/decoder/rnn/LSTM", "/model/decoder/rnn_1/LSTM"]
    for node in found:
        assert_equal(node.lstm, expected)
