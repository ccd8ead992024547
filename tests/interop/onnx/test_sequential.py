"""Sequentials written as ONNX: ONNX Runtime computes the same, and they are read back."""

import numpy as np
import pytest

import clstm
from clstm.interop import onnx as interop
from clstm.layers import Dense, Embedding, Gain, Last, Masking, Skip
from tests.interop.onnx.compare import lstms_of, run

pytestmark = pytest.mark.peers

STEPS, BATCH, INPUTS, WORDS = 5, 4, 3, 9


@pytest.fixture(autouse=True)
def peers():
    for name in ("onnx", "onnxruntime"):
        pytest.importorskip(name, reason="install bench/requirements.txt for this tier")


def draw(*shape):
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


def lstm(inputs=INPUTS, units=4, *layers, **options):
    return clstm.LSTM(inputs, units, *layers, rng=units, **options)


def head(width, activation="", outputs=2):
    return Dense(draw(outputs, width), draw(outputs), activation)


BOTH = {"bidirectional": True}
WRITTEN = {
    "lstms": lambda: [lstm(units=4), lstm(4, 5)],
    "function": lambda: [lstm(), head(4, "tanh")],
    "ends": lambda: [lstm(**BOTH), Last(ends=True), head(8, "softmax")],
    "last": lambda: [lstm(INPUTS, 4, 2, **BOTH), Last(), head(8, "elu")],
    "reverse": lambda: [lstm(direction="reverse"), Last(ends=True), head(4, "sigmoid")],
    "words": lambda: [Embedding(draw(WORDS, INPUTS)), lstm(), head(4, "relu", 5), lstm(5)],
    "skip": lambda: [Gain(2.0), Skip([lstm(INPUTS, 4, 2, output_size=1)], 1), Gain(0.5)],
    "whole skip": lambda: [Skip([lstm(output_size=INPUTS)], INPUTS), lstm(), Last()],
    "bias": lambda: [Dense(None, draw(INPUTS)), lstm(bias=False), Dense(draw(2, 4))],
    "learned": lambda: [lstm(INPUTS, 4, 2, learn_state=True), head(4, "tanh")],
    "cell": lambda: [lstm(cell=clstm.Cell(peephole=True, clip=0.5)), head(4, "tanh")],
}


def example(model):
    shape = (BATCH, STEPS) if model.batch_first else (STEPS, BATCH)
    if isinstance(model[0], Embedding):
        return np.random.default_rng(0).integers(0, WORDS, shape)
    return draw(*shape, INPUTS)


def states_of(model):
    """Initial states as the file's inputs, and as a call takes them."""
    feeds, given, lstms = {}, [], lstms_of(model)
    for k, own in enumerate(lstms):
        parts = own.num_layers * (1 + own.bidirectional)
        pair = [draw(parts, BATCH, own.hidden_size) + k, draw(parts, BATCH, own.hidden_size) - k]
        end = "" if len(lstms) == 1 else f"_{k}"
        feeds |= {f"{name}{end}": array for name, array in zip(("h0", "c0"), pair, strict=True)}
        given.append(tuple(pair))
    return feeds, tuple(given)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("with_states", [False, True])
