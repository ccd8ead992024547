"""The pool under stress, plain and by ThreadSanitizer: late helpers, callers, forks."""

import subprocess
from pathlib import Path

import pytest

from tests.embed.native import INCLUDE, execute, needed
from tests.support.paths import CORE

PROGRAM = Path(__file__).parent / "core" / "pool.c"
PLUGIN = PROGRAM.with_name("plugin.c")
CORE_FILES = "cpus forks locks schedule seats status threads threads_pool trace waiting"
FILES = CORE_FILES.split()


def compile_with_pool(source, program, *flags):
    """Compile a program with the pool's own sources."""
    flags = ["-std=gnu11", "-O1", "-g1", "-DCLSTM_ASSERT=1", *flags, f"-I{INCLUDE}", f"-I{CORE}"]
    sources = [source, *(CORE / f"{name}.c" for name in FILES)]
    execute(needed("cc", "gcc libc6-dev"), *flags, *sources, "-pthread", "-o", program)
    return program


@pytest.fixture(scope="module", params=["plain", "thread"])
def pool(request, tmp_path_factory):
    """Return the program, plain or with the sanitizer of data races."""
    program = tmp_path_factory.mktemp("pool") / request.param
    flags = [] if request.param == "plain" else [f"-fsanitize={request.param}"]
    return compile_with_pool(PROGRAM, program, *flags)


@pytest.mark.parametrize(
    ("threads", "runs", "callers"),
    [(2, 1500, 1), (8, 150, 1), (64, 20, 1), (2, 500, 4), (5, 100, 3)],
)
def test_all_work_is_done_once_and_nothing_is_touched_afterwards(pool, threads, runs, callers):
    arguments = [str(number) for number in (threads, runs, callers, 0)]
    result = subprocess.run(
        [pool, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert (result.returncode, result.stdout) == (0, "held\n"), result.stderr


@pytest.mark.parametrize("callers", [0, 2])
def test_a_child_has_helpers_of_its_own(pool, callers):
    if pool.name == "thread":
        pytest.skip("ThreadSanitizer ends a child of a process that has other threads")
    command = [pool, "3", "100", str(callers), "5"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (result.returncode, result.stdout) == (0, "held\n"), result.stderr


def test_a_plug_in_is_unloaded_without_its_helpers(tmp_path):
    """A helper that ran on in unloaded code would crash the host."""
    plugin = compile_with_pool(PLUGIN, tmp_path / "plugin.so", "-fPIC", "-shared")
    host = tmp_path / "host"
    execute(needed("cc", "gcc libc6-dev"), "-DHOST", PLUGIN, "-ldl", "-o", host)
    command = [host, plugin]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stdout) == (0, "unloaded\n"), result.stderr
