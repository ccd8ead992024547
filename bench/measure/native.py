"""Builds the small C and C++ sources of bench/, so that no figure contains Python's overhead."""

import ctypes
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

BENCH = Path(__file__).parents[1]


# By a source's suffix: the variable that names its compiler, the usual one, and its language.
LANGUAGES = {".c": ("CC", "cc", "gnu11"), ".cpp": ("CXX", "c++", "gnu++17")}


def compiler(suffix: str = ".c") -> list[str] | None:
    """The compiler as a command ($CC, else cc; of C++ likewise), or None where there is none."""
    variable, usual, _ = LANGUAGES[suffix]
    command = shlex.split(os.environ.get(variable, usual))
    return command if command and shutil.which(command[0]) else None


def build(
    source: str,
    target: Path,
    *flags: str,
    libraries: Sequence[str] = (),
    command: list[str] | None = None,
) -> Path:
    """Compile bench/`source` to `target`; a RuntimeError has the compiler's messages.

    `command` is the compiler, by default that of the source's language.
    """
    suffix = Path(source).suffix
    variable, _, language = LANGUAGES[suffix]
    command = command or compiler(suffix)
    if command is None:
        raise RuntimeError(f"no compiler of {source} was found: install one, name it in {variable}")
    # Contraction makes a * b + c one fused instruction; the peak is the rate of those.
    command = [*command, f"-std={language}", "-O3", "-ffp-contract=fast", *flags]
    command += [str(BENCH / source), "-o", str(target), *libraries, "-lpthread"]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"{source} did not compile:\n{result.stderr}")
    return target


def function(
    source: str,
    target: Path,
    name: str,
    arguments: Sequence[type],
    *flags: str,
    libraries: Sequence[str] = (),
    command: list[str] | None = None,
) -> Callable[..., float]:
    """The function `name` of bench/`source`, compiled to the shared library `target`.

    It takes `arguments` and returns a double.
    """
    build(source, target, "-shared", "-fPIC", *flags, libraries=libraries, command=command)
    found = ctypes.CDLL(str(target))[name]
    found.restype = ctypes.c_double
    found.argtypes = list(arguments)
    return found
