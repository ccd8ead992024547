"""Finds scipy's BLAS, which _core limits to one thread while the core's own team runs.

Two pools of spinning threads on the same cores slow each other down several times over, so only one
of them may run. scipy's library is recognised by its path; NumPy's is never touched.
"""

import ctypes
import itertools
from functools import cache
from pathlib import Path
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


# The C functions that return and set a library's number of threads, by its name in threadpoolctl.
_FUNCTIONS = {
    "openblas": ("openblas_get_num_threads", "openblas_set_num_threads"),
    "mkl": ("MKL_Get_Max_Threads", "MKL_Set_Num_Threads"),
    "blis": ("bli_thread_get_num_threads", "bli_thread_set_num_threads"),
    "flexiblas": ("flexiblas_get_num_threads", "flexiblas_set_num_threads"),
}


def addresses() -> list[tuple[int, int]]:
    """Return the addresses of the libraries' functions that return and set the number of threads.

    threadpoolctl calls them from Python code, where a signal handler may raise between two
    libraries, and ignores all threads but the first that sets a number.
    """
    found = []
    for library in libraries():
        for prefix, suffix in itertools.product(("", "scipy_"), ("", "64_", "_64")):
            names = [f"{prefix}{name}{suffix}" for name in _FUNCTIONS.get(library.internal_api, ())]
            if names and all(hasattr(library.dynlib, name) for name in names):
                getter, setter = (_address(library.dynlib, name) for name in names)
                found.append((getter, setter))
                break
    return found


def _address(library: ctypes.CDLL, name: str) -> int:
    return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0
