"""The inputs of a graph beside x: initial states and lengths, as a call of a model takes them."""

from typing import Any

from .initial_states import STATES, origin
from .sources import Input, Layered
from .views import View


def check_inputs(root: Input, lstms: list[Layered]) -> None:
    """Check that states and lengths are inputs of the graph, each used once and in order.

    Raises ValueError, which names the LSTM node and the input.
    """
    _check_lengths(lstms)
    used: dict[tuple[str, str], list[tuple[int, int]]] = {}
    taken: set[tuple[str, int]] = set()
    for role in STATES:
        for lstm in lstms:
            if role not in lstm.given:
                continue
            name, first, count = _part(lstm, role, root)
            parts = used.setdefault((role, name), [])
            if parts and first < parts[-1][0] + parts[-1][1]:
                raise ValueError(
                    f"{role} of {lstm.name} is part {first} of {name!r}, which other layers take "
                    "in another order"
                )
            parts.append((first, count))
            places = {(name, first + k) for k in range(count)}
            if places & taken:
                raise ValueError(f"{role} of {lstm.name} is a part of {name!r} that is used twice")
            taken |= places


def _check_lengths(lstms: list[Layered]) -> None:
    """All LSTMs have the lengths of one input, or none has any."""
    given = [lstm.given.get("sequence_lens") for lstm in lstms]
    if all(value is None for value in given):
        return
    for lstm, value in zip(lstms, given, strict=True):
        if value is None:
            raise ValueError(f"{lstm.name} has no sequence_lens, and another LSTM has")
        first: Any = given[0]
        fits = isinstance(value, View) and isinstance(value.source, Input)
        if not fits or value.source is not first.source or value.axes != first.axes or value.at:
            raise ValueError(f"sequence_lens of {lstm.name} comes from {origin(value)}")


def _part(lstm: Layered, role: str, root: Input) -> tuple[str, int, int]:
    """Return the input that a state comes from, and which of its parts it is."""
    value: Any = lstm.given[role]
    wrong = f"{role} of {lstm.name} comes from {origin(value)}"
    if not isinstance(value, View) or not isinstance(value.source, Input) or value.source is root:
        raise ValueError(wrong)
    axes = value.axes if not lstm.layer.batch_first else [value.axes[k] for k in (1, 0, 2)]
    parts, *rest = axes
    free = dict(value.source.sizes)
    for digits in rest:
        if len(digits) > 1 or any(d.axis is None or d.stride != 1 for d in digits):
            raise ValueError(f"{wrong}, whose axes are joined otherwise")
        for digit in digits:
            if digit.size != free.pop(str(digit.axis), None) or value.at.get(str(digit.axis), 0):
                raise ValueError(f"{wrong}, of which it is a part")
    if len(parts) > 1 or any(d.axis not in free or d.stride != 1 for d in parts):
        raise ValueError(f"{wrong}, whose parts are in another order")
    name = next((d.axis for d in parts), next((n for n, size in free.items() if size != 1), None))
    if any(size != 1 for n, size in free.items() if n != name):
        raise ValueError(f"{wrong}, which has further axes")
    first = value.at.get(name, 0) if name is not None else 0
    count = parts[0].size if parts else 1
    if not isinstance(first, int) or not isinstance(count, int):
        raise ValueError(f"{wrong}, of an unknown part")
    return value.source.name, first, count
