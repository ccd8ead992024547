"""Files of torch.save are read without PyTorch; PyTorch writes them here."""

import subprocess
import sys

import numpy as np
import pytest

import clstm
import clstm.interop.torch as interop
from tests.interop.torch.pairs import pair, torch

pytestmark = pytest.mark.peers


def saved(content, tmp_path, **options):
    torch.save(content, tmp_path / "model.pt", **options)
    return tmp_path / "model.pt"


def test_pytorch_is_not_needed(tmp_path):
    theirs, _ = pair(num_layers=2, bidirectional=True)
    path = saved(theirs.state_dict(), tmp_path)
    code = f"""
import sys
sys.modules["torch"] = None
import clstm
print(clstm.load({str(path)!r}).parameters.flat.tobytes().hex())
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    expected = interop.from_torch(theirs).parameters.flat
    assert done.stdout.strip() == expected.tobytes().hex()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_every_floating_point_type(dtype, tmp_path):
    module = torch.nn.LSTM(5, 7).to(getattr(torch, dtype))
    lstm = clstm.load(saved(module.state_dict(), tmp_path))
    assert lstm.dtype == ("float64" if dtype == "float64" else "float32")
    wide = module.double().state_dict()
    assert np.array_equal(lstm.parameters["weight_hh_l0"], wide["weight_hh_l0"].numpy())
    assert clstm.load(tmp_path / "model.pt", dtype="float64").dtype == "float64"


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_protocol_of_pickle(protocol, tmp_path):
    theirs, _ = pair()
    for content in (theirs.state_dict(), dict(theirs.state_dict()), theirs):
        lstm = interop.load(saved(content, tmp_path, pickle_protocol=protocol))
        np.testing.assert_array_equal(
            lstm.parameters.flat, interop.from_torch(theirs).parameters.flat
        )


def views():
    """The layout of tensors that are parts of one storage, transposed or with strides."""
    torch.manual_seed(0)
    flat = torch.randn(500)
    hidden = torch.as_strided(flat, (16, 4), (1, 16), 100)
    return {"weight_ih_l0": flat[:32].reshape(16, 2), "weight_hh_l0": hidden}


def test_tensors_that_share_a_storage(tmp_path):
    held = views()
    lstm = interop.load(saved(held, tmp_path))
    for name, tensor in held.items():
        np.testing.assert_array_equal(lstm.parameters[name], tensor.numpy())


def test_parameters_and_cells(tmp_path):
    cell = torch.nn.LSTMCell(3, 4)
    for content in (cell, dict(cell.named_parameters())):
        lstm = interop.load(saved(content, tmp_path))
        np.testing.assert_array_equal(
            lstm.parameters.flat, interop.from_torch(cell).parameters.flat
        )


@pytest.mark.parametrize("other", ["GRU", "RNN"])
def test_another_recurrent_layer_beside_an_lstm(other, tmp_path):
    model = torch.nn.ModuleDict({"a": getattr(torch.nn, other)(4, 4), "b": torch.nn.LSTM(3, 4)})
    path = saved(model.state_dict(), tmp_path)
    lstm = interop.load(path)
    assert lstm.input_size == 3
    assert lstm.notes == {"not_read": sorted(f"a.{name}" for name in model["a"].state_dict())}
    assert interop.load(path, prefix="b.").input_size == 3
    with pytest.raises(ValueError, match=f"a.weight_hh_l0 .* is a {other}'s"):
        interop.load(path, prefix="a.")


def hooked():
    module = torch.nn.LSTM(3, 4)
    module.register_forward_pre_hook(print)
    return module


def normed():
    return torch.nn.utils.weight_norm(torch.nn.LSTM(3, 4), "weight_hh_l0")


class Subclass(torch.nn.LSTM):
    """A module that may compute something else."""


@pytest.mark.filterwarnings("ignore::FutureWarning")  # newer versions have another weight_norm
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (hooked, "its module has _forward_pre_hooks"),
        (normed, "its module has _forward_pre_hooks"),
        (lambda: Subclass(3, 4), r"it holds .*Subclass, which .* its state_dict\(\), or .*jit"),
        (lambda: torch.nn.LSTM, "it holds the name torch.*LSTM, expected"),
        (lambda: {"weight_ih_l0": torch.ones(4, 1).int()}, "weight_ih_l0: it has .*IntStorage"),
        (lambda: {"weight_ih_l0": torch.ones(4, 1).to_sparse()}, "weight_ih_l0 is torch.*sparse"),
        (lambda: {"weight_ih_l0": torch.ones(())}, r"weight_ih_l0 has shape \(\), expected two"),
    ],
)
def test_what_is_more_than_weights_is_refused_by_name(make, words, tmp_path):
    with pytest.raises(ValueError, match=rf"model\.pt: {words}"):
        interop.load(saved(make(), tmp_path))


def test_the_rest_of_a_checkpoint_is_not_looked_at(tmp_path):
    """Other values of any type may lie beside the tensors that a prefix chooses."""
    theirs, _ = pair()
    state = {f"lstm.{name}": tensor for name, tensor in theirs.state_dict().items()}
    rest = {"epoch": 3, "range": range(3), "size": torch.Size([1]), "by number": {0: 1, (1, 2): 3}}
    lstm = interop.load(saved(state | rest, tmp_path), prefix="lstm.")
    np.testing.assert_array_equal(lstm.parameters.flat, interop.from_torch(theirs).parameters.flat)


# ---- Checkpoints ----


class Tagger(torch.nn.Module):
    """An LSTM among other layers, with a linear one behind it."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(10, 5)
        self.rnn = torch.nn.LSTM(5, 7)
        self.norm = torch.nn.LayerNorm(7)
        self.out = torch.nn.Linear(7, 3)


