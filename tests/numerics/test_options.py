"""All options of a model and a pass together, in every combination: against the specification."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given

from tests.support import reference
from tests.support.bounds import (
    assert_close,
    assert_gradients,
    assert_identical,
    assert_same,
    assert_same_results,
    forward_bound,
    largest,
)
from tests.support.case import Case
from tests.support.options import Pass, lengths_of, passes, random_pass

# Models and passes large enough for several threads, and for several chunks of steps.
LARGE = [
    Pass(Case(40, 33, 20, 50, 2, 3, direction="both", lengths=(*range(8, 40), 0))),
    Pass(Case(40, 5, 20, 256, 2, direction="reverse", lengths=(40, 3, 17, 17, 40)), ragged=True),
    Pass(Case(50, 1, 40, 300, direction="both", proj_size=64)),
    Pass(Case(20, 33, 72, 130, 3, 20, proj_size=41, learn_state=True), with_state=False),
    Pass(Case(30, 2, 24, 136, 3, None, True, np.float64, direction="both", lengths=(29, 30))),
    Pass(Case(300, 33, 3, 72, 1, 2, direction="both", lengths=tuple(range(300, 3, -9)))),
]


def name_of(one):
    case = one.case
    return f"H{case.hidden_size}-R{case.recurrent_size}-B{case.batch}-{case.direction}"


def compare(one, result, expected):
    """Compare (y, (h, c)) with the specification at the bound of a model as initialised."""
    case = one.case
    scale = max(largest(expected.cells), largest(expected.y))
    bound = forward_bound(case.steps, case.dtype)
    y, (h, c) = result
    assert y.dtype == h.dtype == c.dtype == case.dtype
    assert_close(y, expected.y, bound, scale)
    assert_close(h, expected.state[0], bound, scale)
    assert_close(c, expected.state[1], bound, scale)
    assert not y[np.broadcast_to(case.padding(), y.shape[:2])].any()


@given(passes())
@example(
    Pass(Case(60, 65, 130, 130, 3, direction="both", proj_size=33, lengths=(60, 1, 0, 7, 59) * 13))
)
@example(Pass(Case(0, 3, direction="both", lengths=(0, 0, 0)), ragged=True))
@example(Pass(Case(5, 0, direction="both", proj_size=2, lengths=())))
@example(Pass(Case(4, 3, num_layers=2, output_size=2, lengths=(0, 0, 0)), dropout=True))
def test_forward_matches_the_specification(one):
    model = one.case.model()
    tape = one.record(model)
    expected = one.specified(model)
    compare(one, (one.padded(tape.y), tape.state), expected)
    assert_close(
        one.padded(tape.hidden),
        expected.hidden,
        forward_bound(one.case.steps, one.case.dtype),
        max(largest(expected.cells), largest(expected.hidden)),
    )


@given(passes())
def test_a_call_is_a_record_without_dropout_and_a_list_is_a_batch(one):
    """To the bit: a row's steps are the same computation in every form."""
    plain = replace(one, dropout=False, recurrent_dropout=False)
    model = plain.case.model()
    called = plain.call(model)
    assert_same_results(plain.recorded(model, keep="states"), called)
    compare(plain, called, plain.specified(model))
    if plain.case.lengths is not None and plain.case.batch:
        other = replace(plain, ragged=not plain.ragged)
        assert_same_results(other.call(model), called)
        assert_same_results(other.recorded(model), called)
        masked = replace(other, dropout=one.dropout, recurrent_dropout=one.recurrent_dropout)
        assert_same_results(masked.recorded(model), one.recorded(model))


@pytest.mark.parametrize("seed", range(12))
def test_gates_and_cells_of_every_step_and_part(seed):
    one = random_pass(seed, largest=9)
    model = one.case.model()
    tape, expected = one.record(model), one.specified(model)
    bound = 1e-13
    assert list(tape.gates) == list(reference.GATES)
    for name in reference.GATES:
        assert_close(one.padded(tape.gates[name]), expected.gates[name], bound)
    assert_close(one.padded(tape.cells), expected.cells, bound, largest(expected.cells))
    assert_close(one.padded(tape.hidden), expected.hidden, bound)
    with pytest.raises(RuntimeError, match="keeps no gates"):
        one.record(model, keep="states").gates["input"]


@pytest.mark.parametrize("one", LARGE, ids=name_of)
def test_any_number_of_threads_gives_the_same_numbers(one):
    model = one.case.model()
    alone = one.call(model, num_threads=1)
    assert not alone[0][np.broadcast_to(one.case.padding(), alone[0].shape[:2])].any()
    for num_threads in (2, 3, 8, 64):
        assert_same_results(one.call(model, num_threads=num_threads), alone)
        assert_same_results(one.recorded(model, num_threads=num_threads), alone)


