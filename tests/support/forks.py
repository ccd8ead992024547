"""Children that are forked while another thread uses a model: they go on, or say what is torn.

``python -m tests.support.forks KIND FORKS SEED`` forks at random moments while a thread of the
parent repeats what this kind is about. Each child has five seconds to call, edit, train and stream.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

import clstm

X = np.ones((3, 1), np.float32)
UNITS = 256
TORN = "torn"


class Work:
    """A model whose parameters are all equal at any moment, and its users."""

    def __init__(self) -> None:
        self.lstm = clstm.LSTM(1, UNITS, rng=0)
        old = self.lstm.state_dict()
        self.good = {name: np.full_like(value, 0.1) for name, value in old.items()}
        self.lstm.load_state_dict(self.good)
        self.expected, _ = self.lstm(X)
        self.grad = self.lstm.record(X).backward(np.ones((3, UNITS)))
        self.grad.parameters.flat = 1
        self.optimiser = clstm.optim.Adam(self.lstm)
        self.arrays = {name: np.zeros(300_000, np.float32) for name in "ab"}
        self.gradients = {name: np.ones_like(array) for name, array in self.arrays.items()}
        self.descent = clstm.optim.SGD(self.arrays, 1.0)
        self.stream = self.lstm.stream(2)
        self.module: Any = None

    # In a thread of the parent.

    def packing(self) -> None:
        self.lstm.load_state_dict(self.good)
        self.lstm(X)

    def calling(self) -> None:
        self.lstm(np.ones((100, 8, 1), np.float32))

    def editing(self) -> None:
        with self.lstm.edit() as parameters:
            parameters.flat += 1

    def training(self) -> None:
        self.optimiser.step(self.grad)

    def training_arrays(self) -> None:
        self.descent.step(self.gradients)

    def going_back(self) -> None:
        self.lstm.record(np.ones((100, 1), np.float32)).backward(np.ones((100, UNITS)))

    def streaming(self) -> None:
        self.stream.process(np.ones((100, 2, 1), np.float32))

    def refreshing(self) -> None:
        self.lstm.load_state_dict(self.good)
        self.stream.refresh()

    def swapping(self) -> None:
        """Call a PyTorch module whose weights change each time."""
        import torch  # only this kind needs it

        import clstm.interop.torch

        if self.module is None:
            self.module = clstm.interop.torch.LSTM(1, UNITS)
        with torch.no_grad():
            for parameter in self.module.parameters():
                parameter.mul_(1.01).clamp_(-1, 1)
            self.module(torch.from_numpy(X))

    # In the child.

    def use(self) -> bool:
        """Use everything; return whether something was torn."""
        whole = [self.use_weights(), self.use_averages(), self.use_arrays(), self.use_state()]
        self.use_all()
        return not all(whole)

    def use_weights(self) -> bool:
        try:
            self.lstm(X)
            with self.lstm.edit():
                pass
        except RuntimeError as error:
            assert TORN in str(error), error
            refuses(self.lstm.edit().__enter__)
            refuses(self.lstm.state_dict)
            refuses(self.lstm.stream)
            self.lstm.load_state_dict(self.good)
            return False
        flat = self.lstm.parameters.flat
        assert (flat == flat[0]).all(), "torn, without a word"
        return True

    def use_averages(self) -> bool:
        optimiser = self.optimiser
        try:
            optimiser.step(self.grad)
        except RuntimeError as error:
            assert TORN in str(error), error
            self.optimiser = clstm.optim.Adam(self.lstm)
            return False
        for name in ("m", "v"):
            array = getattr(optimiser, name)
            assert (array == array[0]).all(), "torn, without a word"
        assert abs(optimiser.m[0] - (1 - 0.9**optimiser.t)) < 1e-4, "t counts other steps"
        return True

    def use_arrays(self) -> bool:
        try:
            self.descent.step(self.gradients)
        except RuntimeError as error:
            assert TORN in str(error), error
            self.arrays["a"][...] = self.arrays["b"][...] = 0
            self.descent = clstm.optim.SGD(self.arrays, 1.0)
            self.descent.step(self.gradients)
            return False
        values = {float(array[k]) for array in self.arrays.values() for k in (0, 150_000, -1)}
        assert len(values) == 1, "torn, without a word"
        return True

    def use_state(self) -> bool:
        try:
            self.stream.step(np.ones((2, 1)))
        except RuntimeError as error:
            assert TORN in str(error), error
            refuses(lambda: self.stream.state)
            self.stream.reset()
            return False
        return True

    def use_module(self) -> None:
        """Its next call has the weights that it has now."""
        import torch

        with torch.no_grad():
            y, _ = self.module(torch.from_numpy(X))
        state = {name: value.numpy() for name, value in self.module.state_dict().items()}
        self.lstm.load_state_dict(state)
        assert np.allclose(y.numpy(), self.lstm(X)[0], atol=1e-5)

    def use_all(self) -> None:
        """Everything is usable now, and right."""
        if self.module is not None:
            self.use_module()
        self.lstm.load_state_dict(self.good)
        assert np.allclose(self.lstm(X)[0], self.expected, atol=1e-6)
        self.stream.refresh()
        self.stream.reset()
        y = self.stream.process(np.ones((3, 2, 1), np.float32))
        assert np.allclose(y[:, 1], self.expected, atol=1e-6)
        self.stream.state = self.stream.fork().state
        self.lstm.stream().step(X[0])
        self.optimiser.step(self.lstm.record(X).backward(self.expected))
        assert self.lstm.parameters.flat[0] != np.float32(0.1)
        with self.lstm.edit() as parameters:
            parameters.flat = 7
        assert (self.lstm.parameters.flat == 7).all()


def refuses(attempt: Callable[[], object]) -> None:
    try:
        attempt()
    except RuntimeError as error:
        assert TORN in str(error), error
    else:
        raise AssertionError("what is torn was used")


KINDS = (
    *("packing", "calling", "editing", "training", "training_arrays", "going_back", "streaming"),
    "refreshing",
)


def fork_beside(work: Work, kind: str, seconds: float) -> int:
    """Fork while a thread works; return the child's exit status: 0, or 1 if something was torn."""
    done = threading.Event()

    def repeat() -> None:
        while not done.is_set():
            getattr(work, kind)()

    worker = threading.Thread(target=repeat)
    worker.start()
    time.sleep(seconds)
    child = os.fork()
    if not child:
        signal.alarm(5)  # ends a child that hangs
        status = 2
        with suppress(BaseException):
            try:
                status = int(work.use())
            finally:
                sys.excepthook(*sys.exc_info()) if status == 2 else None  # type: ignore[arg-type]
        os._exit(status)
    done.set()
    worker.join()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    kind, forks, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    rng, work, torn = np.random.default_rng(seed), Work(), 0
    for _ in range(forks):
        status = fork_beside(work, kind, rng.uniform(1e-4, 1e-2))
        assert status in (0, 1), f"the child {'hangs' if status == -signal.SIGALRM else 'fails'}"
        torn += status
    print("went on every time", torn)


if __name__ == "__main__":
    main()
