"""The CPUs that a measurement runs on: as many as it has threads, the same for all it compares.

What shares a core with one of them, unseen, may slow it down to half for minutes and leave the next
one alone; a process that the system had put there would seem slower than its peers.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

CAN_BIND = hasattr(os, "sched_setaffinity")


def usable_cpus() -> int:
    """How many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if CAN_BIND else os.cpu_count() or 1


def bind(threads: int) -> None:
    """Keep this thread, and those that it will start, on as many CPUs: the last, as most
    interrupts go to the first."""
    if CAN_BIND:
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])


@contextmanager
def bound(threads: int) -> Iterator[None]:
    """The same for a while."""
    before = os.sched_getaffinity(0) if CAN_BIND else None
    bind(threads)
    try:
        yield
    finally:
        if before:
            os.sched_setaffinity(0, before)
