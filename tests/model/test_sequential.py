"""`Sequential`: every layer kind and form of x, against the layers' formulas and differences."""

import copy
import pickle

import numpy as np
import pytest

import clstm
from clstm.layers import Dense, Embedding, Gain, Last, Masking, Product, Reverse, Skip
from tests.support.chains import (
    CHAINS,
    FORMS,
    LENGTHS,
    assert_differences,
    dense,
    given,
    lstm,
    model_of,
)


def rows_of(x, form):
    """Return each row's own steps."""
    if form == "single":
        return [x]
    if form == "list":
        return x
    by_row = x if "batch_first" in form else x.swapaxes(0, 1)
    lengths = LENGTHS if "lengths" in form else [len(row) for row in by_row]
    return [row[:length] for row, length in zip(by_row, lengths, strict=True)]


def formula(layers, x, mask=None):
    """Compute one row, (T, I), by LSTMs called on the computed steps alone, and plain NumPy."""
    zero = False
    for layer in layers:
        if isinstance(layer, Embedding):
            mask, x = (x != 0 if layer.mask_zero else None), layer.weight[x]
        elif isinstance(layer, Masking):
            mask, zero = (x != layer.value).any(axis=-1), layer.zero_masked
        elif isinstance(layer, clstm.LSTM):
            x = row_of_lstm(layer, x, mask, zero)
            size = layer.hidden_size
            split = 0 if layer.direction == "reverse" else size
        elif isinstance(layer, Last):
            steps = np.flatnonzero(np.ones(len(x), bool) if mask is None or zero else mask)
            if not len(steps):
                x = np.zeros(x.shape[-1])
                continue
            y = x[steps[-1]].copy()
            if layer.ends:
                y[split:] = x[steps[0], split:]
            x = y
        elif isinstance(layer, Reverse):
            x = x[::-1]
        elif isinstance(layer, Product):
            half = x.shape[-1] // 2
            x = x[..., :half] * x[..., half:]
        elif isinstance(layer, Skip):
            x = formula(layer.layers, x, mask) + x[..., : layer.count]
        else:
            x = layer(x)
    return x


def row_of_lstm(layer, x, mask, zero):
    if mask is None:
        return layer(x)[0]
    computed = layer(x[mask])[0]
    y = np.zeros((len(x), computed.shape[-1]))
    size = layer.hidden_size
    for t in range(len(x)):
        if zero and not mask[t]:
            continue
        before, after = mask[: t + 1].sum() - 1, mask[:t].sum()
        if layer.direction == "forward" and before >= 0:
            y[t, :size] = computed[before, :size]
        if (layer.bidirectional or layer.direction == "reverse") and after < len(computed):
            half = slice(size, None) if layer.bidirectional else slice(None)
            y[t, half] = computed[after, half]
    return y


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", CHAINS)
def test_every_chain_computes_its_formula(name, form):
    model = model_of(name, form)
    x, options = given(model, form, np.random.default_rng(1))
    y, state = model(x, **options)
    expected = [formula(model.layers, row) for row in rows_of(x, form)]
    has_last = any(isinstance(layer, Last) for layer in model.layers)
    if has_last:
        actual = [y] if form == "single" else list(y)
    else:
        actual = rows_of(y, form)
        if "lengths" in form:
            by_row = y if "batch_first" in form else y.swapaxes(0, 1)
            assert all(not by_row[k, length:].any() for k, length in enumerate(LENGTHS))
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)
    assert len(state) == sum(isinstance(layer, clstm.LSTM) for layer in flat(model.layers))
    assert model.output_size == np.shape(actual[0])[-1]


def flat(layers):
    for layer in layers:
        yield layer
        if isinstance(layer, Skip):
            yield from flat(layer.layers)


@pytest.mark.parametrize("form", ["batch_first", "single", "lengths", "list"])
@pytest.mark.parametrize("name", CHAINS)
def test_gradients_are_those_of_differences(name, form):
    model = model_of(name, form)
    rng = np.random.default_rng(2)
    x, options = given(model, form, rng)
    assert_differences(model, x, options, rng)


