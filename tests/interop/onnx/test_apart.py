"""LSTM nodes of an ONNX graph that are not layers of one model: our own file, changed."""

import re

import numpy as np
import pytest

from clstm.interop import onnx as interop
from tests.support.case import Case

pytestmark = pytest.mark.peers


@pytest.fixture(autouse=True)
def onnx():
    return pytest.importorskip("onnx", reason="install bench/requirements.txt for this tier")


@pytest.fixture
def saved(tmp_path, onnx):
    """The graph of a model that is one, to be changed."""

    def saved(**options):
        options = {"num_layers": 2, "direction": "both"} | options
        case = Case(hidden_size=3, input_size=2, **options)
        interop.save(case.model(), tmp_path / "model.onnx")
        model = onnx.load(tmp_path / "model.onnx")
        assert interop.load(model).num_layers == options["num_layers"]
        return model

    return saved


def node_of(model, name):
    (found,) = (node for node in model.graph.node if node.name == name)
    return found


def insert(model, before, *nodes):
    """Put nodes where they stand in order, before the one of that name."""
    place = list(model.graph.node).index(node_of(model, before))
    for node in reversed(nodes):
        model.graph.node.insert(place, node)


def hold(model, **arrays):
    from onnx import numpy_helper

    for name, array in arrays.items():
        kept = [tensor for tensor in model.graph.initializer if tensor.name != name]
        del model.graph.initializer[:]
        model.graph.initializer.extend([*kept, numpy_helper.from_array(array, name)])


def set_attribute(model, node, **values):
    from onnx import helper

    changed = node_of(model, node)
    for name, value in values.items():
        kept = [attribute for attribute in changed.attribute if attribute.name != name]
        del changed.attribute[:]
        changed.attribute.extend([*kept, helper.make_attribute(name, value)])


def assert_apart(model, message, kind="2 LSTM nodes, give node="):
    """The message names what is wrong and the reader, which reads the nodes."""
    with pytest.raises(ValueError, match=rf"{kind}.*{message}") as caught:
        interop.load(model)
    assert "clstm.interop.onnx.read" in str(caught.value)
    for k, node in enumerate(interop.read(model)):
        assert interop.load(model, k).num_layers == node.lstm.num_layers == 1


def test_layers_of_other_sizes(saved):
    model = saved(direction="forward")
    f32 = np.float32
    hold(model, W_l1=np.ones((1, 16, 3), f32), R_l1=np.ones((1, 16, 4), f32))
    hold(model, B_l1=np.ones((1, 32), f32), shape_l1=np.array([0, 0, 4]))
    set_attribute(model, "lstm_l1", hidden_size=4)
    node_of(model, "lstm_l1").input[5:7] = ["", ""]  # the states are made for 3
    assert_apart(model, "LSTM node 'lstm_l1' has hidden_size=4, the one below 3")


def test_a_layer_that_takes_another_number_of_features(saved):
    model = saved()
    hold(model, W_l1=np.ones((2, 12, 5), np.float32))
    assert_apart(model, "LSTM node 'lstm_l1' has input_size=5, the one below gives 6")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"activations": ["Sigmoid", "Relu", "Tanh"] * 2}, "cell="),
        ({"activations": ["HardSigmoid", "Tanh", "Tanh"] * 2}, "cell="),
        ({"clip": 2.0}, "cell="),
        ({"input_forget": 1}, "cell="),
        ({"layout": 1}, "batch_first=True, the one below False"),
    ],
)
@pytest.mark.parametrize("layer", [0, 1])
def test_layers_of_another_kind(saved, layer, changed, message):
    model = saved()
    set_attribute(model, f"lstm_l{layer}", **changed)
    if layer == 0:
        message = message.replace("True, the one below False", "False, the one below True")
        if "layout" in changed:  # whose directions are joined without a Transpose
            node_of(model, "y_l0").input[0] = "Y_l0"
    assert_apart(model, f"LSTM node 'lstm_l1' has {message}")


