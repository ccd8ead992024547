"""How many threads a call uses."""

import operator

from . import _core

_MOST = 1024  # the core's own limit; more only cost memory
_default: int | None = None


def get_num_threads() -> int:
    """Return how many threads a call uses at most when it is not told.

    Returns
    -------
    int
        What `set_num_threads` set, else the least of ``OMP_NUM_THREADS`` (where set), the CPUs of
        the process's affinity mask and its control group's quota.
    """
    return _default or _core.default_threads()


def set_num_threads(num_threads: int) -> None:
    """Set how many threads a call uses at most when it is not told.

    Parameters
    ----------
    num_threads : int
        At least 1. Calls that are running are not affected.

    Raises
    ------
    ValueError, TypeError
        If it is below 1, or no integer.
    """
    global _default
    _default = thread_count(num_threads)


def thread_count(num_threads: int | None) -> int:
    """Check a call's `num_threads`; None means the default."""
    global _default
    if num_threads is None:
        if _default is None:
            _default = _core.default_threads()  # reads files: once
        return _default
    try:
        count = operator.index(num_threads)
    except TypeError:
        name = type(num_threads).__name__
        raise TypeError(f"num_threads must be an integer, got {name}") from None
    if count < 1:
        raise ValueError(f"num_threads must be at least 1, got {count}")
    return count if count < _MOST else _MOST  # min() would take longer than all the rest
