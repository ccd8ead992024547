"""Live sequences: an LSTM that receives its steps one by one and keeps the state between them."""

import operator
import sys
from typing import Any, NoReturn, Self

import numpy as np
from numpy.typing import ArrayLike

from . import _core
from .configuration import Configuration
from .layout import Array, State, SupportsArray, as_array, as_pair, cast, check_out, read_state


class Stream:
    """A live sequence, or a batch of sequences that advance together, made by `LSTM.stream`.

    The results are those of a single call over the whole sequence, regardless of its division into
    steps and blocks, and bitwise equal to those of the packed engine, which streams always use. A
    stream runs on the calling thread. It keeps the weights of its start until `refresh`; the model
    may be edited and trained in the meantime.

    Attributes
    ----------
    batch_size : int or None
        Number B of sequences, the rows of a batch; None for a single sequence without a batch axis.
    state : (ndarray, ndarray)
        Copies of h (L, R) and c (L, H), or (L, B, R) and (L, B, H). A pair of the same shapes can
        be assigned; if either array does not fit, the state stays unchanged.

    Notes
    -----
    A stream serves one caller at a time; a concurrent call raises RuntimeError. `step` and
    `process` release the GIL only if the computation takes longer than releasing it.

    A stream cannot be pickled. It can be copied with `fork`, and its `state` can be saved.

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
            Input of one step, of any real dtype and memory layout.
        out : ndarray, optional
            Array for y_t, of exactly its shape and dtype, C-contiguous; either x itself or sharing
            no memory with x.

        Returns
        -------
        ndarray, shape (O,) or (B, O)
            Output y_t, in a new array or in `out`.

        Raises
        ------
        ValueError, TypeError
            If an argument does not fit. The message names the argument and what was expected;
            nothing has been written, and the state is unchanged.
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
            Input of T >= 0 steps, as in `step`. The steps come first even if the model is
            `batch_first`.
        out : ndarray, optional
            As in `step`.

        Returns
        -------
        ndarray, shape (T, O) or (T, B, O)
            Output at every step, in a new array or in `out`.

        Raises
        ------
        ValueError, TypeError, RuntimeError
            As in `step`.
        KeyboardInterrupt
            On Ctrl-C, even in the middle of a long block. The stream is then after some step of the
            block. To be able to repeat the block, `fork` the stream or copy its `state` before.
        """
        y = self._stream.process(x, out)
        return self._convert(x, out, True) if y is None else y

    def _convert(self, x: Any, out: Array | None, block: bool) -> Array:
        """Advance by arrays that need conversion; raise if they do not fit."""
        config = self._config
        source = as_array(x, "x")
        array = np.require(cast(source, config.dtype), requirements=("C", "A"))
        axes = {"T": len(array) if array.ndim else 0} if block else {}
        axes |= {"batch_size": self._stream.rows} if self._batched else {}
        axes["input_size"] = config.input_size
        if array.shape != tuple(axes.values()):
            expected = ", ".join(n if n == "T" else f"{n}={size}" for n, size in axes.items())
            raise ValueError(f"x has shape {array.shape}, expected ({expected})")
        target = None
        if out is not None:
            shape = (*array.shape[:-1], config.output_width)
            check_out(out, shape, config.dtype, {} if out is x else {"x": [source]})
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
        self._stream.set_state(*self._read_state(state, "state"))

    def _read_state(self, state: Any, name: str) -> State:
        """Convert and check a pair (h, c)."""
        config, pair = self._config, as_pair(state, name)
        sizes = config.num_parts, self._stream.rows, config.state_size, config.hidden_size
        h, c = read_state(pair, name, sizes, config.dtype, self._batched)
        if h is None or c is None:
            raise TypeError(f"{name} must be a pair (h, c) of arrays; reset() sets the initial one")
        return h, c

    def reset(self) -> None:
        """Set all rows to the initial state of the weights in use."""
        self._stream.reset()

    def refresh(self) -> None:
        """Adopt the model's current weights and initial state; the stream's state is kept.

        Raises
        ------
        RuntimeError
            If called inside `LSTM.edit`; the stream is then unchanged.
        """
        self._stream.refresh()

    def fork(self) -> Self:
        """Return an independent stream that continues from this one's state, with its weights."""
        return type(self)(self._stream.fork(), self._config, self._batched)

    # ---- Rows of a batch ----

    @property
    def batch_size(self) -> int | None:
        """Current number of rows, or None without a batch axis."""
        return self._stream.rows if self._batched else None

    def join(self, n: int = 1) -> range:
        """Append rows at the initial state.

        Parameters
        ----------
        n : int, default=1
            Number of rows, 0 or more. If they exceed the allocated memory, it is at least doubled.

        Returns
        -------
        range
            Indices of the new rows.

        Raises
        ------
        ValueError, TypeError, MemoryError
            If `n` is invalid; ValueError also if the stream has no `batch_size`.
        """
        self._check_batched("join")
        count = row_count(n, "n")
        first = self._stream.join(count)
        return range(first, first + count)

    def leave(self, row: int) -> None:
        """Remove a row. The last row moves to its index; no other row moves.

        Parameters
        ----------
        row : int
            Index of the row.

        Raises
        ------
        ValueError, TypeError
            If there is no such row; ValueError also if the stream has no `batch_size`.
        """
        self._check_batched("leave")
        number = row_count(row, "row")
        if not self._stream.leave_row(number):
            raise ValueError(f"row is {number}, but there are {self._stream.rows} rows")

    def _check_batched(self, method: str) -> None:
        if not self._batched:
            raise ValueError(f"{method}() needs a stream with a batch_size")

    def __repr__(self) -> str:
        rows = f", batch_size={self._stream.rows}" if self._batched else ""
        return f"<Stream of LSTM({self._config!r}){rows}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a stream cannot be pickled or copied: fork() it, or pickle its state")


def row_count(value: Any, name: str) -> int:
    """Check a number of rows, or the index of one."""
    try:
        count = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {type(value).__name__}") from None
    if not 0 <= count <= sys.maxsize:
        raise ValueError(f"{name} must be from 0 to {sys.maxsize}, got {count}")
    return count
