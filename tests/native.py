"""The core without Python: built by the documented line, linked to the programs of consumers/."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import reference
from conftest import (
    ROOT,
    Case,
    assert_close,
    assert_gradients,
    assert_identical,
    forward_bound,
    largest,
)

INCLUDE = ROOT / "include"
CONSUMERS = Path(__file__).parent / "consumers"
CORE_FLAGS = ("-std=gnu11", "-O3", "-fPIC", "-ffp-contract=off")


class Outcome(NamedTuple):
    """What run_case.c says of a case; arrays as in the specification."""

    y: np.ndarray
    h: np.ndarray
    c: np.ndarray
    gradients: dict[str, np.ndarray]  # x, h0, c0 and the parameters'; empty if not asked for
    threads: int  # the most that worked together
    workspace: int  # bytes
    refused: int  # allocations


@cache
def parameters_of(case):
    """Return what the case's model is initialised with; that takes long."""
    return case.model().parameters


def execute(*command, **kwargs):
    run = subprocess.run(
        [str(part) for part in command], capture_output=True, timeout=300, check=False, **kwargs
    )
    assert run.returncode == 0, f"{command[0]}: {run.stdout[-2000:]!r}\n{run.stderr.decode()}"
    return run.stdout


def needed(tool, packages):
    if shutil.which(tool) is None:
        pytest.skip(f"needs {tool} (on Debian: apt-get install {packages})")
    return tool


@dataclass(frozen=True)
class Build:
    """The core's archive in a folder, and how programs that link it are made and run."""

    folder: Path
    compiler: str = "cc"
    flags: tuple[str, ...] = ()
    link_flags: tuple[str, ...] = ()
    emulator: tuple[str, ...] = ()
    isa: str | None = None  # None: the best

    def compile_core(self, base=None):
        """Compile every file, or, beside the objects of a base, kernels_generic.c alone."""
        pattern = "kernels_generic.c" if base else "*.c"
        sources = sorted((ROOT / "src" / "clstm" / "core").glob(pattern))
        for made in base.folder.glob("*.o") if base else ():
            shutil.copy(made, self.folder)
        flags = [*CORE_FLAGS, *self.flags, f"-I{INCLUDE}"]
        with ThreadPool() as pool:  # of compilers: this is most of the time of these tests
            pool.map(lambda s: execute(self.compiler, *flags, "-c", s, cwd=self.folder), sources, 1)
        return self

    def program(self, name):
        """Compile consumers/{name}.c where that has not been done."""
        path = self.folder / name
        if not path.exists():
            flags = ["-std=c99", "-O1", f"-I{INCLUDE}", CONSUMERS / f"{name}.c"]
            objects = sorted(self.folder.glob("*.o"))
            libraries = [*self.link_flags, "-pthread", "-lm"]
            execute(self.compiler, *flags, *objects, *libraries, "-o", path)
        return path

    def run(self, name, *arguments, data=b"", **environment):
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("CLSTM_")}
        environment |= {"CLSTM_ISA": self.isa} if self.isa else {}
        command = [*self.emulator, self.program(name), *arguments]
        return execute(*command, input=data, env=inherited | environment)

    def run_case(self, case, x=None, state=None, threads=1, gradients=False, fail_at=0, **kwargs):
        """Run a Case, or its model over another x and state, (None, None) for none.

        `gradients` may be 2 for those of a tape of states alone.
        """
        x = case.x() if x is None else x
        state = case.state() if state is None else state
        with_state = state[0] is not None
        head = [case.dtype == np.float64, case.input_size, case.hidden_size, case.num_layers]
        head += [case.output_size or 0, not case.bias, *x.shape[:2], with_state]
        head += [gradients, threads, fail_at]
        arrays = [parameters_of(case).flat, x, *(state if with_state else ())]
        arrays += [case.dy(), *case.state(salt=6)] if gradients else []
        data = np.array(head, np.uint64).tobytes() + b"".join(a.tobytes() for a in arrays)
        return read_outcome(case, x, gradients, self.run("run_case", data=data, **kwargs))


