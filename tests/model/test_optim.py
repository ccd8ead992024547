"""optim: steps against the formulas, settings, clipping; refused steps change nothing."""

import copy
import math
import pickle
from types import SimpleNamespace

import numpy as np
import pytest

import clstm
from clstm import _core, optim
from tests.support.arrays import misaligned, read_only, spread
from tests.support.formulas import adam_by_formula, sgd_by_formula


@pytest.fixture(params=[np.float32, np.float64])
def lstm(request):
    return clstm.LSTM(3, 4, 2, output_size=2, dtype=request.param, rng=0)


def gradient(lstm, seed=1):
    rng = np.random.default_rng(seed)
    tape = lstm.record(rng.normal(size=(5, 2, 3)))
    return tape.backward(rng.normal(size=tape.y.shape))


FORMULAS = [
    (optim.Adam, adam_by_formula, {"lr": 0.01, "betas": (0.9, 0.999), "eps": 1e-8}),
    (optim.Adam, adam_by_formula, {"lr": 0.3, "betas": (0.0, 0.5), "eps": 0.1}),
    (optim.SGD, sgd_by_formula, {"lr": 0.1, "momentum": 0.0}),
    (optim.SGD, sgd_by_formula, {"lr": 0.1, "momentum": 0.9}),
]


@pytest.mark.parametrize(("optimiser", "formula", "settings"), FORMULAS)
def test_steps_follow_the_formula(lstm, optimiser, formula, settings):
    assert lstm.parameters.flat.size == 282
    start = lstm.parameters.flat.astype(np.float64)
    under_test = optimiser(lstm, **settings)
    gradients = []
    for seed in range(7):
        grad = gradient(lstm, seed)
        gradients.append(grad.parameters.flat.astype(np.float64))
        under_test.step(grad)
        np.testing.assert_array_equal(grad.parameters.flat, gradients[-1])
        expected = formula(start, gradients, **settings)
        tolerance = 64 * np.finfo(lstm.dtype).eps
        np.testing.assert_allclose(lstm.parameters.flat, expected, rtol=tolerance, atol=tolerance)
    assert lstm.parameters.flat.dtype == lstm.dtype


def test_defaults_are_pytorchs(lstm):
    adam = optim.Adam(lstm)
    assert (adam.lr, adam.betas, adam.eps) == (1e-3, (0.9, 0.999), 1e-8)
    assert optim.SGD(lstm, 0.1).momentum == 0


@pytest.mark.parametrize("make", [optim.Adam, lambda lstm: optim.SGD(lstm, 0.1)])
def test_only_a_model_is_trained(lstm, make):
    for wrong, name in (
        (np.ones(3), "numpy.ndarray"),
        (lstm.parameters, "clstm.parameters.Parameters"),
        ([lstm], "list"),
        (None, "NoneType"),
    ):
        with pytest.raises(
            TypeError, match=rf"lstm must be a clstm\.LSTM or .*, got {name}: .* itself"
        ):
            make(wrong)


def test_adams_first_step_is_lr_in_the_gradients_direction(lstm):
    before = lstm.parameters.flat.copy()
    grad = gradient(lstm)
    optim.Adam(lstm, lr=0.01).step(grad)
    change = lstm.parameters.flat - before
    g = grad.parameters.flat
    large = np.abs(g) > 1e-3
    assert large.sum() > 100
    np.testing.assert_allclose(change[large], -0.01 * np.sign(g[large]), rtol=1e-3)


@pytest.mark.parametrize("optimiser", [optim.Adam, optim.SGD])
def test_a_step_takes_gradients_or_their_parameters(optimiser):
    one, two = (clstm.LSTM(3, 4, output_size=2, rng=0) for _ in range(2))
    optimiser(one, lr=0.1).step(gradient(one))
    optimiser(two, lr=0.1).step(gradient(two).parameters)
    np.testing.assert_array_equal(one.parameters.flat, two.parameters.flat)
    assert (one.parameters.flat != clstm.LSTM(3, 4, output_size=2, rng=0).parameters.flat).any()


def test_settings_follow_a_schedule_and_stay_plain_floats():
    lstm = clstm.LSTM(3, 4, rng=0)
    sgd = optim.SGD(lstm, lr=np.float64(0.5))
    assert type(sgd.lr) is float
    grad = gradient(lstm)
    for lr in (0.5, np.float32(0.25), np.float64(0.125)):
        before = lstm.parameters.flat.copy()
        sgd.lr = lr
        sgd.step(grad)
        expected = before - np.float32(lr) * grad.parameters.flat
        np.testing.assert_array_equal(lstm.parameters.flat, expected)


