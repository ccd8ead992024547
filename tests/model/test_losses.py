"""losses: values and gradients against the formulas, weights, bad input."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import clstm
from clstm.layers import Dense, Last
from clstm.losses import mean_squared_error, softmax_cross_entropy
from tests.support.formulas import cross_entropy_by_formula, squared_error_by_formula

LOSSES = {
    softmax_cross_entropy: cross_entropy_by_formula,
    mean_squared_error: squared_error_by_formula,
}
losses = pytest.mark.parametrize("loss_function", LOSSES)


def draw(loss_function, shape, rng):
    """Return y, a target that fits it and weights, one of them 0 where there are several rows."""
    y = rng.normal(0, 2, shape)
    if loss_function is softmax_cross_entropy:
        target = rng.integers(shape[-1], size=shape[:-1])
    else:
        target = rng.normal(0, 2, shape)
    weight = rng.uniform(0.1, 3, shape[:-1])
    if weight.size > 1:
        weight[(0,) * weight.ndim] = 0
    return y, target, weight


@losses
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_error_state_of_numpy_has_no_effect(loss_function, dtype):
    y, target, weight = draw(loss_function, (4, 5), np.random.default_rng(0))
    y[1], y[2, 0], y[3, 1] = 1e4, -1e4, np.nan
    y, weight = y.astype(dtype), weight * 1e-300
    with np.errstate(all="ignore"):
        expected = loss_function(y, target, weight)
    with np.errstate(all="raise"):
        loss, dy = loss_function(y, target, weight)
    np.testing.assert_array_equal(loss, expected[0])
    np.testing.assert_array_equal(dy, expected[1])


def finite_differences(function, y, step=1e-6):
    gradient = np.empty_like(y)
    for index in np.ndindex(y.shape):
        up, down = y.copy(), y.copy()
        up[index] += step
        down[index] -= step
        gradient[index] = (function(up) - function(down)) / (2 * step)
    return gradient


@losses
@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple),
    weighted=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_value_and_gradient(loss_function, shape, weighted, seed):
    y, target, weight = draw(loss_function, shape, np.random.default_rng(seed))
    given_weight = weight if weighted else None
    loss, dy = loss_function(y, target, given_weight)
    assert type(loss) is float
    assert (dy.shape, dy.dtype) == (y.shape, y.dtype)
    used = weight if weighted else np.ones(shape[:-1])
    by_formula = LOSSES[loss_function](y, target, used)
    np.testing.assert_allclose(loss, by_formula[0], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(dy, by_formula[1], rtol=1e-12, atol=1e-14)
    expected = finite_differences(lambda y: loss_function(y, target, given_weight)[0], y)
    np.testing.assert_allclose(dy, expected, rtol=1e-5, atol=1e-8)


@losses
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [("f2", 2e-3), ("f4", 1e-6), (">f4", 1e-6), ("f8", 1e-14), ("g", 1e-14)],
)
def test_dtypes(loss_function, dtype, tolerance):
    y, target, weight = draw(loss_function, (6, 5, 7), np.random.default_rng(0))
    y = y.astype(dtype)
    if loss_function is mean_squared_error:
        target = target.astype(dtype)
    loss, dy = loss_function(y, target, weight)
    exact, exact_dy = loss_function(y.astype("f8"), target, weight)
    assert type(loss) is float
    assert dy.dtype == np.dtype(dtype)
    np.testing.assert_allclose(loss, exact, rtol=tolerance)
    np.testing.assert_allclose(dy.astype("f8"), exact_dy, atol=tolerance * np.abs(exact_dy).max())


def test_float16_is_computed_in_more():
    y = np.full((8, 1), 60000, np.float16)
    loss, dy = mean_squared_error(y, -y)
    assert loss == 120000.0**2
    np.testing.assert_array_equal(dy, np.full((8, 1), 30000, np.float16))


@losses
def test_memory_layout_does_not_matter_and_inputs_are_not_changed(loss_function):
    y, target, weight = draw(loss_function, (3, 4, 5), np.random.default_rng(1))
    expected, expected_dy = loss_function(y, target, weight)
    wide = np.zeros((6, 4, 10))
    wide[::-2, :, ::2] = y
    for array in (np.asfortranarray(y), wide[::-2, :, ::2]):
        copies = array.copy(), target.copy(), weight.copy()
        array.flags.writeable = False
        loss, dy = loss_function(array, np.asfortranarray(target), np.asfortranarray(weight))
        assert loss == expected
        np.testing.assert_array_equal(dy, expected_dy)
        np.testing.assert_array_equal(array, copies[0])
        np.testing.assert_array_equal(target, copies[1])
        np.testing.assert_array_equal(weight, copies[2])


@losses
def test_weights_are_relative_and_broadcast(loss_function):
    y, target, _ = draw(loss_function, (4, 3, 5), np.random.default_rng(2))
    of_row = np.array([1.0, 2.0, 0.5])
    loss, dy = loss_function(y, target, of_row)
    repeated = np.tile(of_row, (4, 1))
    for same in (repeated, of_row * 8e307, of_row * 1e-300, of_row[np.newaxis], list(of_row)):
        loss_again, dy_again = loss_function(y, target, same)
        np.testing.assert_allclose(loss_again, loss, rtol=1e-14)
        np.testing.assert_allclose(dy_again, dy, rtol=1e-13)
    mean, _ = loss_function(y, target)
    for equal in (1, True, np.ones((4, 3), np.uint8), 7.5):
        assert loss_function(y, target, equal)[0] == pytest.approx(mean, 1e-14)
    mask = np.array([True, False, True])
    loss, dy = loss_function(y, target, mask)
    loss_of_rest, dy_of_rest = loss_function(y[:, mask], target[:, mask])
    assert loss == pytest.approx(loss_of_rest, 1e-14)
    np.testing.assert_allclose(dy[:, mask], dy_of_rest, rtol=1e-13)
    assert not dy[:, ~mask].any()


@pytest.mark.parametrize("garbage", [np.nan, np.inf, -np.inf])
def test_rows_of_weight_zero_may_hold_anything(garbage):
    rng = np.random.default_rng(3)
    weight = np.array([[1.0, 0.0], [0.0, 2.0]])
    for loss_function, fill in ((softmax_cross_entropy, -1), (mean_squared_error, garbage)):
        y, target, _ = draw(loss_function, (2, 2, 3), rng)
        expected, expected_dy = loss_function(y, target, weight)
        y[weight == 0] = garbage
        target[weight == 0] = fill
        loss, dy = loss_function(y, target, weight)
        assert loss == expected
        np.testing.assert_array_equal(dy, expected_dy)


def test_softmax_is_stable():
    loss, dy = softmax_cross_entropy(np.array([[1e4, 0.0, -1e4]]), [0])
    assert loss == 0
    assert not dy.any()
    loss, dy = softmax_cross_entropy(np.array([[1e4, 0.0, -1e4]], np.float32), [2])
    assert loss == 2e4
    np.testing.assert_array_equal(dy, [[1, 0, -1]])
    y = np.random.default_rng(4).normal(size=(5, 4))
    shifted, _ = softmax_cross_entropy(y + 1000, np.zeros(5, int))
    assert shifted == pytest.approx(softmax_cross_entropy(y, np.zeros(5, int))[0], rel=1e-12)


def test_a_class_of_score_minus_infinity_is_ruled_out():
    y = np.array([[0.0, -np.inf, 0.0]])
    loss, dy = softmax_cross_entropy(y, [0])
    assert loss == pytest.approx(np.log(2), rel=1e-15)
    np.testing.assert_allclose(dy, [[-0.5, 0, 0.5]])
    assert softmax_cross_entropy(y, [1])[0] == np.inf


@losses
def test_nan_in_a_row_that_counts_is_seen(loss_function):
    y, target, weight = draw(loss_function, (3, 4), np.random.default_rng(5))
    y[1, 2] = np.nan
    loss, dy = loss_function(y, target, weight)
    assert np.isnan(loss)
    assert np.isnan(dy[1]).any()
    assert np.isfinite(dy[[0, 2]]).all()


Y = np.zeros((4, 3, 5))
BAD = [
    (Y.astype(int), Y[..., 0].astype(int), None, TypeError, "y must be .* int64"),
    (Y.astype(complex), Y[..., 0].astype(int), None, TypeError, "y must be .* complex128"),
    (np.array(None), 0, None, TypeError, "y must be .* object"),
    (np.float64(3), 0, None, ValueError, r"y must have a last axis .* \(\)"),
    (np.zeros((4, 0)), np.zeros(4, int), None, ValueError, r"y must have .* \(4, 0\)"),
    (
        np.zeros((0, 5)),
        np.zeros(0, int),
        None,
        ValueError,
        r"y must have at least one row, .* \(0, 5\)",
    ),
    (np.zeros((0, 5)), np.zeros(0, int), 1.0, ValueError, "weight must be positive in"),
    (Y, Y[..., 0], None, TypeError, "target must hold integers .* float64"),
    (Y, Y[..., 0].astype(bool), None, TypeError, "target must hold integers .* bool"),
    (Y, np.zeros((3, 4), int), None, ValueError, r"target has shape \(3, 4\), expected \(4, 3\)"),
    (Y, np.full((4, 3), 5), None, ValueError, "target must be from 0 to 4, .* got 5"),
    (Y, np.full((4, 3), -1), None, ValueError, "target must be from 0 to 4, .* got -1"),
    (Y, np.zeros((4, 3), int), np.zeros((4, 3)), ValueError, "weight must be positive in"),
    (Y, np.zeros((4, 3), int), np.ones(4), ValueError, r"weight has shape \(4,\), .* \(4, 3\)"),
    (Y, np.zeros((4, 3), int), np.ones((4, 3, 1)), ValueError, r"weight has shape \(4, 3, 1\)"),
    (Y, np.zeros((4, 3), int), -1, ValueError, "weight must be finite and non-negative"),
    (Y, np.zeros((4, 3), int), np.nan, ValueError, "weight must be finite and non-negative"),
    (Y, np.zeros((4, 3), int), np.inf, ValueError, "weight must be finite and non-negative"),
    (Y, np.zeros((4, 3), int), "all", TypeError, "weight must hold real numbers"),
    (Y, np.zeros((4, 3), int), 1j, TypeError, "weight must hold real numbers, not complex"),
]


@pytest.mark.parametrize(("y", "target", "weight", "error", "message"), BAD)
def test_bad_input_cross_entropy(y, target, weight, error, message):
    with pytest.raises(error, match=message):
        softmax_cross_entropy(y, target, weight)


@pytest.mark.parametrize(
    ("y", "target", "weight", "error", "message"),
    [
        (Y, Y[..., :1], None, ValueError, r"target has shape \(4, 3, 1\), .* \(4, 3, 5\)"),
        (Y, 0.0, None, ValueError, r"target has shape \(\)"),
        (Y, Y.astype(complex), None, TypeError, "target must hold real numbers, not complex128"),
        (Y, Y, np.ones((4, 3, 5)), ValueError, r"weight has shape \(4, 3, 5\), .* \(4, 3\)"),
        *((y, y, weight, *rest) for y, target, weight, *rest in BAD if "target" not in rest[1]),
    ],
)
def test_bad_input_squared_error(y, target, weight, error, message):
    with pytest.raises(error, match=message):
        mean_squared_error(y, target, weight)


# ---- Lists of arrays, as a tape of sequences has them ----

STEPS = (3, 0, 1, 4)


def draw_list(loss_function, steps=STEPS):
    rng = np.random.default_rng(6)
    y = rng.normal(0, 2, (sum(steps), 3)).astype(np.float32)
    if loss_function is softmax_cross_entropy:
        target = rng.integers(3, size=len(y))
    else:
        target = rng.normal(0, 2, y.shape)
    weight = rng.uniform(0, 2, len(y))
    cuts = np.cumsum(steps[:-1])
    return [np.split(array, cuts) for array in (y, target, weight)]


@losses
@pytest.mark.parametrize("steps", [STEPS, (2, 2, 2), (5,)])
def test_a_list_of_arrays_is_all_its_rows(loss_function, steps):
    """A list is returned, of arrays that differ in length or not, for the tape of a list."""
    y, target, weight = draw_list(loss_function, steps)
    for given_weight in (None, weight):
        whole = given_weight and np.concatenate(given_weight)
        loss, dy = loss_function(y, target, given_weight)
        expected, expected_dy = loss_function(np.concatenate(y), np.concatenate(target), whole)
        assert loss == expected
        assert [part.shape for part in dy] == [part.shape for part in y]
        assert {part.dtype for part in dy} == {y[0].dtype}
        np.testing.assert_array_equal(np.concatenate(dy), expected_dy)
    of_list = list(range(len(steps)))
    of_list[0] = 1
    repeated = [np.full(n, w) for n, w in zip(steps, of_list, strict=True)]
    expected = loss_function(y, target, repeated)[0]
    assert loss_function(y, target, of_list)[0] == expected
    assert loss_function(y, target, np.array(of_list, float))[0] == expected


@losses
def test_a_tape_of_a_list_takes_the_gradient_of_one(loss_function):
    x = [np.ones((steps, 2)) for steps in STEPS]
    _, target, _ = draw_list(loss_function)
    tape = clstm.LSTM(2, 3, rng=0).record(x)
    _, dy = loss_function(tape.y, target)
    assert [part.shape for part in tape.backward(dy).x] == [part.shape for part in x]


@losses
def test_a_list_of_rows_is_one_array(loss_function):
    y, target, _ = draw(loss_function, (3, 4), np.random.default_rng(7))
    expected, expected_dy = loss_function(y, target)
    for same in (list(y), y.tolist()):
        loss, dy = loss_function(same, list(target))
        assert loss == expected
        np.testing.assert_array_equal(dy, expected_dy)


A, B = np.zeros((3, 4), np.float32), np.zeros((2, 4), np.float32)


@pytest.mark.parametrize(
    ("y", "target", "weight", "error", "message"),
    [
        ([A, B], A, None, TypeError, "target must be a list of arrays, because y is one, got nd"),
        ([A, B], [A, B], 1.0, TypeError, "weight must be a list of arrays, because y is one"),
        ([A, B], [A, B], np.ones(3), TypeError, "weight must be a list of arrays, because y is"),
        ([A, B], [A], None, ValueError, "target has 1 arrays, expected y's 2"),
        ([A, B], [A, A], None, ValueError, r"target\[1\] has shape \(3, 4\), expected \(2, 4\)"),
        ([A, B], [A, B], [1], ValueError, "weight has 1 arrays, expected y's 2"),
        ([A, B], [A, B], [1, A], ValueError, r"weight\[1\] has shape \(3, 4\), expected \(2,\)"),
        ([A, B], [A, [[1], [2, 3]]], None, ValueError, r"target\[1\] must be one array"),
        ([A, B[:, :3]], [A, B], None, ValueError, r"y has arrays of shapes \(3, 4\) and \(2, 3\)"),
        (A, [A, B], None, ValueError, "target must be one array, or, like y, a list of arrays"),
        (A, A, [[1], [2, 3]], ValueError, "weight must be one array, or, like y, a list"),
        ([[1.0], [2.0, 3.0]], A, None, ValueError, "y must be one array, or, like y, a list"),
        ([np.zeros((0, 4))], [np.zeros((0, 4))], None, ValueError, "y must have at least one row"),
    ],
)
def test_lists_that_do_not_fit(y, target, weight, error, message):
    with pytest.raises(error, match=message):
        mean_squared_error(y, target, weight)


# ---- What holds y ----


def results():
    """What models return, by the message's kind."""
    lstm = clstm.LSTM(2, 4, dtype=np.float64, rng=0)
    whole = clstm.Sequential([lstm, Last(), Dense(np.ones((3, 4)))])
    for model in (lstm, whole):
        for x in (np.ones((5, 3, 2)), np.ones((5, 2)), [np.ones((5, 2)), np.ones((0, 2))]):
            yield model(x), r"got the pair \(y, state\) that a model returns: write y, state = "
            yield model.record(x), "got a (Sequential)?Tape: write tape.y"


