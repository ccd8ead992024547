"""GuitarML's and Proteus' JSON: the definition written out, and bad files."""

import json

import numpy as np
import pytest

from clstm import Sequential
from clstm.interop import guitarml
from clstm.interop.layers import Dense, Skip, run
from tests.interop.files import (
    GATES,
    NOT_PLAIN,
    assert_same_model,
    by_gate,
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
    return tmp_path / "model.json"


def drawn(count=2, outputs=1, seed=0):
    rng = np.random.default_rng(seed)
    layers = [draw_layer(rng, 3 if k else 2, 3) for k in range(count)]
    return layers, rng.standard_normal((outputs, 3)), rng.standard_normal(outputs)


def model_file(layers, weight, bias, skip=0):
    """PyTorch's rows i, f, g, o; the bias is two numbers that add up to it exactly."""
    data = {"model": "SimpleRNN", "input_size": 2, "skip": skip, "output_size": len(weight)}
    data |= {"unit_type": "LSTM", "num_layers": len(layers), "hidden_size": 3, "bias_fl": True}
    state = {}
    for k, layer in enumerate(layers):
        w, r, b = (np.concatenate([layer[kind][g] for g in GATES]).astype(float) for kind in "wrb")
        half = np.round(b)
        state |= {f"rec.weight_ih_l{k}": w.tolist(), f"rec.weight_hh_l{k}": r.tolist()}
        state |= {f"rec.bias_ih_l{k}": (b - half).tolist(), f"rec.bias_hh_l{k}": half.tolist()}
    state |= {"lin.weight": weight.tolist(), "lin.bias": bias.tolist()}
    return {"model_data": data, "state_dict": state}


FILE = model_file(*drawn())


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("outputs", [1, 2])
def test_a_file_by_its_definition(path, count, outputs):
    layers, weight, bias = drawn(count, outputs)
    lstm = guitarml.load(write(path, model_file(layers, weight, bias)), dtype=np.float64)
    expected = forward(layers, X) @ weight.T + bias
    np.testing.assert_allclose(lstm(X)[0], expected, rtol=1e-12)
    np.testing.assert_allclose(guitarml.load(path)(X)[0], expected, rtol=1e-5, atol=1e-6)
    (read,) = guitarml.read(path, dtype=np.float64)
    assert_same_model(read, lstm)


@pytest.mark.parametrize("outputs", [1, 2])
def test_a_skip(path, outputs):
    layers, weight, bias = drawn(outputs=outputs)
    write(path, model_file(layers, weight, bias, skip=1))
    read = guitarml.read(path, dtype=np.float64)
    assert isinstance(read[0], Skip)
    expected = forward(layers, X) @ weight.T + bias + X[:, :1]
    np.testing.assert_allclose(run(read, X), expected, rtol=1e-12)
    batch = np.stack([X, 2 * X], axis=1)
    np.testing.assert_allclose(run(read, batch)[:, 0], expected, rtol=1e-12)
    loaded = guitarml.load(path, dtype=np.float64)
    assert isinstance(loaded, Sequential)
    np.testing.assert_allclose(loaded(X)[0], expected, rtol=1e-12)
    stream = loaded.stream()
    np.testing.assert_allclose([stream.step(x) for x in X], expected, rtol=1e-12)


def test_a_linear_layer_without_a_bias(path):
    layers, weight, bias = drawn()
    file = changed(model_file(layers, weight, bias), "model_data", "bias_fl", to=False)
    del file["state_dict"]["lin.bias"]
    lstm = guitarml.load(write(path, file), dtype=np.float64)
    np.testing.assert_allclose(lstm(X)[0], forward(layers, X) @ weight.T, rtol=1e-12)


def test_entries_that_may_be_missing(path):
    file = model_file(*drawn(1))
    kept = ("input_size", "hidden_size", "skip", "unit_type")
    least = file | {"model_data": {name: file["model_data"][name] for name in kept}}
    assert_same_model(guitarml.load(write(path, least)), guitarml.load(write(path, file)))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("skip", [0, 1])
def test_the_file_of_a_model(path, bias, skip):
    lstm = draw_model(bias=bias, dtype=np.float64)
    if skip:
        guitarml.save(Sequential([Skip((lstm,))]), path)
    else:
        guitarml.save(lstm, path)
    file = json.loads(path.read_text())
    assert file["model_data"] == {
        "model": "SimpleRNN",
        "input_size": 2,
        "skip": skip,
        "output_size": 2,
        "unit_type": "LSTM",
        "num_layers": 2,
        "hidden_size": 3,
        "bias_fl": bias,
    }
    state = file["state_dict"]
    layers = []
    for k in range(2):
        arrays = {
            kind: np.array(state.pop(f"rec.{kind}_l{k}")) for kind in ("weight_ih", "weight_hh")
        }
        both = [np.array(state.pop(f"rec.bias_{side}_l{k}")) for side in ("ih", "hh")]
        parts = {"w": arrays["weight_ih"], "r": arrays["weight_hh"], "b": both[0] + both[1]}
        layers.append({kind: by_gate(array, "ifgo") for kind, array in parts.items()})
    y = forward(layers, X) @ np.transpose(state.pop("lin.weight"))
    y = y + state.pop("lin.bias") if bias else y
    assert not state
    np.testing.assert_allclose(lstm(X)[0], y, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sizes", [(1, 8, 1, 1), (2, 3, 3, 2)])
@pytest.mark.parametrize("skip", [True, False])
def test_round_trip(path, dtype, sizes, skip):
    lstm = draw_model(*sizes, dtype=dtype)
    guitarml.save(Sequential([Skip((lstm,))]) if skip else lstm, path)
    (read,) = guitarml.read(path, dtype=dtype)
    assert isinstance(read, Skip) == skip
    assert_same_model(read.layers[0] if skip else read, lstm)


def test_a_readout_of_its_own_is_written(path):
    lstm = draw_model(output_size=None, dtype=np.float64)
    layers = [lstm, Dense(np.ones((1, 3)), np.ones(1))]
    guitarml.save(Sequential([Skip(tuple(layers))]), path)
    read = guitarml.read(path, dtype=np.float64)
    np.testing.assert_allclose(run(read, X), run([Skip(tuple(layers))], X), rtol=1e-12)


@pytest.mark.parametrize("options", NOT_PLAIN)
def test_options_that_cannot_be_written(path, options):
    with pytest.raises(ValueError, match=f"GuitarML has no {next(iter(options))}="):
        guitarml.save(draw_model(**options), path)
    assert not path.exists()


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        ([draw_model(output_size=None)], "needs a linear layer"),
        ([draw_model(), Skip((Dense(activation="tanh"),))], "one LSTM with a linear layer, or a"),
        ([Skip((Skip((draw_model(),)),))], "one LSTM with a linear layer, or a Skip"),
        ([Skip((draw_model(),), count=2)], "one LSTM with a linear layer, or a Skip"),
        ([Dense(np.ones((2, 1))), draw_model()], "one LSTM with a linear layer, or a Skip"),
    ],
)
def test_layers_that_cannot_be_written(path, layers, reason):
    with pytest.raises(ValueError, match=reason):
        guitarml.save(Sequential(layers), path)
    assert not path.exists()


