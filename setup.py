"""Builds the C core into libclstm.a, then the Cython modules; ships archive and header with them.

Environment variables:

    CLSTM_OPENMP=0                    build without OpenMP; 1: fail if the compiler lacks it
    CLSTM_SANITIZE=address,undefined  with these sanitizers; the first finding ends the process
    CLSTM_DEBUG=1                     no optimisation, debug information

The last two also enable the core's assertions (core/asserts.h).

CC, AR, CFLAGS and LDFLAGS are honoured as usual.
"""

import os
import runpy
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from functools import cache
from glob import glob
from hashlib import sha256
from multiprocessing.pool import ThreadPool
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_clib import build_clib
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

if sys.platform == "win32":
    sys.exit(
        "clstm does not support Windows: its thread team is written for POSIX threads, "
        "its kernels for the vector extensions of gcc and clang."
    )

CORE = sorted(glob("src/clstm/core/*.c"))
PUBLIC_HEADERS = sorted(glob("include/*.h"))
HEADERS = PUBLIC_HEADERS + sorted(glob("src/clstm/core/**/*.h", recursive=True))
TEMPLATES = sorted(Path("packaging").rglob("*.in"))
GENERATOR = "src/clstm/_boundary/generate.py"
GENERATED = ["src/clstm/_api/declarations.pxi", "src/clstm/_api/names.pxi"]  # for `cimport clstm`


def tool(name: str) -> list[str]:
    """Return the command for CC or AR: the user's, else that of the interpreter's own build."""
    return shlex.split(os.environ.get(name) or sysconfig.get_config_var(name) or name.lower())


def user_flags(name: str) -> list[str]:
    return shlex.split(os.environ.get(name, ""))


def optimisation() -> list[str]:
    if sanitizers := os.environ.get("CLSTM_SANITIZE"):
        # -g1 has the lines of findings; the rest of -g takes a third of the compile time.
        # With -O1 the kernels take four times as long to compile as with -Og, and run no faster.
        flags = ["-Og", "-g1", "-fno-omit-frame-pointer", "-DCLSTM_ASSERT=1"]
        return [*flags, *sanitizer_flags(sanitizers)]
    if os.environ.get("CLSTM_DEBUG", "0") != "0":
        return ["-O0", "-g", "-DCLSTM_ASSERT=1"]
    return ["-O3"]


