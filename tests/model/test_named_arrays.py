"""Dicts of arrays in optimisers and clipping: formulas, groups, copies, and what is refused."""

import copy
import pickle
import threading

import numpy as np
import pytest

import clstm
from clstm import _core, optim
from tests.support.arrays import LAYOUTS, misaligned, read_only, spread
from tests.support.formulas import adam_by_formula, sgd_by_formula

SHAPES = {"head.weight": (3, 5), "head.bias": (3,), "scale": (), "empty": (0, 4), "wide": (40, 70)}
DTYPES = dict.fromkeys(SHAPES, np.float64) | {"head.bias": np.float32, "wide": np.float32}

OPTIMISERS = {
    "Adam": lambda arrays, **options: optim.Adam(arrays, 0.01, (0.9, 0.99), **options),
    "AdamW": lambda arrays, **options: optim.AdamW(arrays, 0.01, weight_decay=0.2, **options),
    "SGD": lambda arrays, **options: optim.SGD(arrays, 0.01, 0.9, **options),
}
every = pytest.mark.parametrize("name", OPTIMISERS)


def draw(seed=0, shapes=SHAPES):
    """Return a dict of arrays; also gradients for those of another seed."""
    rng = np.random.default_rng(seed)
    return {n: np.array(rng.standard_normal(s), DTYPES.get(n, float)) for n, s in shapes.items()}


def copied(arrays):
    return {name: array.copy() for name, array in arrays.items()}


def equal(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[n], other[n]) for n in one)


def tolerance(array):
    return 64 * np.finfo(array.dtype).eps


@pytest.mark.parametrize(
    ("make", "formula", "settings"),
    [
        (optim.Adam, adam_by_formula, {"lr": 0.05, "betas": (0.9, 0.99), "eps": 1e-8}),
        (optim.SGD, sgd_by_formula, {"lr": 0.1, "momentum": 0.0}),
        (optim.SGD, sgd_by_formula, {"lr": 0.1, "momentum": 0.9}),
    ],
)
def test_steps_follow_the_formula(make, formula, settings):
    arrays, start = draw(), draw()
    optimiser, given = make(arrays, **settings), []
    for seed in range(1, 6):
        given.append(draw(seed))
        before = copied(given[-1])
        optimiser.step(given[-1])
        assert equal(given[-1], before)
    for name, array in arrays.items():
        own = [grad[name].astype(float).ravel() for grad in given]
        expected = formula(start[name].astype(float).ravel(), own, **settings)
        rtol = tolerance(array)
        np.testing.assert_allclose(array.ravel(), expected, rtol=rtol, atol=rtol)
        assert array.dtype == DTYPES[name]


@every
def test_a_dict_is_trained_as_a_model_with_the_same_parameters(name):
    lstm = clstm.LSTM(3, 4, output_size=2, dtype=np.float64, rng=0)
    arrays = lstm.state_dict()
    groups = {"*bias*": {"weight_decay": 0.0}, "*hh*": {"freeze": True}, "*out": {"lr_scale": 3.0}}
    one, other = (OPTIMISERS[name](what, groups=groups) for what in (lstm, arrays))
    for seed in range(4):
        tape = lstm.record(np.random.default_rng(seed).standard_normal((5, 2, 3)))
        grad = tape.backward(np.ones((5, 2, 2)))
        by_name = copied(grad.parameters)
        assert optim.clip_global_norm(by_name, 0.5) == optim.clip_global_norm(grad, 0.5)
        assert equal(by_name, dict(grad.parameters))
        one.step(grad)
        other.step(by_name if seed % 2 else grad)
    assert equal(arrays, dict(lstm.parameters))
    for average in one._averages:
        flat = np.concatenate([a.ravel() for a in getattr(other, average).values()])
        np.testing.assert_array_equal(flat, getattr(one, average))


@every
def test_groups_are_by_the_names_of_the_dict(name):
    arrays, free = draw(), draw()
    groups = {"head.*": {"freeze": True}, "w*": {"lr_scale": 0.0}}
    optimiser, other = OPTIMISERS[name](arrays, groups=groups), OPTIMISERS[name](free)
    grad = draw(1)
    optimiser.step({n: g for n, g in grad.items() if not n.startswith("head")})
    optimiser.step(grad)
    for _ in range(2):
        other.step(grad)
    for key in ("head.weight", "head.bias", "wide"):
        np.testing.assert_array_equal(arrays[key], draw()[key])
    assert arrays["scale"] == free["scale"] != draw()["scale"]
    with pytest.raises(
        ValueError, match=r"groups\['tail\*'\] is no parameter's, there are: head.w"
    ):
        OPTIMISERS[name](arrays, groups={"tail*": {}})


