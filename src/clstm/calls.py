"""Checks and conversions of a call's arguments, which the fast path of small calls skips."""

from typing import Any, NamedTuple

import numpy as np

from .configuration import Configuration
from .layout import (
    Array,
    Initial,
    Layout,
    as_array,
    as_pair,
    check_out,
    read_sequence,
    read_state,
)
from .lengths import Ragged, as_arrays, pack, read_lengths, read_list


class Call(NamedTuple):
    """x and state of a call in the model's dtype, and the layout of their rows."""

    x: Array  # in the user's order of axes; (sum T_i, I) for a list
    state: Initial | None
    layout: Layout | Ragged


def read_call(
    config: Configuration, x: Any, state: Any, lengths: Array | None, out: Any = None
) -> Call:
    """Convert and check a call's arguments; `lengths` is a result of `as_lengths`."""
    if isinstance(x, list):
        return _read_ragged(config, x, state, lengths, out)
    source, pair = as_array(x, "x"), as_pair(state, "state")
    array, layout = read_sequence(
        source, "x", config.input_size, "input_size", config.dtype, config.batch_first
    )
    steps, batch = layout.to_core(array).shape[:2]
    if lengths is not None:
        if not layout.batched:
            raise ValueError(f"lengths must be None without a batch, x has shape {array.shape}")
        layout = Layout(True, layout.batch_first, read_lengths(lengths, steps, batch))
    initial = read_initial(config, pair, batch, layout.batched)
    if out is not None:
        inputs = {"x": [source], "state": pair or ()}
        check_out(out, (*array.shape[:-1], config.output_width), config.dtype, inputs)
    return Call(array, initial, layout)


def lengths_of(config: Configuration, x: Array, lengths: Array) -> Array:
    """Check the lengths of a batch x that needs no conversion."""
    first, second, _ = x.shape
    steps, batch = (second, first) if config.batch_first else (first, second)
    return read_lengths(lengths, steps, batch)


def _read_ragged(config: Configuration, x: list[Any], state: Any, lengths: Any, out: Any) -> Call:
    """Check and convert the arguments of a call with a list of sequences."""
    for name, value in (("lengths", lengths), ("out", out)):
        if value is not None:
            raise ValueError(f"{name} must be None if x is a list of sequences")
    sources, pair = as_arrays(x, "x"), as_pair(state, "state")
    arrays = read_list(sources, "x", config.input_size, "input_size", config.dtype)
    layout = Ragged(np.array([len(array) for array in arrays], np.uintp))
    initial = read_initial(config, pair, len(arrays), True)
    return Call(pack(arrays, config.input_size, config.dtype), initial, layout)


def read_initial(
    config: Configuration,
    state: tuple[Array, Array] | None,
    batch: int,
    batched: bool,
    name: str = "state",
) -> Initial | None:
    """Check a state, a result of `as_pair`; return it as (L D, B, R), (L D, B, H)."""
    if state is None:
        return None
    sizes = (config.num_parts, batch, config.state_size, config.hidden_size)
    return read_state(state, name, sizes, config.dtype, batched)
