"""What `Sequential` has of `LSTM` in calls and training: dropout, out=, windows, tapes, copies."""

import inspect
import pickle
import threading
from itertools import cycle
from types import SimpleNamespace

import numpy as np
import pytest

import clstm
from clstm.chain import has_layers_between
from clstm.layers import Dense, Embedding, Last, Masking, Skip
from tests.support.chains import CHAINS, FORMS, assert_differences, dense, given, lstm, model_of
from tests.support.chains import parts_of as parts
from tests.support.paths import ROOT

DEEP = CHAINS | {"deep skip": [Skip([lstm(3), lstm(5), lstm(5, 2)])]}
every_form = pytest.mark.parametrize("form", FORMS)
every_chain = pytest.mark.parametrize("name", CHAINS)


def assert_same(one, other):
    for a, b in zip(parts(one), parts(other), strict=True):
        np.testing.assert_array_equal(a, b)


# ---- Which parameters and attributes there are ----

METHODS = ["__call__", "record", "windows", "stream"]


@pytest.mark.parametrize("method", METHODS)
def test_methods_have_the_parameters_of_an_lstms(method):
    own, wanted = (inspect.signature(getattr(c, method)) for c in (clstm.Sequential, clstm.LSTM))
    assert [(p.name, p.default, p.kind) for p in own.parameters.values()] == [
        (p.name, p.default, p.kind) for p in wanted.parameters.values()
    ]


def public(kind):
    return {name for name in dir(kind) if not name.startswith("_")}


def test_tapes_and_streams_have_what_those_of_an_lstm_have():
    own, wanted = (
        inspect.signature(c.backward).parameters for c in (clstm.SequentialTape, clstm.Tape)
    )
    assert list(own) == list(wanted)
    of_each_lstm = public(clstm.Tape) - public(clstm.SequentialTape)
    assert of_each_lstm == {"hidden", "gates", "cells", "dropout", "recurrent_dropout"}
    assert public(clstm.SequentialTape) - public(clstm.Tape) == {"tapes"}
    stream = clstm.Sequential([lstm(3)]).stream()
    assert public(type(stream)) == public(clstm.Stream)
    guide = (ROOT / "docs" / "guide" / "sequential.md").read_text("utf-8")
    assert all(f"`{name}`" in guide for name in of_each_lstm)


# ---- Dropout ----


@every_form
@pytest.mark.parametrize("keep", ["gates", "states"])
def test_dropout_of_one_lstm_is_that_of_its_own_record(form, keep):
    inner = clstm.LSTM(
        3, 4, 3, bidirectional=True, output_size=2, dtype=np.float64, rng=0,
        batch_first="batch_first" in form,
    )  # fmt: skip
    model = clstm.Sequential([inner], inner.batch_first)
    x, options = given(model, form, np.random.default_rng(0))
    options |= {"dropout": 0.3, "recurrent_dropout": 0.2, "rng": 5, "keep": keep}
    tape, expected = model.record(x, **options), inner.record(x, **options)
    assert_same(tape.y, expected.y)
    dy = [np.ones_like(part) for part in parts(tape.y)]
    dy = dy if isinstance(tape.y, list) else dy[0]
    grads = [one.backward(dy) for one in (tape, expected)]
    assert_same(grads[0].parameters.flat, grads[1].parameters.flat)
    assert_same(grads[0].x, grads[1].x)
    assert np.any(
        model(x, **{k: v for k, v in options.items() if k == "lengths"})[0][0] != tape.y[0]
    )


def test_dropout_acts_between_lstms_that_follow_each_other():
    first, second = lstm(3, 40), clstm.LSTM(40, 5, 2, dtype=np.float64, rng=1)
    model = clstm.Sequential([dense(3, 3), first, second, Last(), dense(2, 5)])
    x = np.random.default_rng(0).standard_normal((6, 7, 3))
    tape = model.record(x, dropout=0.5, recurrent_dropout=0.25, rng=3)
    rng = np.random.default_rng(3)
    below = first.record(dense(3, 3)(x), recurrent_dropout=0.25, rng=rng)
    factors = 2.0 * (rng.random(below.y.shape) >= 0.5)
    above = second.record(below.y * factors, dropout=0.5, recurrent_dropout=0.25, rng=rng)
    np.testing.assert_array_equal(tape.y, dense(2, 5)(above.y[-1]))
    assert tape.tapes[0].dropout is None
    np.testing.assert_array_equal(tape.tapes[1].dropout, above.dropout)
    np.testing.assert_array_equal(tape.tapes[0].recurrent_dropout, below.recurrent_dropout)


