"""The C library as users get it, in the package or by `make install-c`, and find it."""

import os
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clstm
from tests.embed import signatures
from tests.embed.native import CONSUMERS, needed
from tests.support import commands
from tests.support.bounds import assert_same
from tests.support.paths import ROOT

PACKAGE = Path(clstm.get_include()).parent
FILES = {
    "include/clstm.h",
    "lib/libclstm.a",
    "lib/pkgconfig/clstm.pc",
    "lib/cmake/clstm/clstmConfig.cmake",
    "lib/cmake/clstm/clstmConfigVersion.cmake",
}
CONFIG = [sys.executable, "-m", "clstm", "config"]
# Variables of a make that may run these tests, and those that `make install-c` reads.
OF_MAKE = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "CFLAGS", "PREFIX", "DESTDIR", "OPENMP"}

PROJECT = """\
cmake_minimum_required(VERSION 3.15)
project(linked LANGUAGES CXX)
set(CMAKE_CXX_STANDARD 17)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
find_package(clstm {version} REQUIRED)
add_executable(linked linked.cpp)
target_link_libraries(linked PRIVATE clstm::clstm)
"""


def execute(*command: object, cwd: Path, **options: Any) -> str:
    """Run a command as outside of a make that may run these tests."""
    return commands.execute(*command, cwd=cwd, without=OF_MAKE, **options)


def config(*arguments: str, package: Path = PACKAGE, status: int = 0) -> str:
    return execute(*CONFIG, *arguments, cwd=ROOT, status=status, PYTHONPATH=str(package.parent))


@pytest.fixture(scope="module")
def without_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with every program of PATH but Python, to be a PATH."""
    folder = tmp_path_factory.mktemp("bin")
    for directory in map(Path, os.get_exec_path()):
        for program in directory.iterdir() if directory.is_dir() else ():
            if not re.match(r"python|pypy", program.name) and not (folder / program.name).exists():
                (folder / program.name).symlink_to(program)
    assert shutil.which("make", path=str(folder))
    assert not shutil.which("python3", path=str(folder))
    return folder


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy what the C library is made of: no more of the project is needed."""
    folder = tmp_path_factory.mktemp("tree")
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    for name in ("include", "packaging", "src/clstm/core"):
        shutil.copytree(ROOT / name, folder / name)
    return folder


def make(tree: Path, *arguments: object, **environment: str) -> str:
    # Without optimisation: these tests look at which files are built and where they go.
    return execute("make", "-j2", "CFLAGS=-O0", *arguments, cwd=tree, **environment)


