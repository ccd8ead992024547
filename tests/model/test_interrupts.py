"""KeyboardInterrupt at random moments: nothing stays locked or half done."""

import subprocess
import sys

import pytest

from tests.support.paths import ROOT

KINDS = [
    *("adam", "sgd", "edits", "loads", "calls", "windows", "streams", "holds"),
    pytest.param("swaps", marks=pytest.mark.peers),
]


def run(kind: str, moments: int, seed: int) -> None:
    command = [sys.executable, "-m", "tests.support.interrupts", kind, str(moments), str(seed)]
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=60 + moments, check=False, cwd=ROOT
    )
    assert result.stdout == "interrupted every time\n", result.stderr[-3000:]


@pytest.mark.parametrize("kind", KINDS)
def test_interrupts_at_some_moments(kind):
    run(kind, 64, seed=0)


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_interrupts_at_many_moments(kind):
    run(kind, 20_000 // len(KINDS), seed=1)
