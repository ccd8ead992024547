"""The CPUs that a measurement is bound to."""

import os

import pytest

from bench.measure.cpus import CAN_BIND, bound, choose


def test_different_cores_first():
    beside = dict(enumerate("aabb"))  # 0 and 1 are the halves of one core
    apart = dict(enumerate("abab"))
    assert choose(beside, 2, beside.get) == [3, 1]
    assert choose(apart, 2, apart.get) == [3, 2]
    assert choose(beside, 3, beside.get) == [3, 1, 2]
    assert choose([0, 1], 2, beside.get) == [1, 0]


@pytest.mark.skipif(not CAN_BIND, reason="this system can't bind a thread to CPUs")
def test_bound_restores_the_cpus():
    before = os.sched_getaffinity(0)
    with bound(1):
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before
