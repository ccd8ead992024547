"""`accelerate`: every `torch.nn.LSTM` in a model, in place."""

import copy

import pytest

import clstm.interop.torch
from tests.interop.torch.pairs import assert_close, draw, pair, torch

pytestmark = pytest.mark.peers


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.parts = torch.nn.ModuleList([torch.nn.LSTM(5, 7), torch.nn.GRU(7, 6)])
        self.body = torch.nn.ModuleDict({"deep": torch.nn.LSTM(6, 4, bidirectional=True)})
        self.head = torch.nn.Linear(8, 2)

    def forward(self, x):
        for part in (*self.parts, self.body["deep"]):
            x, _ = part(x)
        return self.head(x)


def test_accelerate_a_nested_model():
    torch.manual_seed(0)
    model = Net()
    plain, parameters, calls = copy.deepcopy(model), list(model.parameters()), []
    model.parts[0].register_forward_hook(lambda *_: calls.append(1))
    assert clstm.interop.torch.accelerate(model) is model
    kinds = [type(m) for m in (*model.parts, model.body["deep"])]
    assert kinds == [clstm.interop.torch.LSTM, torch.nn.GRU, clstm.interop.torch.LSTM]
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    assert repr(model) == repr(plain)
    x = draw(6, 4, 5)
    assert_close(model(x), plain(x))
    assert calls == [1]
    for module in (model, plain):
        module(x).square().sum().backward()
    for expected, actual in zip(plain.parameters(), model.parameters(), strict=True):
        assert_close(actual.grad, expected.grad)
    assert clstm.interop.torch.accelerate(model) is model


def test_accelerate_the_module_itself():
    theirs, expected = pair(num_layers=2, batch_first=True)
    assert clstm.interop.torch.accelerate(theirs) is theirs
    assert type(theirs) is clstm.interop.torch.LSTM
    assert torch.equal(theirs(draw(6, 4, 5))[0], expected(draw(6, 4, 5))[0])


class Own(torch.nn.LSTM):
    pass


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: torch.nn.LSTM(3, 4, dtype=torch.bfloat16), "1.weight_ih_l0 is torch.bfloat16"),
        (lambda: torch.nn.LSTM(3, 4, device="meta"), "1.weight_ih_l0 is on meta"),
        (lambda: Own(3, 4), "1 is a .*Own"),
    ],
)
def test_accelerate_changes_all_or_nothing(other, message):
    model = torch.nn.Sequential(torch.nn.LSTM(5, 7), other())
    with pytest.raises(ValueError, match=message):
        clstm.interop.torch.accelerate(model)
    assert type(model[0]) is torch.nn.LSTM
    with pytest.raises(ValueError, match=r"no torch\.nn\.LSTM in Linear"):
        clstm.interop.torch.accelerate(torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"no torch\.nn\.LSTM in .*: 0 is .*LSTMCell, another"):
        clstm.interop.torch.accelerate(torch.nn.Sequential(torch.nn.LSTMCell(2, 2)))
