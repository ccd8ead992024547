"""The backward pass: finite differences, the specification, and float32 against float64."""

import numpy as np
import pytest

import clstm
from tests.support import reference
from tests.support.bounds import assert_gradients, assert_same
from tests.support.case import Case


def random_case(seed, largest=4, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return Case(
        steps=1 if seed % 5 == 0 else int(rng.integers(1, largest + 1)),
        batch=int(rng.integers(1, largest)),
        input_size=int(rng.integers(1, largest)),
        hidden_size=int(rng.integers(1, largest)),
        num_layers=int(rng.integers(1, 4)),
        output_size=int(rng.integers(1, largest)) if seed % 3 else None,
        bias=bool(seed % 4),
        dtype=dtype,
        seed=seed,
    )


def gradients_of(case, model, **kwargs):
    """All gradients of sum(dy * y) + sum(dh * h) + sum(dc * c), by name."""
    grad = model.record(case.x(), case.state(), **kwargs).backward(
        case.dy(), case.state(salt=6), **kwargs
    )
    return {"x": grad.x, "h0": grad.state[0], "c0": grad.state[1], **grad.parameters}


@pytest.mark.parametrize("block", range(10))
def test_finite_differences_of_every_input(block):
    """Twenty configurations a block, every element of x, h0, c0 and all parameters."""
    for seed in range(20 * block, 20 * block + 20):
        case = random_case(seed)
        model, step = case.model(), 1e-5
        dy, (dh, dc) = case.dy(), case.state(salt=6)
        inputs = {"x": case.x(), "h0": case.state()[0], "c0": case.state()[1]}

        def loss(model=model, inputs=inputs, dy=dy, dh=dh, dc=dc):
            y, (h, c) = model(inputs["x"], (inputs["h0"], inputs["c0"]))
            return (y * dy).sum() + (h * dh).sum() + (c * dc).sum()

        gradients = gradients_of(case, model)
        for name, array in inputs.items():
            numeric = np.empty_like(array)
            for index in np.ndindex(array.shape):
                value = array[index]
                array[index] = value + step
                above = loss()
                array[index] = value - step
                numeric[index] = (above - loss()) / (2 * step)
                array[index] = value
            np.testing.assert_allclose(gradients[name], numeric, rtol=1e-5, atol=1e-8)
        flat = model.parameters.flat.copy()
        numeric = np.empty_like(flat)
        for k in range(flat.size):
            moved = []
            for sign in (1, -1):
                with model.edit() as parameters:
                    parameters.flat = flat
                    parameters.flat[k] += sign * step
                moved.append(loss())
            numeric[k] = (moved[0] - moved[1]) / (2 * step)
        analytic = np.concatenate([gradients[name].ravel() for name in model.parameters])
        np.testing.assert_allclose(analytic, numeric, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("num_threads", [1, 2, 3])
def test_gradients_match_the_specification(seed, num_threads):
    case = random_case(seed, largest=40)
    model = case.model()
    tape = reference.forward(model.parameters, case.x(), case.state())
    expected = reference.backward(model.parameters, tape, case.dy(), case.state(salt=6))
    wanted = {"x": expected.x, "h0": expected.state[0], "c0": expected.state[1]}
    actual = gradients_of(case, model, num_threads=num_threads)
    for name, array in (wanted | expected.parameters).items():
        assert actual[name].shape == array.shape
        np.testing.assert_allclose(actual[name], array, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("num_threads", [1, 2, 3, 8, 64])
@pytest.mark.parametrize("seed", range(8))
def test_float32_gradients_against_float64(seed, num_threads):
    single = random_case(seed, largest=50, dtype=np.float32)
    double = Case(**{**vars(single), "dtype": np.float64})
    model = single.model()
    twin = double.model()
    with twin.edit() as parameters:
        parameters.flat = model.parameters.flat

    def drawn(record, case):  # the same float32 numbers for both
        state = tuple(s.astype(case.dtype) for s in single.state())
        dstate = tuple(s.astype(case.dtype) for s in single.state(salt=6))
        grad = record(single.x().astype(case.dtype), state).backward(
            single.dy().astype(case.dtype), dstate, num_threads=num_threads
        )
        return {"x": grad.x, "h0": grad.state[0], "c0": grad.state[1], **grad.parameters}

    assert_gradients(single, drawn(model.record, single), drawn(twin.record, double))


@pytest.mark.parametrize("num_threads", [1, 2, 3, 8])
def test_gradients_repeat_to_the_bit_for_a_fixed_thread_count(num_threads):
    case = Case(steps=30, batch=13, hidden_size=40, num_layers=2, output_size=3)
    model = case.model()
    first = gradients_of(case, model, num_threads=num_threads)
    for _ in range(3):
        again = gradients_of(case, model, num_threads=num_threads)
        for name, array in first.items():
            np.testing.assert_array_equal(again[name], array, err_msg=name)


def test_products_that_are_cut_into_pieces_are_those_of_their_halves():
    """512 rows are two pieces of a weight gradient, 256 rows are one."""
    case = Case(steps=16, batch=32, input_size=512, hidden_size=512)
    model, x, dy = case.model(), case.x(), case.dy()
    whole = model.record(x, num_threads=1).backward(dy, num_threads=1)
    halves = model.record(x[:, :16], num_threads=1).backward(dy[:, :16], num_threads=1)
    model.record(x[:, 16:], num_threads=1).backward(dy[:, 16:], into=halves, num_threads=1)
    for name, expected in halves.parameters.items():
        error = np.abs(whole.parameters[name] - expected).max()
        assert error <= 1e-5 * np.abs(expected).max(), name


@pytest.mark.parametrize(("steps", "batch"), [(0, 3), (4, 0), (0, 0)])
def test_empty_sequences_give_their_state_gradient_through(steps, batch):
    case = Case(steps=steps, batch=batch, num_layers=2, output_size=2)
    tape = case.model().record(case.x(), case.state())
    dstate = case.state(salt=6)
    grad = tape.backward(np.zeros((steps, batch, 2)), dstate)
    np.testing.assert_array_equal(grad.state[0], dstate[0])
    np.testing.assert_array_equal(grad.state[1], dstate[1])
    assert grad.x.shape == (steps, batch, 5)
    assert not grad.parameters.flat.any()


@pytest.mark.parametrize("output_size", [None, 3])
@pytest.mark.parametrize("num_threads", [1, 2])
def test_gradients_add_up_into_others(output_size, num_threads):
    case = Case(steps=9, num_layers=2, output_size=output_size, dtype=np.float64)
    model = case.model()

    def backward(part, **kwargs):
        tape = model.record(case.x()[part], num_threads=num_threads)
        return tape.backward(case.dy()[part], num_threads=num_threads, **kwargs)

    parts = [slice(0, 4), slice(4, 9), slice(0, 9)]
    alone = [backward(part) for part in parts]
    total = backward(parts[0])
    first = total.parameters.flat.copy()
    for part, single in zip(parts[1:], alone[1:], strict=True):
        given = total if part.start else total.parameters
        added = backward(part, into=given)
        assert added.parameters is total.parameters
        np.testing.assert_array_equal(added.x, single.x)
        np.testing.assert_array_equal(added.state[0], single.state[0])
    expected = sum(grad.parameters.flat for grad in alone)
    assert (total.parameters.flat != first).any()
    np.testing.assert_allclose(total.parameters.flat, expected, rtol=1e-12, atol=1e-12)


def test_a_loss_of_the_state_alone_adds_nothing_to_the_readout():
    case = Case(output_size=3)
    model = case.model()
    total = model.record(case.x()).backward(case.dy())
    before = total.parameters["weight_out"].copy()
    model.record(case.x()).backward(None, case.state(salt=6), into=total)
    np.testing.assert_array_equal(total.parameters["weight_out"], before)
    alone = model.record(case.x()).backward(None, case.state(salt=6))
    assert not alone.parameters["weight_out"].any()


def test_into_refuses_gradients_of_other_models():
    case = Case(output_size=2)
    model, dy = case.model(), case.dy()
    tape = model.record(case.x())
    other = Case(output_size=3)
    foreign = other.model().record(other.x()).backward(other.dy())
    double = Case(output_size=2, dtype=np.float64)
    refused = [
        (foreign, ValueError, "parameters of this model"),
        (double.model().record(double.x()).backward(double.dy()), ValueError, "float64"),
        (model.parameters, ValueError, "read-only"),
        (foreign.parameters.flat, TypeError, "into must be Gradients or Parameters"),
    ]
    for into, error, message in refused:
        with pytest.raises(error, match=message):
            tape.backward(dy, into=into)
    tape.backward(dy)


@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("seed", range(12))
def test_a_tape_of_states_alone_gives_the_same_gradients(seed, num_threads):
    case = random_case(seed, largest=40, dtype=np.float64 if seed % 2 else np.float32)
    model = case.model()
    expected = gradients_of(case, model, num_threads=num_threads)
    tape = model.record(case.x(), case.state(), keep="states", num_threads=num_threads)
    grad = tape.backward(case.dy(), case.state(salt=6), num_threads=num_threads)
    actual = {"x": grad.x, "h0": grad.state[0], "c0": grad.state[1], **grad.parameters}
    assert_gradients(case, actual, expected)


@pytest.mark.parametrize("num_threads", [1, 2])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_tape_larger_than_a_cache_keeps_the_same_as_small_ones(dtype, num_threads):
    """Non-temporal stores are used from 1 MiB of gates and cells on: here 3.4, alone 0.1."""
    case = Case(steps=40, batch=33, hidden_size=64, num_layers=2, dtype=dtype)
    model, x = case.model(), case.x()
    tape = model.record(x, num_threads=num_threads)
    states = model.record(x, keep="states", num_threads=num_threads)
    for row in (0, 32):
        alone = model.record(x[:, row : row + 1], num_threads=1)
        assert_same(tape.cells[:, row], alone.cells[:, 0])
        assert_same(states.cells[:, row], alone.cells[:, 0])
        for name, gate in tape.gates.items():
            assert_same(gate[:, row], alone.gates[name][:, 0])


@pytest.mark.parametrize("steps", [1, 700])
def test_a_tape_of_states_alone_in_several_chunks(steps):
    """A chunk of 4 MiB of gates is recomputed at a time: 1000 of 2100 rows of this model."""
    case = Case(steps=steps, batch=3, hidden_size=131, num_layers=2, dtype=np.float64)
    model = case.model()
    whole = gradients_of(case, model)
    tape = model.record(case.x(), case.state(), keep="states")
    np.testing.assert_array_equal(tape.cells, model.record(case.x(), case.state()).cells)
    with pytest.raises(RuntimeError, match="keeps no gates"):
        tape.gates["input"]
    into = model.record(case.x(), case.state()).backward(case.dy(), case.state(salt=6))
    first = into.parameters.flat.copy()
    grad = tape.backward(case.dy(), case.state(salt=6), into=into)
    actual = {"x": grad.x, "h0": grad.state[0], "c0": grad.state[1]}
    assert_gradients(case, actual, {name: whole[name] for name in actual})
    flat = np.concatenate([whole[name].ravel() for name in model.parameters])
    assert_gradients(case, {"flat": into.parameters.flat - first}, {"flat": flat})


def test_keep_refuses_another_word():
    with pytest.raises(ValueError, match="keep must be 'gates' or 'states', not 'all'"):
        Case().model().record(Case().x(), keep="all")


def test_dy_of_the_last_step_alone():
    case = Case(output_size=3)
    model, dy = case.model(), np.zeros((7, 3, 3), np.float32)
    dy[-1] = case.dy()[-1]
    whole = model.record(case.x()).backward(dy)
    last = model.record(case.x()).backward(dy[-1])
    np.testing.assert_array_equal(last.parameters.flat, whole.parameters.flat)
    np.testing.assert_array_equal(last.x, whole.x)
    row = model.record(case.x()[:, 0])
    assert row.backward(dy[-1, 0]).x.shape == (7, 5)


def test_no_dy_means_the_loss_sees_the_state_alone():
    case = Case(num_layers=2, output_size=3)
    model = case.model()
    none = model.record(case.x()).backward(None, case.state())
    zero = model.record(case.x()).backward(np.zeros((7, 3, 3)), case.state())
    np.testing.assert_array_equal(none.parameters.flat, zero.parameters.flat)
    assert none.parameters["weight_hh_l0"].any() and not none.parameters["weight_out"].any()


def test_layouts_give_the_same_gradients():
    case = Case(steps=6, batch=4, num_layers=2, output_size=3)
    first = clstm.LSTM(5, 6, 2, output_size=3, batch_first=True, rng=0)
    plain = case.model().record(case.x(), case.state()).backward(case.dy(), case.state(salt=6))
    turned = first.record(case.x().swapaxes(0, 1), case.state())
    grad = turned.backward(case.dy().swapaxes(0, 1), case.state(salt=6))
    np.testing.assert_array_equal(grad.x.swapaxes(0, 1), plain.x)
    np.testing.assert_array_equal(grad.state[0], plain.state[0])
    np.testing.assert_array_equal(grad.parameters.flat, plain.parameters.flat)


@pytest.mark.parametrize("position", [(0, 0), (3, 1), (6, 2)])
def test_nan_stays_in_its_row_and_in_the_sums_over_rows(position):
    case = Case(steps=7, batch=3, hidden_size=9, num_layers=2)
    model, x = case.model(), case.x()
    clean = model.record(x).backward(case.dy())
    t, b = position
    x[t, b, 2] = np.nan
    grad = model.record(x).backward(case.dy())
    others = np.arange(3) != b
    np.testing.assert_allclose(grad.x[:, others], clean.x[:, others], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(grad.state[0][:, others], clean.state[0][:, others], atol=1e-6)
    assert np.isnan(grad.x[:, b]).all() and np.isnan(grad.state[0][:, b]).all()
    assert np.isnan(grad.parameters["weight_ih_l1"]).any()


def test_changing_the_inputs_after_record_changes_nothing():
    case = Case(num_layers=2)
    model, x, (h, c) = case.model(), case.x(), case.state()
    expected = model.record(x, (h, c)).backward(case.dy())
    tape = model.record(x, (h, c))
    for array in (x, h, c):
        array[...] = np.nan
    grad = tape.backward(case.dy())
    np.testing.assert_array_equal(grad.parameters.flat, expected.parameters.flat)
    np.testing.assert_array_equal(grad.x, expected.x)


def test_a_tape_is_used_up_by_backward():
    case = Case()
    tape = case.model().record(case.x())
    tape.backward(case.dy())
    for use in (lambda: tape.backward(case.dy()), lambda: tape.gates, lambda: tape.cells):
        with pytest.raises(RuntimeError, match="already used"):
            use()
    assert tape.y.shape == (7, 3, 6)


def test_backward_refuses_after_an_edit():
    case = Case()
    model = case.model()
    tape = model.record(case.x())
    with model.edit() as parameters:
        parameters.flat *= 1.5
    with pytest.raises(RuntimeError, match="changed after the tape was recorded"):
        tape.backward(case.dy())


def test_a_refused_backward_leaves_the_tape_usable():
    case = Case()
    model = case.model()
    tape = model.record(case.x())
    with pytest.raises(ValueError, match=r"dy has shape \(7, 3, 4\), expected y's \(7, 3, 6\)"):
        tape.backward(np.zeros((7, 3, 4)))
    with pytest.raises(ValueError, match="dstate's h has shape"):
        tape.backward(case.dy(), (np.zeros((2, 3, 6)), np.zeros((1, 3, 6))))
    expected = model.record(case.x()).backward(case.dy())
    np.testing.assert_array_equal(tape.backward(case.dy()).x, expected.x)


def test_results_of_a_tape_are_read_only():
    tape = Case(output_size=2).model().record(Case().x())
    for array in (tape.y, tape.hidden, *tape.state):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
