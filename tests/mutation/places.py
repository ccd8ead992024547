"""Which files are changed, which of their lines are not, and which tests look at a file."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.mutation.changes import Change
from tests.mutation.in_python import changes_in_python
from tests.mutation.in_text import changes_in_c, changes_in_cython

AREAS = {"core": (".c", ".h"), "python": (".py", ".pyx", ".pxi", ".pxd")}
SOURCES = Path("src/clstm")

# Thresholds and wrappers; what other CPUs compile; transcriptions, which the compiler checks.
NO_FILES = re.compile(
    r"core/(tuning|trace|asserts|real_\w+|kernels_neon|kernels/prelude|fp_environment)\b"
    r"|core/trace\.c|/(clstm_c|__init__|_core)\.pxd|_boundary/generate\.py|__main__\.py"
    r"|src/clstm/(_api|include|lib)/"
)
# Speed alone: prefetches, spins, the choice of windows and tiles. Checks that release builds lack.
# Of calls that host programs may cancel, when they ask.
NO_LINES_OF_C = re.compile(
    r"assert|fetch|TUNE_|[Tt]race|\bspins|clstm_i_pause|clstm_i_poll|poll_work|nontemporal"
    r"|next_(row_)?window|\(window\)|tile_rows|tile_width|next_rows|UNROLL|backwards"
)
NO_LINES_OF_CYTHON = re.compile(r"\braise\b|SHARED")
NO_FUNCTIONS = re.compile(r"^__repr__$|^__del__$")


class Tests(NamedTuple):
    first: tuple[str, ...]  # files, the most likely to fail first
    rest: tuple[str, ...] = ()  # for mutants that pass them
    packages: tuple[str, ...] = ()  # what they import that takes seconds
    engines: tuple[str, ...] = ("",)  # that they run on in turn; "": as they choose


def of(folder: str, *names: str) -> tuple[str, ...]:
    return tuple(f"tests/{folder}/test_{name}.py" for name in names)


# What a test of one option finds, a quick one finds, too: the long ones come last.
QUICK = of("numerics", "projection", "initial_state", "dropout", "lengths", "directions")
STREAMS = of("numerics", "stream_arrays", "streams", "stream_rows", "stream_threads")
CELLS = of("numerics", "cells", "cell_functions", "cell_gradients")
LONG = of("numerics", "gradients", "options", "windows", "teams", "engines", "forward")
# Those of the package's own archive; the others compile the core again.
NATIVE = tuple(
    f"tests/embed/test_native.py::test_{name}"
    for name in (
        "refusals",
        "empty_sequences",
        "an_engine_by_its_name",
        "a_hosts_gemm_is_for_the_blas_engine",
        "streams_in_c[package]",
        "training_in_c[package]",
        "a_team_of_posix_threads_gives_the_same_numbers",
        "gradients_of_a_team_of_posix_threads",
        "a_call_takes_no_memory_for_its_length",
        "out_of_memory_leaves_everything_usable",
    )
)
LONGEST = of("numerics", "option_gradients", "threads") + NATIVE
CORE = Tests(
    QUICK + STREAMS[:2] + CELLS[:1] + LONG[:2], CELLS[1:] + LONG[2:] + STREAMS[2:] + LONGEST
)
BLAS = Tests(CELLS + QUICK + LONG[:2], CORE.first + CORE.rest, engines=("blas", ""))
MODEL = of("model", "model", "configuration", "cell_configuration", "cell_files", "load", "optim")
MODEL += of("numerics", "arrays", "conversions", "stream_arrays", "initial_state", "lengths")
SHIPPED = of("interop", "options", "layers") + of("project", "docs")
NUMBERS = of("numerics", "options", "cells", "gradients", "forward", "windows", "trace", "streams")
PYTHON = Tests(MODEL, QUICK + NUMBERS + of("numerics", "teams", "engines") + of("model", "leaks"))

AROUND = of("embed", "around")
SHARED = of(
    "interop", "options", "layers", "json_files", "state_dicts", "errors", "bombs", "samples"
)
ONNX = of("interop/onnx", "nodes", "apart", "save", "refused", "shapes", "chain", "load")
ONNX += of("interop/onnx", "sequential", "indices", "messages", "rewriting")
KERAS = of("interop/keras", "files", "layers", "masks", "stored", "whole_models")
TORCH = of("interop/torch", "weights", "files", "computed", "accelerate", "module", "models")
TORCH += of("interop/torch", "scripts", "arrays")
TORCH_REST = of("interop/torch", "recording", "bombs") + of("peers", "torch", "options")
SAFETENSORS = of("interop", "safetensors", "npz", "state_dicts")
JSON = of("interop", "json_files", "guitarml", "nam", "layers", "options")
ENGINES = of("numerics", "engines", "teams", "trace")
WHOLE = of("model", "sequential", "sequential_training", "groups", "masked", "losses")
# One process serves all that use any of them.
PEERS = ("onnx", "onnxruntime", "h5py", "torch", "keras")

TESTS = [
    (r"core/kernels/activations", Tests(of("numerics", "activations"), QUICK + CELLS)),
    (r"core/(kernels/gates|passes/(forward_blas|backward_blas|gemm_pieces))", BLAS),
    (r"core/kernels/cell_variants", Tests(CELLS, CORE.first + CORE.rest)),
    (r"optimisers\.h", Tests(of("model", "optim"), of("numerics", "convergence") + NATIVE)),
    (r"core/(passes/)?stream", Tests(STREAMS[:3] + QUICK, STREAMS[3:] + NATIVE + AROUND)),
    (r"core/file_", Tests(of("embed", "safetensors") + AROUND, NATIVE)),
    (r"core/schedule", Tests(of("embed", "schedule") + QUICK, LONGEST)),
    (
        r"core/(threads|cpus|waiting|seats|forks|locks)",
        Tests(
            of("embed", "pool") + of("numerics", "teams", "busy"), LONGEST + of("model", "leaks")
        ),
    ),
    (
        r"core/(model|cache|status|memory|dispatch)\.",
        Tests(of("model", "configuration", "cell_files", "optim") + QUICK, NATIVE + CORE.rest),
    ),
    (r"core/", CORE),
    (
        r"interop/onnx/",
        Tests(
            ONNX,
            SHARED + of("interop/onnx", "bombs") + of("peers", "onnx_cells", "onnx_graphs"),
            PEERS,
        ),
    ),
    (
        r"interop/keras/",
        Tests(KERAS, SHARED + of("interop/keras", "bombs"), PEERS),
    ),
    (r"interop/(torch/|torch_names)", Tests(TORCH + SAFETENSORS, TORCH_REST + SHARED, PEERS)),
    (
        r"interop/rtneural/",
        Tests(of("interop/rtneural", "read", "refused"), SHARED + of("model", "load"), PEERS),
    ),
    (
        r"interop/(guitarml|nam|json_files|gates|layers|errors|budget)",
        Tests(
            JSON,
            of("interop/rtneural", "read", "refused") + SHARED + ONNX + KERAS + TORCH[:2],
            PEERS,
        ),
    ),
    (r"interop/", Tests(SAFETENSORS + SHARED[:2], SHARED + of("model", "load") + TORCH, PEERS)),
    (r"clstm/(cli|info)\.", Tests(of("model", "cli"), SHIPPED + MODEL, PEERS)),
    (r"clstm/tape\.", Tests(NUMBERS[:3] + QUICK, NUMBERS[3:] + WHOLE + MODEL)),
    (
        r"clstm/(sequential|layers|chain|rows)",
        Tests(
            WHOLE + of("model", "load") + KERAS[1:],
            of("interop", "layers")
            + of("interop/torch", "models")
            + of("interop/onnx", "chain")
            + KERAS[:1]
            + of("project", "docs"),
            PEERS,
        ),
    ),
    (r"clstm/losses\.", Tests(of("model", "losses", "masked"), of("numerics", "convergence"))),
    (
        r"clstm/(optim|groups|parameters|layout|named_arrays|_boundary/_named_arrays)\.",
        Tests(
            of("model", "optim", "groups", "named_arrays", "model"),
            of("numerics", "convergence") + of("model", "interrupts", "leaks") + MODEL,
        ),
    ),
    (r"clstm/(cell|options|configuration)\.", Tests(MODEL[1:4] + MODEL[:1], PYTHON.rest + SHIPPED)),
    (
        r"clstm/(load|state_dict|names)\.",
        Tests(of("model", "load", "model") + SAFETENSORS, MODEL + SHIPPED, PEERS),
    ),
    (r"clstm/(stream|_boundary/_stream)", Tests(STREAMS[:3], STREAMS[3:] + WHOLE + MODEL)),
    (r"clstm/(blas_threads|engine|_blas|threads)", Tests(ENGINES, MODEL + LONGEST[1:2])),
    (
        r"_boundary/(locks|_lock|_edit)",
        Tests(
            MODEL[:1] + of("numerics", "stream_threads"),
            of("model", "interrupts", "forks", "leaks", "groups") + MODEL + LONGEST[1:2],
        ),
    ),
    (r"clstm/dropout\.", Tests(of("numerics", "dropout", "options"), MODEL)),
    (r"clstm/lengths\.", Tests(of("numerics", "lengths", "arrays") + WHOLE, MODEL)),
    (r"clstm/windows\.", Tests(of("numerics", "windows"), MODEL)),
    (r"", PYTHON._replace(rest=PYTHON.rest + WHOLE + SHIPPED)),
]


def chosen_tests(path: str) -> Tests:
    """Return the tests of a source; none runs twice."""
    tests = next(tests for pattern, tests in TESTS if re.search(pattern, path))
    return tests._replace(rest=tuple(dict.fromkeys(t for t in tests.rest if t not in tests.first)))


def files(root: Path, area: str) -> list[str]:
    """Return the sources of an area, relative to the root."""
    found = [p for p in (root / SOURCES).rglob("*") if p.suffix in AREAS[area]]
    names = sorted(path.relative_to(root).as_posix() for path in found)
    return [name for name in names if not NO_FILES.search(name)]


def changes_in(path: str, text: str) -> list[Change]:
    """Return the changes of a source, in the order of the text."""
    suffix = Path(path).suffix
    if suffix == ".py":
        return changes_in_python(text, NO_FUNCTIONS)
    if suffix in AREAS["python"]:
        return changes_in_cython(text, NO_LINES_OF_CYTHON)
    return changes_in_c(text, NO_LINES_OF_C)


def changes_of_area(root: Path, area: str) -> Iterator[tuple[str, Change]]:
    for path in files(root, area):
        for change in changes_in(path, (root / path).read_text("utf-8")):
            yield path, change