@pytest.mark.parametrize("optimiser", [optim.Adam, optim.SGD])
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_training_goes_on_the_same_after_a_copy(optimiser, copied):
    lstm = clstm.LSTM(3, 4, rng=0)
    under_test = optimiser(lstm, lr=0.1)
    under_test.step(gradient(lstm))
    twin, twin_optimiser = copied((lstm, under_test))
    assert twin_optimiser.lstm is twin
    for one, its_optimiser in ((lstm, under_test), (twin, twin_optimiser)):
        its_optimiser.step(gradient(one, seed=2))
    np.testing.assert_array_equal(twin.parameters.flat, lstm.parameters.flat)


def state_of(optimiser):
    own = {k: copy.copy(v) for k, v in vars(optimiser).items() if k not in ("lstm", "_progress")}
    return own | {"steps": optimiser._progress.steps}


@pytest.mark.parametrize("optimiser", [optim.Adam, optim.SGD])
def test_a_refused_step_changes_nothing(optimiser):
    lstm = clstm.LSTM(3, 4, rng=0)
    under_test = optimiser(lstm, lr=0.1)
    under_test.step(gradient(lstm))
    weights, state = lstm.parameters.flat.copy(), state_of(under_test)
    good = gradient(lstm)
    refused = [
        (gradient(clstm.LSTM(3, 5, rng=0)), ValueError, r"grad has 180 values, expected 128"),
        (gradient(clstm.LSTM(3, 4, dtype="f8")), ValueError, "grad has dtype float64, .* float32"),
        (good.parameters.flat, TypeError, "grad must be Gradients .* not ndarray"),
        (None, TypeError, "grad must be Gradients .* not NoneType"),
    ]
    for grad, error, message in refused:
        with pytest.raises(error, match=message):
            under_test.step(grad)
    with lstm.edit(), pytest.raises(RuntimeError):
        under_test.step(good)
    np.testing.assert_array_equal(lstm.parameters.flat, weights)
    for name, value in state_of(under_test).items():
        np.testing.assert_array_equal(value, state[name])
    under_test.step(good)


@pytest.mark.parametrize(
    ("optimiser", "name", "value", "error", "message"),
    [
        (optim.Adam, "lr", 0.0, ValueError, "lr must be positive and finite, not 0.0"),
        (optim.Adam, "lr", -1e-3, ValueError, "lr must be positive"),
        (optim.Adam, "lr", math.nan, ValueError, "lr must be positive and finite, not nan"),
        (optim.Adam, "lr", math.inf, ValueError, "lr must be positive"),
        (optim.Adam, "lr", "0.1", TypeError, "lr must be a real number, not str"),
        (optim.Adam, "lr", None, TypeError, "lr must be a real number, not NoneType"),
        (optim.Adam, "betas", (0.9, 1.0), ValueError, r"betas\[1\] must be in \[0, 1\), not 1.0"),
        (optim.Adam, "betas", (-0.1, 0.9), ValueError, r"betas\[0\] must be in"),
        (optim.Adam, "betas", (0.9,), TypeError, r"betas must be a pair .* \(0.9,\)"),
        (optim.Adam, "betas", 0.9, TypeError, "betas must be a pair .* 0.9"),
        (optim.Adam, "betas", ("a", 0.9), TypeError, r"betas\[0\] must be a real number"),
        (optim.Adam, "eps", 0, ValueError, "eps must be positive"),
        (optim.SGD, "lr", 0, ValueError, "lr must be positive"),
        (optim.SGD, "momentum", 1, ValueError, r"momentum must be in \[0, 1\), not 1"),
        (optim.SGD, "momentum", -0.5, ValueError, "momentum must be in"),
        (optim.SGD, "momentum", 1j, TypeError, "momentum must be a real number, not complex"),
    ],
)
def test_bad_settings_at_construction_and_later(optimiser, name, value, error, message):
    lstm = clstm.LSTM(1, 1)
    with pytest.raises(error, match=message):
        optimiser(lstm, **({"lr": 0.1} | {name: value}))
    under_test = optimiser(lstm, lr=0.1)
    before = getattr(under_test, name)
    with pytest.raises(error, match=message):
        setattr(under_test, name, value)
    assert getattr(under_test, name) == before


