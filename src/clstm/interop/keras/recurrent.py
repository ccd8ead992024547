"""Keras's recurrent layers as LSTMs and what follows them: the last step, a reversal, a merge.

An LSTM layer, an RNN of LSTMCells, one or several, and a Bidirectional of either are the same here:
some cells for each of one or two directions.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...cell import Activation, Cell
from ...configuration import Configuration
from ...layers import Dense, Last, Product, Reverse
from ...layout import Array
from ...lstm import LSTM
from .specs import LayerSpec

LSTM_ACTIVATIONS = {
    "sigmoid": Activation("sigmoid"),
    "tanh": Activation("tanh"),
    "relu": Activation("relu"),
    "hard_sigmoid": Activation("hard_sigmoid", 1 / 6, 0.5),
    "linear": Activation("affine", 1.0, 0.0),
    "leaky_relu": Activation("leaky_relu", 0.2),
    "elu": Activation("elu"),
    "softsign": Activation("softsign"),
    "softplus": Activation("softplus"),
}
"""The activations that both Keras 3's LSTM and `Cell` have, by Keras's names."""
_OF_KERAS_2 = LSTM_ACTIVATIONS | {"hard_sigmoid": Activation("hard_sigmoid", 0.2, 0.5)}

KINDS = ("LSTM", "RNN", "Bidirectional")
_MERGES = ("concat", "sum", "ave", "mul")


@dataclass(frozen=True)
class Recurrent:
    """A recurrent layer: its LSTMs in order, and what the next layer takes of their result.

    Attributes
    ----------
    lstms : list of LSTM
    after : list of layers
        `Last`, `Reverse`, and a `Dense` or `Product` that merges the directions.
    width : int
        Number of features.
    has_steps : bool
        Whether there is a result at every step.
    zero_masked : bool
        Whether y is zero at masked steps.
    """

    lstms: list[LSTM]
    after: list[Any]
    width: int
    has_steps: bool
    zero_masked: bool


@dataclass(frozen=True)
class _Direction:
    """The cells of one direction, and how they are called."""

    spec: LayerSpec
    options: list[dict[str, Any]]  # of the Configuration of each cell, but for input_size
    arrays: list[list[Array]]  # kernel, recurrent kernel, and a bias if there is one
    backwards: bool
    sequences: bool
    has_states: bool
    zero_masked: bool


def parts_of(spec: LayerSpec) -> list[tuple[str, tuple[str, ...]]]:
    """Return the parts of a layer that have weights, and the names by which files tell them apart.

    A name of a direction stands for all names that begin with it. Keras prefixes those of a
    Bidirectional's layers so, but in Keras 3 a backward layer that it is given keeps its name.
    """
    if spec.kind == "LSTM":
        return [("cell", ())]
    if spec.kind == "RNN":
        cells = _cells(spec)
        names = [(cell.name,) if len(cells) > 1 else () for cell, _ in cells]
        return [(part, name) for (_, part), name in zip(cells, names, strict=True)]
    if spec.kind == "Bidirectional":
        forward, back = _both(spec)
        known = "backward"
        if spec.version == 3 and not back.name.startswith(known):
            known = back.name
        return [
            (f"{end}_layer/{part}", (name, *names))
            for end, name, layer in (("forward", "forward", forward), ("backward", known, back))
            for part, names in parts_of(layer)
        ]
    part = {"Dense": "", "Embedding": "", "TimeDistributed": "layer"}.get(spec.kind)
    return [] if part is None else [(part, ())]


def read(spec: LayerSpec, width: int) -> Recurrent:
    """Return a layer with `width` input features; 0 allows any number."""
    if spec.kind == "Bidirectional":
        return _read_both(spec, width)
    one = _direction(spec, "", width)
    states = {1: "h", 2: "c"} if one.has_states and len(one.options) == 1 else {}
    if spec.merged or len(spec.outputs) != 1 or spec.outputs[0] not in (0, *states):
        raise ValueError(_other_output(spec))
    if states.get(spec.outputs[0]) == "c":
        raise ValueError(f"{spec.place}: the next layer takes its cell state, not its output")
    steps = one.sequences and spec.outputs == (0,)
    direction = "reverse" if one.backwards else "forward"
    lstms = [
        _lstm(options, _named([arrays], [direction]), direction)
        for options, arrays in zip(one.options, one.arrays, strict=True)
    ]
    after = ([Reverse()] if one.backwards else []) if steps else [Last(ends=one.backwards)]
    zeroes = one.zero_masked and spec.outputs == (0,)  # not of a final state
    return Recurrent(lstms, after, lstms[-1].hidden_size, steps, zeroes)


def _read_both(spec: LayerSpec, width: int) -> Recurrent:
    one, back = (
        _direction(layer, f"{end}_layer/", width)
        for layer, end in zip(_both(spec), ("forward", "backward"), strict=True)
    )
    if (one.backwards, back.backwards) != (False, True):
        raise ValueError(f"{spec.place}: go_backwards of its layers is not False and True")
    if (one.options, one.sequences, one.has_states) != (
        *(back.options, back.sequences, back.has_states),
    ) or [a.shape for a in one.arrays[0]] != [a.shape for a in back.arrays[0]]:
        raise ValueError(f"{spec.place}: its two layers differ in more than go_backwards")
    mode, steps = _merge(spec, one)
    lstms = []
    for k, options in enumerate(one.options):
        pair = [one.arrays[k], back.arrays[k]]
        if k:  # each direction of a stack reads its own direction below, not both
            pair = [_beside(pair[0], first=True), _beside(pair[1], first=False)]
        lstms.append(_lstm(options, _named(pair, ["forward", "reverse"]), "both"))
    size, dtype = lstms[-1].hidden_size, lstms[-1].dtype
    after: list[Any] = [] if steps else [Last(ends=True)]
    if mode == "mul":
        after.append(Product())
    elif mode != "concat":
        one_of_both = np.eye(size, dtype=dtype) / (2 if mode == "ave" else 1)
        after.append(Dense(np.concatenate([one_of_both, one_of_both], axis=1)))
    return Recurrent(lstms, after, 2 * size if mode == "concat" else size, steps, steps)


def _merge(spec: LayerSpec, one: _Direction) -> tuple[str, bool]:
    """Return how both directions are merged, and whether at every step."""
    mode = spec.config.get("merge_mode", "concat")
    if mode is not None and mode not in _MERGES:
        raise ValueError(
            f"{spec.place}: merge_mode={mode!r} is not supported, only 'concat', 'sum', 'ave', "
            "'mul' and, with a Concatenate, Add, Average or Multiply behind it, None"
        )
    if mode is not None and spec.outputs == (0,) and spec.merged is None:
        return str(mode), one.sequences
    first = 1 if mode is not None else 2  # of the states: h, c forward, h, c backward
    if spec.merged in _MERGES:
        if mode is None and spec.outputs == (0, 1):
            return spec.merged, one.sequences
        stateful = one.has_states and len(one.options) == 1
        if stateful and spec.outputs == (first, first + 2):
            return spec.merged, False
    raise ValueError(_other_output(spec))


def _other_output(spec: LayerSpec) -> str:
    return (
        f"{spec.place}: the next layer takes the results {list(spec.outputs)} of {spec.kind}; only "
        "its output, its final h, and those of both directions in this order, joined, are supported"
    )


def _both(spec: LayerSpec) -> list[LayerSpec]:
    """Return the layers of a Bidirectional; Keras 2 writes only a backward one of the user's."""
    forward = spec.inner("layer")
    if spec.version == 2 and spec.config.get("backward_layer") is None:
        turned = dict(forward.config, go_backwards=not forward.flag("go_backwards", False))
        back = LayerSpec(forward.place, forward.kind, turned, spec.weights, spec.version)
    else:
        back = spec.inner("backward_layer")
    for layer in (forward, back):
        if layer.kind not in ("LSTM", "RNN"):
            raise ValueError(f"{layer.place}: Bidirectional of {layer.kind} is not supported")
    return [forward, back]


