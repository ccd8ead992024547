"""The tape of a recorded forward pass, and the gradients of its backward pass."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from . import _core
from .configuration import Configuration
from .dropout import Masks
from .layout import Array, Layout, State, as_array, as_pair, cast, read_state, refuse_mask
from .lengths import Ragged, pack
from .parameters import Parameters, Table, listed
from .threads import thread_count

_GATES = {"input": 0, "forget": 1, "cell": 2, "output": 3}  # clstm_tape_field
_CELL_STATE, _HIDDEN_STATE = 4, 5

S = TypeVar("S")  # the type of a sequence: an array or a list of arrays


@dataclass(frozen=True, slots=True)
class Gradients:
    """Gradients of a loss with respect to the inputs and parameters of a recorded pass.

    Attributes
    ----------
    x : ndarray, list of ndarray or None
        Gradient with respect to x, of its shape, zero after the end of a row. A list if x was a
        list; None if ``grad_x=False``.
    state : (ndarray, ndarray)
        Gradients with respect to the initial h and c, of their shapes.
    parameters : Parameters
        Gradients with respect to all parameters; ``parameters.flat`` is one contiguous array in the
        order of ``lstm.parameters.flat``. Those of a learned initial state are sums over all rows,
        and zero if the pass was given a state.
    """

    x: Any
    state: State
    parameters: Parameters


class Tape(Generic[S]):
    """A recorded forward pass, made by `LSTM.record`.

    A tape holds copies of x and the initial state, so that later changes do not affect the
    gradients. `backward` consumes the tape. If x was a list of sequences, `y`, `hidden`, `cells`
    and each gate are lists of arrays (T_i, .).

    Attributes
    ----------
    y : ndarray, read-only
        Output, as a call of the model returns it.
    state : (ndarray, ndarray), read-only
        Final h and c, as a call of the model returns them.
    dropout, recurrent_dropout : ndarray, read-only, or None
        Factors, in the shapes of `LSTM.record`; None without dropout.
    """

    __slots__ = (
        "_config",
        "_layout",
        "_lean",
        "_recording",
        "_rows",
        "_table",
        "_threads",
        "dropout",
        "recurrent_dropout",
        "state",
        "y",
    )

    def __init__(
        self,
        recording: _core.Recording,
        results: tuple[Array, Array, Array],
        masks: Masks,
        layout: Layout | Ragged,
        config: Configuration,
        table: Table,
        lean: bool,
        threads: int | None,
    ) -> None:
        for result in results:
            result.flags.writeable = False
        y, h, c = results
        self._layout = layout
        self.y: S = self._from_core(y)
        self.state: State = layout.state_from_core(h), layout.state_from_core(c)
        between, recurrent = masks
        self.dropout: Array | None = None
        self.recurrent_dropout: Array | None = None
        if between is not None:
            between.flags.writeable = False
            self.dropout = layout.layers_from_core(between)
        if recurrent is not None:
            recurrent.flags.writeable = False
            self.recurrent_dropout = layout.state_from_core(recurrent)
        self._recording = recording
        self._rows = y.shape[:-1], h.shape[1]  # (T, B) or (sum T_i,), and B
        self._config = config
        self._table = table
        self._lean = lean
        self._threads = threads  # None if the recording had no num_threads

    @property
    def hidden(self) -> S:
        """h of the last layer at every step, before the readout: (T, B, D R), read-only.

        It is zero after the end of a row.
        """
        config, size = self._config, self._config.state_size
        hidden = np.empty((*self._rows[0], config.width), config.dtype)
        for d in range(config.num_directions):
            part = config.num_parts - config.num_directions + d
            self._recording.read(_HIDDEN_STATE, part, hidden[..., d * size : (d + 1) * size])
        hidden.flags.writeable = False
        return self._from_core(hidden)

    @property
    def gates(self) -> Mapping[str, S]:
        """Activated gates by name (input, forget, cell, output): copies, (T, B, L D, H).

        They are zero after the end of a row. Raises RuntimeError if the tape has only states.
        """
        self._recording.refuse_if_used()
        if self._lean:
            raise RuntimeError("record(keep='states') keeps no gates")
        return _Gates(self)

    @property
    def cells(self) -> S:
        """Cell states at every step: a copy, (T, B, L D, H), zero after the end of a row."""
        return self._read(_CELL_STATE)

    def _read(self, field: int) -> S:
        """Return a field of all parts as (T, B, L D, H), in the user's order of axes."""
        self._recording.refuse_if_used()
        config = self._config
        result = np.empty((*self._rows[0], config.num_parts, config.hidden_size), config.dtype)
        for part in range(config.num_parts):
            self._recording.read(field, part, result[..., part, :])
        return self._from_core(result)

    def _from_core(self, sequence: Array) -> S:
        result: Any = self._layout.from_core(sequence)
        return result  # type: ignore[no-any-return]

    def backward(
        self,
        dy: ArrayLike | list[Any] | None,
        dstate: tuple[ArrayLike, ArrayLike] | None = None,
        *,
        into: Gradients | Parameters | None = None,
        grad_x: bool = True,
        num_threads: int | None = None,
    ) -> Gradients:
        """Backpropagate through time.

        Parameters
        ----------
        dy : ndarray, list of ndarray or None
            Gradient of the loss with respect to y: of y's shape, or a list if y is one; or of one
            step's shape, (B, O) or (O,), if the loss depends only on the last step of each row; or
            None if it depends only on the final state. Values after the end of a row are ignored,
            and so are those of rows without steps.
        dstate : (ndarray, ndarray), optional
            Gradients of the loss with respect to the final h and c, of their shapes; zero by
            default.
        into : Gradients or Parameters, optional
            Result of an earlier backward pass of this model, or its ``parameters``. The parameter
            gradients are added to it in place, and the result has them as ``parameters``; for sums
            over minibatches, or over windows of a long sequence.
        grad_x : bool, default=True
            Whether to compute the gradient with respect to x. Without it, ``x`` of the result is
            None, and the pass takes less time.
        num_threads : int, optional
            Maximum number of threads; by default the recording's `num_threads` if it had one, else
            `get_num_threads()`.

        Returns
        -------
        Gradients
            Gradients with respect to x, the initial state and all parameters, in the model's dtype.

        Raises
        ------
        RuntimeError
            If the tape was already used, or the model's parameters have changed since the
            recording.
        ValueError, TypeError
            If a shape or dtype does not fit; the tape can still be used.
        KeyboardInterrupt
            On Ctrl-C, even in the middle; `into` is then undefined.

        Notes
        -----
        The equations are in section 4.6 of A. Graves, "Supervised sequence labelling with recurrent
        neural networks", 2012.
        """
        self._recording.refuse_if_used()
        config, layout = self._config, self._layout
        given, pair, wants_x = self._as_dy(dy), as_pair(dstate, "dstate"), bool(grad_x)
        threads = thread_count(self._threads if num_threads is None else num_threads)
        total = None if into is None else read_into(into, self._table, config.dtype)
        flat = None if total is None else total.flat
        core_dy = self._read_dy(given)
        sizes = (config.num_parts, self._rows[1], config.state_size, config.hidden_size)
        dh, dc = read_state(pair, "dstate", sizes, config.dtype, layout.batched)
        if flat is not None:
            check_apart(flat, {"dy": given, "dstate": pair})
        dx, dh0, dc0, flat = self._recording.backward(core_dy, dh, dc, flat, wants_x, threads)
        state = layout.state_from_core(dh0), layout.state_from_core(dc0)
        x = None if dx is None else self._from_core(dx)
        return Gradients(x, state, total or Parameters(self._table, flat))

    def _as_dy(self, dy: ArrayLike | list[Any] | None) -> Array | list[Array] | None:
        """Convert the user's dy to one array or several."""
        if dy is None:
            return None
        if self._layout.ragged and isinstance(dy, list):
            return [as_array(value, f"dy[{k}]") for k, value in enumerate(tuple(dy))]
        return as_array(dy, "dy")

    def _read_dy(self, dy: Array | list[Array] | None) -> Array | None:
        """Check the result of `_as_dy`; return it as (T, B, O) or (sum T_i, O)."""
        if dy is None:
            return None
        config, layout, (rows, batch) = self._config, self._layout, self._rows
        y: Any = self.y
        if isinstance(dy, list):
            return pack(_same_shapes(dy, y, config.dtype), config.output_width, config.dtype)
        array = cast(dy, config.dtype)
        if isinstance(layout, Layout) and array.shape == y.shape:
            return layout.to_core(array)
        last = (batch, config.output_width) if layout.batched else (config.output_width,)
        no_last = layout.lengths is None and rows[0] == 0
        if array.shape != last or no_last:
            whole = "a list like y" if layout.ragged else f"y's {y.shape}"
            hint = "" if no_last else f", or {last} for the last step alone"
            raise ValueError(f"dy has shape {array.shape}, expected {whole}{hint}")
        core_dy = np.zeros((*rows, config.output_width), config.dtype)
        layout.put_last(core_dy, array)
        return core_dy


