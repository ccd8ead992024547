"""Keras's layers and files beside Keras itself, on the PyTorch backend."""

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

import clstm
from clstm.interop import keras as interop
from clstm.interop.layers import Dense, run
from tests.interop.keras.models import FEATURES, drawn, keras, layers, sequence, sequential
from tests.support.bounds import assert_close, largest
from tests.support.case import Case

pytestmark = [
    pytest.mark.peers,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # Keras's own
]
if find_spec("keras") is None:
    pytest.skip("install bench/requirements.txt for this tier", allow_module_level=True)
BOUND = 1e-6


def predict(model, x):
    return np.asarray(model.predict(x, verbose=0))


def both(*args, **kwargs):
    return layers.Bidirectional(layers.LSTM(*args, **kwargs))


MODELS = {
    "plain": lambda: [layers.LSTM(4, return_sequences=True)],
    "readout": lambda: [layers.LSTM(4, return_sequences=True), layers.Dense(2)],
    "stack": lambda: [
        layers.LSTM(4, return_sequences=True, dropout=0.3, recurrent_dropout=0.2),
        layers.Dropout(0.5),
        layers.LSTM(4, return_sequences=True, stateful=False, unroll=False),
        layers.TimeDistributed(layers.Dense(2)),
    ],
    "both": lambda: [
        both(4, return_sequences=True),
        layers.SpatialDropout1D(0.1),
        both(4, return_sequences=True, unit_forget_bias=False),
        layers.Dense(1, use_bias=False),
    ],
    "no bias": lambda: [layers.LSTM(4, use_bias=False, return_sequences=True), layers.Dense(2)],
    "float64": lambda: [
        layers.LSTM(4, return_sequences=True, dtype="float64"),
        layers.Dense(2, dtype="float64"),
    ],
    **{
        f"{gate}, {activation}": lambda gate=gate, activation=activation: [
            layers.LSTM(4, return_sequences=True, activation=activation, recurrent_activation=gate)
        ]
        for gate, activation in (
            ("hard_sigmoid", "tanh"),
            ("sigmoid", "relu"),
            ("tanh", "sigmoid"),
            ("sigmoid", "linear"),
            ("sigmoid", "leaky_relu"),
            ("sigmoid", "elu"),
            ("linear", "softsign"),
            ("hard_sigmoid", "softplus"),
        )
    },
}


@pytest.mark.parametrize("name", MODELS)
def test_the_same_numbers(name, tmp_path):
    """From the layers, from a .keras file, and from weights with the model's JSON."""
    theirs, x = sequential(*MODELS[name]()), sequence()
    expected = predict(theirs, x)
    ours = interop.from_keras(theirs)
    assert ours.batch_first
    y, _ = ours(x)
    assert_close(y, expected, BOUND, largest(expected))

    theirs.save(tmp_path / "model.keras")
    theirs.save_weights(tmp_path / "model.weights.h5")
    text = theirs.to_json()
    for read in (
        interop.load(tmp_path / "model.keras"),
        interop.load(tmp_path / "model.weights.h5", architecture=text),
        clstm.load(tmp_path / "model.keras"),
    ):
        assert repr(read) == repr(ours)
        np.testing.assert_array_equal(read.parameters.flat, ours.parameters.flat)
    listed = interop.read(tmp_path / "model.keras")
    assert_close(run(listed, x), expected, BOUND, largest(expected))


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(("wrap", "backwards"), [(False, False), (False, True), (True, False)])
def test_steps_that_keras_passes_to_the_next_layer(wrap, last, backwards, tmp_path):
    layer = layers.LSTM(4, return_sequences=not last, go_backwards=backwards)
    theirs = sequential(layers.Bidirectional(layer) if wrap else layer)
    x = sequence()
    expected = predict(theirs, x)
    theirs.save(tmp_path / "model.keras")
    assert_close(run(interop.read(tmp_path / "model.keras"), x), expected, BOUND)
    assert_close(interop.from_keras(theirs.layers[0])(x)[0], expected, BOUND)
    alone = interop.load(tmp_path / "model.keras", layer=theirs.layers[0].name)
    assert isinstance(alone, clstm.LSTM)
    y = alone(x)[0]
    if wrap and last:
        y = np.concatenate([y[:, -1, :4], y[:, 0, 4:]], axis=-1)
    elif last:
        y = y[:, 0] if backwards else y[:, -1]
    elif backwards:
        y = y[:, ::-1]
    assert_close(y, expected, BOUND)


