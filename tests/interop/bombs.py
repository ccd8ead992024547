"""Small files that stand for much: what reading each of them takes, in a process of its own.

`python -m tests.interop.bombs MODULE FOLDER` reads the files of a folder by every function that
reads files of this format, and prints a line of JSON for each.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import clstm
from tests.support.paths import ROOT

LARGEST = 1 << 20  # bytes of a file
SECONDS = 10  # of CPU time
LONGEST = 2000  # bytes of a message besides the file's name
CALLED = "called"  # a file that exists if something in another file was run
GOOD = "good"  # a file that is read first: its imports are none of the others' memory


def assert_bounded(module, files, folder):
    """Every file is refused by its name, or read, within the bounds of docs/security.md.

    Parameters
    ----------
    module : str
        Of the format, in clstm.interop.
    files : mapping from name to bytes
        A name with a dot is that of a file beside the others, not one to read. `GOOD` is one of
        them.
    """
    assert len(files) > 50
    for name, data in files.items():
        assert len(data) <= LARGEST, name
        (folder / name).write_bytes(data)
    command = [sys.executable, "-m", "tests.interop.bombs", module, str(folder)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), *sys.path]))}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=600, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert {result["file"] for result in results} == {name for name in files if "." not in name}
    beside = sum(len(data) for name, data in files.items() if "." in name)
    failures = [r for r in results if not _is_bounded(r, len(files[r["file"]]) + beside)]
    assert not failures, "\n".join(map(str, failures))
    assert not (folder / CALLED).exists()
    assert sum(result["error"] is not None for result in results) > len(results) / 2


def _is_bounded(result, size):
    if result["file"] == GOOD and result["error"]:
        return False
    if result["error"] and not (result["error"] == "ValueError" and result["names the file"]):
        return False
    return (
        result["message"] <= LONGEST
        and result["printable"]
        and result["seconds"] <= SECONDS
        and result["bytes"] <= (64 << 20) + 8 * size
    )


def readers_of(module):
    """Every function that reads a file of a format, by its name."""
    readers = {"clstm.load": clstm.load}  # recognises the file, then calls the module's load
    if hasattr(module, "nodes"):
        readers["nodes"] = module.nodes
    if hasattr(module, "read"):
        readers["read"] = module.read
    if module.__name__.endswith("safetensors"):
        readers["LSTM.load"] = clstm.LSTM.load
    return readers


def peak():
    """The most memory that this process has had, in bytes."""
    import resource  # late: Windows has none, and skips these tests

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most << 10


def measure(read, path):
    """What a call takes, and how it ends."""
    signal.alarm(60)
    before, start = peak(), time.process_time()
    error = None
    try:
        read(path)
    except Exception as raised:  # those of the wrong type are found by the caller
        error = raised
    message = "" if error is None else str(error)
    return {
        "error": error and type(error).__name__,
        "names the file": message.startswith(str(path)),
        "message": len(message.encode("utf-8", "backslashreplace")) - len(str(path)),
        "printable": message.isprintable(),
        "seconds": time.process_time() - start,
        "bytes": peak() - before,
        "words": message[len(str(path)) :][:200],
    }


def in_a_child(read, path):
    """`measure` in a forked process, which has the memory of what was imported."""
    receive, send = os.pipe()
    if (child := os.fork()) == 0:
        os.close(receive)
        with os.fdopen(send, "w") as pipe:
            pipe.write(json.dumps(measure(read, path)))
        os._exit(0)
    os.close(send)
    with os.fdopen(receive) as pipe:
        text = pipe.read()
    status = os.waitpid(child, 0)[1]
    lost = {"error": f"the process ended with {status}", "names the file": False}
    return json.loads(text) if text else lost


def main(name, folder):
    module = importlib.import_module(f"clstm.interop.{name}")
    readers = readers_of(module)
    for read in readers.values():
        with np.errstate(all="ignore"):
            read(folder / GOOD)
    for path in sorted(folder.iterdir()):
        if "." not in path.name:
            for reader, read in readers.items():
                line = {"file": path.name, "reader": reader} | in_a_child(read, path)
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
