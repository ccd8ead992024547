"""The same graph in random spelling is the same model, bit for bit."""

import numpy as np
import pytest

import clstm
from clstm.interop import onnx as interop
from clstm.layers import Dense, Embedding, Gain, Last, Skip
from tests.interop.onnx.compare import run
from tests.interop.onnx.rewriting import rewritten

STEPS, BATCH, INPUTS = 4, 3, 2


@pytest.fixture(autouse=True)
def onnx():
    return pytest.importorskip("onnx", reason="install clstm-cpu[onnx] to read ONNX files")


def models():
    """Models of every kind of layer, by name."""
    rng = np.random.default_rng(0)

    def draw(*shape):
        return rng.standard_normal(shape).astype(np.float32)

    def lstm(inputs=INPUTS, units=3, **options):
        return clstm.LSTM(inputs, units, rng=1, **options)

    both = {"bidirectional": True}
    yield "one", lstm(output_size=2)
    yield "deep", lstm(num_layers=2, batch_first=True, **both)
    yield "reverse", lstm(direction="reverse", num_layers=2)
    yield "ends", clstm.Sequential([lstm(**both), Last(ends=True), Dense(draw(2, 6), draw(2))])
    last = [lstm(**both), Last(), Dense(draw(4, 6), draw(4), "relu"), Dense(draw(2, 4))]
    yield "last", clstm.Sequential(last, batch_first=True)
    softmax = Dense(draw(4, 3), draw(4), "softmax")
    yield "softmax", clstm.Sequential([lstm(), softmax], batch_first=True)
    yield "skip", clstm.Sequential([Gain(2.0), Skip([lstm(output_size=2)], 2), Gain(0.5)])
    words = [Embedding(draw(9, INPUTS)), lstm(), Dense(draw(4, 3), None, "tanh"), lstm(4)]
    yield "words", clstm.Sequential(words, batch_first=True)


MODELS = dict(models())


def case(name, tmp_path, onnx):
    """A graph without states, and arrays for its inputs."""
    model = MODELS[name]
    interop.save(model, tmp_path / "model.onnx", states=False)
    rng = np.random.default_rng(2)
    shape = (BATCH, STEPS) if model.batch_first else (STEPS, BATCH)
    if name == "words":
        x = rng.integers(0, 9, shape)
    else:
        x = rng.standard_normal((*shape, INPUTS)).astype(np.float32)
    return onnx.load(tmp_path / "model.onnx"), {"x": x}


def assert_equal(loaded, expected, seed):
    assert repr(loaded) == repr(expected), seed
    np.testing.assert_array_equal(loaded.parameters.flat, expected.parameters.flat, err_msg=seed)


@pytest.mark.parametrize("name", MODELS)
def test_random_spelling(tmp_path, onnx, name):
    graph, feeds = case(name, tmp_path, onnx)
    expected = interop.load(graph)
    for seed in range(6):
        assert_equal(interop.load(rewritten(graph, feeds, seed, 3 + 4 * seed)), expected, seed)


@pytest.mark.peers
@pytest.mark.long
@pytest.mark.parametrize("name", MODELS)
def test_many_random_spellings(tmp_path, onnx, name):
    """Which ONNX Runtime computes, too: the rewriting itself changes nothing."""
    pytest.importorskip("onnxruntime", reason="install bench/requirements.txt")
    graph, feeds = case(name, tmp_path, onnx)
    expected, wanted = interop.load(graph), run(graph.SerializeToString(), feeds)["y"]
    for seed in range(100, 170):
        other = rewritten(graph, feeds, seed, 1 + seed % 40)
        y = run(other.SerializeToString(), feeds)["y"]
        np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-6, err_msg=str(seed))
        assert_equal(interop.load(other), expected, seed)