def test_states_continue_a_sequence():
    model = model_of("skip", "dense")
    x = np.random.default_rng(3).standard_normal((10, 2, 3))
    whole, final = model(x)
    first, state = model(x[:4])
    rest, end = model(x[4:], state)
    np.testing.assert_array_equal(np.concatenate([first, rest]), whole)
    np.testing.assert_array_equal(end[0][0], final[0][0])
    zeros = [None] * len(state)
    np.testing.assert_array_equal(model(x[:4], zeros)[0], first)


def test_gradients_are_added_up():
    model = model_of("dense", "dense")
    x = np.random.default_rng(4).standard_normal((6, 3, 3))
    tape = model.record(x)
    once = tape.backward(np.ones_like(tape.y))
    tape = model.record(x, keep="states")
    twice = tape.backward(np.ones_like(tape.y), into=once, grad_x=False)
    assert twice.x is None
    single = model.record(x).backward(np.ones_like(tape.y))
    np.testing.assert_allclose(twice.parameters.flat, 2 * single.parameters.flat, rtol=1e-12)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_are_models_of_their_own(copied):
    for name in CHAINS:
        model = model_of(name, "dense")
        model.notes["sample_rate"] = 44100
        other = copied(model)
        assert repr(other) == repr(model)
        assert other.notes == model.notes
        x, options = given(model, "dense", np.random.default_rng(5))
        np.testing.assert_array_equal(other(x, **options)[0], model(x, **options)[0])


def test_a_model_has_copies_of_its_layers():
    own = clstm.LSTM(3, 4, rng=0)
    model = clstm.Sequential([own, Dense(np.ones((1, 4)))])
    x = np.ones((5, 2, 3), np.float32)
    before = model(x)[0]
    with own.edit() as parameters:
        parameters.flat *= 2
    np.testing.assert_array_equal(model(x)[0], before)
    assert model.dtype == model.layers[1].weight.dtype == np.float32


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([], "at least one layer"),
        ([Gain(2.0)], "must hold an LSTM"),
        ([lstm(3), lstm(4)], r"layers\[1\] is LSTM: it takes 4 features, the one before gives 5"),
        ([lstm(3), dense(2, 4)], r"layers\[1\] is Dense: it takes 4 features"),
        ([lstm(3), Embedding(np.ones((3, 5)))], "it can only be the first layer"),
        ([lstm(3), Last(), lstm(5)], "it needs steps, but a Last stands before it"),
        ([lstm(3, bidirectional=True), dense(2, 10), Last(ends=True)], "needs the directions"),
        ([lstm(3, bidirectional=True), Reverse(), Last(ends=True)], "needs the directions"),
        ([lstm(3), Last(), Reverse()], "it needs steps, but a Last stands before it"),
        ([Skip([lstm(3), Last()])], "cannot hold Last"),
        ([Skip([lstm(3)], count=2)], "count=2 must be 1 or the 5 features"),
        ([Masking(), lstm(3, bidirectional=True, output_size=2)], "a Dense after it"),
        ([lstm(3), clstm.LSTM(5, 2)], "must have one dtype, got float64 and float32"),
        ([lstm(3, batch_first=True)], "batch_first=True: give it to the Sequential"),
    ],
)
def test_layers_that_cannot_follow_each_other_are_refused(layers, message):
    with pytest.raises(ValueError, match=message):
        clstm.Sequential(layers)


def test_something_else_than_a_layer_is_refused():
    with pytest.raises(TypeError, match=r"layers\[1\] must be a clstm.LSTM or one of clstm.layers"):
        clstm.Sequential([lstm(3), np.tanh])


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((4, 2), np.float32), "must hold integers"),
        (np.full((4, 2), 7), "indices from 0 to 6, got 7"),
        (np.full((4, 2), -1), "indices from 0 to 6, got -1"),
        (np.zeros((4, 2, 3), int), r"x has shape \(4, 2, 3\), expected \(T, B\), or \(T,\)"),
    ],
)
def test_wrong_indices_are_refused(x, message):
    with pytest.raises((ValueError, TypeError), match=message):
        model_of("words", "dense")(x)


