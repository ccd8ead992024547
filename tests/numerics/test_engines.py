"""The two engines: the default, the choice by environment, equal results."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tests.support import reference
from tests.support.bounds import assert_close, engine, forward_bound, largest
from tests.support.case import Case
from tests.support.paths import ROOT

CALL = "import clstm, numpy; clstm.LSTM(3, 4, rng=0)(numpy.zeros((2, 1, 3)))"

OTHER = """
import sys
import numpy as np
import clstm
from tests.support.case import Case

case = Case(*map(int, sys.argv[2:]))
y, (h, c) = case.model()(case.x(), case.state())
np.savez(sys.argv[1], y=y, h=h, c=c, engine=clstm.config()["engine"])
"""


def python(script, *arguments, **environment):
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(
        command,
        env=os.environ | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_packed_engine_is_the_default_and_the_environment_overrides():
    assert engine() == os.environ.get("CLSTM_ENGINE", "packed")


def test_an_unknown_engine_is_a_clear_error():
    result = python(CALL, CLSTM_ENGINE="steam")
    assert result.returncode == 1
    [line] = [line for line in result.stderr.splitlines() if line.startswith("ValueError")]
    assert "CLSTM_ENGINE" in line and "packed" in line and "blas" in line


def test_an_empty_name_is_no_wish():
    assert python(CALL, CLSTM_ENGINE="").returncode == 0


@pytest.mark.parametrize(
    "case",
    [Case(20, 1, 24, 40), Case(12, 9, 5, 33, 3), Case(9, 17, 20, 130, 2)],
    ids=lambda case: f"H{case.hidden_size}-B{case.batch}",
)
def test_the_other_engine_computes_the_same(case, tmp_path):
    """Each checks the other; both are within the bound of the specification."""
    other = {"packed": "blas", "blas": "packed"}[engine()]
    sizes = (case.steps, case.batch, case.input_size, case.hidden_size, case.num_layers)
    result = python(OTHER, tmp_path / "other.npz", *sizes, CLSTM_ENGINE=other)
    assert result.returncode == 0, result.stderr
    with np.load(tmp_path / "other.npz") as results:
        assert results["engine"] == other
        theirs = results["y"], results["h"], results["c"]
    model = case.model()
    y, (h, c) = model(case.x(), case.state())
    expected = reference.forward(model.parameters, case.x(), case.state())
    scale, bound = largest(expected.cells), forward_bound(case.steps, case.dtype)
    exact = (expected.y, *expected.state)
    for one, another, wanted in zip((y, h, c), theirs, exact, strict=True):
        assert_close(one, wanted, bound, scale)
        assert_close(another, wanted, bound, scale)
