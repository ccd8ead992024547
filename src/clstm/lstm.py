"""class LSTM: what users see of a model. No arithmetic: that is the core's, through _core.pyx."""

from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from . import _core
from .calls import lengths_of, read_call
from .cell import PLAIN, Cell, check_gradients
from .configuration import Configuration
from .dropout import read_masks
from .layout import Array, Layout, State, SupportsArray, layout_of
from .lengths import Ragged
from .model import Model
from .parameters import Parameters, initialise
from .stream import Stream, row_count
from .tape import Tape
from .threads import thread_count
from .windows import Windows

_GivenState = tuple[ArrayLike, ArrayLike] | None


class LSTM(Model):
    """A long short-term memory network: one or more layers, optionally with a linear readout.

    For every layer, with x_t its input and h, c its state, * elementwise and @ the matrix product::

        i_t = sigmoid(W_i @ x_t + R_i @ h_{t-1} + b_i)      input gate
        f_t = sigmoid(W_f @ x_t + R_f @ h_{t-1} + b_f)      forget gate
        g_t = tanh   (W_g @ x_t + R_g @ h_{t-1} + b_g)      new memory (candidate cell)
        o_t = sigmoid(W_o @ x_t + R_o @ h_{t-1} + b_o)      output gate
        c_t = f_t * c_{t-1} + i_t * g_t                     cell state
        h_t = o_t * tanh(c_t)                               hidden state

    With a projection h_t = ``weight_hr_l{k}`` @ (o_t * tanh(c_t)), of R elements. The four W_ are
    stacked in ``weight_ih_l{k}``, the four R_ in ``weight_hh_l{k}``, the four b_ in ``bias_l{k}``;
    `Parameters` has all shapes, `Cell` the equations of the variants. Layer k > 0 reads layer
    k - 1's h. y_t is the last layer's h_t, or with a readout ``weight_out @ h_t + bias_out``.

    A bidirectional layer is two of these with weights of their own, one from the first step to the
    last and one from the last to the first; its h_t are both of theirs side by side, the forward
    one first.

    Parameters
    ----------
    input_size : int
        Features I of x_t.
    hidden_size : int
        Units H of every layer, in each direction.
    num_layers : int
        Layers L.
    output_size : int, optional
        Features O of a linear readout; none by default, and then O below stands for D R.
    bidirectional : bool
        Whether every layer has both directions, D = 2; else D = 1.
    direction : {"forward", "reverse"}
        Which way the one direction goes: "reverse" begins at the last step of each row, and its
        final state is that after the first step.
    proj_size : int
        Elements R of h, fewer than H, by a linear projection; 0 for none, and then R below stands
        for H.
    bias : bool
        Whether the gates and the readout have one.
    batch_first : bool
        Whether sequences are (B, T, .) instead of (T, B, .). States are (L D, B, .) in either case.
    forget_bias : float
        Initial bias of the forget gates.
    learn_state : bool
        Whether the initial state is a parameter too, ``h0`` (L D, R) and ``c0`` (L D, H), zero at
        first: calls without a state start every row from it, and `Tape.backward` has its gradient.
    cell : Cell
        Peepholes, coupled gates, clips and other activation functions; by default none of them.
    dtype : float32 or float64
        Of parameters, results and all arithmetic; inputs of other real dtypes are converted.
    rng : int or numpy.random.Generator, optional
        Seed of the initial weights; fresh entropy by default.

    Raises
    ------
    ValueError, TypeError, MemoryError
        For sizes that are out of range, or of which no array can be had; for `bidirectional` with
        ``direction="reverse"``; for another dtype; for a `cell` that is no `Cell`.

    Notes
    -----
    Any number of threads may call one model at once, and each call gives other threads the GIL;
    `edit`, optimisers and `load_state_dict` need it alone, and whoever comes meanwhile gets
    RuntimeError.

    The cell is that of S. Hochreiter, J. Schmidhuber, "Long short-term memory", 1997, with the
    forget gate of F. Gers, J. Schmidhuber, F. Cummins, "Learning to forget", 2000. Two directions
    are from A. Graves, J. Schmidhuber, "Framewise phoneme classification with bidirectional LSTM
    and other neural network architectures", 2005; the projection is from H. Sak, A. Senior, F.
    Beaufays, "Long short-term memory based recurrent neural network architectures for large
    vocabulary speech recognition", 2014.

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
        """Run the model over a sequence, or a batch of them.

        Parameters
        ----------
        x : ndarray, shape (T, B, I), (B, T, I) if `batch_first`, or (T, I); or list of ndarray
            Any real dtype and memory layout; never modified. A list holds B sequences (T_i, I) of
            their own lengths, with or without `batch_first`.
        state : (ndarray, ndarray), optional
            Initial h (L D, B, R) and c (L D, B, H), or (L D, R) and (L D, H) if x is (T, I). By
            default that of the model's parameters if `learn_state`, else zero.
        lengths : array of B integers, optional
            Steps of each row, 0 to T, in any order. What x holds after a row's end counts for
            nothing; the reverse direction begins at each row's own last step. Not with a list, nor
            with (T, I).
        out : ndarray, optional
            Where y goes: of exactly its shape and dtype, C-contiguous, sharing no memory with x or
            state. Not with a list.
        num_threads : int, optional
            At most so many threads; `get_num_threads` of them by default.

        Returns
        -------
        y : ndarray, shape (T, B, O), (B, T, O) if `batch_first`, or (T, O); or list of ndarray
            The output at every step, zero after a row's end; `out` if given. For a list of
            sequences a list of (T_i, O), all views of one array.
        (h, c) : (ndarray, ndarray)
            Every row's own final state, that of a row without steps is its initial one; shaped as
            the initial one: give it to the next call to go on.

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
        # Most calls: a small one would pay dearly for more.
        if self._model.takes(x, state, out) and (lengths is None or x.ndim == 3):
            own = None if lengths is None else lengths_of(self._config, x, lengths)
            return self._model.forward(x, state, out, thread_count(num_threads), own)
        array, initial, layout = read_call(self._config, x, state, lengths, out)
        threads = thread_count(num_threads)
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
        """Run the model as a call does, and keep what `Tape.backward` needs.

        Parameters
        ----------
        x, state, lengths, num_threads
            As in a call. All are copied: changing them later changes no gradient.
        keep : {"gates", "states"}
            "states" keeps about I + L D (H + R) elements for each step and row instead of I + L D
            (5 H + R); ``backward`` computes the gates again, with the same gradients to rounding.
        dropout : float, or ndarray (L - 1, T, B, D R)
            Between the layers: the probability, in [0, 1), that an element of h_t is zero on its
            way from one layer to the next. Each element of each step is drawn for itself; the
            others are scaled by 1 / (1 - p). Or these factors themselves, in x's order of axes: (L
            - 1, B, T, D R) if `batch_first`, (L - 1, T, D R) for (T, I), (L - 1, sum T_i, D R) for
            a list. A model of one layer has no such place.
        recurrent_dropout : float, or ndarray (L D, B, R)
            The same for h_{t-1} on its way into the gates of the next step, with one factor for all
            steps of a row; or (L D, R) factors for (T, I).
        rng : int or numpy.random.Generator, optional
            Seed of the factors, ``rng.random(shape) >= p`` in the shapes above, the one between
            the layers first; fresh entropy by default.

        Returns
        -------
        Tape
            With ``y``, ``state``, ``hidden``, ``gates``, ``cells`` and ``backward``.

        Raises
        ------
        ValueError, TypeError, RuntimeError, KeyboardInterrupt
            As a call does; ValueError also where a function of `cell` has no gradient.

        Notes
        -----
        Recurrent dropout with one mask a row is from Y. Gal, Z. Ghahramani, "A theoretically
        grounded application of dropout in recurrent neural networks", 2016.
        """
        check_gradients(self.cell, "record")
        if keep not in ("gates", "states"):
            raise ValueError(f"keep must be 'gates' or 'states', not {keep!r}")
        config, model = self._config, self._model
        layout: Layout | Ragged
        if model.takes(x, state, None) and (lengths is None or x.ndim == 3):
            array, initial = x, state
            if lengths is None:
                layout = layout_of(x.ndim, config.batch_first)
            else:
                layout = Layout(True, config.batch_first, lengths_of(config, x, lengths))
        else:
            array, initial, layout = read_call(config, x, state, lengths)
        threads, lean = thread_count(num_threads), keep == "states"
        masks = read_masks(config, array, layout, dropout, recurrent_dropout, rng)
        core_x = array if isinstance(layout, Ragged) else layout.to_core(array)
        recording, results = model.record(
            core_x, initial, lean, threads, layout.lengths, layout.ragged, masks
        )
        return Tape(recording, results, masks, layout, config, self._table, lean)

    def windows(
        self,
        x: SupportsArray,
        length: int,
        state: _GivenState = None,
        *,
        num_threads: int | None = None,
    ) -> Windows:
        """Record a long sequence in windows, for truncated backpropagation through time.

        Parameters
        ----------
        x : ndarray
            As in a call, but no list. It is read window by window and must stay as it is until
            then.
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
            If an argument does not fit, or a function of `cell` has no gradient.
        """
        return Windows(self.record, self._config, x, length, state, num_threads)

    def stream(self, batch_size: int | None = None) -> Stream:
        """Begin a live sequence, of which the steps come one by one.

        Parameters
        ----------
        batch_size : int, optional
            Sequences that advance together, B; 0 for none yet (`Stream.join`). By default there is
            one, and arrays have no axis for it.

        Returns
        -------
        Stream
            At the model's initial state, with the weights that it has now.

        Raises
        ------
        ValueError, TypeError, MemoryError
            If `batch_size` does not fit; ValueError also for a model with a reverse direction,
            which would begin at the end.
        RuntimeError
            Inside `edit`.
        """
        rows = 1 if batch_size is None else row_count(batch_size, "batch_size")
        batched = batch_size is not None
        return Stream(_core.Stream(self._model, batched, rows), self._config, batched)
