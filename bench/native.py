"""Builds the small C sources of this folder, so that no figure contains Python's own overhead."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent


def compiler() -> list[str] | None:
    """The C compiler as a command ($CC, else cc), or None where there is none."""
    command = shlex.split(os.environ.get("CC", "cc"))
    return command if command and shutil.which(command[0]) else None


def build(source: str, target: Path, *flags: str, libraries: Sequence[str] = ()) -> Path:
    """Compile bench/`source` to `target`; RuntimeError carries what the compiler said."""
    command = compiler()
    if command is None:
        raise RuntimeError("no C compiler was found: install one, or name it in CC")
    # Contraction lets a * b + c become one fused instruction, which is what the peak is made of.
    command += ["-std=gnu11", "-O3", "-ffp-contract=fast", *flags]
    command += [str(HERE / source), "-o", str(target), *libraries, "-lpthread"]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"{source} did not compile:\n{result.stderr}")
    return target
