"""NeuralAudio as a peer of streams, compiled from the user's sources in several builds."""

import ctypes
import shutil
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

from bench.engines.rtneural import LEVELS
from bench.measure import native

HIDDEN_SIZES = (8, 12, 16, 24, 32, 40)  # of the instances in neuralaudio.cpp
# Where its submodules have Eigen.
EIGEN = ("deps/RTNeural/modules/Eigen", "deps/NeuralAmpModelerCore/Dependencies/eigen")
COMPILERS = ("g++", "clang++")
MATH = ("", "-ffast-math")

# layers, hidden size, parameters, block, steps, repeats, x, y; seconds of a step, or -1
Function = Callable[[int, int, int, int, int, int, int, int], float]


def _compile(tree: Path, compiler: str, flags: list[str], target: Path) -> Function:
    flags = [*flags, "-mtune=native", "-DNDEBUG", *(f"-I{tree / place}" for place in ("", *EIGEN))]
    size, pointer = ctypes.c_size_t, ctypes.c_void_p
    arguments = (size, size, pointer, size, size, size, pointer, pointer)
    return native.function(
        "engines/neuralaudio.cpp",
        target,
        "neuralaudio_seconds",
        arguments,
        *flags,
        command=[compiler],
    )


def _variants(isa: str) -> Iterator[tuple[str, list[str]]]:
    for compiler, level, math in product(COMPILERS, LEVELS.get(isa, ()), MATH):
        if shutil.which(compiler):
            yield compiler, [f"-march={level}", *([math] if math else [])]


def builds(tree: Path, isa: str, folder: Path) -> dict[str, Function]:
    """Every build by its name; none for an instruction set that is not in LEVELS."""
    found = {}
    for compiler, flags in _variants(isa):
        name = " ".join(("neuralaudio", compiler, *flags))
        found[name] = _compile(tree, compiler, flags, folder / f"{name.replace(' ', '')}.so")
    return found