def test_what_is_frozen_may_be_read_only():
    arrays = draw() | {"head.bias": read_only(draw()["head.bias"])}
    adam = optim.Adam(arrays, groups={"head.bias": {"freeze": True}})
    adam.step(draw(1))
    assert adam.t == 1
    with pytest.raises(ValueError, match=r"parameters\['head.bias'\] is read-only"):
        optim.Adam(arrays)


@every
def test_an_optimiser_goes_on_from_its_state(name):
    arrays = draw()
    optimiser = OPTIMISERS[name](arrays)
    for seed in range(3):
        optimiser.step(draw(seed))
    state, other_arrays = pickle.loads(pickle.dumps(optimiser.state_dict())), copied(arrays)
    other = type(optimiser)(other_arrays, lr=1.0)
    other.load_state_dict(state)
    assert other.state_dict().keys() == state.keys()
    for one in (optimiser, other):
        one.step(draw(3))
    assert equal(arrays, other_arrays)
    kept = state[optimiser._averages[0]]
    assert not equal(kept, getattr(optimiser, optimiser._averages[0]))  # a copy


@every
def test_a_state_that_does_not_fit_changes_nothing(name):
    optimiser = OPTIMISERS[name](draw())
    optimiser.step(draw(1))
    state = optimiser.state_dict()
    average = optimiser._averages[-1]
    own = state[average]
    for wrong, error, message in (
        (own["wide"], TypeError, f"{average} must be a dict of arrays, got ndarray"),
        ({n: a for n, a in own.items() if n != "scale"}, KeyError, f"{average} lacks 'scale'"),
        (own | {"more": 1.0}, KeyError, f"{average} has an unknown 'more'"),
        (own | {"scale": np.ones(2)}, ValueError, rf"{average}\['scale'\] has shape \(2,\)"),
        (own | {"scale": "a"}, TypeError, rf"{average}\['scale'\] must be a NumPy array"),
    ):
        with pytest.raises(error, match=message):
            optimiser.load_state_dict(state | {average: wrong})
        assert equal(optimiser.state_dict()[average], own)


@every
@pytest.mark.parametrize("again", [copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))])
def test_training_goes_on_the_same_after_a_copy(name, again):
    arrays = draw()
    optimiser = OPTIMISERS[name](arrays)
    optimiser.step(draw(1))
    twin, its_optimiser = again((arrays, optimiser))
    assert its_optimiser.lstm is twin
    for one in (optimiser, its_optimiser):
        one.step(draw(2))
    assert equal(arrays, twin) and not np.shares_memory(arrays["wide"], twin["wide"])


def test_arrays_may_be_replaced_by_others_of_their_form():
    arrays = draw()
    sgd = optim.SGD(arrays, 0.5)
    old = arrays["scale"]
    arrays["scale"] = np.array(7.0)
    sgd.step(draw(1))
    assert old == draw()["scale"]
    assert arrays["scale"] == 7 - 0.5 * draw(1)["scale"]


@pytest.mark.parametrize("layout", ["read-only", "subclass"])
def test_gradients_that_are_only_read(layout):
    arrays, expected, grad = draw(), draw(), draw(1)
    other = {n: LAYOUTS[layout](a) if layout == "read-only" else a.view() for n, a in grad.items()}
    if layout == "subclass":
        other["wide"] = grad["wide"].view(np.recarray)
        other["scale"] = grad["scale"][()]  # a NumPy scalar, which sums are
    optim.Adam(arrays).step(other)
    optim.Adam(expected).step(grad)
    assert equal(arrays, expected)


def test_one_gradient_may_be_that_of_several_arrays():
    shared, own = np.ones(3), {"a": np.zeros(3), "b": np.zeros(3)}
    optim.SGD(own, 1.0).step({"a": shared, "b": shared})
    assert equal(own, {"a": -shared, "b": -shared})


