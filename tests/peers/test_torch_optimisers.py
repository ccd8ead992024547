"""PyTorch's optimisers and clipping as second opinions: 50 steps of dicts and of models."""

import fnmatch

import numpy as np
import pytest

import clstm
from clstm import optim
from clstm.layers import Dense, Last

pytestmark = pytest.mark.peers
torch = pytest.importorskip("torch", reason="install bench/requirements.txt for this tier")

STEPS, LR = 50, 0.02
DECAY = {"*bias*": {"weight_decay": 0.0}, "embed*": {"freeze": True}, "head*": {"lr_scale": 0.1}}
OTHER = {"*hh*": {"freeze": True}, "*": {"weight_decay": 0.3, "lr_scale": 2.0}}

CASES = {
    "Adam": (optim.Adam, torch.optim.Adam, {"betas": (0.8, 0.95), "eps": 1e-6}, None),
    "AdamW": (optim.AdamW, torch.optim.AdamW, {"weight_decay": 0.1}, DECAY),
    "AdamW of groups": (optim.AdamW, torch.optim.AdamW, {"weight_decay": 0.1}, OTHER),
    "SGD": (optim.SGD, torch.optim.SGD, {}, OTHER),
    "SGD with momentum": (optim.SGD, torch.optim.SGD, {"momentum": 0.9}, {"b*": {"freeze": True}}),
}


def arrays():
    rng = np.random.default_rng(0)
    shapes = {
        "embed": (7, 3), "weight_hh": (40, 10), "bias_hh": (40,), "head.weight": (2, 10),
        "head.bias": (2,), "b": (), "wide": (100, 90),
    }  # fmt: skip
    return {name: np.array(rng.standard_normal(shape)) for name, shape in shapes.items()}


def lstm():
    return clstm.LSTM(3, 4, 2, output_size=2, dtype=np.float64, rng=0)


def sequential():
    head = Dense(np.ones((2, 4)), np.ones(2))
    return clstm.Sequential([clstm.LSTM(3, 4, dtype=np.float64, rng=0), Last(), head])


def of_torch(named, kind, settings, groups):
    """PyTorch's tensors by name, and its optimiser, with a group for each of ours."""
    tensors = {n: torch.tensor(a, requires_grad=True) for n, a in named.items()}
    each = []
    for name, tensor in tensors.items():
        own = next((g for p, g in (groups or {}).items() if fnmatch.fnmatchcase(name, p)), {})
        if own.get("freeze"):
            continue
        group = {"params": [tensor], "lr": LR * own.get("lr_scale", 1.0)}
        if "weight_decay" in own:
            group["weight_decay"] = own["weight_decay"]
        each.append(group)
    return tensors, kind(each, lr=LR, **settings)


def drawn(named, rng):
    """Gradients that depend on the parameters, so that an error grows."""
    return {n: np.array(0.5 * a + rng.standard_normal(a.shape)) for n, a in named.items()}


@pytest.mark.parametrize("make", [arrays, lstm, sequential])
@pytest.mark.parametrize("name", CASES)
def test_fifty_steps(name, make):
    ours, theirs, settings, groups = CASES[name]
    what = make()
    named = what if isinstance(what, dict) else what.parameters
    groups = {p: g for p, g in (groups or {}).items() if any_match(p, named)}
    tensors, their = of_torch(named, theirs, settings, groups)
    own = ours(what, LR, groups=groups, **settings)
    rng, limit = np.random.default_rng(1), 3.0
    for step in range(STEPS):
        named = what if isinstance(what, dict) else what.parameters
        grad = drawn(named, rng)
        for key, tensor in tensors.items():
            tensor.grad = torch.tensor(grad[key])
        if step % 2:
            expected = float(torch.nn.utils.clip_grad_norm_(tensors.values(), limit))
            # PyTorch divides by the norm and 1e-6.
            norm = optim.clip_global_norm(grad, limit * expected / (expected + 1e-6))
            assert norm == pytest.approx(expected, rel=1e-13)
        if step == STEPS // 2:
            own.lr *= 0.5
            for group in their.param_groups:
                group["lr"] *= 0.5
            state, own = own.state_dict(), ours(what, 1.0, groups=groups)
            own.load_state_dict(state)
        own.step(grad if isinstance(what, dict) else flat(what, grad))
        their.step()
    for key, array in named.items():
        expected = tensors[key].detach().numpy()
        np.testing.assert_allclose(array, expected, rtol=1e-11, atol=1e-12, err_msg=key)


def any_match(pattern, names):
    return bool(fnmatch.filter(names, pattern))


def flat(model, grad):
    own = clstm.Parameters(model._table, np.empty_like(model.parameters.flat))
    for name, array in grad.items():
        own[name][...] = array
    return own
