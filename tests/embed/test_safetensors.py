"""The C reader of the files that LSTM.save writes: results, refusals, fuzzing."""

import errno
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import clstm
from tests.embed import bad_safetensors_files, native
from tests.embed import safetensors_files as files
from tests.embed.bad_safetensors_files import BAD
from tests.support.bounds import assert_same
from tests.support.case import Case
from tests.support.paths import CORE, ROOT

# What reads files; the rest of the core comes from the archive.
READER = ("file_safetensors", "file_config", "file_json", "model", "cache", "memory", "status")
SANITIZERS = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def libraries():
    """Return what the package ships, and what that needs."""
    return str(Path(clstm.get_library()) / "libclstm.a"), *native.OPENMP


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """Return a build on the very kernels that Python has."""
    isa = clstm.config()["isa"]
    compiler = native.needed("cc", "gcc libc6-dev")
    return native.Build(tmp_path_factory.mktemp("shipped"), compiler, (), libraries(), isa=isa)


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """Return a build in which the first bad access or undefined operation ends the program."""
    folder = tmp_path_factory.mktemp("watched")
    compiler = native.needed("gcc", "gcc libc6-dev")
    flags = ["-std=gnu11", "-O1", f"-I{native.INCLUDE}", *SANITIZERS, "-c"]
    native.execute(compiler, *flags, *(CORE / f"{name}.c" for name in READER), cwd=folder)
    few_files = ("sh", "-c", 'ulimit -n 32; exec "$@"', "sh")  # one that stays open is noticed
    return native.Build(folder, compiler, (), (*SANITIZERS, *libraries()), few_files)


# ---- What it reads ----

MODELS = [
    Case(),
    Case(output_size=3, num_layers=2, dtype=np.float64),
    Case(bias=False, output_size=2, direction="reverse"),
    Case(bias=False, proj_size=3, num_layers=3, learn_state=True),
    Case(12, 4, 3, 70, 12, 2, direction="both", proj_size=9, learn_state=True, dtype=np.float64),
    *native.OPTIONS,
]


def name_of(case):
    both = f"{native.name_of(case)}-L{case.num_layers}-{np.dtype(case.dtype).name}"
    return both + ("" if case.bias else "-no-bias") + ("-learned" if case.learn_state else "")


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("case", MODELS, ids=name_of)
def test_a_saved_model_computes_the_same_in_c(shipped, tmp_path, case, batch_first):
    model = case.model(batch_first=batch_first)
    path = tmp_path / "m.safetensors"
    model.save(path)
    x = case.draw(case.steps, case.batch, case.input_size, salt=1)
    y, (h, c) = model(x.swapaxes(0, 1) if batch_first else x, num_threads=1)
    y = y.swapaxes(0, 1) if batch_first else y
    output = shipped.run("load", "run", path, case.steps, case.batch, data=x.tobytes())
    numbers = np.frombuffer(output, case.dtype)
    assert numbers.size == y.size + h.size + c.size
    parts = np.split(numbers, [y.size, y.size + h.size])
    for actual, expected in zip(parts, (y, h, c), strict=True):
        assert_same(actual.reshape(expected.shape), expected)


def results(build, contents, tmp_path):
    """Return for each file its status, and a good one's parameters in hexadecimal."""
    data = b"".join(len(c).to_bytes(8, sys.byteorder) + c for c in contents)
    output = build.run("load", "each", tmp_path / "scratch", data=data).decode()
    return [line.rpartition(" ")[::2] for line in output.splitlines()]


def in_python(content, tmp_path):
    """Return the parameters that LSTM.load gives, likewise."""
    path = tmp_path / "python.safetensors"
    path.write_bytes(content)
    return clstm.LSTM.load(path).parameters.flat.tobytes().hex()


def test_hand_made_files_are_read_as_in_python(watched, tmp_path):
    for (name, content), (status, parameters) in zip(
        files.GOOD.items(), results(watched, files.GOOD.values(), tmp_path), strict=True
    ):
        assert (name, status) == (name, "ok")
        assert parameters == in_python(content, tmp_path), name


def test_hand_made_cells_are_read(watched, tmp_path):
    found = results(watched, files.CELLS.values(), tmp_path)
    statuses = dict(zip(files.CELLS, (status for status, _ in found), strict=True))
    assert {name: s for name, s in statuses.items() if s != "ok"} == {}


# ---- What it refuses ----


def test_bad_files_are_refused(watched, tmp_path):
    found = results(watched, BAD.values(), tmp_path)
    statuses = dict(zip(BAD, (status for status, _ in found), strict=True))
    assert {name: s for name, s in statuses.items() if s != "invalid file"} == {}


@pytest.mark.parametrize(("more", "expected"), [(0, "ok"), (1, "invalid file")])
def test_the_longest_header(watched, tmp_path, more, expected):
    """And its padding, unlike a model, takes no memory beyond twice the file."""
    text = files.TEXT.ljust((16 << 20) + more)
    [(status, _)] = results(watched, [files.pack(text)], tmp_path)
    assert status == expected


@pytest.mark.parametrize(
    ("last", "expected"), [("", "ok"), ("0", "invalid file"), ("x" * 5, "invalid file")]
)
def test_many_keys_of_others(watched, tmp_path, last, expected):
    """Neither time nor memory grows faster than the header; the last key may be there already."""
    keys = [f'"{k:x}":""' for k in range(200_000)] + [f'"{"x" * 5}":""']
    text = ",".join([*keys, f'"{last}":""'])
    [(status, _)] = results(watched, [files.inserted(text)], tmp_path)
    assert status == expected


