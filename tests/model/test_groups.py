"""Weight decay, groups of parameters, the state of optimisers, and training of a `Sequential`."""

import contextlib
import copy
import threading
import time

import numpy as np
import pytest

import clstm
from clstm import optim
from clstm.layers import Dense, Embedding, Last, Skip

RNG = np.random.default_rng(0)


def lstm_of():
    return clstm.LSTM(3, 4, output_size=2, dtype=np.float64, rng=0)


def sequential_of():
    words = Embedding(np.random.default_rng(1).standard_normal((9, 3)))
    inner = clstm.LSTM(3, 5, dtype=np.float64, rng=2)
    head = Dense(np.random.default_rng(3).standard_normal((2, 5)), np.zeros(2))
    return clstm.Sequential([words, Skip([inner], count=1), Last(), head])


def gradients_of(model, seed=0):
    """Gradients that are not those of a loss: every element has its own."""
    rng = np.random.default_rng(seed)
    flat = rng.standard_normal(model.parameters.flat.size)
    return clstm.Parameters(model._table, flat)


MODELS = {"LSTM": lstm_of, "Sequential": sequential_of}
both = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
GROUPS = {
    "*bias*": {"weight_decay": 0.0},
    "*weight_hh*": {"freeze": True},
    "*weight_ih*": {"lr_scale": 0.1, "weight_decay": 0.5},
}


def adamw_by_hand(model, steps, lr, decay, groups):
    """AdamW in NumPy, parameter by parameter."""
    p = {name: array.copy() for name, array in model.parameters.items()}
    m = {name: np.zeros_like(array) for name, array in p.items()}
    v = {name: np.zeros_like(array) for name, array in p.items()}
    for t in range(1, steps + 1):
        grad = gradients_of(model, t)
        for name in p:
            if "weight_hh" in name and groups:
                continue
            scale, own = (0.1, 0.5) if "weight_ih" in name and groups else (1.0, decay)
            own = 0.0 if "bias" in name and groups else own
            g = grad[name]
            m[name] = 0.9 * m[name] + 0.1 * g
            v[name] = 0.99 * v[name] + 0.01 * g * g
            first, second = m[name] / (1 - 0.9**t), v[name] / (1 - 0.99**t)
            p[name] -= scale * lr * (own * p[name] + first / (np.sqrt(second) + 1e-8))
    return p


@both
@pytest.mark.parametrize("groups", [None, GROUPS])
def test_adamw_is_its_formula(make, groups):
    model = make()
    expected = adamw_by_hand(model, 4, 0.01, 0.1, groups)
    adam = optim.AdamW(model, 0.01, (0.9, 0.99), weight_decay=0.1, groups=groups)
    for t in range(1, 5):
        adam.step(gradients_of(model, t))
    assert adam.t == 4
    for name, array in model.parameters.items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-12, atol=1e-14)


@both
def test_adam_is_adamw_without_decay(make):
    one, other = make(), make()
    adam, adamw = optim.Adam(one), optim.AdamW(other, weight_decay=0)
    for t in range(3):
        adam.step(gradients_of(one, t))
        adamw.step(gradients_of(other, t))
    np.testing.assert_array_equal(one.parameters.flat, other.parameters.flat)
    adamw.weight_decay = 0.5
    adamw.step(gradients_of(other))
    adam.step(gradients_of(one))
    assert np.abs(one.parameters.flat - other.parameters.flat).max() > 1e-5


@both
def test_gradient_descent_has_groups(make):
    model = make()
    before = {name: array.copy() for name, array in model.parameters.items()}
    groups = {"*bias*": {"freeze": True}, "*ih*": {"lr_scale": 2}, "*hh*": {"weight_decay": 0.5}}
    grad = gradients_of(model)
    optim.SGD(model, 0.1, groups=groups).step(grad)
    for name, array in model.parameters.items():
        rate = 0.0 if "bias" in name else 0.2 if "ih" in name else 0.1
        kept = before[name] * (1 - 0.1 * 0.5 * ("hh" in name))
        np.testing.assert_allclose(array, kept - rate * grad[name], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("groups", "error", "message"),
    [
        ({"none*": {}}, ValueError, r"groups\['none\*'\] is no parameter's, there are: weight_ih"),
        ({"bias*": {"lr": 1}}, ValueError, r"groups\['bias\*'\] has no setting 'lr', expected"),
        ({"bias*": 0.1}, TypeError, r"groups\['bias\*'\] must be a dict of settings, got float"),
        ({"bias*": {"freeze": 1}}, TypeError, r"\['freeze'\] must be True or False, got 1"),
        ({"bias*": {"lr_scale": -1}}, ValueError, r"\['lr_scale'\] must be finite and at least 0"),
        ({"bias*": {"weight_decay": "a"}}, TypeError, r"\['weight_decay'\] must be a real number"),
    ],
)
def test_groups_that_make_no_sense(groups, error, message):
    with pytest.raises(error, match=message):
        optim.Adam(lstm_of(), groups=groups)


@pytest.mark.parametrize("value", [-1, np.inf, "a"])
def test_a_weight_decay_that_makes_no_sense(value):
    with pytest.raises((ValueError, TypeError), match="weight_decay must be"):
        optim.AdamW(lstm_of(), weight_decay=value)


OPTIMISERS = {
    "Adam": lambda model: optim.Adam(model, 0.02, eps=1e-6),
    "AdamW": lambda model: optim.AdamW(model, 0.02, weight_decay=0.2),
    "SGD": lambda model: optim.SGD(model, 0.02, 0.9),
}
every = pytest.mark.parametrize("name", OPTIMISERS)


