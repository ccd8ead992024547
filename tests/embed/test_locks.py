"""Locks and access marks under stress, plain and by ThreadSanitizer, and in a child."""

import subprocess
from pathlib import Path

import pytest

from tests.embed.native import execute, needed
from tests.support.paths import CORE

PROGRAM = Path(__file__).parent / "core" / "locks.c"


@pytest.mark.parametrize("sanitizer", [None, "thread"])
def test_holders_are_alone_and_children_begin_anew(sanitizer, tmp_path):
    program = tmp_path / "locks"
    flags = ["-std=gnu11", "-O1", "-g1", f"-I{CORE}", "-pthread", "-Wall", "-Wextra", "-Werror"]
    if sanitizer:
        flags.append(f"-fsanitize={sanitizer}")
    sources = [PROGRAM, CORE / "locks.c", CORE / "forks.c"]
    execute(needed("cc", "gcc libc6-dev"), *flags, *sources, "-o", program)
    result = subprocess.run([program], capture_output=True, text=True, timeout=120, check=False)
    assert (result.returncode, result.stdout) == (0, "held\n"), result.stderr
