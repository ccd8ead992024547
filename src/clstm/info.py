"""What computes here: for bug reports, benchmarks, and programs that link the C library."""

import os
from typing import Any

from . import _core
from .threads import get_num_threads

_PACKAGE = os.path.dirname(os.path.realpath(__file__))


def get_include() -> str:
    """Return the folder that holds ``clstm.h``."""
    return os.path.join(_PACKAGE, "include")


def get_library() -> str:
    """Return the folder of ``libclstm.a``, the archive that the extension itself links."""
    return os.path.join(_PACKAGE, "lib")


def config() -> dict[str, Any]:
    """Return what computes here.

    Returns
    -------
    dict
        ``version``; ``isa`` in use and ``isas`` to choose from by the environment's ``CLSTM_ISA``;
        ``engine`` in use; ``openmp``, whether built with it; ``threads`` of a call that is not
        told; ``blas``, the libraries behind scipy, each a dict with name, version, threads and
        path.
    """
    from .blas_threads import libraries

    _core.load_blas()
    return {
        "version": _core.version,
        "isa": _core.isa(),
        "isas": _core.isas(),
        "engine": _core.engine(),
        "openmp": _core.has_openmp(),
        "threads": get_num_threads(),
        "blas": [
            {
                "name": library.internal_api,
                "version": library.version,
                "threads": library.num_threads,
                "path": library.filepath,
            }
            for library in libraries()
        ],
    }


def show_config() -> None:
    """Print `config`, one line an entry."""
    for name, value in config().items():
        if name == "isas":
            continue
        if name == "isa":
            value = f"{value} (of {', '.join(_core.isas())})"
        if name == "openmp" and not value:
            value = "no: every call runs on one thread"
        if name == "blas":
            value = "; ".join(
                f"{b['name']} {b['version']}, {b['threads']} threads of its own, {b['path']}"
                for b in value
            )
        print(f"{name:8} {value}")
