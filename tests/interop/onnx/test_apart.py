"""LSTM nodes of an ONNX graph that are not layers of one model: our own file, changed."""

import re

import numpy as np
import pytest

import clstm
from clstm.interop import onnx as interop
from tests.interop.onnx.compare import assert_same
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


def assert_refused(model, message):
    """Neither the whole graph nor its nodes are read."""
    for read in (interop.load, interop.nodes):
        with pytest.raises(ValueError, match=message):
            read(model)


def assert_apart(model, message):
    """The message names what is wrong and the reader, which reads the nodes."""
    with pytest.raises(ValueError, match=message):
        interop.load(model)
    for k, node in enumerate(interop.nodes(model)):
        assert interop.load(model, k).num_layers == node.lstm.num_layers == 1


def assert_kept(model, *kinds, x=None, state=True):
    """The model is a Sequential that computes what ONNX Runtime does."""
    rng = np.random.default_rng(0)
    loaded = interop.load(model)
    assert isinstance(loaded, clstm.Sequential)
    assert [type(layer).__name__ for layer in loaded] == list(kinds)
    feeds = {"x": rng.standard_normal((5, 4, 2)).astype(np.float32) if x is None else x}
    for name in ("h0", "c0") if state else ():
        shapes = {v.name: v.type.tensor_type.shape.dim for v in model.graph.input}
        parts = shapes[name][0].dim_value
        feeds[name] = rng.standard_normal((parts, 4, 3)).astype(np.float32)
    assert_same(model.SerializeToString(), feeds, state=("h0", "c0") if state else ())


def without_states(model):
    """The nodes have no states: those of the file are made for other sizes."""
    for layer in (0, 1):
        node_of(model, f"lstm_l{layer}").input[5:7] = ["", ""]
    for kind, name in (("input", "x"), ("output", "y")):
        values = getattr(model.graph, kind)
        kept = [value for value in values if value.name == name]
        del values[:]
        values.extend(kept)
    for node in [node for node in model.graph.node if node.name[:2] in ("h_", "c_", "h0", "c0")]:
        model.graph.node.remove(node)


def test_layers_of_other_sizes(saved):
    model = saved(direction="forward")
    rng = np.random.default_rng(1)
    draw = {n: rng.standard_normal(s).astype(np.float32) for n, s in
            {"W_l1": (1, 16, 3), "R_l1": (1, 16, 4), "B_l1": (1, 32)}.items()}  # fmt: skip
    hold(model, **draw, shape_l1=np.array([0, 0, 4]))
    set_attribute(model, "lstm_l1", hidden_size=4)
    without_states(model)
    assert_kept(model, "LSTM", "LSTM", state=False)


def test_a_layer_that_takes_another_number_of_features(saved):
    model = saved()
    hold(model, W_l1=np.ones((2, 12, 5), np.float32))
    assert_refused(model, r"LSTM node 'lstm_l1': X has shape \(\?, \?, 6\), expected \(T, B, 5\)")


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize(
    "changed",
    [
        {"activations": ["Sigmoid", "Relu", "Tanh"] * 2},
        {"activations": ["HardSigmoid", "Tanh", "Tanh"] * 2},
        {"clip": 2.0},
        {"input_forget": 1},
    ],
)
def test_layers_of_another_kind(saved, layer, changed):
    model = saved()
    set_attribute(model, f"lstm_l{layer}", **changed)
    assert_kept(model, "LSTM", "LSTM")


def test_layers_of_other_directions(saved):
    model = saved(direction="forward")
    set_attribute(model, "lstm_l1", direction="reverse")
    assert_kept(model, "LSTM", "LSTM")
    model = saved(direction="forward")
    rng = np.random.default_rng(1)
    parts = {"W": (12, 3), "R": (12, 3), "B": (24,)}
    for role, shape in parts.items():
        hold(model, **{f"{role}_l1": rng.standard_normal((2, *shape)).astype(np.float32)})
    hold(model, shape_l1=np.array([0, 0, 6]))
    set_attribute(model, "lstm_l1", direction="bidirectional")
    without_states(model)
    assert_kept(model, "LSTM", "LSTM", state=False)