def test_wrong_arguments_of_a_call_are_refused():
    model = model_of("dense", "dense")
    x = np.zeros((4, 2, 3))
    with pytest.raises(ValueError, match="x has 2 features, expected input_size=3"):
        model(x[..., :2])
    with pytest.raises(ValueError, match="state has 2 pairs, expected one for each of 1 LSTMs"):
        model(x, [None, None])
    with pytest.raises(
        TypeError, match=r"state must be a list \[\(h, c\), \.\.\.\], .* got ndarray"
    ):
        model(x, np.zeros((1, 2, 5)))
    with pytest.raises(ValueError, match="dy has shape"):
        model.record(x).backward(np.zeros((4, 2, 3)))


CAUSAL = ["readout", "dense", "functions", "skip", "wide skip"]


@pytest.mark.parametrize("batch", [None, 3])
@pytest.mark.parametrize("name", [*CAUSAL, "words"])
def test_a_stream_computes_what_a_call_does(name, batch):
    layers = CHAINS[name] if name != "words" else [*CHAINS[name][:1], lstm(3), dense(2, 5)]
    model = clstm.Sequential(layers)
    rng = np.random.default_rng(6)
    shape = (9,) if batch is None else (9, batch)
    indices = model.input_size is None
    x = rng.integers(0, 7, shape) if indices else rng.standard_normal((*shape, model.input_size))
    expected, final = model(x)
    stream = model.stream(batch)
    y = [stream.step(step) for step in x[:2]]
    fork = stream.fork()
    y.extend(stream.process(x[2:]))
    np.testing.assert_allclose(np.array(y), expected, rtol=1e-13, atol=1e-13)
    for pair, other in zip(stream.state, final, strict=True):
        np.testing.assert_array_equal(pair[0], other[0])
    out = np.empty_like(expected[2:])
    assert fork.process(x[2:], out) is out
    np.testing.assert_array_equal(out, np.array(y[2:]))
    stream.state = fork.state
    stream.reset()
    np.testing.assert_allclose(stream.process(x), expected, rtol=1e-13, atol=1e-13)


def test_rows_join_and_leave_a_stream():
    model = model_of("skip", "dense")
    x = np.random.default_rng(7).standard_normal((4, 3, 3))
    stream = model.stream(2)
    stream.process(x[:, :2])
    assert stream.join() == range(2, 3)
    stream.leave(0)
    assert stream.batch_size == 2
    alone = model.stream()
    np.testing.assert_allclose(stream.step(x[0, :2])[0], alone.step(x[0, 0]), rtol=1e-13)


class Interrupts:
    """A stream of an LSTM that is interrupted at every step."""

    def __init__(self, stream):
        self.stream = stream

    def __getattr__(self, name):
        if name in ("step", "process", "reset", "refresh", "join", "leave"):
            raise KeyboardInterrupt
        return getattr(self.stream, name)

    def fork(self):
        return Interrupts(self.stream.fork())


@pytest.mark.parametrize("cure", ["reset", "state"])
def test_a_stream_that_is_interrupted_between_two_lstms_says_so(cure):
    model, x = model_of("wide skip", "dense"), np.random.default_rng(8).standard_normal((5, 2, 3))
    expected, final = model(x)
    stream = model.stream(2)
    stream.process(x)
    own = stream._streams[1]
    stream._streams[1] = Interrupts(own)
    with pytest.raises(KeyboardInterrupt):
        stream.process(x)
    stream._streams[1] = own
    for attempt in (
        lambda: stream.step(x[0]),
        lambda: stream.process(x),
        lambda: stream.state,
        stream.fork,
        stream.join,
        stream.refresh,
        lambda: stream.leave(0),
    ):
        with pytest.raises(RuntimeError, match=r"at different steps: reset\(\) or an assignment"):
            attempt()
    with pytest.raises(ValueError, match=r"state\[1\]'s c has shape"):
        stream.state = [final[0], (final[1][0], np.zeros(3))]
    if cure == "reset":
        stream.reset()
    else:
        stream.state = model.stream(2).state
    np.testing.assert_allclose(stream.process(x), expected, rtol=1e-13, atol=1e-13)
    for pair, other in zip(stream.state, final, strict=True):
        np.testing.assert_array_equal(pair, other)


