"""Limits scipy's BLAS to one thread while the core's own team runs.

Two pools of spinning threads on the same cores slow each other down several times over, so only one
of them may run. scipy's library is recognised by its path; NumPy's is never touched.
"""

import os
import threading
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import scipy
from threadpoolctl import ThreadpoolController


@cache
def libraries() -> list[Any]:
    """Return threadpoolctl's controllers of the BLAS libraries that scipy calls."""
    found = ThreadpoolController().select(user_api="blas").lib_controllers
    own = [lib for lib in found if _belongs_to(scipy.__file__, lib.filepath)]
    # A distribution's scipy may share one system-wide library with NumPy.
    return own or [lib for lib in found if not _belongs_to(np.__file__, lib.filepath)]


def _belongs_to(package: str, library: str) -> bool:
    """Tell whether a library is part of a package: inside it, or in the .libs folder beside it."""
    folder = Path(package).resolve().parent
    beside = folder.with_name(f"{folder.name}.libs")
    path = Path(library).resolve()
    return path.is_relative_to(folder) or path.is_relative_to(beside)


class _Hold:
    """A context manager for any number of threads: the first sets the limit, the last restores."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before: list[tuple[Any, int]] = []

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._before = [(lib, lib.num_threads) for lib in libraries()]
                self._set([(lib, 1) for lib, _ in self._before])
            self._inside += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._set(self._before)

    @staticmethod
    def _set(counts: list[tuple[Any, int]]) -> None:
        for library, count in counts:
            if library.num_threads != count:
                library.set_num_threads(count)

    def after_fork(self) -> None:
        """Reset in a child process, which has neither the threads inside nor the lock's owner."""
        self._lock = threading.Lock()
        if self._inside:
            self._inside = 0
            self._set(self._before)


hold = _Hold()
os.register_at_fork(after_in_child=hold.after_fork)