@every
@both
def test_an_optimiser_goes_on_from_its_state(make, name):
    model = make()
    optimiser = OPTIMISERS[name](model)
    for t in range(3):
        optimiser.step(gradients_of(model, t))
    state, parameters = optimiser.state_dict(), model.parameters.flat.copy()
    optimiser.step(gradients_of(model, 3))
    other = make()
    with other.edit() as own:
        own.flat = parameters
    again = {"Adam": optim.Adam, "AdamW": optim.AdamW}.get(name, lambda m: optim.SGD(m, 1))(other)
    again.load_state_dict(state)
    again.step(gradients_of(other, 3))
    np.testing.assert_array_equal(other.parameters.flat, model.parameters.flat)
    assert again.state_dict().keys() == state.keys()


@every
def test_a_state_that_does_not_fit_changes_nothing(name):
    optimiser = OPTIMISERS[name](lstm_of())
    state = optimiser.state_dict()
    average = "velocity" if name == "SGD" else "v"
    for changed, error in (
        ({n: v for n, v in state.items() if n != "t"}, KeyError),
        (state | {"more": 1}, KeyError),
        (state | {average: np.zeros(3)}, ValueError),
        (state | {"lr": -1.0}, ValueError),
        (state | {"t": -1}, ValueError),
        (state | {average: "a"}, TypeError),
    ):
        with pytest.raises(error):
            optimiser.load_state_dict(changed)
        now = optimiser.state_dict()
        assert now.keys() == state.keys()
        assert all(np.array_equal(now[key], state[key]) for key in state)


# ---- A Sequential ----


def test_a_sequential_learns():
    """To tell by the first word: the LSTM must carry it to the end."""
    rng = np.random.default_rng(0)
    words = Embedding(rng.standard_normal((9, 8)).astype("f4"))
    head = Dense(np.zeros((3, 12), "f4"), np.zeros(3, "f4"))
    model = clstm.Sequential([words, clstm.LSTM(8, 12, rng=0), Last(), head], batch_first=True)
    adam = optim.AdamW(model, 0.02)
    for _ in range(120):
        x = rng.integers(0, 9, (32, 6))
        tape = model.record(x)
        loss, dy = clstm.losses.softmax_cross_entropy(tape.y, x[:, 0] % 3)
        grad = tape.backward(dy)
        optim.clip_global_norm(grad, 1.0)
        adam.step(grad)
    assert loss < 0.1


def test_a_tape_is_of_the_parameters_that_recorded_it():
    model = sequential_of()
    tape = model.record(np.ones((4, 2), int))
    optim.SGD(model, 0.1).step(gradients_of(model))
    with pytest.raises(RuntimeError, match="changed after the tape was recorded"):
        tape.backward(np.ones_like(tape.y))


def test_edits_replace_the_parameters_of_all_layers():
    model = sequential_of()
    before = copy.deepcopy(model)
    with model.edit() as parameters:
        parameters.flat *= 2
        with pytest.raises(RuntimeError, match="being edited"):
            model(np.ones((3, 2), int))
    np.testing.assert_array_equal(model.parameters.flat, 2 * before.parameters.flat)
    np.testing.assert_array_equal(model.layers[0].weight, 2 * before.layers[0].weight)
    inner = model.layers[1].layers[0]
    np.testing.assert_array_equal(
        inner.parameters.flat, 2 * before.layers[1].layers[0].parameters.flat
    )
    with pytest.raises(ValueError, match="read-only"):
        model.layers[0].weight[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        model.parameters.flat[0] = 1
    model.load_state_dict(before.state_dict())
    x = np.ones((3, 2), int)
    np.testing.assert_array_equal(model(x)[0], before(x)[0])
    with pytest.raises(KeyError, match="missing"):
        model.load_state_dict({})


def test_an_edit_of_an_inner_lstm_is_one_of_the_model():
    model = sequential_of()
    inner = model.layers[1].layers[0]
    with inner.edit() as parameters:
        parameters["bias_l0"][:] = 7
        with pytest.raises(RuntimeError, match="being edited"):
            model(np.ones((3, 2), int))
        with pytest.raises(RuntimeError, match="already being edited"):
            model.edit().__enter__()
    assert (model.parameters["1.0.bias_l0"] == 7).all()


def test_a_stream_keeps_the_parameters_of_its_start():
    lstm = clstm.LSTM(2, 4, rng=0)
    model = clstm.Sequential([lstm, Dense(np.ones((1, 4)))])
    x = np.ones((5, 2), np.float32)
    stream, other = model.stream(), model.stream()
    expected = other.process(x)
    with model.edit() as parameters:
        parameters.flat *= 3
    np.testing.assert_array_equal(stream.process(x), expected)
    stream.reset()
    stream.refresh()
    np.testing.assert_array_equal(stream.process(x), model.stream().process(x))


def test_calls_beside_edits_are_whole():
    """y is a power of the one factor of all parameters: a mixture of two factors is none."""
    lstm = clstm.LSTM(1, 1, dtype=np.float64, bias=False)
    model = clstm.Sequential([Dense(np.ones((1, 1))), lstm, Dense(np.ones((1, 1)))])
    with model.edit() as parameters:
        parameters.flat = 1
    x = np.ones((20, 3, 1))
    known = set()
    for factor in (1.0, 1.5):
        with model.edit() as parameters:
            parameters.flat = factor
        known.add(float(model(x)[0].sum()))
    found, stop = set(), threading.Event()

    def call():
        while not stop.is_set():
            with contextlib.suppress(RuntimeError):  # the model is being edited
                found.add(float(model(x)[0].sum()))

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    for k in range(100):
        with model.edit(timeout=10) as parameters:
            parameters.flat = (1.0, 1.5)[k % 2]
        time.sleep(0.002)  # for the calls
    stop.set()
    for thread in threads:
        thread.join()
    assert found == known
