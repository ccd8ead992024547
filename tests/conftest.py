"""The settings of every test, and the fixtures that several folders use."""

import os
from pathlib import Path

import pytest
from hypothesis import settings
from threadpoolctl import ThreadpoolController

from tests.support.paths import ROOT

# NumPy computes the expected results. With a team of its BLAS in each worker they take three times
# as long, because the teams wait for cores. scipy's BLAS, which clstm uses, is not loaded yet and
# keeps its number of threads.
ThreadpoolController().limit(limits=1, user_api="blas")

# `make test-long` draws more examples than a commit can wait for; .ci/run fewer, where it runs the
# same tests once more for another engine or instruction set.
settings.register_profile("again", max_examples=6, deadline=None)
settings.register_profile("commit", max_examples=20, deadline=None)
settings.register_profile("long", max_examples=500, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "commit"))


@pytest.fixture(scope="session")
def reference_data():
    """The folder of real models that nobody here wrote."""
    folder = Path(os.environ.get("CLSTM_REFERENCE_DATA", ROOT.parent / "shared" / "reference"))
    if not folder.is_dir():
        pytest.skip("the reference data is not here: set CLSTM_REFERENCE_DATA to its folder")
    return folder
