"""The core without Python: built by the documented line, linked to the programs of consumers/."""

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import clstm
from clstm import Activation, Cell
from tests.support import reference
from tests.support.bounds import (
    assert_close,
    assert_gradients,
    assert_identical,
    forward_bound,
    largest,
)
from tests.support.case import Case
from tests.support.paths import CORE, HEADER

INCLUDE = HEADER.parent
CONSUMERS = Path(__file__).parent / "consumers"
OPENMP = ("-fopenmp",) if clstm.config()["openmp"] else ()  # what the package's archive needs
CORE_FLAGS = ("-std=gnu11", "-O3", "-fPIC", "-ffp-contract=off")


class Outcome(NamedTuple):
    """The output of run_case.c for a case; arrays as in the specification."""

    y: np.ndarray
    h: np.ndarray
    c: np.ndarray
    gradients: dict[str, np.ndarray]  # as Pass.gradients names them; empty without a backward pass
    threads: int  # the most that worked together
    workspace: int  # bytes
    refused: int  # allocations


@cache
def model_of(case):
    """Return the parameters of a case's model, and the bytes of its file; that takes long."""
    model = case.model()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        model.save(path)
        return model.parameters, path.read_bytes()


def parameters_of(case):
    """Return the initial parameters of the case's model."""
    return model_of(case)[0]


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
        sources = sorted(CORE.glob(pattern))
        for made in base.folder.glob("*.o") if base else ():
            shutil.copy(made, self.folder)
        flags = [*CORE_FLAGS, *self.flags, f"-I{INCLUDE}"]
        with ThreadPool() as pool:  # one compiler a thread: these tests mostly compile
            pool.map(lambda s: execute(self.compiler, *flags, "-c", s, cwd=self.folder), sources, 1)
        return self

    def unpack(self):
        """Take the objects of the package's own archive."""
        execute("ar", "x", Path(clstm.get_library()) / "libclstm.a", cwd=self.folder)
        return self

    def program(self, name):
        """Compile consumers/{name}.c unless it has been compiled."""
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

    def run_case(
        self, case, x=None, state=None, threads=1, gradients=False, fail_at=0, masks=(), **kwargs
    ):
        """Run a Case, or its model over another x and state, (None, None) for none.

        `gradients` may be 2 for those of a tape of states alone; `masks` are those of a recording,
        of both kinds of dropout.
        """
        x = case.x() if x is None else x
        state = case.state() if state is None else state
        with_state, with_lengths = state[0] is not None, case.lengths is not None
        model = model_of(case)[1]
        head = [len(model), *x.shape[:2], with_state, with_lengths]
        head += [3 if masks else 0, gradients, threads, fail_at]
        arrays = [x, *(state if with_state else ())]
        arrays += [np.array(case.lengths, np.uint64)] if with_lengths else []
        arrays += [case.dy(), *case.state(salt=6)] if gradients else []
        arrays += [mask.astype(case.dtype) for mask in masks]
        data = np.array(head, np.uint64).tobytes() + model
        data += b"".join(a.tobytes() for a in arrays)
        return read_outcome(case, x, gradients, self.run("run_case", data=data, **kwargs))


def read_outcome(case, x, gradients, output):
    threads, workspace, refused, left = np.frombuffer(output, np.uint64, 4).tolist()
    assert left == 0, f"{left} bytes were not given back"
    rows = case.num_layers * case.directions, x.shape[1]
    h, c = (*rows, case.recurrent_size), (*rows, case.hidden_size)
    shapes = {"y": (*x.shape[:2], case.output_size or case.width), "h": h, "c": c}
    if gradients:
        shapes |= {"x": x.shape, "state h": h, "state c": c}
        shapes |= {name: array.shape for name, array in parameters_of(case).items()}
    ends = np.cumsum([np.prod(shape, dtype=int) for shape in shapes.values()])
    numbers = np.frombuffer(output, case.dtype, offset=32)
    assert numbers.size == ends[-1]
    parts = np.split(numbers, ends[:-1])
    arrays = {k: a.reshape(s) for (k, s), a in zip(shapes.items(), parts, strict=True)}
    y, h, c = (arrays.pop(name) for name in ("y", "h", "c"))
    return Outcome(y, h, c, arrays, threads, workspace, refused)


