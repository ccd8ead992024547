"""Children forked while another thread uses a model: they go on, or say what is torn."""

import os
import subprocess
import sys

import pytest

from tests.support.forks import KINDS as OWN_KINDS
from tests.support.paths import ROOT

KINDS = [*OWN_KINDS, pytest.param("swapping", marks=pytest.mark.peers)]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def run(kind: str, forks: int, seed: int) -> None:
    command = [sys.executable, "-m", "tests.support.forks", kind, str(forks), str(seed)]
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=60 + forks, check=False, cwd=ROOT
    )
    assert result.stdout.startswith("went on every time"), result.stderr[-3000:]


@pytest.mark.parametrize("kind", KINDS)
def test_some_children(kind):
    run(kind, 3, seed=0)


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_many_children(kind):
    run(kind, 200 // len(KINDS) + 1, seed=1)
