"""Neural Amp Modeler's files: the definition written out, and bad files."""

import json

import numpy as np
import pytest

import clstm
from clstm.interop import nam
from tests.interop.files import (
    GATES,
    NOT_PLAIN,
    assert_same_model,
    changed,
    draw_layer,
    draw_model,
    forward,
    refuses,
    survives_mutations,
    write,
)

X = np.random.default_rng(9).standard_normal((6, 2))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.nam"


def flat(layers, h0, c0, weight, bias):
    """Number by number: rows of gates i, f, g, o, in each first the inputs', then the state's."""
    numbers = []
    for k, layer in enumerate(layers):
        for gate in GATES:
            for w_row, r_row in zip(layer["w"][gate], layer["r"][gate], strict=True):
                numbers += [*w_row, *r_row]
        for gate in GATES:
            numbers += [*layer["b"][gate]]
        numbers += [*h0[k], *c0[k]]
    return [float(number) for number in [*numbers, *weight.ravel(), *bias]]


def layers_of(numbers, inputs, hidden, count):
    """The reverse: layers, h0, c0, and what is left."""
    numbers = iter(numbers)

    def take(*shape):
        return np.array([next(numbers) for _ in range(int(np.prod(shape)))]).reshape(shape)

    layers, states = [], []
    for k in range(count):
        size = hidden if k else inputs
        rows = {gate: take(hidden, size + hidden) for gate in GATES}
        biases = {gate: take(hidden) for gate in GATES}
        w = {gate: matrix[:, :size] for gate, matrix in rows.items()}
        r = {gate: matrix[:, size:] for gate, matrix in rows.items()}
        layers.append({"w": w, "r": r, "b": biases})
        states.append((take(hidden), take(hidden)))
    return layers, *zip(*states, strict=True), list(numbers)


