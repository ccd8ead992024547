"""Whole ONNX graphs of many makers: clstm.load computes what ONNX Runtime does.

PyTorch's two exporters, graphs as TensorFlow's converters write them, ONNX Runtime's own rewriting
of those, its quantiser and its half precision: some 550 graphs in all. A graph is read, or refused
for a reason that is true.
"""

import functools
import importlib.util
import itertools
import os
import subprocess
import sys

import numpy as np
import pytest

import clstm
from clstm.interop import onnx as interop
from tests.interop.onnx import exported
from tests.interop.onnx.compare import assert_same, call, run
from tests.interop.onnx.handmade import Maker

pytestmark = pytest.mark.peers

VARIANTS = dict(exported.variants())
SOME = ("2 layers, both, batch first", "mlp", "step, 1 layers", "ends, 2 layers, both", "words")
BOTH = {False: "TorchScript", True: "torch.export"}


@pytest.fixture(autouse=True)
def peers():
    for name in ("onnx", "onnxruntime"):
        pytest.importorskip(name, reason="install bench/requirements.txt for this tier")


# ---- PyTorch ----


@functools.cache
def torch_graph(name, dynamo, free, state=False):
    pytest.importorskip("torch", reason="install bench/requirements.txt for this tier")
    if dynamo:
        pytest.importorskip("onnxscript", reason="install bench/requirements.txt for this tier")
    return exported.graph_of(dict(VARIANTS[name]), dynamo, free, state)


def torch_cases():
    cases = []
    for name, (dynamo, label), free in itertools.product(VARIANTS, BOTH.items(), (True, False)):
        sizes = "open" if free else "fixed"
        quick = name in SOME and (free or not dynamo)
        marks = () if quick else (pytest.mark.long,)
        case = pytest.param(name, dynamo, free, marks=marks, id=f"{name}, {label}, {sizes}")
        cases.append(case)
    return cases


@pytest.mark.parametrize(("name", "dynamo", "free"), torch_cases())
def test_what_pytorch_exports(name, dynamo, free):
    assert_same(*torch_graph(name, dynamo, free))


@pytest.mark.parametrize("dynamo", BOTH, ids=BOTH.values())
@pytest.mark.parametrize("free", [True, False], ids=["open", "fixed"])
def test_states_that_pytorch_exports(free, dynamo):
    """Its outputs are y, h_n and c_n."""
    data, feeds = torch_graph("states", dynamo, free, state=True)
    model = assert_same(data, feeds, state=("h0", "c0"))
    assert isinstance(model, clstm.LSTM)
    assert model.num_layers == 2
    assert model.bidirectional
    assert model.output_size == exported.CLASSES


@pytest.mark.parametrize("free", [True, False], ids=["open", "fixed"])
@pytest.mark.parametrize("num_layers", [1, 2])
def test_an_output_of_some_features(num_layers, free):
    """The last h of the reverse direction is chosen by a layer."""
    pytest.importorskip("torch", reason="install bench/requirements.txt for this tier")
    options = {"last": "h_n", "bidirectional": True, "num_layers": num_layers}
    model = assert_same(*exported.graph_of(options, False, free))
    assert model.output_size == exported.UNITS


@pytest.mark.parametrize("opset", [9, 11, 13, 14, 15, 16, 17, 18, 19, 20])
def test_versions_that_pytorch_exports(opset):
    torch = pytest.importorskip("torch", reason="install bench/requirements.txt for this tier")
    made = exported.module(head="mlp", last="ends", bidirectional=True, num_layers=2)
    x = np.random.default_rng(0).standard_normal((5, 6, 3)).astype(np.float32)
    data = exported.export(
        made, (torch.from_numpy(x),), ["x"], {"x": [0, 1]}, dynamo=False, opset=opset
    )
    assert_same(data, {"x": x[:3, :4]})


@pytest.mark.parametrize("free", [True, False], ids=["open", "fixed"])
def test_a_projection_that_pytorch_exports_is_no_lstm_of_onnx(free):
    """ONNX's LSTM has none: the exporter says so, or writes something that ONNX refuses."""
    torch = pytest.importorskip("torch", reason="install bench/requirements.txt for this tier")
    made = exported.module(proj_size=2)
    x = torch.zeros(2, 3, exported.INPUTS)
    axes = {"x": [0, 1]} if free else {}
    with pytest.raises(Exception, match=r"(?i)proj"):
        exported.export(made, (x,), ["x"], axes, dynamo=False)


# ---- Graphs made by hand ----


def assert_handmade(seed):
    maker = Maker(seed)
    model, x = maker.make()
    try:
        assert_same(model.SerializeToString(), {"x": x})
    except Exception as error:
        raise AssertionError(f"graph {seed}: {maker.choices}") from error


@pytest.mark.parametrize("first", range(0, 160, 16))
def test_what_tensorflow_s_converters_write(first):
    """16 graphs, one of each version of the operators."""
    for seed in range(first, first + 16):
        assert_handmade(seed)


@pytest.mark.long
def test_more_of_what_tensorflow_s_converters_write():
    for seed in range(1000, 3000):
        assert_handmade(seed)


# ---- ONNX Runtime's rewriting ----

LEVELS = ("ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL")


