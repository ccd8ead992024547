"""Whole models beside Keras itself: every kind of model in every kind of file, and from memory."""

from importlib.util import find_spec

import numpy as np
import pytest

import clstm
from clstm.interop import keras as interop
from clstm.layers import Dense, Embedding, Gain, Last, Masking, Product, Reverse, Skip
from tests.interop.keras import cases
from tests.interop.keras.models import FEATURES, drawn, keras
from tests.support.bounds import assert_close, largest

pytestmark = [
    pytest.mark.peers,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # Keras's own
    pytest.mark.filterwarnings("ignore:Layer '.*' was passed an input with a mask:UserWarning"),
]
if find_spec("keras") is None:
    pytest.skip("install bench/requirements.txt for this tier", allow_module_level=True)
BOUND = 2e-6
KINDS = ("keras", "h5", "weights.h5", "memory")


def read_back(model, kind, folder):
    """A model by way of a file, or from memory."""
    if kind == "memory":
        return interop.from_keras(model)
    path = folder / f"model.{kind}"
    if "weights" not in kind:
        model.save(path)
        return clstm.load(path)
    model.save_weights(path)
    return clstm.load(path, architecture=model.to_json())


def check(name, kinds, package, folder):
    model, x = cases.made(name, package)
    expected = cases.result(model, x)
    for kind in kinds:
        read = read_back(model, kind, folder)
        assert read.batch_first
        y, _ = read(x)
        assert y.shape == expected.shape
        assert_close(y, expected, BOUND, largest(expected))


# Each model is read from one kind of file; test-long has all of them.
@pytest.mark.parametrize("name", cases.MODELS)
def test_a_model_computes_what_keras_does(name, tmp_path):
    number = list(cases.MODELS).index(name)
    check(name, [KINDS[number % 3]], keras, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("name", cases.MODELS)
def test_a_model_in_every_kind_of_file_computes_what_keras_does(name, tmp_path):
    check(name, KINDS, keras, tmp_path)


@pytest.mark.parametrize("name", [name for name in cases.MODELS if "words" in name][::5])
def test_a_live_model_computes_the_same(name, tmp_path):
    check(name, ["memory"], keras, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("name", cases.MODELS)
def test_a_model_of_keras_2_computes_what_keras_does(name, tmp_path, monkeypatch):
    """tf_keras is Keras 2: the same layers, other files."""
    package = pytest.importorskip("tf_keras", reason="pip install tensorflow-cpu tf-keras")
    if name in cases.ONLY_KERAS_3:
        pytest.skip("Keras 2 has no zero_output_for_mask as an option")
    check(name, [*KINDS, "_weights.h5"], package, tmp_path)


# ---- Policies ----


class Uniform(cases.Maker):
    """PyTorch has no orthogonal matrices in half precision."""

    def lstm(self, **options):
        return super().lstm(recurrent_initializer="uniform", **options)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16", "bfloat16"])
def test_a_policy_of_half_precision_has_weights_that_are_computed_in_float32(policy, tmp_path):
    """The result is that of Keras in float32 with the same weights, and is noted."""
    plain, x = cases.made("both two", keras)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        theirs = cases.MODELS["both two"](Uniform(keras))
    finally:
        keras.config.set_dtype_policy(before)
    theirs.set_weights(plain.get_weights())
    plain.set_weights([np.float32(w) for w in theirs.get_weights()])  # rounded
    theirs.save(tmp_path / "model.keras")
    read = clstm.load(tmp_path / "model.keras")
    assert read.dtype == np.float32
    assert read.notes == {"dtype_policy": policy}
    expected = cases.result(plain, x)
    assert_close(read(x)[0], expected, BOUND, largest(expected))


# ---- Graphs that are not one chain ----


def _two_outputs(m, x):
    y = m.lstm()(x)
    return [m.dense()(y), m.dense()(y)]


def _skipped(m, x):
    y = m.lstm()(x)
    return m.layers.Add()([y, m.lstm()(y)])


def _shared(m, x):
    layer = m.layers.LSTM(2, return_sequences=True)
    return layer(layer(x))


def _given_state(m, x):
    _, h, c = m.lstm(return_state=True)(x)
    return m.lstm()(x, initial_state=[h, c])


def _cell_state(m, x):
    return m.dense()(m.lstm(return_state=True)(x)[2])


def _one_half(m, x):
    return m.dense()(m.both(return_state=True)(x)[1])


def _turned(m, x):
    _, forward, _, back, _ = m.both(return_state=True)(x)
    return m.layers.Concatenate()([back, forward])


def _own_mask(m, x):
    return m.lstm()(x, mask=keras.ops.any(keras.ops.not_equal(x, 1.0), axis=-1))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (_two_outputs, "has 2 outputs, expected one"),
        (_skipped, "Add joins results of different layers"),
        (_shared, r"layers\[1\] \(lstm.*\): it is called more than once"),
        (_given_state, "is called with initial_state"),
        (_cell_state, "takes its cell state, not its output"),
        (_one_half, r"takes the results \[1\] of Bidirectional"),
        (_turned, r"takes the results \[3, 1\] of Bidirectional"),
        (_own_mask, "its mask is not that of the layers before it"),
        (lambda m, x: m.dense()(m.layers.GRU(3)(x)), "class GRU are not supported"),
    ],
)
def test_graphs_that_are_no_chain_name_the_layer(build, words, tmp_path):
    theirs = cases.Maker(keras).functional(build)
    for end in ("keras", "h5"):
        theirs.save(tmp_path / f"model.{end}")
        with pytest.raises(ValueError, match=rf"model\.{end}: .*{words}"):
            clstm.load(tmp_path / f"model.{end}")
    with pytest.raises(ValueError, match=words):
        interop.from_keras(theirs)


