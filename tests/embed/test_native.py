"""The core without Python: other compilers and vector widths, a host's own threads and memory."""

import platform
import re
import subprocess
from dataclasses import replace

import numpy as np
import pytest

import clstm
from tests.embed import native, signatures
from tests.support.bounds import assert_identical
from tests.support.case import Case

both_types = pytest.mark.parametrize("dtype", [np.float32, np.float64])
hidden_sizes = pytest.mark.parametrize("hidden_size", native.HIDDEN_SIZES)

# The generic kernels with AVX-512's and AVX2's widths and tiles run on every CPU. Where vectors are
# not as wide, a compiler takes half a minute for -O3.
WIDE = ("-DCLSTM_GENERIC_VECTOR_BYTES=64", "-O1")
BUILDS = {  # compiler, flags, CLSTM_ISA, and the build that only kernels_generic.c differs from
    "package": ("cc", (), None, None),  # its own archive; compiling that again takes a minute
    "generic-32": ("cc", ("-DCLSTM_GENERIC_VECTOR_BYTES=32", "-O1"), "generic", "package"),
    "generic-64": ("cc", WIDE, "generic", "package"),
    "clang": ("clang", ("-O1",), None, None),
    "clang-generic-64": ("clang", WIDE, "generic", "clang"),
}


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """Return what makes a build by its name in BUILDS, once."""
    builds = {}

    def made(name):
        compiler, flags, isa, base = BUILDS[name]
        native.needed(compiler, {"cc": "gcc libc6-dev"}.get(compiler, compiler))
        if name not in builds:
            openmp = () if compiler == "clang" else native.OPENMP
            build = native.Build(tmp_path_factory.mktemp(name), compiler, flags, openmp, isa=isa)
            if name == "package":
                builds[name] = build.unpack()
            else:
                builds[name] = build.compile_core(made(base) if base else None)
        return builds[name]

    return made


@pytest.fixture(scope="module")
def plain(make):
    return make("package")


@pytest.fixture(
    params=[pytest.param(n, marks=[pytest.mark.slow] * (n != "package")) for n in BUILDS]
)
def build(request, make):
    return make(request.param)


@both_types
@hidden_sizes
def test_forward(build, hidden_size, dtype):
    native.check_forward(build, native.shape(hidden_size, dtype))


@both_types
@hidden_sizes
def test_gradients(build, hidden_size, dtype):
    batch = native.BATCHES[hidden_size % len(native.BATCHES)]
    native.check_gradients(build, native.shape(hidden_size, dtype, batch))


@pytest.mark.parametrize("case", native.LARGE, ids=native.name_of)
def test_gradients_of_large_models(build, case):
    native.check_gradients(build, case)


@pytest.mark.parametrize(("steps", "batch"), [(0, 3), (4, 0), (0, 0)])
def test_empty_sequences(plain, steps, batch):
    case = Case(steps=steps, batch=batch, num_layers=2, output_size=3)
    outcome = plain.run_case(case, gradients=True)
    for actual, expected in zip(outcome[1:3], case.state(), strict=True):
        assert_identical(actual, expected)
    for name, expected in zip(("state h", "state c"), case.state(salt=6), strict=True):
        assert_identical(outcome.gradients.pop(name), expected)
    assert not any(array.any() for array in outcome.gradients.values())


@pytest.mark.parametrize("case", native.OPTIONS, ids=native.name_of)
def test_every_option(build, case):
    native.check_options(build, case)


@pytest.mark.parametrize("engine", ["packed", "blas"])
@both_types
def test_an_engine_by_its_name(plain, engine, dtype):
    """The blas engine needs no BLAS: the core's own product serves."""
    isa, chosen = plain.run("what_computes", CLSTM_ENGINE=engine).decode().split()
    assert isa in ("generic", "avx2", "avx512", "neon")
    assert chosen == engine
    case = native.shape(72, dtype)
    native.assert_specified(case, plain.run_case(case, CLSTM_ENGINE=engine))


@pytest.mark.parametrize(("engine", "says"), [("packed", b"not called"), ("blas", b"called")])
def test_a_hosts_gemm_is_for_the_blas_engine(plain, engine, says):
    assert plain.run("host_gemm", CLSTM_ENGINE=engine).strip().partition(b": ")[2] == says


