"""How much memory training takes, beyond what a library takes that was imported and has started.

It is the most that was resident at any time while a model was built and trained for some steps:
weights, input, what is kept for the way back, gradients, averages, and what a compiler may need.
It means something only in a process that has done nothing else before.
"""

import gc
import resource
import sys
from pathlib import Path

from bench.measure.case import Case
from bench.measure.shapes import Shape

WARM_UP = Shape(2, 2, 8, 16, 1)
TRAINED_STEPS = 3  # the averages of an optimiser may be there from the first step's end on
PROCESS = Path("/proc/self")
MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024


def _status(field: str) -> int:
    """Bytes, from the system's account of this process."""
    lines = (PROCESS / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) * 1024


def _begin() -> int | None:
    """Forget the peak so far; bytes resident now, None where the system can't forget."""
    try:
        (PROCESS / "clear_refs").write_text("5")
        return _status("VmRSS")
    except OSError:
        return None


def _most() -> int:
    """Bytes at the peak of the whole process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS_BYTES


def peak_megabytes(engine: str, shape: Shape, mode: str, threads: int) -> float:
    """Build and train a model; where the peak can't be forgotten, the figure is a lower bound."""
    Case(engine, WARM_UP, mode, threads).outputs()
    gc.collect()
    before, most = _begin(), _most()
    case = Case(engine, shape, mode, threads)
    with case.engine.scope():
        for _ in range(TRAINED_STEPS):
            case.engine.run()
    grown = _most() - most if before is None else _status("VmHWM") - before
    return max(0, grown) / 1e6