def model_file(numbers, input_size=2, hidden_size=3, num_layers=2, **more):
    sizes = {"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers}
    return {
        "version": "0.5.4",
        "metadata": {"name": "A", "loudness": -20.5, "training": {"a": [None]}},
        "architecture": "LSTM",
        "config": sizes | more,
        "weights": numbers,
        "sample_rate": 48000,
    }


def drawn(outputs=1, seed=0):
    rng = np.random.default_rng(seed)
    layers = [draw_layer(rng, 2, 3), draw_layer(rng, 3, 3)]
    h0, c0 = rng.standard_normal((2, 2, 3)).astype(np.float32)
    weight, bias = rng.standard_normal((outputs, 3)), rng.standard_normal(outputs)
    return layers, h0, c0, weight, bias


FILE = model_file(flat(*drawn()))
COUNT = 4 * 3 * (2 + 3) + 4 * 3 * (3 + 3) + 2 * 6 * 3 + 3 + 1


@pytest.mark.parametrize("outputs", [1, 2])
def test_a_file_by_its_definition(path, outputs):
    layers, h0, c0, weight, bias = drawn(outputs)
    channels = {"in_channels": 2, "out_channels": 2} if outputs == 2 else {}
    write(path, model_file(flat(layers, h0, c0, weight, bias), **channels))
    lstm = nam.load(path, dtype=np.float64)
    expected = forward(layers, X, h0, c0) @ weight.T + bias
    np.testing.assert_allclose(lstm(X)[0], expected, rtol=1e-12)
    np.testing.assert_allclose(nam.load(path)(X)[0], expected, rtol=1e-5, atol=1e-6)
    (read,) = nam.read(path, dtype=np.float64)
    assert_same_model(read, lstm)


def test_a_stream_begins_at_the_stored_state(path):
    layers, h0, c0, weight, bias = drawn()
    stream = nam.load(write(path, FILE), dtype=np.float64).stream()
    expected = forward(layers, X, h0, c0) @ weight.T + bias
    np.testing.assert_allclose([stream.step(x) for x in X], expected, rtol=1e-12)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("learn_state", [True, False])
def test_the_file_of_a_model(path, bias, learn_state):
    lstm = draw_model(bias=bias, learn_state=learn_state, dtype=np.float64)
    nam.save(lstm, path, sample_rate=44100)
    file = json.loads(path.read_text())
    assert (file["version"], file["architecture"]) == ("0.5.4", "LSTM")
    assert file["sample_rate"] == 44100
    sizes = {"input_size": 2, "hidden_size": 3, "num_layers": 2}
    assert file["config"] == sizes | {"in_channels": 2, "out_channels": 2}
    layers, h0, c0, head = layers_of(file["weights"], 2, 3, 2)
    assert learn_state == bool(np.any([h0, c0]))
    weight, linear_bias = np.reshape(head[:6], (2, 3)), np.array(head[6:])
    expected = forward(layers, X, h0, c0) @ weight.T + linear_bias
    np.testing.assert_allclose(lstm(X)[0], expected, rtol=1e-12)


def test_one_channel_needs_no_entry(path):
    nam.save(draw_model(1, 3, 1, 1), path)
    file = json.loads(path.read_text())
    assert file["config"] == {"input_size": 1, "hidden_size": 3, "num_layers": 1}
    assert "sample_rate" not in file


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sizes", [(1, 8, 1, 1), (2, 3, 3, 2), (3, 1, 2, 1)])
def test_round_trip(path, dtype, sizes):
    lstm = draw_model(*sizes, learn_state=True, dtype=dtype)
    nam.save(lstm, path)
    assert_same_model(nam.load(path, dtype=dtype), lstm)


@pytest.mark.parametrize("options", [o for o in NOT_PLAIN if "learn_state" not in o])
def test_options_that_cannot_be_written(path, options):
    with pytest.raises(ValueError, match=f"Neural Amp Modeler has no {next(iter(options))}"):
        nam.save(draw_model(**options), path)
    assert not path.exists()


def test_a_model_without_a_head_cannot_be_written(path):
    with pytest.raises(ValueError, match="needs a head, but output_size is None"):
        nam.save(draw_model(output_size=None), path)
    assert not path.exists()


def test_notes_are_kept(path):
    more = {"sample_rate": 44100, "metadata": {"name": "A", "loudness": -18.2}, "notes": [1]}
    lstm = nam.load(write(path, FILE | more))
    assert lstm.notes == more
    nam.save(lstm, path)
    assert nam.load(path).notes == more
    nam.save(lstm, path, sample_rate=96000)
    assert nam.load(path).notes == more | {"sample_rate": 96000}


def test_a_head_of_its_own_is_written(path):
    lstm, weight = draw_model(1, 3, 1, None), np.ones((1, 3), np.float32)
    model = clstm.Sequential([lstm, clstm.layers.Dense(weight)])
    nam.save(model, path)
    x = np.ones((4, 1), np.float32)
    np.testing.assert_allclose(nam.load(path)(x)[0], model(x)[0], rtol=1e-6)


@pytest.mark.parametrize("version", ["0.5.0", "0.5.2", "0.6.1", "0.7.0", "0.7.12"])
def test_versions(path, version):
    nam.load(write(path, FILE | {"version": version}))


@pytest.mark.parametrize(
    ("steps", "to", "reason"),
    [
        (("version",), "0.4.0", "version is not supported, only 0.5, 0.6 and 0.7 are"),
        (("version",), "0.8.0", "version is not supported, only 0.5, 0.6 and 0.7 are"),
        (("version",), "0.5.0\n", "version is not supported, only 0.5, 0.6 and 0.7 are"),
        (("version",), 0.5, "version is a number, expected a string"),
        (("architecture",), "WaveNet", "architecture is 'WaveNet', expected 'LSTM'"),
        (("config",), [], "config is a list, expected an object"),
        (("config",), {"input_size": 1, "hidden_size": 3}, "config has no 'num_layers'"),
        (("config", "bidirectional"), True, "config has 'bidirectional'"),
        (("config", "hidden_size"), 2, f"weights has shape \\({COUNT},\\), expected \\(91,\\)"),
        (("config", "hidden_size"), 0, "hidden_size is 0, expected at least 1"),
        (("config", "hidden_size"), 3.0, "hidden_size is 3.0, expected an integer"),
        (("config", "hidden_size"), 10**30, r"expected \(a very large number,\)"),
        (("config", "num_layers"), 10**30, r"expected \(a very large number,\)"),
        (("config", "num_layers"), -1, "num_layers is -1, expected at least 1"),
        (("config", "input_size"), True, "input_size is true, expected an integer"),
        (("config", "in_channels"), 1, "in_channels is not input_size=2"),
        (("config", "out_channels"), 2, f"expected \\({COUNT + 4},\\)"),
        (("weights",), None, "weights is not an array of 1 axes"),
        (("weights",), [[1.0]], "weights has shape"),
        (("weights",), FILE["weights"][:-1], f"weights has shape \\({COUNT - 1},\\)"),
        (("weights",), [*FILE["weights"], 0.0], f"weights has shape \\({COUNT + 1},\\)"),
        (("weights", 3), "1", "weights contains a value that is not a number"),
    ],
)  # fmt: skip
def test_bad_files(path, steps, to, reason):
    refuses(nam.load, path, changed(FILE, *steps, to=to), reason)


def test_notes_of_another_type_are_refused(path):
    more = {n: v for n, v in FILE.items() if n != "metadata"} | {"sample_rate": None}
    assert nam.load(write(path, more)).notes == {}
    for name, value, words in (
        ("sample_rate", "48k", "sample_rate is not a number"),
        ("sample_rate", True, "sample_rate is not a number"),
        ("metadata", [], "metadata is not an object"),
    ):
        refuses(nam.load, path, FILE | {name: value}, words)


def test_a_missing_entry_is_named(path):
    for name in ("version", "architecture", "config", "weights"):
        refuses(nam.load, path, {k: v for k, v in FILE.items() if k != name}, f"has no '{name}'")


def test_mutated_files(path):
    survives_mutations(nam.read, FILE, path, 1000)


@pytest.mark.long
def test_many_mutated_files(path):
    survives_mutations(nam.read, FILE, path, 100_000, seed=1)
