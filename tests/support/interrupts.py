"""KeyboardInterrupt at random moments of small operations: nothing stays locked or half done.

``python -m tests.support.interrupts KIND MOMENTS SEED`` raises KeyboardInterrupt by SIGALRM within
0.3 ms, again and again, while the operation of this kind is repeated, and checks after each.
"""

import signal
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np

import clstm
from clstm import _core, blas_threads

Kind = Iterator[Callable[[], object]]
"""Yields the operation; when it is resumed after an interrupt, checks, and yields it again."""

X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
UNITS = 5


def usable(lstm: clstm.LSTM) -> None:
    """Raise unless the model can be edited and called, and nothing is written then."""
    before = lstm.parameters.flat.copy()
    with lstm.edit():
        pass
    lstm(X)
    assert (lstm.parameters.flat == before).all()


def adam() -> Kind:
    lstm, twin = (clstm.LSTM(3, UNITS, rng=0) for _ in range(2))
    optimiser, expected = clstm.optim.Adam(lstm), clstm.optim.Adam(twin)
    grad = lstm.record(X).backward(np.ones((4, UNITS)))
    while True:
        yield lambda: optimiser.step(grad)
        while expected.t < optimiser.t:
            expected.step(grad)
        for name in ("m", "v", "t"):
            assert np.array_equal(getattr(optimiser, name), getattr(expected, name)), name
        assert (lstm.parameters.flat == twin.parameters.flat).all()
        usable(lstm)


def sgd() -> Kind:
    lstm, twin = (clstm.LSTM(3, UNITS, rng=0) for _ in range(2))
    optimiser, expected = (clstm.optim.SGD(m, 1e-3, momentum=0.9) for m in (lstm, twin))
    grad = lstm.record(X).backward(np.ones((4, UNITS)))
    while True:
        yield lambda: optimiser.step(grad)
        for _ in range(1000):
            if (lstm.parameters.flat == twin.parameters.flat).all():
                break
            expected.step(grad)
        assert (optimiser.velocity == expected.velocity).all()
        usable(lstm)


def dicts() -> Kind:
    """Of steps over arrays of a dict, of clipping them, and of loading an optimiser's state."""
    shapes = {"a": (3, 4), "b": (), "c": (50,), "d": (2,)}
    arrays, twins, fixed, grad = ({n: np.ones(s) for n, s in shapes.items()} for _ in range(4))
    optimiser, expected = clstm.optim.Adam(arrays), clstm.optim.Adam(twins)
    states = [optimiser.state_dict() | {"t": t, "lr": t + 1.0} for t in range(2)]
    for average in (states[1]["m"], states[1]["v"]):
        for array in average.values():
            array += 1
    loaded = clstm.optim.Adam(arrays)

    def clip() -> None:
        norm = clstm.optim.clip_global_norm(grad, np.inf)
        clstm.optim.clip_global_norm(grad, norm * 0.9)

    def load() -> None:
        for state in states:
            loaded.load_state_dict(state)

    while True:
        yield lambda: optimiser.step(fixed)
        while expected.t < optimiser.t:
            expected.step(fixed)
        for name in ("m", "v"):
            for key, array in getattr(optimiser, name).items():
                assert (array == getattr(expected, name)[key]).all(), (name, key)
        assert all((arrays[name] == twins[name]).all() for name in shapes)
        yield clip
        assert len({float(value) for array in grad.values() for value in array.flat}) == 1
        for array in grad.values():
            array[...] = 1
        yield load
        for average in (loaded.m, loaded.v):
            assert all((array == loaded.t).all() for array in average.values())
        assert loaded.t in (0, 1) and loaded.lr in (1e-3, loaded.t + 1.0)


def edits() -> Kind:
    lstm = clstm.LSTM(3, UNITS, rng=0)
    lstm.load_state_dict({name: 0 * value for name, value in lstm.parameters.items()})

    def edit(timeout: float | None) -> None:
        with lstm.edit(timeout) as parameters:
            for view in parameters.values():
                view += 1

    while True:
        for timeout in (None, 0.01):
            yield lambda timeout=timeout: edit(timeout)  # type: ignore[misc]
            assert (lstm.parameters.flat == lstm.parameters.flat[0]).all()
            usable(lstm)


def loads() -> Kind:
    lstm, other = clstm.LSTM(3, UNITS, rng=0), clstm.LSTM(3, UNITS, rng=1)
    states = [lstm.state_dict(), other.state_dict()]
    flats = [lstm.parameters.flat.copy(), other.parameters.flat.copy()]

    def load() -> None:
        for state in states:
            lstm.load_state_dict(state)

    while True:
        yield load
        assert any((lstm.parameters.flat == flat).all() for flat in flats)
        usable(lstm)


