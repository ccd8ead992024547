"""Streams: any division into steps and blocks, states, changed weights."""

import gc

import numpy as np
import pytest

import clstm
from tests.support import reference
from tests.support.bounds import (
    assert_close,
    assert_identical,
    assert_same,
    assert_same_results,
    forward_bound,
    largest,
)
from tests.support.case import Case
from tests.support.cells import CELLS
from tests.support.options import random_pass
from tests.support.streams import CASE, changed, stream_of

# ---- Cut in any way ----


# Gates without bounds would let the engines' roundings grow until they are no roundings.
BOUNDED = [cell for cell in CELLS.values() if cell.gate.name != "affine"]
BOUNDED.append(clstm.Cell(peephole=True, coupled=True, clip=3, cell_clip=2, cell="relu"))


def random_case(seed):
    """Every option that a stream can have, by chance, and a cell."""
    rng = np.random.default_rng((seed, 30))
    options = {
        "direction": "forward",
        "lengths": None,
        "steps": int(rng.integers(0, 40)),
        "batch": int(rng.choice([1, 2, 3, 5, 8, 17])),
        "dtype": rng.choice([np.float32, np.float64]),
    }
    one = random_pass(seed, largest=40, **options)
    return one, BOUNDED[rng.integers(len(BOUNDED))]


def random_model(case, cell):
    """A model without a zero parameter, peepholes included."""
    model = case.model(cell=cell)
    with model.edit() as parameters:
        for salt, name in enumerate(model.parameters, start=40):
            if "peephole" in name:
                parameters[name][...] = case.draw(*parameters[name].shape, salt=salt)
    return model


def cut(stream, x, rng):
    """Run a stream over x, in steps and blocks by chance, empty ones among them."""
    parts, begin = [np.zeros((0, *stream.process(x[:0]).shape[1:]), x.dtype)], 0
    while begin < len(x):
        if rng.random() < 0.5:
            parts.append(stream.step(x[begin])[np.newaxis])
            begin += 1
        else:
            end = begin + int(rng.integers(0, len(x) - begin + 1))
            parts.append(stream.process(x[begin:end]))
            begin = end
    return np.concatenate(parts)


@pytest.mark.parametrize("block", range(10))
def test_any_cutting_gives_what_one_call_gives(block):
    """Fifty models a block, each cut in a way of its own."""
    for seed in range(50 * block, 50 * block + 50):
        one, cell = random_case(seed)
        case, model = one.case, random_model(one.case, cell)
        unbatched = case.batch == 1 and seed % 2 == 0
        x, state = case.x(), case.state() if one.with_state else None
        if unbatched:
            x, state = x[:, 0], state and tuple(part[:, 0] for part in state)
        expected = model(x, state)
        stream = stream_of(case, model, state, unbatched)
        y = cut(stream, x, np.random.default_rng((seed, 31)))
        scale = max(largest(expected[0]), largest(expected[1][1]))
        for actual, wanted in zip((y, *stream.state), (expected[0], *expected[1]), strict=True):
            assert actual.dtype == wanted.dtype
            assert_same(actual, wanted, scale)


def test_the_cases_that_are_cut_have_every_option():
    drawn = [random_case(seed) for seed in range(500)]
    cases = [one.case for one, _ in drawn]
    assert {case.num_layers for case in cases} == {1, 2, 3}
    assert {case.dtype for case in cases} == {np.float32, np.float64}
    assert {repr(cell) for _, cell in drawn} == {repr(cell) for cell in BOUNDED}
    for choose in (
        lambda one: one.case.output_size,
        lambda one: one.case.proj_size,
        lambda one: one.case.learn_state and not one.with_state,
        lambda one: one.case.bias,
        lambda one: one.case.steps,
        lambda one: one.with_state,
    ):
        assert {bool(choose(one)) for one, _ in drawn} == {True, False}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_block_so_long_that_others_get_a_turn(dtype):
    """Signals are polled about every 50,000 steps of this size."""
    case = Case(150_001, 2, 3, 4, output_size=2, dtype=dtype)
    model, x, state = case.model(), case.x(), case.state()
    stream = stream_of(case, model, state)
    y = stream.process(x)
    assert_same_results((y, stream.state), model(x, state))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_streams_match_the_specification(dtype):
    case = Case(30, 3, 7, 20, 2, 4, dtype=dtype)
    model, state = case.model(), case.state()
    stream = stream_of(case, model, state)
    expected = reference.forward(model.parameters, case.x(), state)
    y = np.stack([stream.step(x_t) for x_t in case.x()])
    for actual, wanted in zip((y, *stream.state), (expected.y, *expected.state), strict=True):
        assert_close(actual, wanted, forward_bound(30, dtype), largest(expected.cells))