def test_clip_scales_all_parameters_together(lstm):
    grad = gradient(lstm)
    before = grad.parameters.flat.copy()
    x, state = grad.x.copy(), [s.copy() for s in grad.state]
    expected = np.linalg.norm(before.astype(np.float64))
    norm = optim.clip_global_norm(grad, expected / 4)
    assert type(norm) is float
    assert norm == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(grad.parameters.flat, before / 4, rtol=4 * np.finfo(lstm.dtype).eps)
    np.testing.assert_array_equal(grad.x, x)
    np.testing.assert_array_equal(grad.state, state)
    assert optim.clip_global_norm(grad.parameters, 1e-3) == pytest.approx(expected / 4, rel=1e-6)
    assert optim.clip_global_norm(grad, np.inf) == pytest.approx(1e-3, rel=1e-6)


def test_clip_leaves_a_small_gradient_alone(lstm):
    grad = gradient(lstm)
    before = grad.parameters.flat.copy()
    norm = optim.clip_global_norm(grad, math.inf)
    for limit in (norm, norm * 2, np.float32(1e30)):
        assert optim.clip_global_norm(grad, limit) == norm
    np.testing.assert_array_equal(grad.parameters.flat, before)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_clip_returns_a_norm_that_is_not_finite_and_scales_nothing(lstm, value):
    grad = gradient(lstm)
    grad.parameters["weight_hh_l1"][3, 2] = value
    before = grad.parameters.flat.copy()
    norm = optim.clip_global_norm(grad, 1e-3)
    assert math.isnan(norm) if math.isnan(value) else norm == math.inf
    np.testing.assert_array_equal(grad.parameters.flat, before)


def test_clip_sums_in_float64():
    lstm = clstm.LSTM(3, 4)
    grad = gradient(lstm)
    grad.parameters.flat[...] = 1e30
    expected = math.sqrt(grad.parameters.flat.size) * float(np.float32(1e30))
    assert optim.clip_global_norm(grad, 1.0) == pytest.approx(expected, rel=1e-12)
    assert np.linalg.norm(grad.parameters.flat) == pytest.approx(1.0, rel=1e-5)


def test_clip_refuses():
    lstm = clstm.LSTM(3, 4, rng=0)
    grad = gradient(lstm)
    before = grad.parameters.flat.copy()
    refused = [
        (grad, 0, ValueError, "max_norm must be positive, not 0"),
        (grad, -1.0, ValueError, "max_norm must be positive, not -1.0"),
        (grad, math.nan, ValueError, "max_norm must be positive, not nan"),
        (grad, "1", TypeError, "max_norm must be a real number, not str"),
        (grad.x, 1.0, TypeError, "grad must be Gradients .* not ndarray"),
        (lstm, 1.0, ValueError, "grad is read-only"),
    ]
    for argument, max_norm, error, message in refused:
        with pytest.raises(error, match=message):
            optim.clip_global_norm(argument, max_norm)
    np.testing.assert_array_equal(grad.parameters.flat, before)


FLAT = {
    "strided": spread,
    "reversed": lambda flat: flat[::-1].copy()[::-1],
    "misaligned": misaligned,
    "byte-swapped": lambda flat: flat.astype(flat.dtype.newbyteorder()),
    "of one element": lambda flat: np.broadcast_to(flat[0], flat.shape),
    "integers": lambda flat: flat.astype(np.int32),
    "of two axes": lambda flat: flat.reshape(2, -1).copy(),
    "masked": np.ma.masked_array,
    "read-only": read_only,
}


@pytest.mark.parametrize("layout", FLAT)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_clip_is_right_or_refuses_a_flat_array_of_any_layout(layout, dtype):
    flat = FLAT[layout](np.full(1000, 3, dtype))
    before = flat.copy()
    with pytest.raises((TypeError, ValueError), match=r"^grad "):
        optim.clip_global_norm(SimpleNamespace(flat=flat), 1.0)
    np.testing.assert_array_equal(flat, before)