def test_layers_of_other_directions(saved):
    model = saved(direction="forward")
    set_attribute(model, "lstm_l1", direction="reverse")
    assert_apart(model, "LSTM node 'lstm_l1' has direction='reverse', the one below 'forward'")
    model = saved(direction="forward")
    parts = {"W": (12, 3), "R": (12, 3), "B": (24,)}
    hold(model, **{f"{r}_l1": np.ones((2, *s), np.float32) for r, s in parts.items()})
    set_attribute(model, "lstm_l1", direction="bidirectional")
    node_of(model, "lstm_l1").input[5:7] = ["", ""]  # the states are made for one
    assert_apart(model, "LSTM node 'lstm_l1' has bidirectional=True, the one below False")


def test_one_layer_without_a_bias(saved):
    model = saved()
    node_of(model, "lstm_l1").input[3] = ""
    assert_apart(model, "LSTM node 'lstm_l1' has bias=False, the one below True")


@pytest.mark.parametrize("value", ["y_l0", "Y_l0"])
def test_a_middle_layer_that_is_an_output_too(saved, value):
    from onnx import TensorProto, helper

    model = saved()
    model.graph.output.append(helper.make_tensor_value_info(value, TensorProto.FLOAT, None))
    assert_apart(model, "2 outputs besides the states", "more than an LSTM")


def test_a_middle_layer_that_is_added_to_the_last(saved):
    from onnx import helper

    model = saved()
    insert(model, "y", helper.make_node("Add", ["y_l0", "y_l1"], ["sum"], name="skip"))
    node_of(model, "y").input[0] = "sum"
    assert_apart(model, "Add node 'skip'", "more than an LSTM")


def test_a_middle_layer_that_is_the_output(saved):
    model = saved()
    node_of(model, "y").input[0] = "y_l0"
    assert_apart(model, "its output comes from Reshape node 'y_l0'", "more than an LSTM")


def between(kind):
    """A node, what it takes beside a value, and its constants."""
    from onnx import helper

    held = {"one": np.ones(1, np.float32), "half": np.float32(0.5), "yes": np.array(True)}
    more = {"Add": ["one"], "Mul": ["one"], "Dropout": ["half", "yes"]}.get(kind, [])
    given = {"perm": [1, 0, 2]} if kind == "Transpose" else {}

    def node(value, rank):
        changed = {"perm": [0, 1, 3, 2]} if given and rank == 4 else given
        return helper.make_node(kind, [value, *more], ["between"], name="extra", **changed)

    return node, {name: np.asarray(held[name]) for name in more}


@pytest.mark.parametrize("kind", ["Relu", "Add", "Mul", "Dropout", "Transpose", "Neg"])
@pytest.mark.parametrize("place", ["lstm_l1", "y_l0", "moved_l0"])
def test_something_between_layers(saved, kind, place):
    model = saved()
    node, held = between(kind)
    insert(model, place, node(node_of(model, place).input[0], 3 if place == "lstm_l1" else 4))
    node_of(model, place).input[0] = "between"
    hold(model, **held)
    found = "Transpose node 'extra'" if kind == "Transpose" and place == "lstm_l1" else "node"
    assert_apart(model, f"X of LSTM node 'lstm_l1' comes from .*{found}")


def test_an_identity_between_layers_is_none(saved):
    from onnx import helper

    model = saved()
    insert(model, "lstm_l1", helper.make_node("Identity", ["y_l0"], ["copy"]))
    node_of(model, "lstm_l1").input[0] = "copy"
    assert interop.load(model).num_layers == 2


