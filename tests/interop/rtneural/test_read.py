"""RTNeural's JSON of both kinds: its own models, and its definition written out."""

import json

import numpy as np
import pytest

from clstm import Sequential
from clstm.interop import rtneural
from clstm.interop.layers import Dense, Skip, run
from clstm.layers import Gain, Last
from tests.interop.files import (
    GATES,
    NOT_PLAIN,
    assert_same_model,
    by_gate,
    draw_model,
    forward,
    write,
)
from tests.interop.rtneural.files import KERAS, drawn, entry, keras_file, keras_lstm, torch_lstm

X = np.random.default_rng(9).standard_normal((6, 2))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.json"


# ---- Reading ----


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("lstm_torch", ["LSTM", "LSTM", "Dense"]),
        ("lstm", ["Dense", "LSTM", "Dense"]),
        ("lstm_1d", ["LSTM", "Dense"]),
    ],
)
def test_rtneurals_own_models(reference_data, name, kinds):
    folder = reference_data / "rtneural"
    x, y = (np.loadtxt(folder / f"{name}_{part}.csv").reshape(-1, 1) for part in "xy")
    layers = rtneural.read(folder / f"{name}.json")
    assert [type(layer).__name__ for layer in layers] == kinds
    assert np.abs(run(layers, x) - y).max() <= 2e-7
    if kinds[0] == "LSTM":
        assert np.abs(rtneural.load(folder / f"{name}.json")(x)[0] - y).max() <= 2e-7
    else:
        assert np.abs(rtneural.load(folder / f"{name}.json")(x)[0] - y).max() <= 2e-7


def test_rtneurals_bad_model(reference_data):
    reason = r"bad_lstm\.json: layers\[0\]\.weights\[0\] has shape \(1, 80\), expected \(1, 64\)"
    with pytest.raises(ValueError, match=reason):
        rtneural.read(reference_data / "rtneural" / "bad_lstm.json")


def test_keras_layers(path):
    layers, rng = drawn(2, 3, 4)
    first, last = rng.standard_normal((2, 2)), rng.standard_normal((4, 5))
    bias, last_bias = rng.standard_normal(2), rng.standard_normal(5)
    file = keras_file(
        entry("time-distributed-dense", "tanh", 2, first, bias),
        *map(keras_lstm, layers),
        entry("activation", "relu", 4),
        entry("dense", "", 5, last, last_bias),
        entry("activation", "sigmoid", 5),
    )
    read = rtneural.read(write(path, file), dtype=np.float64)
    assert [type(layer).__name__ for layer in read] == ["Dense", "LSTM", "LSTM", "Dense", "Dense"]
    h = np.maximum(forward(layers, np.tanh(X @ first + bias)), 0)
    expected = 1 / (1 + np.exp(-(h @ last + last_bias)))
    np.testing.assert_allclose(run(read, X), expected, rtol=1e-12)


def test_a_torch_state_dict(path):
    layers, rng = drawn(2, 3, 3)
    top, _ = drawn(3, 4, seed=1)
    weight = rng.standard_normal((2, 4))
    file = torch_lstm(layers, "net.rec.", rng) | torch_lstm(top, "net.top.", rng)
    file["lin.weight"] = weight.tolist()
    read = rtneural.read(write(path, file), dtype=np.float64)
    assert [type(layer).__name__ for layer in read] == ["LSTM", "LSTM", "Dense"]
    assert read[0].num_layers == 2
    expected = forward([*layers, *top], X) @ weight.T
    np.testing.assert_allclose(run(read, X), expected, rtol=1e-12)


def test_a_state_dict_without_prefix(path):
    layers, rng = drawn(2, 3)
    lstm = rtneural.load(write(path, torch_lstm(layers, "", rng)), dtype=np.float64)
    np.testing.assert_allclose(lstm(X)[0], forward(layers, X), rtol=1e-12)


def test_lstms_in_a_row_load_as_one(path):
    layers, _ = drawn(2, 3, 3)
    file = keras_file(*map(keras_lstm, layers))
    assert len(rtneural.read(write(path, file))) == 2
    lstm = rtneural.load(path, dtype=np.float64)
    assert (lstm.num_layers, lstm.dtype) == (2, np.float64)
    np.testing.assert_allclose(lstm(X)[0], forward(layers, X), rtol=1e-12)


def test_a_skip_around_all_layers(path):
    layers, _ = drawn(2, 3)
    read = rtneural.read(write(path, keras_file(keras_lstm(layers[0]), in_skip=1)), dtype="f8")
    assert isinstance(read[0], Skip)
    np.testing.assert_allclose(run(read, X), forward(layers, X) + X[:, :1], rtol=1e-12)
    np.testing.assert_allclose(rtneural.load(path, dtype="f8")(X)[0], run(read, X), rtol=1e-12)


@pytest.mark.parametrize("skip", [0, 1])
def test_gains_are_in_decibels(path, skip):
    """u is the amplified input, and the skip adds it, not the input of the file."""
    layers, _ = drawn(2, 3)
    file = keras_file(keras_lstm(layers[0]), in_skip=skip) | {"in_gain": 6.0, "out_gain": -3}
    model = rtneural.load(write(path, file), dtype="f8")
    u = 10 ** (6 / 20) * X
    expected = 10 ** (-3 / 20) * (forward(layers, u) + skip * u[:, :1])
    np.testing.assert_allclose(model(X)[0], expected, rtol=1e-12)
    rtneural.save(model, path)
    again = json.loads(path.read_text())
    assert again.get("in_skip", 0) == skip
    np.testing.assert_allclose([again["in_gain"], again["out_gain"]], [6, -3], rtol=1e-12)
    np.testing.assert_allclose(rtneural.load(path, dtype="f8")(X)[0], expected, rtol=1e-12)