def _cells(spec: LayerSpec) -> list[tuple[LayerSpec, str]]:
    """Return the cells of a layer in order, each with the name of its part."""
    if spec.kind == "LSTM":
        return [(spec, "cell")]
    cell = spec.inner("cell")
    if cell.kind != "StackedRNNCells":
        cells = [(cell, "cell")]
    else:
        inner = cell.inner_list("cells")
        names = ["lstm_cell", *(f"lstm_cell_{k}" for k in range(1, len(inner)))]
        cells = [(one, f"cell/cells/{name}") for one, name in zip(inner, names, strict=True)]
    for one, _ in cells:
        if one.kind != "LSTMCell":
            raise ValueError(f"{one.place}: an RNN of {one.kind} is not supported")
    return cells


def _direction(spec: LayerSpec, prefix: str, width: int) -> _Direction:
    spec.only("time_major", False)
    options, arrays = [], []
    for cell, part in _cells(spec):
        options.append(_options(cell))
        arrays.append(_arrays(cell, prefix + part, width))
        width = options[-1]["hidden_size"]
    return _Direction(
        spec,
        options,
        arrays,
        spec.flag("go_backwards", False),
        spec.flag("return_sequences", False),
        spec.flag("return_state", False),
        spec.flag("zero_output_for_mask", False),
    )