@pytest.mark.parametrize("batch_size", [None, 0, 1, 3])
def test_nothing_to_do(batch_size):
    model = CASE.model()
    stream = model.stream(batch_size)
    rows = () if batch_size is None else (batch_size,)
    assert stream.process(np.zeros((0, *rows, 5))).shape == (0, *rows, 4)
    assert not any(part.any() for part in stream.state)
    assert stream.step(np.ones((*rows, 5))).shape == (*rows, 4)
    assert stream.process(np.ones((6, *rows, 5))).shape == (6, *rows, 4)
    h, c = stream.state
    assert h.shape == c.shape == (2, *rows, 6)
    assert h.any() or batch_size == 0


def test_streams_have_the_steps_first_always():
    model = clstm.LSTM(5, 6, batch_first=True, rng=0)
    x = CASE.x()
    y, _ = model(x.swapaxes(0, 1))
    assert_same(model.stream(3).process(x), y.swapaxes(0, 1))


@pytest.mark.parametrize("options", [{"direction": "reverse"}, {"bidirectional": True}])
def test_a_reverse_direction_has_no_stream(options):
    with pytest.raises(ValueError, match="the model has a reverse direction"):
        clstm.LSTM(1, 2, **options).stream()


# ---- Numbers that stay where they are ----


@pytest.mark.parametrize("t", [0, 5, 11])
def test_a_nan_stays_in_its_row(t):
    model, x = CASE.model(), CASE.x()
    expected = stream_of(CASE, model).process(x)
    x[t, 1, 2] = np.nan
    stream = stream_of(CASE, model)
    y = np.stack([stream.step(x_t) for x_t in x])
    assert np.isnan(y[t:, 1]).all()
    assert_identical(y[:t], expected[:t])
    assert_identical(y[:, [0, 2]], expected[:, [0, 2]])
    h, c = stream.state
    assert np.isnan(h[:, 1]).all() and not np.isnan(c[:, [0, 2]]).any()