@pytest.mark.parametrize(
    "change", [lambda s: s.join(), lambda s: s.leave(0), lambda s: s.refresh()]
)
def test_an_interrupted_change_of_a_stream_has_no_effect(change):
    model, x = model_of("wide skip", "dense"), np.random.default_rng(9).standard_normal((5, 2, 3))
    stream = model.stream(2)
    twin = stream.fork()
    with model.edit() as parameters:
        parameters.flat *= 2
    own = stream._streams[1]
    stream._streams[1] = Interrupts(own)
    with pytest.raises(KeyboardInterrupt):
        change(stream)
    stream._streams[1] = own
    np.testing.assert_array_equal(stream.process(x), twin.process(x))


def test_a_stream_computes_in_place():
    model, x = model_of("wide skip", "dense"), np.random.default_rng(9).standard_normal((5, 3))
    expected = model(x)[0]
    stream = model.stream()
    assert stream.process(x, x) is x
    np.testing.assert_allclose(x, expected, rtol=1e-13, atol=1e-13)
    with pytest.raises(ValueError, match="out shares memory with x"):
        stream.process(x[:3], x[1:4])


@pytest.mark.parametrize("name", ["last", "masked", "masked words", "reverse", "words"])
def test_a_model_without_a_value_at_every_step_has_no_stream(name):
    with pytest.raises(ValueError, match=r"stream|reverse"):
        model_of(name, "dense").stream()


@pytest.mark.parametrize("name", CHAINS)
def test_a_saved_model_is_loaded_as_it_was(name, tmp_path):
    model = model_of(name, "batch_first")
    model.notes |= {"sample_rate": 44100, "unknown": ["a", {"b": None}]}
    model.save(tmp_path / "model.safetensors")
    other = clstm.Sequential.load(tmp_path / "model.safetensors")
    assert repr(other) == repr(model)
    assert other.notes == model.notes
    np.testing.assert_array_equal(other.parameters.flat, model.parameters.flat)
    x, options = given(model, "batch_first", np.random.default_rng(8))
    np.testing.assert_array_equal(other(x, **options)[0], model(x, **options)[0])


def test_files_of_one_class_are_told_from_those_of_the_other(tmp_path):
    path = tmp_path / "model.safetensors"
    clstm.LSTM(3, 4, rng=0).save(path)
    with pytest.raises(ValueError, match=r"holds an LSTM: use LSTM\.load"):
        clstm.Sequential.load(path)
    model_of("skip", "dense").save(path)
    with pytest.raises(ValueError, match=r"holds a Sequential: use Sequential\.load"):
        clstm.LSTM.load(path)


def test_notes_that_are_no_json_are_refused(tmp_path):
    model = model_of("skip", "dense")
    model.notes["when"] = object()
    with pytest.raises(ValueError, match="notes must hold JSON values"):
        model.save(tmp_path / "model.safetensors")
    assert not any(tmp_path.iterdir())


BAD = {
    "no layers": {"layers": "0"},
    "too many": {"layers": "999999999"},
    "not a number": {"layers": "-1"},
    "unknown kind": {"0.kind": "Conv"},
    "no kind": {"0.kind": None},
    "an option more": {"0.more": "1"},
    "an option less": {"0.value": None},
    "not a float": {"0.value": "2.0"},
    "infinite": {"0.value": "inf"},
    "layers of an LSTM": {"1.0.num_layers": "999999"},
    "an LSTM's size": {"1.0.hidden_size": "7"},
    "a skip's count": {"1.count": "2"},
    "deep": {
        f"{'0.' * k}{end}": text
        for k in range(30)
        for end, text in (("layers", "1"), ("0.kind", "Skip"), ("0.count", "1"))
    },
    "more arrays": {"layers": "1"},
    "batch_first": {"batch_first": "maybe"},
    "notes": {},
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_contradicts_itself_is_refused(name, tmp_path):
    from safetensors import safe_open
    from safetensors.numpy import save_file

    path = tmp_path / "model.safetensors"
    model_of("skip", "dense").save(path)
    with safe_open(path, "numpy") as file:
        metadata = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    metadata |= {f"clstm.{key}": value for key, value in BAD[name].items()}
    metadata = {key: value for key, value in metadata.items() if value is not None}
    metadata |= {"notes": "[]"} if name == "notes" else {}
    save_file(tensors, path, metadata)
    with pytest.raises(ValueError, match=r"model\.safetensors") as error:
        clstm.Sequential.load(path)
    assert len(str(error.value)) < 2000
