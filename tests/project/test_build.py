"""The build: one plain compiler line, nothing stale, a complete sdist."""

import os
import platform
import re
import shutil
import sys
import tarfile
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import clstm
from tests.support import paths
from tests.support.commands import execute
from tests.support.paths import HEADER, ROOT

CORE = sorted(paths.CORE.glob("*.c"))  # each a translation unit
SHIPPED_FOLDERS = ("include", "packaging", "src", "tests", "bench", "examples")
SHIPPED_FILES = ("setup.py", "pyproject.toml", "MANIFEST.in", "Makefile", "README.md", "LICENSE")

x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="AVX-512 is an x86 matter")


def run(*command: object, cwd: Path, **environment: str) -> str:
    """Run a command that builds with the project's own flags."""
    return execute(*command, cwd=cwd, without=("PYTHONPATH", "CFLAGS"), **environment)


def needed(tool: str) -> str:
    path = shutil.which(tool)
    if path is None:
        pytest.skip(f"{tool} is not installed")
    return path


def source_files(root: Path) -> set[str]:
    """Return the project's own files, without what builds, caches and runs leave among them."""
    paths = [p for folder in SHIPPED_FOLDERS for p in (root / folder).rglob("*") if p.is_file()]
    names = {p.relative_to(root).as_posix() for p in paths} | set(SHIPPED_FILES)
    left = r"__pycache__|\.(pyc|so|o|a)$|egg-info|^src/clstm/(_api|include|lib)/|^examples/output/"
    return {name for name in names if not re.search(left, name)}


def build(tree: Path) -> str:
    # Without optimisation: these tests look at which files are compiled, not how well.
    return run(sys.executable, "setup.py", "build_ext", "--inplace", cwd=tree, CLSTM_DEBUG="1")


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the sdist that a copy of the project makes."""
    copy = tmp_path_factory.mktemp("copy")
    for name in source_files(ROOT):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name)
    run(sys.executable, "setup.py", "sdist", "--formats=gztar", cwd=copy)
    [archive] = (copy / "dist").glob("*.tar.gz")
    unpacked = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(archive) as tar:
        tar.extractall(unpacked, filter="data")
    [tree] = unpacked.iterdir()
    return tree


@pytest.fixture(scope="module")
def archived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Unpack the objects that the package ships: compiling them again takes a minute."""
    folder = tmp_path_factory.mktemp("archived")
    run(needed("ar"), "x", Path(clstm.get_library()) / "libclstm.a", cwd=folder)
    return folder


def test_sdist_is_complete(sdist: Path) -> None:
    made = {"PKG-INFO", "setup.cfg"}
    assert source_files(ROOT) - source_files(sdist) == set()
    assert {p.name for p in sdist.iterdir() if p.is_file()} >= {*SHIPPED_FILES, *made}
    assert not list(sdist.rglob("*.so")) + list(sdist.rglob("_core.c"))


@pytest.mark.slow
def test_an_edited_header_reaches_archive_and_extension(sdist: Path) -> None:
    """A header older than every build, but changed, rebuilds what depends on it."""
    assert " -c " in build(sdist)
    assert " -c " not in build(sdist), "nothing changed, yet something was compiled"
    [major, minor] = [version_macros(HEADER)[k] for k in ("MAJOR", "MINOR")]
    edited = f"{major}.{minor}.987".encode()

    header = sdist / "include" / "clstm.h"
    text = re.sub(r"(CLSTM_VERSION_PATCH) \d+", r"\1 987", header.read_text("utf-8"))
    header.write_text(text, "utf-8")
    os.utime(header, (0, 0))
    build(sdist)

    package = sdist / "src" / "clstm"
    assert version_macros(package / "include" / "clstm.h")["PATCH"] == "987"
    assert edited in (package / "lib" / "libclstm.a").read_bytes()
    assert (package / "lib" / "pkgconfig" / "clstm.pc").is_file()
    [extension] = package.glob("_core.*.so")
    assert edited in extension.read_bytes()
    code = "import clstm; print(clstm.__file__)"
    assert str(package) in run(sys.executable, "-c", code, cwd=sdist, PYTHONPATH=str(sdist / "src"))


