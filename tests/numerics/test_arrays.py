"""Arrays that users pass: every dtype and layout, `out=`, refusals and their messages."""

import numpy as np
import pytest

import clstm
from tests.support.arrays import DTYPES, LAYOUTS, misaligned, read_only
from tests.support.case import Case


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_real_dtype_in_any_layout(dtype, layout):
    case = Case(num_layers=2, output_size=3)
    model = case.model()
    values = np.random.default_rng(0).integers(0, 2, (7, 3, 5))
    x = LAYOUTS[layout](values.astype(dtype))
    h, c = (LAYOUTS[layout](np.ones((2, 3, 6), dtype)) for _ in "hc")
    before = x.tobytes(), h.tobytes()
    expected, _ = model(values.astype(np.float32), (np.ones((2, 3, 6)), np.ones((2, 3, 6))))
    y, _ = model(x, (h, c))
    np.testing.assert_array_equal(y, expected)
    assert y.dtype == np.float32
    assert (x.tobytes(), h.tobytes()) == before

    dy = LAYOUTS[layout](np.ones((7, 3, 3), dtype))
    grad = model.record(x, (h, c)).backward(dy)
    plain = model.record(values.astype(float)).backward(np.ones((7, 3, 3)))
    assert grad.x.shape == plain.x.shape


def test_zero_strides():
    case = Case()
    model = case.model()
    x = np.broadcast_to(np.float32(0.5), (7, 3, 5))
    np.testing.assert_array_equal(model(x)[0], model(np.full((7, 3, 5), 0.5))[0])


def test_objects_that_offer_an_array():
    class Offers:
        def __array__(self, dtype=None, copy=None):
            return np.ones((7, 3, 5))

    model = Case().model()
    np.testing.assert_array_equal(model(Offers())[0], model(np.ones((7, 3, 5)))[0])


@pytest.mark.parametrize("with_out", [False, True])
@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("shape", [(7, 3, 5), (7, 1, 5), (1, 3, 5), (1, 1, 5), (0, 3, 5), (7, 5)])
def test_arrays_used_as_they_are_give_the_same_as_converted_ones(
    shape, batch_first, with_state, with_out
):
    """float32 in C order goes to the core directly, float64 by way of layout.py."""
    model = clstm.LSTM(5, 6, 2, output_size=4, batch_first=batch_first, rng=0)
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape, np.float32)
    batch = [shape[0 if batch_first else 1]] * (len(shape) == 3)
    state = tuple(rng.standard_normal((2, *batch, 6), np.float32) for _ in "hc")
    state = state if with_state else None
    out = np.full((*shape[:-1], 4), 9, np.float32) if with_out else None
    before = x.tobytes(), *(part.tobytes() for part in state or ())

    y, (h, c) = model(x, state, out=out)
    wide = state and [part.astype(np.float64) for part in state]
    expected_y, (expected_h, expected_c) = model(x.astype(np.float64), wide)
    assert y is out or not with_out
    for actual, expected in ((y, expected_y), (h, expected_h), (c, expected_c)):
        assert actual.shape == expected.shape
        np.testing.assert_array_equal(actual, expected)
    assert (x.tobytes(), *(part.tobytes() for part in state or ())) == before


def test_results_are_never_written_again():
    model, x = Case().model(), Case().x()
    y, (h, c) = model(x)
    before = y.tobytes(), h.tobytes(), c.tobytes()
    model(-x, (h, c))
    model(-x)
    assert (y.tobytes(), h.tobytes(), c.tobytes()) == before
    assert all(array.flags.writeable for array in (y, h, c))


def test_matrices_and_memory_maps(tmp_path):
    model, x = Case().model(), Case().x()[:, 0]
    expected, _ = model(x)
    mapped = np.memmap(tmp_path / "x", x.dtype, "w+", shape=x.shape)
    mapped[...] = x
    for subclass in (x.view(np.matrix), mapped):
        y, _ = model(subclass)
        assert type(y) is np.ndarray
        np.testing.assert_array_equal(y, expected)


def test_out_may_touch_an_input():
    buffer = np.zeros(2 * 7 * 3 * 6, np.float32)
    first, second = buffer.reshape(2, 7, 3, 6)
    model = clstm.LSTM(6, 6, rng=0)
    assert model(first, out=second)[0] is second
    assert model(second, out=first)[0] is first