WRONG = {
    "misaligned": (misaligned, ValueError, "must be C-contiguous and aligned"),
    "strided": (spread, ValueError, "must be C-contiguous and aligned"),
    "fortran": (np.asfortranarray, ValueError, "must be C-contiguous and aligned"),
    "transposed": (np.transpose, ValueError, r"has shape \(5, 3\)"),
    "another type": (lambda a: a.astype("f4"), TypeError, "has dtype float32, expected float64 as"),
    "integers": (lambda a: a.astype(int), TypeError, "has dtype int64, expected float64 as"),
    "byte-swapped": (lambda a: a.astype(">f8"), TypeError, "has dtype >f8, expected float64 as"),
    "masked": (np.ma.masked_array, TypeError, "must be an array without a mask"),
    "list": (np.ndarray.tolist, TypeError, "must be a NumPy array, got list"),
    "nothing": (lambda a: None, TypeError, "must be a NumPy array, got NoneType"),
}


@pytest.mark.parametrize("how", WRONG)
@pytest.mark.parametrize("kind", ["parameters", "grad", "m", "v", "velocity"])
def test_an_array_that_does_not_fit_is_named_and_nothing_changes(kind, how):
    change, error, message = WRONG[how]
    arrays, grad = draw(), draw(1)
    optimiser = optim.SGD(arrays, 0.1, 0.9) if kind == "velocity" else optim.Adam(arrays)
    optimiser.step(grad)
    given = {"parameters": arrays, "grad": grad}.get(kind) or getattr(optimiser, kind)
    given["head.weight"] = change(given["head.weight"])
    averages = {name: copy.deepcopy(getattr(optimiser, name)) for name in optimiser._averages}
    before = copy.deepcopy(arrays)
    if kind == "parameters":  # a type or shape is right there, but not that of the averages
        error, message = (TypeError, ValueError), ""
    with pytest.raises(error, match=rf"\['head.weight'\] .*{message}"):
        optimiser.step(grad)
    assert optimiser._progress.steps == 1
    assert arrays["wide"].tolist() == before["wide"].tolist()
    for name, average in averages.items():
        np.testing.assert_array_equal(average["wide"], getattr(optimiser, name)["wide"])


@pytest.mark.parametrize("kind", ["parameters", "m", "v"])
def test_what_is_written_must_be_writable(kind):
    arrays = draw()
    adam = optim.Adam(arrays)
    given = arrays if kind == "parameters" else getattr(adam, kind)
    given["scale"].flags.writeable = False
    with pytest.raises(ValueError, match=rf"{kind}\['scale'\] is read-only"):
        adam.step(draw(1))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (lambda d: d.pop("scale"), r"lacks 'scale', expected head.weight, head.bias, scale, "),
        (lambda d: d.update(more=np.ones(2)), "has 'more', expected only head.weight, "),
        (lambda d: d.update({3: np.ones(2)}), "has 3, expected only head.weight, "),
    ],
)
@pytest.mark.parametrize("kind", ["parameters", "grad", "m"])
def test_names_that_are_missing_or_unknown(kind, changed, message):
    arrays, grad = draw(), draw(1)
    adam = optim.Adam(arrays)
    changed({"parameters": arrays, "grad": grad, "m": adam.m}[kind])
    with pytest.raises(KeyError, match=f"{kind} {message}"):
        adam.step(grad)
    assert equal({"wide": arrays["wide"]}, {"wide": draw()["wide"]})


def test_arrays_that_overlap_are_refused_wherever_one_is_written():
    arrays, grad = draw(), draw(1)
    adam = optim.Adam(arrays)
    for place, own in (("grad", grad), ("m", adam.m), ("v", adam.v)):
        for source, kind in ((arrays, "parameters"), (adam.m, "m"), (adam.v, "v")):
            if own is source:
                continue
            kept, own["wide"] = own["wide"], source["wide"]
            one, other = rf"{place}\['wide'\]", rf"{kind}\['wide'\]"
            with pytest.raises(
                ValueError, match=f"({one}|{other}) shares memory with ({one}|{other})"
            ):
                adam.step(grad)
            own["wide"] = kept
    assert adam.t == 0 and equal(arrays, draw())
    memory = np.zeros(10)
    optim.Adam({"a": memory[:5], "b": memory[5:], "c": memory[5:5]})
    for a, b in ((memory, memory[9:]), (memory[:6], memory[5:]), (memory[2:3], memory)):
        with pytest.raises(ValueError, match=r"parameters\['.'\] shares memory with parameters"):
            optim.Adam({"a": a, "b": b})
    frozen = optim.Adam({"a": memory, "b": memory}, groups={"*": {"freeze": True}})
    frozen.step({})
    with pytest.raises(ValueError, match="shares memory"):
        optim.Adam({"a": memory, "b": memory}, groups={"a": {"freeze": True}})


