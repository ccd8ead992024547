"""Commands that tests run, and what these print."""

import os
import shlex
import subprocess
from collections.abc import Collection
from pathlib import Path


def execute(
    *command: object, cwd: Path, status: int = 0, without: Collection[str] = (), **environment: str
) -> str:
    """Run a command that must end with a status; return what it printed.

    Its environment is the tests' own, less the variables in `without`, plus `environment`.
    """
    inherited = {k: v for k, v in os.environ.items() if k not in without}
    result = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=inherited | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == status, f"{shlex.join(map(str, command))}\n{result.stdout}"
    return result.stdout
