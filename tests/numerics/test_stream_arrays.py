"""Arrays of streams: every dtype and layout, `out=`, refusals."""

import numpy as np
import pytest

import clstm
from tests.support.arrays import DTYPES, LAYOUTS
from tests.support.bounds import assert_identical
from tests.support.case import Case
from tests.support.streams import CASE, stream_of


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_real_dtype_in_any_layout(dtype, layout):
    values = np.random.default_rng(0).integers(0, 2, (12, 3, 5))
    x, ones = LAYOUTS[layout](values.astype(dtype)), np.ones((2, 3, 6), dtype)
    before, model = x.tobytes(), CASE.model()
    expected = stream_of(CASE, model, (ones, ones)).process(values.astype(np.float32))
    state = LAYOUTS[layout](ones), LAYOUTS[layout](ones)
    for out in (None, np.empty_like(expected)):
        stream = stream_of(CASE, model, state)
        y = stream.process(x, out)
        assert out is None or y is out
        assert y.dtype == np.float32 and type(y) is np.ndarray
        assert_identical(y, expected)
        stream.state = state
        assert_identical(np.stack([stream.step(x_t) for x_t in x]), expected)
    assert x.tobytes() == before


def test_objects_that_offer_an_array():
    class Offers:
        def __array__(self, dtype=None, copy=None):
            return np.ones((3, 5))

    first, second = (stream_of(CASE, CASE.model()) for _ in range(2))
    assert_identical(first.step(Offers()), second.step(np.ones((3, 5))))


def test_an_array_that_is_offered_while_rows_come():
    """Its shape is compared with the number of rows after `__array__` has run."""

    class Joins:
        def __array__(self, dtype=None, copy=None):
            stream.join(40)
            return np.ones((3, 5))

    stream = stream_of(CASE, CASE.model())
    with pytest.raises(ValueError, match=r"x has shape \(3, 5\), expected \(batch_size=43, "):
        stream.step(Joins())

    class JoinsLater:
        def __array__(self, dtype=None, copy=None):
            stream.join(40)
            return np.ones((2, 43, 6))

    before = stream.state
    with pytest.raises(ValueError, match=r"h has shape .* expected \(2, 83, 6\)"):
        stream.state = JoinsLater(), np.ones((2, 43, 6))
    assert_identical(stream.state[0][:, :43], before[0])


@pytest.mark.parametrize("block", [False, True])
@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("output_size", [None, 6])
def test_out_may_be_x_itself(output_size, num_layers, block):
    """Also over many of the core's blocks."""
    case = Case(300, 3, 6, 6, num_layers, output_size)
    model, x = case.model(), case.x()
    expected, stream = stream_of(case, model).process(x), stream_of(case, model)
    if block:
        assert stream.process(x, x) is x
    else:
        for x_t in x:
            assert stream.step(x_t, out=x_t) is x_t
    assert_identical(x, expected)


def test_out_may_be_x_itself_of_another_class(tmp_path):
    case = Case(20, 3, 6)
    model, x = case.model(), case.x()
    mapped = np.memmap(tmp_path / "x", x.dtype, "w+", shape=x.shape)
    mapped[...] = x
    assert stream_of(case, model).process(mapped, mapped) is mapped
    assert_identical(np.array(mapped), stream_of(case, model).process(x))


def overlapping():
    """Every way in which `out` could touch x (7, 3, 6) but be something else."""
    buffer = np.zeros(7 * 3 * 6 + 40, np.float32)
    y = buffer[: 7 * 3 * 6].reshape(7, 3, 6)
    return {
        "another view": (y, y[...]),
        "shifted on": (y, buffer[40 : 40 + 7 * 3 * 6].reshape(7, 3, 6)),
        "shifted back": (buffer[1 : 1 + 7 * 3 * 6].reshape(7, 3, 6), y),
        "reversed": (y, y[::-1]),
        "of another dtype": (y, buffer.view(np.int16)[:126].reshape(7, 3, 6)),
    }


@pytest.mark.parametrize("pair", overlapping())
def test_out_that_overlaps_x_is_refused_before_any_write(pair):
    out, x = overlapping()[pair]
    out[...] = 7
    stream = clstm.LSTM(6, 6, rng=0).stream(3)
    with pytest.raises(ValueError, match="out shares memory with x"):
        stream.process(x, out)
    assert (out == 7).all() and not stream.state[0].any()
    with pytest.raises(ValueError, match="out shares memory with x"):
        stream.step(out[0], out.reshape(-1)[6:24].reshape(3, 6))
    assert (out == 7).all() and not stream.state[0].any()