def test_inner_spans_do_not_hide_an_overlap():
    """A frozen array or one that is read lies within, and reaches less far than, a written one."""
    memory, grad = np.zeros(10), {"a": np.ones(10), "b": np.ones(2)}
    with pytest.raises(ValueError, match="shares memory"):
        optim.SGD({"a": memory, "c": np.zeros(0), "b": memory[7:9]}, 0.1)
    sgd = optim.SGD({"a": np.zeros(10), "b": np.zeros(2)}, 0.1)
    sgd.step(grad | {"b": grad["a"][3:5]})  # gradients may overlap
    sgd.lstm["b"] = grad["a"][3:5]
    with pytest.raises(ValueError, match="shares memory"):
        sgd.step(grad)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({}, ValueError, "parameters must hold at least one array"),
        ({1: np.ones(2)}, TypeError, "the keys of parameters must be strings, got 1"),
        ({"a": 1.0}, TypeError, r"parameters\['a'\] must be a NumPy array, got float: np.array\(1"),
        ({"a": {"b": np.ones(2)}}, TypeError, r"parameters\['a'\] must be a NumPy array, got dict"),
        ({"a": np.ones(2, int)}, TypeError, r"parameters\['a'\] has dtype int64, expected float32"),
        (
            {"a": np.ones(2, "f2")},
            TypeError,
            r"has dtype float16, expected float32 or float64: \.as",
        ),
        ({"a": np.ones(2, ">f4")}, TypeError, r"has dtype >f4, expected float32 or float64"),
        ({"a": np.ones((2, 2))[:, :1]}, ValueError, "must be C-contiguous and aligned: np.ascon"),
        ({"a": np.ma.ones(2)}, TypeError, r"parameters\['a'\] must be an array without a mask"),
    ],
)
@every
def test_dicts_that_cannot_be_trained(name, wrong, error, message):
    with pytest.raises(error, match=message):
        OPTIMISERS[name](wrong)


def test_a_models_own_parameters_are_no_dict_to_train():
    lstm = clstm.LSTM(3, 4, rng=0)
    for wrong, message in (
        (lstm.parameters, r"the model itself: Adam\(lstm\), not Adam\(lstm\.parameters\)"),
        (lstm.parameters.flat, r"or arrays by name: Adam\(\{'weight': weight\}\)"),
        ([np.ones(2)], r"or arrays by name: Adam\(\{'weight': weight\}\)"),
        (None, r"a model itself, Adam\(lstm\), or arrays by name"),
    ):
        with pytest.raises(TypeError, match=message):
            optim.Adam(wrong)
    with pytest.raises(ValueError, match="is read-only: is it of a model's own parameters"):
        optim.Adam(dict(lstm.parameters))
    with pytest.raises(
        TypeError, match="grad must be Gradients or Parameters, as of a model, not d"
    ):
        optim.Adam(lstm).step(lstm.state_dict())
    with pytest.raises(
        TypeError, match="grad must be a dict of arrays, like the parameters, not nd"
    ):
        optim.Adam(lstm.state_dict()).step(np.ones(3))


# ---- Clipping ----


@pytest.mark.parametrize("dtypes", ["f4", "f8", "both"])
def test_clip_scales_all_arrays_together(dtypes):
    grad = draw()
    if dtypes != "both":
        grad = {n: a.astype(dtypes) for n, a in grad.items()}
    before = copied(grad)
    total = np.sqrt(sum((a.astype(float) ** 2).sum() for a in before.values()))
    norm = optim.clip_global_norm(grad, total / 4)
    assert type(norm) is float and norm == pytest.approx(total, rel=1e-12)
    for name, array in grad.items():
        np.testing.assert_allclose(array, before[name] / 4, rtol=tolerance(array))
    kept = copied(grad)
    for limit in (np.inf, norm):
        assert optim.clip_global_norm(grad, limit) == pytest.approx(total / 4, rel=1e-6)
    assert equal(grad, kept)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_clip_scales_nothing_if_the_norm_is_not_finite(value):
    grad = draw()
    grad["wide"][3, 4] = value
    before = copied(grad)
    assert not np.isfinite(optim.clip_global_norm(grad, 1e-3))
    np.testing.assert_array_equal(grad["wide"], before["wide"])
    np.testing.assert_array_equal(grad["scale"], before["scale"])


