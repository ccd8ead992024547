"""Gradients of cells other than the plain one: by differences, the specification, each other."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

import clstm
from tests.support.bounds import assert_gradients, assert_identical
from tests.support.case import Case
from tests.support.differences import assert_differences, smooth_pass
from tests.support.options import Pass, random_cell, random_pass
from tests.support.reference_cell import SLOPES

SLOTS = ("gate", "cell", "hidden")


@cache
def small_pass(seed):
    return smooth_pass(seed, 1e-3, largest=3, dtype=np.float64)


@pytest.mark.parametrize("block", range(6))
def test_finite_differences_of_every_input(block):
    """Twenty passes a block: every element of x, h, c and all parameters."""
    for seed in range(20 * block, 20 * block + 20):
        one = small_pass(seed)
        assert_differences(one, one.case.model())


def bounded(one):
    """Which bounds, clip and cell_clip, some value of the pass meets."""
    tape = one.specified(one.case.model())
    cell = tape.cell
    sums = np.concatenate([np.abs(part.sums).ravel() for part in tape.parts])
    return (
        cell.clip is not None and sums.max(initial=0) > cell.clip,
        cell.cell_clip is not None and np.abs(tape.cells).max(initial=0) >= cell.cell_clip,
    )


def test_the_passes_that_are_tested_have_every_option():
    """Each option of a cell on and off, beside those of the model; bounds that are met."""
    passes = [small_pass(seed) for seed in range(120)]
    for slot in SLOTS:
        for name in SLOPES:
            assert sum(getattr(one.case.cell, slot).name == name for one in passes) >= 3
    met = [bounded(one) for one in passes]
    assert sum(by_clip for by_clip, _ in met) >= 10
    assert sum(by_cell_clip for _, by_cell_clip in met) >= 10
    for choose in (
        lambda one: one.case.cell.peephole,
        lambda one: one.case.cell.coupled,
        lambda one: one.case.cell.peephole and one.case.cell.coupled,
        lambda one: one.case.cell.peephole and one.case.cell.cell_clip,
        lambda one: one.case.cell.peephole and one.case.cell.clip,
        lambda one: one.case.cell.peephole and not one.case.bias,
        lambda one: one.case.cell.peephole and one.case.proj_size,
        lambda one: one.case.cell.peephole and one.recurrent_dropout,
        lambda one: one.case.cell.peephole and one.case.learn_state and not one.with_state,
        lambda one: one.case.cell.coupled and one.case.cell.clip,
        lambda one: one.case.cell.coupled and one.case.direction == "both",
        lambda one: one.case.cell.cell_clip and one.case.lengths and one.with_state,
        lambda one: one.case.direction == "reverse",
        lambda one: one.case.num_layers == 3,
        lambda one: one.ragged,
        lambda one: one.dropout,
    ):
        assert 3 <= sum(bool(choose(one)) for one in passes) <= 117


@pytest.mark.parametrize("seed", range(200, 260))
def test_gradients_match_the_specification(seed):
    one = random_pass(seed, largest=20, dtype=np.float64, cell=random_cell(seed))
    model = one.case.model()
    expected = one.exact_gradients(model)
    scale = max(np.abs(array).max(initial=1) for array in expected.values())
    for num_threads in (1, 2, 3):
        actual = one.gradients(model, num_threads=num_threads)
        assert list(actual) == list(expected)
        for name, array in expected.items():
            assert actual[name].shape == array.shape
            np.testing.assert_allclose(
                actual[name], array, rtol=1e-9, atol=1e-12 * scale, err_msg=name
            )


@pytest.mark.parametrize("seed", range(300, 340))
def test_float32_gradients_against_the_specification(seed):
    """And a tape of states alone; for a fixed number of threads they repeat to the bit."""
    one = smooth_pass(seed, 1e-5, largest=12, dtype=np.float32)
    model = one.case.model()
    expected = one.exact_gradients(model)
    for num_threads in (1, 2, 3, 8, 64):
        once = one.gradients(model, num_threads=num_threads)
        again = one.gradients(model, num_threads=num_threads)
        lean = one.gradients(model, num_threads=num_threads, keep="states")
        assert_gradients(one.case, once, expected)
        assert_gradients(one.case, lean, expected)
        for name, array in once.items():
            assert_identical(again[name], array)


LARGE = [
    Case(40, 33, 20, 50, 2, 3, direction="both", lengths=(*range(8, 40), 0)),
    Case(12, 5, 20, 256, 2, direction="reverse", lengths=(12, 3, 7, 7, 12)),
    Case(30, 1, 40, 300, direction="both", proj_size=64),
    Case(20, 33, 72, 130, 3, 20, proj_size=41, learn_state=True),
]


@pytest.mark.parametrize("case", LARGE, ids=lambda case: f"H{case.hidden_size}-B{case.batch}")
def test_many_units_and_threads(case):
    """Shapes for several threads; smooth functions only, as some of the sums meet any jump."""
    cell = clstm.Cell(peephole=True, coupled=case.batch == 33, gate="sigmoid", hidden="sigmoid")
    one = Pass(replace(case, cell=cell), recurrent_dropout=True)
    model = one.case.model()
    expected = one.exact_gradients(model)
    for num_threads in (1, 2, 3, 8):
        for keep in ("gates", "states"):
            actual = one.gradients(model, num_threads=num_threads, keep=keep)
            assert_gradients(one.case, actual, expected)


@pytest.mark.parametrize("direction", ["forward", "reverse", "both"])
@pytest.mark.parametrize("seed", range(6))
def test_nan_in_a_row_stays_in_its_gradients(seed, direction):
    cell = random_cell(seed)
    case = Case(7, 5, hidden_size=17, num_layers=2, direction=direction, cell=cell)
    one = Pass(replace(case, lengths=(7, 0, 4, 5, 1)))
    model, x = one.case.model(), one.case.x()
    clean = one.backward(one.record(model), num_threads=1)
    x[2, 0, 0] = np.nan
    touched = one.backward(one.record(model, x), num_threads=1)
    assert np.isnan(touched["x"][2, 0]).all()
    assert np.isnan(touched["weight_ih_l0" + "_reverse" * (direction == "reverse")]).any()
    for name in ("x", "state h", "state c"):
        np.testing.assert_allclose(touched[name][:, 1:], clean[name][:, 1:], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("optimiser", [clstm.optim.Adam, clstm.optim.SGD])
def test_peepholes_are_trained(optimiser):
    """From the zeros that they are at first."""
    cell = clstm.Cell(peephole=True)
    model = clstm.LSTM(3, 20, 2, bidirectional=True, cell=cell, rng=0)
    case = Case(9, 4, 3, 20, 2, direction="both")
    optimiser(model, 0.01).step(model.record(case.x()).backward(case.dy()))
    names = [name for name in model.parameters if "peephole" in name]
    assert len(names) == 4
    for name in names:
        assert (model.parameters[name] != 0).mean() > 0.9