# Each chain in one form, the deepest one in all of them.
FORMS_WITH_DROPOUT = ["batch_first", "single", "lengths", "list"]
CASES = [*zip(CHAINS, cycle(FORMS_WITH_DROPOUT))]
CASES += [("deep skip", form) for form in FORMS_WITH_DROPOUT]


@pytest.mark.parametrize(("name", "form"), CASES)
def test_gradients_with_dropout_are_those_of_differences(name, form):
    model = clstm.Sequential(DEEP[name], batch_first="batch_first" in form)
    rng = np.random.default_rng(4)
    x, options = given(model, form, rng)
    between = 0.4 if has_layers_between(model.layers) else 0.0
    assert_differences(model, x, options, rng, dropout=between, recurrent_dropout=0.3, rng=7)


def test_the_same_seed_drops_the_same_and_none_draws_nothing():
    model, x = clstm.Sequential(DEEP["deep skip"]), np.ones((5, 2, 3))
    options = {"dropout": 0.5, "recurrent_dropout": 0.5}
    one, two, other = (model.record(x, **options, rng=seed).y for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert (one != other).any() and (model.record(x, **options).y != one).any()
    rng = np.random.default_rng(0)
    assert_same(model.record(x, rng=rng).y, model(x)[0])
    assert rng.random() == np.random.default_rng(0).random()


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("deep skip", {"dropout": 1.0}, ValueError, r"^dropout must be in \[0, 1\), not 1.0"),
        ("deep skip", {"recurrent_dropout": -0.1}, ValueError, r"^recurrent_dropout must be in"),
        ("deep skip", {"dropout": np.nan}, ValueError, r"^dropout must be in \[0, 1\), not nan"),
        ("deep skip", {"dropout": np.ones(3)}, TypeError, "^dropout must be a probability, got nd"),
        ("deep skip", {"dropout": None}, TypeError, "^dropout must be a probability, got NoneType"),
        ("dense", {"dropout": 0.1}, ValueError, "^dropout acts between layers of LSTMs"),
        ("wide skip", {"dropout": 0.1}, ValueError, "^dropout acts between layers of LSTMs"),
        ("deep skip", {"keep": "all"}, ValueError, "^keep must be 'gates' or 'states', not 'all'"),
        ("deep skip", {"lengths": [9, 9]}, ValueError, r"^lengths\[0\] is 9"),
    ],
)
def test_a_record_that_is_refused_draws_nothing(name, options, error, message):
    model, rng = clstm.Sequential(DEEP[name]), np.random.default_rng(0)
    with pytest.raises(error, match=message):
        model.record(np.ones((4, 2, 3)), **({"recurrent_dropout": 0.5} | options), rng=rng)
    assert rng.random() == np.random.default_rng(0).random()


def test_a_cell_without_gradients_is_not_recorded():
    cell = clstm.Cell(cell="softsign")
    inner = clstm.LSTM(3, 4, cell=cell, dtype=np.float64, rng=0)
    model = clstm.Sequential([inner, dense(2, 4)])
    for attempt in (model.record, lambda x: model.windows(x, 2)):
        with pytest.raises(ValueError, match="softsign"):
            attempt(np.ones((4, 3)))


# ---- out= ----


@pytest.mark.parametrize("form", [form for form in FORMS if form != "list"])
@every_chain
def test_y_is_written_to_out(name, form):
    model = model_of(name, form)
    x, options = given(model, form, np.random.default_rng(1))
    expected, state = model(x, **options)
    out = np.full(expected.shape, np.nan)
    y, same = model(x, **options, out=out)
    assert y is out
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(same[0][0], state[0][0])


def test_out_that_does_not_fit_is_refused():
    model, x = clstm.Sequential([lstm(3, 3)]), np.ones((4, 2, 3))
    _, state = model(x)
    for out, error, message in (
        (np.ones((4, 2, 2)), ValueError, r"out has shape \(4, 2, 2\), expected \(4, 2, 3\)"),
        (np.ones((4, 2, 3), "f4"), ValueError, "out has dtype float32, expected float64"),
        (np.ones((4, 2, 6))[..., ::2], ValueError, "out must be C-contiguous"),
        (x, ValueError, "out shares memory with x"),
        (np.ones((4, 2, 3)).tolist(), TypeError, "out must be a NumPy array, got list"),
    ):
        with pytest.raises(error, match=message):
            model(x, out=out)
    memory = np.zeros(24)
    state = [(memory[:6].reshape(1, 2, 3), state[0][1])]
    with pytest.raises(ValueError, match="out shares memory with state"):
        model(x, state, out=memory.reshape(4, 2, 3))
    with pytest.raises(ValueError, match="out must be None if x is a list"):
        model([x[:, 0]], out=np.ones((4, 3)))
    with pytest.raises(ValueError, match=r"out has shape \(2, 3\), expected \(2, 2\)"):
        clstm.Sequential([lstm(3), Last(), dense(2, 5)])(x, out=np.ones((2, 3)))