@pytest.mark.parametrize(
    ("out", "error", "words"),
    [
        ([], TypeError, "out must be a NumPy array, got list"),
        (np.empty((3, 5), "f4"), ValueError, r"out has shape \(3, 5\), expected \(3, 4\)"),
        (np.empty((3, 4), "f8"), ValueError, "out has dtype float64, expected float32"),
        (np.empty((3, 4), ">f4"), ValueError, "out has dtype >f4"),
        (np.empty((3, 8), "f4")[:, ::2], ValueError, "out must be C-contiguous"),
        (np.broadcast_to(np.float32(0), (3, 4)), ValueError, "out must be C-contiguous"),
        (LAYOUTS["read-only"](np.empty((3, 4), "f4")), ValueError, "aligned and writeable"),
        (LAYOUTS["misaligned"](np.zeros((3, 4), "f4")), ValueError, "aligned and writeable"),
    ],
)
def test_out_must_be_exact(out, error, words):
    stream, x = stream_of(CASE, CASE.model()), CASE.x()[0]
    for argument in (x, x.astype(float)):
        with pytest.raises(error, match=words):
            stream.step(argument, out)
    assert not stream.state[0].any()


@pytest.mark.parametrize(
    ("batch_size", "method", "x", "error", "words"),
    [
        (None, "step", [1.0], TypeError, "x must be a NumPy array, got list"),
        (None, "step", None, TypeError, "x must be a NumPy array, got NoneType"),
        (None, "step", np.zeros(5, complex), TypeError, "x must hold real numbers"),
        (None, "step", np.zeros(5, object), TypeError, "x must hold real numbers"),
        (None, "step", np.zeros(4, "f4"), ValueError, r"\(4,\), expected \(input_size=5\)"),
        (None, "step", np.float32(1), ValueError, r"x has shape \(\), expected"),
        (None, "step", np.array(1, "f4"), ValueError, r"x has shape \(\), expected"),
        (None, "step", np.zeros((1, 5), "f4"), ValueError, r"expected \(input_size=5\)"),
        (None, "process", np.zeros(5, "f4"), ValueError, r"expected \(T, input_size=5\)"),
        (None, "process", np.array(1, "f4"), ValueError, r"x has shape \(\), expected \(T, "),
        (None, "process", np.zeros((2, 3, 5)), ValueError, r"expected \(T, input_size=5\)"),
        (3, "step", np.zeros((4, 5)), ValueError, r"expected \(batch_size=3, input_size=5\)"),
        (3, "step", np.zeros(5), ValueError, r"expected \(batch_size=3, input_size=5\)"),
        (3, "process", np.zeros((3, 5)), ValueError, r"expected \(T, batch_size=3, input"),
        (3, "process", np.zeros((3, 2, 5)), ValueError, r"expected \(T, batch_size=3, input"),
    ],
)
def test_x_that_does_not_fit(batch_size, method, x, error, words):
    stream = CASE.model().stream(batch_size)
    with pytest.raises(error, match=words):
        getattr(stream, method)(x)
    assert not stream.state[1].any()


@pytest.mark.parametrize(
    ("state", "error", "words"),
    [
        (None, TypeError, r"state must be a pair \(h, c\) of arrays"),
        (np.ones((2, 2, 3, 6)), TypeError, "state must be a pair"),
        ((np.ones((2, 3, 6)),), TypeError, "state must be a pair"),
        ((np.ones((2, 3, 6)), np.ones((2, 3, 5))), ValueError, r"c has shape \(2, 3, 5\)"),
        ((np.ones((2, 3, 6)), np.ones((2, 6))), ValueError, r"expected \(2, 3, 6\)"),
        ((np.ones((2, 2, 6)), np.ones((2, 3, 6))), ValueError, r"expected \(2, 3, 6\)"),
        ((np.ones((2, 3, 6)), None), TypeError, "state's c must be a NumPy array"),
        ((np.ones((2, 3, 6)), np.ones((2, 3, 6), "U1")), TypeError, "c must hold real"),
    ],
)
def test_a_state_that_does_not_fit_is_not_half_taken(state, error, words):
    stream = stream_of(CASE, CASE.model(), CASE.state())
    with pytest.raises(error, match=words):
        stream.state = state
    for actual, wanted in zip(stream.state, CASE.state(), strict=True):
        assert_identical(actual, wanted)
