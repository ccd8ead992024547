"""Truncated backpropagation through time: windows of a long sequence that pass on the state."""

import operator
from collections.abc import Iterator
from typing import Protocol, Self

import numpy as np
from numpy.typing import ArrayLike

from .cell import check_gradients
from .configuration import Configuration
from .layout import Array, SupportsArray, as_plain, read_sequence
from .tape import Tape

_GivenState = tuple[ArrayLike, ArrayLike] | None


class _Record(Protocol):
    """The method `LSTM.record` of one model."""

    def __call__(self, x: Array, state: _GivenState, *, num_threads: int | None) -> Tape[Array]: ...


class Windows(Iterator[tuple[slice, Tape[Array]]]):
    """An iterator that records a long sequence window by window, made by `LSTM.windows`.

    Each iteration returns a window, as a slice of the steps of x, and its tape. A window starts
    from the final state of the previous one, but no gradient flows back into that one. Memory is
    needed for a single window. The model may change between windows, for example in an optimiser's
    step.

    Attributes
    ----------
    state : (ndarray, ndarray) or None
        Final h and c of the last window so far; pass it to another call to continue. Before the
        first window it is the given initial state.

    Notes
    -----
    The method is from R. J. Williams, J. Peng, "An efficient gradient-based algorithm for on-line
    training of recurrent network trajectories", 1990; here the
    gradients of a window stay inside it.

    Examples
    --------
    >>> import clstm, numpy as np
    >>> lstm = clstm.LSTM(1, 8, output_size=1, rng=0)
    >>> sgd = clstm.optim.SGD(lstm, lr=0.1)
    >>> x = np.sin(np.arange(1001))[:, np.newaxis]
    >>> for window, tape in lstm.windows(x[:-1], 50):
    ...     loss, dy = clstm.losses.mean_squared_error(tape.y, x[1:][window])
    ...     sgd.step(tape.backward(dy))
    """

    def __init__(
        self,
        record: _Record,
        config: Configuration,
        x: SupportsArray,
        length: int,
        state: _GivenState,
        num_threads: int | None,
    ) -> None:
        check_gradients(config.cell, "windows")
        self._length = operator.index(length)
        if self._length < 1:
            raise ValueError(f"length must be at least 1, got {length}")
        if config.bidirectional or config.direction == "reverse":
            raise ValueError(
                "windows need a model without a reverse direction, which would have to start each "
                "window from the state of the next one"
            )
        array = as_plain(x, "x") if hasattr(x, "__array__") else x
        # One step suffices for the check; `record` converts each window.
        first = array[:1] if isinstance(array, np.ndarray) and array.ndim in (2, 3) else array
        _, layout = read_sequence(
            first, "x", config.input_size, "input_size", config.dtype, config.batch_first
        )
        # One attribute, so that a signal handler's exception finds the state of the window's end.
        self._position: tuple[int, _GivenState] = 0, state
        self._record = record
        self._x: Array = np.asarray(array)
        self._axis = int(layout.batched and layout.batch_first)
        self._num_threads = num_threads

    @property
    def state(self) -> _GivenState:
        """Final state of the last window so far."""
        return self._position[1]

    @state.setter
    def state(self, state: _GivenState) -> None:
        self._position = self._position[0], state

    def __len__(self) -> int:
        """Return the number of windows left; the last one may be shorter."""
        left: int = self._x.shape[self._axis] - self._position[0]
        return -(-left // self._length)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[slice, Tape[Array]]:
        if not len(self):
            raise StopIteration
        start, state = self._position
        stop = min(start + self._length, self._x.shape[self._axis])
        window = slice(start, stop)
        part = self._x[:, window] if self._axis else self._x[window]
        tape = self._record(part, state, num_threads=self._num_threads)
        self._position = stop, tape.state
        return window, tape
