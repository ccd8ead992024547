"""The CPUs that a measurement runs on: as many as it has threads, the same for all it compares.

What shares a core with one of them, unseen, may slow it down to half for minutes and leave the next
one alone; a process that the system had put there would seem slower than its peers.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

CAN_BIND = hasattr(os, "sched_setaffinity")


def usable_cpus() -> int:
    """How many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if CAN_BIND else os.cpu_count() or 1


def _core(cpu: int) -> str:
    """The CPUs of one core have the same."""
    path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    return path.read_text() if path.exists() else str(cpu)


def choose(cpus: Iterable[int], count: int, core: Callable[[int], str] = _core) -> list[int]:
    """As many of them, of different cores while there are such; from the last one on, as most
    interrupts go to the first."""
    last_first = sorted(cpus, reverse=True)
    of_cores: dict[str, int] = {}
    for cpu in last_first:
        of_cores.setdefault(core(cpu), cpu)
    alone = list(of_cores.values())
    return (alone + [cpu for cpu in last_first if cpu not in alone])[:count]


def bind(threads: int) -> None:
    """Keep this thread, and those that it will start, on as many CPUs."""
    if CAN_BIND:
        os.sched_setaffinity(0, choose(os.sched_getaffinity(0), threads))


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
