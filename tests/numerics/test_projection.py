"""The projection: gates, next layer and y take an h of R < H elements."""

from dataclasses import replace

import numpy as np
import pytest

from tests.support.bounds import assert_close, assert_identical, forward_bound, largest
from tests.support.case import Case
from tests.support.options import Pass


@pytest.mark.parametrize("direction", ["forward", "reverse", "both"])
@pytest.mark.parametrize(("hidden_size", "proj_size"), [(2, 1), (17, 16), (40, 7), (130, 64)])
def test_a_projection_that_picks_elements(hidden_size, proj_size, direction):
    """With rows of the identity, h is some elements of an h that no other gate sees."""
    case = Case(9, 5, hidden_size=hidden_size, direction=direction, lengths=(9, 2, 0, 5, 8))
    small = replace(case, proj_size=proj_size)
    projected, plain, rng = small.model(), case.model(), np.random.default_rng(0)
    picked = rng.permutation(hidden_size)[:proj_size]
    with projected.edit() as ours, plain.edit() as theirs:
        for name, array in ours.items():
            if name.startswith("weight_hr"):
                array[...] = np.eye(hidden_size)[picked]
            elif name.startswith("weight_hh"):
                theirs[name][...] = 0
                theirs[name][:, picked] = array
            else:
                theirs[name][...] = array
    h, c = case.state()
    y, (h_end, c_end) = Pass(small).call(projected, state=(h[..., picked], c))
    expected_y, (expected_h, expected_c) = Pass(case).call(plain, state=(h, c))
    columns = np.concatenate([picked + d * hidden_size for d in range(case.directions)])
    bound = forward_bound(case.steps, case.dtype)
    assert_close(y, expected_y[..., columns], bound)
    assert_close(h_end, expected_h[..., picked], bound)
    assert_close(c_end, expected_c, bound, largest(expected_c))


@pytest.mark.parametrize("output_size", [None, 2])
def test_shapes_of_states_and_results(output_size):
    case = Case(num_layers=2, output_size=output_size, direction="both", proj_size=4)
    model = case.model()
    for y, (h, c) in (model(case.x()), model(case.x(), case.state())):
        assert y.shape == (7, 3, output_size or 8)
        assert h.shape == (4, 3, 4)
        assert c.shape == (4, 3, 6)
    y, (h, c) = model(case.x()[:, 0])
    assert y.shape == (7, output_size or 8) and h.shape == (4, 4) and c.shape == (4, 6)
    tape = model.record(case.x())
    assert tape.hidden.shape == (7, 3, 8)
    assert tape.cells.shape == tape.gates["input"].shape == (7, 3, 4, 6)
    grad = tape.backward(case.dy())
    assert grad.state[0].shape == (4, 3, 4) and grad.state[1].shape == (4, 3, 6)


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        (((2, 3, 6), (2, 3, 6)), r"state's h has shape \(2, 3, 6\), expected \(2, 3, 4\)"),
        (((2, 3, 4), (2, 3, 4)), r"state's c has shape \(2, 3, 4\), expected \(2, 3, 6\)"),
        (((1, 3, 4), (2, 3, 6)), r"state's h has shape \(1, 3, 4\)"),
    ],
)
def test_states_of_other_sizes_are_refused(shapes, words):
    case = Case(direction="both", proj_size=4)
    state = tuple(np.zeros(shape, np.float32) for shape in shapes)
    with pytest.raises(ValueError, match=words):
        case.model()(case.x(), state)
    with pytest.raises(ValueError, match=words.replace("state's", "dstate's")):
        case.model().record(case.x()).backward(case.dy(), state)


def test_initial_weights():
    """Recurrent weights of fewer columns than rows: orthonormal columns for each gate."""
    model = Case(input_size=20, hidden_size=30, num_layers=2, proj_size=11, output_size=3).model()
    for k in range(2):
        for gate in np.split(model.parameters[f"weight_hh_l{k}"], 4):
            np.testing.assert_allclose(gate.T @ gate, np.eye(11), atol=1e-5)
        limit = np.sqrt(6 / (30 + 11))
        size = np.abs(model.parameters[f"weight_hr_l{k}"])
        assert 0.9 * limit < size.max() <= limit
        assert 0.4 * limit < size.mean() < 0.6 * limit
    limit = np.sqrt(6 / (11 + 30))
    assert 0.9 * limit < np.abs(model.parameters["weight_ih_l1"]).max() <= limit
    assert np.abs(model.parameters["weight_out"]).max() <= np.sqrt(6 / 14)


def test_h_is_bounded_by_the_weights_alone():
    """The projected h may leave [-1, 1], unlike any other."""
    case = Case(30, hidden_size=20, proj_size=3)
    model = case.model()
    with model.edit() as parameters:
        parameters["weight_hr_l0"][...] = 5
        parameters["bias_l0"][...] = 4
    y, (h, c) = model(case.x())
    assert np.abs(y).max() > 10
    assert_identical(y[-1], h[0])
    assert c.shape == (1, 3, 20)
