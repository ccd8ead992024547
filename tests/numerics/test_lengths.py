"""Rows of different lengths: padded batches, lists of sequences, refusals."""

from dataclasses import replace

import numpy as np
import pytest

import clstm
from tests.support.bounds import assert_identical, assert_same, assert_same_results, largest
from tests.support.case import Case
from tests.support.options import Pass, rows_of

LENGTHS = (4, 0, 9, 2, 9, 7, 1)
CASE = Case(9, 7, num_layers=2, output_size=3, direction="both", lengths=LENGTHS)
PADDING = [np.nan, np.inf, -1e30, 0]


@pytest.mark.parametrize("hidden_size", [6, 17, 40, 130])
@pytest.mark.parametrize("num_threads", [1, 2])
def test_padding_is_never_read(hidden_size, num_threads):
    case = replace(CASE, hidden_size=hidden_size)
    model, results = case.model(), []
    for value in PADDING:
        x = np.where(case.padding()[:, :, np.newaxis], np.float32(value), case.x())
        results.append(model(x, case.state(), lengths=LENGTHS, num_threads=num_threads))
    for y, (h, c) in results[1:]:
        assert_identical(y, results[0][0])
        assert_identical(h, results[0][1][0])
        assert_identical(c, results[0][1][1])
    assert_identical(results[0][0][case.padding()], np.zeros((31, 3), np.float32))


@pytest.mark.parametrize("direction", ["forward", "reverse", "both"])
def test_full_lengths_equal_no_lengths(direction):
    case = replace(CASE, direction=direction, lengths=None)
    model = case.model()
    whole = model(case.x(), case.state(), lengths=np.full(7, 9))
    assert_same_results(whole, model(case.x(), case.state()))


@pytest.mark.parametrize("direction", ["forward", "reverse", "both"])
def test_the_order_of_rows_makes_no_difference(direction):
    case = replace(CASE, direction=direction)
    model, x, (h, c) = case.model(), case.x(), case.state()
    y, end = model(x, (h, c), lengths=LENGTHS)
    for order in (np.argsort(LENGTHS), np.argsort(LENGTHS)[::-1], [3, 1, 6, 0, 2, 5, 4]):
        lengths = np.array(LENGTHS)[order]
        result = model(x[:, order], (h[:, order], c[:, order]), lengths=lengths)
        assert_same_results(result, (y[:, order], tuple(part[:, order] for part in end)))


