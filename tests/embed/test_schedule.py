"""The schedule as a table: who shares a pass of which shape, on how many threads.

Thresholds are measured (core/tuning.h). A row that changes here must change on purpose, with the
measurement that shows the gain.
"""

import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.embed.native import INCLUDE, execute, needed
from tests.support.paths import CORE

PROGRAM = Path(__file__).parent / "core" / "schedule.c"


class Shape(NamedTuple):
    steps: int
    batch: int
    input_size: int
    hidden_size: int
    num_layers: int = 1
    directions: int = 1
    full: float = 1.0  # mean of the rows' lengths over the longest
    handover: int = 60  # ns

    @property
    def total(self) -> int:
        return round(self.steps * self.batch * self.full)

    def line(self, what: str, threads: int, argument: int) -> str:
        sizes = (self.steps, self.batch, self.total, self.input_size, self.hidden_size)
        values = (threads, *sizes, self.num_layers, self.directions, argument, self.handover)
        return " ".join([what, *map(str, values)])


@pytest.fixture(scope="module")
def schedule(tmp_path_factory):
    """Return a function from a shape to its schedule, in words."""
    program = tmp_path_factory.mktemp("schedule") / "schedule"
    flags = ("-std=gnu11", "-O1", "-DCLSTM_ASSERT=1", f"-I{INCLUDE}", f"-I{CORE}")
    sources = (PROGRAM, CORE / "schedule.c", CORE / "status.c")
    execute(needed("cc", "gcc libc6-dev"), *flags, *sources, "-o", program)

    def run(shape: Shape, what: str, threads: int, argument: int) -> str:
        line = shape.line(what, threads, argument).encode()
        result = subprocess.run([program], input=line, capture_output=True, check=True, timeout=60)
        return result.stdout.decode().strip()

    return run


FORWARD = [
    # one thread is enough, whatever there is
    (Shape(1, 1, 1, 40), 2, "1 units"),
    (Shape(1, 1, 128, 128), 8, "1 units"),
    (Shape(100, 1, 1, 40), 2, "1 units"),
    (Shape(0, 3, 5, 6), 2, "1 units"),
    (Shape(100, 1, 64, 64), 2, "1 units"),  # a step of 16,384 multiply-adds is too short to share
    # units, at every step
    (Shape(100, 1, 128, 128), 2, "2 units"),
    (Shape(100, 1, 256, 256), 8, "8 units"),
    (Shape(100, 1, 96, 96), 64, "6 units"),  # no more threads than cache lines of h
    (Shape(100, 4, 256, 256), 2, "2 units"),
    (Shape(100, 16, 256, 256, full=0.5), 2, "2 units"),
    (Shape(100, 1, 96, 96, handover=210), 2, "2 units"),
    (Shape(100, 1, 96, 96, handover=211), 2, "1 units"),  # meeting takes longer than half a step
    (Shape(100, 8, 64, 64, full=0.5, handover=370), 2, "2 units"),
    (Shape(100, 1, 256, 256, handover=340), 2, "2 units"),
    # rows of the batch
    (Shape(100, 16, 256, 256), 2, "2 rows"),
    (Shape(100, 16, 512, 512), 2, "2 rows"),
    (Shape(50, 128, 1024, 1024), 2, "2 units"),  # the recurrent weights leave the L3
    (Shape(100, 32, 128, 128), 4, "4 rows"),
    (Shape(100, 12, 64, 64), 2, "2 rows"),
    (Shape(100, 8, 40, 40), 2, "2 rows"),
    (Shape(100, 32, 64, 64, full=0.5), 2, "2 rows"),
    (Shape(100, 32, 256, 256, full=0.5), 2, "2 units"),
    (Shape(28, 64, 28, 128), 16, "8 units"),  # four rows for each of 16 threads are too few
    # a wavefront of layers
    (Shape(100, 1, 64, 64, num_layers=2), 2, "2 layers"),
    (Shape(100, 1, 128, 128, num_layers=2), 2, "2 units"),
    (Shape(50, 1, 64, 64, num_layers=2), 2, "1 units"),
    # directions side by side, which share nothing
    (Shape(100, 1, 64, 64, directions=2), 2, "2 units"),
    (Shape(100, 1, 256, 256, directions=2), 8, "8 units"),
    (Shape(100, 32, 256, 256, directions=2), 4, "4 rows"),
]

BACKWARD = [
    (Shape(100, 1, 1, 40), 2, 3, "1 rows"),
    (Shape(100, 1, 256, 256), 2, 4, "2 units"),
    (Shape(100, 1, 96, 96, handover=211), 2, 4, "1 units"),
    (Shape(100, 1, 256, 256), 8, 4, "4 units"),  # no more threads than blocks
    (Shape(100, 1, 256, 256), 8, 0, "1 rows"),  # nothing to share but rows, and there is one
    (Shape(100, 4, 128, 128), 2, 2, "2 rows"),
    (Shape(100, 3, 256, 256, full=0.5), 2, 4, "2 units"),
    (Shape(100, 32, 512, 512), 2, 8, "2 rows"),
    (Shape(100, 4, 128, 128, directions=2), 4, 2, "4 rows"),
]

HOIST = [
    (Shape(100, 1, 64, 64), 64, "hoisted"),
    (Shape(100, 1, 1, 40), 1, "in the step"),
    (Shape(100, 1, 1, 40, num_layers=2), 40, "hoisted"),  # the second layer's input has 40 columns
    (Shape(1, 1, 64, 64), 64, "in the step"),  # one step has nothing to share
    (Shape(100, 23, 64, 64), 64, "hoisted"),
    (Shape(100, 24, 64, 64), 64, "in the step"),
    (Shape(100, 32, 64, 64, full=0.5), 64, "hoisted"),
]


@pytest.mark.parametrize(("shape", "threads", "expected"), FORWARD)
def test_forward_schedule(schedule, shape, threads, expected):
    assert schedule(shape, "forward", threads, 1) == expected


def test_the_blas_engine_shares_steps_by_all_threads(schedule):
    assert schedule(Shape(100, 16, 256, 256), "forward", 2, 0) == "2 units"


@pytest.mark.parametrize(("shape", "threads", "blocks", "expected"), BACKWARD)
def test_backward_schedule(schedule, shape, threads, blocks, expected):
    assert schedule(shape, "backward", threads, blocks) == expected


@pytest.mark.parametrize(("shape", "columns", "expected"), HOIST)
def test_hoisting_of_the_input_product(schedule, shape, columns, expected):
    assert schedule(shape, "hoist", 1, columns) == expected