def _options(cell: LayerSpec) -> dict[str, Any]:
    activation = _activation(cell, "activation", "tanh")
    gate = _activation(cell, "recurrent_activation", "sigmoid")
    return {
        "hidden_size": cell.size("units"),
        "bias": cell.flag("use_bias", True),
        "cell": Cell(gate=gate, cell=activation, hidden=activation),
        "dtype": cell.dtype(),
    }


def _arrays(cell: LayerSpec, part: str, width: int) -> list[Array]:
    units = cell.size("units")
    shapes: dict[str, tuple[int, ...]] = {
        "kernel": (width, 4 * units),
        "recurrent_kernel": (units, 4 * units),
    }
    bias = {"bias": (4 * units,)} if cell.flag("use_bias", True) else {}
    return cell.arrays(part, **shapes | bias)


def _activation(spec: LayerSpec, key: str, default: str) -> Activation:
    name = spec.config.get(key, default)
    known = _OF_KERAS_2 if spec.version == 2 else LSTM_ACTIVATIONS
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"{spec.place}: {key}={name!r} is not supported in an LSTM")
    return known[name]


def _lstm(options: dict[str, Any], state: dict[str, Array], direction: str) -> LSTM:
    both = {"bidirectional": True} if direction == "both" else {"direction": direction}
    inputs = next(iter(state.values())).shape[1]
    config = Configuration(**options, **both, input_size=inputs, batch_first=True)
    return LSTM.from_state(config, state)


def _named(directions: list[list[Array]], names: list[str]) -> dict[str, Array]:
    """Return the parameters by our names; Keras's order of gates, i, f, c, o, is ours."""
    state = {}
    for arrays, name in zip(directions, names, strict=True):
        suffix = "_reverse" if name == "reverse" else ""
        for kind, array in zip(("weight_ih", "weight_hh", "bias"), arrays, strict=False):
            state[f"{kind}_l0{suffix}"] = array.T
    return state


def _beside(arrays: list[Array], first: bool) -> list[Array]:
    """Return arrays whose kernel takes both directions, of which one has weights of zero."""
    kernel, nothing = arrays[0], np.zeros_like(arrays[0])
    pair = [kernel, nothing] if first else [nothing, kernel]
    return [np.concatenate(pair), *arrays[1:]]
