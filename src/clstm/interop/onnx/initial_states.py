"""Lengths and initial states of an LSTM node: absent, constant, or given when the graph runs."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...layout import Array
from .evaluator import Evaluator, Quantised, Unknown, integers
from .sizes import Size, shown
from .sources import Cell, Constant, Input, Layered
from .views import View, size_of

STATES = ("initial_h", "initial_c")


def origin(value: Any) -> str:
    """Return where a value comes from, for messages."""
    if isinstance(value, Unknown):
        return value.cause
    if isinstance(value, (View, Quantised)):
        source = value.source if isinstance(value, View) else value.view.source
        if isinstance(source, Input):
            return f"the input {source.name!r}"
        if isinstance(source, Constant):
            return "a constant"
        if isinstance(source, Cell):
            return f"the last c of {source.lstm.name}"
        if isinstance(source, Layered):
            return source.name
    return "several nodes"


# ---- Shapes ----


def check_shapes(
    evaluator: Evaluator, inputs: dict[str, Any], weights: dict[str, Array], layout: int
) -> None:
    """Check all inputs but the weights against the sizes of W and R, whatever their values are."""
    parts, _, units = weights["R"].shape
    sequence = ("B", "T") if layout else ("T", "B")
    state: tuple[int | str, ...] = ("B", parts, units) if layout else (parts, "B", units)
    expected: dict[str, Sequence[int | str]] = {
        "X": (*sequence, weights["W"].shape[2]),
        "sequence_lens": ("B",),
        **dict.fromkeys(STATES, state),
    }
    letters: dict[str, int] = {}
    for role, sizes in expected.items():
        value = inputs.get(role)
        if isinstance(value, View):
            _check_shape(role, value.shape, sizes, letters)
        array = evaluator.constant(value) if role in STATES else None
        if array is not None and array.dtype.kind != "f":
            raise ValueError(f"{role} has elements of {array.dtype}, expected floats")


def _check_shape(
    role: str, shape: list[Size], expected: Sequence[int | str], letters: dict[str, int]
) -> None:
    """Raise ValueError for a shape that does not fit; a letter has the same size everywhere."""
    wanted = [letters.get(e, e) if isinstance(e, str) else e for e in expected]
    known = len(shape) == len(wanted) and all(
        size == want for size, want in zip(shape, wanted, strict=True) if isinstance(want, int)
        if isinstance(size, int)
    )  # fmt: skip
    if known:
        pairs = zip(expected, shape, strict=True)
        letters |= {e: n for e, n in pairs if isinstance(e, str) and isinstance(n, int)}
        return
    text = f"({', '.join(map(str, wanted))}{',' * (len(wanted) == 1)})"
    raise ValueError(f"{role} has shape {shown(shape)}, expected {text}")


# ---- Values ----


def read_states(
    evaluator: Evaluator, inputs: dict[str, Any], shape: tuple[int, int], layout: int
) -> tuple[dict[str, Array], dict[str, Any]]:
    """Return h0 and c0 if they are constants other than zero, and the inputs that are not."""
    known: dict[str, Array] = {}
    computed: dict[str, Any] = {}
    if (lengths := inputs.get("sequence_lens")) is not None:
        if not _is_constant(lengths):
            computed["sequence_lens"] = lengths
        elif not _all_steps(evaluator, lengths, inputs.get("X"), layout):
            raise ValueError("sequence_lens is a constant, and not the number of all steps")
    for role in STATES:
        if (value := inputs.get(role)) is None:
            continue
        if not _is_constant(value):
            computed[role] = value
        elif (rows := _constant_state(evaluator, role, value, layout)) is not None:
            known[role] = rows
    if not known:
        return {}, computed
    zeros = np.zeros(shape, np.float32)
    return dict(zip(("h0", "c0"), (known.get(r, zeros) for r in STATES), strict=True)), computed


def _is_constant(value: Any) -> bool:
    return isinstance(value, View) and isinstance(value.source, Constant)


def _all_steps(evaluator: Evaluator, lengths: View, x: Any, layout: int) -> bool:
    """Return whether constant lengths are the number of steps of x."""
    known = evaluator.distinct(lengths)
    if known is None or not isinstance(x, View) or len(x.axes) != 3:
        return False
    steps = size_of(x.axes[layout])
    return all(length == steps for length in integers(known))


def _constant_state(evaluator: Evaluator, role: str, value: View, layout: int) -> Array | None:
    """Return a constant state (D, H), the same for all rows; None if it is zero."""
    source: Array = value.source.value
    evaluator.graph.reserve(source.nbytes)  # many nodes may share it
    if source.dtype != object and not source.any():
        return None
    batch = 0 if layout else 1
    if all(digit.axis is None for digit in value.axes[batch]):  # repeated for all rows
        value = replace(value, axes=(*value.axes[:batch], (), *value.axes[batch + 1 :]))
    array = evaluator.constant(value)
    if array is None or array.dtype.kind != "f" or not array.size:
        raise ValueError(f"{role} is a constant whose size is unknown")
    rows = array.swapaxes(0, 1) if layout else array
    if (rows != rows[:, :1]).any():
        raise ValueError(f"{role} is a constant that differs between rows of the batch")
    return rows[:, 0] if rows.any() else None