def read_into(into: Gradients | Parameters, table: Table, dtype: np.dtype[Any]) -> Parameters:
    """Check and return the parameter gradients that a backward pass adds to."""
    total = into.parameters if isinstance(into, Gradients) else into
    if not isinstance(total, Parameters):
        raise TypeError(f"into must be Gradients or Parameters, not {type(into).__name__}")
    flat, shapes = total.flat, {name: shape for name, shape, _ in table}
    refuse_mask(flat, "into")
    if {name: array.shape for name, array in total.items()} != shapes:
        raise ValueError("into must have the parameters of this model, got others")
    if flat.dtype != dtype:
        raise ValueError(f"into has dtype {flat.dtype}, expected {dtype}")
    if not flat.flags.writeable:
        raise ValueError("into is read-only: are these a model's parameters, not gradients?")
    if flat.ndim != 1 or not flat.flags.carray:
        raise ValueError("into must have one contiguous, aligned array of gradients")
    return total


def check_apart(into: Array, inputs: dict[str, Any]) -> None:
    """Raise if the gradients that are added to share memory with an input."""
    for name, value in inputs.items():
        arrays = value if isinstance(value, (list, tuple)) else [value]
        if any(array is not None and np.may_share_memory(into, array) for array in arrays):
            raise ValueError(f"into shares memory with {name}")