def test_one_layer_without_a_bias_has_zeros(saved):
    model = saved()
    node_of(model, "lstm_l1").input[3] = ""
    loaded = interop.load(model)
    assert isinstance(loaded, clstm.LSTM)
    assert not loaded.parameters["bias_l1"].any()
    assert loaded.parameters["bias_l0"].any()


@pytest.mark.parametrize("value", ["y_l0", "Y_l0"])
def test_a_middle_layer_that_is_an_output_too(saved, value):
    from onnx import TensorProto, helper

    model = saved()
    model.graph.output.append(helper.make_tensor_value_info(value, TensorProto.FLOAT, None))
    assert_apart(model, f"2 outputs besides the states: 'y' of LSTM node 'lstm_l1', '{value}'")


def test_a_middle_layer_that_is_added_to_the_last(saved):
    from onnx import helper

    model = saved()
    insert(model, "y", helper.make_node("Add", ["y_l0", "y_l1"], ["sum"], name="skip"))
    node_of(model, "y").input[0] = "sum"
    assert_kept(model, "LSTM", "Skip")


def test_a_middle_layer_that_is_the_output(saved):
    """The states of the last are beside it."""
    model = saved()
    node_of(model, "y").input[0] = "y_l0"
    assert_apart(model, "output 'h_n' is of LSTM node 'lstm_l1', beside the chain")


def between(kind):
    """A node, what it takes beside a value, and its constants."""
    from onnx import helper

    held = {"one": np.ones(1, np.float32), "half": np.float32(0.5), "yes": np.array(True)}
    more = {"Add": ["one"], "Mul": ["half"], "Dropout": ["half", "yes"]}.get(kind, [])
    given = {"perm": [1, 0, 2]} if kind == "Transpose" else {}

    def node(value, rank):
        changed = {"perm": [0, 1, 3, 2]} if given and rank == 4 else given
        return helper.make_node(kind, [value, *more], ["between"], name="extra", **changed)

    return node, {name: np.asarray(held[name]) for name in more}


PLACES = ["lstm_l1", "y_l0", "moved_l0"]
APART = [(kind, place) for kind in ("Neg", "Dropout") for place in PLACES]


def put_between(saved, kind, place):
    model = saved()
    node, held = between(kind)
    insert(model, place, node(node_of(model, place).input[0], 3 if place == "lstm_l1" else 4))
    node_of(model, place).input[0] = "between"
    hold(model, **held)
    return model


@pytest.mark.parametrize(("kind", "place"), [*APART, ("Transpose", "lstm_l1")])
def test_something_between_layers(saved, kind, place):
    model = put_between(saved, kind, place)
    message = "node 'extra'" if kind != "Transpose" else "with time and batch first"
    assert_apart(model, message)


@pytest.mark.parametrize("kind", ["Relu", "Add", "Mul"])
@pytest.mark.parametrize("place", PLACES)
def test_layers_between_lstms(saved, kind, place):
    layer = {"Relu": "Dense", "Add": "Dense", "Mul": "Gain"}[kind]
    assert_kept(put_between(saved, kind, place), "LSTM", layer, "LSTM")


def test_an_identity_between_layers_is_none(saved):
    from onnx import helper

    model = saved()
    insert(model, "lstm_l1", helper.make_node("Identity", ["y_l0"], ["copy"]))
    node_of(model, "lstm_l1").input[0] = "copy"
    assert interop.load(model).num_layers == 2


