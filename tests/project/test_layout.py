"""Rules of the source tree: allowed includes and imports, compiler flags, short functions."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.project import functions
from tests.support.paths import CORE, HEADER, PACKAGE, ROOT

STANDARD = {
    # C and POSIX
    "assert.h", "errno.h", "fenv.h", "float.h", "limits.h", "math.h", "pthread.h", "sched.h",
    "signal.h", "stdalign.h", "stdatomic.h", "stdbool.h", "stddef.h", "stdint.h", "stdio.h",
    "stdlib.h", "string.h", "sys/mman.h", "time.h", "unistd.h",
    # the compiler's own
    "arm_neon.h", "cpuid.h", "immintrin.h", "xmmintrin.h",
}  # fmt: skip
# Files that need more, where the system has it.
MORE = {
    "cpus.c": {"sys/resource.h", "sys/syscall.h"},
    "threads_openmp.c": {"omp.h"},
    "waiting.c": {"linux/futex.h", "sys/syscall.h"},
}
LONGEST = 50  # lines of a function's body
UNSAFE_FLAGS = ("-ffast-math", "-Ofast", "-funsafe", "-march=native", "-flto")


def files(folder: Path, *suffixes: str) -> list[Path]:
    """Return the sources below a folder, without what builds put there."""
    built = [PACKAGE / name for name in ("_api", "include", "lib")]
    found = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix in suffixes]
    return [p for p in found if not any(p.is_relative_to(b) for b in built)]


def matching(pattern: str, paths: list[Path]) -> set[str]:
    """Return the names of the files in which some line matches."""
    assert paths, "nothing to search: the layout has changed, and this test with it"
    rule = re.compile(pattern, re.MULTILINE)
    return {p.relative_to(ROOT).as_posix() for p in paths if rule.search(p.read_text("utf-8"))}


@pytest.mark.parametrize(
    "path", files(CORE, ".c", ".h"), ids=lambda p: p.relative_to(CORE).as_posix()
)
def test_the_core_includes_only_the_standard_library_and_itself(path: Path) -> None:
    text = path.read_text("utf-8")
    system = set(re.findall(r"^\s*#\s*include\s*<([^>]+)>", text, re.MULTILINE))
    own = set(re.findall(r'^\s*#\s*include\s*"([^"]+)"', text, re.MULTILINE)) - {"clstm.h"}
    assert system - STANDARD - MORE.get(path.name, set()) <= {"clstm.h"}
    assert {(path.parent / name).resolve() for name in own} <= set(files(CORE, ".c", ".h"))
    assert len(re.findall(r"#\s*include", text)) >= len(system) + len(own)


def test_the_header_needs_nothing_but_the_standard_library() -> None:
    system = set(re.findall(r"^#include\s+(\S+)", HEADER.read_text("utf-8"), re.MULTILINE))
    assert system <= {"<stddef.h>", "<stdint.h>"}


def test_the_core_knows_no_python() -> None:
    assert not matching(r"(?i)\b(python|numpy|cython|pyobject|scipy)\b", files(CORE, ".c", ".h"))


def test_openmp_is_used_in_one_file() -> None:
    pattern = r"#\s*pragma\s+omp|_Pragma\(\"omp|\bomp_[a-z]+\("
    assert matching(pattern, files(CORE, ".c", ".h")) == {"src/clstm/core/threads_openmp.c"}


def test_scipys_blas_is_imported_in_one_file() -> None:
    sources = files(PACKAGE, ".py", ".pyx", ".pxd", ".pxi")
    assert matching(r"cimport.*cython_blas|cython_blas\s+cimport", sources) == {
        "src/clstm/_blas.pyx"
    }


def test_the_header_is_transcribed_in_one_file() -> None:
    sources = files(PACKAGE, ".pyx", ".pxd", ".pxi")
    assert matching(r'extern\s+from\s+["<]clstm\.h', sources) == {"src/clstm/clstm_c.pxd"}


def imported(path: Path) -> set[str]:
    """Return the clstm modules that a file imports when it runs, as full names."""

    def running(node: ast.AST) -> Iterator[ast.AST]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue  # annotations may name higher modules
            yield child
            yield from running(child)

    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    names: set[str] = set()
    for node in running(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = parts[: -node.level] if node.level else ()
            module = ".".join(filter(None, [*package, node.module]))
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] == "clstm"}


def test_lower_modules_import_no_higher_ones() -> None:
    above = {"clstm.lstm", "clstm.LSTM"}
    lower = {p for p in files(PACKAGE, ".py") if p.name not in ("__init__.py", "__main__.py")}
    assert PACKAGE / "parameters.py" in lower
    # Makers of models, and whole models of several: they stand on top.
    whole = ("layers", "chain", "sequential", "sequential_files", "sequential_stream")
    makers = {
        PACKAGE / "load.py",
        *(PACKAGE / f"{name}.py" for name in whole),
        *files(PACKAGE / "interop", ".py"),
    }
    for path in lower - makers - {PACKAGE / "lstm.py"}:
        assert not imported(path) & above, path.name
    boundary = files(PACKAGE, ".pyx", ".pxd", ".pxi")
    assert not matching(r"^\s*(from|import)\s+\S*\blstm\b", boundary)


def modules() -> dict[str, ast.Module]:
    """Return the package's modules by full name; a Cython one as its `import` lines alone."""
    found = {}
    for path in files(PACKAGE, ".py", ".pyx"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        text = path.read_text("utf-8")
        if path.suffix == ".pyx":
            lines = re.findall(r"^\s*((?:from \S+ )?import .*)", text, re.MULTILINE)
            text = "\n".join(lines)
        found[".".join(parts).removesuffix(".__init__")] = ast.parse(text)
    return found


def dependencies(name: str, trees: dict[str, ast.Module]) -> set[str]:
    """Return the modules that one imports: at the top, within functions or for annotations."""
    found = set()
    is_package = any(other.startswith(f"{name}.") for other in trees)
    for node in ast.walk(trees[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = name.split(".")[: (1 if is_package else 0) - node.level or None]
            base = ".".join([*(above if node.level else []), *filter(None, [node.module])])
            names = {f"{base}.{alias.name}" for alias in node.names}
            found |= {full if full in trees else base for full in names}
    return found & trees.keys()


def on_circles(graph: dict[str, set[str]]) -> set[str]:
    """Return the nodes from which a path leads back to themselves."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        left = [start]
        while left:
            new = graph[left.pop()] - seen
            seen |= new
            left += new
        return seen

    return {node for node in graph if node in reached(node)}


def test_no_imports_go_in_circles() -> None:
    """Imports for annotations count: the modules of a circle can only be understood together."""
    trees = modules()
    graph = {name: dependencies(name, trees) for name in trees}
    assert "clstm.configuration" in graph["clstm.windows"]
    assert "clstm.blas_threads" in graph["clstm._core"]
    assert "clstm.interop.gates" in graph["clstm.interop.onnx.lstm_node"]
    assert not on_circles(graph)


def test_circles_are_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}, "e": {"e"}}
    assert on_circles(graph) == {"b", "c", "e"}


def test_importing_clstm_is_light() -> None:
    code = "import sys, clstm; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    loaded = set(result.stdout.split())
    assert "clstm._core" in loaded
    heavy = {
        "scipy.linalg",
        "threadpoolctl",
        "safetensors",
        "numpy.random",
        "torch",
        "onnxruntime",
        "matplotlib",
        "sklearn",
    }
    assert not loaded & (heavy | {"clstm._blas", "tqdm", "pytest"})


@pytest.mark.parametrize("flag", UNSAFE_FLAGS)
def test_no_unsafe_compiler_flag(flag: str) -> None:
    paths = [ROOT / name for name in ("setup.py", "pyproject.toml", "Makefile")]
    assert not matching(re.escape(flag), [*paths, *files(CORE, ".c", ".h")])


@pytest.mark.parametrize("folder", ["src", "tests", "bench", "examples"])
def test_functions_stay_short(folder: str) -> None:
    paths = files(ROOT / folder, *functions.SCANS)
    found = [(p, name, lines) for p in paths for name, lines in functions.lengths(p)]
    assert found, "no function was found: the layout has changed, and this test with it"
    long = [(p.relative_to(ROOT).as_posix(), *rest) for p, *rest in found if rest[1] > LONGEST]
    assert not long


LONG = {
    ".c": (
        "/* A comment (with parentheses) { */\n"
        "typedef struct {\n    int (*call)(void);\n} table;\n\n"
        "static int TYPED(name)(int first,\n                       int second) {\n",
        "    first += second;\n",
        "}\n\nstatic int short_one(void) {\n    return 0;\n}\n",
    ),
    ".py": ('def name():\n    """Docstring.\n\n    Not counted.\n    """\n', "    pass\n", ""),
    ".pyx": (
        "cdef class Holder:\n    cdef int declared(self)\n\n"
        "    cdef inline int name(\n        self, int first=(1),\n    ) except -1 nogil:\n"
        '        """Docstring.\n\n        Not counted.\n        """\n',
        "        first += 1\n",
        "\n    def short_one(self):\n        return 0\n",
    ),
}


@pytest.mark.parametrize("suffix", LONG)
def test_the_length_of_a_function_is_that_of_its_body(suffix: str, tmp_path: Path) -> None:
    head, line, rest = LONG[suffix]
    path = tmp_path / f"source{suffix}"
    path.write_text(head + 57 * line + rest)
    found = dict(functions.lengths(path))
    [name] = [name for name in found if "name" in name]
    assert found.pop(name) == 57
    assert found in ({}, {"short_one": 1, "declared": 0}, {"static int short_one(void)": 1})