# ---- Windows ----


@pytest.mark.parametrize("form", ["dense", "batch_first", "single"])
@pytest.mark.parametrize("name", ["readout", "dense", "skip", "wide skip", "words"])
def test_windows_cover_the_sequence_and_carry_the_states(name, form):
    layers = CHAINS[name] if name != "words" else [*CHAINS[name][:1], lstm(3), dense(2, 5)]
    model = clstm.Sequential(layers, batch_first=form == "batch_first")
    x, _ = given(model, form, np.random.default_rng(1))
    y, final = model(x)
    windows = model.windows(x, 4, num_threads=1)
    assert len(windows) == 2 and windows.state is None
    seen = []
    for window, tape in windows:
        at = (slice(None), window) if form == "batch_first" else window
        np.testing.assert_array_equal(tape.y, y[at])
        tape.backward(np.ones_like(tape.y), grad_x=False)
        seen += range(window.start, window.stop)
    assert seen == list(range(6)) and len(windows) == 0
    for pair, other in zip(windows.state, final, strict=True):
        np.testing.assert_array_equal(pair, other)


def test_gradients_of_windows_stay_inside():
    model, x = model_of("skip", "dense"), np.random.default_rng(2).standard_normal((6, 2, 3))
    total = state = None
    for window, tape in model.windows(x, 4):
        total = tape.backward(np.ones_like(tape.y), into=total)
        assert (model.record(x[window], state).y == tape.y).all()
        state = tape.state
    parts = [model.record(x[:4]), model.record(x[4:], model(x[:4])[1])]
    flats = [one.backward(np.ones_like(one.y)).parameters.flat for one in parts]
    np.testing.assert_allclose(total.parameters.flat, sum(flats), rtol=1e-12)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([lstm(3), Last()], r"windows give y at every step, which a model with Last\(\) does not"),
        ([Masking(), lstm(3)], r"windows give y at every step, which a model with Masking"),
        ([Embedding(np.ones((4, 3)), mask_zero=True), lstm(3)], "which a model with Embedding"),
        ([lstm(3, direction="reverse")], "windows need a model without a reverse direction"),
        ([Skip([lstm(3, bidirectional=True)])], "windows need a model without a reverse direction"),
    ],
)
def test_windows_need_a_model_that_goes_forwards(layers, message):
    model = clstm.Sequential(layers)
    with pytest.raises(ValueError, match=message):
        model.windows(np.zeros((6, 3)), 2)


def test_windows_refuse():
    model = clstm.Sequential([lstm(3), dense(2, 5)])
    for x, length, error, message in (
        (np.zeros((6, 3)), 0, ValueError, "length must be at least 1, got 0"),
        (np.zeros((6, 2)), 2, ValueError, "x has 2 features, expected input_size=3"),
        (np.zeros(6), 2, ValueError, r"x has .*expected"),
        ([np.zeros((6, 3))], 2, TypeError, "x must be a NumPy array, got list"),
    ):
        with pytest.raises(error, match=message):
            model.windows(x, length)
    with pytest.raises(ValueError, match="state has 2 pairs, expected one for each of 1 LSTMs"):
        next(model.windows(np.zeros((6, 3)), 2, [None, None]))


# ---- Tapes ----


@every_form
@every_chain
def test_dy_may_be_of_the_last_step_alone(name, form):
    model = model_of(name, form)
    x, options = given(model, form, np.random.default_rng(1))
    tapes = [model.record(x, **options) for _ in range(2)]
    if any(isinstance(layer, Last) for layer in model.layers):
        return
    rows = parts(x) if form == "list" else [x] if form == "single" else None
    batch = 3 if rows is None else len(rows)
    last = np.random.default_rng(2).standard_normal((batch, model.output_size))
    dy = [np.zeros_like(part) for part in parts(tapes[0].y)]
    for row in range(batch):
        if form in ("single", "list"):
            if len(dy[row]):
                dy[row][-1] = last[row]
        else:
            own = dy[0][row] if "batch_first" in form else dy[0][:, row]
            length = options.get("lengths", [len(own)] * batch)[row]
            if length:
                own[length - 1] = last[row]
    grads = [
        tapes[0].backward(last[0] if form == "single" else last),
        tapes[1].backward(dy if form == "list" else dy[0]),
    ]
    np.testing.assert_array_equal(*(grad.parameters.flat for grad in grads))
    assert np.any(grads[0].parameters.flat)