@pytest.mark.parametrize("one", LARGE, ids=name_of)
def test_gradients_repeat_to_the_bit_for_a_fixed_thread_count(one):
    """And other counts give the same within the bound of any two computations."""
    model, first = one.case.model(), None
    for num_threads in (1, 2, 3):
        once, again = (one.gradients(model, num_threads=num_threads) for _ in range(2))
        for name, array in once.items():
            assert_identical(again[name], array)
        first = first or once
        assert_gradients(one.case, once, first)


@pytest.mark.parametrize("seed", range(40))
def test_chunks_with_carried_state_equal_one_call(seed):
    """Only forward: what runs back has to begin at the end."""
    one = random_pass(
        seed, 60, direction="forward", lengths=None, proj_size=1 + seed % 5, hidden_size=6 + seed
    )
    case, rng = one.case, np.random.default_rng(seed)
    model, x = case.model(), case.x()
    initial = case.state() if one.with_state else None
    whole = model(x, initial)
    for _ in range(5):
        cuts = np.sort(rng.integers(0, case.steps + 1, rng.integers(0, 6)))
        state, parts = initial, []
        for chunk in np.split(x, cuts):
            y, state = model(chunk, state)
            parts.append(y)
        assert_same_results((np.concatenate(parts), state), whole)


@pytest.mark.parametrize("seed", range(20))
def test_a_row_alone_is_the_same_as_in_a_batch_of_any_lengths(seed):
    """Each row as a sequence of its own, without padding, and the others whatever they may be."""
    one = replace(random_pass(seed, largest=40, batch=13), with_state=True)
    case = one.case
    model, x, (h, c) = case.model(), case.x(), case.state()
    y, end = one.call(model)
    for b, length in enumerate(lengths_of(case)):
        y_alone, state_alone = model(x[:length, b], (h[:, b], c[:, b]))
        scale = largest(state_alone[1])
        assert_same(y[:length, b], y_alone, scale)
        for part, alone in zip(end, state_alone, strict=True):
            assert_same(part[:, b], alone, scale)
    others = np.arange(13) != 6
    for array in (x, h, c):
        array[:, others] = np.nan
    y_other, end_other = one.call(model, x, (h, c))
    assert_same(y_other[:, 6], y[:, 6])
    assert_same(end_other[1][:, 6], end[1][:, 6], largest(end[1]))


@pytest.mark.parametrize("direction", ["forward", "reverse", "both"])
@pytest.mark.parametrize("batched", [True, False])
def test_batch_first_and_unbatched_are_the_same_numbers_in_another_order(direction, batched):
    lengths = (6, 2, 0, 5) if batched else None
    case = Case(
        6, 4, num_layers=2, output_size=3, direction=direction, proj_size=4, lengths=lengths
    )
    one = Pass(case, dropout=True, recurrent_dropout=True)
    plain = one.record(case.model())
    first = case.model(batch_first=True)
    masks, x, dy = one.masks(), case.x(), case.dy()

    def turn(array, axis=0):
        return array.swapaxes(axis, axis + 1) if batched else array.take(1, axis + 1)

    def row(array):
        return array if batched else array[:, 1]

    tape = first.record(
        turn(x),
        tuple(row(s) for s in case.state()),
        lengths=lengths_of(case) if batched else None,
        dropout=turn(masks["dropout"], 1),
        recurrent_dropout=row(masks["recurrent_dropout"]),
    )
    assert_same(tape.y, turn(plain.y))
    assert_same(tape.hidden, turn(plain.hidden))
    assert_same(tape.cells, turn(plain.cells), largest(plain.cells))
    for actual, expected in zip(tape.state, plain.state, strict=True):
        assert_same(actual, row(expected), largest(plain.cells))
    grad = tape.backward(turn(dy), tuple(row(s) for s in case.state(salt=6)))
    expected = plain.backward(dy, case.state(salt=6))
    np.testing.assert_allclose(grad.x, turn(expected.x), rtol=1e-4, atol=1e-5)
    if batched:
        np.testing.assert_allclose(
            grad.parameters.flat, expected.parameters.flat, rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("t", [0, 3, 6])
@pytest.mark.parametrize("direction", ["forward", "reverse", "both"])
def test_nan_stays_in_its_row_and_on_its_way(direction, t):
    case = Case(hidden_size=9, direction=direction, lengths=(7, 7, 4))
    one, model, x = Pass(case), case.model(), case.x()
    clean, _ = one.call(model)
    x[t, 1, 2] = np.nan
    y, (h, c) = one.call(model, x)
    affected = np.zeros(y.shape, bool)
    affected[slice(t, None) if direction != "reverse" else slice(t + 1), 1, :9] = True
    affected[: t + 1, 1, 9:] = True
    assert np.isnan(y[affected]).all()
    assert_same(y[~affected], clean[~affected])
    assert np.isnan(h[:, 1]).all() and np.isnan(c[:, 1]).all()
    assert not np.isnan(h[:, [0, 2]]).any()
