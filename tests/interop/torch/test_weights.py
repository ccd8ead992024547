"""The module's weights: each pass uses the current ones, whoever changed them and when."""

import importlib
import threading

import pytest

from tests.interop.torch.pairs import assert_close, draw, pair, torch

pytestmark = pytest.mark.peers


@pytest.mark.parametrize("what", ["weight", "input"])
def test_a_change_before_backward_is_an_error(what):
    theirs, ours = pair()
    for module in (theirs, ours):
        x = draw(6, 4, 5)
        y = module(x)[0]
        with torch.no_grad():
            (module.weight_hh_l0 if what == "weight" else x).mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()


def test_weights_that_are_changed_by_any_means():
    theirs, ours = pair()
    x = draw(6, 4, 5)
    changes = [
        lambda m: m.weight_hh_l0.data.mul_(0.5),  # no version counter tells of this one
        lambda m: m.bias_hh_l0.detach().numpy().fill(0.3),
        lambda m: setattr(m.bias_ih_l0, "data", torch.full((28,), -0.2)),
        lambda m: setattr(m, "weight_hh_l0", torch.nn.Parameter(m.weight_hh_l0.detach() * 3)),
        lambda m: m.load_state_dict({n: 0.7 * p for n, p in m.state_dict().items()}),
        lambda m: setattr(m.weight_ih_l0, "data", m.weight_ih_l0.data.t().contiguous().t()),
    ]
    before = ours(x)[0]
    for change in changes:
        for module in (theirs, ours):
            change(module)
        with torch.inference_mode():
            assert_close(ours(x)[0], theirs(x)[0])
    assert not torch.equal(ours(x)[0], before)


def test_a_call_copies_weights_after_the_smallest_change_alone(monkeypatch):
    _, ours = pair()
    x, copies = draw(6, 4, 5), []
    ours.weight_hh_l0.data[0, 0] = 1
    with torch.inference_mode():
        ours(x)
    weights = importlib.import_module(type(ours._clstm).__module__)
    copy = weights.array_of

    def counted(tensor):
        copies.extend(name for name, p in ours.named_parameters() if p is tensor)
        return copy(tensor)

    monkeypatch.setattr(weights, "array_of", counted)
    with torch.inference_mode():
        for _ in range(3):
            ours(x)
        assert not copies
        ours.weight_hh_l0.data.view(torch.int32)[0, 0] += 1
        ours(x)
    assert sorted(copies) == sorted(name for name, _ in ours.named_parameters())


def test_weights_of_another_shape_are_refused():
    _, ours = pair()
    ours(draw(6, 4, 5))
    ours.weight_hh_l0.data = torch.zeros(28, 1)
    with pytest.raises(ValueError, match=r"weight_hh_l0 has shape \(28, 1\), expected \(28, 7\)"):
        ours(draw(6, 4, 5))


def test_passes_with_several_weights_at_once():
    """A graph keeps what it was made with, also when other weights have been used since."""
    theirs, ours = pair()
    x, found = draw(6, 4, 5), []
    for module in (theirs, ours):
        every = [{n: k * p.detach() for n, p in module.named_parameters()} for k in (1.0, 2.0, 0.5)]
        for parameters in every:
            parameters["weight_hh_l0"].requires_grad_()
        passes = [torch.func.functional_call(module, parameters, (x,))[0] for parameters in every]
        leaves = [parameters["weight_hh_l0"] for parameters in every]
        found.append(torch.autograd.grad(sum(y.square().sum() for y in passes), leaves))
    for expected, actual in zip(*found, strict=True):
        assert_close(actual, expected)


def test_a_model_is_used_again_once_no_graph_needs_it():
    _, ours = pair()
    models = []
    for _ in range(3):
        y = ours(draw(6, 4, 5))[0]
        models.append(ours._clstm._model)
        y.sum().backward()
        with torch.no_grad():
            ours.weight_hh_l0.mul_(0.5)
    kept = ours(draw(6, 4, 5))[0]
    assert all(model is models[0] for model in models)
    assert ours._clstm._model is models[0]
    with torch.no_grad():
        ours.weight_hh_l0.data.mul_(0.5)
        ours(draw(6, 4, 5))
    assert kept.grad_fn is not None and ours._clstm._model is not models[0]


class SpyModel:
    """A model that notes how many threads a pass is given."""

    def __init__(self, model, seen):
        self.model, self.seen = model, seen

    def forward(self, x, state, out, threads, lengths):
        self.seen.append(threads)
        return self.model.forward(x, state, out, threads, lengths)


@pytest.mark.parametrize("threads", [1, 2])
def test_it_runs_on_pytorchs_threads(threads, monkeypatch):
    """The core is told the number, whatever clstm's own default is."""
    _, ours = pair()
    before, seen = torch.get_num_threads(), []
    ours(draw(6, 4, 5))
    spy = SpyModel(ours._clstm._model, seen)
    monkeypatch.setattr(ours._clstm, "_model_of", lambda _: spy)
    try:
        torch.set_num_threads(threads)
        with torch.no_grad():
            ours(draw(6, 4, 5))
    finally:
        torch.set_num_threads(before)
    assert seen == [threads]


def test_one_module_in_many_python_threads():
    _, ours = pair(sizes=(5, 40))
    x = draw(50, 4, 5)
    with torch.no_grad():
        expected, wrong = pair(sizes=(5, 40))[1](x)[0], []

    def run():
        with torch.no_grad():
            for _ in range(50):
                if not torch.equal(ours(x)[0], expected):
                    wrong.append(1)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