def _same_shapes(dy: list[Array], y: list[Array], dtype: np.dtype[Any]) -> list[Array]:
    """Check a list of gradients against the sequences of y."""
    if len(dy) != len(y):
        raise ValueError(f"dy has {len(dy)} sequences, expected y's {len(y)}")
    for k, (array, expected) in enumerate(zip(dy, y, strict=True)):
        if array.shape != expected.shape:
            raise ValueError(f"dy[{k}] has shape {array.shape}, expected y's {expected.shape}")
    return [cast(array, dtype) for array in dy]


class _Gates(Mapping[str, S]):
    """The gates of a tape; every access copies one from the tape."""

    def __init__(self, tape: Tape[S]) -> None:
        self._tape = tape

    def __getitem__(self, name: str) -> S:
        if name not in _GATES:
            raise KeyError(f"no gate {name!r:.80}, there are: {listed(_GATES)}")
        return self._tape._read(_GATES[name])

    def __contains__(self, name: object) -> bool:
        return name in _GATES  # without a copy from the tape

    def __iter__(self) -> Iterator[str]:
        return iter(_GATES)

    def __len__(self) -> int:
        return len(_GATES)

    def __repr__(self) -> str:
        return f"gates {', '.join(_GATES)} of shape (T, B, L D, H)"
