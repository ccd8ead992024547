"""Files that the reader of RTNeural's JSON must refuse, with the reason."""

import numpy as np
import pytest

from clstm.interop import rtneural
from tests.interop.files import changed, refuses, survives_mutations, write
from tests.interop.rtneural.files import KERAS, TORCH, drawn, entry, keras_file, keras_lstm


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.json"


@pytest.mark.parametrize("kind", ["gru", "conv1d", "prelu", "batchnorm", "unknown", "LSTM"])
def test_other_layers_are_named(path, kind):
    file = changed(KERAS, "layers", 1, "type", to=kind)
    refuses(rtneural.read, path, file, rf"layers\[1\]\.type is '{kind}', expected 'lstm' or")


@pytest.mark.parametrize(
    ("steps", "to", "reason"),
    [
        (("in_shape",), [None, None, 3], r"weights\[0\] has shape \(2, 12\), expected \(3, 12\)"),
        (("in_shape",), [None, None, None], r"in_shape\[2\] is null, expected an integer"),
        (("in_shape",), [None, None, 1, 2], "in_shape has 4 items, expected 1 to 3"),
        (("in_shape",), [None, "a", 2], r"in_shape\[1\] is a string"),
        (("in_shape",), [], "in_shape has 0 items, expected 1 to 3"),
        (("in_skip",), 2, "in_skip is 2, expected 0 to 1"),
        (("in_gain",), -600.0, "in_gain is -600, expected -200 to 200"),
        (("out_gain",), "x", "out_gain is a string, expected a number"),
        (("more",), 1, "has 'more', which is not supported"),
        (("layers",), [], "layers has 0 items, expected at least 1"),
        (("layers",), {}, "layers is an object, expected a list"),
        (("layers", 0), None, r"layers\[0\] is null, expected an object"),
        (("layers", 0), {}, r"layers\[0\] has no 'type'"),
        (("layers", 0), {"type": "lstm", "shape": [3]}, r"layers\[0\] has no 'weights'"),
        (("layers", 0, "activation"), "relu", r"layers\[0\]\.activation is 'relu'"),
        (("layers", 1, "activation"), "gelu", r"layers\[1\]\.activation is 'gelu'"),
        (("layers", 0, "shape"), [None, None, 10**30], r"weights\[0\] has shape \(2, 12\)"),
        (("layers", 0, "shape"), [None, None, 0], r"shape\[2\] is 0, expected at least 1"),
        (("layers", 0, "go_backwards"), True, r"layers\[0\] has 'go_backwards'"),
        (("layers", 0, "weights"), [], r"layers\[0\]\.weights has 0 items, expected 3"),
        (("layers", 0, "weights", 1), [[1.0] * 12] * 4, r"weights\[1\] has shape \(4, 12\)"),
        (("layers", 0, "weights", 2, 5), None, r"weights\[2\] contains a value that is not"),
        (("layers", 1, "weights", 0), [[1.0]] * 3, r"layers\[1\]\.weights\[0\] has shape \(3, 1\)"),
        (("layers", 1, "weights", 1), [1.0], r"layers\[1\]\.weights\[1\] has shape \(1,\)"),
        (("layers", 1), entry("activation", "tanh", 4), r"ends with 4, but the layer takes 3"),
        (("layers", 1), entry("activation", "tanh", 3, np.ones(3)), "has 1 items, expected 0"),
    ],
)  # fmt: skip
def test_bad_layers(path, steps, to, reason):
    refuses(rtneural.read, path, changed(KERAS, *steps, to=to), reason)


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ({}, "the file is empty"),
        ([], "the file is a list, expected an object"),
        ({"model_data": 1}, "has 'model_data', which is neither of PyTorch's LSTM"),
        (TORCH | {"norm.running_mean": [1.0]}, "has 'norm.running_mean'"),
        (TORCH | {"lstm.h0": [[1.0]]}, "has 'lstm.bias_hh_l0', which is neither"),
        (TORCH | {"dense.weight": [1.0]}, "dense.weight is not an array of 2 axes"),
        (TORCH | {"dense.weight": [[]]}, r"dense.weight has shape \(1, 0\)"),
        (TORCH | {"dense.weight": [[1.0]]}, "has 'dense', which takes 1 features, after one"),
        (TORCH | {"dense.bias": [1.0, 2.0]}, r"dense.bias has shape \(2,\), expected \(1,\)"),
        (TORCH | {"last.bias": [1.0]}, "has no 'last.weight'"),
        (TORCH | {"lstm.weight_ih_l0": [[1.0, 2.0]] * 9}, "lstm.weight_ih_l0 has"),
        (TORCH | {"lstm.weight_hh_l0": [[1.0] * 4] * 12}, r"weight_hh_l0 \(12, 4\) is a GRU's"),
        (TORCH | {"lstm.weight_hh_l2": [[1.0] * 3] * 12}, "lstm.weight_ih_l1"),
        (TORCH | {"lstm.bias_hh_l0": [1.0] * 11}, "lstm.bias_hh_l0 has shape"),
        ({k: v for k, v in TORCH.items() if k != "lstm.bias_hh_l0"}, "no lstm.bias_hh_l0"),
    ],
)  # fmt: skip
def test_bad_state_dicts(path, file, reason):
    refuses(rtneural.read, path, file, reason)


def test_the_type_must_be_one_of_clstms(path):
    write(path, KERAS)
    with pytest.raises(ValueError, match="dtype must be float32 or float64"):
        rtneural.load(path, dtype=np.float16)


SKIPPING = keras_file(keras_lstm(drawn(2, 1)[0][0]), entry("activation", "elu", 1), in_skip=1)
FILES = {"keras": KERAS, "torch": TORCH, "skip": SKIPPING}


@pytest.mark.parametrize("kind", FILES)
def test_mutated_files(path, kind):
    survives_mutations(rtneural.read, FILES[kind], path, 500)


@pytest.mark.long
@pytest.mark.parametrize("kind", FILES)
def test_many_mutated_files(path, kind):
    survives_mutations(rtneural.read, FILES[kind], path, 50_000, seed=1)