def test_directions_in_the_other_order(saved):
    """The columns of the next layer's weights are in that order, too."""
    from onnx import helper

    minus = {"from": np.array([-1]), "to": np.array([-9]), "first": np.array([1])}
    model = saved()
    hold(model, **minus)
    turned = helper.make_node(
        "Slice", ["Y_l0", "from", "to", "first", "from"], ["turned"], name="turn"
    )
    insert(model, "moved_l0", turned)
    node_of(model, "moved_l0").input[0] = "turned"
    swapped = interop.load(model).parameters
    plain = interop.load(saved()).parameters
    for name in ("weight_ih_l1", "weight_ih_l1_reverse"):
        np.testing.assert_array_equal(swapped[name], np.roll(plain[name], 3, axis=1))
    model = saved()
    halves = helper.make_node("Split", ["y_l0"], ["left", "right"], axis=2)
    joined = helper.make_node("Concat", ["right", "left"], ["swapped"], name="swap", axis=2)
    insert(model, "lstm_l1", halves, joined)
    node_of(model, "lstm_l1").input[0] = "swapped"
    np.testing.assert_array_equal(interop.load(model).parameters.flat, swapped.flat)
    model = saved()
    set_attribute(model, "moved_l0", perm=[0, 2, 3, 1])  # units beside units, of both directions
    mixed = interop.load(model).parameters["weight_ih_l1"]
    order = np.arange(6).reshape(2, 3).T.reshape(-1)
    np.testing.assert_array_equal(mixed[:, order], plain["weight_ih_l1"])


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ([0, -1, 3], r"X has shape \(\?, \?, 3\), expected \(T, B, 6\)"),
        ([0, 6, -1], "LSTM node 'lstm_l1'"),
        ([1, 3, 6], "Reshape node 'y_l0': it"),
    ],
)
def test_axes_that_are_joined_otherwise(saved, shape, message):
    model = saved()
    hold(model, shape_l0=np.array(shape))
    (assert_refused if "X has" in message else assert_apart)(model, message)


def test_two_chains(saved, onnx):
    for kept in (1, 0):  # with its outputs, and with none that is computed of it
        model = saved()
        other = onnx.compose.add_prefix(saved(), "b_").graph
        for field in ("node", "input", "initializer", *["output"] * kept):
            getattr(model.graph, field).extend(getattr(other, field))
        if kept:
            assert_apart(model, "2 outputs besides the states: 'y' of .*'b_y' of")
        else:
            assert interop.load(model).num_layers == 2


def test_layers_beside_each_other(saved):
    model = saved(direction="forward")
    hold(model, W_l1=np.ones((1, 12, 2), np.float32))
    node_of(model, "lstm_l1").input[0] = "x"
    assert_apart(model, "output 'h_n' is of LSTM node 'lstm_l0', beside the chain")


def test_layers_in_a_body():
    from tests.interop.onnx.models import graph_of, in_body, lstm_node, model_of, weights

    body = in_body("Loop", lstm_node(), weights()).graph
    outside = lstm_node("outside", outputs=("Y2",))
    held = {name: weights()[name] for name in ("W", "R", "B")}
    held |= {"condition": np.array(True), "trips": np.array(1)}
    model = model_of(graph_of([*body.node, outside], held, outputs=["Y2", "out"]))
    assert_apart(model, "output 'out' comes from Loop node 'out'")


# ---- States ----


def test_one_layer_alone_is_given_its_state(saved):
    """The model takes a state for each, and the file's caller gave zeros for the other."""
    model = saved()
    node_of(model, "lstm_l1").input[5] = ""
    assert interop.load(model).num_layers == 2


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"h0_l0": (2, 4), "h0_l1": (0, 2)}, "part 0 of 'h0', which other layers take in another"),
        ({"h0_l0": (1, 3)}, "is a part of 'h0' that is used twice"),
        ({"c0_l1": (0, 2)}, "part 0 of 'c0', which other layers take in another order"),
    ],
)
def test_another_part_of_the_state(saved, parts, message):
    model = saved()
    for part, cut in parts.items():
        hold(model, **{f"{part}_{k}": np.array([number]) for k, number in enumerate(cut)})
    if parts == {"h0_l0": (1, 3)}:
        message = "which other layers take in another order"
    assert_apart(model, message)


