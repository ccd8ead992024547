"""Conversions take the weights with which a module's next call computes, or refuse it."""

import copy

import numpy as np
import pytest

import clstm.interop.torch as interop
from tests.interop.torch.pairs import assert_close, draw, pair, torch

# After `pairs`, which skips this file where there is no PyTorch.
from torch.nn.utils import parametrizations, parametrize, prune  # isort: skip

pytestmark = [
    pytest.mark.peers,
    pytest.mark.filterwarnings("ignore"),  # PyTorch recommends parametrizations
]
nn, utils = torch.nn, torch.nn.utils


class Doubled(nn.Module):
    def forward(self, weight):
        return 2 * weight


class DropConnect(nn.Module):
    def forward(self, weight):
        return nn.functional.dropout(weight, 0.5, self.training)


def pruned_and_normed(module, name):
    utils.weight_norm(module, name)
    prune.random_unstructured(module, f"{name}_v", 0.5)


NORMS = {
    "weight_norm": utils.weight_norm,
    "spectral_norm": utils.spectral_norm,
    "parametrized weight_norm": parametrizations.weight_norm,
    "parametrized spectral_norm": parametrizations.spectral_norm,
    "prune": lambda module, name: prune.random_unstructured(module, name, 0.5),
    "prune, twice": lambda module, name: [
        prune.random_unstructured(module, name, 0.3),
        prune.l1_unstructured(module, name, 0.3),
    ],
    "weight_norm, pruned": pruned_and_normed,
    "parametrization": lambda m, name: parametrize.register_parametrization(m, name, Doubled()),
    "random": lambda m, name: parametrize.register_parametrization(m, name, DropConnect()),
    "two parametrizations": lambda module, name: [
        parametrize.register_parametrization(module, name, Doubled()),
        parametrizations.spectral_norm(module, name),
    ],
}
MODULES = {
    "LSTM": (lambda: nn.LSTM(5, 7, 2), ["weight_hh_l0", "weight_ih_l1"]),
    "clstm's LSTM": (lambda: interop.LSTM(5, 7, 2), ["weight_hh_l0", "weight_ih_l1"]),
    "bidirectional": (lambda: nn.LSTM(5, 7, bidirectional=True), ["weight_hh_l0_reverse"]),
    "LSTMCell": (lambda: nn.LSTMCell(5, 7), ["weight_hh", "weight_ih"]),
    "Linear": (lambda: nn.Linear(7, 3), ["weight"]),
}


def next_call(module, x):
    """y (T, B, .) of a module, with PyTorch's arithmetic."""
    with torch.no_grad():
        if isinstance(module, nn.LSTM):
            return module(x)[0]
        if isinstance(module, nn.Linear):
            return module(pair()[0](x)[0])  # pair() sets the seed
        state = module(x[0])  # later calls would change what is normalised in training
        return state[0][None]


def converted(module, x):
    if isinstance(module, nn.Linear):
        lstm = interop.from_torch(pair()[0], module)
    else:
        lstm = interop.from_torch(module)
    x = x[:1] if isinstance(module, nn.LSTMCell) else x
    return torch.tensor(lstm(x.numpy())[0])


def assert_computes_the_next_call(module):
    x = draw(6, 4, 5)
    before = {n: v.clone() for n, v in module.state_dict().items()}
    generator = torch.get_rng_state()
    torch.manual_seed(2)
    actual = converted(module, x)
    torch.manual_seed(2)
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert_close(actual, next_call(module, x))
    torch.set_rng_state(generator)


def loaded_changes(module):
    """Load a state dict, which leaves what a hook has computed last."""
    state = {n: v if "mask" in n else 1.3 * v + 0.01 for n, v in module.state_dict().items()}
    module.load_state_dict(state)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("kind", MODULES)
def test_what_the_next_call_computes(kind, norm, training):
    make, names = MODULES[kind]
    torch.manual_seed(0)
    module = make()
    for name in names:
        NORMS[norm](module, name)
    module.train(training)
    assert_computes_the_next_call(module)
    loaded_changes(module)
    assert_computes_the_next_call(module)
    next_call(module, draw(6, 4, 5))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(0.8)
    assert_computes_the_next_call(module)


def test_weights_that_are_cached():
    module = nn.LSTM(5, 7)
    parametrize.register_parametrization(module, "weight_hh_l0", Doubled())
    with parametrize.cached():
        module(draw(6, 4, 5))
        with torch.no_grad():
            module.parametrizations.weight_hh_l0.original.mul_(3)  # unseen before the block ends
        assert_computes_the_next_call(module)
    assert_computes_the_next_call(module)


@pytest.mark.parametrize("norm", [n for n in NORMS if n not in ("random", "weight_norm, pruned")])
def test_an_accelerated_module_computes_the_same(norm):
    """With gradients, whatever came first."""
    plain, x = nn.LSTM(5, 7, 2), draw(6, 4, 5)
    theirs, first, last = (copy.deepcopy(plain) for _ in range(3))
    found, modules = [], [theirs, interop.accelerate(first)]
    parametrized = "parametriz" in norm
    if not parametrized:  # a class of its own is not accelerated afterwards
        modules.append(last)
    for module in modules:
        torch.manual_seed(1)
        NORMS[norm](module, "weight_hh_l0")
    if not parametrized:
        interop.accelerate(last)
    for module in modules:
        for _ in range(2):
            loaded_changes(module)
            module.zero_grad()
            y = module(x)[0]
            y.square().sum().backward()
        found.append([y, *(p.grad for p in module.parameters() if p.grad is not None)])
    for actual in found[1:]:
        assert len(actual) == len(found[0]) == 9 + norm.endswith("weight_norm")
        for expected, part in zip(found[0], actual, strict=True):
            assert_close(part, expected)


