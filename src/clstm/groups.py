"""Groups of parameters, by patterns of their names, with settings of their own in an optimiser."""

import fnmatch
from collections.abc import Mapping
from typing import Any, NamedTuple

from .options import real_number
from .parameters import Table, listed

Groups = Mapping[str, Mapping[str, Any]] | None
Range = tuple[int, int, float, float]
"""The first element, the end, the step size and the weight decay of some parameters."""


class Part(NamedTuple):
    """Parameters of equal settings."""

    begin: int
    end: int
    lr_scale: float
    weight_decay: float | None  # None: the optimiser's


def cut(table: Table, size: int, groups: Groups) -> list[Part]:
    """Cut a model's flat array where the settings change; frozen parts are left out."""
    chosen = [(pattern, _read(pattern, own)) for pattern, own in (groups or {}).items()]
    names = [name for name, _, _ in table]
    for pattern, _ in chosen:
        if not fnmatch.filter(names, pattern):
            raise ValueError(f"groups[{pattern!r}] is no parameter's, there are: {listed(names)}")
    ends = [offset for _, _, offset in table[1:]] + [size]
    parts: list[Part] = []
    for (name, _, begin), end in zip(table, ends, strict=True):
        scale, decay = next((own for p, own in chosen if fnmatch.fnmatchcase(name, p)), (1.0, None))
        if scale is None:  # frozen
            continue
        if parts and parts[-1][1:] == (begin, scale, decay):
            parts[-1] = parts[-1]._replace(end=end)
        else:
            parts.append(Part(begin, end, scale, decay))
    return parts


def ranges(parts: list[Part], lr: float, weight_decay: float) -> list[Range]:
    """Return the parts with the settings of a step."""
    return [
        (begin, end, lr * scale, weight_decay if decay is None else decay)
        for begin, end, scale, decay in parts
    ]


def _read(pattern: str, settings: Any) -> tuple[float | None, float | None]:
    """Check a group; return its factor of lr, None if it is frozen, and its weight decay."""
    name = f"groups[{pattern!r}]"
    if not isinstance(settings, Mapping):
        raise TypeError(f"{name} must be a dict of settings, got {type(settings).__name__}")
    if unknown := settings.keys() - {"freeze", "lr_scale", "weight_decay"}:
        raise ValueError(
            f"{name} has no setting {min(unknown)!r}, expected freeze, lr_scale or weight_decay"
        )
    freeze = settings.get("freeze", False)
    if not isinstance(freeze, bool):
        raise TypeError(f"{name}['freeze'] must be True or False, got {freeze!r}")
    numbers = {}
    for key in ("lr_scale", "weight_decay"):
        if key in settings:
            numbers[key] = real_number(f"{name}[{key!r}]", settings[key])
            if not 0 <= numbers[key] < float("inf"):
                raise ValueError(
                    f"{name}[{key!r}] must be finite and at least 0, got {settings[key]}"
                )
    return None if freeze else numbers.get("lr_scale", 1.0), numbers.get("weight_decay")
