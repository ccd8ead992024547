"""Peak resident memory of a function, beyond the memory of the libraries that it uses.

The figure is valid only in a process that has done nothing else before.
"""

import gc
import resource
import sys
from collections.abc import Callable
from pathlib import Path

PROCESS = Path("/proc/self")
MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024


def _status(field: str) -> int:
    """A field of the system's status of this process, in bytes."""
    lines = (PROCESS / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:")) * 1024


def _begin() -> int | None:
    """Reset the peak; bytes resident now, None where the system can't reset it."""
    try:
        (PROCESS / "clear_refs").write_text("5")
        return _status("VmRSS")
    except OSError:
        return None


def _most() -> int:
    """Peak of resident bytes since the process began."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS_BYTES


def peak_megabytes(warm_up: Callable[[], object], function: Callable[[], object]) -> float:
    """The peak of `function`, after `warm_up` has imported and started the libraries.

    Where the system can't reset the peak, the figure is a lower bound.
    """
    warm_up()
    gc.collect()
    before, most = _begin(), _most()
    function()
    grown = _most() - most if before is None else _status("VmHWM") - before
    return max(0, grown) / 1e6