class Own(nn.LSTM):
    """Only its name and its other methods are of its own."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.note = "mine"

    def describe(self):
        return self.note


def test_a_subclass_that_computes_the_same():
    module = Own(5, 7)
    parametrizations.weight_norm(module, "weight_hh_l0")
    assert_computes_the_next_call(module)


class Shifted(nn.LSTM):
    def forward(self, x, hx=None):
        y, state = super().forward(x, hx)
        return y + 1, state


class ShiftedCell(nn.LSTMCell):
    def forward(self, x, hx=None):
        h, c = super().forward(x, hx)
        return h + 1, c


class ShiftedLinear(nn.Linear):
    def forward(self, x):
        return super().forward(x) + 1


class Calling(nn.LSTM):
    def __call__(self, x, hx=None):
        return super().__call__(2 * x, hx)


def patched():
    module = nn.LSTM(5, 7)
    module.forward = lambda x, hx=None: (x, hx)
    return module


def hooked(register, module):
    getattr(module, register)(lambda *_: None)
    return module


SHIFTS = {
    "forward": (lambda: Shifted(5, 7), r"LSTM is a .*Shifted with forward of its own.*nn\.LSTM"),
    "cell": (lambda: ShiftedCell(5, 7), r"LSTMCell is a .*ShiftedCell with forward of its own"),
    "head": (lambda: ShiftedLinear(7, 3), r"head is a .*ShiftedLinear with forward of its own"),
    "call": (lambda: Calling(5, 7), r"Calling with __call__ of its own"),
    "patched": (patched, r"LSTM with forward of its own"),
    "forward hook": (
        lambda: hooked("register_forward_hook", nn.LSTM(5, 7)),
        r"the LSTM has the forward hook hooked\.<locals>\.<lambda>.*: call remove\(\)",
    ),
    "pre-hook": (
        lambda: hooked("register_forward_pre_hook", nn.LSTMCell(5, 7)),
        "the LSTMCell has the forward hook",
    ),
    "head's hook": (
        lambda: hooked("register_forward_hook", nn.Linear(7, 3)),
        "head has the forward hook",
    ),
}


@pytest.mark.parametrize("name", SHIFTS)
def test_what_may_compute_something_else_is_refused(name):
    make, message = SHIFTS[name]
    with pytest.raises(ValueError, match=message):
        converted(make(), draw(6, 4, 5))


def test_accelerate_says_what_to_do_with_other_classes():
    parametrized = nn.LSTM(5, 7)
    parametrizations.weight_norm(parametrized, "weight_hh_l0")
    for module, message in (
        (parametrized, "accelerate it first and register its parametrizations afterwards"),
        (Shifted(5, 7), r"is a .*Shifted"),
        (patched(), "forward of its own"),
    ):
        with pytest.raises(ValueError, match=message):
            interop.accelerate(module)


@pytest.mark.parametrize("norm", [n for n in NORMS if n != "random"])
def test_state_dicts_of_normalised_modules_are_refused(norm):
    """They hold what a weight is computed from; the message says how to get it."""
    module = pair()[0]
    NORMS[norm](module, "weight_hh_l0")
    for source in (module.state_dict(), {f"a.{n}": v for n, v in module.state_dict().items()}):
        with pytest.raises(ValueError, match=r"weight_hh_l0.*from_torch\(module\).*remove_"):
            interop.from_torch(source, prefix="a." if "a.bias_ih_l0" in source else "")
    head = nn.Linear(7, 3)
    NORMS[norm](head, "weight")
    state = {f"fc.{n}": v for n, v in head.state_dict().items()}
    with pytest.raises(ValueError, match=r"fc\.weight.*from_torch\(module\).*remove_"):
        interop.from_torch({**pair()[0].state_dict(), **state}, "fc.")


def test_tensors_of_other_classes_are_refused():
    class Scaled(torch.Tensor):
        """Stands for a quantised tensor, whose memory is not its value."""

    state = pair()[0].state_dict()
    state["weight_hh_l0"] = state["weight_hh_l0"].as_subclass(Scaled)
    with pytest.raises(ValueError, match=r"weight_hh_l0 is a .*Scaled, expected a torch\.Tensor"):
        interop.from_torch(state)
    negated = torch.imag(torch.complex(state["bias_ih_l0"], state["bias_ih_l0"]).conj())
    plain = pair()[0].state_dict()
    lstm = interop.from_torch(plain | {"bias_ih_l0": negated})
    expected = interop.from_torch(plain | {"bias_ih_l0": -state["bias_ih_l0"]})
    np.testing.assert_array_equal(lstm.parameters.flat, expected.parameters.flat)