def test_clip_joins_gradients_of_a_model_and_others():
    lstm = clstm.LSTM(3, 4, rng=0)
    grad = lstm.record(np.ones((5, 3))).backward(np.ones((5, 4)))
    head = np.ones((2, 4))
    total = np.hypot(np.linalg.norm(grad.parameters.flat.astype(float)), np.linalg.norm(head))
    norm = optim.clip_global_norm({**grad.parameters, "head": head}, total / 2)
    assert norm == pytest.approx(total, rel=1e-12)
    np.testing.assert_allclose(head, 0.5)
    assert optim.clip_global_norm(grad, np.inf) == pytest.approx(
        np.sqrt(total**2 - 8) / 2, rel=1e-6
    )


def test_clip_names_what_does_not_fit():
    memory = np.ones(4)
    for wrong, error, message in (
        ({}, ValueError, "grad must hold at least one array"),
        ({"a": 1.0}, TypeError, r"grad\['a'\] must be a NumPy array, got float"),
        ({"b": memory, "a": memory[2:]}, ValueError, r"grad\['a'\] shares memory with grad\['b'\]"),
        ({"a": memory, "b": read_only(memory)}, ValueError, r"grad\['b'\] is read-only"),
        ({"a": memory, "b": memory[::2]}, ValueError, r"grad\['b'\] must be C-contiguous"),
        ({"a": memory, "b": np.ones(2, int)}, TypeError, r"grad\['b'\] has dtype int64"),
        ({2: memory}, TypeError, "the keys of grad must be strings, got 2"),
    ):
        with pytest.raises(error, match=message):
            optim.clip_global_norm(wrong, 0.1)
    assert (memory == 1).all()


# ---- Other threads, copies, the caller's error state ----


@every
def test_a_copy_made_amid_a_step_is_refused(name):
    arrays = draw()
    optimiser = OPTIMISERS[name](arrays)
    optimiser._progress = _core.Progress(7, torn=True)  # as another thread copies
    for torn in (optimiser, copy.deepcopy(optimiser)):
        with pytest.raises(RuntimeError, match="averages are torn"):
            torn.step(draw(1))
    assert equal(arrays, draw())


def test_steps_of_several_threads_are_counted_or_refused():
    arrays = {"a": np.zeros(200_000, np.float32)}
    grad = {"a": np.ones(200_000, np.float32)}
    sgd = optim.SGD(arrays, 1.0)
    taken = []

    def train():
        for _ in range(50):
            try:
                sgd.step(grad)
                taken.append(1)
            except RuntimeError as error:
                assert "another thread is taking a step" in str(error)

    threads = [threading.Thread(target=train) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == sgd._progress.steps
    np.testing.assert_array_equal(arrays["a"], -len(taken))


def test_the_error_state_of_numpy_has_no_effect():
    results = []
    for state in ("ignore", "raise"):
        arrays = {"a": np.full(3, 1e-30, np.float32), "b": np.full(3, 1e300)}
        grad = {"a": np.full(3, 1e-44, np.float32), "b": np.full(3, 1e30)}
        with np.errstate(all=state):
            optim.clip_global_norm(grad, 1e-3)
            optim.Adam(arrays).step(grad)
        results.append({**arrays, **{f"grad {n}": g for n, g in grad.items()}})
    assert equal(*results)


# ---- Training ----


def test_an_lstm_and_a_head_in_a_dict_learn_together():
    """To tell the first sign of a sequence at its end; the head is plain NumPy."""
    rng = np.random.default_rng(0)
    lstm = clstm.LSTM(1, 8, dtype=np.float64, rng=0)
    head = {"weight": rng.standard_normal((2, 8)) / 3, "bias": np.zeros(2)}
    optimisers = optim.Adam(lstm, 0.02), optim.AdamW(head, 0.02, groups={"bias": {"lr_scale": 0.5}})
    for _ in range(80):
        x = rng.standard_normal((8, 32, 1))
        tape = lstm.record(x)
        scores = tape.y[-1] @ head["weight"].T + head["bias"]
        loss, ds = clstm.losses.softmax_cross_entropy(scores, (x[0, :, 0] > 0).astype(int))
        of_head = {"weight": ds.T @ tape.y[-1], "bias": ds.sum(axis=0)}
        grad = tape.backward(ds @ head["weight"])
        optim.clip_global_norm({**grad.parameters, **of_head}, 1.0)
        for optimiser, own in zip(optimisers, (grad, of_head), strict=True):
            optimiser.step(own)
    assert loss < 0.15
