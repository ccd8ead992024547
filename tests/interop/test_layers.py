"""Layers around an LSTM, and the lists of layers that are one LSTM."""

import numpy as np
import pytest

import clstm
from clstm.interop.layers import (
    ACTIVATIONS,
    Dense,
    Skip,
    joined,
    only_lstm,
    require_plain,
    run,
    stacked,
    with_readout,
)
from clstm.interop.onnx import Node
from clstm.layers import Last, Reverse
from tests.interop.files import NOT_PLAIN, assert_same_model, draw_model

X = np.random.default_rng(5).standard_normal((4, 3, 2))


def linear(seed, outputs, inputs, **options):
    rng = np.random.default_rng(seed)
    bias = rng.standard_normal(outputs)
    return Dense(rng.standard_normal((outputs, inputs)), bias, **options)


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("", lambda x: x),
        ("tanh", lambda x: np.sinh(x) / np.cosh(x)),
        ("relu", lambda x: (x + np.abs(x)) / 2),
        ("sigmoid", lambda x: np.exp(x) / (1 + np.exp(x))),
        ("softmax", lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True)),
        ("elu", lambda x: np.where(x > 0, x, np.exp(x) - 1)),
    ],
)
def test_activations(name, formula):
    x = np.linspace(-5, 5, 24).reshape(4, 6)
    np.testing.assert_allclose(ACTIVATIONS[name](x), formula(x), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.filterwarnings("error")
def test_activations_of_large_numbers(name):
    x = np.array([-1e4, 0, 1e4], np.float32)
    y = ACTIVATIONS[name](x)
    assert y.dtype == np.float32
    assert np.isfinite(y).all()


def test_dense():
    layer = linear(0, 4, 2, activation="relu")
    expected = np.maximum(np.einsum("oi,tbi->tbo", layer.weight, X) + layer.bias, 0)
    np.testing.assert_allclose(layer(X), expected, rtol=1e-12)
    without = Dense(layer.weight)
    np.testing.assert_allclose(without(X), X @ layer.weight.T)
    np.testing.assert_array_equal(Dense(activation="tanh")(X), np.tanh(X))


def test_dense_computes_in_the_type_of_its_weight():
    layer = Dense(np.ones((1, 2), np.float32), np.ones(1, np.float32))
    assert layer(np.ones((3, 2), int)).dtype == np.float32


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((None, None, "gelu"), ValueError, "activation must be one of '', 'tanh', .*, got 'gelu'"),
        ((None, None, None), ValueError, "activation must be one of .*, got None"),
        (([[1.0]],), TypeError, r"weight must be a NumPy array \(O, I\) or None, got list"),
        ((np.ones(3),), ValueError, r"weight has shape \(3,\), expected \(O, I\)"),
        ((np.ones((2, 3)), 1.0), TypeError, r"bias must be a NumPy array \(O,\) or None, got"),
        ((np.ones((2, 3)), np.ones(3)), ValueError, r"bias has shape \(3,\), .* \(2,\)"),
    ],
)
def test_a_dense_layer_that_cannot_be_called_is_not_made(arguments, error, message):
    with pytest.raises(error, match=message):
        Dense(*arguments)


def test_skip_adds_the_first_feature_to_every_output():
    dense = linear(0, 3, 2)
    np.testing.assert_array_equal(Skip((dense,))(X), dense(X) + X[..., :1])


def test_the_error_state_of_numpy_has_no_effect():
    x = np.array([[1e-50], [1e300], [-800.0]])
    layers = [draw_model(1, output_size=None), linear(1, 1, 3, activation="sigmoid"), Skip(())]
    with np.errstate(all="ignore"):
        expected = run(layers, x)
    with np.errstate(all="raise"):
        results = run(layers, x), Dense(activation="softmax")(np.array([-800.0, 800.0]))
    np.testing.assert_array_equal(results[0], expected)
    np.testing.assert_array_equal(results[1], [0, 1])


def test_run():
    lstm, dense = draw_model(output_size=None), linear(1, 1, 3, activation="tanh")
    np.testing.assert_array_equal(run([lstm, dense], X), dense(lstm(X)[0]))
    np.testing.assert_array_equal(run([], X), X)


def test_sequences_of_unequal_length_go_through_every_layer():
    x = [X[:3, 0], X[:1, 1], X[:0, 2], X[:, 0]]
    lstm, dense = draw_model(output_size=None), linear(1, 2, 3, activation="tanh")
    layers = [linear(2, 2, 2), lstm, Skip((dense,)), Dense(activation="softmax")]
    result = run(layers, x)
    assert [y.shape for y in result] == [(3, 2), (1, 2), (0, 2), (4, 2)]
    for given, y in zip(x, result, strict=True):
        np.testing.assert_allclose(y, run(layers, given), rtol=1e-5, atol=1e-7)
    assert run(layers, []) == []
    assert run([], x)[0] is x[0]