def assert_specified(case, outcome, **masks):
    """Forward against the specification, at the bound of a model as initialised."""
    expected = reference.forward(
        parameters_of(case),
        case.x(),
        case.state(),
        lengths=case.lengths,
        cell=case.cell,
        **masks,
    )
    scale = max(largest(expected.cells), largest(expected.y))
    bound = forward_bound(case.steps, case.dtype)
    for actual, wanted in zip(outcome[:3], (expected.y, *expected.state), strict=True):
        assert_close(actual, wanted, bound, scale)
    return expected


def masks_of(case):
    """The masks of both kinds of dropout."""
    inner = case.draw(case.num_layers - 1, case.steps, case.batch, case.width, salt=10) > 0
    return {
        "dropout": 2 * inner,
        "recurrent_dropout": 2 * (case.draw(*case.state()[0].shape, salt=11) > 0),
    }


def name_of(case):
    kind = "" if case.direction == "forward" else f"-{case.direction}"
    kind += f"-R{case.proj_size}" if case.proj_size else ""
    return f"H{case.hidden_size}-B{case.batch}{kind}" + ("-cell" if case.cell else "")


def assert_gradients_specified(case, outcome, tape):
    exact = reference.backward(parameters_of(case), tape, case.dy(), case.state(salt=6))
    named = {"x": exact.x, "state h": exact.state[0], "state c": exact.state[1]}
    assert_gradients(case, outcome.gradients, named | exact.parameters)


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


# More rows than a chunk of a backward pass and than a k-block of a product; more gates than a block
# of a product; an input wider than a tile, and one so narrow that the product is transposed.
LARGE = [
    Case(steps=88, batch=15, input_size=70, hidden_size=104),
    Case(steps=44, batch=15, input_size=70, hidden_size=104, dtype=np.float64),
    Case(steps=190, batch=16, input_size=1, hidden_size=24, output_size=3),
    Case(steps=90, batch=16, input_size=4, hidden_size=110, lengths=(90, 89, 30, 0) * 4),
    Case(steps=40, batch=20, input_size=9, hidden_size=100, direction="both", num_layers=2),
    Case(steps=44, batch=15, input_size=9, hidden_size=120, proj_size=30, num_layers=2),
]


def check_gradients(build, case):
    """Those of a tape with gates, and of one without."""
    plain = build.run_case(case)
    for gradients in (1, 2):
        outcome = build.run_case(case, gradients=gradients)
        tape = assert_specified(case, outcome)
        assert_gradients_specified(case, outcome, tape)
        for actual, wanted in zip(outcome[:3], plain[:3], strict=True):
            assert_identical(actual, wanted)


STEEP = Activation("hard_sigmoid", 0.4, 0.45)

# Every option of a layer, in few models.
OPTIONS = [
    Case(9, 5, 7, 40, 2, 3, direction="both", learn_state=True, lengths=(4, 9, 0, 9, 2)),
    Case(7, 18, 5, 33, 2, direction="reverse", proj_size=9, lengths=(7, 3) * 9),
    Case(6, 3, 9, 20, 3, 4, dtype=np.float64, direction="both", proj_size=17),
    Case(9, 5, 7, 40, 2, direction="both", lengths=(4, 9, 0, 9, 2), cell=Cell(peephole=True)),
    Case(7, 18, 5, 33, 2, 3, proj_size=9, cell=Cell(coupled=True, cell_clip=0.6, gate=STEEP)),
    Case(6, 3, 9, 20, 2, dtype=np.float64, cell=Cell(peephole=True, clip=0.9, hidden="relu")),
]


# So many rows that each thread has some of its own, of lengths so different that those of several
# chunks have no fixed places.
MANY_ROWS = Case(200, 160, 3, 20, lengths=tuple(range(200, 40, -1)))


def check_options(build, case):
    """Both kinds of dropout among them; tapes with gates, and without."""
    masks = masks_of(case)
    for gradients in (1, 2):
        outcome = build.run_case(case, gradients=gradients, masks=masks.values())
        assert_gradients_specified(case, outcome, assert_specified(case, outcome, **masks))