def test_one_layer_of_any_model(tmp_path):
    """Its y at every step, whatever stands around it and however it is joined."""
    theirs = cases.Maker(keras).functional(_skipped)
    theirs.save(tmp_path / "model.h5")
    layer = theirs.layers[2]
    x = np.random.default_rng(0).standard_normal((2, cases.STEPS, cases.UNITS)).astype(np.float32)
    read = clstm.load(tmp_path / "model.h5", layer=layer.name)
    assert_close(read(x)[0], cases.result(layer, x), BOUND)


# ---- To Keras ----

RNG = np.random.default_rng(5)


def lstm(inputs=FEATURES, hidden=3, **options):
    model = clstm.LSTM(inputs, hidden, **options)
    with model.edit() as parameters:
        parameters.flat = RNG.standard_normal(parameters.flat.size) / 2
    return model


def dense(outputs, inputs, activation="", bias=True):
    weight = RNG.standard_normal((outputs, inputs)).astype(np.float32)
    return Dense(weight, weight[:, 0].copy() if bias else None, activation)


def words(**options):
    return Embedding(RNG.standard_normal((cases.WORDS, FEATURES)).astype(np.float32), **options)


OURS = {
    "last": [lstm(), Last(), dense(2, 3, "softmax")],
    "readout": [dense(3, 3, "relu"), lstm(output_size=2, num_layers=2), Dense(activation="tanh")],
    "both": [lstm(bidirectional=True, num_layers=2), Last(ends=True), dense(2, 6, bias=False)],
    "reverse": [lstm(direction="reverse"), Reverse(), lstm(3, bias=False)],
    "reverse last": [lstm(direction="reverse"), Last(ends=True), dense(2, 3)],
    "words": [words(), lstm(bidirectional=True), Last(ends=True), dense(2, 6)],
    "masked words": [words(mask_zero=True), lstm(), dense(2, 3)],
    "masked": [Masking(cases.VALUE), lstm(num_layers=2), lstm(3, bidirectional=True), Last(True)],
    "masked zero": [Masking(cases.VALUE, zero_masked=True), lstm(), dense(2, 3, "elu")],
    "masked both": [Masking(cases.VALUE, zero_masked=True), lstm(bidirectional=True)],
    "masked reverse": [Masking(cases.VALUE), lstm(direction="reverse"), Reverse(), lstm(3)],
    "masked zero last": [Masking(cases.VALUE, zero_masked=True), lstm(), Last(), dense(2, 3)],
    "product": [lstm(bidirectional=True, num_layers=2), Product(), lstm(3)],
    "masked product": [Masking(cases.VALUE), lstm(bidirectional=True), Last(ends=True), Product()],
    "readout last": [lstm(output_size=2), Last()],
}


