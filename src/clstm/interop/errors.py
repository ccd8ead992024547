"""Errors of files that cannot be read, raised with the file's name."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def naming(path: str | os.PathLike[str], *also: type[Exception]) -> Iterator[None]:
    """Put a file's name before the errors raised inside; each becomes a ValueError.

    Parameters
    ----------
    path : str or path
    *also : exception types
        The errors it applies to, beside ValueError.
    """
    kinds: tuple[type[Exception], ...] = (ValueError, *also)
    try:
        yield
    except kinds as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from None
