"""The number of threads of a call."""

import operator

from . import _core

_MOST = 1024  # the core's limit; more would only cost memory
_default = 0  # the number that set_num_threads has set, or 0


def get_num_threads() -> int:
    """Return the maximum number of threads of calls without `num_threads`.

    Returns
    -------
    int
        The value set by `set_num_threads`, else the minimum of ``OMP_NUM_THREADS`` (if set), the
        number of CPUs in the calling thread's affinity mask, and the CPU quota of its control
        group. The affinity is that of the moment, the quota at most a second old; the environment
        variable is read once.
    """
    return _default or _core.default_threads()


def set_num_threads(num_threads: int) -> None:
    """Set the maximum number of threads of calls without `num_threads`.

    Parameters
    ----------
    num_threads : int
        Number of threads, at least 1. Running calls are not affected.

    Raises
    ------
    ValueError
        If `num_threads` is less than 1.
    TypeError
        If `num_threads` is not an integer.
    """
    global _default
    _default = thread_count(num_threads)


def thread_count(num_threads: int | None) -> int:
    """Return a call's `num_threads`, checked and limited.

    None gives the number of `set_num_threads`, or 0: the core then determines the default, if the
    call has enough work for more than one thread.
    """
    if num_threads is None:
        return _default
    try:
        count = operator.index(num_threads)
    except TypeError:
        name = type(num_threads).__name__
        raise TypeError(f"num_threads must be an integer, got {name}") from None
    if count < 1:
        raise ValueError(f"num_threads must be at least 1, got {count}")
    return count if count < _MOST else _MOST  # min() would dominate the time of this function