@pytest.mark.slow
def test_an_edited_transcription_reaches_the_generated_files(sdist: Path) -> None:
    """They are generated again, and so are the modules; nothing is compiled twice."""
    build(sdist)
    transcription = sdist / "src" / "clstm" / "clstm_c.pxd"
    text = transcription.read_text("utf-8")
    before, after = "clstm_openmp_team(size_t threads)", "clstm_openmp_team(size_t at_most)"
    assert text.count(before) == 1
    transcription.write_text(text.replace(before, after), "utf-8")
    os.utime(transcription, (0, 0))
    build(sdist)
    assert "size_t at_most)" in (sdist / "src/clstm/_api/declarations.pxi").read_text("utf-8")
    assert "v_at_most" in (sdist / "build/cython/src/clstm/_core.c").read_text("utf-8")
    assert "Cythonizing" not in build(sdist), "nothing changed, yet something was translated"


@pytest.mark.slow
def test_every_file_compiles_to_one_object(tmp_path: Path) -> None:
    """By one plain command line. The optimisation level does not affect the checks."""
    flags = ["-std=gnu11", "-O0", "-fPIC", "-fopenmp", f"-I{ROOT / 'include'}"]
    run(needed("cc"), *flags, "-c", *CORE, cwd=tmp_path)
    assert {p.stem for p in tmp_path.glob("*.o")} == {p.stem for p in CORE}


def version_macros(header: Path) -> dict[str, str]:
    return dict(re.findall(r"#define CLSTM_VERSION_(\w+) (\d+)", header.read_text("utf-8")))


def test_one_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    macros = version_macros(HEADER)
    assert ".".join(macros[part] for part in ("MAJOR", "MINOR", "PATCH")) == version
    assert clstm.__version__ == metadata.version("clstm-cpu") == version


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("language", ["c -std=c99", "c++ -std=c++17"])
def test_the_header_alone_compiles(compiler: str, language: str, tmp_path: Path) -> None:
    if language.startswith("c++"):
        needed({"gcc": "g++", "clang": "clang++"}[compiler])
    source = tmp_path / "alone"
    source.write_text("#include <clstm.h>\nint main(void) { return 0; }\n")
    flags = ["-pedantic", "-Wall", "-Wextra", "-Werror", f"-I{HEADER.parent}", "-fsyntax-only"]
    run(needed(compiler), "-x", *language.split(), *flags, source, cwd=tmp_path)


def sums_in_registers(code: str, letter: str, register: str) -> int:
    """Return in how many registers the function with most of them has fused multiply-adds end."""
    rule = re.compile(rf"vfn?m(?:add|sub)\d+p{letter}\s.*%({register}mm\d+)(?:{{%k\d}})?$", re.M)
    return max(len(set(rule.findall(function))) for function in code.split("\n\n"))


def disassembled(path: Path) -> str:
    return run(needed("objdump"), "-d", "--no-show-raw-insn", path, cwd=path.parent)


@x86
@pytest.mark.parametrize("compiler", ["package", pytest.param("clang", marks=pytest.mark.slow)])
@pytest.mark.parametrize(("isa", "register", "least"), [("avx512", "z", 16), ("avx2", "y", 12)])
def test_target_pragmas_reach_the_kernels(
    archived: Path, compiler: str, isa: str, register: str, least: int, tmp_path: Path
) -> None:
    """A tile of sums fills the widest registers; the gates alone need fewer."""
    kernels = archived / f"kernels_{isa}.o"
    if compiler != "package":
        [source] = [path for path in CORE if path.stem == kernels.stem]
        kernels = tmp_path / kernels.name
        # -O3 takes twice as long, and the tile must be in registers at any level.
        flags = ["-std=gnu11", "-O1", "-fPIC", "-ffp-contract=off", f"-I{HEADER.parent}"]
        run(needed(compiler), *flags, "-c", source, "-o", kernels, cwd=tmp_path)
    code = disassembled(kernels)
    for letter in "sd":
        assert sums_in_registers(code, letter, register) >= least


@x86
def test_only_the_kernels_use_more_than_the_baseline(archived: Path) -> None:
    """A 256-bit instruction in a common file ends the process on an older CPU."""
    paths = sorted(archived.glob("*.o"))
    assert {p.stem for p in paths} == {p.stem for p in CORE}
    for path in paths:
        if path.stem not in ("kernels_avx2", "kernels_avx512"):
            assert not re.search(r"%[yz]mm", disassembled(path)), path.name