@pytest.mark.slow
@pytest.mark.parametrize("name", ["generic-32", "generic-64"])
def test_the_width_of_vectors_changes_no_bit(make, plain, name):
    """It does change the kernels: else the tests of other widths would test nothing."""
    wide, narrow = make(name), replace(plain, isa="generic")
    kernels = [(build.folder / "kernels_generic.o").read_bytes() for build in (wide, narrow)]
    assert kernels[0] != kernels[1]
    for hidden_size in native.HIDDEN_SIZES:
        case = native.shape(hidden_size, np.float32, 5)
        for one, other in zip(wide.run_case(case)[:3], narrow.run_case(case)[:3], strict=True):
            assert_identical(one, other)


def test_refusals(plain):
    assert plain.run("refusals") == b""
    assert plain.run("nulls") == b""


def test_every_function_is_given_arguments_to_refuse():
    programs = [(native.CONSUMERS / f"{name}.c").read_text() for name in ("nulls", "streams")]
    named = set(re.findall(r"clstm_\w+(?=\()", "".join(programs)))
    assert signatures.functions(signatures.HEADER.read_text("utf-8")) <= named


def test_streams_in_c(build):
    """Equal to one call, in any pieces and rows; and what they refuse."""
    assert build.run("streams") == b""


@pytest.mark.skipif(platform.system() != "Linux", reason="seccomp is Linux's")
def test_a_stream_calls_nobody(plain):
    """No allocation, no lock and no system call from its first step on."""
    wrapped = ("malloc", "calloc", "realloc", "free", "pthread_mutex_lock", "pthread_mutex_trylock")
    flags = tuple(f"-Wl,--wrap={name}" for name in wrapped)
    said = replace(plain, link_flags=(*plain.link_flags, *flags)).run("real_time")
    if said == b"no seccomp":
        pytest.skip("the kernel refuses seccomp here")
    assert said == b"done"


@pytest.mark.long
@pytest.mark.parametrize("name", ["nulls", "refusals", "streams", "train", "crowd"])
def test_valgrind_finds_nothing(plain, name):
    """By AVX2's kernels: it knows no AVX-512."""
    watch = (native.needed("valgrind", "valgrind"), "-q", "--error-exitcode=9", "--leak-check=full")
    watched = replace(plain, emulator=watch, isa="avx2")
    if "avx2" not in clstm.config()["isas"]:
        pytest.skip("this CPU has no AVX2")
    watched.run(name)


def test_training_in_c(build):
    """Recording, both kinds of tapes, clipping, Adam and gradient descent; and what they refuse.

    Tapes, workspaces and packs of weights are reused: a step allocates nothing.
    """
    for line in build.run("train").decode().splitlines():
        first, last, allocations = map(float, line.split())
        assert last < 0.3 * first, line
        assert allocations == 0, line


# ---- The host's own threads ----

LARGE = [
    Case(steps=40, batch=1, input_size=20, hidden_size=300),
    Case(steps=60, batch=1, hidden_size=256, num_layers=3, output_size=3),
    Case(steps=12, batch=33, input_size=40, hidden_size=130, num_layers=3, output_size=7),
    Case(steps=30, batch=5, hidden_size=200, num_layers=2, dtype=np.float64),
    Case(20, 9, 40, 150, 2, 5, direction="both", lengths=(20, 7, 13, 0, 1, 19, 8, 8, 2)),
    Case(20, 4, 40, 260, 2, proj_size=70),
    native.MANY_ROWS,
]


@pytest.mark.parametrize("threads", [2, 3, 8, 64])
@pytest.mark.parametrize("case", LARGE, ids=native.name_of)
def test_a_team_of_posix_threads_gives_the_same_numbers(plain, case, threads):
    alone = plain.run_case(case)
    native.assert_specified(case, alone)
    together = plain.run_case(case, threads=threads)
    assert alone.threads <= 1
    assert 2 <= together.threads <= threads
    for actual, expected in zip(together[:3], alone[:3], strict=True):
        assert_identical(actual, expected)