@pytest.mark.parametrize(("last", "expected"), [("bias_l0", "ok"), ("bias_l00", "invalid file")])
def test_many_tensors(watched, tmp_path, last, expected):
    """A header with all tensors of a model of 20,000 layers; one name may be wrong."""
    layers = 20_000
    names = [f"{kind}_l{k}" for kind in ("weight_ih", "weight_hh") for k in range(layers)]
    names += [*(f"bias_l{k}" for k in range(1, layers)), last]
    shapes = [[4, 1]] * 2 * layers + [[4]] * layers
    header = {"__metadata__": files.METADATA | {"clstm.num_layers": str(layers)}}
    for k, (name, shape) in enumerate(zip(names, shapes, strict=True)):
        place = [16 * k, 16 * (k + 1)]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": place}
    [(status, _)] = results(watched, [files.pack(header, bytes(16 * len(names)))], tmp_path)
    assert status == expected


def small_models():
    """Return the smallest there is, and one with every kind of tensor."""
    sizes = {"input_size": 1, "hidden_size": 2, "output_size": 1, "proj_size": 1}
    return [Case(input_size=1, hidden_size=1), Case(**sizes, direction="both", learn_state=True)]


@pytest.fixture(params=small_models(), ids=name_of)
def small(request, tmp_path):
    request.param.model().save(tmp_path / "small.safetensors")
    return tmp_path / "small.safetensors"


def test_a_file_that_is_cut_off_anywhere(watched, small):
    assert watched.run("load", "truncated", small) == b""


def test_any_change_of_a_byte_of_the_header(watched, small, tmp_path):
    """Refused, or harmless: Python reads the same then, but for text that is not UTF-8."""
    whole, taken = small.read_bytes(), Counter()
    for line in watched.run("load", "altered", small).decode().splitlines():
        place, byte, parameters = line.split()
        content = bytearray(whole)
        content[int(place)] = int(byte)
        if int(byte) < 128 and taken[place] < 4:  # four of some ninety: Python takes its time
            assert parameters == in_python(bytes(content), tmp_path), (place, byte)
            taken[place] += 1
    assert taken, "a misspelt optional key is another's key"


def test_every_allocation_may_fail(watched, small):
    """From bytes: tables, model, its cache; from a path the header's text before them."""
    assert watched.run("load", "starved", small).split() == [b"3", b"4"]


def test_statuses_of_paths(watched, small, tmp_path):
    def status(path):
        return watched.run("load", "path", path).decode().strip()

    assert status(small).startswith("ok:")
    assert status("/dev/null").startswith("invalid file:")
    assert status(tmp_path / "none") == f"file error: {os.strerror(errno.ENOENT)}"
    assert status(small / "below") == f"file error: {os.strerror(errno.ENOTDIR)}"
    assert status("/dev/stdin") == f"file error: {os.strerror(errno.ESPIPE)}", "a pipe"
    folder = status(tmp_path)
    assert folder.startswith("file error: ")
    assert not folder.endswith(os.strerror(0)), "which error is the file system's choice"


def test_a_file_that_shrinks_while_it_is_read(watched, tmp_path):
    Case(hidden_size=40).model().save(tmp_path / "shrinking")  # more than a stream's buffer
    assert watched.run("load", "shrunk", tmp_path / "shrinking") == b"invalid file\n"


def test_refusals(watched):
    assert watched.run("load", "refusals") == b""


# ---- Arbitrary bytes ----

FUZZER = Path(__file__).parent / "fuzz" / "fuzz_safetensors.c"


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory):
    """Return the fuzzer's program and a folder of files for it."""
    folder = tmp_path_factory.mktemp("fuzzer")
    clang = native.needed("clang", "clang")
    fuzzed = ("-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all", "-g", "-O1")
    probe = [clang, "-x", "c", "-", *fuzzed, "-o", folder / "probe"]
    source = b"int LLVMFuzzerTestOneInput(const char *b, unsigned long n) { return !b && n; }"
    if subprocess.run(probe, input=source, capture_output=True, check=False).returncode:
        pytest.skip("clang comes without libFuzzer (on Debian: apt-get install libclang-rt-dev)")
    flags = [*fuzzed, f"-I{native.INCLUDE}", f"-I{native.CONSUMERS}", FUZZER]
    sources = [CORE / f"{name}.c" for name in READER]
    native.execute(clang, *flags, *sources, libraries()[0], "-pthread", "-o", folder / "fuzzer")
    command = [sys.executable, "-m", bad_safetensors_files.__name__, folder / "corpus"]
    native.execute(*command, cwd=ROOT)
    for number, case in enumerate(small_models()):
        case.model().save(folder / "corpus" / f"saved-{number}")
    return folder


def fuzz(folder, *options):
    # Not by resident memory: the peak that a process reads of itself may be that of its parent.
    limits = ["-timeout=20", "-malloc_limit_mb=1024", "-rss_limit_mb=0"]
    run = [folder / "fuzzer", *limits, "-artifact_prefix=./", *options]
    native.execute(*run, folder / "corpus", cwd=folder)


def test_the_fuzzers_files(fuzzer):
    fuzz(fuzzer, "-runs=20000", "-max_len=4096", "-seed=1")


@pytest.mark.long
def test_minutes_of_fuzzing(fuzzer):
    (fuzzer / "words").write_text("".join(f'"{word}"\n' for word in sorted(files.WORDS)))
    fuzz(fuzzer, "-max_total_time=240", "-max_len=4096", "-dict=words")