@pytest.mark.parametrize("batch", [1, 2, 5, 8, 24, 33])
def test_a_row_alone_equals_it_in_a_batch(batch):
    case = Case(9, batch, 9, 33, 2, 3)
    model, x, (h, c) = case.model(), case.x(), case.state()
    y = stream_of(case, model, (h, c)).process(x)
    for b in {0, batch // 2, batch - 1}:
        alone = model.stream()
        alone.state = h[:, b], c[:, b]
        assert_identical(np.stack([alone.step(x_t) for x_t in x[:, b]]), y[:, b])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_long_silence_dies_away_without_denormals(dtype):
    case = Case(100_000, 2, hidden_size=20, num_layers=2, bias=False, dtype=dtype)
    model, state = case.model(), case.state()
    x = np.zeros((case.steps, 2, 5), dtype)
    stream = stream_of(case, model, state)
    y = np.concatenate([stream.process(part) for part in np.split(x, 100)])
    assert_same_results((y, stream.state), model(x, state))
    for array in (y, *stream.state):
        size = np.abs(array)
        assert not ((size > 0) & (size < np.finfo(dtype).tiny)).any()
    tiny = np.full(3, np.finfo(dtype).tiny / 4, dtype)
    assert (tiny * dtype(1) > 0).all(), "the caller's own arithmetic flushes denormals now"


def test_results_are_never_written_again():
    stream, x = stream_of(CASE, CASE.model()), CASE.x()
    kept = [stream.step(x[0]), stream.process(x), *stream.state]
    before = [array.tobytes() for array in kept]
    stream.step(-x[0])
    stream.process(-x)
    stream.reset()
    assert [array.tobytes() for array in kept] == before
    assert all(array.flags.writeable and array.base is None for array in kept)


# ---- The state ----


def test_the_state_is_copied_in_and_out():
    model, x = CASE.model(), CASE.x()
    stream, given = stream_of(CASE, model), CASE.state()
    stream.state = given
    for part, before in zip(given, stream.state, strict=True):
        assert_identical(part, before)
        part[...] = 9
        before[...] = 9
    assert_same_results((stream.process(x), stream.state), model(x, CASE.state()))


@pytest.mark.parametrize("learn_state", [False, True])
@pytest.mark.parametrize("batch_size", [None, 3])
def test_reset_is_the_initial_state(batch_size, learn_state):
    case = Case(num_layers=2, learn_state=learn_state)
    model = case.model()
    stream = model.stream(batch_size)
    fresh = stream.state
    stream.process(case.x() if batch_size else case.x()[:, 0])
    assert (stream.state[0] != fresh[0]).any()
    stream.reset()
    for part, before, name in zip(stream.state, fresh, ("h0", "c0"), strict=True):
        assert_identical(part, before)
        learned = model.parameters[name] if learn_state else np.zeros((2, 6), np.float32)
        rows = part if batch_size is None else part.swapaxes(0, 1)
        assert_identical(rows, np.broadcast_to(learned, rows.shape))


@pytest.mark.parametrize("batch_size", [None, 0, 1, 3])
def test_a_fork_goes_its_own_way(batch_size):
    model = CASE.model()
    x = CASE.draw(20, *([] if batch_size is None else [batch_size]), 5)
    stream = model.stream(batch_size)
    stream.process(x[:7])
    changed(model)  # both keep the weights of the one
    fork = stream.fork()
    assert type(fork) is clstm.Stream and fork.batch_size == batch_size
    one, other = stream.process(x[7:]), fork.process(-x[7:])
    again = changed(CASE.model()).stream(batch_size)  # another model with the same state
    again.state = fork.state
    fresh = CASE.model().stream(batch_size)
    assert_identical(fresh.process(x)[7:], one)
    fresh.reset()
    fresh.process(x[:7])
    assert_identical(fresh.process(-x[7:]), other)
    fork.refresh()
    assert_identical(fork.process(x), again.process(x))


# ---- Weights ----


def test_a_stream_keeps_its_weights_until_refresh():
    model, x = CASE.model(), CASE.x()
    old, new = CASE.model(), changed(CASE.model())
    stream, before = stream_of(CASE, model), stream_of(CASE, old)
    changed(model)
    assert_identical(stream.process(x), before.process(x))
    stream.refresh()
    after = stream_of(CASE, new, before.state)  # the state stays
    assert_identical(stream.process(x), after.process(x))
    stream.refresh()  # there is nothing new
    assert_identical(stream.process(x), after.process(x))


def test_a_learned_initial_state_comes_with_the_weights():
    case = Case(learn_state=True)
    model = case.model()
    stream, old = model.stream(), model.parameters["h0"].copy()
    changed(model)
    stream.reset()
    assert_identical(stream.state[0], old)
    stream.refresh()
    assert_identical(stream.state[0], old)
    stream.reset()
    assert_identical(stream.state[0], model.parameters["h0"])


def test_streams_run_while_the_model_is_edited_trained_and_loaded():
    model, x = CASE.model(), CASE.x()
    stream, expected = stream_of(CASE, model), stream_of(CASE, CASE.model())
    weights = model.state_dict()
    with model.edit() as parameters:
        parameters.flat = 3
        assert_identical(stream.process(x), expected.process(x))
        for refused in (model.stream, stream.refresh):
            with pytest.raises(RuntimeError, match="the model is being edited"):
                refused()
        assert_identical(stream.step(x[0]), expected.step(x[0]))
        stream.fork()
    clstm.optim.SGD(model, lr=0.1).step(model.record(x).backward(CASE.dy()))
    assert_identical(stream.process(x), expected.process(x))
    model.load_state_dict(weights)
    stream.refresh()
    assert_identical(stream.process(x), expected.process(x))


def test_a_stream_outlives_its_model():
    x, expected = CASE.x(), stream_of(CASE, CASE.model())
    stream = stream_of(CASE, CASE.model())
    gc.collect()
    filler = [Case(seed=seed).model() for seed in range(50)]  # in what memory may be free
    assert_identical(stream.process(x), expected.process(x))
    stream.refresh()
    fork = stream.fork()
    del stream, filler
    gc.collect()
    assert_identical(fork.process(x), expected.process(x))