@pytest.mark.parametrize("threads", [2, 3, 8])
@pytest.mark.parametrize("case", LARGE, ids=native.name_of)
def test_gradients_of_a_team_of_posix_threads(plain, case, threads):
    first = plain.run_case(case, threads=threads, gradients=True)
    again = plain.run_case(case, threads=threads, gradients=True)
    alone = plain.run_case(case, gradients=True)
    assert 2 <= first.threads <= threads
    for name, gradient in first.gradients.items():
        assert_identical(again.gradients[name], gradient)
    native.assert_gradients(case, first.gradients, alone.gradients)


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """Return a build in which the compiler watches every access; a race ends the program."""
    flags = ("-O1", "-g1", "-fsanitize=thread")
    build = native.Build(tmp_path_factory.mktemp("watched"), native.needed("gcc", "gcc"), flags)
    probe = build.folder / "probe"
    source = b"int main(void) { return 0; }"
    native.execute("gcc", "-x", "c", "-", "-fsanitize=thread", "-o", probe, input=source)
    if subprocess.run([probe], capture_output=True, check=False).returncode:
        pytest.skip("ThreadSanitizer does not run on this kernel (vm.mmap_rnd_bits above 28)")
    return replace(build, link_flags=("-fsanitize=thread",)).compile_core()


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [
        Case(steps=12, batch=1, input_size=40, hidden_size=256, output_size=3),
        Case(steps=3, batch=33, hidden_size=130, num_layers=2),
        Case(5, 9, 40, 150, 2, 5, direction="both", lengths=(4, 0, 5, 1, 5, 5, 2, 3, 1)),
        Case(4, 4, 40, 260, 2, proj_size=70),
        native.MANY_ROWS,
    ],
    ids=native.name_of,
)
@pytest.mark.parametrize("gradients", [0, 1, 2])
def test_threads_never_race(watched, case, gradients):
    masks = native.masks_of(case).values() if gradients and case.num_layers > 1 else ()
    outcome = watched.run_case(case, threads=4, gradients=gradients, masks=masks)
    assert outcome.threads >= 3


@pytest.mark.slow
def test_a_crowd_of_threads_with_one_model(plain, watched):
    """Passes and streams from the first pack on; then once more, every access watched."""
    assert plain.run("crowd") == b""
    assert watched.run("crowd") == b""


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "aarch64"), reason="knows the registers of x86 and ARM"
)
def test_the_floating_point_environment_is_given_back(plain):
    """By every way out of a call, by workers too; and what a caller has set changes no result."""
    assert plain.run("floating_point") == b""


# ---- The host's own memory ----


@pytest.mark.parametrize(
    "case",
    [
        Case(batch=33, hidden_size=16),
        Case(batch=2, hidden_size=72, num_layers=3, output_size=5),
        Case(batch=8, input_size=20, hidden_size=40, bias=False, dtype=np.float64),
    ],
    ids=lambda case: f"H{case.hidden_size}-B{case.batch}",
)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_call_takes_no_memory_for_its_length(plain, case, threads):
    """A call of any length takes one bounded chunk a layer, and 16 bytes a step for the plan."""
    short, long = 2_000, 10_000  # both longer than a chunk
    taken = {}
    for steps in (short, long):
        x = np.zeros((steps, case.batch, case.input_size), case.dtype)
        taken[steps] = plain.run_case(case, x, threads=threads).workspace
    alignment = 64
    assert taken[long] - taken[short] <= 16 * (long - short) + alignment
    assert taken[long] < long * case.batch * case.hidden_size * np.dtype(case.dtype).itemsize


def test_a_tape_of_states_alone_takes_less_than_half(plain):
    """A row takes I + 2 H numbers, not I + 6 H; both passes share the rest, such as dy."""
    case = Case(steps=20_000, batch=4, input_size=8, hidden_size=64)
    gates, states = (plain.run_case(case, gradients=kind).workspace for kind in (1, 2))
    row = case.steps * case.batch * np.dtype(case.dtype).itemsize
    shared, buffers = row * case.hidden_size, 8 << 20
    assert gates >= row * (8 + 6 * 64)
    assert states <= row * (8 + 2 * 64) + shared + buffers
    assert states - shared < (gates - shared) / 2


@pytest.mark.parametrize("gradients", [0, 1, 2])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("options", [{}, {"direction": "both", "proj_size": 20}])
def test_out_of_memory_leaves_everything_usable(plain, gradients, threads, options):
    """Each allocation in turn fails: a status, nothing leaked, and the same call then succeeds."""
    case = Case(steps=30, batch=9, hidden_size=70, num_layers=2, output_size=3, **options)
    expected = plain.run_case(case, gradients=gradients, threads=threads)
    assert expected.refused == 0
    fail_at, outcome = 0, None
    while outcome is None or outcome.refused:
        fail_at += 1
        outcome = plain.run_case(case, gradients=gradients, threads=threads, fail_at=fail_at)
        assert outcome.refused == (outcome.refused > 0)
        for actual, wanted in zip(outcome[:3], expected[:3], strict=True):
            assert_identical(actual, wanted)
        for name, gradient in expected.gradients.items():
            assert_identical(outcome.gradients[name], gradient)
    assert fail_at >= 3, "the model, a pass, and the first that was not refused"