def test_what_is_no_sequence_is_refused():
    dense = linear(0, 4, 2)
    for layers in ([], [dense], [draw_model(output_size=None), dense]):
        with pytest.raises(
            TypeError, match=r"x must be a NumPy array or a list of .*x\[0\] is list"
        ):
            run(layers, [[1.0, 2.0]])
        with pytest.raises(TypeError, match="x must be a NumPy array, got tuple"):
            run(layers, (X, X))
    for layer in (dense, Dense(activation="tanh"), Skip((dense,))):
        with pytest.raises(TypeError, match="x must be a NumPy array, got list"):
            layer([X])


def test_what_is_no_layer_is_refused():
    lstm = draw_model(output_size=None)
    node = Node("the node", lstm, ())
    with pytest.raises(TypeError, match=r"layers\[1\] must be a layer, got Node, .* its \.lstm is"):
        run([lstm, node], X)
    with pytest.raises(TypeError, match=r"layers\[1\] must be .* got Last, .* clstm\.Sequential"):
        run([lstm, Last()], [X[:, 0]])
    with pytest.raises(TypeError, match="a Skip cannot hold Last"):
        Skip([lstm, Last()])(X)
    with pytest.raises(TypeError, match=r"Reverse when it is called alone: .*Sequential\(\[skip"):
        Skip([lstm, Reverse()])(X)
    with pytest.raises(ValueError, match="count=2 must be 1 or the 3 features of y"):
        Skip([lstm], count=2)(X)
    with pytest.raises(TypeError, match=r"layers\[0\] must be a layer, got str"):
        run(["lstm"], X)
    for single in (lstm, {"lstm": lstm}):
        with pytest.raises(TypeError, match=r"layers must be a list of layers, got .* \[layer\]"):
            run(single, X)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("linear_bias", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_a_linear_layer_becomes_the_readout(bias, linear_bias, bidirectional):
    lstm = draw_model(bias=bias, bidirectional=bidirectional, output_size=None, dtype=np.float64)
    dense = linear(1, 2, 6 if bidirectional else 3)
    dense = dense if linear_bias else Dense(dense.weight)
    whole = only_lstm([lstm, dense], "read")
    assert whole.output_size == 2
    assert whole.bias == (bias or linear_bias)
    np.testing.assert_allclose(whole(X)[0], dense(lstm(X)[0]), rtol=1e-12)


@pytest.mark.parametrize(
    "options", [{}, {"bidirectional": True}, {"direction": "reverse"}, {"proj_size": 2}]
)
def test_lstms_become_layers_of_one(options):
    options |= {"dtype": np.float64, "hidden_size": 3}
    below = draw_model(input_size=2, num_layers=1, output_size=None, **options)
    width = below._config.width
    above = draw_model(input_size=width, num_layers=2, output_size=None, seed=1, **options)
    top = draw_model(input_size=width, num_layers=1, output_size=2, seed=2, **options)
    whole = only_lstm([below, above, top], "read")
    assert (whole.input_size, whole.num_layers, whole.output_size) == (2, 4, 2)
    np.testing.assert_allclose(whole(X)[0], run([below, above, top], X), rtol=1e-12)


@pytest.mark.parametrize(
    ("below", "above", "message"),
    [
        ({"cell": clstm.Cell(clip=0.1)}, {}, r"it has cell=Cell\(\), the one below Cell\(clip"),
        ({}, {"cell": clstm.Cell(peephole=True)}, r"it has cell=Cell\(peephole=True\), the one"),
        ({"dtype": np.float64}, {}, "it has dtype=float32, the one below float64"),
        ({"hidden_size": 4}, {"input_size": 4}, "it has hidden_size=3, the one below 4"),
        ({"bias": False}, {}, "it has bias=True, the one below False"),
        ({"direction": "reverse"}, {}, "it has direction='forward', the one below 'reverse'"),
        ({"bidirectional": True}, {"input_size": 6}, "it has bidirectional=False, the one below"),
        ({"proj_size": 2}, {"input_size": 2}, "it has proj_size=0, the one below 2"),
        ({"batch_first": True}, {}, "it has batch_first=False, the one below True"),
        ({"learn_state": True}, {}, "it has learn_state=False, the one below True"),
        ({}, {"input_size": 2}, "it has input_size=2, the one below gives 3 features"),
        ({"output_size": 3}, {}, "the one below has a readout, output_size=3"),
    ],
)
def test_lstms_that_differ_are_not_layers_of_one(below, above, message):
    options = {"input_size": 3, "hidden_size": 3, "num_layers": 1, "output_size": None}
    lstms = [draw_model(**options | below), draw_model(**options | above)]
    with pytest.raises(
        ValueError, match=rf"lstms\[1\] cannot be a layer on lstms\[0\]: .*{message}"
    ):
        stacked(lstms)


def test_what_is_no_lstm_cannot_be_stacked():
    with pytest.raises(ValueError, match="lstms must hold at least one LSTM"):
        stacked([])
    with pytest.raises(TypeError, match=r"lstms\[1\] must be a clstm\.LSTM, got Dense"):
        stacked([draw_model(output_size=None), linear(0, 2, 3)])


def test_a_model_has_one_readout():
    lstm, weight = draw_model(output_size=None), np.ones((2, 3))
    whole = with_readout(lstm, weight, None)
    with pytest.raises(ValueError, match=r"has a readout already, output_size=2: .*Sequential"):
        with_readout(whole, np.ones((2, 2)), None)
    for wrong in (np.ones((2, 4)), np.ones((0, 3)), np.ones(3)):
        with pytest.raises(ValueError, match=r"weight has shape .*, expected \(O, 3\)"):
            with_readout(lstm, wrong, None)
    with pytest.raises(ValueError, match=r"bias has shape \(3,\), expected \(2,\)"):
        with_readout(lstm, weight, np.ones(3))


def test_many_layers_of_one():
    below = draw_model(1, 1, 1, None, dtype=np.float64)
    for whole in (only_lstm([below] * 1000, "read"), *joined([below] * 1000)):
        assert len(whole.parameters) == 3000
        assert np.unique(whole.parameters.flat).size == 12


def test_layers_are_joined_where_they_are_one():
    rng = np.random.default_rng(0)
    first, last = rng.standard_normal((2, 2)), rng.standard_normal((1, 3))
    below = draw_model(2, num_layers=1, output_size=None, dtype=np.float64)
    above = draw_model(3, num_layers=2, output_size=None, dtype=np.float64, seed=1)
    inner = [below, above, Dense(last), Dense(activation="tanh")]
    layers = [Dense(first, None, "tanh"), Skip(tuple(inner)), draw_model(1, 4, dtype=np.float64)]
    chain = joined(layers)
    assert [type(layer).__name__ for layer in chain] == ["Dense", "Skip", "LSTM"]
    assert [type(layer).__name__ for layer in chain[1].layers] == ["LSTM", "Dense"]
    assert (chain[1].layers[0].num_layers, chain[1].layers[0].output_size) == (3, 1)
    np.testing.assert_allclose(run(chain, X), run(layers, X), rtol=1e-12)
    assert joined([]) == []


def test_one_lstm_is_itself():
    lstm = draw_model()
    assert only_lstm([lstm], "read") is lstm


@pytest.mark.parametrize(
    ("second", "name"),
    [
        (draw_model(3, 4), "LSTM: it has hidden_size=4, the one below 3"),
        (draw_model(3, 3, bias=False), "LSTM: it has bias=False, the one below True"),
        (draw_model(3, 3, cell=clstm.Cell(coupled=True)), r"LSTM: it has cell=Cell\(coupled=True"),
        (draw_model(3, 3, learn_state=True), "LSTM: it has learn_state=True, the one below"),
        (linear(0, 2, 3, activation="tanh"), "Dense with tanh"),
        (Dense(activation="relu"), "Dense with relu"),
        (Skip(()), "Skip"),
    ],
)
def test_further_layers_are_named(second, name):
    with pytest.raises(ValueError, match=rf"layer 1 is {name}.*\. some\.read returns"):
        only_lstm([draw_model(output_size=None), second], "some.read")


@pytest.mark.parametrize(
    ("layers", "name"),
    [
        ([], "layer 0 is missing"),
        ([linear(0, 2, 2), draw_model()], "layer 0 is Dense"),
        ([draw_model(), linear(0, 2, 2)], "layer 1 is Dense"),  # it has a readout
        ([draw_model(output_size=3), draw_model(3)], "layer 1 is LSTM: the one below has a read"),
        ([draw_model(output_size=None), linear(0, 2, 3), linear(0, 2, 2)], "layer 2 is Dense"),
        ([draw_model(output_size=None), linear(0, 2, 3), draw_model()], "layer 2 is LSTM"),
    ],
)
def test_the_first_layer_that_does_not_fit_is_named(layers, name):
    with pytest.raises(ValueError, match=name):
        only_lstm(layers, "read")


def test_options_that_another_system_lacks_are_named():
    require_plain(draw_model(batch_first=True, bias=False), "X")
    lstm = draw_model(learn_state=True)
    require_plain(lstm, "X", "learn_state")
    with pytest.raises(ValueError, match="X has no learn_state=True"):
        require_plain(lstm, "X", "bidirectional")
    for options in NOT_PLAIN:
        with pytest.raises(ValueError, match=f"X has no {next(iter(options))}="):
            require_plain(draw_model(**options), "X")


def test_the_same_model():
    """The check of the other tests can fail."""
    assert_same_model(draw_model(), draw_model())
    with pytest.raises(AssertionError):
        assert_same_model(draw_model(), draw_model(seed=1))
