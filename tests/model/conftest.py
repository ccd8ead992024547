"""The model of the tests of files."""

import numpy as np
import pytest

import clstm


@pytest.fixture
def model():
    """One input, one output, one layer, as every format has them; no parameter is zero."""
    model = clstm.LSTM(1, 4, output_size=1, rng=0)
    with model.edit() as parameters:
        parameters.flat = np.random.default_rng(0).standard_normal(parameters.flat.size)
    return model
