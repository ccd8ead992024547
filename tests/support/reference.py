"""The specification: an LSTM in NumPy, written from the equations to be read, not to be fast.

A model is a dict of arrays. Every part of it, one direction of one layer, has `weight_ih_{part}`
(4H, I), `weight_hh_{part}` (4H, R), `bias_{part}` (4H,), with a projection `weight_hr_{part}`
(R, H), else R = H, and with peepholes `weight_peephole_{part}` (3H,). Parts are named `l{k}`, or
`l{k}_reverse` where they run from the last step to the first; a layer of both has D = 2 directions,
and its h is both of theirs side by side. Then come `weight_out` (O, D R) and `bias_out` (O,) of the
readout, and `h0` (L D, R) and `c0` (L D, H), the initial state. What is absent the model doesn't
have. 4H rows are the gates i, f, g, o, and 3H the peepholes of i, f, o.

x is (T, B, I), the state a pair of (L D, B, R) and (L D, B, H), y is (T, B, O), or (T, B, D R)
without a readout. Row b has lengths[b] <= T steps; what x holds after them counts for nothing, and
results are zero there. Everything is computed in `dtype`, whatever the inputs have. One step of
the cell, in all its variants, is reference_cell.py.
"""

from typing import NamedTuple

import numpy as np

from tests.support.reference_cell import PLAIN, activated, cell_backward, cell_forward

GATES = ("input", "forget", "cell", "output")


class PartTape(NamedTuple):
    """One direction of one layer. Steps are in the order in which it takes them."""

    x: np.ndarray  # (T, B, I)
    sums: np.ndarray  # (T, B, 4H), of the gates before their activations
    gates: np.ndarray  # (T, B, 4H), after their activations; zero after a row's end
    h: np.ndarray  # (T + 1, B, R), slot 0 is the initial state; after a row's end its last one
    c: np.ndarray  # (T + 1, B, H), likewise


class Tape(NamedTuple):
    y: np.ndarray  # (T, B, O)
    hidden: np.ndarray  # (T, B, D R): what the last layer gives to the readout
    state: tuple[np.ndarray, np.ndarray]  # h and c after each row's last step, as the initial ones
    gates: dict[str, np.ndarray]  # (T, B, L D, H) each, by the names in GATES
    cells: np.ndarray  # (T, B, L D, H)
    parts: list[PartTape]
    lengths: np.ndarray  # (B,)
    dropout: np.ndarray  # (L - 1, T, B, D R): factors of a layer's h on its way to the next one
    recurrent_dropout: np.ndarray  # (L D, B, R): factors of the h that the next step's gates see
    learned: bool  # whether the initial state was the model's own
    cell: object  # as in reference_cell.py


class Gradients(NamedTuple):
    x: np.ndarray  # (T, B, I)
    state: tuple[np.ndarray, np.ndarray]  # gradients of each row's initial h and c
    parameters: dict[str, np.ndarray]


def sum_of_outer(a, b):
    """(T, B, M) and (T, B, N) to (M, N), over all steps and rows: a weight matrix's gradient."""
    return np.tensordot(a, b, axes=((0, 1), (0, 1)))


def names_of_parts(parameters):
    """`l0`, `l0_reverse`, `l1`, ..., and how many directions a layer has."""
    names = [name.removeprefix("weight_ih_") for name in parameters if "weight_ih_" in name]
    return names, 2 if {"l0", "l0_reverse"} <= set(names) else 1


def layers_of(names, directions):
    """For each layer the numbers and names of its parts."""
    parts = list(enumerate(names))
    return [parts[q : q + directions] for q in range(0, len(parts), directions)]


def steps_that_count(steps, lengths):
    """(T, B, 1): whether row b has a step t."""
    return (np.arange(steps)[:, np.newaxis] < lengths)[:, :, np.newaxis]