@pytest.mark.parametrize("form", ["dense", "single", "lengths", "list"])
def test_dy_of_another_shape_is_refused_and_the_tape_can_still_be_used(form):
    model = model_of("dense", form)
    x, options = given(model, form, np.random.default_rng(1))
    tape = model.record(x, **options)
    whole = "a list like y" if form == "list" else r"y's \(6"
    for wrong in (np.ones((9, 9)), np.ones(7), np.ones((6, 3, 1))):
        with pytest.raises(ValueError, match=f"dy has shape .*, expected {whole}.*, or .* alone"):
            tape.backward(wrong)
    if form == "list":
        with pytest.raises(ValueError, match="dy has 1 sequences, expected y's 3"):
            tape.backward([tape.y[0]])
        with pytest.raises(ValueError, match=r"dy\[0\] has shape \(1, 2\), expected y's \(4, 2\)"):
            tape.backward([np.ones((1, 2)), *tape.y[1:]])
    tape.backward(tape.y)


def test_no_rows_and_no_steps():
    model = model_of("dense", "dense")
    for x in ([], [np.ones((0, 3))], np.ones((0, 2, 3)), np.ones((4, 0, 3))):
        tape = model.record(x, recurrent_dropout=0.5, rng=0)
        grad = tape.backward(tape.y)
        assert not grad.parameters.flat.any()
        assert [np.shape(a) for a in parts(grad.x)] == [np.shape(a) for a in parts(x)]
    with pytest.raises(ValueError, match=r"expected y's \(0, 2, 2\)$"):
        model.record(np.ones((0, 2, 3))).backward(np.ones((2, 2)))


@pytest.mark.parametrize("name", ["dense", "last", "both ends", "masked", "words"])
@pytest.mark.parametrize("form", ["dense", "single", "lengths", "list"])
def test_results_of_a_tape_are_read_only(name, form):
    """The backward pass of a layer may read y: in-place arithmetic on it would go unnoticed."""
    model = model_of(name, form)
    x, options = given(model, form, np.random.default_rng(1))
    tape = model.record(x, **options)
    for array in [*parts(tape.y), *(a for pair in tape.state for a in pair)]:
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


def test_a_tape_serves_once_and_a_refusal_leaves_everything_as_it_was():
    model = model_of("dense", "dense")
    x = np.random.default_rng(1).standard_normal((6, 3, 3))
    into = model.record(x).backward(np.ones((6, 3, 2))).parameters
    before = into.flat.copy()
    tape = model.record(x)
    h, c = (np.ones_like(a) for a in tape.state[0])
    dy = np.ones((6, 3, 2))
    for arguments, error, message in (
        ({"dstate": [None, None]}, ValueError, "dstate has 2 pairs, expected one for each of 1 L"),
        ({"dstate": [(h, c[:, :1])]}, ValueError, r"dstate\[0\]'s c has shape \(1, 1, 5\)"),
        ({"dstate": [h]}, TypeError, r"dstate\[0\] must be a pair \(h, c\)"),
        ({"num_threads": 0}, ValueError, "num_threads"),
        ({"into": {}}, TypeError, "into must be Gradients or Parameters, not dict"),
        ({"into": model.parameters}, ValueError, "into is read-only: are these a model's"),
        ({"into": lstm(3).parameters}, ValueError, "into must have the parameters of this model"),
        ({"into": single(model)}, ValueError, "into has dtype float32, expected float64"),
        ({"into": of_ones(model, into, dy)}, ValueError, "into shares memory with dy"),
    ):
        given_dy = arguments["into"].flat[:36].reshape(6, 3, 2) if "shares" in message else dy
        with pytest.raises(error, match=message):
            tape.backward(given_dy, **({"into": into} | arguments))
    np.testing.assert_array_equal(into.flat, before)
    tape.backward(dy, into=into)
    np.testing.assert_allclose(into.flat, 2 * before, rtol=1e-12)
    kept = into.flat.copy()
    with pytest.raises(RuntimeError, match="already used by backward"):
        tape.backward(dy, into=into)
    np.testing.assert_array_equal(into.flat, kept)


def single(model):
    return clstm.Parameters(model._table, np.zeros(model.parameters.flat.size, np.float32))