def test_out_receives_y():
    case = Case(output_size=2)
    model = case.model()
    expected, _ = model(case.x())
    out = np.empty((7, 3, 2), np.float32)
    y, _ = model(case.x(), out=out)
    assert y is out
    np.testing.assert_array_equal(out, expected)

    row = np.empty((7, 2), np.float32)
    assert model(case.x()[:, 0], out=row)[0] is row
    np.testing.assert_allclose(row, expected[:, 0], atol=1e-6)

    first = clstm.LSTM(5, 6, output_size=2, batch_first=True, rng=0)
    turned = np.empty((3, 7, 2), np.float32)
    assert first(case.x().swapaxes(0, 1), out=turned)[0] is turned
    np.testing.assert_array_equal(turned.swapaxes(0, 1), expected)


def overlapping():
    """Every input that `out` could overlap, fully, in part, or through a shared base."""
    buffer = np.zeros(7 * 3 * 6 + 40, np.float32)
    y = buffer[: 7 * 3 * 6].reshape(7, 3, 6)
    shifted = buffer[40 : 40 + 7 * 3 * 6].reshape(7, 3, 6)
    state = buffer[10 : 10 + 18].reshape(1, 3, 6)
    other = np.zeros((1, 3, 6), np.float32)
    x = np.ones((7, 3, 6), np.float32)
    return {
        "x itself": (y, y, None),
        "x shifted": (y, shifted, None),
        "x reversed": (y, y[::-1], None),
        "x of another dtype": (y, buffer.view(np.int16)[:126].reshape(7, 3, 6), None),
        "h": (y, x, (state, other)),
        "c": (y, x, (other, state)),
    }


@pytest.mark.parametrize("pair", overlapping())
def test_out_that_overlaps_an_input_is_refused_before_any_write(pair):
    out, x, state = overlapping()[pair]
    out[...] = 7
    model = clstm.LSTM(6, 6, rng=0)
    with pytest.raises(ValueError, match="out shares memory with"):
        model(x, state, out=out)
    assert (out == 7).all() or pair in ("h", "c")


@pytest.mark.parametrize(
    ("out", "error", "words"),
    [
        ([], TypeError, "out must be a NumPy array, got list"),
        (np.empty((7, 3, 5), "f4"), ValueError, r"out has shape \(7, 3, 5\), expected"),
        (np.empty((7, 3, 6), "f8"), ValueError, "out has dtype float64, expected float32"),
        (np.empty((7, 3, 6), ">f4"), ValueError, "out has dtype >f4"),
        (np.empty((7, 3, 12), "f4")[:, :, ::2], ValueError, "out must be C-contiguous"),
        (np.broadcast_to(np.float32(0), (7, 3, 6)), ValueError, "out must be C-contiguous"),
        (read_only(np.empty((7, 3, 6), "f4")), ValueError, "aligned and writeable"),
        (misaligned(np.zeros((7, 3, 6), "f4")), ValueError, "aligned and writeable"),
    ],
)
def test_out_must_be_exact(out, error, words):
    with pytest.raises(error, match=words):
        Case().model()(Case().x(), out=out)


SEQUENCES = np.array([np.zeros((2, 5)), np.zeros((3, 5))], object)


def test_an_array_of_sequences_is_a_list_of_them():
    """As the message of the test below says."""
    assert [y.shape for y in Case().model()(list(SEQUENCES))[0]] == [(2, 6), (3, 6)]


@pytest.mark.parametrize(
    ("x", "error", "words"),
    [
        ([[1.0]], TypeError, r"list of NumPy arrays, one per sequence; x\[0\] is list"),
        ("text", TypeError, "x must be a NumPy array, got str"),
        (None, TypeError, "x must be a NumPy array, got NoneType"),
        (np.zeros((7, 3, 5), complex), TypeError, "x must hold real numbers, got dtype complex"),
        (np.zeros((7, 3, 5), object), TypeError, r"got dtype object: x\.astype\(float\) converts"),
        (SEQUENCES, TypeError, r"got dtype object: list\(x\) makes its arrays a list of sequences"),
        (np.zeros((7, 3, 5), "U1"), TypeError, "x must hold real numbers"),
        (np.zeros((7, 3, 5), "M8[s]"), TypeError, "x must hold real numbers"),
        (np.zeros((7, 3, 12)), ValueError, "x has 12 features, expected input_size=5"),
        (np.zeros(5), ValueError, r"x has shape \(5,\), expected \(T, B, input_size\)"),
        (np.zeros((1, 7, 3, 5)), ValueError, "x has shape"),
        (np.float64(1), ValueError, r"x has shape \(\)"),
    ],
)
def test_x_that_does_not_fit(x, error, words):
    model = Case().model()
    with pytest.raises(error, match=words):
        model(x)
    with pytest.raises(error, match=words):
        model.record(x)