@pytest.mark.parametrize("name", WRITTEN)
def test_onnx_runtime_computes_the_same(tmp_path, name, with_states, batch_first):
    import onnx

    model = clstm.Sequential(WRITTEN[name](), batch_first=batch_first, notes={"key": 1})
    path, x = tmp_path / "model.onnx", example(model)
    interop.save(model, path, states=with_states)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    feeds, state = states_of(model) if with_states else ({}, None)
    found = run(path.read_bytes(), {"x": x} | feeds)
    y, final = model(x, state)
    np.testing.assert_allclose(found["y"], y, rtol=1e-5, atol=2e-6)
    if with_states:
        for k, pair in enumerate(final):
            end = "" if len(final) == 1 else f"_{k}"
            for kind, array in zip(("h_n", "c_n"), pair, strict=True):
                np.testing.assert_allclose(found[f"{kind}{end}"], array, rtol=1e-5, atol=2e-6)
    back = clstm.load(path)
    assert back.batch_first == batch_first
    assert back.notes["key"] == 1
    for other in (back, interop.read(path)):
        np.testing.assert_allclose(other(x)[0], model(x)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("name", ["lstms", "function", "words", "skip", "last"])
def test_lengths_are_an_input(tmp_path, name, batch_first):
    layers = WRITTEN[name]()
    if name == "last":
        layers = [lstm(), Last(), head(4)]
    model = clstm.Sequential(layers, batch_first=batch_first)
    path, x = tmp_path / "model.onnx", example(model)
    interop.save(model, path, lengths=True, states=False)
    lengths = np.array([5, 1, 3, 2], np.int32)
    found = run(path.read_bytes(), {"x": x, "lengths": lengths})["y"]
    for loaded in (model, clstm.load(path)):
        y = loaded(x, lengths=lengths)[0]
        for row, length in enumerate(lengths):
            steps = slice(None) if name == "last" else slice(length)
            one, other = (a[row] if a.ndim == 2 or batch_first else a[:, row] for a in (y, found))
            np.testing.assert_allclose(other[steps], one[steps], rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize(
    ("layers", "lengths", "message"),
    [
        (lambda: [Masking(0.0), lstm()], False, "masks steps"),
        (lambda: [Embedding(draw(WORDS, 3), mask_zero=True), lstm()], False, "masks steps"),
        (lambda: [lstm(**BOTH), Last(ends=True)], True, "of a reverse direction"),
        (lambda: [lstm(), head(4), Last()], True, "right behind an LSTM only"),
        (lambda: [lstm(proj_size=2)], False, "has no projection"),
    ],
)
def test_what_no_file_can_hold_is_refused(tmp_path, layers, lengths, message):
    path = tmp_path / "model.onnx"
    with pytest.raises(ValueError, match=message):
        interop.save(clstm.Sequential(layers()), path, lengths=lengths)
    assert not path.exists()


def with_others(path, count, chained):
    """The graph of a file with further nodes that nothing needs."""
    import onnx

    model = onnx.load(path)
    for k in range(count):
        value = f"other_{k - 1}" if chained and k else "x"
        model.graph.node.append(onnx.helper.make_node("Relu", [value], [f"other_{k}"]))
    return model


@pytest.mark.parametrize("chained", [False, True])
def test_nodes_that_nothing_needs_are_not_evaluated(tmp_path, monkeypatch, chained):
    """Of 10,000 nodes more only their names are listed."""
    from clstm.interop.onnx.evaluator import Evaluator

    evaluated = []
    define = Evaluator._define

    def counted(self, scope, name, found):
        evaluated.append(name)
        return define(self, scope, name, found)

    monkeypatch.setattr(Evaluator, "_define", counted)
    model = clstm.Sequential([lstm(), Last(), head(4)])
    interop.save(model, tmp_path / "model.onnx")
    clstm.load(tmp_path / "model.onnx")
    alone = list(evaluated)
    evaluated.clear()
    loaded = interop.load(with_others(tmp_path / "model.onnx", 10_000, chained))
    assert evaluated == alone
    x = example(model)
    np.testing.assert_array_equal(loaded(x)[0], model(x)[0])


def test_one_node_of_several(tmp_path):
    """`node=` is one LSTM node, `nodes` all of them, by name and in order."""
    model = clstm.Sequential(WRITTEN["lstms"]())
    path = tmp_path / "model.onnx"
    interop.save(model, path)
    found = interop.nodes(path)
    assert [node.lstm.hidden_size for node in found] == [4, 5]
    for k, node in enumerate(found):
        for key in (k, k - 2, node.name):
            one = clstm.load(path, node=key)
            assert isinstance(one, clstm.LSTM)
            np.testing.assert_array_equal(one.parameters.flat, node.lstm.parameters.flat)
    with pytest.raises(ValueError, match="no LSTM node is 'other'; there are: 0 "):
        clstm.load(path, node="other")
