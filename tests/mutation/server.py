"""The other end of a warm process: starts runs of pytest there, and ends those that hang."""

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

TEST = re.compile(r"^tests/\S+?::\w+(?:\[.*\])?", re.MULTILINE)
# Seconds of a clock in which no test ends: a deadlock; the longest takes 30 on a busy machine.
# `order.py` ends those that compute for too long.
SILENCE = 90.0
PASSED = (0, 5)  # of pytest; 5: every test was left out


class Server:
    def __init__(
        self, packages: Sequence[str], folder: Path, environment: Mapping[str, str]
    ) -> None:
        # Without a buffer, select tells whether there is a line.
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.mutation.warm", *packages], cwd=folder, env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
        )  # fmt: skip

    def line(self) -> list[bytes]:
        assert self.process.stdout is not None
        if not (text := self.process.stdout.readline()):
            raise RuntimeError("the process that runs tests has ended; see its message above")
        return text.split()

    def run(self, request: Mapping[str, Any], log: Path, durations: Path) -> tuple[bool, float]:
        """Run pytest; return whether no test failed or hung, and the processor time it took.

        Tests that time has run out for have not failed.
        """
        log.write_bytes(b"")
        request = {**request, "log": str(log), "durations": str(durations)}
        assert self.process.stdin is not None
        self.process.stdin.write(f"{json.dumps(request)}\n".encode())
        child = int(self.line()[0])
        try:
            ended = self.wait(log)
        finally:
            # Also of one that has ended: a test may have left processes behind.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
        code, seconds = self.line()
        return ended and int(code) in (*PASSED, -signal.SIGXCPU), float(seconds)

    def wait(self, log: Path) -> bool:
        """Wait until the child ends; return False if it prints nothing for too long."""
        size, since = 0, time.monotonic()
        while not select.select([self.process.stdout], [], [], 0.05)[0]:
            now = time.monotonic()
            if log.stat().st_size != size:
                size, since = log.stat().st_size, now
            elif now - since > SILENCE:
                return False
        return True

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()
