"""A process that has imported what tests need, and forks one of its kind for each run of pytest.

`python -m tests.mutation.warm PACKAGE...` reads the arguments of pytest as lines of JSON on its
standard input. It answers with the number of the process that runs them, then with how that ended
and the seconds of processor time that it took.
Neither clstm nor what imports it is loaded before a fork.
"""

import importlib
import json
import os
import resource
import sys
from importlib.util import find_spec
from pathlib import Path

# A child imports these anyway; the others only where the source's tests use them.
ALWAYS = ("numpy", "threadpoolctl", "hypothesis", "_pytest.assertion.rewrite", "_pytest.junitxml")


def serve(packages: list[str]) -> None:
    for name in (*ALWAYS, *packages):
        if find_spec(name.partition(".")[0]):
            importlib.import_module(name)
    loaded = [name for name in sys.modules if name.partition(".")[0] in ("clstm", "scipy")]
    if "keras" not in packages and loaded:
        # The tests' settings limit the BLAS that are loaded first, and scipy's must not be.
        raise RuntimeError(f"{loaded} are imported already")
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            run(Path(request.pop("log")), **request)
        print(child, flush=True)
        _, status, usage = os.wait4(child, 0)
        seconds = usage.ru_utime + usage.ru_stime
        print(os.waitstatus_to_exitcode(status), f"{seconds:.2f}", flush=True)


def run(
    log: Path, arguments: list[str], first: list[str], durations: str, seconds: int, engine: str
) -> None:
    """Run pytest in a group of its own, with its output in a file; never return.

    After `seconds` of processor time it ends by SIGXCPU. That time depends less than a clock's on
    what else the machine does.
    """
    os.setsid()
    if engine:
        os.environ["CLSTM_ENGINE"] = engine
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
    # A process that the parent starts meanwhile is no heir of these: they stay at 0, 1 and 2.
    for number, path, mode in (
        (0, Path(os.devnull), os.O_RDONLY),
        (1, log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND),
    ):
        opened = os.open(path, mode, 0o644)
        os.dup2(opened, number)
        os.close(opened)
    os.dup2(1, 2)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    status = 1
    try:
        import pytest

        from tests.mutation.order import Order

        status = int(pytest.main(arguments, plugins=[Order(first, Path(durations))]))
    finally:
        sys.stdout.flush()
        os._exit(status)


if __name__ == "__main__":
    serve(sys.argv[1:])