def test_directions_in_the_other_order(saved):
    from onnx import helper

    minus = {"from": np.array([-1]), "to": np.array([-9]), "first": np.array([1])}
    model = saved()
    hold(model, **minus)
    turned = helper.make_node(
        "Slice", ["Y_l0", "from", "to", "first", "from"], ["turned"], name="turn"
    )
    insert(model, "moved_l0", turned)
    node_of(model, "moved_l0").input[0] = "turned"
    assert_apart(model, "X of LSTM node 'lstm_l1' comes from Reshape node 'y_l0'")
    model = saved()
    halves = helper.make_node("Split", ["y_l0"], ["left", "right"], axis=2, num_outputs=2)
    swapped = helper.make_node("Concat", ["right", "left"], ["swapped"], name="swap", axis=2)
    insert(model, "lstm_l1", halves, swapped)
    node_of(model, "lstm_l1").input[0] = "swapped"
    assert_apart(model, "X of LSTM node 'lstm_l1' comes from Concat node 'swap'")
    model = saved()
    set_attribute(model, "moved_l0", perm=[0, 2, 3, 1])  # units beside units, of both directions
    assert_apart(model, "X of LSTM node 'lstm_l1' comes from Reshape node 'y_l0'")


@pytest.mark.parametrize("shape", [[0, -1, 3], [-1, 0, 6], [0, 6, -1], [1, 3, 6]])
def test_axes_that_are_joined_otherwise(saved, shape):
    model = saved()
    hold(model, shape_l0=np.array(shape))
    assert_apart(model, "X of LSTM node 'lstm_l1' comes from Reshape node 'y_l0'")


def test_two_chains(saved, onnx):
    for kept in (1, 0):  # with its outputs, and with none that is computed of it
        model = saved()
        other = onnx.compose.add_prefix(saved(), "b_").graph
        for field in ("node", "input", "initializer", *["output"] * kept):
            getattr(model.graph, field).extend(getattr(other, field))
        message = "X of LSTM node 'b_lstm_l0' comes from the input 'b_x'"
        assert_apart(model, message, "4 LSTM nodes, give node=")


def test_layers_beside_each_other(saved):
    model = saved(direction="forward")
    hold(model, W_l1=np.ones((1, 12, 2), np.float32))
    node_of(model, "lstm_l1").input[0] = "x"
    assert_apart(model, "LSTM node 'lstm_l1' ")


def test_layers_in_a_body():
    from tests.interop.onnx.models import graph_of, in_body, lstm_node, model_of, weights

    body = in_body("If", lstm_node(), weights()).graph
    outside = lstm_node("outside", outputs=("Y2",))
    held = {name: weights()[name] for name in ("W", "R", "B")} | {"condition": np.array(True)}
    model = model_of(graph_of([*body.node, outside], held, outputs=["Y2"]))
    assert_apart(model, "LSTM node 'lstm' is in a nested graph")


# ---- States ----


def test_one_layer_alone_is_given_its_state(saved):
    model = saved()
    node_of(model, "lstm_l1").input[5] = ""
    assert_apart(model, r"LSTM node 'lstm_l1' is given \('initial_c',\), the one below")


@pytest.mark.parametrize(
    ("part", "cut"), [("h0_l0", (2, 4)), ("h0_l0", (1, 3)), ("c0_l1", (0, 2)), ("c0_l1", (-3, -1))]
)
def test_another_part_of_the_state(saved, part, cut):
    model = saved()
    hold(model, **{f"{part}_{k}": np.array([number]) for k, number in enumerate(cut)})
    role = "initial_h" if part[0] == "h" else "initial_c"
    assert_apart(model, f"{role} of LSTM node 'lstm_l{part[-1]}' comes from Slice node '{part}'")


@pytest.mark.parametrize(
    ("name", "numbers", "shape"),
    [
        ("h0_l0_0", [2], (0, "?", 3)),
        ("h0_l0_1", [4], (4, "?", 3)),
        ("c0_l1_0", [0], (4, "?", 3)),
        ("c0_l1_1", [3], (1, "?", 3)),
        ("h0_l1_axis", [1], (4, "?", 3)),
        ("h0_l1_axis", [-1], (4, "?", 1)),
    ],
)
def test_a_part_of_the_state_of_another_shape(saved, name, numbers, shape):
    model = saved()
    hold(model, **{name: np.array(numbers)})
    assert_misshapen(model, name, shape)