@pytest.mark.parametrize("head", [(), (2,)], ids=["", "with a readout"])
@pytest.mark.parametrize("name", ["forward", "backwards", "both", "both, and one"])
def test_the_last_step_is_that_of_keras(name, head, tmp_path):
    """Of every direction its own, with a readout or without one."""
    make = {
        "forward": lambda: [layers.LSTM(4)],
        "backwards": lambda: [layers.LSTM(4, go_backwards=True)],
        "both": lambda: [both(4)],
        "both, and one": lambda: [both(4, return_sequences=True), both(4)],
    }[name]
    x, path = sequence(), tmp_path / "model.keras"
    theirs = sequential(*make(), *map(layers.Dense, head))
    expected = predict(theirs, x)
    theirs.save(path)
    theirs.save_weights(tmp_path / "model.weights.h5")
    assert_close(run(interop.read(path), x), expected, BOUND)
    for read in (
        lambda: interop.from_keras(theirs),
        lambda: interop.load(path),
        lambda: interop.load(tmp_path / "model.weights.h5", architecture=theirs.to_json()),
        lambda: clstm.load(path),
    ):
        y, _ = read()(x)
        assert_close(y, expected, BOUND)


def test_each_layer_is_one_of_what_is_read(tmp_path):
    path = tmp_path / "model.keras"
    theirs = sequential(
        layers.Dense(5, activation="relu"),
        layers.LSTM(4, return_sequences=True, go_backwards=True),
        layers.LSTM(4, return_sequences=True),
        both(3, return_sequences=True),
        layers.LSTM(4),
        layers.Dense(3, activation="tanh"),
        layers.Dense(3, activation="softmax"),
    )
    theirs.save(path)
    listed, x = interop.read(path), sequence()
    kinds = [type(layer).__name__ for layer in listed]
    assert kinds == ["Dense", "LSTM", "Reverse", *3 * ["LSTM"], "Last", "Dense", "Dense"]
    assert isinstance(listed[0], Dense)
    assert_close(run(listed, x), predict(theirs, x), BOUND)
    assert_close(interop.load(path)(x)[0], predict(theirs, x), BOUND)


def test_weights_of_lstm_layers_need_no_architecture(tmp_path):
    path = tmp_path / "some.weights.h5"
    theirs, x = sequential(*MODELS["stack"]()[:3]), sequence()
    theirs.save_weights(path)
    assert_close(interop.load(path)(x)[0], predict(theirs, x), BOUND)


@pytest.mark.parametrize("name", ["readout", "both"])
def test_weights_alone_do_not_tell_order_and_functions(name, tmp_path):
    sequential(*MODELS[name]()).save_weights(tmp_path / "some.weights.h5")
    with pytest.raises(ValueError, match=r"some\.weights\.h5: its layers are .* give architecture"):
        interop.load(tmp_path / "some.weights.h5")


# ---- To Keras ----

OURS = {
    "plain": Case(FEATURES),
    "stack": Case(num_layers=3, output_size=2),
    "both": Case(num_layers=2, direction="both", output_size=2, bias=False),
    "float64": Case(dtype=np.float64, output_size=1),
    "cell": Case(
        num_layers=2,
        cell=clstm.Cell(gate=clstm.Activation("hard_sigmoid", 1 / 6), cell="elu", hidden="elu"),
    ),
}


