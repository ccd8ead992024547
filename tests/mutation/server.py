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

from tests.mutation import order

TEST = re.compile(r"^tests/\S+?::\w+(?:\[.*\])?", re.MULTILINE)
SILENCE = 90.0  # seconds in which no test ends: a hang; the longest takes 30 on a busy machine
PATIENCE = 15.0  # seconds for a test of known duration, and as many times that duration
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
            ended = self.wait(log, order.read(durations))
        finally:
            # Also of one that has ended: a test may have left processes behind.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
        code, seconds = self.line()
        return ended and int(code) in (*PASSED, -signal.SIGXCPU), float(seconds)

    def wait(self, log: Path, durations: Mapping[str, float]) -> bool:
        """Wait until the child ends; return False if it hangs."""
        size, since = 0, time.monotonic()
        while True:
            if select.select([self.process.stdout], [], [], 0.05)[0]:
                return True
            now = time.monotonic()
            if log.stat().st_size != size:
                size, since = log.stat().st_size, now
            elif now - since > PATIENCE and now - since > longest(log, durations):
                return False

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def longest(log: Path, durations: Mapping[str, float]) -> float:
    """Return the seconds after which the test that runs is taken to hang."""
    started = TEST.findall(log.read_text("utf-8", "replace"))
    if not started or order.function_of(started[-1]) not in durations:
        return SILENCE
    return PATIENCE + 10 * durations[order.function_of(started[-1])]
