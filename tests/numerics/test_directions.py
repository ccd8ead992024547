"""Directions: reverse equals forward over reversed rows; both equals one of each."""

from dataclasses import replace

import numpy as np
import pytest

from tests.support.bounds import assert_close, assert_same, assert_same_results, largest
from tests.support.case import Case
from tests.support.options import Pass, lengths_of

CASES = [
    Case(7, 3),
    Case(40, 17, 3, 33, lengths=tuple(range(17, 0, -1))),
    Case(60, 5, 24, 130, lengths=(60, 0, 1, 33, 60)),
    Case(9, 5, hidden_size=20, proj_size=7, bias=False, dtype=np.float64, lengths=(9, 9, 4, 0, 5)),
]


def name_of(case):
    return f"H{case.hidden_size}-B{case.batch}"


def copied(target, source, rename=lambda name: name):
    """Give a model the parameters that another one has, by other names."""
    with target.edit() as parameters:
        for name, array in parameters.items():
            array[...] = source.parameters[rename(name)]


def reversed_rows(case, sequence):
    """Each row's own steps the other way round; padding stays where it is."""
    result = sequence.copy()
    for b, length in enumerate(lengths_of(case)):
        result[:length, b] = sequence[:length, b][::-1]
    return result


@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_reverse_is_forward_over_the_reversed_rows(case, num_layers):
    case = replace(case, num_layers=num_layers, output_size=2)
    other = replace(case, direction="reverse")
    forward, reverse = case.model(), other.model()
    copied(reverse, forward, lambda name: name.replace("_reverse", ""))
    y, state = Pass(case).call(forward)
    y_reverse, state_reverse = Pass(other).call(reverse, reversed_rows(case, case.x()))
    assert_same_results((reversed_rows(case, y_reverse), state_reverse), (y, state))

    gradients = Pass(case).gradients(forward)
    tape = Pass(other).record(reverse, reversed_rows(case, case.x()))
    turned = Pass(other).backward(tape, reversed_rows(case, case.dy()))
    turned["x"] = reversed_rows(case, turned["x"])
    for name, array in turned.items():
        expected = gradients[name.replace("_reverse", "")]
        np.testing.assert_allclose(array, expected, rtol=1e-3, atol=1e-4 * (1 + largest(expected)))


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_a_bidirectional_layer_is_one_of_each_side_by_side(case):
    both = replace(case, direction="both")
    model, (h, c) = both.model(), both.state()
    y, end = Pass(both).call(model)
    for d, direction in enumerate(("forward", "reverse")):
        one = replace(case, direction=direction)
        half = one.model()
        copied(half, model)
        part = np.s_[d : d + 1]
        y_half, end_half = Pass(one).call(half, state=(h[part], c[part]))
        width = case.recurrent_size
        assert_same(y[:, :, d * width : (d + 1) * width], y_half)
        for whole, of_half in zip(end, end_half, strict=True):
            assert_same(whole[part], of_half, largest(of_half))


def test_the_next_layer_reads_both_directions():
    case = Case(9, 4, num_layers=2, direction="both", lengths=(9, 3, 0, 8))
    model, (h, c) = case.model(), case.state()
    hidden, end = case.x(), []
    for k in range(2):
        layer = replace(case, num_layers=1, input_size=(5, 12)[k])
        one = layer.model()
        copied(one, model, lambda name, k=k: name.replace("_l0", f"_l{k}"))
        part = np.s_[2 * k : 2 * k + 2]
        hidden, state = Pass(layer).call(one, hidden, (h[part], c[part]))
        end.append(state)
    joined = tuple(np.concatenate(parts) for parts in zip(*end, strict=True))
    assert_same_results(Pass(case).call(model), (hidden, joined))


@pytest.mark.parametrize(("direction", "step"), [("forward", -1), ("reverse", 0)])
def test_the_final_state_is_that_of_the_last_step_taken(direction, step):
    case = Case(num_layers=2, direction=direction)
    tape = case.model().record(case.x(), case.state())
    assert_same(tape.state[0][-1], tape.y[step])
    assert_same(tape.state[1][-1], tape.cells[step, :, -1])


def test_parts_of_a_tape_are_layers_and_directions():
    """Gates and cells of part k D + d are those of layer k and direction d."""
    case = Case(5, 2, num_layers=2, direction="both")
    tape = case.model().record(case.x(), case.state())
    assert tape.hidden.shape == (5, 2, 12)
    assert tape.cells.shape == tape.gates["cell"].shape == (5, 2, 4, 6)
    for q, last in enumerate((-1, 0, -1, 0)):
        assert_close(tape.cells[last, :, q], tape.state[1][q], 1e-7)
    h = tape.gates["output"] * np.tanh(tape.cells)
    assert_close(h[:, :, 2:].reshape(5, 2, 12), tape.hidden, 1e-6)


def test_names_and_shapes_of_parameters():
    both = Case(num_layers=2, output_size=3, direction="both", proj_size=4, learn_state=True)
    shapes = {name: array.shape for name, array in both.model().parameters.items()}
    expected = {}
    for k, width in enumerate((5, 8)):
        for suffix in ("", "_reverse"):
            expected |= {
                f"weight_ih_l{k}{suffix}": (24, width),
                f"weight_hh_l{k}{suffix}": (24, 4),
                f"bias_l{k}{suffix}": (24,),
                f"weight_hr_l{k}{suffix}": (4, 6),
            }
    expected |= {"weight_out": (3, 8), "bias_out": (3,), "h0": (4, 4), "c0": (4, 6)}
    assert list(shapes.items()) == list(expected.items())  # the order too
    flat = both.model().parameters.flat
    joined = np.concatenate([array.ravel() for array in both.model().parameters.values()])
    np.testing.assert_array_equal(joined, flat)

    names = list(Case(num_layers=2, direction="reverse", bias=False).model().parameters)
    assert names == [f"weight_{kind}_l{k}_reverse" for k in range(2) for kind in ("ih", "hh")]


def test_both_directions_are_initialised_alike():
    model = Case(input_size=20, hidden_size=30, direction="both").model()
    for suffix in ("", "_reverse"):
        for gate in np.split(model.parameters[f"weight_hh_l0{suffix}"], 4):
            np.testing.assert_allclose(gate @ gate.T, np.eye(30), atol=1e-5)
        expected = np.repeat([0, 1, 0, 0], 30)
        np.testing.assert_array_equal(model.parameters[f"bias_l0{suffix}"], expected)
    forward, reverse = (model.parameters[f"weight_ih_l0{s}"] for s in ("", "_reverse"))
    assert (forward != reverse).all()