@pytest.mark.parametrize("name", OURS)
def test_keras_computes_the_same(name, tmp_path):
    """From a model made of layers, from a .keras file, and with weights from a file."""
    model = replace(OURS[name], input_size=FEATURES).model(batch_first=True)
    with model.edit() as parameters:  # biases too, which are zero at first
        parameters.flat = Case(seed=3).draw(parameters.flat.size) / 2
    x = sequence()
    expected = model(x)[0]
    interop.save(model, tmp_path / "model.keras")
    interop.save(model, tmp_path / "model.weights.h5")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    weighed = drawn(interop.to_keras(model), seed=9)
    weighed.load_weights(tmp_path / "model.weights.h5")
    for theirs in (interop.to_keras(model), loaded, weighed):
        assert_close(predict(theirs, x), expected, BOUND, largest(expected))
    again = [interop.load(tmp_path / f"model.{end}") for end in ("keras", "weights.h5")]
    for read in (*again, interop.from_keras(loaded)):
        assert repr(read) == repr(model)
        np.testing.assert_array_equal(read.parameters.flat, model.parameters.flat)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"proj_size": 2}, "Keras has no proj_size=2"),
        ({"learn_state": True}, "Keras has no learn_state=True"),
        ({"cell": clstm.Cell(peephole=True)}, r"no cell\.peephole=True"),
        ({"cell": clstm.Cell(coupled=True)}, r"no cell\.coupled=True"),
        ({"cell": clstm.Cell(clip=2)}, r"no cell\.clip=2\.0"),
        ({"cell": clstm.Cell(cell_clip=2)}, r"no cell\.cell_clip=2\.0"),
        ({"cell": clstm.Cell(cell="relu")}, r"cell\.cell=.*relu.*cell\.hidden=.*tanh"),
        ({"cell": clstm.Cell(gate="hard_sigmoid")}, r"no cell\.gate=Activation\('hard_sigmoid'\)"),
        ({"direction": "reverse"}, "put a clstm.layers.Reverse behind the LSTM"),
    ],
)
def test_options_that_keras_lacks_are_named(options, words, tmp_path):
    model = clstm.LSTM(3, 4, **options)
    for write in (interop.to_keras, lambda m: interop.save(m, tmp_path / "model.keras")):
        with pytest.raises(ValueError, match=words):
            write(model)
    assert not list(tmp_path.iterdir())


# ---- What is refused ----


def own_lstm():
    """A layer of a user's class that only has the name."""
    return type("LSTM", (layers.LSTM,), {"__module__": "own"})(4)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: [layers.GRU(4)], "GRU are not supported"),
        (lambda: [layers.LSTM(4, return_sequences=True), layers.SimpleRNN(4)], "SimpleRNN are not"),
        (lambda: [layers.Conv1D(4, 1), layers.LSTM(4)], "Conv1D are not supported"),
        (lambda: [layers.LSTM(4), layers.BatchNormalization()], "BatchNormalization are not"),
        (lambda: [layers.RNN(layers.GRUCell(4))], "an RNN of GRUCell is not supported"),
        (
            lambda: [layers.Masking(), layers.Masking(), layers.LSTM(4)],
            "a second mask is not supported",
        ),
        (lambda: [own_lstm()], "is not a layer of Keras"),
        (lambda: [layers.LSTM(4, activation="gelu")], "activation='gelu' is not supported"),
        (lambda: [layers.LSTM(4, recurrent_activation="hard_silu")], "recurrent_activation='hard"),
        (lambda: [layers.LSTM(4), layers.Dense(2, activation="gelu")], "activation='gelu'"),
        (lambda: [layers.Bidirectional(layers.GRU(4))], "Bidirectional of GRU"),
        (
            lambda: [
                layers.Bidirectional(
                    layers.LSTM(4, go_backwards=True), backward_layer=layers.LSTM(4)
                )
            ],
            "go_backwards of its layers is not False and True",
        ),
        (
            lambda: [
                layers.Bidirectional(
                    layers.LSTM(4), backward_layer=layers.LSTM(5, go_backwards=True)
                )
            ],
            "its two layers differ",
        ),
        (lambda: [layers.TimeDistributed(layers.LayerNormalization())], "TimeDistributed of Layer"),
    ],
)
def test_unsupported_layers_are_named(make, words, tmp_path):
    theirs = sequential(*make())
    theirs.save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match=rf"model\.keras: layers\[\d\].*{words}"):
        interop.read(tmp_path / "model.keras")
    with pytest.raises(ValueError, match=rf"layers\[\d\].*{words}"):
        interop.from_keras(theirs)


def test_a_quantised_layer_is_refused(tmp_path):
    theirs = sequential(layers.LSTM(4, return_sequences=True), layers.Dense(2))
    theirs.layers[1].quantize("int8")
    theirs.save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match=r"layers\[2\] \(dense.*int8|quantization_config"):
        interop.load(tmp_path / "model.keras")
    with pytest.raises(ValueError, match=r"layers\[2\] \(dense.*int8|quantization_config"):
        interop.from_keras(theirs)


def test_keras_1_is_refused(monkeypatch):
    layer = sequential(*MODELS["plain"]()).layers[0]
    monkeypatch.setattr("keras.__version__", "1.2.2")
    with pytest.raises(ValueError, match=r"is '1\.2\.2': Keras 1 is not supported; load it with"):
        interop.from_keras(layer)


def test_a_layer_without_weights_is_refused():
    with pytest.raises(ValueError, match="has no weights yet: build it"):
        interop.from_keras(layers.LSTM(4))
