"""RTNeural as a peer of streams, compiled from the user's sources in several builds."""

import ctypes
from collections.abc import Callable
from pathlib import Path

from bench.measure import native

# The libraries that RTNeural can compute with, and their folders in its tree.
BACKENDS = {"EIGEN": "modules/Eigen", "XSIMD": "modules/xsimd/include"}
# clstm's instruction set -> processors that a host could compile for; wider is not always faster.
LEVELS = {"avx512": ("x86-64-v4", "x86-64-v3"), "avx2": ("x86-64-v3",)}
ALIGNMENT = {"x86-64-v4": 64, "x86-64-v3": 32}

# hidden size, parameters, steps, repeats, x, y; seconds of a step, or -1
Function = Callable[[int, int, int, int, int, int], float]


def _compile(tree: Path, backend: str, level: str, target: Path) -> Function:
    flags = [f"-march={level}", "-mtune=native", "-DNDEBUG"]
    flags += [f"-DRTNEURAL_USE_{backend}=1", f"-DRTNEURAL_DEFAULT_ALIGNMENT={ALIGNMENT[level]}"]
    flags += ["-DRTNEURAL_NAMESPACE=RTNeural", "-DEIGEN_STACK_ALLOCATION_LIMIT=0"]
    includes = ("", "RTNeural", "modules/json", BACKENDS[backend])
    flags += [f"-I{tree / include}" for include in includes]
    size, pointer = ctypes.c_size_t, ctypes.c_void_p
    arguments = (size, pointer, size, size, pointer, pointer)
    return native.function("engines/rtneural.cpp", target, "rtneural_seconds", arguments, *flags)


def builds(tree: Path, isa: str, folder: Path) -> dict[str, Function]:
    """Every build by its name; none for an instruction set that is not in LEVELS."""
    return {
        f"rtneural {backend.lower()} {level}": _compile(
            tree, backend, level, folder / f"rtneural-{backend}-{level}.so"
        )
        for backend in BACKENDS
        for level in LEVELS.get(isa, ())
    }
