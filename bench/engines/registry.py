"""clstm and its peers behind one small interface: same weights, same input, same threads.

`Engine` in measure/case.py is that interface. A peer's outputs are compared with clstm's before it
is timed. No library is imported before its engine is built, since each starts threads of its own.

An engine lists the options of a shape that it knows (`options`). One with `needs` is another way to
run the shapes that have such an option, and takes no others. `lacks` names the arrays that it can't
return.

A "step" trains: it changes the model, and `outputs` are valid for the first one only.
"""

import importlib.util
from importlib.metadata import version

import numpy as np

from bench.engines.clstm_engines import Clstm, ClstmList
from bench.engines.jax_engine import Jax
from bench.engines.onnx_engines import OnnxPadded, OnnxRuntime, OpenVino
from bench.engines.torch_engines import Torch, TorchClstm, TorchPadded, TorchPrepacked
from bench.measure.case import Case
from bench.measure.shapes import Shape

TOLERANCE = 1e-4


ENGINES = {
    "clstm": Clstm,
    "torch": Torch,
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVino,
    "jax": Jax,
    "torch_prepacked": TorchPrepacked,
    "torch_padded": TorchPadded,
    "onnxruntime_padded": OnnxPadded,
    "clstm_list": ClstmList,
    "torch_clstm": TorchClstm,
}
PEERS = tuple(name for name in ENGINES if name != "clstm")


def build_case(name: str, shape: Shape, mode: str, threads: int) -> Case:
    """The engine `name`, built and ready to be timed."""
    return Case(ENGINES[name](shape, mode, threads), threads)


def installed_peers(mode: str | None = None, shape: Shape | None = None) -> list[str]:
    """Names of the peers that are installed, have `mode` and run `shape` (None: any)."""

    def usable(engine) -> bool:
        installed = all(importlib.util.find_spec(module) for module in engine.modules)
        runs = shape is None or _needs(engine) <= shape.options <= _options(engine)
        return installed and runs and (mode in engine.modes if mode else bool(engine.modes))

    return [name for name in PEERS if usable(ENGINES[name])]


def _needs(engine) -> frozenset[str]:
    return getattr(engine, "needs", frozenset())


def _options(engine) -> frozenset[str]:
    return getattr(engine, "options", frozenset())


def versions() -> dict[str, str]:
    """Title -> version of clstm and of every installed peer; ways to run one are left out."""
    chosen = (ENGINES[name] for name in ("clstm", *installed_peers()))
    return {e.title: version(e.distribution) for e in chosen if not _needs(e)}


def check(peer: str, found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    """Compare a peer's outputs with clstm's; AssertionError names the array that differs.

    Gradients add up T * B rows, so the tolerance is relative to the largest value of each array.
    """
    lacks = getattr(ENGINES[peer], "lacks", frozenset())
    expected = {name: array for name, array in expected.items() if name not in lacks}
    missing = expected.keys() ^ found.keys()
    if missing:
        raise AssertionError(f"clstm and {peer} don't return the same arrays: {sorted(missing)}")
    for name, array in expected.items():
        if found[name].shape != array.shape:
            raise AssertionError(f"{name}: clstm {array.shape}, {peer} {found[name].shape}")
        error = np.abs(found[name] - array).max()
        bound = TOLERANCE * max(1.0, np.abs(array).max())
        if not error <= bound:  # a NaN must fail too
            message = f"{name}: clstm and {peer} differ by {error:.2e}, allowed {bound:.2e}"
            raise AssertionError(message)
