"""A copy of the sources: built once, changed, built again in part, tested, restored."""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from functools import cached_property
from hashlib import sha256
from importlib.util import find_spec
from multiprocessing.pool import ThreadPool
from pathlib import Path

from tests.mutation.server import SILENCE, TEST, Server
from tests.support.paths import ROOT

CORE = "src/clstm/core"
# Those of setup.py, but for -O. A swap of pointers to different types is an error.
RULES = "-std=gnu11 -fPIC -fopenmp -fvisibility=hidden -ffp-contract=off -Iinclude"
STRICT = "-w -Werror=incompatible-pointer-types -Werror=int-conversion -Werror=return-type"
# The kernels compile in 7 s instead of 15, the passes in 1 instead of 4; tests take half as long
# again. With -O0 that is 3.5 s, but tests take three times as long.
QUICK = f"-Og {RULES} {STRICT}"
SHIPPED = f"-O3 {RULES} {STRICT}"
# The modules only pass arrays.
MODULE_FLAGS = "-O0 -fPIC -fwrapv -fvisibility=hidden -w"
MODULES = ("_core", "_blas")
TIERS = "not long and not slow"  # markers of the tests that run


class Refused(Exception):
    """A change that does not compile."""


class Same(Exception):
    """A change that leaves the compiled code as it is."""


def compiler() -> list[str]:
    return shlex.split(os.environ.get("CC", "cc"))


