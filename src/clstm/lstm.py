"""The class `LSTM`, the public face of a model. All arithmetic is in the core (_core.pyx)."""

from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from . import _core
from .calls import lengths_of, read_call
from .cell import PLAIN, Cell
from .configuration import Configuration
from .dropout import as_factors, read_masks
from .layout import Array, Layout, State, SupportsArray, layout_of, read_sequence
from .lengths import Ragged, as_lengths
from .model import Model
from .parameters import Parameters, initialise
from .stream import Stream, row_count
from .tape import Tape
from .threads import thread_count
from .windows import Windows, check_windows

_GivenState = tuple[ArrayLike, ArrayLike] | None


class LSTM(Model):
    """A long short-term memory network: one or more layers, optionally with a linear readout.

    Each layer computes, with x_t its input, h and c its state, * the elementwise product and @ the
    matrix product::

        i_t = sigmoid(W_i @ x_t + R_i @ h_{t-1} + b_i)      input gate
        f_t = sigmoid(W_f @ x_t + R_f @ h_{t-1} + b_f)      forget gate
        g_t = tanh   (W_g @ x_t + R_g @ h_{t-1} + b_g)      new memory (candidate cell)
        o_t = sigmoid(W_o @ x_t + R_o @ h_{t-1} + b_o)      output gate
        c_t = f_t * c_{t-1} + i_t * g_t                     cell state
        h_t = o_t * tanh(c_t)                               hidden state

    With a projection, h_t = ``weight_hr_l{k}`` @ (o_t * tanh(c_t)) has R elements. The four W are
    stacked in ``weight_ih_l{k}``, the four R in ``weight_hh_l{k}``, the four b in ``bias_l{k}``;
    `Parameters` lists all shapes, `Cell` the equations of the variants. Layer k > 0 reads h_t of
    layer k - 1. The output y_t is h_t of the last layer or, with a readout,
    ``weight_out @ h_t + bias_out``.

    A bidirectional layer has two sets of weights: one runs from the first step to the last, the
    other from the last step to the first. Its h_t is the concatenation of both, forward first.

    Parameters
    ----------
    input_size : int
        Number of features I of x_t.
    hidden_size : int
        Number of units H of each layer and direction.
    num_layers : int, default=1
        Number of layers L.
    output_size : int, optional
        Number of features O of a linear readout. By default there is no readout, and O below
        stands for D R.
    bidirectional : bool, default=False
        Whether each layer has both directions. The number of directions D is then 2, else 1.
    direction : {"forward", "reverse"}, default="forward"
        Direction of a unidirectional model. "reverse" begins at the last step of each row; its
        final state is the state after the first step.
    proj_size : int, default=0
        Number of elements R of the projected h, less than H. 0 means no projection, and R below
        stands for H.
    bias : bool, default=True
        Whether the gates and the readout have a bias.
    batch_first : bool, default=False
        Whether sequences have shape (B, T, .) instead of (T, B, .). States have shape (L D, B, .)
        in either case.
    forget_bias : float, default=1.0
        Initial bias of the forget gates.
    learn_state : bool, default=False
        Whether the initial state is a parameter: ``h0`` (L D, R) and ``c0`` (L D, H), initially
        zero. Calls without a state start every row from it, and `Tape.backward` returns its
        gradient.
    cell : Cell, optional
        Peepholes, coupled gates, clips and other activation functions. By default the equations
        are those above.
    activations : {"accurate", "fast"}, default="accurate"
        How exact sigmoid and tanh are: within 5 units in the last place, or within 1e-5, which
        saves time in models of few units. "fast" is for inference with the plain cell in float32.
        See `with_activations`.
    dtype : {float32, float64}, default=float32
        dtype of the parameters, the results and all arithmetic. Inputs of other real dtypes are
        converted.
    rng : int or numpy.random.Generator, optional
        Seed or generator for the initial weights. By default the operating system supplies entropy.

    Raises
    ------
    ValueError
        If a size is out of range, `bidirectional` is combined with ``direction="reverse"``,
        ``activations="fast"`` with another cell or dtype, or `dtype` is neither float32 nor
        float64.
    TypeError
        If a size is not an integer, or `cell` is not a `Cell`.
    MemoryError
        If the parameters do not fit into memory.

    Notes
    -----
    Any number of threads may call a model concurrently; a call releases the GIL. `edit`, optimiser
    steps and `load_state_dict` need exclusive access: they raise RuntimeError while a call is
    running, and calls raise RuntimeError while they are. ``edit(timeout=...)`` waits for its turn.

    The cell is from [1]_, its forget gate from [2]_, bidirectional layers from [3]_ and the
    projection from [4]_.

    References
    ----------
    .. [1] S. Hochreiter, J. Schmidhuber, "Long short-term memory", 1997.
    .. [2] F. Gers, J. Schmidhuber, F. Cummins, "Learning to forget", 2000.
    .. [3] A. Graves, J. Schmidhuber, "Framewise phoneme classification with bidirectional LSTM and
       other neural network architectures", 2005.
    .. [4] H. Sak, A. Senior, F. Beaufays, "Long short-term memory based recurrent neural network
       architectures for large vocabulary speech recognition", 2014.

    Examples
    --------
    >>> import numpy as np
    >>> import clstm
    >>> lstm = clstm.LSTM(input_size=3, hidden_size=8, rng=0)
    >>> y, (h, c) = lstm(np.ones((5, 2, 3)))       # 5 steps, a batch of 2
    >>> y.shape, h.shape, c.shape
    ((5, 2, 8), (1, 2, 8), (1, 2, 8))
    """

    __slots__ = ()

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        output_size: int | None = None,
        bidirectional: bool = False,
        direction: str = "forward",
        proj_size: int = 0,
        bias: bool = True,
        batch_first: bool = False,
        forget_bias: float = 1.0,
        learn_state: bool = False,
        cell: Cell = PLAIN,
        activations: str = "accurate",
        dtype: DTypeLike = np.float32,
        rng: "int | np.random.Generator | None" = None,
    ) -> None:
        config = Configuration(
            input_size=input_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
            output_size=output_size,
            bidirectional=bidirectional,
            direction=direction,
            proj_size=proj_size,
            bias=bias,
            batch_first=batch_first,
            learn_state=learn_state,
            cell=cell,
            activations=activations,
            dtype=np.dtype(dtype),
        )
        table, size = config.parameter_table()
        flat = np.empty(size, config.dtype)
        initialise(Parameters(table, flat), float(forget_bias), np.random.default_rng(rng))
        self._build(config, flat)

    @overload
    def __call__(
        self,
        x: SupportsArray,
        state: _GivenState = None,
        *,
        lengths: ArrayLike | None = None,
        out: Array | None = None,
        num_threads: int | None = None,
    ) -> tuple[Array, State]: ...
    @overload
    def __call__(
        self,
        x: list[Any],
        state: _GivenState = None,
        *,
        lengths: None = None,
        out: None = None,
        num_threads: int | None = None,
    ) -> tuple[list[Array], State]: ...
    def __call__(
        self,
        x: Any,
        state: Any = None,
        *,
        lengths: ArrayLike | None = None,
        out: Array | None = None,
        num_threads: int | None = None,
    ) -> tuple[Any, State]:
        """Run the model over a sequence or a batch of sequences.

        Parameters
        ----------
        x : ndarray, shape (T, B, I), (B, T, I) if `batch_first`, or (T, I); or list of ndarray
            Input, of any real dtype and memory layout; never modified. A list holds B sequences of
            shape (T_i, I), with or without `batch_first`.
        state : (ndarray, ndarray), optional
            Initial h (L D, B, R) and c (L D, B, H), or (L D, R) and (L D, H) if x is (T, I). By
            default the model's ``h0`` and ``c0`` if `learn_state`, else zero.
        lengths : array_like of int, shape (B,), optional
            Number of steps of each row, 0 to T, in any order. Values of x after the end of a row
            are ignored; the reverse direction begins at the last step of each row. Must be None if
            x is a list or (T, I).
        out : ndarray, optional
            Array for y, of exactly its shape and dtype, C-contiguous, sharing no memory with x or
            state. Must be None if x is a list.
        num_threads : int, optional
            Maximum number of threads; `get_num_threads()` by default.

        Returns
        -------
        y : ndarray, shape (T, B, O), (B, T, O) if `batch_first`, or (T, O); or list of ndarray
            Output at every step, zero after the end of a row; `out` if given. For a list of
            sequences, a list of arrays (T_i, O), all views of one array.
        (h, c) : (ndarray, ndarray)
            Final state of each row, in the shapes of the initial state. Pass it to the next call to
            continue the sequences. A row without steps keeps its initial state.

        Raises
        ------
        ValueError, TypeError
            If an argument does not fit. The message names the argument and what was expected;
            nothing has been written.
        RuntimeError
            If called inside `edit`.
        KeyboardInterrupt
            On Ctrl-C, even in the middle of a long call; `out` is then undefined.
        """
        threads = thread_count(num_threads)
        given = None if lengths is None else as_lengths(lengths)
        # Fast path of most calls: read_call costs too much for a small one.
        if self._model.takes(x, state, out) and (given is None or x.ndim == 3):
            own = None if given is None else lengths_of(self._config, x, given)
            return self._model.forward(x, state, out, threads, own)
        array, initial, layout = read_call(self._config, x, state, given, out)
        y, final = self._model.forward(array, initial, out, threads, layout.lengths, layout.ragged)
        return layout.from_core(y) if layout.ragged else y, final

    @overload
    def record(
        self,
        x: SupportsArray,
        state: _GivenState = None,
        *,
        lengths: ArrayLike | None = None,
        keep: str = "gates",
        dropout: ArrayLike = 0.0,
        recurrent_dropout: ArrayLike = 0.0,
        rng: "int | np.random.Generator | None" = None,
        num_threads: int | None = None,
    ) -> Tape[Array]: ...
    @overload
    def record(
        self,
        x: list[Any],
        state: _GivenState = None,
        *,
        lengths: None = None,
        keep: str = "gates",
        dropout: ArrayLike = 0.0,
        recurrent_dropout: ArrayLike = 0.0,
        rng: "int | np.random.Generator | None" = None,
        num_threads: int | None = None,
    ) -> Tape[list[Array]]: ...
    def record(
        self,
        x: Any,
        state: Any = None,
        *,
        lengths: ArrayLike | None = None,
        keep: str = "gates",
        dropout: ArrayLike = 0.0,
        recurrent_dropout: ArrayLike = 0.0,
        rng: "int | np.random.Generator | None" = None,
        num_threads: int | None = None,
    ) -> Tape[Any]:
        """Run the model like a call, and record what `Tape.backward` needs.

        Parameters
        ----------
        x, state, lengths, num_threads
            As in a call. The arrays are copied: later changes do not affect the gradients.
            `Tape.backward` uses `num_threads` unless it is given another number.
        keep : {"gates", "states"}, default="gates"
            "gates" stores about I + L D (5 H + R) elements per step and row, "states" about
            I + L D (H + R). With "states", ``backward`` recomputes the gates; the gradients are
            equal up to rounding.
        dropout : float or ndarray, shape (L - 1, T, B, D R), default=0.0
            Dropout between layers. A float is the probability p, in [0, 1), with which each element
            of h_t is set to zero in the input of the next layer, independently at every step; the
            other elements are scaled by 1 / (1 - p). An array gives these factors directly, in x's
            order of axes: (L - 1, B, T, D R) if `batch_first`, (L - 1, T, D R) for x (T, I),
            (L - 1, sum T_i, D R) for a list. Must be 0 if the model has a single layer.
        recurrent_dropout : float or ndarray, shape (L D, B, R), default=0.0
            Dropout of h_{t-1} in the gates of step t, with the same factors at all steps of a row
            [1]_. For x (T, I) an array has shape (L D, R).
        rng : int or numpy.random.Generator, optional
            Seed or generator for the factors, ``rng.random(shape) >= p`` in the shapes above,
            `dropout` before `recurrent_dropout`. By default the operating system supplies entropy.

        Returns
        -------
        Tape
            The recorded pass, with ``y``, ``state``, ``hidden``, ``gates``, ``cells`` and
            ``backward``.

        Raises
        ------
        ValueError, TypeError, RuntimeError, KeyboardInterrupt
            As for a call; ValueError also if a function of `cell` has no gradient, or with fast
            activations.

        References
        ----------
        .. [1] Y. Gal, Z. Ghahramani, "A theoretically grounded application of dropout in recurrent
           neural networks", 2016.
        """
        self._config.check_gradients("record")
        if keep not in ("gates", "states"):
            raise ValueError(f"keep must be 'gates' or 'states', not {keep!r}")
        config, model = self._config, self._model
        threads, lean = thread_count(num_threads), keep == "states"
        factors = as_factors(dropout, "dropout"), as_factors(recurrent_dropout, "recurrent_dropout")
        given = None if lengths is None else as_lengths(lengths)
        layout: Layout | Ragged
        if model.takes(x, state, None) and (given is None or x.ndim == 3):
            array, initial = x, state
            if given is None:
                layout = layout_of(x.ndim, config.batch_first)
            else:
                layout = Layout(True, config.batch_first, lengths_of(config, x, given))
        else:
            array, initial, layout = read_call(config, x, state, given)
        masks = read_masks(config, array, layout, factors, rng)
        core_x = array if isinstance(layout, Ragged) else layout.to_core(array)
        recording, results = model.record(
            core_x, initial, lean, threads, layout.lengths, layout.ragged, masks
        )
        own_threads = None if num_threads is None else threads
        return Tape(recording, results, masks, layout, config, self._table, lean, own_threads)

    def windows(
        self,
        x: SupportsArray,
        length: int,
        state: _GivenState = None,
        *,
        num_threads: int | None = None,
    ) -> Windows[Tape[Array]]:
        """Record a long sequence in windows, for truncated backpropagation through time.

        Parameters
        ----------
        x : ndarray
            As in a call, but not a list. Each window is read when the iteration reaches it: x must
            not change before that.
        length : int
            Number of steps per window, at least 1; the last window may be shorter.
        state, num_threads
            As in a call.

        Returns
        -------
        Windows
            An iterator over pairs (slice of the steps of x, `Tape` of that window). Each window
            starts from the final state of the previous one.

        Raises
        ------
        ValueError, TypeError
            If an argument does not fit, or a function of `cell` has no gradient.
        """
        config = self._config
        check_windows(config)

        def layout(first: Any) -> Layout:
            return read_sequence(
                first, "x", config.input_size, "input_size", config.dtype, config.batch_first
            )[1]

        return Windows(self.record, layout, x, length, state, num_threads)

    def stream(self, batch_size: int | None = None) -> Stream:
        """Start a live sequence, whose steps arrive one by one.

        Parameters
        ----------
        batch_size : int, optional
            Number B of sequences that advance together; 0 starts without any (see `Stream.join`).
            By default there is a single sequence, and arrays have no batch axis.

        Returns
        -------
        Stream
            A stream at the model's initial state, with its current weights.

        Raises
        ------
        ValueError, TypeError, MemoryError
            If `batch_size` is invalid; ValueError also if the model has a reverse direction, which
            would have to begin at the end.
        RuntimeError
            If called inside `edit`.
        """
        rows = 1 if batch_size is None else row_count(batch_size, "batch_size")
        batched = batch_size is not None
        return Stream(_core.Stream(self._model, batched, rows), self._config, batched)
