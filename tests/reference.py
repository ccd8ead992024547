"""The specification: an LSTM in NumPy, written from the equations to be read, not to be fast.

A model is a dict of arrays: `weight_ih_l{k}` (4H, I), `weight_hh_l{k}` (4H, H), `bias_l{k}` (4H,)
of every layer k, then `weight_out` (O, H) and `bias_out` (O,) of the readout. What is absent (a
bias, the readout) the model doesn't have. The 4H rows are the blocks of the gates i, f, g, o.

x is (T, B, I), the initial state (h0, c0) a pair of (L, B, H); y is (T, B, O), or (T, B, H)
without a readout. Everything is computed in `dtype`, whatever the inputs have.
"""

from typing import NamedTuple

import numpy as np

GATES = ("input", "forget", "cell", "output")


class LayerTape(NamedTuple):
    x: np.ndarray  # (T, B, I)
    gates: np.ndarray  # (T, B, 4H), after their activations
    h: np.ndarray  # (T + 1, B, H), slot 0 is the initial state
    c: np.ndarray  # (T + 1, B, H), likewise


class Tape(NamedTuple):
    y: np.ndarray  # (T, B, O)
    hidden: np.ndarray  # (T, B, H): what the last layer gives to the readout
    state: tuple[np.ndarray, np.ndarray]  # h and c after the last step, (L, B, H) each
    gates: dict[str, np.ndarray]  # (T, B, L, H) each, by the names in GATES
    cells: np.ndarray  # (T, B, L, H)
    layers: list[LayerTape]


class Gradients(NamedTuple):
    x: np.ndarray  # (T, B, I)
    state: tuple[np.ndarray, np.ndarray]  # of h0 and c0
    parameters: dict[str, np.ndarray]


def sigmoid(a):
    with np.errstate(over="ignore"):  # exp(-a) may become inf, and 1 / inf is the right answer
        return 1 / (1 + np.exp(-a))


def sum_of_outer(a, b):
    """(T, B, M) and (T, B, N) to (M, N), over all steps and rows: a weight matrix's gradient."""
    return np.tensordot(a, b, axes=((0, 1), (0, 1)))


def layer_forward(w, r, b, x, h0, c0):
    """Run one layer: w = weight_ih, r = weight_hh, b = bias."""
    h = np.stack([h0] * (len(x) + 1))
    c = np.stack([c0] * (len(x) + 1))
    gates = np.empty((*x.shape[:2], len(w)), x.dtype)
    for t in range(len(x)):
        i, f, g, o = np.split(x[t] @ w.T + h[t] @ r.T + b, 4, axis=-1)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        c[t + 1] = f * c[t] + i * g
        h[t + 1] = o * np.tanh(c[t + 1])
        gates[t] = np.concatenate([i, f, g, o], axis=-1)
    return LayerTape(x, gates, h, c)


def layer_backward(w, r, tape, dh_above, dh, dc):
    """Go back through one layer: dh_above (T, B, H) comes from above it, dh and dc from its end."""
    x, gates, h, c = tape
    da = np.empty_like(gates)  # of the gates before their activations
    for t in reversed(range(len(x))):
        i, f, g, o = np.split(gates[t], 4, axis=-1)
        tanh_c = np.tanh(c[t + 1])
        dh = dh + dh_above[t]
        dc = dc + dh * o * (1 - tanh_c**2)
        di, df, dg, do = dc * g, dc * c[t], dc * i, dh * tanh_c
        by_gate = di * i * (1 - i), df * f * (1 - f), dg * (1 - g**2), do * o * (1 - o)
        da[t] = np.concatenate(by_gate, axis=-1)
        dh, dc = da[t] @ r, dc * f
    return da @ w, dh, dc, sum_of_outer(da, x), sum_of_outer(da, h[:-1]), da.sum((0, 1))


def forward(parameters, x, state=None, dtype=np.float64):
    """Run the model over x from `state` (zeros if None); the Tape holds y and what led to it."""
    p = {name: np.asarray(value, dtype) for name, value in parameters.items()}
    num_layers = sum(name.startswith("weight_ih_l") for name in p)
    signal = np.asarray(x, dtype)
    zeros = np.zeros((num_layers, signal.shape[1], p["weight_hh_l0"].shape[1]))
    h0, c0 = (np.asarray(s, dtype) for s in ((zeros, zeros) if state is None else state))
    layers = []
    for k in range(num_layers):
        w, r, b = p[f"weight_ih_l{k}"], p[f"weight_hh_l{k}"], p.get(f"bias_l{k}", 0)
        layers.append(layer_forward(w, r, b, signal, h0[k], c0[k]))
        signal = layers[k].h[1:]
    y = signal @ p["weight_out"].T + p.get("bias_out", 0) if "weight_out" in p else signal
    by_gate = np.split(np.stack([layer.gates for layer in layers], axis=2), 4, axis=-1)
    cells = np.stack([layer.c[1:] for layer in layers], axis=2)
    h_end = np.stack([layer.h[-1] for layer in layers])
    c_end = np.stack([layer.c[-1] for layer in layers])
    gates = dict(zip(GATES, by_gate, strict=True))
    return Tape(y, signal, (h_end, c_end), gates, cells, layers)


def backward(parameters, tape, dy, dstate=None):
    """Backpropagation through time: the gradients of sum(dy * y) + sum(dh * h_T) + sum(dc * c_T).

    dy has y's shape, dstate = (dh, dc) the state's (zeros if None). The dtype is the tape's.
    """
    dtype = tape.y.dtype
    p = {name: np.asarray(value, dtype) for name, value in parameters.items()}
    signal, grad = np.asarray(dy, dtype), {}
    if "weight_out" in p:
        grad["weight_out"] = sum_of_outer(signal, tape.hidden)
        grad["bias_out"] = signal.sum((0, 1))
        signal = signal @ p["weight_out"]
    dstate = np.zeros_like(tape.state) if dstate is None else dstate
    dh, dc = (np.array(d, dtype) for d in dstate)
    for k in reversed(range(len(tape.layers))):
        w, r, layer = p[f"weight_ih_l{k}"], p[f"weight_hh_l{k}"], tape.layers[k]
        signal, dh[k], dc[k], dw, dr, db = layer_backward(w, r, layer, signal, dh[k], dc[k])
        grad |= {f"weight_ih_l{k}": dw, f"weight_hh_l{k}": dr, f"bias_l{k}": db}
    return Gradients(signal, (dh, dc), {name: grad[name] for name in parameters})
