"""Truncated backpropagation through time: windows of a long sequence that pass on the state."""

import operator
from collections.abc import Callable, Iterator
from typing import Any, Generic, Self, TypeVar

import numpy as np

from .configuration import Configuration
from .layout import Array, Layout, as_plain

T = TypeVar("T")  # the type of a window's tape


class Windows(Iterator[tuple[slice, T]], Generic[T]):
    """An iterator that records a long sequence window by window, made by a model's `windows`.

    Each iteration returns a window, as a slice of the steps of x, and its tape. A window starts
    from the final state of the previous one, but no gradient flows back into that one. Memory is
    needed for a single window. The model may change between windows, for example in an optimiser's
    step.

    Attributes
    ----------
    state : (ndarray, ndarray), tuple of such pairs, or None
        Final state of the last window so far, as a call of the model returns it; pass it to another
        call to continue. Before the first window it is the given initial state.

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
        record: Callable[..., T],
        layout_of: Callable[[Any], Layout],
        x: Any,
        length: int,
        state: Any,
        num_threads: int | None,
    ) -> None:
        self._length = operator.index(length)
        if self._length < 1:
            raise ValueError(f"length must be at least 1, got {length}")
        array = as_plain(x, "x") if hasattr(x, "__array__") else x
        # One step suffices for the check; `record` converts each window.
        first = array[:1] if isinstance(array, np.ndarray) and array.ndim else array
        layout = layout_of(first)
        # One attribute, so that a signal handler's exception finds the state of the window's end.
        self._position: tuple[int, Any] = 0, state
        self._record = record
        self._x: Array = np.asarray(array)
        self._axis = int(layout.batched and layout.batch_first)
        self._num_threads = num_threads

    @property
    def state(self) -> Any:
        """Final state of the last window so far."""
        return self._position[1]

    @state.setter
    def state(self, state: Any) -> None:
        self._position = self._position[0], state

    def __len__(self) -> int:
        """Return the number of windows left; the last one may be shorter."""
        left: int = self._x.shape[self._axis] - self._position[0]
        return -(-left // self._length)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[slice, T]:
        if not len(self):
            raise StopIteration
        start, state = self._position
        stop = min(start + self._length, self._x.shape[self._axis])
        window = slice(start, stop)
        part = self._x[:, window] if self._axis else self._x[window]
        tape = self._record(part, state, num_threads=self._num_threads)
        self._position = stop, tape.state  # type: ignore[attr-defined]
        return window, tape


def check_windows(config: Configuration) -> None:
    """Raise unless an LSTM can be trained window by window."""
    config.check_gradients("windows")
    if config.bidirectional or config.direction == "reverse":
        raise ValueError(
            "windows need a model without a reverse direction, which would have to start each "
            "window from the state of the next one"
        )