def turned(a, lengths, name):
    """Put the steps of (T, B, .) into the order in which a part takes them, or back again."""
    if not name.endswith("_reverse"):
        return a
    result = np.zeros_like(a)
    for b, length in enumerate(lengths):
        result[:length, b] = a[:length, b][::-1]
    return result


def part_forward(p, name, x, counts, h0, c0, mask, cell):
    """Run one direction of one layer over x (T, B, I), in its own order of steps."""
    w, r, b = p[f"weight_ih_{name}"], p[f"weight_hh_{name}"], p.get(f"bias_{name}", 0)
    peepholes = p.get(f"weight_peephole_{name}")
    h, c = np.stack([h0] * (len(x) + 1)), np.stack([c0] * (len(x) + 1))
    sums, gates = (np.zeros((*x.shape[:2], len(w)), x.dtype) for _ in range(2))
    for t in range(len(x)):
        a = x[t] @ w.T + (h[t] * mask) @ r.T + b
        sums[t], gates_t, c_t, h_t = cell_forward(cell, a, c[t], peepholes)
        if f"weight_hr_{name}" in p:
            h_t = h_t @ p[f"weight_hr_{name}"].T
        c[t + 1] = np.where(counts[t], c_t, c[t])
        h[t + 1] = np.where(counts[t], h_t, h[t])
        gates[t] = np.where(counts[t], gates_t, 0)
    return PartTape(x, sums, gates, h, c)


def part_backward(p, name, tape, counts, dh_above, dh, dc, mask, cell):
    """Go back through one part: dh_above (T, B, R) comes from above it, dh and dc from its end."""
    (x, _, gates, h, c), grad = tape, {}
    w, r, project, peepholes = (
        p.get(f"weight_{kind}_{name}") for kind in ("ih", "hh", "hr", "peephole")
    )
    da = np.zeros_like(gates)  # gradients of the pre-activations
    if project is not None:
        grad[f"weight_hr_{name}"] = np.zeros_like(project)
    for t in reversed(range(len(x))):
        dm = dh_t = np.where(counts[t], dh + dh_above[t], 0)
        if project is not None:
            m = np.split(gates[t], 4, axis=-1)[3] * activated(cell.hidden, c[t + 1])
            grad[f"weight_hr_{name}"] += dh_t.T @ m
            dm = dh_t @ project
        da_t, dc_t = cell_backward(cell, gates[t], c[t], c[t + 1], dm, dc, peepholes)
        da[t] = np.where(counts[t], da_t, 0)
        dh, dc = np.where(counts[t], da[t] @ r * mask, dh), np.where(counts[t], dc_t, dc)
    grad[f"weight_ih_{name}"] = sum_of_outer(da, x)
    grad[f"weight_hh_{name}"] = sum_of_outer(da, h[:-1] * mask)
    grad[f"bias_{name}"] = da.sum((0, 1))
    if cell.peephole:
        i, f, _, o = np.split(da, 4, axis=-1)
        of_each = [i * c[:-1], f * c[:-1], o * c[1:]]
        grad[f"weight_peephole_{name}"] = np.concatenate(of_each, axis=-1).sum((0, 1))
    return da @ w, dh, dc, grad


def initial_state(p, state, names, batch, dtype):
    """The state given, or else the model's own, the same for every row, or else zeros."""
    if state is not None:
        return [np.asarray(s, dtype) for s in state]
    if "h0" in p:
        return [np.repeat(p[name][:, np.newaxis], batch, axis=1) for name in ("h0", "c0")]
    columns = p[f"weight_hh_{names[0]}"].shape[1], p[f"weight_hh_{names[0]}"].shape[0] // 4
    return [np.zeros((len(names), batch, n), dtype) for n in columns]


