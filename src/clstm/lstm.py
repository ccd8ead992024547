"""class LSTM: what users see of a model. No arithmetic: that is the core's, through _core.pyx."""

import operator
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from . import _core
from .layout import Array, State, read_sequence, read_state
from .parameters import Parameters, Table, initialise
from .state_dict import read_file, read_state_dict, write_file, write_state_dict
from .tape import Tape

_DEFAULTS = {
    "num_layers": 1,
    "output_size": None,
    "bias": True,
    "batch_first": False,
    "dtype": np.dtype(np.float32),
}


class LSTM:
    """A long short-term memory network: one or more layers, optionally with a linear readout.

    For every layer, with x_t its input and h, c its state, * elementwise and @ the matrix product::

        i_t = sigmoid(W_i @ x_t + R_i @ h_{t-1} + b_i)      input gate
        f_t = sigmoid(W_f @ x_t + R_f @ h_{t-1} + b_f)      forget gate
        g_t = tanh   (W_g @ x_t + R_g @ h_{t-1} + b_g)      new memory (candidate cell)
        o_t = sigmoid(W_o @ x_t + R_o @ h_{t-1} + b_o)      output gate
        c_t = f_t * c_{t-1} + i_t * g_t                     cell state
        h_t = o_t * tanh(c_t)                               hidden state

    The four W are stacked in ``weight_ih_l{k}``, the four R in ``weight_hh_l{k}``, the four b in ``bias_l{k}``. Layer
    k > 0 reads layer k - 1's h. y_t is the last layer's h_t, or with a readout ``weight_out @ h_t + bias_out``.

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
    Any number of threads may call one model at once, and each call gives other threads the GIL; `edit`, optimisers and
    `load_state_dict` need it alone, and whoever comes meanwhile gets RuntimeError.

    The cell is that of S. Hochreiter, J. Schmidhuber, "Long short-term memory", 1997, with the forget gate of F. Gers,
    J. Schmidhuber, F. Cummins, "Learning to forget", 2000.

    Examples
    --------
    >>> import numpy as np
    >>> import clstm
    >>> lstm = clstm.LSTM(input_size=3, hidden_size=8, rng=0)
    >>> y, (h, c) = lstm(np.ones((5, 2, 3)))       # 5 steps, a batch of 2
    >>> y.shape, h.shape, c.shape
    ((5, 2, 8), (1, 2, 8), (1, 2, 8))
    """

    __slots__ = ("__weakref__", "_batch_first", "_bias", "_model", "_table")

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
        rng: int | np.random.Generator | None = None,
    ) -> None:
        config = _config(input_size, hidden_size, num_layers, output_size, bias, batch_first, dtype)
        table, size = _parameter_table(config)
        flat = np.empty(size, config["dtype"])
        initialise(Parameters(table, flat), float(forget_bias), np.random.default_rng(rng))
        self._build(config, table, flat)

    def _build(self, config: dict[str, Any], table: Table, flat: Array) -> None:
        self._batch_first: bool = config["batch_first"]
        self._bias: bool = config["bias"]
        self._table = table
        sizes = (config[name] for name in ("input_size", "hidden_size", "num_layers", "output_size"))
        self._model = _core.Model(*sizes, self._bias, flat)

    @classmethod
    def _restore(cls, config: dict[str, Any], flat: Array) -> Self:
        """Make a model from its configuration and parameters; draws no initial weights."""
        self = cls.__new__(cls)
        config = _config(**config)
        self._build(config, _parameter_table(config)[0], flat)
        return self

    # ---- What it is ----

    @property
    def input_size(self) -> int:
        """Features I of x_t."""
        return self._model.input_size

    @property
    def hidden_size(self) -> int:
        """Units H of every layer."""
        return self._model.hidden_size

    @property
    def num_layers(self) -> int:
        """Layers L."""
        return self._model.num_layers

    @property
    def output_size(self) -> int | None:
        """Features O of the readout, or None."""
        return self._model.output_size or None

    @property
    def bias(self) -> bool:
        """Whether gates and readout have a bias."""
        return self._bias

    @property
    def batch_first(self) -> bool:
        """Whether sequences are (B, T, .)."""
        return self._batch_first

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of parameters, results and all arithmetic."""
        return self._model.dtype

    @property
    def parameters(self) -> Parameters:
        """The parameters, read-only: a mapping from name to view, and ``.flat``. `edit` is the way to write."""
        return Parameters(self._table, self._model.flat)

    def _configuration(self) -> dict[str, Any]:
        names = ("input_size", "hidden_size", *_DEFAULTS)
        return {name: getattr(self, name) for name in names}

    def __repr__(self) -> str:
        config = self._configuration()
        config["dtype"] = config["dtype"].name
        plain = _DEFAULTS | {"dtype": "float32"}
        shown = [f"{k}={v!r}" for k, v in config.items() if k not in plain or v != plain[k]]
        return f"LSTM({', '.join(shown)})"

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
            Where y goes: of exactly its shape and dtype, C-contiguous, sharing no memory with x or state.
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
            If an argument does not fit; it is named, with what was expected. Nothing has been written then.
        RuntimeError
            Inside `edit`.
        KeyboardInterrupt
            By Ctrl-C also in the middle of a long call; `out` is undefined then.
        """
        core_x, layout = read_sequence(x, "x", self.input_size, "input_size", self.dtype, self._batch_first)
        steps, batch = core_x.shape[:2]
        h0, c0 = read_state(state, "state", self.num_layers, batch, self.hidden_size, self.dtype, layout)
        core_out = None
        if out is not None:
            features = self.output_size or self.hidden_size
            initial = {} if state is None else {"state's h": state[0], "state's c": state[1]}
            shape = layout.user_shape(steps, batch, features)
            _core.check_out(out, shape, self.dtype, {"x": x, **initial})
            core_out = layout.to_core(out)
        y, h, c = self._model.forward(core_x, h0, c0, core_out, num_threads)
        final = layout.state_from_core(h), layout.state_from_core(c)
        return layout.from_core(y) if out is None else out, final

    def record(
        self,
        x: ArrayLike,
        state: tuple[ArrayLike, ArrayLike] | None = None,
        *,
        num_threads: int | None = None,
    ) -> Tape:
        """Run the model as a call does, and keep what `Tape.backward` needs.

        Parameters
        ----------
        x, state, num_threads
            As in a call. Both arrays are copied: changing them later changes no gradient.

        Returns
        -------
        Tape
            With ``y``, ``state``, ``hidden``, ``gates``, ``cells`` and ``backward``; about I + 6 L H elements for each
            step and row.

        Raises
        ------
        ValueError, TypeError, RuntimeError, KeyboardInterrupt
            As a call does.
        """
        core_x, layout = read_sequence(x, "x", self.input_size, "input_size", self.dtype, self._batch_first)
        steps, batch = core_x.shape[:2]
        h0, c0 = read_state(state, "state", self.num_layers, batch, self.hidden_size, self.dtype, layout)
        recording, results = self._model.record(core_x, h0, c0, num_threads)
        shape = (steps, batch, self.num_layers, self.hidden_size)
        return Tape(recording, results, layout, shape, self._table)

    # ---- Its parameters ----

    @contextmanager
    def edit(self) -> Iterator[Parameters]:
        """Write parameters: ``with lstm.edit() as p: p["bias_l0"][:] = 0``.

        Yields a working copy, which becomes the model's when the block ends. An exception leaves the model as it was.

        Raises
        ------
        RuntimeError
            If a call is using the model, or another `edit` is open. Calls inside the block raise it too.
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
            Write each ``bias_l{k}`` as PyTorch's pair ``bias_ih_l{k}``, ``bias_hh_l{k}``, the second zero.
        """
        return write_state_dict(self.parameters, torch_names)

    def load_state_dict(self, state_dict: Mapping[str, Any], *, prefix: str = "") -> None:
        """Replace all parameters.

        Parameters
        ----------
        state_dict : mapping from name to array
            As `state_dict` returns it, in either form, or PyTorch's own.
        prefix : str
            Take only names that begin with this, as in the state dict of a larger model: ``"encoder.lstm."``.

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
        """Write the model to a safetensors file: parameters by name, configuration in the metadata."""
        config = self._configuration()
        config["output_size"] = config["output_size"] or 0
        write_file(path, self.parameters, config)

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
            config = _parse_metadata(metadata)
            table, size = _parameter_table(config)
            parameters = Parameters(table, np.empty(size, config["dtype"]))
            read_state_dict(parameters, tensors, "")
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{os.fspath(path)} holds no valid model: {error.args[0]}") from None
        return cls._restore(config, parameters.flat)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self)._restore, (self._configuration(), self.parameters.flat.copy())


def _config(
    input_size: SupportsIndex,
    hidden_size: SupportsIndex,
    num_layers: SupportsIndex,
    output_size: SupportsIndex | None,
    bias: bool,
    batch_first: bool,
    dtype: DTypeLike,
) -> dict[str, Any]:
    """Check a model's configuration and return it in its plain types."""
    config: dict[str, Any] = {}
    sizes = {"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers}
    for name, value in (sizes | {"output_size": output_size}).items():
        if name == "output_size" and value is None:
            config[name] = None
            continue
        try:
            config[name] = operator.index(value)  # type: ignore[arg-type]
        except TypeError:
            raise TypeError(f"{name} must be an integer, got {type(value).__name__}") from None
        if config[name] < 1:
            raise ValueError(f"{name} must be at least 1, got {config[name]}")
    checked = np.dtype(dtype)
    if checked not in (np.float32, np.float64) or not checked.isnative:
        raise ValueError(f"dtype must be float32 or float64, got {checked}")
    return config | {"bias": bool(bias), "batch_first": bool(batch_first), "dtype": checked}


def _parameter_table(config: dict[str, Any]) -> tuple[Table, int]:
    names = ("input_size", "hidden_size", "num_layers", "output_size", "bias")
    return _core.parameter_table(*(config[name] for name in names))


def _parse_metadata(metadata: dict[str, str]) -> dict[str, Any]:
    """Return the configuration that `LSTM.save` wrote; ValueError or KeyError names what is wrong."""
    truth = {"True": True, "False": False}
    numbers = ("input_size", "hidden_size", "num_layers", "output_size")
    for name in (*numbers, "bias", "batch_first", "dtype"):
        if name not in metadata:
            raise KeyError(f"its metadata has no clstm.{name}")
    config: dict[str, Any] = {name: int(metadata[name]) for name in numbers}
    config["output_size"] = config["output_size"] or None
    for name in ("bias", "batch_first"):
        if metadata[name] not in truth:
            raise ValueError(f"clstm.{name} is {metadata[name]!r}, expected True or False")
        config[name] = truth[metadata[name]]
    return _config(**config, dtype=metadata["dtype"])
