"""Gradients by finite differences, and passes away from the jumps of derivatives."""

from itertools import count

import numpy as np

from tests.support import reference
from tests.support.options import random_cell, random_pass


def jumps_of(activation, clip):
    """Where the derivative of a bounded activation jumps."""
    jumps = [] if clip is None else [-clip, clip]
    if activation.name == "relu":
        jumps.append(0)
    if activation.name == "hard_sigmoid":
        jumps += [(end - activation.beta) / activation.alpha for end in (0, 1)]
    return jumps


def distance_from_jumps(tape):
    """The least distance of a gate's sum or a cell state from where the derivative jumps."""
    cell, least = tape.cell, np.inf
    counts = reference.steps_that_count(len(tape.y), tape.lengths)[:, :, 0]
    for part in tape.parts:
        a_i, a_f, a_g, a_o = np.split(part.sums[counts], 4, axis=-1)
        i, f, g, _ = np.split(part.gates[counts], 4, axis=-1)
        by_gate = (a_i, a_o) if cell.coupled else (a_i, a_f, a_o)
        for values, jumps in (
            (np.concatenate(by_gate), jumps_of(cell.gate, cell.clip)),
            (a_g, jumps_of(cell.cell, cell.clip)),
            (f * part.c[:-1][counts] + i * g, jumps_of(cell.hidden, cell.cell_clip)),
        ):
            for jump in jumps:
                least = min(least, np.abs(values - jump).min(initial=np.inf))
    return least


def smooth_pass(seed, margin, **fixed):
    """A pass of a random cell that keeps away from where derivatives jump, by another seed if not.

    There a quotient of differences is no derivative, and two roundings may be on its two sides.
    """
    for again in count(seed, 1000):
        one = random_pass(again, cell=random_cell(again), **fixed)
        if distance_from_jumps(one.specified(one.case.model())) > margin:
            return one


def differences(array, loss, write=None, step=1e-5):
    """The derivative of the loss by every element of an array, which is put back."""
    numeric = np.zeros_like(array)
    for index in np.ndindex(array.shape):
        value = array[index]
        if np.isnan(value):  # padding, which the loss can't see
            continue
        moved = []
        for sign in (1, -1):
            array[index] = value + sign * step
            if write is not None:
                write(array)
            moved.append(loss())
        numeric[index] = (moved[0] - moved[1]) / (2 * step)
        array[index] = value
    return numeric


def assert_differences(one, model):
    """Check the gradients by differences of every element of x, the state and all parameters."""
    dy, (dh, dc) = np.nan_to_num(one.case.dy()), one.case.state(salt=6)
    inputs = {"x": one.case.x()}
    if one.with_state:
        inputs["state h"], inputs["state c"] = one.case.state()
    run = one.recorded if one.dropout or one.recurrent_dropout else one.call

    def loss():
        state = (inputs["state h"], inputs["state c"]) if one.with_state else None
        y, (h, c) = run(model, inputs["x"], state)
        return (y * dy).sum() + (h * dh).sum() + (c * dc).sum()

    def write(flat):
        with model.edit() as parameters:
            parameters.flat = flat

    gradients = one.gradients(model)
    for name, array in inputs.items():
        numeric = differences(array, loss)
        np.testing.assert_allclose(gradients[name], numeric, 1e-5, 1e-8, err_msg=f"{name} {one}")
    numeric = differences(model.parameters.flat.copy(), loss, write)
    analytic = np.concatenate([gradients[name].ravel() for name in model.parameters])
    np.testing.assert_allclose(analytic, numeric, 1e-5, 1e-8, err_msg=f"parameters {one}")
