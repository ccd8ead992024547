"""The installation: for bug reports, benchmarks, and programs that link the C library."""

import os
import re
import shlex
from pathlib import Path
from typing import Any

from . import _core
from .threads import get_num_threads

_PACKAGE = os.path.dirname(os.path.realpath(__file__))


def get_include() -> str:
    """Return the folder that holds ``clstm.h``."""
    return os.path.join(_PACKAGE, "include")


def get_library() -> str:
    """Return the folder of ``libclstm.a``, the archive that the extension links, too."""
    return os.path.join(_PACKAGE, "lib")


def get_cmake_dir() -> str:
    """Return the folder of ``clstmConfig.cmake``, a value for CMake's ``clstm_DIR``."""
    return os.path.join(get_library(), "cmake", "clstm")


def compiler_arguments(*fields: str) -> list[str]:
    """Return the arguments in the given fields of ``clstm.pc``, ``Cflags`` or ``Libs``."""
    text = Path(get_library(), "pkgconfig", "clstm.pc").read_text("utf-8")
    lines = dict(re.findall(r"^(\w+): (.*)$", text, re.MULTILINE))
    folders = {"${includedir}": get_include(), "${libdir}": get_library()}
    arguments = shlex.split(" ".join(lines[field] for field in fields))
    for name, folder in folders.items():
        arguments = [argument.replace(name, folder) for argument in arguments]
    return arguments


def config() -> dict[str, Any]:
    """Return the version, the instruction set, the engine and the libraries in use.

    Returns
    -------
    dict
        With the entries

        - ``version``: of clstm;
        - ``isa``: the instruction set in use;
        - ``isas``: the values that the environment variable ``CLSTM_ISA`` may have;
        - ``engine``: the engine in use;
        - ``team``: whose threads share a call;
        - ``openmp``: whether clstm was built with OpenMP;
        - ``threads``: the maximum number of threads of a call without `num_threads`;
        - ``blas``: the BLAS libraries behind scipy, each a dict of name, version, threads and path.
    """
    from .blas_threads import libraries

    _core.load_blas()
    return {
        "version": _core.version,
        "isa": _core.isa(),
        "isas": _core.isas(),
        "engine": _core.engine(),
        "team": _core.team(),
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
    """Print `config`, one entry per line."""
    for name, value in config().items():
        if name == "isas":
            continue
        if name == "isa":
            value = f"{value} (of {', '.join(_core.isas())})"
        if name == "openmp" and not value:
            value = "no: calls have the threads of the pool"
        if name == "blas":
            value = "; ".join(
                f"{b['name']} {b['version']}, {b['threads']} threads of its own, {b['path']}"
                for b in value
            )
        print(f"{name:8} {value}")