@pytest.mark.parametrize("layout", FLAT)
@pytest.mark.parametrize("optimiser", [optim.Adam, optim.SGD])
def test_a_step_is_right_or_refuses_a_gradient_of_any_layout(optimiser, layout):
    one, two = (clstm.LSTM(3, 4, rng=0) for _ in range(2))
    grad = gradient(one).parameters.flat
    flat = FLAT[layout](grad)
    before = one.parameters.flat.copy()
    under_test = optimiser(one, lr=0.1)
    if layout in ("byte-swapped", "integers", "of two axes", "masked"):
        with pytest.raises((TypeError, ValueError), match=r"^grad "):
            under_test.step(SimpleNamespace(flat=flat))
        np.testing.assert_array_equal(one.parameters.flat, before)
        return
    under_test.step(SimpleNamespace(flat=flat))
    optimiser(two, lr=0.1).step(SimpleNamespace(flat=np.array(flat)))
    np.testing.assert_array_equal(one.parameters.flat, two.parameters.flat)


@pytest.mark.parametrize("optimiser", [optim.Adam, optim.SGD])
def test_the_parameters_may_be_their_own_gradient(optimiser):
    one, two = (clstm.LSTM(3, 4, rng=0) for _ in range(2))
    optimiser(one, lr=0.1).step(one.parameters)
    optimiser(two, lr=0.1).step(SimpleNamespace(flat=two.parameters.flat.copy()))
    np.testing.assert_array_equal(one.parameters.flat, two.parameters.flat)


STATE = [(optim.Adam, "m"), (optim.Adam, "v"), (optim.SGD, "velocity")]


@pytest.mark.parametrize("layout", FLAT)
@pytest.mark.parametrize(("optimiser", "name"), STATE)
def test_state_of_another_layout_is_refused(optimiser, name, layout):
    lstm = clstm.LSTM(3, 4, rng=0)
    under_test = optimiser(lstm, lr=0.1)
    setattr(under_test, name, FLAT[layout](np.ones_like(lstm.parameters.flat)))
    refuses_without_a_trace(under_test, gradient(lstm), f"^{name} must be ")


@pytest.mark.parametrize(("optimiser", "name"), STATE)
def test_state_that_shares_memory_is_refused(optimiser, name):
    lstm = clstm.LSTM(3, 4, rng=0)
    n = lstm.parameters.flat.size
    buffer = np.zeros(n + 1, np.float32)
    for grad in (buffer[:n], buffer[1:]):
        under_test = optimiser(lstm, lr=0.1)
        setattr(under_test, name, buffer[:n])
        refuses_without_a_trace(
            under_test, SimpleNamespace(flat=grad), f"^{name} shares memory with grad"
        )


def test_averages_that_share_memory_are_refused():
    lstm = clstm.LSTM(3, 4, rng=0)
    n = lstm.parameters.flat.size
    buffer = np.zeros(n + 1, np.float32)
    for v in (buffer[:n], buffer[1:]):
        adam = optim.Adam(lstm)
        adam.m, adam.v = buffer[:n], v
        refuses_without_a_trace(adam, gradient(lstm), "^v shares memory with m")


def refuses_without_a_trace(optimiser, grad, message):
    weights, state = optimiser.lstm.parameters.flat.copy(), state_of(optimiser)
    with pytest.raises((TypeError, ValueError), match=message):
        optimiser.step(grad)
    np.testing.assert_array_equal(optimiser.lstm.parameters.flat, weights)
    for name, value in state_of(optimiser).items():
        np.testing.assert_array_equal(value, state[name])
    optimiser.lstm(np.ones((1, 1, 3)))


@pytest.mark.parametrize("make", [optim.Adam, lambda lstm: optim.SGD(lstm, 0.1)])
def test_a_copy_made_amid_a_step_is_refused(make):
    lstm = clstm.LSTM(3, 4, rng=0)
    optimiser, good = make(lstm), gradient(lstm)
    optimiser._progress = _core.Progress(7, torn=True)  # as another thread copies or forks
    before = lstm.parameters.flat.copy()
    for torn in (optimiser, copy.deepcopy(optimiser)):
        with pytest.raises(RuntimeError, match="averages are torn"):
            torn.step(good)
    np.testing.assert_array_equal(lstm.parameters.flat, before)
    make(lstm).step(good)


def test_t_is_a_count_that_can_be_set():
    lstm = clstm.LSTM(3, 4, rng=0)
    adam = optim.Adam(lstm)
    adam.t = np.int64(41)
    adam.step(gradient(lstm))
    assert adam.t == 42 and type(adam.t) is int
    for wrong, error in ((-1, ValueError), (1.0, TypeError), ("1", TypeError), (2**70, ValueError)):
        with pytest.raises(error, match="t must be"):
            adam.t = wrong
    assert adam.t == 42
