"""The forward pass against the specification, and against itself in other shapes."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

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

sizes = st.one_of(
    st.sampled_from([1, 7, 15, 16, 17, 20, 24, 31, 32, 33, 40, 72]), st.integers(1, 130)
)
cases = st.builds(
    Case,
    steps=st.integers(0, 200),
    batch=st.integers(0, 65),
    input_size=sizes,
    hidden_size=sizes,
    num_layers=st.integers(1, 3),
    output_size=st.none() | st.integers(1, 20),
    bias=st.booleans(),
    dtype=st.sampled_from([np.float32, np.float64]),
    seed=st.integers(0, 10**6),
)


def nudge(array, rng):
    """Move every number to one of its neighbours."""
    return np.nextafter(array, rng.choice([-np.inf, np.inf], array.shape).astype(array.dtype))


def numpy_error(case, model, exact, runs=3):
    """The error that NumPy's own rounding makes: the largest of some runs, as one is a lucky draw.

    The later runs are of numbers that differ by one rounding. Where weights are large an LSTM is
    chaotic, and then the same error can grow a hundredfold in one run and not in the next.
    """
    rng, error = np.random.default_rng(case.seed), 0.0
    x, parameters = case.x(), dict(model.parameters)
    for _ in range(runs):
        run = reference.forward(parameters, x, case.state(), dtype=case.dtype)
        error = max(error, largest(run.y - exact.y, run.cells - exact.cells))
        x = nudge(case.x(), rng)
        parameters = {name: nudge(array, rng) for name, array in model.parameters.items()}
    return error


def assert_specified(case, model, factor):
    """Within the bound of a default model, or `factor` times NumPy's own error in float32.

    NumPy runs only where the first bound is exceeded: its runs take long.
    """
    x, state = case.x(), case.state()
    exact = reference.forward(model.parameters, x, state)
    y, (h, c) = model(x, state)
    assert y.dtype == h.dtype == c.dtype == case.dtype
    assert y.shape == exact.y.shape
    error = largest(y - exact.y, h - exact.state[0], c - exact.state[1])
    scale = max(1.0, largest(exact.cells), largest(exact.y))
    allowed = forward_bound(case.steps, case.dtype) * scale
    if error > allowed:
        allowed = factor * numpy_error(case, model, exact)
    assert error <= allowed


@given(cases)
@example(Case(steps=200, batch=65, input_size=130, hidden_size=130, num_layers=3))
@example(Case(steps=0, batch=3))
@example(Case(steps=5, batch=0))
@example(Case(184, 41, 17, 1, 2, seed=2763))  # one unit alone: NumPy errs twice as much as allowed
def test_default_model_matches_the_specification(case):
    assert_specified(case, case.model(), 1)


@given(cases, st.floats(0.1, 8))
def test_arbitrary_weights_match_as_well_as_float32_allows(case, size):
    model = case.model()
    with model.edit() as parameters:
        parameters.flat *= size
    assert_specified(case, model, 4)


def test_gates_and_cells_of_every_step():
    case = Case(steps=9, batch=4, num_layers=2, output_size=3)
    model = case.model()
    tape = model.record(case.x(), case.state())
    expected = reference.forward(model.parameters, case.x(), case.state())
    bound = forward_bound(case.steps, case.dtype)
    assert list(tape.gates) == list(reference.GATES)
    for name in reference.GATES:
        assert_close(tape.gates[name], expected.gates[name], bound)
    assert_close(tape.cells, expected.cells, bound, largest(expected.cells))
    assert_close(tape.hidden, expected.hidden, bound)


@pytest.mark.parametrize("seed", range(50))
def test_chunks_with_carried_state_equal_one_call(seed):
    """Ten random splits for each of fifty models."""
    rng = np.random.default_rng(seed)
    case = Case(
        steps=int(rng.integers(1, 120)),
        batch=int(rng.integers(1, 40 if seed % 3 else 4)),
        input_size=int(rng.integers(1, 40)),
        hidden_size=int(rng.integers(1, 80)),
        num_layers=int(rng.integers(1, 4)),
        output_size=2 if seed % 2 else None,
        dtype=np.float64 if seed % 5 == 0 else np.float32,
        seed=seed,
    )
    model, x = case.model(), case.x()
    whole = model(x, case.state())
    for _ in range(10):
        cuts = np.sort(rng.integers(0, case.steps + 1, rng.integers(0, 6)))
        state, parts = case.state(), []
        for chunk in np.split(x, cuts):
            y, state = model(chunk, state)
            parts.append(y)
        assert_same_results((np.concatenate(parts), state), whole)


@pytest.mark.parametrize("num_threads", [1, 2, 3])
@pytest.mark.parametrize(
    "case",
    [
        Case(steps=50, batch=17, hidden_size=33, num_layers=2, output_size=4),
        Case(steps=60, batch=1, input_size=24, hidden_size=200, num_layers=2),
        Case(steps=300, batch=33, input_size=3, hidden_size=72),  # several chunks
        Case(steps=9, batch=5, hidden_size=20, num_layers=3, dtype=np.float64),
    ],
    ids=lambda case: f"H{case.hidden_size}-B{case.batch}",
)
def test_record_equals_call(case, num_threads):
    model = case.model()
    called = model(case.x(), case.state(), num_threads=num_threads)
    tape = model.record(case.x(), case.state(), num_threads=num_threads)
    assert_same_results((tape.y, tape.state), called)


@pytest.mark.parametrize(
    "case",
    [
        Case(steps=6, batch=40, input_size=3, hidden_size=17, num_layers=2, output_size=3),
        Case(steps=6, batch=40, input_size=20, hidden_size=40),
        Case(steps=6, batch=40, input_size=8, hidden_size=72, bias=False),
        Case(steps=6, batch=40, input_size=7, hidden_size=24, num_layers=2, dtype=np.float64),
    ],
    ids=lambda case: f"H{case.hidden_size}",
)
def test_a_row_is_the_same_in_a_batch_of_every_size(case):
    model, x, (h, c) = case.model(), case.x(), case.state()
    alone = [model(x[:, b], (h[:, b], c[:, b])) for b in range(case.batch)]
    y_alone = np.stack([y for y, _ in alone], axis=1)
    state_alone = [np.stack([state[k] for _, state in alone], axis=1) for k in range(2)]
    for batch in range(1, case.batch + 1):
        last = np.s_[:, case.batch - batch :]  # so that rows move to other places
        together = model(x[last], (h[last], c[last]))
        assert_same_results(together, (y_alone[last], tuple(s[last] for s in state_alone)))


@pytest.mark.parametrize("others", [np.nan, np.inf, 1e30])
@pytest.mark.parametrize("batch", [2, 3, 8, 33])
@pytest.mark.parametrize("hidden_size", [17, 40])
def test_a_row_depends_on_no_other_row(hidden_size, batch, others):
    case = Case(steps=20, batch=batch, hidden_size=hidden_size, num_layers=2)
    model, x, (h, c) = case.model(), case.x(), case.state()
    for row in {0, batch // 2, batch - 1}:
        mixed = [np.full_like(array, others) for array in (x, h, c)]
        for array, own in zip(mixed, (x, h, c), strict=True):
            array[:, row] = own[:, row]
        y, state = model(mixed[0], tuple(mixed[1:]))
        alone = model(x[:, row], (h[:, row], c[:, row]))
        assert_same_results((y[:, row], tuple(s[:, row] for s in state)), alone)


@pytest.mark.parametrize("num_threads", [1, 2, 64])
@pytest.mark.parametrize(("steps", "batch"), [(0, 3), (4, 0), (0, 0)])
def test_empty_sequences_pass_the_state_through(steps, batch, num_threads):
    case = Case(steps=steps, batch=batch, hidden_size=40, num_layers=2, output_size=2)
    model, state = case.model(), case.state()
    y, end = model(case.x(), state, num_threads=num_threads)
    tape = model.record(case.x(), state, num_threads=num_threads)
    assert y.shape == tape.y.shape == (steps, batch, 2)
    for result, recorded, expected in zip(end, tape.state, state, strict=True):
        assert_identical(result, expected)
        assert_identical(recorded, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_long_silence_dies_away_without_denormals(dtype):
    """c falls below the smallest normal number on the way, is flushed, and stays zero."""
    case = Case(steps=100_000, batch=2, hidden_size=20, num_layers=2, bias=False, dtype=dtype)
    model, state = case.model(), case.state()
    x = np.zeros((case.steps, 2, 5), dtype)
    y, (h, c) = model(x, state)
    begin = 2000  # the specification's own state is nearly nothing by then
    expected = reference.forward(model.parameters, x[:begin], state)
    assert_close(y[:begin], expected.y, forward_bound(begin, dtype), largest(expected.cells))
    for array in (y, h, c):
        size = np.abs(array)
        assert not ((size > 0) & (size < np.finfo(dtype).tiny)).any()
    assert not (y[20_000:].any() or h.any() or c.any())


def test_without_a_state_it_starts_at_zero():
    case = Case(num_layers=2)
    model, zeros = case.model(), np.zeros((2, case.batch, case.hidden_size), np.float32)
    np.testing.assert_array_equal(model(case.x())[0], model(case.x(), (zeros, zeros))[0])


def test_batch_first_and_unbatched_are_the_same_numbers_in_another_order():
    case = Case(steps=6, batch=4, num_layers=2, output_size=3)
    model, x, state = case.model(), case.x(), case.state()
    other = clstm.LSTM(5, 6, 2, output_size=3, batch_first=True, rng=0)
    y, (h, c) = model(x, state)

    y_first, (h_first, c_first) = other(x.swapaxes(0, 1), state)
    np.testing.assert_array_equal(y_first.swapaxes(0, 1), y)
    np.testing.assert_array_equal(h_first, h)
    np.testing.assert_array_equal(c_first, c)
    tape = other.record(x.swapaxes(0, 1), state)
    assert tape.gates["input"].shape == tape.cells.shape == (4, 6, 2, 6)
    assert tape.hidden.shape == (4, 6, 6)

    for flexible in (model, other):
        y_row, (h_row, c_row) = flexible(x[:, 1], (state[0][:, 1], state[1][:, 1]))
        assert y_row.shape == (6, 3)
        assert h_row.shape == c_row.shape == (2, 6)
        assert_same(y_row, y[:, 1])


@pytest.mark.parametrize("position", [(0, 0), (3, 1), (6, 2)])
def test_nan_stays_in_its_row_from_its_step_on(position):
    case = Case(steps=7, batch=3, hidden_size=9, num_layers=2)
    model, x = case.model(), case.x()
    clean = model(x)[0]
    t, b = position
    x[t, b, 2] = np.nan
    y, (h, c) = model(x)
    affected = np.zeros(y.shape[:2], bool)
    affected[t:, b] = True
    assert np.isnan(y[affected]).all()
    assert_same(y[~affected], clean[~affected])
    assert np.isnan(h[:, b]).all() and np.isnan(c[:, b]).all()


def test_silero_voice_detector_on_a_minute_of_speech(reference_data):
    data = np.load(reference_data / "silero" / "lstm.npz")
    model = clstm.LSTM(128, 128, rng=0)
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    model.load_state_dict({f"{name}_l0": data[name] for name in names})
    h, (_, c) = model(data["x"])
    assert_close(h, data["h"], 5e-6)
    assert_close(c[0], data["c_last"].reshape(-1), 5e-6, largest(data["c_last"]))
    logit = np.maximum(h, 0) @ data["head_weight"].T + data["head_bias"]
    probability = 1 / (1 + np.exp(-logit[:, 0]))
    assert_close(probability, data["probability"], 5e-6)
    assert (probability > 0.5).sum() == 1452