def sanitizer_flags(sanitizers: str | None) -> list[str]:
    # By default UBSan only prints its findings, and a test run passes in spite of them.
    return [f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all"] if sanitizers else []


@cache
def openmp() -> list[str]:
    """Return the OpenMP flag, or nothing if the user disables OpenMP or the compiler lacks it."""
    choice = os.environ.get("CLSTM_OPENMP", "")
    if choice == "0":
        return []
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.c")
        source.write_text("#include <omp.h>\nint main(void) { return omp_in_parallel(); }\n")
        flags = [*user_flags("CFLAGS"), "-fopenmp", str(source), *user_flags("LDFLAGS")]
        command = [*tool("CC"), *flags, "-o", str(source.with_suffix(""))]
        found = subprocess.run(command, capture_output=True, check=False).returncode == 0
    if not found and choice == "1":
        sys.exit("CLSTM_OPENMP=1, but the compiler cannot build a program with -fopenmp")
    if not found:
        print("clstm: the compiler has no OpenMP; its team of threads is left out", file=sys.stderr)
    return ["-fopenmp"] if found else []


def core_command() -> list[str]:
    """Return the compile command of the core. The project's flags come last, so they win."""
    rules = ["-std=gnu11", *optimisation(), "-fPIC", *openmp(), "-fvisibility=hidden"]
    return [*tool("CC"), *user_flags("CFLAGS"), *rules, "-ffp-contract=off", "-Iinclude", "-c"]


def runtime() -> str:
    """Return the linker arguments for the compiler's runtime, which the archive needs."""
    version = subprocess.run([*tool("CC"), "--version"], capture_output=True, check=True).stdout
    library = "-lomp" if b"clang" in version else "-lgomp"
    sanitizers = sanitizer_flags(os.environ.get("CLSTM_SANITIZE"))
    return " ".join([*sanitizers, *([library] if openmp() else [])])


def digest(*parts: str | bytes) -> str:
    whole = sha256()
    for part in parts:
        whole.update(sha256(part.encode() if isinstance(part, str) else part).digest())
    return whole.hexdigest()


def write_blas_int() -> Path:
    """Declare the integer type of scipy's BLAS for _blas.pyx; scipy exports it from 1.18 on."""
    import scipy

    declarations = Path(scipy.__file__).with_name("linalg") / "cython_blas.pxd"
    exported = "blas_int" in declarations.read_text()
    line = "from scipy.linalg.cython_blas cimport blas_int" if exported else "ctypedef int blas_int"
    target = Path("build/cython/blas_int.pxi")
    target.parent.mkdir(parents=True, exist_ok=True)
    if (
        not target.exists() or target.read_text() != line
    ):  # a new modification time would cause a new build
        target.write_text(line)
    return target


class Stamp:
    """A file beside a built one with the digest of its inputs.

    Contents and commands are compared, not modification times: an older version of an input may
    have an older time.
    """

    def __init__(self, built: Path, *parts: str | bytes) -> None:
        self.built = built
        self.path = built.with_name(built.name + ".key")
        self.key = digest(*parts)

    def current(self) -> bool:
        return self.built.exists() and self.path.exists() and self.path.read_text() == self.key

    def write(self) -> None:
        self.path.write_text(self.key)


class BuildCore(build_clib):
    """Compiles the core with its own plain command line and archives it.

    setup() does not know the library: the modules would be linked with `-lclstm`, which may find
    another copy.
    """

    @property
    def archive(self) -> Path:
        return Path(self.build_clib, "libclstm.a")

    def run(self) -> None:
        command = core_command()
        version = subprocess.run([*tool("CC"), "--version"], capture_output=True, check=True).stdout
        headers = [Path(header).read_bytes() for header in HEADERS]
        shared: list[str | bytes] = [shlex.join(command), version, *headers]
        objects = Path(self.build_temp, "core")
        objects.mkdir(parents=True, exist_ok=True)

        def compile_one(source: str) -> Stamp:
            stamp = Stamp(objects / f"{Path(source).stem}.o", *shared, Path(source).read_bytes())
            if not stamp.current():
                self.spawn([*command, source, "-o", str(stamp.built)])
                stamp.write()
            return stamp

        with ThreadPool() as pool:
            stamps = pool.map(compile_one, CORE, chunksize=1)
        self.collect(stamps)

    def collect(self, stamps: list[Stamp]) -> None:
        whole = Stamp(self.archive, *(s.built.name + s.key for s in stamps))
        if whole.current():
            return
        self.archive.parent.mkdir(parents=True, exist_ok=True)
        self.archive.unlink(missing_ok=True)  # `ar r` would keep the objects of deleted sources
        self.spawn([*tool("AR"), "rcs", str(self.archive), *(str(s.built) for s in stamps)])
        whole.write()


class BuildModules(build_ext):
    """Builds the Cython modules from the archive, and ships the files that C programs need."""

    def run(self) -> None:
        self.run_command("build_clib")
        super().run()
        for source, target in self.shipped():
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            if Path(source) in TEMPLATES:
                self.fill(Path(source), Path(target))
            else:
                shutil.copyfile(source, target)

    def fill(self, template: Path, target: Path) -> None:
        """Write a file of packaging/ with its @NAMES@ replaced, as install-c does with sed."""
        text = template.read_text("utf-8").replace("@RUNTIME@", runtime())
        target.write_text(text.replace("@VERSION@", self.distribution.get_version()), "utf-8")

    def build_extension(self, ext: Extension) -> None:
        import numpy as np

        ext.sources = self.translate(ext)
        archive = str(self.get_finalized_command("build_clib").archive)
        sanitizers = sanitizer_flags(os.environ.get("CLSTM_SANITIZE"))
        ext.include_dirs += ["include", "src/clstm", np.get_include()]
        ext.define_macros += [("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")]
        ext.extra_compile_args += [*optimisation(), "-fvisibility=hidden"]
        if not os.environ.get("CLSTM_SANITIZE") and not os.environ.get("CLSTM_DEBUG"):
            ext.extra_compile_args.append("-g0")  # the interpreter's own flags often have -g
        ext.extra_objects += [archive]
        ext.extra_link_args += [*openmp(), *sanitizers, "-pthread", "-lm"]
        ext.depends += [archive]  # new if the core, a header, the compiler or a flag is new
        super().build_extension(ext)

    def translate(self, ext: Extension) -> list[str]:
        """Generate src/clstm/_api, and translate the extension's .pyx to C below build/."""
        import Cython
        from Cython.Build import cythonize

        runpy.run_path(GENERATOR, run_name="__main__")
        parts = sorted(Path("src/clstm").rglob("*.px[di]"))
        inputs = [write_blas_int(), *parts, *ext.sources]
        built = Path("build/cython", ext.sources[0]).with_suffix(".c")
        stamp = Stamp(built, Cython.__version__, *(Path(i).read_bytes() for i in inputs))
        stale = not stamp.current()
        folders = ["src", "build/cython"]
        [result] = cythonize([ext], build_dir="build/cython", include_path=folders, force=stale)
        stamp.write()
        return result.sources

    def shipped(self) -> list[tuple[str, str]]:
        """Return the files of the package beside the modules, as pairs (source, target)."""
        in_place = self.inplace or self.editable_mode
        package = Path("src/clstm") if in_place else Path(self.build_lib, "clstm")
        archive = self.get_finalized_command("build_clib").archive
        pairs = [(str(archive), str(package / "lib" / archive.name))]
        pairs += [(h, str(package / "include" / Path(h).name)) for h in PUBLIC_HEADERS]
        if not in_place:
            pairs += [(g, str(package / "_api" / Path(g).name)) for g in GENERATED]
        described = [(t, package / t.relative_to("packaging").with_suffix("")) for t in TEMPLATES]
        return pairs + [(str(template), str(target)) for template, target in described]

    def get_outputs(self) -> list[str]:
        return super().get_outputs() + [target for _, target in self.shipped()]


class BuildPackage(build_py):
    """Copies the Python files into a clean folder, without files that were deleted since."""

    def run(self) -> None:
        if not self.editable_mode:
            for old in Path(self.build_lib, "clstm").rglob("*"):
                if old.is_file() and old.suffix != ".so":
                    old.unlink()
        super().run()


setup(
    ext_modules=[
        Extension("clstm._core", ["src/clstm/_core.pyx"]),
        Extension("clstm._blas", ["src/clstm/_blas.pyx"]),
    ],
    cmdclass={"build_clib": BuildCore, "build_ext": BuildModules, "build_py": BuildPackage},
)