@losses
def test_what_holds_y_is_told_from_y(loss_function):
    for value, message in results():
        for arguments, name in (((value, np.zeros(3)), "y"), ((np.ones((3, 4)), value), "target")):
            with pytest.raises(TypeError, match=f"^{name} must be .*, {message}"):
                loss_function(*arguments)


@losses
def test_a_tuple_of_rows_is_one_array(loss_function):
    y, target, _ = draw(loss_function, (2, 2, 3), np.random.default_rng(8))
    expected = loss_function(y, target)[0]
    for same in (tuple(y), (y[0], tuple(y[1])), tuple(map(tuple, y)), tuple(y.tolist())):
        assert loss_function(same, target)[0] == expected


@losses
@pytest.mark.parametrize("batch_first", [False, True])
def test_steps_that_count_are_those_of_a_list(loss_function, batch_first):
    """Weights from the lengths of padded rows give the loss and the gradients of the list."""
    lengths, rng = np.array(STEPS), np.random.default_rng(9)
    model = clstm.Sequential(
        [clstm.LSTM(2, 4, dtype=np.float64, rng=0), Dense(rng.standard_normal((3, 4)))], batch_first
    )
    x = rng.standard_normal((len(lengths), max(lengths), 2))
    _, target, _ = draw(loss_function, (*x.shape[:2], 3), rng)
    counts = np.arange(max(lengths)) < lengths[:, np.newaxis]
    listed = [[row[:n] for row, n in zip(array, lengths, strict=True)] for array in (x, target)]
    if not batch_first:
        x, target, counts = (array.swapaxes(0, 1) for array in (x, target, counts))
    tape, of_list = model.record(x, lengths=lengths), model.record(listed[0])
    loss, dy = loss_function(tape.y, target, counts)
    loss_of_list, dy_of_list = loss_function(of_list.y, listed[1])
    assert loss == pytest.approx(loss_of_list, rel=1e-13)
    grads = [one.backward(d).parameters.flat for one, d in ((tape, dy), (of_list, dy_of_list))]
    np.testing.assert_allclose(grads[0], grads[1], rtol=1e-10, atol=1e-13)
