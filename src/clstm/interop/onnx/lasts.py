"""The last step of a sequence: a view of one place in time, as a view of what a `Last` gives."""

from collections.abc import Sequence

from ...layers import Last
from ...lstm import LSTM
from .places import Listed
from .sizes import Undecided
from .sources import FEATURES, Layered, chain_of, lstms_of
from .views import View, unstacked


def settled(view: View) -> View:
    """Return a view of all steps or of the last one; Undecided for another step."""
    view = unstacked(view)
    if isinstance(view.source, Listed):
        raise Undecided("it takes elements in an order that no layer has")
    if (time := _only_step(view)) is None:
        return view
    source: Layered = view.source
    if _end_of_direction(view) is not None and view.at.get(time, 0) == 0:
        return _moved(view, time, ends=True)
    if view.at.get(time, 0) != source.sizes[time] - 1:
        raise Undecided("it takes a step of the sequence, and not the last one")
    if any("sequence_lens" in lstm.given for lstm in lstms_of(chain_of(source))):
        raise Undecided("it takes the last step of rows that have lengths")
    return _moved(view, time, ends=False)


def at_the_end(given: Sequence[View]) -> list[View]:
    """Return views that are each at the end of one direction as views of a Last of the ends."""
    moved = [_end_of_direction(view) for view in map(unstacked, given)]
    known = [view for view in moved if view is not None]
    return known if len(known) == len(given) else list(given)


def last_of(source: Layered, ends: bool) -> Layered:
    """Return what a Last of a sequence gives, the same source every time."""
    if ends not in source.lasts:
        sizes = {n: size for n, size in source.sizes.items() if n != source.root.time}
        source.lasts[ends] = Layered(source, Last(ends), source.name, sizes)
    return source.lasts[ends]


def _only_step(view: View) -> str | None:
    """Return the axis of time if a view is at one place of several on it."""
    source = view.source
    if not isinstance(source, Layered):
        return None
    time = source.root.time
    several = time in source.sizes and source.sizes[time] != 1
    return time if several and not view.along(str(time)) else None


def _moved(view: View, time: str, ends: bool) -> View:
    at = {name: place for name, place in view.at.items() if name != time}
    return View(last_of(view.source, ends), view.axes, at)


def _end_of_direction(view: View) -> View | None:
    """Return a view of one direction of an LSTM at its end as one of a Last of the ends."""
    source = view.source
    if isinstance(source, Layered) and isinstance(source.layer, Last) and source.layer.ends:
        return view
    if (time := _only_step(view)) is None or not isinstance(source.layer, LSTM):
        return None
    if "sequence_lens" in source.given:
        return None
    lstm, digits = source.layer, view.along(FEATURES)
    first = view.at.get(FEATURES, 0)
    last = first + sum((digit.size - 1) * digit.stride for digit in digits)
    if not isinstance(first, int) or not isinstance(last, int):
        return None
    low, high, size = min(first, last), max(first, last), lstm.hidden_size
    reverse = lstm.direction == "reverse" or (lstm.bidirectional and low >= size)
    if lstm.bidirectional and low < size <= high:
        return None
    end = 0 if reverse else source.sizes[time] - 1
    return _moved(view, time, ends=True) if view.at.get(time, 0) == end else None
