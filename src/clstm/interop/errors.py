"""Errors of files that cannot be read, raised with the file's name."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

LONGEST = 1500
"""Bytes of a message besides the file's name. A file's names can be as long as the file."""
_END = 300


@contextmanager
def naming(path: str | os.PathLike[str], *also: type[Exception]) -> Iterator[None]:
    """Put a file's name before the errors raised inside; each becomes a ValueError.

    A message that begins with the name already does not get it twice. Long messages are shortened,
    and characters that a terminal would obey are escaped.

    Parameters
    ----------
    path : str or path
    *also : exception types
        The errors it applies to, beside ValueError.
    """
    kinds: tuple[type[Exception], ...] = (ValueError, *also)
    file = os.fspath(path)
    try:
        yield
    except kinds as error:
        message = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
        start = next((s for s in (f"{file}: ", f"{file} ") if message.startswith(s)), "")
        raise ValueError((start or f"{file}: ") + shortened(message[len(start) :])) from None


def shortened(message: str) -> str:
    """Return a message in at most `LONGEST` bytes of printable characters."""
    if len(message) > LONGEST:
        message = message[:LONGEST] + message[-LONGEST:]  # each character has at least one byte
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in message)
    data = shown.encode("utf-8", "backslashreplace")
    if len(data) <= LONGEST:
        return shown
    first, last = data[: LONGEST - _END - 5], data[-_END:]
    return f"{first.decode('utf-8', 'ignore')} ... {last.decode('utf-8', 'ignore')}"