@pytest.mark.parametrize(
    ("state", "error", "words"),
    [
        (
            np.zeros((2, 1, 3, 6)),
            TypeError,
            r"state must be a pair \(h, c\) of arrays, got ndarray",
        ),
        ((np.zeros((1, 3, 6)),), TypeError, r"state must be a pair"),
        (
            (np.zeros((1, 3, 6)), np.zeros((1, 3, 5))),
            ValueError,
            r"state's c has shape \(1, 3, 5\)",
        ),
        ((np.zeros((3, 6)), np.zeros((1, 3, 6))), ValueError, r"expected \(1, 3, 6\)"),
        ((None, np.zeros((1, 3, 6))), TypeError, "state's h must be a NumPy array"),
        (
            (np.zeros((1, 3, 6), complex), np.zeros((1, 3, 6))),
            TypeError,
            "state's h must hold real",
        ),
    ],
)
def test_state_that_does_not_fit(state, error, words):
    with pytest.raises(error, match=words):
        Case().model()(Case().x(), state)


@pytest.mark.parametrize(
    ("num_threads", "error"),
    [(0, ValueError), (-1, ValueError), (1.5, TypeError), ("2", TypeError)],
)
def test_num_threads_that_makes_no_sense(num_threads, error):
    model, before = Case().model(), clstm.get_num_threads()
    with pytest.raises(error, match="num_threads"):
        model(Case().x(), num_threads=num_threads)
    with pytest.raises(error, match="num_threads"):
        clstm.set_num_threads(num_threads)
    assert clstm.get_num_threads() == before


@pytest.mark.parametrize("steps", [2**31, 2**40, 2**52])
def test_sequences_that_no_memory_can_hold(steps):
    model = clstm.LSTM(1, 64, rng=0)
    x = np.lib.stride_tricks.as_strided(np.zeros(1, np.float32), (steps, 64, 1), (0, 0, 0))
    with pytest.raises((MemoryError, ValueError)):
        model(x)


@pytest.mark.parametrize(
    "sizes", [(2**62, 1), (1, 2**62), (2**40, 2**40), (1, 2**70), (2**31, 2**31, 2**31)]
)
def test_models_that_no_memory_can_hold(sizes):
    with pytest.raises((MemoryError, ValueError)):
        clstm.LSTM(*sizes)


EXTREME = np.array([1e-50, 1e300, -1e300, np.inf, np.nan, 1e-310, 3e-39, -1.0]).reshape(2, 4, 1)


def extreme_results(dtype):
    """Run all that computes or converts, with values that the model's dtype cannot hold."""
    lstm = clstm.LSTM(1, 3, 2, output_size=2, dtype=dtype, forget_bias=1e-60, rng=0)
    state = np.full((2, 4, 3), 1e-50), np.full((2, 4, 3), -1e-46)
    y, final = lstm(EXTREME, state)
    ragged, _ = lstm([EXTREME[0], EXTREME[1, :1]])
    drop = np.full((1, 2, 4, 3), 1e-60)
    tape = lstm.record(EXTREME, state, dropout=drop, recurrent_dropout=0.5, rng=0)
    grad = tape.backward(np.full((2, 4, 2), 1e-42), (state[1], state[0]))
    stream = lstm.stream(4)
    stream.state = state
    steps = stream.process(EXTREME), stream.step(EXTREME[0])
    given = lstm.state_dict(torch_names=True)
    lstm.load_state_dict({name: array.astype("f8") * 1e-42 for name, array in given.items()})
    with lstm.edit() as parameters:
        parameters.flat = parameters.flat.astype("f8") * 1e-3
    norm = clstm.optim.clip_global_norm(grad, 1e-30)
    grad.parameters.flat = np.full_like(grad.parameters.flat, 1e-30)
    for optimiser in (clstm.optim.Adam(lstm), clstm.optim.SGD(lstm, 1e-20, momentum=0.5)):
        optimiser.step(grad)
    return [y, *final, *ragged, tape.y, grad.x, *grad.state, *steps, norm, lstm.parameters.flat]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_the_error_state_of_numpy_has_no_effect(dtype):
    with np.errstate(all="ignore"):
        expected = extreme_results(dtype)
    with np.errstate(all="raise"):
        results = extreme_results(dtype)
    for actual, wanted in zip(results, expected, strict=True):
        np.testing.assert_array_equal(actual, wanted)