def checkpoint(model, **more):
    """What training programs write: the model's state dict beside the optimiser's, an epoch, ..."""
    adam = torch.optim.Adam(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    adam.step()
    return {"epoch": 3, "optimizer": adam.state_dict(), "best": torch.tensor(1.5)} | more


OTHERS = ["embedding.weight", "norm.bias", "norm.weight"]


def test_a_checkpoint_holds_one_state_dict_with_an_lstm(tmp_path):
    model = Tagger()
    content = checkpoint(model)
    expected = interop.from_torch(model.rnn, model.out)
    for key, whole in (
        ("state_dict", content | {"state_dict": model.state_dict()}),
        ("model.weights", content | {"model": {"weights": model.state_dict(), "name": "tagger"}}),
    ):
        for options in ({}, {"key": key}):
            lstm = clstm.load(saved(whole, tmp_path), **options)
            np.testing.assert_array_equal(lstm.parameters.flat, expected.parameters.flat)
            assert lstm.notes == {"not_read": OTHERS}
        with pytest.raises(ValueError, match=rf"key 'other' is no state dict .*, there are: {key}"):
            clstm.load(tmp_path / "model.pt", key="other")


def test_several_state_dicts_need_a_key(tmp_path):
    model, average = Tagger(), Tagger()
    path = saved({"model": model.state_dict(), "ema": average.state_dict()}, tmp_path)
    with pytest.raises(ValueError, match=r"several state dicts: key must be 'model' or 'ema'"):
        clstm.load(path)
    lstm = clstm.load(path, key="ema")
    expected = interop.from_torch(average.rnn, average.out)
    np.testing.assert_array_equal(lstm.parameters.flat, expected.parameters.flat)


def test_a_state_dict_that_is_named_twice_is_one(tmp_path):
    state = Tagger().state_dict()
    content = {"state_dict": state, "last": state}
    content["itself"] = content
    assert clstm.load(saved(content, tmp_path)).output_size == 3


def test_a_module_has_no_key(tmp_path):
    path = saved(torch.nn.LSTM(5, 7), tmp_path)
    with pytest.raises(ValueError, match=r"it holds torch\.nn\..*LSTM, which has no key 'model'"):
        clstm.load(path, key="model")