def forward(
    parameters,
    x,
    state=None,
    dtype=np.float64,
    lengths=None,
    dropout=1,
    recurrent_dropout=1,
    cell=None,
):
    """Run the model over x from `state`; the Tape holds y and what led to it."""
    cell = cell or PLAIN
    p = {name: np.asarray(value, dtype) for name, value in parameters.items()}
    names, directions = names_of_parts(p)
    x = np.asarray(x, dtype)
    steps, batch = x.shape[:2]
    lengths = np.full(batch, steps if lengths is None else lengths)
    counts = steps_that_count(steps, lengths)
    h0, c0 = initial_state(p, state, names, batch, dtype)
    dropout = np.broadcast_to(
        np.asarray(dropout, dtype),
        (len(names) // directions - 1, steps, batch, directions * h0.shape[-1]),
    )
    recurrent_dropout = np.broadcast_to(np.asarray(recurrent_dropout, dtype), h0.shape)

    signal, parts = np.where(counts, x, 0), []
    for k, layer in enumerate(layers_of(names, directions)):
        outputs = []
        for q, name in layer:
            own, mask = turned(signal, lengths, name), recurrent_dropout[q]
            parts.append(part_forward(p, name, own, counts, h0[q], c0[q], mask, cell))
            outputs.append(turned(np.where(counts, parts[q].h[1:], 0), lengths, name))
        hidden = np.concatenate(outputs, axis=-1)
        signal = hidden * dropout[k] if k < len(dropout) else hidden
    y = hidden
    if "weight_out" in p:
        y = np.where(counts, hidden @ p["weight_out"].T + p.get("bias_out", 0), 0)

    def of_all_parts(arrays):
        pairs = zip(arrays, names, strict=True)
        return np.stack([turned(np.where(counts, a, 0), lengths, n) for a, n in pairs], axis=2)

    by_gate = np.split(of_all_parts([part.gates for part in parts]), 4, axis=-1)
    return Tape(
        y=y,
        hidden=hidden,
        state=(np.stack([part.h[-1] for part in parts]), np.stack([part.c[-1] for part in parts])),
        gates=dict(zip(GATES, by_gate, strict=True)),
        cells=of_all_parts([part.c[1:] for part in parts]),
        parts=parts,
        lengths=lengths,
        dropout=dropout,
        recurrent_dropout=recurrent_dropout,
        learned="h0" in p and state is None,
        cell=cell,
    )


def backward(parameters, tape, dy, dstate=None):
    """Backpropagation through time: the gradients of sum(dy * y) + sum(dh * h) + sum(dc * c).

    dy has y's shape, dstate = (dh, dc) the final state's (zeros if None). The dtype is the tape's.
    """
    dtype, lengths = tape.y.dtype, tape.lengths
    p = {name: np.asarray(value, dtype) for name, value in parameters.items()}
    names, directions = names_of_parts(p)
    counts = steps_that_count(len(tape.y), lengths)
    signal, grad = np.where(counts, np.asarray(dy, dtype), 0), {}
    if "weight_out" in p:
        grad["weight_out"] = sum_of_outer(signal, tape.hidden)
        grad["bias_out"] = signal.sum((0, 1))
        signal = signal @ p["weight_out"]
    dh, dc = (
        np.zeros_like(s) if dstate is None else np.array(d, dtype)
        for s, d in zip(tape.state, dstate or tape.state, strict=True)
    )
    for k, layer in reversed(list(enumerate(layers_of(names, directions)))):
        dh_of_layer = signal * tape.dropout[k] if k < len(tape.dropout) else signal
        outputs, signal = np.split(dh_of_layer, directions, axis=-1), 0
        for (q, name), output in zip(layer, outputs, strict=True):
            own, mask = turned(output, lengths, name), tape.recurrent_dropout[q]
            dx, dh[q], dc[q], of_part = part_backward(
                p, name, tape.parts[q], counts, own, dh[q], dc[q], mask, tape.cell
            )
            signal = signal + turned(dx, lengths, name)
            grad |= of_part
    for name, of_rows in (("h0", dh), ("c0", dc)):
        grad[name] = of_rows.sum(1) * tape.learned
    return Gradients(signal, (dh, dc), {name: grad[name] for name in parameters})
