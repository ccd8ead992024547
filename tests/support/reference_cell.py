"""The specification's cell: activations by name, and one step of it, there and back.

A cell is any object with clstm.Cell's attributes: `peephole`, `coupled`, `clip`, `cell_clip`, and
the activations `gate`, `cell` and `hidden`, each with `name`, `alpha` and `beta`. With p_i, p_f,
p_o the peepholes, absent where there are none, * elementwise:

    i = gate(clip(a_i + p_i * c_{t-1}))
    f = gate(clip(a_f + p_f * c_{t-1})), or 1 - i if coupled
    g = cell(clip(a_g))
    c_t = cell_clip(f * c_{t-1} + i * g)
    o = gate(clip(a_o + p_o * c_t))

and o * hidden(c_t) is h_t, or what is projected to it. Whatever a NaN goes into is NaN.
"""

from types import SimpleNamespace

import numpy as np


def sigmoid(x):
    with np.errstate(over="ignore"):  # exp(-x) may become inf, and 1 / inf is the right answer
        return 1 / (1 + np.exp(-x))


def softsign(x):
    """x / (1 + |x|), and its limits, which the formula doesn't have."""
    return np.where(np.isinf(x), np.sign(x), x / (1 + np.abs(np.where(np.isinf(x), 0, x))))


# np.maximum, np.minimum and np.clip give NaN for NaN; a comparison with NaN is false.
ACTIVATIONS = {
    "sigmoid": lambda x, alpha, beta: sigmoid(x),
    "tanh": lambda x, alpha, beta: np.tanh(x),
    "relu": lambda x, alpha, beta: np.maximum(x, 0),
    "hard_sigmoid": lambda x, alpha, beta: np.clip(alpha * x + beta, 0, 1),
    "affine": lambda x, alpha, beta: alpha * x + beta,
    "leaky_relu": lambda x, alpha, beta: np.where(x >= 0, x, alpha * x),
    "thresholded_relu": lambda x, alpha, beta: np.where(x < alpha, 0, x),
    "scaled_tanh": lambda x, alpha, beta: alpha * np.tanh(beta * x),
    "elu": lambda x, alpha, beta: np.where(x >= 0, x, alpha * np.expm1(np.minimum(x, 0))),
    "softsign": lambda x, alpha, beta: softsign(x),
    "softplus": lambda x, alpha, beta: np.logaddexp(x, 0),
}
# The derivatives by the result y, of those that have one.
SLOPES = {
    "sigmoid": lambda y, alpha: y * (1 - y),
    "tanh": lambda y, alpha: 1 - y**2,
    "relu": lambda y, alpha: np.where(y > 0, 1, 0),
    "hard_sigmoid": lambda y, alpha: np.where((y > 0) & (y < 1), alpha, 0),
}

SIGMOID, TANH = (SimpleNamespace(name=n, alpha=None, beta=None) for n in ("sigmoid", "tanh"))
PLAIN = SimpleNamespace(
    peephole=False,
    coupled=False,
    clip=None,
    cell_clip=None,
    gate=SIGMOID,
    cell=TANH,
    hidden=TANH,
)


def clipped(x, bound):
    return x if bound is None else np.clip(x, -bound, bound)


def activated(activation, x, clip=None):
    result = ACTIVATIONS[activation.name](clipped(x, clip), activation.alpha, activation.beta)
    return result.astype(x.dtype, copy=False)


def slope(activation, y, clip=None):
    """The derivative where the result was y; zero where it was bounded."""
    result = SLOPES[activation.name](y, activation.alpha).astype(y.dtype, copy=False)
    if clip is None:
        return result
    ends = activated(activation, np.array([-clip, clip], y.dtype))
    return np.where((ends.min() < y) & (y < ends.max()) | np.isnan(y), result, 0)


def cell_forward(cell, sums, c, peepholes):
    """One step: from the gates' sums (B, 4H), c_{t-1} (B, H) and peepholes (3H,), if there are.

    Returns these sums with the peepholes' share, the gates (B, 4H), c_t, and o * hidden(c_t).
    """
    a_i, a_f, a_g, a_o = np.split(sums, 4, axis=-1)
    if cell.peephole:
        p_i, p_f, p_o = np.split(peepholes, 3)
        a_i, a_f = a_i + p_i * c, a_f + p_f * c
    i, g = activated(cell.gate, a_i, cell.clip), activated(cell.cell, a_g, cell.clip)
    f = 1 - i if cell.coupled else activated(cell.gate, a_f, cell.clip)
    c = clipped(f * c + i * g, cell.cell_clip)
    if cell.peephole:
        a_o = a_o + p_o * c
    o = activated(cell.gate, a_o, cell.clip)
    sums, gates = (np.concatenate(four, axis=-1) for four in ((a_i, a_f, a_g, a_o), (i, f, g, o)))
    return sums, gates, c, o * activated(cell.hidden, c)


def cell_backward(cell, gates, c_before, c, dm, dc, peepholes):
    """That step back: from the gradients dm of o * hidden(c_t), and dc of c_t by what came later.

    Returns the gradients of the sums (B, 4H), and of c_{t-1}.
    """
    i, f, g, o = np.split(gates, 4, axis=-1)
    p_i, p_f, p_o = np.split(peepholes, 3) if cell.peephole else (0, 0, 0)
    m = activated(cell.hidden, c)
    da_o = dm * m * slope(cell.gate, o, cell.clip)
    dc = dc + dm * o * slope(cell.hidden, m) + da_o * p_o
    if cell.cell_clip is not None:
        dc = np.where(np.abs(c) >= cell.cell_clip, 0, dc)
    di, df, dg = dc * g, dc * c_before, dc * i
    if cell.coupled:  # f = 1 - i
        di, df = di - df, np.zeros_like(df)
    da_i = di * slope(cell.gate, i, cell.clip)
    da_f = df * slope(cell.gate, f, cell.clip)
    da_g = dg * slope(cell.cell, g, cell.clip)
    return np.concatenate([da_i, da_f, da_g, da_o], axis=-1), dc * f + da_i * p_i + da_f * p_f
