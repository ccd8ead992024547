"""class LSTM: what users see of a model. No arithmetic: that is the core's, through _core.pyx."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from . import _core
from .configuration import Configuration
from .layout import Array, State, check_out, layout_of, read_sequence, read_state
from .parameters import Parameters, initialise
from .state_dict import read_file, read_state_dict, write_file, write_state_dict
from .tape import Tape
from .threads import thread_count
from .windows import Windows

_Initial = tuple[Array | None, Array | None]


class LSTM:
    """A long short-term memory network: one or more layers, optionally with a linear readout.

    For every layer, with x_t its input and h, c its state, * elementwise and @ the matrix product::

        i_t = sigmoid(W_i @ x_t + R_i @ h_{t-1} + b_i)      input gate
        f_t = sigmoid(W_f @ x_t + R_f @ h_{t-1} + b_f)      forget gate
        g_t = tanh   (W_g @ x_t + R_g @ h_{t-1} + b_g)      new memory (candidate cell)
        o_t = sigmoid(W_o @ x_t + R_o @ h_{t-1} + b_o)      output gate
        c_t = f_t * c_{t-1} + i_t * g_t                     cell state
        h_t = o_t * tanh(c_t)                               hidden state

    The four W are stacked in ``weight_ih_l{k}``, the four R in ``weight_hh_l{k}``, the four b in
    ``bias_l{k}``. Layer k > 0 reads layer k - 1's h. y_t is the last layer's h_t, or with a readout
    ``weight_out @ h_t + bias_out``.

    Parameters
    ----------
    input_size : int
        Features I of x_t.
    hidden_size : int
        Units H of every layer.
    num_layers : int
        Layers L.
    output_size : int, optional
        Features O of a linear readout; none by default, and then O below stands for H.
    bias : bool
        Whether the gates and the readout have one.
    batch_first : bool
        Whether sequences are (B, T, .) instead of (T, B, .). States are (L, B, H) in either case.
    forget_bias : float
        Initial bias of the forget gates.
    dtype : float32 or float64
        Of parameters, results and all arithmetic; inputs of other real dtypes are converted.
    rng : int or numpy.random.Generator, optional
        Seed of the initial weights; fresh entropy by default.

    Raises
    ------
    ValueError, TypeError, MemoryError
        For sizes below 1, or of which no array can be had; for another dtype.

    Notes
    -----
    Any number of threads may call one model at once, and each call gives other threads the GIL;
    `edit`, optimisers and `load_state_dict` need it alone, and whoever comes meanwhile gets
    RuntimeError.

    The cell is that of S. Hochreiter, J. Schmidhuber, "Long short-term memory", 1997, with the
    forget gate of F. Gers, J. Schmidhuber, F. Cummins, "Learning to forget", 2000.

    Examples
    --------
    >>> import numpy as np
    >>> import clstm
    >>> lstm = clstm.LSTM(input_size=3, hidden_size=8, rng=0)
    >>> y, (h, c) = lstm(np.ones((5, 2, 3)))       # 5 steps, a batch of 2
    >>> y.shape, h.shape, c.shape
    ((5, 2, 8), (1, 2, 8), (1, 2, 8))
    """

    __slots__ = ("__weakref__", "_config", "_model", "_table")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        output_size: int | None = None,
        bias: bool = True,
        batch_first: bool = False,
        forget_bias: float = 1.0,
        dtype: DTypeLike = np.float32,
        rng: "int | np.random.Generator | None" = None,
    ) -> None:
        config = Configuration(
            input_size=input_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
            output_size=output_size,
            bias=bias,
            batch_first=batch_first,
            dtype=np.dtype(dtype),
        )
        table, size = config.parameter_table()
        flat = np.empty(size, config.dtype)
        initialise(Parameters(table, flat), float(forget_bias), np.random.default_rng(rng))
        self._build(config, flat)

    def _build(self, config: Configuration, flat: Array) -> None:
        self._config = config
        self._table = config.parameter_table()[0]
        self._model = _core.Model(
            config.input_size,
            config.hidden_size,
            config.num_layers,
            config.output_size,
            config.bias,
            config.batch_first,
            flat,
        )

    @classmethod
    def _restore(cls, config: Configuration, flat: Array) -> Self:
        """Make a model from its configuration and parameters; draws no initial weights."""
        self = cls.__new__(cls)
        self._build(config, flat)
        return self

    # ---- What it is ----

    @property
    def input_size(self) -> int:
        """Features I of x_t."""
        return self._config.input_size

    @property
    def hidden_size(self) -> int:
        """Units H of every layer."""
        return self._config.hidden_size

    @property
    def num_layers(self) -> int:
        """Layers L."""
        return self._config.num_layers

    @property
    def output_size(self) -> int | None:
        """Features O of the readout, or None."""
        return self._config.output_size

    @property
    def bias(self) -> bool:
        """Whether gates and readout have a bias."""
        return self._config.bias

    @property
    def batch_first(self) -> bool:
        """Whether sequences are (B, T, .)."""
        return self._config.batch_first

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of parameters, results and all arithmetic."""
        return self._config.dtype

    @property
    def parameters(self) -> Parameters:
        """The parameters: a read-only mapping from name to view, and ``.flat``. See `edit`."""
        return Parameters(self._table, self._model.flat)

    def __repr__(self) -> str:
        return f"LSTM({self._config!r})"

    # ---- Running it ----

    def __call__(
        self,
        x: ArrayLike,
        state: tuple[ArrayLike, ArrayLike] | None = None,
        *,
        out: Array | None = None,
        num_threads: int | None = None,
    ) -> tuple[Array, State]:
        """Run the model over a sequence, or a batch of them.

        Parameters
        ----------
        x : ndarray, shape (T, B, I), (B, T, I) if `batch_first`, or (T, I)
            Any real dtype and memory layout; never modified.
        state : (ndarray, ndarray), optional
            Initial h and c, each (L, B, H), or (L, H) if x is (T, I); zero by default.
        out : ndarray, optional
            Where y goes: of exactly its shape and dtype, C-contiguous, sharing no memory with x or
            state.
        num_threads : int, optional
            At most so many threads; `get_num_threads` of them by default.

        Returns
        -------
        y : ndarray, shape (T, B, O), (B, T, O) if `batch_first`, or (T, O)
            The output at every step; `out` if given.
        (h, c) : (ndarray, ndarray)
            The final state, shaped as the initial one: give it to the next call to go on.

        Raises
        ------
        ValueError, TypeError
            If an argument does not fit; it is named, with what was expected. Nothing has been
            written then.
        RuntimeError
            Inside `edit`.
        KeyboardInterrupt
            By Ctrl-C also in the middle of a long call; `out` is undefined then.
        """
        array, initial = self._read(x, state, out)
        return self._model.forward(array, initial, out, thread_count(num_threads))

    def record(
        self,
        x: ArrayLike,
        state: tuple[ArrayLike, ArrayLike] | None = None,
        *,
        keep: str = "gates",
        num_threads: int | None = None,
    ) -> Tape:
        """Run the model as a call does, and keep what `Tape.backward` needs.

        Parameters
        ----------
        x, state, num_threads
            As in a call. Both arrays are copied: changing them later changes no gradient.
        keep : {"gates", "states"}
            "states" keeps about I + 2 L H elements for each step and row instead of I + 6 L H;
            ``backward`` computes the gates again, with the same gradients to rounding.

        Returns
        -------
        Tape
            With ``y``, ``state``, ``hidden``, ``gates``, ``cells`` and ``backward``.

        Raises
        ------
        ValueError, TypeError, RuntimeError, KeyboardInterrupt
            As a call does.
        """
        if keep not in ("gates", "states"):
            raise ValueError(f"keep must be 'gates' or 'states', not {keep!r}")
        array, initial = self._read(x, state)
        layout = layout_of(array.ndim, self.batch_first)
        core_x = layout.to_core(array)
        steps, batch = core_x.shape[:2]
        lean, threads = keep == "states", thread_count(num_threads)
        recording, results = self._model.record(core_x, initial, lean, threads)
        shape = (steps, batch, self.num_layers, self.hidden_size)
        return Tape(recording, results, layout, shape, self._table, lean)

    def windows(
        self,
        x: ArrayLike,
        length: int,
        state: tuple[ArrayLike, ArrayLike] | None = None,
        *,
        num_threads: int | None = None,
    ) -> Windows:
        """Record a long sequence in windows, for truncated backpropagation through time.

        Parameters
        ----------
        x : ndarray
            As in a call. It is read window by window and must stay as it is until then.
        length : int
            Steps of a window, at least 1; the last one may be shorter.
        state, num_threads
            As in a call.

        Returns
        -------
        Windows
            An iterator over pairs of a slice of steps and the `Tape` of that window, which starts
            from the final state of the window before.

        Raises
        ------
        ValueError, TypeError
            If an argument does not fit.
        """
        return Windows(self, x, length, state, num_threads)

    def _read(self, x: Any, state: Any, out: Any = None) -> tuple[Array, _Initial | None]:
        """Return a call's x and state in the model's dtype; raise for an argument that is wrong."""
        if self._model.takes(x, state, out):  # most calls: a small one would pay dearly for more
            return x, state
        config = self._config
        array, layout = read_sequence(
            x, "x", config.input_size, "input_size", config.dtype, config.batch_first
        )
        sizes = (config.num_layers, layout.to_core(array).shape[1], config.hidden_size)
        initial = read_state(state, "state", sizes, config.dtype, layout)
        if out is not None:
            shape = (*array.shape[:-1], config.output_size or config.hidden_size)
            check_out(out, shape, config.dtype, {"x": [x], "state": state or ()})
        return array, initial

    # ---- Its parameters ----

    @contextmanager
    def edit(self) -> Iterator[Parameters]:
        """Write parameters: ``with lstm.edit() as p: p["bias_l0"][:] = 0``.

        Yields a working copy, which becomes the model's when the block ends. An exception leaves
        the model as it was.

        Raises
        ------
        RuntimeError
            If a call is using the model, or another `edit` is open. Calls inside the block raise it
            too.
        """
        self._model.begin_edit()
        flat = None
        try:
            working = Parameters(self._table, self._model.flat.copy())
            yield working
            flat = working.flat
            working.freeze()
        finally:
            self._model.end_edit(flat)

    def state_dict(self, *, torch_names: bool = False) -> dict[str, Array]:
        """Return copies of all parameters by name.

        Parameters
        ----------
        torch_names : bool
            Write each ``bias_l{k}`` as PyTorch's pair ``bias_ih_l{k}``, ``bias_hh_l{k}``, the
            second zero.
        """
        return write_state_dict(self.parameters, torch_names)

    def load_state_dict(self, state_dict: Mapping[str, Any], *, prefix: str = "") -> None:
        """Replace all parameters.

        Parameters
        ----------
        state_dict : mapping from name to array
            As `state_dict` returns it, in either form, or PyTorch's own.
        prefix : str
            Take only names that begin with this, as in the state dict of a larger model:
            ``"encoder.lstm."``.

        Raises
        ------
        KeyError
            If a name is missing, or there is one that the model does not have.
        ValueError, TypeError
            If a shape or dtype does not fit. In every case the model stays as it was.
        """
        with self.edit() as parameters:
            read_state_dict(parameters, state_dict, prefix)

    # ---- Files and copies ----

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a safetensors file: parameters by name, configuration in the metadata."""
        write_file(path, self.parameters, self._config.to_metadata())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a model that `save` wrote.

        Raises
        ------
        ValueError
            If the file is truncated, of another origin, or contradicts itself; it is named.
        OSError
            If it cannot be read.
        """
        metadata, tensors = read_file(path)
        try:
            config = Configuration.from_metadata(metadata)
            table, size = config.parameter_table()
            parameters = Parameters(table, np.empty(size, config.dtype))
            read_state_dict(parameters, tensors, "")
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{os.fspath(path)} holds no valid model: {error.args[0]}") from None
        return cls._restore(config, parameters.flat)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self)._restore, (self._config, self.parameters.flat.copy())
