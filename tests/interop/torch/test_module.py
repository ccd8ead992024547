"""The module in PyTorch: results, gradients, and the interface of `torch.nn.LSTM`."""

import copy
import io

import pytest

import clstm.interop.torch
from tests.interop.torch.pairs import (
    DTYPES,
    OPTIONS,
    assert_close,
    assert_same,
    draw,
    pair,
    state_of,
    torch,
)

pytestmark = pytest.mark.peers
rnn = torch.nn.utils.rnn


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_results_and_gradients(options, dtype):
    theirs, ours = pair(dtype, **options)
    x = draw(6, 4, 5, dtype=dtype, requires_grad=True)
    batch = 6 if ours.batch_first else 4
    state = state_of(ours, batch, dtype, requires_grad=True)
    assert_same(theirs, ours, (x,), (x,))
    assert_same(theirs, ours, (x, state), (x, *state))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_without_a_batch(options):
    theirs, ours = pair(**options)
    x, state = draw(6, 5, requires_grad=True), state_of(ours, None, requires_grad=True)
    assert_same(theirs, ours, (x,), (x,))
    assert_same(theirs, ours, (x, state), (x, *state))


@pytest.mark.parametrize("enforce_sorted", [True, False])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_packed_sequences(options, enforce_sorted):
    lengths = [6, 4, 4, 1] if enforce_sorted else [1, 6, 4, 4]
    theirs, ours = pair(**options)
    x, state = draw(6, 4, 5, requires_grad=True), state_of(ours, 4, requires_grad=True)
    for given in (None, state):
        packed = rnn.pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=enforce_sorted)
        assert_same(theirs, ours, (packed, given), (x, *(given or ())))
    y, expected = ours(packed)[0], theirs(packed)[0]
    for name in ("batch_sizes", "sorted_indices", "unsorted_indices"):
        field, other = getattr(y, name), getattr(expected, name)
        assert (field is None and other is None) or torch.equal(field, other), name


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dropout", [0.3, 1.0])
def test_dropout_repeats_with_the_seed(dropout, packed):
    """PyTorch draws the same factors in this version, so that its results can be compared."""
    theirs, ours = pair(num_layers=3, bidirectional=True, dropout=dropout)
    x = draw(6, 4, 5, requires_grad=True)
    given = rnn.pack_padded_sequence(x, torch.tensor([6, 5, 5, 2])) if packed else x
    assert_same(theirs, ours, (given,), (x,), seed=1)
    theirs.eval()
    ours.eval()
    assert_same(theirs, ours, (given,), (x,))


def test_dropout_without_gradients_and_other_seeds():
    _, ours = pair(num_layers=2, dropout=0.5)
    x = draw(6, 4, 5)
    with torch.no_grad():
        results = []
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            results.append(ours(x)[0])
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])


@pytest.mark.parametrize("scope", [torch.no_grad, torch.inference_mode])
def test_without_a_record(scope):
    theirs, ours = pair(num_layers=2, batch_first=True)
    x = draw(3, 6, 5)
    with scope():
        y, (h, c) = ours(x)
        expected, (expected_h, expected_c) = theirs(x)
    assert not y.requires_grad and y.grad_fn is None
    assert y.is_inference() == (scope is torch.inference_mode)
    for actual, other in ((y, expected), (h, expected_h), (c, expected_c)):
        assert_close(actual, other)
    assert_same(theirs, ours, (x,))  # what was made in inference mode serves gradients too


def test_gradients_only_where_they_are_wanted():
    _, ours = pair()
    ours.requires_grad_(False)
    assert not ours(draw(6, 4, 5))[0].requires_grad
    ours.weight_hh_l0.requires_grad_()
    ours.bias_hh_l0.requires_grad_()
    ours(draw(6, 4, 5))[0].sum().backward()
    found = {name for name, parameter in ours.named_parameters() if parameter.grad is not None}
    assert found == {"weight_hh_l0", "bias_hh_l0"}


@pytest.mark.parametrize("only", range(3))
def test_a_loss_of_one_output(only):
    theirs, ours = pair()
    x = draw(6, 4, 5)
    for module in (theirs, ours):
        y, (h, c) = module(x)
        (y, h, c)[only].square().sum().backward()
    for expected, actual in zip(theirs.parameters(), ours.parameters(), strict=True):
        assert_close(actual.grad, expected.grad)


def test_gradients_add_up_and_the_biases_do_not_share_them():
    theirs, ours = pair()
    for module in (theirs, ours):
        for seed in range(3):
            module(draw(6, 4, 5, seed=seed))[0].square().sum().backward()
    torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
    torch.nn.utils.clip_grad_norm_(ours.parameters(), 0.5)
    for expected, actual in zip(theirs.parameters(), ours.parameters(), strict=True):
        assert_close(actual.grad, expected.grad)


def test_inputs_and_gradients_that_are_not_contiguous():
    theirs, ours = pair()
    x, (h, c) = draw(12, 4, 10)[::2, :, ::2], state_of(ours, 8)
    assert not x.is_contiguous()
    assert_same(theirs, ours, (x, (h[:, ::2], c[:, ::2])))
    for module in (theirs, ours):
        module(x)[0].sum().backward()  # one number, expanded to all elements
    for expected, actual in zip(theirs.parameters(), ours.parameters(), strict=True):
        assert_close(actual.grad, expected.grad)