def given(model):
    rng = np.random.default_rng(6)
    if model.input_size is None:
        return rng.integers(1, cases.WORDS, cases.HOLES.shape) * cases.HOLES
    x = rng.standard_normal((*cases.HOLES.shape, model.input_size)).astype(np.float32)
    x[~cases.HOLES] = cases.VALUE
    return x


@pytest.mark.parametrize("name", OURS)
def test_keras_computes_what_a_sequential_does(name, tmp_path):
    model = clstm.Sequential(OURS[name], batch_first=True, notes={"author": "me"})
    x = given(model)
    expected, _ = model(x)
    files = [tmp_path / "model.keras", tmp_path / "model.weights.h5"]
    written = []
    for path in files:
        interop.save(model, path)
        written.append(path.read_bytes())
        interop.save(model, path)
        assert path.read_bytes() == written[-1]
        assert clstm.load(path).notes == {"author": "me"}
        assert_close(clstm.load(path)(x)[0], expected, BOUND, largest(expected))
    weighed = drawn(interop.to_keras(model), seed=9)
    weighed.load_weights(files[1])
    for theirs in (interop.to_keras(model), keras.saving.load_model(files[0]), weighed):
        assert_close(cases.result(theirs, x), expected, BOUND, largest(expected))


@pytest.mark.parametrize(
    ("chain", "words"),
    [
        ([Gain(2.0), lstm()], r"Keras has no layer for Gain\(value=2.0\)"),
        ([Skip([lstm()])], "Keras has no layer for Skip"),
        ([lstm(), Dense(None, np.ones(3))], "Keras has no layer for Dense"),
        ([lstm(), dense(2, 3), Last()], "must stand right behind an LSTM"),
        ([lstm(bidirectional=True), Last()], r"use Last\(ends=True\)"),
        ([lstm(direction="reverse")], "put a clstm.layers.Reverse behind the LSTM"),
        ([lstm(direction="reverse", num_layers=2), Reverse()], "takes one layer, and no readout"),
        ([lstm(hidden=4), Product()], "Product.*: it must stand behind a bidirectional LSTM"),
        (
            [Masking(zero_masked=True), lstm(bidirectional=True), Last(ends=True)],
            "gives the last step that it computed, .* with zero_masked=False",
        ),
        ([lstm(), Reverse()], "behind an LSTM with direction='reverse'"),
        ([Masking(), lstm(bidirectional=True)], "make the Masking with zero_masked=True"),
        ([Masking(), lstm(output_size=2)], "Keras computes a readout at masked steps, too"),
        ([Masking(), Masking(1.0), lstm()], "only one mask, with an LSTM behind it"),
        ([lstm(), Masking()], "only one mask, with an LSTM behind it"),
    ],
)
def test_what_keras_lacks_is_named(chain, words, tmp_path):
    model = clstm.Sequential(chain)
    for write in (interop.to_keras, lambda m: interop.save(m, tmp_path / "model.keras")):
        with pytest.raises(ValueError, match=words):
            write(model)
    assert not list(tmp_path.iterdir())


def test_a_note_that_is_no_json_value_is_refused(tmp_path):
    model = clstm.Sequential([lstm()], notes={"what": {1, 2}})
    with pytest.raises(ValueError, match="a note is not a JSON value"):
        interop.save(model, tmp_path / "model.keras")
    assert not list(tmp_path.iterdir())