@pytest.fixture(scope="module")
def prefix(tree: Path, without_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install without Python, then move everything to a folder with a space in its name."""
    folder = tmp_path_factory.mktemp("prefix")
    make(tree, "install-c", f"PREFIX={folder / 'first'}", PATH=str(without_python))
    return (folder / "first").rename(folder / "moved away")


@pytest.fixture(params=["package", "prefix"])
def place(request: pytest.FixtureRequest) -> Path:
    """Return a folder that holds FILES: both are tested alike."""
    return PACKAGE if request.param == "package" else request.getfixturevalue("prefix")


def files(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


# ---- Programs ----


@pytest.fixture(scope="module")
def expected() -> np.ndarray:
    """The output of consumers/linked.c."""

    def filled(*shape: int) -> np.ndarray:
        return ((37 * np.arange(np.prod(shape)) % 64 - 32) / 64).reshape(shape)

    lstm = clstm.LSTM(3, 24)
    with lstm.edit() as parameters:
        parameters.flat = filled(parameters.flat.size)
    return lstm(filled(5, 4, 3))[0]


def check(folder: Path, expected: np.ndarray) -> None:
    """Run a program that linked.c has been built to."""
    printed = execute(folder / "linked", cwd=folder).split()
    y = np.array([float.fromhex(number) for number in printed], np.float32)
    assert_same(y.reshape(expected.shape), expected)


def compile_by(command: str, folder: Path, **environment: str) -> None:
    """Compile linked.c with what a command prints, as a shell reads it."""
    needed("cc", "gcc libc6-dev")
    source = shlex.quote(str(CONSUMERS / "linked.c"))
    cc = f"cc -std=c99 -pedantic-errors {source} {command} -o linked"
    execute("sh", "-c", cc, cwd=folder, **environment)


def test_a_program_by_the_config_command(tmp_path: Path, expected: np.ndarray) -> None:
    command = f"{shlex.join(CONFIG)} --cflags --libs"
    compile_by(f"$({command})", tmp_path, PYTHONPATH=str(PACKAGE.parent))
    check(tmp_path, expected)


def test_a_package_in_a_folder_with_spaces(tmp_path: Path, expected: np.ndarray) -> None:
    """A shell that reads once more takes the quotes off."""
    package = tmp_path / "it's a folder" / "clstm"
    shutil.copytree(PACKAGE, package)
    for libraries in PACKAGE.parent.glob("clstm_cpu.libs"):  # beside a wheel that was repaired
        shutil.copytree(libraries, package.parent / libraries.name)
    flags = config("--cflags", "--libs", package=package).strip()
    assert str(package / "lib") in config("--cmakedir", package=package)
    compile_by(flags, tmp_path)
    check(tmp_path, expected)


def test_a_program_by_pkg_config(place: Path, tmp_path: Path, expected: np.ndarray) -> None:
    needed("pkg-config", "pkg-config")
    found = {"PKG_CONFIG_PATH": str(place / "lib" / "pkgconfig")}
    flags = execute("pkg-config", "--cflags", "--libs", "clstm", cwd=tmp_path, **found).strip()
    compile_by(flags, tmp_path)
    check(tmp_path, expected)
    version = execute("pkg-config", "--modversion", "clstm", cwd=tmp_path, **found)
    assert version.strip() == clstm.__version__


def test_a_cmake_project(place: Path, tmp_path: Path, expected: np.ndarray) -> None:
    needed("cmake", "cmake")
    needed("c++", "g++")
    (tmp_path / "CMakeLists.txt").write_text(PROJECT.format(version=clstm.__version__))
    shutil.copy(CONSUMERS / "linked.c", tmp_path / "linked.cpp")
    execute("cmake", f"-Dclstm_DIR={place / 'lib/cmake/clstm'}", ".", cwd=tmp_path)
    execute("cmake", "--build", ".", cwd=tmp_path)
    check(tmp_path, expected)


@pytest.mark.parametrize(
    ("wanted", "compatible_and_exact"),
    [
        ("{0}.{1}", "TRUE FALSE"),
        ("{0}.{1}.{2}", "TRUE TRUE"),
        ("{0}.{1}.99", "FALSE FALSE"),
        ("{0}.99", "FALSE FALSE"),
        ("99", "FALSE FALSE"),
    ],
)
def test_versions_that_cmake_accepts(
    place: Path, tmp_path: Path, wanted: str, compatible_and_exact: str
) -> None:
    """Before 1.0 the next minor version may have another interface."""
    version = wanted.format(*clstm.__version__.split("."))
    script = tmp_path / "script.cmake"
    script.write_text(
        f"set(PACKAGE_FIND_VERSION {version})\n"
        f'include("{place / "lib/cmake/clstm/clstmConfigVersion.cmake"}")\n'
        'message("${PACKAGE_VERSION} ${PACKAGE_VERSION_COMPATIBLE} ${PACKAGE_VERSION_EXACT}")'
    )
    printed = execute(needed("cmake", "cmake"), "-P", script, cwd=tmp_path).strip()
    assert printed == f"{clstm.__version__} {compatible_and_exact}"


# ---- The config command ----


def test_config_prints_the_requested_flags() -> None:
    cflags, libs, cmakedir = (config(f"--{name}") for name in ("cflags", "libs", "cmakedir"))
    assert shlex.split(cflags) == [f"-I{clstm.get_include()}"]
    assert shlex.split(libs)[:2] == [f"-L{clstm.get_library()}", "-lclstm"]
    assert Path(cmakedir.removesuffix("\n"), "clstmConfig.cmake").is_file()
    everything = " ".join(part.strip() for part in (cflags, libs, cmakedir))
    assert config("--cmakedir", "--libs", "--cflags") == everything + "\n"
    assert bool(re.search(r" -l\w*omp ", libs)) == clstm.config()["openmp"]


@pytest.mark.parametrize("arguments", [[], ["--ldflags"], ["--libs", "more"]])
def test_config_refuses(arguments: list[str]) -> None:
    assert "usage: python -m clstm" in config(*arguments, status=2)


def test_other_commands() -> None:
    environment = {"cwd": ROOT, "PYTHONPATH": str(PACKAGE.parent)}
    assert execute(*CONFIG[:-1], **environment).startswith(f"version  {clstm.__version__}\n")
    assert "usage: " in execute(*CONFIG[:-1], "configure", status=2, **environment)
    assert 'eval "cc' in config("--help")


# ---- make install-c ----


def without_runtime(text: str) -> list[str]:
    return re.sub(r" -(l\w*omp|f\S+)", "", text).split()


def test_the_installed_files(place: Path, prefix: Path) -> None:
    """The same files in the package and by make; only archives differ, by flags."""
    installed = {n for n in files(place) if n.startswith(("include/", "lib/"))}
    assert installed == files(prefix) == FILES
    assert (place / "include" / "clstm.h").read_bytes() == signatures.HEADER.read_bytes()
    for name in FILES - {"lib/libclstm.a"}:
        text = (place / name).read_text("utf-8")
        assert not re.search(r"@\w+@", text), name
        assert without_runtime(text) == without_runtime((prefix / name).read_text("utf-8"))


def test_destdir_and_uninstall(tree: Path, prefix: Path, tmp_path: Path) -> None:
    where = [f"DESTDIR={tmp_path / 'a stage'}", "PREFIX=/opt/some where"]
    printed = make(tree, "install-c", *where)
    assert " -c " not in printed, "the archive was there, yet something was compiled"
    staged = tmp_path / "a stage" / "opt" / "some where"
    for name in FILES:
        assert (staged / name).read_bytes() == (prefix / name).read_bytes()
    (staged / "lib" / "cmake" / "other").mkdir()
    make(tree, "uninstall-c", *where)
    assert files(staged) == set()
    assert [p.name for p in (staged / "lib" / "cmake").iterdir()] == ["other"]


def test_install_without_openmp(tree: Path, prefix: Path, tmp_path: Path) -> None:
    """The object is compiled again, and nothing asks for a runtime; with OpenMP both do."""
    called, linked = re.compile(rb"GOMP_|__kmpc_"), re.compile(r" -l\w*omp\b")
    described = [n for n in FILES if n.endswith((".pc", "Config.cmake"))]
    shutil.copytree(tree, tmp_path / "tree")
    threads = tmp_path / "tree" / "build" / "c" / "threads_openmp.o"
    assert called.search(threads.read_bytes())
    make(tmp_path / "tree", "build/c/threads_openmp.o", "OPENMP=0")
    assert not called.search(threads.read_bytes())
    as_it_is = ["-o", "build/c/libclstm.a"]  # the other objects would be compiled again, too
    make(tmp_path / "tree", *as_it_is, "install-c", f"PREFIX={tmp_path}", "OPENMP=0")
    for name in described:
        assert linked.search((prefix / name).read_text("utf-8")), name
        assert not linked.search((tmp_path / name).read_text("utf-8")), name