def test_steps_that_no_row_has_change_nothing():
    """T may be larger than the largest length, by any number of steps."""
    model, x = CASE.model(), CASE.x()
    longer = np.concatenate([x, np.full((300, 7, 5), np.nan, np.float32)])
    y, end = model(longer, CASE.state(), lengths=LENGTHS)
    assert not y[9:].any()
    assert_same_results((y[:9], end), Pass(CASE).call(model))
    tape = model.record(longer, CASE.state(), lengths=LENGTHS)
    assert_same(tape.hidden[:9], Pass(CASE).record(model).hidden)
    dy = np.concatenate([CASE.dy(), np.full((300, 7, 3), np.nan, np.float32)])
    grad = tape.backward(dy, CASE.state(salt=6))
    expected = Pass(CASE).gradients(model)
    assert not grad.x[9:].any()
    np.testing.assert_allclose(grad.x[:9], expected["x"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(grad.parameters["bias_l0"], expected["bias_l0"], 1e-4, 1e-5)


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u4", "i8", "u8", ">i4"])
def test_lengths_of_any_integer_type(dtype):
    model = CASE.model()
    expected = Pass(CASE).call(model)
    made = np.array(LENGTHS, dtype)
    for lengths in (made, np.repeat(made, 2)[::2], made[::-1].copy()[::-1], LENGTHS, list(LENGTHS)):
        assert_same_results(model(CASE.x(), CASE.state(), lengths=lengths), expected)
    np.testing.assert_array_equal(made, LENGTHS)


def test_out_receives_y_and_its_zeros():
    model, out = CASE.model(), np.full((9, 7, 3), 5, np.float32)
    y, end = model(CASE.x(), CASE.state(), lengths=LENGTHS, out=out)
    assert y is out
    assert_same_results((y, end), Pass(CASE).call(model))
    first = CASE.model(batch_first=True)
    out = np.full((7, 9, 3), 5, np.float32)
    y, _ = first(CASE.x().swapaxes(0, 1), CASE.state(), lengths=LENGTHS, out=out)
    assert y is out
    assert_same(y.swapaxes(0, 1), Pass(CASE).call(model)[0])


def test_changing_the_inputs_after_record_changes_nothing():
    one = Pass(CASE, dropout=True, recurrent_dropout=True)
    model = CASE.model()
    expected = one.gradients(model)
    given = one.arguments() | one.masks()
    given["dropout"] = given["dropout"].astype(np.float32)
    given["recurrent_dropout"] = given["recurrent_dropout"].astype(np.float32)
    tape = model.record(**given)
    for array in (given["x"], *given["state"], given["dropout"], given["recurrent_dropout"]):
        array[...] = np.nan
    given["lengths"][...] = 3
    for name, array in one.backward(tape).items():
        assert_identical(array, expected[name])


@pytest.mark.parametrize(
    ("lengths", "error", "words"),
    [
        ((4, 0, 10, 2, 9, 7, 1), ValueError, r"lengths\[2\] is 10, .*T=9"),
        ((4, 0, 9, 2, -1, 7, 1), ValueError, r"lengths\[4\] is -1"),
        (np.full(7, 2**64 - 1, np.uint64), ValueError, r"lengths\[0\] is 18446744073709551615"),
        (np.full(7, -(2**63)), ValueError, r"lengths\[0\]"),
        ((4, 0, 9), ValueError, r"lengths has shape \(3,\), .*\(7,\)"),
        (np.zeros((7, 1), int), ValueError, r"lengths has shape \(7, 1\)"),
        (4, ValueError, r"lengths has shape \(\)"),
        ((), ValueError, r"lengths has shape \(0,\)"),
        (np.full(7, 4.0), TypeError, "lengths must .*integers.*float64"),
        (np.full(7, True), TypeError, "lengths must .*integers.*bool"),
        (np.full(7, "4"), TypeError, "lengths must .*integers"),
        (np.full(7, 4j), TypeError, "lengths must .*integers"),
        ("all", TypeError, "lengths must .*integers"),
    ],
)
def test_lengths_that_do_not_fit(lengths, error, words):
    model, out = CASE.model(), np.full((9, 7, 3), 5, np.float32)
    with pytest.raises(error, match=words):
        model(CASE.x(), lengths=lengths, out=out)
    assert (out == 5).all()
    with pytest.raises(error, match=words):
        model.record(CASE.x(), lengths=lengths)


def test_a_sequence_without_a_batch_has_no_lengths():
    with pytest.raises(ValueError, match="lengths"):
        CASE.model()(CASE.x()[:, 0], lengths=[9])
    with pytest.raises(ValueError, match="lengths"):
        CASE.model().record(CASE.x()[:, 0], lengths=9)


# ---- Lists of sequences ----


def test_a_list_gives_lists_and_a_batch_of_states():
    model = CASE.model()
    rows = rows_of(CASE.x(), LENGTHS)
    for call in (model, CASE.model(batch_first=True)):  # which makes no difference to a list
        y, (h, c) = call(rows, CASE.state())
        assert [row.shape for row in y] == [(n, 3) for n in LENGTHS]
        assert h.shape == c.shape == (4, 7, 6)
        tape = call.record(rows, CASE.state())
        assert [row.shape for row in tape.hidden] == [(n, 12) for n in LENGTHS]
        assert [row.shape for row in tape.cells] == [(n, 4, 6) for n in LENGTHS]
        assert [row.shape for row in tape.gates["forget"]] == [(n, 4, 6) for n in LENGTHS]
        for b, row in enumerate(tape.y):
            with pytest.raises(ValueError, match="read-only"):
                row[...] = 0
            assert_same(row, y[b])
        grad = tape.backward(rows_of(CASE.dy(), LENGTHS))
        assert [row.shape for row in grad.x] == [(n, 5) for n in LENGTHS]


def test_sequences_of_any_dtype_and_layout():
    """Each may have its own; none is changed."""
    model, state = CASE.model(), CASE.state()
    whole = np.random.default_rng(0).integers(0, 2, (9, 7, 5))
    rows = rows_of(whole, LENGTHS)
    mixed = [
        row.astype(dtype)[:, ::-1][:, ::-1] if k % 2 else np.asfortranarray(row.astype(dtype))
        for k, (row, dtype) in enumerate(
            zip(rows, ("?", "i1", ">f4", "f2", "f8", "f4", "u8"), strict=True)
        )
    ]
    before = [row.tobytes() for row in mixed]
    y, end = model(mixed, state)
    expected_y, expected_end = model(rows, state)
    for actual, expected in zip([*y, *end], [*expected_y, *expected_end], strict=True):
        assert actual.dtype == np.float32
        assert_identical(actual, expected)
    assert [row.tobytes() for row in mixed] == before


def test_one_sequence_in_a_list_is_that_sequence():
    model, x = CASE.model(), np.nan_to_num(CASE.x())[:, 2]
    (y,), (h, c) = model([x])
    y_alone, (h_alone, c_alone) = model(x)
    assert_same_results((y, (h[:, 0], c[:, 0])), (y_alone, (h_alone, c_alone)))


def test_a_long_list_of_short_sequences():
    """More rows than a packed batch has steps; lengths in no order."""
    lengths = tuple(np.random.default_rng(0).integers(0, 6, 500).tolist())
    case = Case(5, 500, 3, 20, direction="both", proj_size=7, lengths=lengths)
    model = case.model()
    assert_same_results(Pass(case, ragged=True).call(model), Pass(case).call(model))
    padded = Pass(case).gradients(model)
    for name, array in Pass(case, ragged=True).gradients(model).items():
        expected = padded[name]
        np.testing.assert_allclose(array, expected, rtol=1e-3, atol=1e-5 * (1 + largest(expected)))


@pytest.mark.parametrize(
    ("x", "kwargs", "error", "words"),
    [
        ([np.ones((3, 5)), np.ones((2, 4))], {}, ValueError, r"x\[1\] has 4 features"),
        ([np.ones((3, 5)), np.ones(5)], {}, ValueError, r"x\[1\] has shape \(5,\)"),
        ([np.ones((3, 1, 5))], {}, ValueError, r"x\[0\] has shape \(3, 1, 5\)"),
        ([np.ones((3, 5)), None], {}, TypeError, r"x\[1\]"),
        ([np.ones((3, 5)), np.ones((3, 5), complex)], {}, TypeError, r"x\[1\] must hold real"),
        ([[1.0] * 5], {}, TypeError, "a list of NumPy arrays, one per sequence; x\\[0\\] is list"),
        ((np.ones((3, 5)),), {}, TypeError, "x must be a NumPy array, got tuple"),
        ([np.ones((3, 5))], {"lengths": [3]}, ValueError, "lengths"),
        ([np.ones((3, 5))], {"out": np.empty((3, 3), "f4")}, ValueError, "out"),
        ([np.ones((3, 5))], {"out": [np.empty((3, 3), "f4")]}, ValueError, "out"),
        (
            [np.ones((3, 5))],
            {"state": (np.zeros((4, 6)), np.zeros((4, 6)))},
            ValueError,
            r"state's h has shape \(4, 6\), expected \(4, 1, 6\)",
        ),
    ],
)
def test_lists_that_do_not_fit(x, kwargs, error, words):
    with pytest.raises(error, match=words):
        CASE.model()(x, **kwargs)
    if "out" not in kwargs:
        with pytest.raises(error, match=words):
            CASE.model().record(x, **kwargs)


def test_windows_take_no_list():
    with pytest.raises(TypeError, match="x must be a NumPy array, got list"):
        clstm.LSTM(5, 6, rng=0).windows([np.ones((3, 5))], 2)