def read_outcome(case, x, gradients, output):
    threads, workspace, refused, left = np.frombuffer(output, np.uint64, 4).tolist()
    assert left == 0, f"{left} bytes were not given back"
    state = (case.num_layers, x.shape[1], case.hidden_size)
    shapes = {"y": (*x.shape[:2], case.output_size or case.hidden_size), "h": state, "c": state}
    if gradients:
        shapes |= {"x": x.shape, "h0": state, "c0": state}
        shapes |= {name: array.shape for name, array in parameters_of(case).items()}
    ends = np.cumsum([np.prod(shape, dtype=int) for shape in shapes.values()])
    numbers = np.frombuffer(output, case.dtype, offset=32)
    assert numbers.size == ends[-1]
    parts = np.split(numbers, ends[:-1])
    arrays = {k: a.reshape(s) for (k, s), a in zip(shapes.items(), parts, strict=True)}
    y, h, c = (arrays.pop(name) for name in ("y", "h", "c"))
    return Outcome(y, h, c, arrays, threads, workspace, refused)


def assert_specified(case, outcome):
    """Forward against the specification, at the bound of a model as initialised."""
    expected = reference.forward(parameters_of(case), case.x(), case.state())
    scale = max(largest(expected.cells), largest(expected.y))
    bound = forward_bound(case.steps, case.dtype)
    for actual, wanted in zip(outcome[:3], (expected.y, *expected.state), strict=True):
        assert_close(actual, wanted, bound, scale)
    return expected


# ---- What every build must do ----

HIDDEN_SIZES = (1, 7, 8, 15, 16, 17, 20, 24, 33, 40, 72, 130)
BATCHES = (1, 2, 3, 5, 7, 17, 33)


def shape(hidden_size, dtype, batch=BATCHES[-1]):
    """One case for a hidden size; the other sizes differ from one to the next."""
    n = hidden_size + (dtype == np.float64)
    return Case(
        steps=1 + n % 11,
        batch=batch,
        input_size=1 + 7 * n % 40,
        hidden_size=hidden_size,
        num_layers=1 + n % 3,
        output_size=1 + n % 19 if n % 2 else None,
        bias=n % 5 > 0,
        dtype=dtype,
        seed=n,
    )


def check_forward(build, case):
    """Check all rows against the specification; then fewer of them, and fewer steps, to the bit."""
    whole = build.run_case(case)
    assert_specified(case, whole)
    x, (h, c) = case.x(), case.state()
    for batch in BATCHES:
        rows = np.s_[:, case.batch - batch : case.batch]
        part = build.run_case(case, x[rows], (h[rows], c[rows]))
        for actual, wanted in zip(part[:3], whole[:3], strict=True):
            assert_identical(actual, wanted[rows])
    cut, state, parts = case.steps // 3, (h, c), []
    for chunk in np.split(x, [cut, cut, 2 * cut]):  # the second is empty
        y, *state = build.run_case(case, chunk, state)[:3]
        parts.append(y)
    for actual, wanted in zip((np.concatenate(parts), *state), whole[:3], strict=True):
        assert_identical(actual, wanted)


def check_gradients(build, case):
    """Those of a tape with gates, and of one without."""
    plain = build.run_case(case)
    for gradients in (1, 2):
        outcome = build.run_case(case, gradients=gradients)
        tape = assert_specified(case, outcome)
        exact = reference.backward(parameters_of(case), tape, case.dy(), case.state(salt=6))
        named = {"x": exact.x, "h0": exact.state[0], "c0": exact.state[1]} | exact.parameters
        assert_gradients(case, outcome.gradients, named)
        for actual, wanted in zip(outcome[:3], plain[:3], strict=True):
            assert_identical(actual, wanted)