def test_a_second_pass_through_a_graph():
    theirs, ours = pair()
    y = ours(draw(6, 4, 5))[0]
    first = torch.autograd.grad(y[0].sum(), ours.weight_hh_l0, retain_graph=True)[0]
    second = torch.autograd.grad(y[-1].sum(), ours.weight_hh_l0)[0]
    expected = theirs(draw(6, 4, 5))[0]
    for t, actual in ((0, first), (-1, second)):
        loss = expected[t].sum()
        assert_close(actual, torch.autograd.grad(loss, theirs.weight_hh_l0, retain_graph=True)[0])
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(y.sum(), ours.weight_hh_l0)


def test_no_gradient_of_a_gradient():
    """Not even where the rest of a loss has one, which would hide it."""
    _, ours = pair()
    x = draw(6, 4, 5, requires_grad=True)
    with pytest.raises(RuntimeError, match="no second derivatives"):
        torch.autograd.grad(ours(x)[0].sum() + x.square().sum(), x, create_graph=True)


def train(model, steps=20):
    """Losses of some steps of Adam."""
    adam = torch.optim.Adam(model.parameters(), 0.01)
    x = draw(12, 8, 5)
    target, losses = x.cumsum(0)[..., :1].tanh(), []
    for _ in range(steps):
        adam.zero_grad()
        y, _ = model["lstm"](x)
        loss = (model["head"](y) - target).square().mean()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    return losses


def test_training_takes_the_same_way():
    theirs, ours = pair(sizes=(5, 16), num_layers=2)
    torch.manual_seed(0)
    head = torch.nn.Linear(16, 1)
    expected = train(torch.nn.ModuleDict({"lstm": theirs, "head": copy.deepcopy(head)}))
    losses = train(torch.nn.ModuleDict({"lstm": ours, "head": head}))
    assert losses == pytest.approx(expected, rel=1e-4)
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_gradcheck(options):
    _, ours = pair(torch.float64, sizes=(2, 4), **options)
    x = draw(3, 2, 2, dtype=torch.float64, requires_grad=True)
    state = state_of(ours, 3 if ours.batch_first else 2, torch.float64, requires_grad=True)

    def run(x, h, c, *_):
        y, (h, c) = ours(x, (h, c))
        return y, h, c

    assert torch.autograd.gradcheck(run, (x, *state, *ours.parameters()))


def test_copies_state_dicts_and_files_of_a_used_module():
    theirs, ours = pair(num_layers=2)
    x = draw(6, 4, 5)
    expected = ours(x)[0]
    stored = io.BytesIO()
    torch.save(ours, stored)
    stored.seek(0)
    for other in (copy.deepcopy(ours), torch.load(stored, weights_only=False)):
        assert torch.equal(other(x)[0], expected)
        with torch.no_grad():
            other.weight_ih_l0.zero_()
        assert not torch.equal(other(x)[0], expected) and torch.equal(ours(x)[0], expected)
    theirs.load_state_dict(ours.state_dict())
    assert list(theirs.state_dict()) == list(ours.state_dict())


def test_it_looks_and_begins_like_pytorchs():
    torch.manual_seed(5)
    theirs = torch.nn.LSTM(5, 7, 2, dropout=0.1, bidirectional=True)
    torch.manual_seed(5)
    ours = clstm.interop.torch.LSTM(5, 7, 2, dropout=0.1, bidirectional=True)
    assert repr(ours) == repr(theirs)
    pairs = zip(ours.named_parameters(), theirs.named_parameters(), strict=True)
    assert all(name == other and torch.equal(p, q) for (name, p), (other, q) in pairs)
    torch.manual_seed(6)
    ours.reset_parameters()
    assert not torch.equal(ours.weight_ih_l0, theirs.weight_ih_l0)


def test_another_dtype_and_back():
    theirs, ours = pair()
    for dtype in (torch.float64, torch.float32):
        theirs, ours = theirs.to(dtype), ours.to(dtype)
        assert_same(theirs, ours, (draw(6, 4, 5, dtype=dtype),))


def test_an_empty_batch_and_no_step():
    theirs, ours = pair()
    assert_same(theirs, ours, (draw(6, 0, 5),))
    for module in (theirs, ours):
        with pytest.raises(RuntimeError, match="sequence length to be larger than 0"):
            module(torch.empty(0, 4, 5))


@pytest.mark.parametrize(
    "inputs",
    [
        lambda: (draw(5),),
        lambda: (draw(6, 4, 3),),
        lambda: (draw(6, 4, 5, dtype=torch.float64),),
        lambda: (draw(6, 4, 5), (draw(1, 3, 7), draw(1, 4, 7))),
        lambda: (draw(6, 4, 5), (draw(1, 4, 7), draw(2, 4, 7))),
        lambda: (draw(6, 4, 5), (draw(1, 7), draw(1, 7))),
        lambda: (draw(6, 5), (draw(1, 1, 7), draw(1, 1, 7))),
    ],
)
def test_inputs_that_pytorch_refuses_are_refused(inputs):
    theirs, ours = pair()
    with pytest.raises((RuntimeError, ValueError)) as expected:
        theirs(*inputs())
    with pytest.raises(expected.type):
        ours(*inputs())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "meta"}, "weight_ih_l0 is on meta"),
        ({"dtype": torch.float16}, "weight_ih_l0 is torch.float16"),
        ({"dtype": torch.bfloat16}, "weight_ih_l0 is torch.bfloat16"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        clstm.interop.torch.LSTM(5, 7, **options)
    _, ours = pair()
    ours = ours.to(**options)
    # PyTorch itself speaks of tensors without values, which only record shapes.
    expected = {"device": RuntimeError}.get(*options, ValueError)
    with pytest.raises(expected, match="meta" if expected is RuntimeError else message):
        ours(draw(6, 4, 5))
