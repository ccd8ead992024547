"""PyTorch as a second opinion: forward and gradients on random shapes, names both ways."""

import numpy as np
import pytest

import clstm

pytestmark = pytest.mark.peers
torch = pytest.importorskip("torch", reason="install bench/requirements.txt for this tier")

FORWARD = {np.float32: 4e-6, np.float64: 1e-12}
GRADIENT = {np.float32: 3e-5, np.float64: 1e-11}


def pair(seed, dtype):
    """A PyTorch LSTM of random shape, with a clstm one of the same weights."""
    rng = np.random.default_rng(seed)
    sizes = [int(rng.integers(1, n + 1)) for n in (70, 140, 3)]
    bias = bool(seed % 3)
    torch.manual_seed(seed)
    theirs = torch.nn.LSTM(
        *sizes, bias=bias, dtype=torch.float32 if dtype == np.float32 else torch.float64
    )
    ours = clstm.LSTM(*sizes, bias=bias, dtype=dtype, rng=seed)
    ours.load_state_dict({name: p.detach().numpy() for name, p in theirs.named_parameters()})
    return theirs, ours, rng


def draw(rng, dtype, *shape):
    return rng.standard_normal(shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", range(40))
def test_forward_and_gradients_against_pytorch(seed, dtype):
    theirs, ours, rng = pair(seed, dtype)
    steps, batch = int(rng.integers(1, 41)), int(rng.integers(1, 21))
    shape = (ours.num_layers, batch, ours.hidden_size)
    x, h0, c0 = (
        draw(rng, dtype, steps, batch, ours.input_size),
        draw(rng, dtype, *shape),
        draw(rng, dtype, *shape),
    )
    dy, dh, dc = (draw(rng, dtype, *s) for s in ((steps, batch, ours.hidden_size), shape, shape))

    inputs = [torch.tensor(a, requires_grad=True) for a in (x, h0, c0)]
    y, (h, c) = theirs(inputs[0], (inputs[1], inputs[2]))
    torch.autograd.backward([y, h, c], [torch.tensor(a) for a in (dy, dh, dc)])

    tape = ours.record(x, (h0, c0))
    for actual, expected in ((tape.y, y), (tape.state[0], h), (tape.state[1], c)):
        assert np.abs(actual - expected.detach().numpy()).max() <= FORWARD[dtype]

    grad = tape.backward(dy, (dh, dc))
    pairs = [(grad.x, inputs[0]), (grad.state[0], inputs[1]), (grad.state[1], inputs[2])]
    named = dict(theirs.named_parameters())
    pairs += [
        (array, named[name.replace("bias_", "bias_ih_")]) for name, array in grad.parameters.items()
    ]
    for actual, leaf in pairs:
        expected = leaf.grad.numpy()
        error = np.linalg.norm(actual - expected)
        assert error <= GRADIENT[dtype] * np.linalg.norm(expected)


@pytest.mark.parametrize("bias", [True, False])
def test_our_state_dict_loads_into_pytorch(bias):
    ours = clstm.LSTM(5, 7, 2, bias=bias, rng=0)
    theirs = torch.nn.LSTM(5, 7, 2, bias=bias)
    state = ours.state_dict(torch_names=True)
    theirs.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
    x = np.random.default_rng(0).standard_normal((6, 3, 5)).astype(np.float32)
    with torch.inference_mode():
        expected = theirs(torch.from_numpy(x))[0].numpy()
    np.testing.assert_allclose(ours(x)[0], expected, atol=4e-6)