@pytest.mark.parametrize(
    ("name", "numbers", "shape"),
    [
        ("h0_l0_0", [2], (0, "?", 3)),
        ("h0_l0_1", [4], (4, "?", 3)),
        ("c0_l1_0", [0], (4, "?", 3)),
        ("c0_l1_1", [3], (1, "?", 3)),
        ("h0_l1_axis", [-1], (4, "?", 1)),
    ],
)
def test_a_part_of_the_state_of_another_shape(saved, name, numbers, shape):
    model = saved()
    hold(model, **{name: np.array(numbers)})
    assert_misshapen(model, name, shape)


def test_a_state_that_is_cut_on_another_axis(saved):
    model = saved()
    hold(model, h0_l1_axis=np.array([1]))
    assert_apart(model, "initial_h of LSTM node 'lstm_l1' comes from Slice node 'h0_l1': it cuts")


def assert_misshapen(model, name, shape):
    """A part of the state has another shape, whatever the graph computes with it."""
    role = "initial_h" if name[0] == "h" else "initial_c"
    found = re.escape(f"({', '.join(map(str, shape))})")
    words = rf"LSTM node 'lstm_l{name[4]}': {role} has shape {found}, expected \(2, B, 3\)"
    for read in (interop.load, interop.nodes):
        with pytest.raises(ValueError, match=words):
            read(model)


def test_a_state_of_several_inputs(saved):
    model = saved()
    node_of(model, "h0_l1").input[0] = "c0"
    assert_apart(model, "initial_c of LSTM node 'lstm_l1' is a part of 'c0' that is used twice")
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


def test_the_state_of_one_layer_is_the_last_of_another(saved):
    """An encoder and a decoder."""
    model = saved()
    node_of(model, "lstm_l1").input[5] = "h_n_l0"
    assert_apart(model, "initial_h of LSTM node 'lstm_l1' comes from LSTM node 'lstm_l0'")


def test_a_step_of_the_state_is_that_of_a_slice(saved):
    model = saved()
    hold(model, backwards=np.array([-1]))
    node_of(model, "h0_l1").input.append("backwards")
    assert_misshapen(model, "h0_l1", (0, "?", 3))


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
    assert_apart(given("lengths", ""), "LSTM node 'lstm_l1' has no sequence_lens")
    assert_apart(given("a", "b"), "sequence_lens of LSTM node 'lstm_l1' comes from the input 'b'")


@pytest.mark.parametrize("change", ["order", "axis", "twice", "mixed"])
def test_final_states_in_another_order(saved, change):
    model = saved()
    node = node_of(model, "h_n")
    parts = {"order": (1, 0), "twice": (0, 0)}.get(change, (0, 1))
    node.input[:] = [f"h_n_l{k}" for k in parts]
    once = "output 'h_n' does not hold each part once, in order"
    message = once if change == "twice" else "output 'h_n' joins states in another order"
    if change == "mixed":
        node.input[1] = "c_n_l1"
        message = "output 'h_n' comes from Concat node 'h_n': its inputs are not arranged alike"
    if change == "axis":
        set_attribute(model, "h_n", axis=1)
        message = once
    assert_apart(model, message)


def test_an_output_that_is_an_input(saved):
    model = saved()
    node_of(model, "y").input[0] = "x"
    assert_apart(model, "its output 'y' comes from the input 'x'")


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
        for value in model.graph.input:
            if value.name != "x":  # (B, parts, H)
                value.type.tensor_type.shape.dim[0].dim_param = "batch"
                value.type.tensor_type.shape.dim[1].dim_value = 4
        return model

    case = Case(hidden_size=3, input_size=2, num_layers=2, direction="both")
    loaded, expected = interop.load(changed(1)), case.model(batch_first=False)
    assert_parameters(loaded, expected)
    assert_apart(changed(0), "output 'h_n' does not hold each part once, in order")


def assert_parameters(loaded, expected):
    assert repr(loaded).replace(", batch_first=True", "") == repr(expected)
    np.testing.assert_array_equal(loaded.parameters.flat, expected.parameters.flat)