def test_notes_are_kept(path):
    more = {"samplerate": "48000", "author": "A", "metadata": {"b": [1]}, "in_gain": 0.0}
    lstm = rtneural.load(write(path, KERAS | more | {"in_skip": 0}))
    assert lstm.output_size == 2
    assert lstm.notes == {name: more[name] for name in ("samplerate", "author", "metadata")}
    rtneural.save(lstm, path)
    assert rtneural.load(path).notes == lstm.notes


# ---- Writing ----


@pytest.mark.parametrize("bias", [True, False])
def test_keras_layers_of_a_model(path, bias):
    lstm = draw_model(bias=bias, dtype=np.float64)
    rtneural.save(lstm, path)
    file = json.loads(path.read_text())
    assert file["in_shape"] == [None, None, 2]
    assert [(e["type"], e["activation"], e["shape"][-1]) for e in file["layers"]] == [
        ("lstm", "tanh", 3),
        ("lstm", "tanh", 3),
        ("dense", "", 2),
    ]
    layers = []
    for e in file["layers"][:2]:
        w, r, b = map(np.array, e["weights"])
        layers.append({kind: by_gate(a.T, GATES) for kind, a in (("w", w), ("r", r), ("b", b))})
    weight, linear_bias = map(np.array, file["layers"][2]["weights"])
    expected = forward(layers, X) @ weight + linear_bias
    np.testing.assert_allclose(lstm(X)[0], expected, rtol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
def test_the_state_dict_of_a_model(path, bias):
    lstm = draw_model(bias=bias)
    rtneural.save(lstm, path, torch_names=True)
    file = {
        name: np.array(values, np.float32) for name, values in json.loads(path.read_text()).items()
    }
    linear = {
        name: file.pop(f"dense.{name}") for name in ("weight", "bias") if bias or name == "weight"
    }
    np.testing.assert_array_equal(linear["weight"], lstm.parameters["weight_out"])
    if bias:
        np.testing.assert_array_equal(linear["bias"], lstm.parameters["bias_out"])
    expected = lstm.state_dict(torch_names=True)
    assert file.keys() == {f"lstm.{n}" for n in expected if not n.endswith("_out")}
    for name, array in file.items():
        np.testing.assert_array_equal(array, expected[name.removeprefix("lstm.")])


@pytest.mark.parametrize("torch_names", [True, False])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("output_size", [None, 2])
def test_round_trip(path, torch_names, dtype, output_size):
    lstm = draw_model(dtype=dtype, output_size=output_size)
    rtneural.save(lstm, path, torch_names=torch_names)
    assert_same_model(rtneural.load(path, dtype=dtype), lstm)


@pytest.mark.parametrize("torch_names", [True, False])
def test_lists_are_written(path, torch_names):
    function = "" if torch_names else "tanh"
    rng = np.random.default_rng(0)
    dense = [
        Dense(rng.standard_normal((o, i)), rng.standard_normal(o), function)
        for o, i in ((2, 2), (4, 2), (3, 4))
    ]
    layers = [dense[0], draw_model(dtype=np.float64), dense[1], dense[2]]
    layers.insert(2, draw_model(2, 2, dtype=np.float64, output_size=None))
    if not torch_names:
        layers.insert(3, Dense(activation="elu"))
    rtneural.save(Sequential(layers), path, torch_names=torch_names)
    read = rtneural.read(path, dtype=np.float64)
    np.testing.assert_allclose(run(read, X), run(layers, X), rtol=1e-12)


@pytest.mark.parametrize("torch_names", [True, False])
@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        *(
            ([draw_model(**options)], f"RTNeural has no {next(iter(options))}=")
            for options in NOT_PLAIN
        ),
        ([draw_model(), Skip((draw_model(),))], "RTNeural's files have no Skip in this place"),
        ([Skip((Skip((draw_model(),)),))], "RTNeural's files have no Skip in this place"),
        ([Skip((draw_model(),), count=2)], "RTNeural's files have no Skip in this place"),
        ([draw_model(), Gain(2.0), draw_model()], "RTNeural's files have no Gain in this place"),
        ([draw_model(), Last()], "RTNeural's files have no Last in this place"),
    ],
)
def test_options_that_cannot_be_written(path, layers, reason, torch_names):
    with pytest.raises(ValueError, match=reason):
        rtneural.save(Sequential(layers), path, torch_names=torch_names)
    assert not path.exists()


def test_a_gain_that_no_decibels_give_is_refused(path):
    with pytest.raises(ValueError, match=r"gains in decibels, which -2\.0 is not"):
        rtneural.save(Sequential([Gain(-2.0), draw_model()]), path)
    assert not path.exists()


@pytest.mark.parametrize("layer", [Dense(activation="tanh"), Dense(np.ones((1, 2)), None, "tanh")])
def test_a_state_dict_has_no_activations(path, layer):
    with pytest.raises(ValueError, match="a state dict has no Dense with tanh"):
        rtneural.save(Sequential([draw_model(), layer]), path, torch_names=True)


def test_numbers_that_are_not_finite_are_not_written(path):
    lstm = draw_model()
    with lstm.edit() as parameters:
        parameters["bias_l0"][1] = np.nan
    with pytest.raises(ValueError, match="has NaN or infinity"):
        rtneural.save(lstm, path)
    assert not path.exists()
