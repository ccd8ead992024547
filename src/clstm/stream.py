"""Live sequences: an LSTM that is given its steps one by one, and keeps the state between them."""

import operator
import sys
from typing import Any, NoReturn, Self

import numpy as np
from numpy.typing import ArrayLike

from . import _core
from .configuration import Configuration
from .layout import Array, State, SupportsArray, as_real, check_out, read_state


class Stream:
    """A live sequence, or a batch of them that advance together, made by `LSTM.stream`.

    Results are those of one call over the whole sequence, however it is cut into steps and blocks:
    equal bit by bit by the packed engine, which streams always run on. A stream works on the thread
    that calls it, and keeps the weights with which it began until `refresh`; the model may be
    edited and trained meanwhile.

    Attributes
    ----------
    batch_size : int or None
        Sequences B, the rows of a batch; None for a single one without such an axis.
    state : (ndarray, ndarray)
        Copies of h (L, R) and c (L, H), or (L, B, R) and (L, B, H). It can be assigned to, in the
        same shapes: both parts are taken, or neither if one does not fit.

    Notes
    -----
    It is one caller's at a time: any other thread's call meanwhile raises RuntimeError. `step` and
    `process` give the GIL to others only where there is work for longer than that takes.

    A stream cannot be pickled. `fork` copies it, and its `state` can be saved.

    Examples
    --------
    >>> import clstm, numpy as np
    >>> lstm = clstm.LSTM(input_size=3, hidden_size=8, rng=0)
    >>> stream = lstm.stream()
    >>> stream.step(np.ones(3)).shape
    (8,)
    >>> stream.process(np.ones((100, 3))).shape
    (100, 8)
    """

    __slots__ = ("__weakref__", "_batched", "_config", "_stream")

    def __init__(self, stream: _core.Stream, config: Configuration, batched: bool) -> None:
        self._stream = stream
        self._config = config
        self._batched = batched

    def step(self, x: SupportsArray, out: Array | None = None) -> Array:
        """Advance by one step.

        Parameters
        ----------
        x : ndarray, shape (I,) or (B, I)
            Any real dtype and memory layout.
        out : ndarray, optional
            Where y goes: of exactly its shape and dtype, C-contiguous; x itself, or sharing no
            memory with it.

        Returns
        -------
        ndarray, shape (O,) or (B, O)
            y_t, never written again; `out` if given.

        Raises
        ------
        ValueError, TypeError
            If an argument does not fit; it is named, with what was expected. Nothing has been
            written then, and the state is as it was.
        RuntimeError
            If another thread is using the stream.
        """
        y = self._stream.step(x, out)
        return self._convert(x, out, False) if y is None else y

    def process(self, x: SupportsArray, out: Array | None = None) -> Array:
        """Advance by a block of steps.

        Parameters
        ----------
        x : ndarray, shape (T, I) or (T, B, I)
            As in `step`; also where the model is `batch_first`. T may be 0.
        out : ndarray, optional
            As in `step`.

        Returns
        -------
        ndarray, shape (T, O) or (T, B, O)
            y at every step; `out` if given.

        Raises
        ------
        ValueError, TypeError, RuntimeError
            As in `step`.
        KeyboardInterrupt
            By Ctrl-C also in the middle of a long block. The stream is then somewhere in the block,
            after a whole step: `fork` it before, or keep its `state`, to try again.
        """
        y = self._stream.process(x, out)
        return self._convert(x, out, True) if y is None else y

    def _convert(self, x: Any, out: Array | None, block: bool) -> Array:
        """Advance by what the core cannot take as it is, or say why not."""
        config = self._config
        array = np.require(as_real(x, "x", config.dtype), requirements=("C", "A"))
        axes = {"T": len(array) if array.ndim else 0} if block else {}
        axes |= {"batch_size": self._stream.rows} if self._batched else {}
        axes["input_size"] = config.input_size
        if array.shape != tuple(axes.values()):
            expected = ", ".join(n if n == "T" else f"{n}={size}" for n, size in axes.items())
            raise ValueError(f"x has shape {array.shape}, expected ({expected})")
        target = None
        if out is not None:
            shape = (*array.shape[:-1], config.output_width)
            check_out(out, shape, config.dtype, {} if out is x else {"x": [x]})
            target = array if out is x else np.asarray(out)
        y = (self._stream.process if block else self._stream.step)(array, target)
        if y is None:
            raise RuntimeError("the stream's rows have changed meanwhile")
        return y if out is None else out

    @property
    def state(self) -> State:
        """Copies of h and c."""
        return self._stream.get_state()

    @state.setter
    def state(self, state: tuple[ArrayLike, ArrayLike]) -> None:
        config = self._config
        sizes = config.num_parts, self._stream.rows, config.state_size, config.hidden_size
        h, c = read_state(state, "state", sizes, config.dtype, self._batched)
        if h is None or c is None:
            raise TypeError("state must be a pair (h, c) of arrays: reset() is for the initial one")
        self._stream.set_state(h, c)

    def reset(self) -> None:
        """Put all rows back to the initial state, that of the weights in use."""
        self._stream.reset()

    def refresh(self) -> None:
        """Take the weights, and the initial state, that the model has now; the state stays.

        Raises
        ------
        RuntimeError
            Inside `LSTM.edit`; the stream is then as it was.
        """
        self._stream.refresh()

    def fork(self) -> Self:
        """Return an independent stream that goes on from where this one is, with its weights."""
        return type(self)(self._stream.fork(), self._config, self._batched)

    # ---- The rows of a batch ----

    @property
    def batch_size(self) -> int | None:
        """Rows that there are now."""
        return self._stream.rows if self._batched else None

    def join(self, n: int = 1) -> range:
        """Add rows at the initial state, the last ones.

        Parameters
        ----------
        n : int
            How many, 0 or more. Where there is no more memory for them it is doubled.

        Returns
        -------
        range
            Their numbers.

        Raises
        ------
        ValueError, TypeError, MemoryError
            If `n` does not fit; ValueError also for a stream without a `batch_size`.
        """
        self._check_batched("join")
        count = row_count(n, "n")
        first = self._stream.join(count)
        return range(first, first + count)

    def leave(self, row: int) -> None:
        """Take a row out: the last one takes its place and number, no other moves.

        Raises
        ------
        ValueError, TypeError
            If there is no such row; ValueError also for a stream without a `batch_size`.
        """
        self._check_batched("leave")
        number = row_count(row, "row")
        if not self._stream.leave_row(number):
            raise ValueError(f"row is {number}, there are {self._stream.rows} rows")

    def _check_batched(self, what: str) -> None:
        if not self._batched:
            raise ValueError(f"{what}() needs a stream that was made with a batch_size")

    def __repr__(self) -> str:
        rows = f", batch_size={self._stream.rows}" if self._batched else ""
        return f"<Stream of LSTM({self._config!r}){rows}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a stream cannot be pickled or copied: fork() it, or pickle its state")


def row_count(value: Any, name: str) -> int:
    """Check a number of rows, or of one of them."""
    try:
        count = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {type(value).__name__}") from None
    if not 0 <= count <= sys.maxsize:
        raise ValueError(f"{name} must be at least 0, and memory hold as many rows; got {count}")
    return count