def optimised(data, level, path):
    """Return a graph as ONNX Runtime writes it at a level of its optimiser."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return path.read_bytes()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", SOME)
def test_what_the_optimiser_writes_of_pytorch_s(tmp_path, name, level):
    data, feeds = torch_graph(name, False, True)
    assert_same(optimised(data, level, tmp_path / "made.onnx"), feeds)


@pytest.mark.parametrize("level", LEVELS)
def test_what_the_optimiser_writes_of_graphs_by_hand(tmp_path, level):
    for seed in range(48):
        if 7 + seed % 16 < 9:  # it writes these with inputs whose defaults it leaves out
            continue
        model, x = Maker(seed).make()
        made = optimised(model.SerializeToString(), level, tmp_path / f"{seed}.onnx")
        assert_same(made, {"x": x})


# ---- Quantised graphs ----

KINDS = {  # options of quantize_dynamic
    "bytes": {"weight_type": "QInt8"},
    "unsigned": {"weight_type": "QUInt8"},
    "rows": {"weight_type": "QInt8", "per_channel": True},
    "heads": {"weight_type": "QInt8", "op_types_to_quantize": ["MatMul", "Gemm"]},
}
HEADS = ("linear", "mlp", "ends, 1 layers, both", "softmax")


def quantised(data, kind, tmp_path):
    from onnxruntime.quantization import QuantType, quantize_dynamic

    options = dict(KINDS[kind])
    options["weight_type"] = getattr(QuantType, options["weight_type"])
    before, after = tmp_path / "before.onnx", tmp_path / "after.onnx"
    before.write_bytes(data)
    quantize_dynamic(before, after, **options)
    return after.read_bytes()


def assert_close_to(model, data, quantised, feeds, most=0.01):
    """The model is near the graph of real numbers, and not further from the other than that is."""
    (x,) = feeds.values()
    y = call(model, x)[0]
    exact, rounded = (next(iter(run(graph, feeds).values())) for graph in (data, quantised))
    assert y.shape == exact.shape
    scale, own = np.abs(exact).max(), np.abs(rounded - exact).max()
    assert np.abs(y - exact).max() <= most * scale
    assert np.abs(y - rounded).max() <= own + most * scale


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", HEADS)
def test_what_the_quantiser_writes(tmp_path, name, kind):
    """The weights are those of 8 bits, and nothing else is rounded."""
    data, feeds = torch_graph(name, False, True)
    made = quantised(data, kind, tmp_path)
    assert b"Integer" in made or b"DynamicQuantize" in made
    model = interop.load(made)
    assert model.notes["dequantised"]
    assert_close_to(model, data, made, feeds)


def test_the_quantiser_writes_lstms_alone(tmp_path):
    data, feeds = torch_graph("2 layers, both, batch first", False, True)
    made = quantised(data, "rows", tmp_path)
    model = interop.load(made)
    assert isinstance(model, clstm.LSTM)
    assert len(model.notes["dequantised"]) == 2
    assert_close_to(model, data, made, feeds)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_the_optimiser_writes_of_quantised_graphs(tmp_path, kind, level):
    data, feeds = torch_graph("mlp", False, True)
    made = optimised(quantised(data, kind, tmp_path), level, tmp_path / "made.onnx")
    assert_close_to(interop.load(made), data, made, feeds)


def test_what_the_quantiser_writes_with_fixed_scales(tmp_path):
    """QuantizeLinear and DequantizeLinear stand around what is rounded."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class Reader(CalibrationDataReader):
        left = 4

        def get_next(self):
            self.left -= 1
            return feeds if self.left >= 0 else None

    data, feeds = torch_graph("mlp", False, False)
    (tmp_path / "before.onnx").write_bytes(data)
    quantize_static(tmp_path / "before.onnx", tmp_path / "after.onnx", Reader(), QuantFormat.QDQ)
    made = (tmp_path / "after.onnx").read_bytes()
    assert b"DequantizeLinear" in made
    assert_close_to(interop.load(made), data, made, feeds)


@pytest.mark.parametrize("name", ["linear", "2 layers, both, batch first", "words"])
def test_half_precision(name):
    """Weights are halves; ONNX Runtime's LSTM is of singles, between casts."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    data, feeds = torch_graph(name, False, True)
    half = convert_float_to_float16(
        onnx.load_from_string(data), keep_io_types=True, op_block_list=["LSTM"]
    ).SerializeToString()
    assert_close_to(interop.load(half), data, half, feeds, 2e-3)


# ---- Keras ----


def test_what_keras_exports_has_no_lstm_node(tmp_path):
    """Its exporter writes the steps of its example one by one, as products and sums."""
    if not all(importlib.util.find_spec(name) for name in ("keras", "torch")):
        pytest.skip("install bench/requirements.txt for this tier")
    script = (
        "import keras, numpy; m = keras.Sequential([keras.Input((3, 2)), keras.layers.LSTM(4)]); "
        "m(numpy.zeros((1, 3, 2), 'f')); m.export('made.onnx', format='onnx', verbose=False)"
    )
    environment = os.environ | {"KERAS_BACKEND": "torch"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    with pytest.raises(ValueError, match="it has no LSTM node"):
        clstm.load(tmp_path / "made.onnx")