class Tree:
    """The copy, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.environment = os.environ | {
            "PYTHONPATH": str(self.folder / "src"),
            "PYTHONDONTWRITEBYTECODE": "1",  # two versions of a module may have one time and size
            "PYTHONFAULTHANDLER": "1",
            "HYPOTHESIS_PROFILE": "again",
            "KERAS_BACKEND": os.environ.get("KERAS_BACKEND", "torch"),
        }
        self.passing: set[tuple[str, str]] = set()
        self.isa = ""  # the instruction set that the tests use
        self.tested = 0.0  # seconds of processor time that tests took
        self.servers: dict[tuple[str, ...], Server] = {}

    # ---- Making it ----

    def prepare(self) -> None:
        """Copy the files that git knows, and build what has changed since the last run."""
        shutil.rmtree(self.folder / ".hypothesis", ignore_errors=True)
        listed = self.command(["git", "ls-files", "-z"], ROOT).split("\0")
        names = {name for name in filter(None, listed) if (ROOT / name).is_file()}
        for name in names:
            source, target = ROOT / name, self.folder / name
            if not target.exists() or target.read_bytes() != source.read_bytes():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
        for folder in ("src", "tests"):  # what has been deleted or renamed since
            for path in (self.folder / folder).rglob("*.py*"):
                name = path.relative_to(self.folder).as_posix()
                if path.suffix != ".pyc" and name not in names:
                    path.unlink()
        self.command([sys.executable, "setup.py", "-q", "build_ext", "--inplace"], self.folder)
        code = "import clstm; print(clstm.__file__, clstm.config()['isa'], sep='\\n')"
        where, self.isa = self.command([sys.executable, "-c", code]).split()
        if not where.startswith(str(self.folder)):
            raise RuntimeError(f"the tests would import {where}, not {self.folder}")
        self.build_base()

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
    def units(self) -> list[Path]:
        """The translation units of the core; of the kernels, those that the tests use."""
        units = [u for u in (self.folder / CORE).glob("*.c") if not u.stem.startswith("kernels_")]
        return [*sorted(units), self.folder / CORE / f"kernels_{self.isa}.c"]

    @cached_property
    def dependents(self) -> dict[str, list[str]]:
        """The translation units of the core that include a file, themselves included."""
        found: dict[str, list[str]] = {}
        for unit in self.units:
            command = [*compiler(), "-std=gnu11", "-fopenmp", "-Iinclude", "-MM", str(unit)]
            names = self.command(command).replace("\\\n", " ").split(":", 1)[1].split()
            for name in {(self.folder / name).resolve() for name in names}:
                found.setdefault(name.relative_to(self.folder).as_posix(), []).append(unit.stem)
        return found

    # ---- The build that mutants differ from ----

    @property
    def base(self) -> Path:
        return self.folder / "build" / "base"

    def build_base(self) -> None:
        """Build everything with the flags of mutants, unless that has been done."""
        folder = self.folder / "src/clstm"
        sources = sorted([*folder.rglob("*.[ch]"), *folder.rglob("*.p[xy][dxi]")])
        inputs = [f"{QUICK} {MODULE_FLAGS}".encode(), *(source.read_bytes() for source in sources)]
        key = sha256(b"".join(inputs)).hexdigest()
        stamp = self.base / "key"
        if not (stamp.exists() and stamp.read_text() == key):
            shutil.rmtree(self.base, ignore_errors=True)
            shutil.copytree(self.objects / "core", self.base / "core")
            self.compile_units([unit.stem for unit in self.units], QUICK, self.base / "core")
            self.archive(sorted((self.base / "core").glob("*.o")), self.base / "libclstm.a")
            for name in MODULES:
                self.translate(name, self.base)
                self.link(name, self.base / f"{name}.o", self.base / "libclstm.a", self.base)
            stamp.write_text(key)
        self.restore_modules()

    def restore_modules(self) -> None:
        for module in self.base.glob("*.so"):
            copy = self.folder / "src/clstm" / f"{module.name}.new"
            shutil.copyfile(module, copy)  # in place, a process that has the old one would crash
            copy.replace(copy.with_suffix(""))
        shutil.copyfile(self.base / "libclstm.a", self.folder / "src/clstm/lib/libclstm.a")

    def restore(self, path: str) -> None:
        """Undo a change, and what was built from it."""
        shutil.copy2(ROOT / path, self.folder / path)
        if not path.endswith(".py"):
            self.restore_modules()

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
            self.link(name, built, self.base / "libclstm.a", self.folder / "src/clstm")

    def compile(self, flags: str, source: Path, target: Path) -> Path:
        words = [*compiler(), *flags.split(), "-c", str(source), "-o", str(target)]
        run = subprocess.run(words, cwd=self.folder, capture_output=True, check=False)
        if run.returncode:
            raise Refused(run.stderr.decode(errors="replace")[-500:])
        return target

    def compile_units(self, units: list[str], flags: str, made: Path) -> list[Path]:
        def build_one(unit: str) -> Path:
            return self.compile(flags, self.folder / CORE / f"{unit}.c", made / f"{unit}.o")

        with ThreadPool(2) as pool:
            return pool.map(build_one, units, 1)

    def build_core(self, units: list[str], made: Path) -> None:
        own = self.base / "core"
        built = {target.name: target for target in self.compile_units(units, QUICK, made)}
        if all(t.read_bytes() == (own / t.name).read_bytes() for t in built.values()):
            raise Same
        objects = [built.get(o.name, o) for o in sorted(own.glob("*.o"))]
        self.archive(objects, self.folder / "src/clstm/lib/libclstm.a")
        for name in MODULES:
            archive = self.folder / "src/clstm/lib/libclstm.a"
            self.link(name, self.base / f"{name}.o", archive, self.folder / "src/clstm")

    def is_same_when_optimised(self, path: str) -> bool:
        """Tell whether a changed file of the core gives the code that is shipped."""
        units = self.dependents.get(path, []) if path.startswith(CORE) else []
        made = self.folder / "build" / "mutant"
        built = self.compile_units(units, SHIPPED, made)
        own = self.objects / "core"
        return bool(built) and all(t.read_bytes() == (own / t.name).read_bytes() for t in built)

    def archive(self, objects: Sequence[Path], target: Path) -> None:
        new = target.with_name("new.a")
        new.unlink(missing_ok=True)
        self.command(["ar", "rcs", str(new), *map(str, objects)])
        new.replace(target)

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
        folders = ["include", "src/clstm", np.get_include(), sysconfig.get_path("include")]
        flags = " ".join([MODULE_FLAGS, *(f"-I{folder}" for folder in folders)])
        return self.compile(flags, source, made / f"{name}.o")

    def link(self, name: str, compiled: Path, archive: Path, folder: Path) -> None:
        target = folder / f"{name}{sysconfig.get_config_var('EXT_SUFFIX')}"
        new = target.with_name(f"{target.name}.new")
        words = ["-shared", str(compiled), str(archive), "-o", str(new), "-fopenmp", "-pthread"]
        run = subprocess.run([*compiler(), *words, "-lm"], capture_output=True, check=False)
        if run.returncode:
            raise Refused(run.stderr.decode(errors="replace")[-500:])
        new.replace(target)

    # ---- Running tests ----

    def server(self, packages: tuple[str, ...]) -> Server:
        """Return the process that has imported the packages, and forks those that run tests."""
        if packages not in self.servers:
            self.servers[packages] = Server(packages, self.folder, self.environment)
        return self.servers[packages]

    def close(self) -> None:
        for server in self.servers.values():
            server.close()

    def first_failure(
        self,
        tests: Sequence[str],
        packages: tuple[str, ...] = (),
        seconds: float = SILENCE,
        first: Sequence[str] = (),
        engine: str = "",
    ) -> str | None:
        """Run tests until one fails; return its name, or None if none does.

        They end after `seconds` of processor time. Those of `first` that are among the tests come
        first.

        If none begins, as where a module cannot be imported, that is the first file's.
        """
        peers = "" if find_spec("torch") and find_spec("onnx") else " and not peers"
        arguments = ["-x", "-v", "--tb=no", "-rN", "--assert=plain"]
        # After the tests nothing names one: the last name is that of the test that failed.
        arguments += ["-o", "console_output_style=classic", "--disable-warnings"]
        arguments += ["-p", "no:cacheprovider", "-p", "no:xdist"]
        arguments += ["-m", f"{TIERS}{peers}", *tests]
        log = self.folder / "build" / "tests.log"
        durations = self.folder / "build" / "durations.json"
        request = {"arguments": arguments, "first": list(first), "seconds": max(1, int(seconds))}
        request["engine"] = engine
        passed, taken = self.server(packages).run(request, log, durations)
        self.tested += taken
        if passed:
            return None
        started = TEST.findall(log.read_text("utf-8", "replace"))
        return started[-1] if started else tests[0]

    def passes_unchanged(self, test: str, packages: tuple[str, ...] = (), engine: str = "") -> bool:
        """Tell whether a test, or a file's tests, pass without a change; asked once."""
        if (test, engine) not in self.passing:
            if self.first_failure([test], packages, engine=engine) is not None:
                return False
            self.passing.add((test, engine))
        return True
