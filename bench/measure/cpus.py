"""Binds a measurement to CPUs: one a thread, the same for all engines that it compares.

A guest that shares a core with this machine, out of its sight, can halve the core's speed for
minutes and spare the next core. An engine placed on the slow one would seem slower than its peers.
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
    """A key that is equal for the CPUs of one core."""
    path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    return path.read_text() if path.exists() else str(cpu)


def choose(cpus: Iterable[int], count: int, core: Callable[[int], str] = _core) -> list[int]:
    """`count` of the CPUs, on different cores where possible.

    The last ones come first, because most interrupts go to the first CPU.
    """
    last_first = sorted(cpus, reverse=True)
    one_a_core: dict[str, int] = {}
    for cpu in last_first:
        one_a_core.setdefault(core(cpu), cpu)
    alone = list(one_a_core.values())
    return (alone + [cpu for cpu in last_first if cpu not in alone])[:count]


def bind(threads: int) -> None:
    """Bind this thread, and those that it starts later, to a CPU for each of `threads`."""
    if CAN_BIND:
        os.sched_setaffinity(0, choose(os.sched_getaffinity(0), threads))


@contextmanager
def bound(threads: int) -> Iterator[None]:
    """`bind` within the block."""
    before = os.sched_getaffinity(0) if CAN_BIND else None
    bind(threads)
    try:
        yield
    finally:
        if before:
            os.sched_setaffinity(0, before)