def calls() -> Kind:
    lstm = clstm.LSTM(3, UNITS, rng=0)
    dy = np.ones((4, UNITS), np.float32)
    into = lstm.record(X).backward(dy).parameters
    while True:
        for operation in (
            lambda: lstm(X),
            lambda: lstm([X, X[:2]]),
            lambda: lstm.record(X).backward(dy, into=into),
        ):
            yield operation
            usable(lstm)


def windows() -> Kind:
    lstm = clstm.LSTM(3, UNITS, rng=0)
    x = np.tile(X, (100, 1))
    while True:
        passed = lstm.windows(x, 2)
        yield lambda passed=passed: next(passed, None)  # type: ignore[misc]
        done = len(x) - 2 * len(passed)
        if done:
            _, expected = lstm(x[:done])
            for part, wanted in zip(passed.state or (), expected, strict=True):
                assert (part == wanted).all()


def streams() -> Kind:
    lstm, other = clstm.LSTM(3, UNITS, rng=0), clstm.LSTM(3, UNITS, rng=1)
    stream, twin = lstm.stream(2), lstm.stream(2)
    block = np.zeros((4, 2, 3), np.float32)
    states = [stream.state, tuple(part + 1 for part in stream.state)]

    def assign() -> None:
        for state in states:
            stream.state = state

    def move() -> None:
        stream.join(3)
        for _ in range(3):
            stream.leave(0)

    def adopt() -> None:
        lstm.load_state_dict(other.state_dict())
        stream.refresh()

    def advance() -> None:
        rows = stream.batch_size or 0
        stream.step(np.zeros((rows, 3), np.float32))
        stream.process(np.zeros((4, rows, 3), np.float32))

    for operation in (advance, assign, stream.reset, move, stream.fork, adopt) * 10_000:
        yield operation
        rows = stream.batch_size or 0
        h, c = stream.state
        assert h.shape == c.shape == (1, rows, UNITS)
        if operation is assign:
            assert any(all(map(np.array_equal, (h, c), state)) for state in states)
        while rows > 2:
            stream.leave(2)
            rows -= 1
        while rows < 2:
            stream.join()
            rows += 1
        stream.refresh()
        twin.refresh()
        twin.state = stream.state
        assert (stream.process(block) == twin.process(block)).all()
        usable(lstm)


def holds() -> Kind:
    """Of scipy's BLAS, at one thread during passes of the blas engine that are large enough."""
    clstm.set_engine("blas")
    lstm, x = clstm.LSTM(64, 64, rng=0), np.zeros((1, 64, 64), np.float32)
    hold, libraries = _core.blas_hold(), blas_threads.libraries()
    before = [library.num_threads for library in libraries]

    def enter() -> None:
        with hold, hold:
            pass

    while True:
        for operation in (lambda: lstm(x, num_threads=1), enter):
            yield operation
            assert [library.num_threads for library in libraries] == before


def swaps() -> Kind:
    """Of a PyTorch module's weights, which every call compares with its copy."""
    import torch  # only this kind needs it

    import clstm.interop.torch

    torch.manual_seed(0)
    plain = torch.nn.LSTM(3, UNITS)
    module = clstm.interop.torch.accelerate(torch.nn.LSTM(3, UNITS))
    x = torch.from_numpy(X)

    def change() -> None:
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.mul_(1.01).clamp_(-2, 2)
            module(x)

    while True:
        for grad in (False, True):
            yield change
            with torch.set_grad_enabled(grad):
                plain.load_state_dict(module.state_dict())
                assert torch.allclose(module(x)[0], plain(x)[0], atol=1e-5)


KINDS = {
    kind.__name__: kind
    for kind in (adam, sgd, dicts, edits, loads, calls, windows, streams, holds, swaps)
}


def interrupt(operation: Callable[[], object], seconds: float) -> None:
    """Repeat an operation until the alarm raises."""
    begin = time.monotonic()
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        while True:
            operation()
    except KeyboardInterrupt:
        pass
    assert time.monotonic() - begin < 2, "hangs"


def stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    name, moments, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    kind, rng = KINDS[name](), np.random.default_rng(seed)
    signal.signal(signal.SIGALRM, stop)
    for k in range(moments):
        operation = next(kind)
        interrupt(operation, rng.uniform(1e-6, 3e-4))
        print(k, file=sys.stderr)  # where a failure was
    next(kind)
    print("interrupted every time")


if __name__ == "__main__":
    main()
