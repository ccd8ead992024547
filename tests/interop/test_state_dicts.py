"""Every reader of state dicts knows the same names."""

import numpy as np
import pytest
from safetensors.numpy import save_file

import clstm
from clstm.interop import safetensors, torch_names
from tests.interop.state_dicts import SPELLINGS


def load_state_dict(state, model, **given):
    other = clstm.LSTM.from_state(model._config, model.state_dict())
    with other.edit() as parameters:
        parameters.flat[...] = 9
    other.load_state_dict(state, **given)
    return other


def load_file(state, model, path, **given):
    save_file(state, path)
    return safetensors.load(path, **given)


READERS = {
    "load_state_dict": lambda state, model, path, **given: load_state_dict(state, model, **given),
    "torch_names.read": lambda state, model, path, **given: torch_names.read(state, **given),
    "safetensors.load": load_file,
    "clstm.load": lambda state, model, path, **given: [
        save_file(state, path),
        clstm.load(path, **given),
    ][1],
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_reader_knows_every_spelling(spelling, reader, tmp_path):
    state, given, model = SPELLINGS[spelling]
    read = READERS[reader](state, model, tmp_path / "a.safetensors", **given)
    assert repr(read) == repr(model)
    np.testing.assert_array_equal(read.parameters.flat, model.parameters.flat)


@pytest.mark.parametrize(
    ("state", "given", "error", "message"),
    [
        (lambda s: {1: s["weight_ih_l0"]}, {}, ValueError, "names .* must be strings, got 1"),
        (lambda s: s, {"head": "fc."}, ValueError, r"there is no fc\.weight"),
        (
            lambda s: s | {"fc.weight": np.ones((2, 4)), "fc.scale": np.ones(2)},
            {"head": "fc."},
            ValueError,
            r"fc\.scale is not a parameter of a linear layer",
        ),
        (
            lambda s: s | {"fc.weight": np.ones((2, 5))},
            {"head": "fc."},
            ValueError,
            r"fc\.weight has shape \(2, 5\), expected \(2, 4\)",
        ),
        (lambda s: {f"a.{n}": v for n, v in s.items()} | {"b.x": 1}, {}, KeyError, r"may be 'a\.'"),
        (
            lambda s: {f"a.{n}": v for n, v in s.items()},
            {"prefix": "b."},
            KeyError,
            r"missing from the state dict: b\..*prefix may be 'a\.'",
        ),
        (
            lambda s: {n.replace("weight_hh_l0", "weight_hh_l0_orig"): v for n, v in s.items()},
            {},
            KeyError,
            r"missing.*weight_hh_l0.*normalised or pruned.*from_torch\(module\)",
        ),
    ],
)
def test_load_state_dict_says_what_is_wrong(state, given, error, message):
    model = clstm.LSTM(3, 4, output_size=2 if "head" in given else None, rng=0)
    values = {n: v for n, v in model.state_dict().items() if "out" not in n}
    before = model.parameters.flat.copy()
    with pytest.raises(error, match=message):
        model.load_state_dict(state(values), **given)
    np.testing.assert_array_equal(model.parameters.flat, before)


def test_a_bias_that_the_model_does_not_have():
    model = clstm.LSTM(3, 4, output_size=2, bias=False, rng=0)
    state = model.state_dict()
    state = {"fc.weight": state.pop("weight_out"), "fc.bias": np.ones(2, np.float32)} | state
    with pytest.raises(KeyError, match=r"unknown in the state dict: fc\.bias"):
        model.load_state_dict(state, head="fc.")