def of_ones(model, into, dy):
    assert into.flat.size > dy.size
    return clstm.Parameters(model._table, np.ones(into.flat.size))


def test_a_tape_goes_back_on_the_threads_of_its_record():
    model = clstm.Sequential([clstm.LSTM(64, 64, rng=0), Dense(np.ones((2, 64), "f4"))])
    x = np.random.default_rng(0).standard_normal((40, 32, 64), np.float32)
    dy = np.ones((40, 32, 2))
    flats = [
        model.record(x, num_threads=n).backward(dy, num_threads=m).parameters.flat
        for n, m in ((1, None), (2, 1), (1, 1))
    ]
    np.testing.assert_array_equal(flats[0], flats[1])
    np.testing.assert_array_equal(flats[0], flats[2])


@every_chain
def test_the_error_state_of_numpy_has_no_effect(name):
    model = model_of(name, "lengths")
    x, options = given(model, "lengths", np.random.default_rng(1))
    x = x if model.input_size is None else x * 1e-160
    between = 0.5 if has_layers_between(model.layers) else 0.0
    results = []
    for state in ("ignore", "raise"):
        with np.errstate(all=state):
            tape = model.record(x, **options, dropout=between, recurrent_dropout=0.5, rng=1)
            grad = tape.backward(np.full_like(tape.y, 1e-290))
            results.append((model(x, **options)[0], tape.y, grad.parameters.flat))
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


# ---- Arguments whose conversion changes others ----


class Acts:
    """A number or an array that acts when it is converted."""

    def __init__(self, value, action):
        self.value, self.action = value, action

    def __array__(self, dtype=None, copy=None):
        self.action()
        return np.asarray(self.value)

    def __index__(self):
        self.action()
        return self.value


class ActsWhenItDraws(np.random.Generator):
    def __init__(self, action):
        super().__init__(np.random.PCG64(0))
        self.action = action

    def random(self, *args, **kwargs):
        self.action()
        return super().random(*args, **kwargs)


def test_conversions_come_before_checks():
    model = clstm.Sequential([clstm.LSTM(64, 32, 2, rng=0), Dense(np.ones((4, 32), "f4"))])
    state = tuple(np.zeros((2, 16, 32), np.float32) for _ in "hc")

    def shrunk(array):
        return lambda: array.resize((1,) * array.ndim, refcheck=False)

    for number in range(6):
        x, out = np.ones((40, 16, 64), np.float32), np.zeros((40, 16, 4), np.float32)
        h, c = (part.copy() for part in state)
        lengths = np.full(16, 40)
        with pytest.raises(ValueError, match=r"has|changed"):
            if number == 0:
                model(x, num_threads=Acts(1, shrunk(x)))
            elif number == 1:
                model(x, out=out, lengths=Acts(lengths, shrunk(out)))
            elif number == 2:
                model(x, [(Acts(h, shrunk(x)), c)])
            elif number == 3:
                model(x, [(h, Acts(c, shrunk(h)))])
            elif number == 4:
                model(Acts(x, shrunk(out)), out=out)
            else:
                model.record(x, [(Acts(h, shrunk(x)), c)])
    x = np.ones((40, 16, 64), np.float32)
    expected = model.record(x, dropout=0.5, rng=0).y
    rng = ActsWhenItDraws(shrunk(x))
    np.testing.assert_array_equal(model.record(x, dropout=0.5, rng=rng).y, expected)


# ---- Beside a thread that trains ----


def test_copies_of_the_parameters_are_those_of_one_step(tmp_path):
    """All parameters are equal after each step; a mixture of two steps is not."""
    model = clstm.Sequential([clstm.LSTM(200, 200, rng=0), Dense(np.ones((200, 200), "f4"))])
    with model.edit() as parameters:
        parameters.flat = 0
    ones = SimpleNamespace(flat=np.ones_like(model.parameters.flat))
    sgd, stop = clstm.optim.SGD(model, 1.0), threading.Event()

    def train():
        while not stop.is_set():
            sgd.step(ones)

    def saved():
        model.save(tmp_path / "model.safetensors")
        return clstm.Sequential.load(tmp_path / "model.safetensors").parameters

    thread = threading.Thread(target=train)
    thread.start()
    try:
        for copied in (
            model.state_dict,
            lambda: pickle.loads(pickle.dumps(model)).parameters,
            saved,
        ):
            for _ in range(4):
                arrays = copied()
                assert len({float(v) for a in arrays.values() for v in (a.min(), a.max())}) == 1
    finally:
        stop.set()
        thread.join()
    assert sgd._progress.steps > 10