def assert_misshapen(model, name, shape):
    """A part of the state has another shape, whatever the graph computes with it."""
    role = "initial_h" if name[0] == "h" else "initial_c"
    found = re.escape(f"({', '.join(map(str, shape))})")
    words = rf"LSTM node 'lstm_l{name[4]}': {role} has shape {found}, expected \(2, B, 3\)"
    for read in (interop.load, interop.read):
        with pytest.raises(ValueError, match=words):
            read(model)


def test_a_state_of_several_inputs(saved):
    model = saved()
    node_of(model, "h0_l1").input[0] = "c0"
    assert_apart(model, "initial_h of LSTM node 'lstm_l1' comes from the input 'c0'")
    model = saved()
    for layer in (0, 1):
        node_of(model, f"lstm_l{layer}").input[5] = "h0"
    assert_misshapen(model, "h0_l0", (4, "?", 3))


def test_a_state_that_is_computed(saved):
    from onnx import helper

    model = saved()
    insert(model, "h0_l1", helper.make_node("Neg", ["h0"], ["minus"], name="negative"))
    node_of(model, "h0_l1").input[0] = "minus"
    assert_apart(model, "initial_h of LSTM node 'lstm_l1' comes from Neg node 'negative'")


def test_every_step_of_the_state_is_taken(saved):
    model = saved()
    hold(model, backwards=np.array([-1]))
    node_of(model, "h0_l1").input.append("backwards")
    assert_apart(model, "initial_h of LSTM node 'lstm_l1' comes from Slice node 'h0_l1'")


def test_lengths_are_those_of_all_layers(saved):
    from onnx import TensorProto, helper

    def given(*inputs):
        model = saved()
        for layer, name in enumerate(inputs):
            node_of(model, f"lstm_l{layer}").input[4] = name
        for name in sorted({*inputs} - {""}):
            lengths = helper.make_tensor_value_info(name, TensorProto.INT32, ["batch"])
            model.graph.input.append(lengths)
        return model

    assert interop.load(given("lengths", "lengths")).num_layers == 2
    assert_apart(given("lengths", ""), "LSTM node 'lstm_l1' is given")
    assert_apart(given("a", "b"), "sequence_lens of LSTM node 'lstm_l1' comes from the input 'b'")


@pytest.mark.parametrize("change", ["order", "axis", "twice", "mixed"])
def test_final_states_in_another_order(saved, change):
    model = saved()
    node = node_of(model, "h_n")
    parts = {"order": (1, 0), "twice": (0, 0)}.get(change, (0, 1))
    node.input[:] = [f"h_n_l{k}" for k in parts]
    if change == "mixed":
        node.input[1] = "c_n_l1"
    if change == "axis":
        set_attribute(model, "h_n", axis=1)
    assert_apart(model, "2 outputs besides the states", "more than an LSTM")


def test_an_output_that_is_an_input(saved):
    model = saved()
    node_of(model, "y").input[0] = "x"
    assert_apart(model, "its output comes from the input 'x'", "more than an LSTM")


def test_layout_1(saved):
    """Whose states have the batch first too; ONNX Runtime does not compute it."""

    def changed(axis):
        model = saved()
        for layer in (0, 1):
            set_attribute(model, f"lstm_l{layer}", layout=1)
            node_of(model, f"y_l{layer}").input[0] = f"Y_l{layer}"
            for name in ("h0", "c0"):
                hold(model, **{f"{name}_l{layer}_axis": np.array([axis])})
        for name in ("h_n", "c_n"):
            set_attribute(model, name, axis=axis)
        return model

    case = Case(hidden_size=3, input_size=2, num_layers=2, direction="both")
    loaded, expected = interop.load(changed(1)), case.model(batch_first=True)
    assert loaded._config == expected._config
    np.testing.assert_array_equal(loaded.parameters.flat, expected.parameters.flat)
    assert_apart(changed(0), "initial_h of LSTM node 'lstm_l0' comes from Slice node 'h0_l0'")
