"""Rows that join and leave a stream; forks, repr, copies."""

import copy
import pickle

import numpy as np
import pytest

import clstm
from tests.support.bounds import assert_identical
from tests.support.case import Case
from tests.support.streams import CASE, stream_of


@pytest.mark.parametrize("seed", range(8))
def test_rows_that_join_and_leave_equal_single_streams(seed):
    rng = np.random.default_rng(seed)
    case = Case(hidden_size=20, num_layers=2, output_size=3, learn_state=True, seed=seed)
    model = case.model()
    batch, singles = model.stream(seed % 3), [model.stream() for _ in range(seed % 3)]
    most = 0
    for _ in range(150):
        if rng.random() < 0.3:
            n = int(rng.integers(0, 4))
            assert batch.join(n) == range(len(singles), len(singles) + n)
            singles += [model.stream() for _ in range(n)]
        elif singles and rng.random() < 0.3:
            row = int(rng.integers(len(singles)))
            batch.leave(row)
            last = singles.pop()
            if row < len(singles):
                singles[row] = last
        x = case.draw(int(rng.integers(0, 4)), len(singles), 5, salt=int(rng.integers(1000)))
        y = batch.process(x)
        assert batch.batch_size == len(singles)
        h, c = batch.state
        for row, single in enumerate(singles):
            assert_identical(single.process(x[:, row]), y[:, row])
            assert_identical(single.state[0], h[:, row])
            assert_identical(single.state[1], c[:, row])
        most = max(most, len(singles))
    assert most > 4, "too few rows to need more memory"


def test_a_fork_has_rows_of_its_own():
    stream = stream_of(CASE, CASE.model(), CASE.state())
    fork = stream.fork()
    stream.leave(0)
    fork.join(30)
    assert (stream.batch_size, fork.batch_size) == (2, 33)
    h = CASE.state()[0]
    assert_identical(stream.state[0], h[:, [2, 1]])
    assert_identical(fork.state[0][:, :3], h)
    assert not fork.state[0][:, 3:].any()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda stream: stream.leave(3), ValueError, "row is 3, but there are 3 rows"),
        (lambda stream: stream.leave(-1), ValueError, "row must be from 0 to"),
        (lambda stream: stream.leave(2**70), ValueError, "row must be"),
        (lambda stream: stream.leave(0.5), TypeError, "row must be an integer, got float"),
        (lambda stream: stream.join(-1), ValueError, "n must be from 0 to"),
        (lambda stream: stream.join("1"), TypeError, "n must be an integer, got str"),
        (lambda stream: stream.join(2**62), (MemoryError, ValueError), "stream: "),
        (lambda stream: stream.join(2**63 - 1), (MemoryError, ValueError), "stream: "),
    ],
)
def test_rows_that_cannot_be(call, error, words):
    stream = stream_of(CASE, CASE.model(), CASE.state())
    with pytest.raises(error, match=words):
        call(stream)
    assert stream.batch_size == 3
    assert_identical(stream.state[0], CASE.state()[0])


@pytest.mark.parametrize(
    ("batch_size", "error"),
    [
        (-1, ValueError),
        (2**70, ValueError),
        (1.0, TypeError),
        ("2", TypeError),
        (2**40, (MemoryError, ValueError)),
        (2**62, (MemoryError, ValueError)),
    ],
)
def test_batches_that_cannot_be(batch_size, error):
    with pytest.raises(error):
        clstm.LSTM(1, 64, rng=0).stream(batch_size)


def test_a_single_sequence_has_no_rows():
    stream = CASE.model().stream()
    assert stream.batch_size is None
    for call in (stream.join, lambda: stream.leave(0)):
        with pytest.raises(ValueError, match="needs a stream with a batch_size"):
            call()


def test_repr_and_unsupported_operations():
    model = CASE.model()
    stream = model.stream(3)
    assert repr(stream) == f"<Stream of {model!r}, batch_size=3>"
    assert repr(model.stream()) == f"<Stream of {model!r}>"
    for wrong in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match=r"cannot be pickled or copied: fork\(\) it"):
            wrong(stream)
    with pytest.raises(AttributeError):
        stream.batch_size = 4
