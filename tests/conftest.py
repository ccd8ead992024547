"""What several test files share: random models and inputs, and the bounds of the specification."""

import math
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from threadpoolctl import ThreadpoolController

import clstm

ROOT = Path(__file__).resolve().parent.parent
EPS = {np.dtype(t): float(np.finfo(t).eps) for t in (np.float32, np.float64)}

# NumPy computes what is expected. With a team of its BLAS in each worker that takes three times as
# long: they wait for cores. scipy's, which clstm works with, is not loaded yet and keeps its own.
ThreadpoolController().limit(limits=1, user_api="blas")

# `make test-long` draws more examples than a commit can wait for; .ci/run fewer, where it runs the
# same tests once more for another engine or instruction set.
settings.register_profile("again", max_examples=6, deadline=None)
settings.register_profile("commit", max_examples=20, deadline=None)
settings.register_profile("long", max_examples=500, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "commit"))


@dataclass(frozen=True)
class Case:
    """One shape of a model and a sequence, with what is drawn for it."""

    steps: int = 7
    batch: int = 3
    input_size: int = 5
    hidden_size: int = 6
    num_layers: int = 1
    output_size: int | None = None
    bias: bool = True
    dtype: type = np.float32
    seed: int = 0
    direction: str = "forward"  # or "reverse", or "both"
    proj_size: int = 0
    learn_state: bool = False
    lengths: tuple[int, ...] | None = None
    cell: clstm.Cell | None = None  # None: the constructor is told of none

    @property
    def directions(self):
        return 2 if self.direction == "both" else 1

    @property
    def recurrent_size(self):
        return self.proj_size or self.hidden_size

    @property
    def width(self):
        """Of the last layer's h: D R."""
        return self.directions * self.recurrent_size

    def model(self, **kwargs):
        """A model as initialised; but what begins at zero is drawn where a test is about it.

        Without a bias of the readout y would be zero after a row's end by chance.
        """
        both = self.direction == "both"
        kwargs |= {} if self.cell is None else {"cell": self.cell}
        model = clstm.LSTM(
            self.input_size,
            self.hidden_size,
            self.num_layers,
            output_size=self.output_size,
            bidirectional=both,
            direction="forward" if both else self.direction,
            proj_size=self.proj_size,
            bias=self.bias,
            learn_state=self.learn_state,
            dtype=self.dtype,
            rng=self.seed,
            **kwargs,
        )
        drawn = {"h0", "c0"} if self.lengths is None else {"h0", "c0", "bias_out"}
        names = sorted(drawn & set(model.parameters))
        peepholes = [name for name in model.parameters if "weight_peephole" in name]
        if names or peepholes:
            with model.edit() as parameters:
                for salt, name in enumerate(names, start=20):
                    parameters[name][...] = self.draw(*parameters[name].shape, salt=salt)
                for salt, name in enumerate(peepholes, start=30):
                    parameters[name][...] = 0.5 * self.draw(*parameters[name].shape, salt=salt)
        return model

    def draw(self, *shape, salt=0):
        rng = np.random.default_rng((self.seed, salt))
        return rng.standard_normal(shape).astype(self.dtype)

    def padding(self):
        """(T, B): whether row b has no step t."""
        steps, lengths = np.arange(self.steps)[:, np.newaxis], self.lengths
        return steps >= np.array(self.steps if lengths is None else lengths, int).reshape(1, -1)

    def padded(self, sequence):
        """The sequence with NaN where nothing may read it."""
        sequence[np.broadcast_to(self.padding(), sequence.shape[:2])] = np.nan
        return sequence

    def x(self):
        return self.padded(self.draw(self.steps, self.batch, self.input_size, salt=1))

    def state(self, salt=2):
        shape = self.num_layers * self.directions, self.batch
        h = self.draw(*shape, self.recurrent_size, salt=salt)
        return h, self.draw(*shape, self.hidden_size, salt=salt + 1)

    def dy(self):
        return self.padded(
            self.draw(self.steps, self.batch, self.output_size or self.width, salt=4)
        )


def forward_bound(steps, dtype):
    """Relative to max(1, |c|): TESTING's bound for models of default initialisation."""
    return 4 * math.ceil(math.log2(9 * max(steps, 1))) * EPS[np.dtype(dtype)]


def assert_close(actual, expected, bound, scale=1.0):
    """|actual - expected| <= bound * max(1, scale) everywhere."""
    error = np.abs(np.asarray(actual, float) - np.asarray(expected, float)).max(initial=0)
    assert actual.shape == expected.shape
    assert error <= bound * max(1.0, float(scale)), (
        f"error {error}, allowed {bound * max(1, scale)}"
    )


def assert_gradients(case, actual, exact):
    """Gradients by name against better ones: the bound of TESTING row 3, tensor by tensor."""
    norm = np.linalg.norm
    together = norm([norm(a) for a in exact.values()])
    units = case.hidden_size * max(case.batch * case.steps, 1)
    norm_dy = norm(np.nan_to_num(case.dy()))
    bound = 8 * math.ceil(math.log2(4 * units)) * EPS[np.dtype(case.dtype)]
    for name, array in exact.items():
        error = norm(actual[name] - array)
        assert error <= bound * max(norm(array), together, norm_dy), name


def largest(*arrays):
    return max(np.abs(a).max(initial=0) for a in arrays)


@cache
def engine():
    return clstm.config()["engine"]


def assert_identical(actual, expected):
    """Equal to the bit, the sign of zero included; a NaN equals any other."""
    np.testing.assert_array_equal(actual, expected)
    number = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(actual[number]), np.signbit(expected[number]))


def assert_same(actual, expected, scale=1.0):
    """What depends on neither threads nor chunks nor neighbours: the row contract.

    The packed engine keeps it to the bit, the blas engine to rounding: BLAS chooses the order of
    its sums by the shape of the whole product.
    """
    if engine() == "packed":
        assert_identical(actual, expected)
    else:
        assert_close(actual, expected, 1e-6, scale)


def assert_same_results(actual, expected):
    """(y, (h, c)) of two calls, by the row contract."""
    (y, (h, c)), (y_expected, (h_expected, c_expected)) = actual, expected
    scale = largest(c_expected)
    assert_same(y, y_expected, scale)
    assert_same(h, h_expected, scale)
    assert_same(c, c_expected, scale)


@pytest.fixture(scope="session")
def reference_data():
    """The folder of real models that nobody here wrote."""
    folder = Path(os.environ.get("CLSTM_REFERENCE_DATA", ROOT.parent / "shared" / "reference"))
    if not folder.is_dir():
        pytest.skip("the reference data is not here: set CLSTM_REFERENCE_DATA to its folder")
    return folder
