"""`torch.nn.LSTM` and the module that clstm computes, with the same weights, side by side."""

import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="install bench/requirements.txt for this tier")

import clstm.interop.torch  # noqa: E402

BOUND = {torch.float32: 3e-5, torch.float64: 1e-11}
OPTIONS = [
    {},
    {"bias": False},
    {"batch_first": True},
    {"num_layers": 3, "bidirectional": True},
    {"proj_size": 3, "num_layers": 2},
    {"proj_size": 2, "bidirectional": True, "batch_first": True, "bias": False},
]
DTYPES = [torch.float32, torch.float64]


def pair(dtype=torch.float32, sizes=(5, 7), **options):
    """PyTorch's module, and ours."""
    torch.manual_seed(3)
    theirs = torch.nn.LSTM(*sizes, dtype=dtype, **options)
    ours = clstm.interop.torch.LSTM(*sizes, dtype=dtype, **options)
    ours.load_state_dict(theirs.state_dict())
    return theirs, ours


def draw(*shape, dtype=torch.float32, seed=0, requires_grad=False):
    values = np.random.default_rng((seed, *shape)).standard_normal(shape)
    return torch.tensor(values, dtype=dtype, requires_grad=requires_grad)


def state_of(module, batch, dtype=torch.float32, requires_grad=False):
    """h and c to begin with; (L D, .) without a batch."""
    rows = module.num_layers * (1 + module.bidirectional)
    shape = (rows,) if batch is None else (rows, batch)
    sizes = module.proj_size or module.hidden_size, module.hidden_size
    return tuple(draw(*shape, n, dtype=dtype, seed=n, requires_grad=requires_grad) for n in sizes)


def assert_close(actual, expected, what=""):
    assert actual.shape == expected.shape, what
    assert actual.dtype == expected.dtype, what
    error = (actual - expected).detach().abs().max().item() if expected.numel() else 0.0
    largest = expected.detach().abs().max().item() if expected.numel() else 0.0
    assert error <= BOUND[expected.dtype] * max(1.0, largest), what


def results(module, inputs, wanted):
    """All outputs and the gradients of `wanted`, of a loss in which every output counts."""
    y, state = module(*inputs)
    outputs = [y.data if isinstance(y, torch.nn.utils.rnn.PackedSequence) else y, *state]
    loss = sum((out * draw(*out.shape, dtype=out.dtype, seed=9)).sum() for out in outputs)
    # Both modules' graphs may have a packed input's in common.
    leaves = [*wanted, *module.parameters()]
    return outputs, torch.autograd.grad(loss, leaves, retain_graph=True)


def assert_same(theirs, ours, inputs, wanted=(), seed=None):
    """Outputs and gradients of both modules, for the same inputs."""
    found = []
    for module in (theirs, ours):
        if seed is not None:
            torch.manual_seed(seed)
        found.append(results(module, inputs, wanted))
    flat = (itertools.chain.from_iterable(parts) for parts in found)
    for k, (expected, actual) in enumerate(zip(*flat, strict=True)):
        assert_close(actual, expected, f"output or gradient {k}")
