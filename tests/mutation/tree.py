"""A copy of the sources: built once, changed, built again in part, tested, restored."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from functools import cached_property
from hashlib import sha256
from importlib.util import find_spec
from multiprocessing.pool import ThreadPool
from pathlib import Path

from tests.support.paths import ROOT

SILENCE = 90  # seconds in which no test ends: a hang; the longest takes 30 on a busy machine
CORE = "src/clstm/core"
# setup.py compiles with the same flags. A swap of pointers to different types is an error.
FLAGS = "-std=gnu11 -O3 -fPIC -fopenmp -fvisibility=hidden -ffp-contract=off -Iinclude"
STRICT = "-w -Werror=incompatible-pointer-types -Werror=int-conversion -Werror=return-type"
# Neither fast nor slow: the modules only pass arrays.
MODULE_FLAGS = "-O1 -fPIC -fwrapv -fvisibility=hidden -w"
TEST = re.compile(r"^tests/\S+?::\w+(?:\[.*\])?", re.MULTILINE)


class Refused(Exception):
    """A change that does not compile."""


class Same(Exception):
    """A change that leaves the compiled code as it is."""


def compiler() -> list[str]:
    return shlex.split(os.environ.get("CC", "cc"))


class Tree:
    """The copy, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = os.environ | {
            "PYTHONPATH": str(folder / "src"),
            "PYTHONDONTWRITEBYTECODE": "1",  # two versions of a module may have one time and size
            "PYTHONFAULTHANDLER": "1",
            "HYPOTHESIS_PROFILE": "again",
            "KERAS_BACKEND": os.environ.get("KERAS_BACKEND", "torch"),
        }
        self.passing: set[str] = set()
        self.isa = ""  # the instruction set that the tests use

    # ---- Making it ----

    def prepare(self) -> None:
        """Copy the files that git knows, and build what has changed since the last run."""
        for name in ("src", ".hypothesis"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        listed = self.command(["git", "ls-files", "-z"], ROOT).split("\0")
        for name in filter(None, listed):
            if (ROOT / name).is_file():
                target = self.folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, target)
        self.command([sys.executable, "setup.py", "-q", "build_ext", "--inplace"], self.folder)
        code = "import clstm; print(clstm.__file__, clstm.config()['isa'], sep='\\n')"
        where, self.isa = self.command([sys.executable, "-c", code]).split()
        if not where.startswith(str(self.folder)):
            raise RuntimeError(f"the tests would import {where}, not {self.folder}")
        self.translate_base()

    def command(self, command: Sequence[str], folder: Path | None = None) -> str:
        """Run what must succeed; return what it printed."""
        run = subprocess.run(
            command, cwd=folder or self.folder, env=self.environment, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        if run.returncode:
            raise RuntimeError(f"{shlex.join(command)}\n{run.stdout[-2000:]}{run.stderr[-4000:]}")
        return run.stdout

    @cached_property
    def commit(self) -> str:
        return self.command(["git", "rev-parse", "--short", "HEAD"], ROOT).strip()

    @cached_property
    def objects(self) -> Path:
        [folder] = (self.folder / "build").glob("temp.*")
        return folder

    @cached_property
    def dependents(self) -> dict[str, list[str]]:
        """The translation units of the core that include a file, themselves included.

        Of the kernels, those that the tests use: compiling the same source for the other
        instruction sets, too, takes 24 s instead of 10.
        """
        found: dict[str, list[str]] = {}
        units = [u for u in (self.folder / CORE).glob("*.c") if not u.stem.startswith("kernels_")]
        for unit in [*sorted(units), self.folder / CORE / f"kernels_{self.isa}.c"]:
            command = [*compiler(), "-std=gnu11", "-fopenmp", "-Iinclude", "-MM", str(unit)]
            names = self.command(command).replace("\\\n", " ").split(":", 1)[1].split()
            for name in {(self.folder / name).resolve() for name in names}:
                found.setdefault(name.relative_to(self.folder).as_posix(), []).append(unit.stem)
        return found

    # ---- Building a mutant ----

    def build(self, path: str) -> None:
        """Compile what a changed file is part of; raise Refused or Same."""
        made = self.folder / "build" / "mutant"
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir()
        if path.startswith(CORE):
            self.build_core(self.dependents.get(path, []), made)
        elif path.endswith(".py"):
            compile((self.folder / path).read_text("utf-8"), path, "exec")
        else:
            name = "_blas" if path.endswith("_blas.pyx") else "_core"
            built = self.translate(name, made)
            if built.read_bytes() == (self.base / built.name).read_bytes():
                raise Same
            self.link(name, built, self.objects / "libclstm.a")

    def compile(self, flags: str, source: Path, target: Path) -> Path:
        words = [*compiler(), *flags.split(), "-c", str(source), "-o", str(target)]
        run = subprocess.run(words, cwd=self.folder, capture_output=True, check=False)
        if run.returncode:
            raise Refused(run.stderr.decode(errors="replace")[-500:])
        return target

    def build_core(self, units: list[str], made: Path) -> None:
        own = self.objects / "core"

        def build_one(unit: str) -> Path:
            source = self.folder / CORE / f"{unit}.c"
            return self.compile(f"{FLAGS} {STRICT}", source, made / f"{unit}.o")

        with ThreadPool(2) as pool:
            built = {target.name: target for target in pool.map(build_one, units, 1)}
        if all(t.read_bytes() == (own / t.name).read_bytes() for t in built.values()):
            raise Same
        objects = [built.get(o.name, o) for o in sorted(own.glob("*.o"))]
        archive = made / "libclstm.a"
        self.command(["ar", "rcs", str(archive), *map(str, objects)])
        shutil.copyfile(archive, self.folder / "src/clstm/lib/libclstm.a")
        for name in ("_core", "_blas"):
            self.link(name, self.objects / f"build/cython/src/clstm/{name}.o", archive)

    def translate(self, name: str, made: Path) -> Path:
        """Translate and compile a Cython module."""
        import numpy as np

        source = made / f"{name}.c"
        command = [sys.executable, "-m", "cython", "-3", "-I", "src", "-I", "build/cython"]
        command += [f"src/clstm/{name}.pyx", "-o", str(source)]
        run = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, check=False
        )
        if run.returncode:
            raise Refused(run.stderr.decode(errors="replace")[-500:])
        folders = ["include", np.get_include(), sysconfig.get_path("include")]
        flags = " ".join([MODULE_FLAGS, *(f"-I{folder}" for folder in folders)])
        return self.compile(flags, source, made / f"{name}.o")

    @property
    def base(self) -> Path:
        return self.folder / "build" / "base"

    def translate_base(self) -> None:
        """Build the Cython modules as they are, to compare with, unless that has been done."""
        sources = sorted((self.folder / "src/clstm").rglob("*.p[xy][dxi]"))
        inputs = [MODULE_FLAGS.encode(), *(source.read_bytes() for source in sources)]
        key = sha256(b"".join(inputs)).hexdigest()
        stamp = self.base / "key"
        if stamp.exists() and stamp.read_text() == key:
            return
        shutil.rmtree(self.base, ignore_errors=True)
        self.base.mkdir()
        for name in ("_core", "_blas"):
            self.translate(name, self.base)
        stamp.write_text(key)

    def link(self, name: str, compiled: Path, archive: Path) -> None:
        [target] = (self.folder / "src/clstm").glob(f"{name}.*.so")
        new = target.with_name(f"{target.name}.new")
        words = ["-shared", str(compiled), str(archive), "-o", str(new), "-fopenmp", "-pthread"]
        run = subprocess.run([*compiler(), *words, "-lm"], capture_output=True, check=False)
        if run.returncode:
            raise Refused(run.stderr.decode(errors="replace")[-500:])
        new.replace(target)

    def restore(self, path: str) -> None:
        """Undo a change, and what was built from it."""
        shutil.copy2(ROOT / path, self.folder / path)
        if path.endswith(".py"):
            return
        [built] = (self.folder / "build").glob("lib.*")
        for module in (built / "clstm").glob("*.so"):
            shutil.copy2(module, self.folder / "src/clstm")
        shutil.copyfile(self.objects / "libclstm.a", self.folder / "src/clstm/lib/libclstm.a")

    # ---- Running tests ----

    def first_failure(self, tests: Sequence[str]) -> str | None:
        """Run tests until one fails; return its name, or None if all pass.

        If none begins, as where a module cannot be imported, that is the first file's.
        """
        peers = "" if find_spec("torch") and find_spec("onnx") else " and not peers"
        command = [sys.executable, "-u", "-m", "pytest", "-x", "-v", "--tb=no", "-rN"]
        # After the tests nothing names one: the last name is that of the test that failed.
        command += ["-o", "console_output_style=classic", "--disable-warnings"]
        command += ["-p", "no:cacheprovider"]
        command += ["-m", f"not long{peers}", *tests]
        log = self.folder / "build" / "tests.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                command, cwd=self.folder, env=self.environment, stdout=file,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        try:
            hangs = waits_in_vain(process, log)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if not hangs and process.returncode in (0, 5):  # 5: every test was left out
            return None
        started = TEST.findall(log.read_text("utf-8", "replace"))
        return started[-1] if started else tests[0]

    def passes_unchanged(self, test: str) -> bool:
        """Tell whether a test, or a file's tests, pass without a change; asked once."""
        if test not in self.passing:
            if self.first_failure([test]) is not None:
                return False
            self.passing.add(test)
        return True


def waits_in_vain(process: "subprocess.Popen[bytes]", log: Path) -> bool:
    """Wait for the end of a process; return True if it prints nothing for too long."""
    size, since = -1, time.monotonic()
    while process.poll() is None:
        time.sleep(0.05)
        now = log.stat().st_size
        if now != size:
            size, since = now, time.monotonic()
        elif time.monotonic() - since > SILENCE:
            return True
    return False
