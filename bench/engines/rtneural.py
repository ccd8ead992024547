"""RTNeural as a peer of streams, compiled from sources that the user has: all builds that may be
its fastest."""

import ctypes
from collections.abc import Callable
from pathlib import Path

from bench.measure import native

# What RTNeural computes with, and where its tree has it.
BACKENDS = {"EIGEN": "modules/Eigen", "XSIMD": "modules/xsimd/include"}
# For each of clstm's instruction sets what a host could compile for; wider is not always faster.
LEVELS = {"avx512": ("x86-64-v4", "x86-64-v3"), "avx2": ("x86-64-v3",)}
ALIGNMENT = {"x86-64-v4": 64, "x86-64-v3": 32}

# hidden size, parameters, steps, repeats, x, y; seconds of a step, or -1
Function = Callable[[int, int, int, int, int, int], float]


def _compile(tree: Path, backend: str, level: str, target: Path) -> None:
    flags = [f"-march={level}", "-mtune=native", "-DNDEBUG", "-shared", "-fPIC"]
    flags += [f"-DRTNEURAL_USE_{backend}=1", f"-DRTNEURAL_DEFAULT_ALIGNMENT={ALIGNMENT[level]}"]
    flags += ["-DRTNEURAL_NAMESPACE=RTNeural", "-DEIGEN_STACK_ALLOCATION_LIMIT=0"]
    folders = ("", "RTNeural", "modules/json", BACKENDS[backend])
    flags += [f"-I{tree / folder}" for folder in folders]
    native.build("engines/rtneural.cpp", target, *flags)


def builds(tree: Path, isa: str, folder: Path) -> dict[str, Function]:
    """Every build by its name; none for an instruction set that is not in LEVELS."""
    found = {}
    for backend in BACKENDS:
        for level in LEVELS.get(isa, ()):
            target = folder / f"rtneural-{backend}-{level}.so"
            _compile(tree, backend, level, target)
            function = ctypes.CDLL(str(target)).rtneural_seconds
            function.restype = ctypes.c_double
            size, pointer = ctypes.c_size_t, ctypes.c_void_p
            function.argtypes = [size, pointer, size, size, pointer, pointer]
            found[f"rtneural {backend.lower()} {level}"] = function
    return found