@pytest.mark.parametrize(
    ("steps", "to", "reason"),
    [
        (("more",), 1, "has 'more', which is not supported"),
        (("model_data",), None, "model_data is null, expected an object"),
        (("model_data", "more"), 1, "model_data has 'more', which is not supported"),
        (("model_data", "model"), "RecNet", "model is 'RecNet', expected 'SimpleRNN'"),
        (("model_data", "unit_type"), "GRU", "unit_type is 'GRU', expected 'LSTM'"),
        (("model_data", "skip"), 2, "skip is 2, expected 0 to 1"),
        (("model_data", "skip"), True, "skip is true, expected an integer"),
        (("model_data", "bias_fl"), 1, "bias_fl is neither true nor false"),
        (("model_data", "bias_fl"), False, "state_dict has 10 arrays, expected 9"),
        (("model_data", "num_layers"), 1, "state_dict has 10 arrays, expected 6"),
        (("model_data", "num_layers"), 10**6, "state_dict has 10 arrays, expected 4000002"),
        (("model_data", "num_layers"), 10**30, "num_layers is a very large number, expected 1 to"),
        (("model_data", "hidden_size"), 4, r"rec\.weight_ih_l0 has shape \(12, 2\), expected"),
        (("model_data", "hidden_size"), 10**6, r"expected \(4000000, 2\)"),
        (("model_data", "input_size"), 1, r"expected \(12, 1\)"),
        (("model_data", "output_size"), 2, r"lin\.weight has shape \(1, 3\), expected \(2, 3\)"),
        (("state_dict",), [], "state_dict is a list, expected an object"),
        (("state_dict", "rec.weight_ih_l2"), [], "state_dict has 11 arrays"),
        (("state_dict", "rec.weight_hh_l1"), [[1.0] * 3] * 11, r"rec\.weight_hh_l1 has shape"),
        (("state_dict", "rec.bias_hh_l1"), [1.0], r"rec\.bias_hh_l1 has shape \(1,\)"),
        (("state_dict", "rec.bias_ih_l0", 2), None, r"rec\.bias_ih_l0 contains a value"),
        (("state_dict", "lin.bias"), 1.0, r"lin\.bias is not an array of 1 axes"),
    ],
)  # fmt: skip
def test_bad_files(path, steps, to, reason):
    refuses(guitarml.load, path, changed(FILE, *steps, to=to), reason)


def test_a_missing_array_is_named(path):
    file = changed(FILE, "state_dict", "other", to=[])
    del file["state_dict"]["rec.bias_hh_l1"]
    refuses(guitarml.load, path, file, r"state_dict has no 'rec\.bias_hh_l1'")
    for name in ("input_size", "hidden_size", "skip", "unit_type"):
        file = changed(FILE, "model_data", name, to=1)
        del file["model_data"][name]
        refuses(guitarml.load, path, file, f"model_data has no '{name}'")


@pytest.mark.parametrize("skip", [0, 1])
def test_mutated_files(path, skip):
    survives_mutations(guitarml.read, model_file(*drawn(1), skip), path, 600)


@pytest.mark.long
@pytest.mark.parametrize("skip", [0, 1])
def test_many_mutated_files(path, skip):
    survives_mutations(guitarml.read, model_file(*drawn(1), skip), path, 50_000, seed=1)
