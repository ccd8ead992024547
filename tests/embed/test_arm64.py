"""The core on 64-bit ARM: cross-compiled and run by an emulator, against the specification."""

import re

import numpy as np
import pytest

from tests.embed import native
from tests.support.activation_accuracy import assert_good, points
from tests.support.bounds import assert_identical
from tests.support.case import Case

pytestmark = pytest.mark.long

PACKAGES = "gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"
COMPILER = "aarch64-linux-gnu-gcc"

both_types = pytest.mark.parametrize("dtype", [np.float32, np.float64])
hidden_sizes = pytest.mark.parametrize("hidden_size", native.HIDDEN_SIZES)


@pytest.fixture(scope="module")
def arm(tmp_path_factory):
    native.needed(COMPILER, PACKAGES)
    emulator = native.needed("qemu-aarch64", PACKAGES)
    folder = tmp_path_factory.mktemp("arm64")
    build = native.Build(folder, COMPILER, link_flags=("-static",), emulator=(emulator,))
    return build.compile_core()


@pytest.fixture(scope="module", params=["neon", "generic"])
def build(request, arm):
    return native.Build(**{**vars(arm), "isa": request.param})


def test_neon_computes(arm):
    assert arm.run("what_computes").decode().split() == ["neon", "packed"]


def test_the_kernels_use_neons_fused_multiply_add(arm):
    objdump = native.needed("aarch64-linux-gnu-objdump", "binutils-aarch64-linux-gnu")
    code = native.execute(objdump, "-d", "kernels_neon.o", cwd=arm.folder).decode()
    for lanes in ("4s", "2d"):
        assert re.search(rf"\sfmla\s+v\d+\.{lanes}", code)


@both_types
@hidden_sizes
def test_forward(build, hidden_size, dtype):
    native.check_forward(build, native.shape(hidden_size, dtype))


@both_types
@hidden_sizes
def test_gradients(build, hidden_size, dtype):
    batch = native.BATCHES[hidden_size % len(native.BATCHES)]
    native.check_gradients(build, native.shape(hidden_size, dtype, batch))


@pytest.mark.parametrize("case", native.OPTIONS, ids=native.name_of)
def test_every_option(build, case):
    native.check_options(build, case)


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_a_team_of_posix_threads_gives_the_same_numbers(build, threads):
    """ARM orders memory more weakly; an emulator on x86 shows only part of what may go wrong."""
    case = Case(steps=40, batch=1, input_size=20, hidden_size=300)
    alone, together = build.run_case(case), build.run_case(case, threads=threads)
    assert 2 <= together.threads <= threads
    for actual, expected in zip(together[:3], alone[:3], strict=True):
        assert_identical(actual, expected)


def test_the_floating_point_environment_is_given_back(build):
    assert build.run("floating_point") == b""


@both_types
@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
def test_activations(build, name, dtype):
    def emulated(name, x):
        kind = f"f{8 * x.itemsize}"
        return np.frombuffer(build.run("activations", name, kind, data=x.tobytes()), x.dtype)

    assert_good(name, points(dtype), function=emulated)
