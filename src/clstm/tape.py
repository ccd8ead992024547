"""What a recorded forward pass hands out, and the gradients that it gives."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from . import _core
from .configuration import Configuration
from .dropout import Masks
from .layout import Array, Layout, State, as_real, read_state
from .lengths import Ragged, pack
from .parameters import Parameters, Table
from .threads import thread_count

_GATES = {"input": 0, "forget": 1, "cell": 2, "output": 3}  # clstm_tape_field
_CELL_STATE, _HIDDEN_STATE = 4, 5

S = TypeVar("S")  # what a sequence is: an array, or a list of them


@dataclass(frozen=True, slots=True)
class Gradients:
    """Gradients of a loss with respect to all that went into a recorded pass.

    Attributes
    ----------
    x : ndarray, list of ndarray or None
        With respect to the input, of its shape, zero after a row's end; a list for a list of
        sequences; None where ``grad_x=False``.
    state : (ndarray, ndarray)
        With respect to the initial h and c, of their shapes.
    parameters : Parameters
        With respect to every parameter; ``parameters.flat`` is one contiguous array in the order of
        ``lstm.parameters.flat``. Those of a learned initial state are the sums over all rows, and
        zero where the pass was given a state.
    """

    x: Any
    state: State
    parameters: Parameters


class Tape(Generic[S]):
    """A recorded forward pass, made by `LSTM.record`.

    It holds copies of the input and the state, so that changing them afterwards changes no
    gradient. `backward` uses it up. Of a list of sequences y, hidden, cells and every gate are
    lists as well, of (T_i, .).

    Attributes
    ----------
    y : ndarray, read-only
        The output, as a call of the model returns it.
    state : (ndarray, ndarray), read-only
        The final h and c, as a call of the model returns them.
    dropout, recurrent_dropout : ndarray, read-only, or None
        The factors, as `LSTM.record` takes them.
    """

    __slots__ = (
        "_config",
        "_layout",
        "_lean",
        "_recording",
        "_rows",
        "_table",
        "_used",
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
        self._used = False

    @property
    def hidden(self) -> S:
        """The last layer's h at every step, before the readout: (T, B, D R), read-only.

        Zero after a row's end.
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
        """The activated gates by name, input, forget, cell, output: copies, (T, B, L D, H).

        Zero after a row's end. RuntimeError where `LSTM.record` was told to keep states alone.
        """
        self._refuse_if_used()
        if self._lean:
            raise RuntimeError("record(keep='states') keeps no gates")
        return _Gates(self)

    @property
    def cells(self) -> S:
        """The cell states at every step: a copy, (T, B, L D, H), zero after a row's end."""
        return self._read(_CELL_STATE)

    def _read(self, field: int) -> S:
        """Return one field of all parts, (T, B, L D, H) in the user's order of axes."""
        self._refuse_if_used()
        config = self._config
        result = np.empty((*self._rows[0], config.num_parts, config.hidden_size), config.dtype)
        for part in range(config.num_parts):
            self._recording.read(field, part, result[..., part, :])
        return self._from_core(result)

    def _from_core(self, sequence: Array) -> S:
        result: Any = self._layout.from_core(sequence)
        return result  # type: ignore[no-any-return]

    def _refuse_if_used(self) -> None:
        if self._used:
            raise RuntimeError("the tape was already used by backward(): record again")

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
            Gradient of the loss with respect to y, of y's shape, a list if y is one; or of the last
            step's shape, (B, O) or (O,), where the loss sees every row's own last step alone; or
            None where it sees the final state alone. What stands after a row's end, or belongs to a
            row without steps, counts for nothing.
        dstate : (ndarray, ndarray), optional
            Gradient with respect to the final h and c, of their shapes; zero by default.
        into : Gradients or Parameters, optional
            What an earlier backward pass of this model returned, or its ``parameters``: the
            parameter gradients are added to it, and it is the result's ``parameters``. For the sum
            over several minibatches or windows of a long sequence.
        grad_x : bool
            Whether the gradient of x is wanted; without it ``x`` of the result is None, and it
            takes less time.
        num_threads : int, optional
            As in a call of the model.

        Returns
        -------
        Gradients
            Of x, the initial state and every parameter, in the model's dtype.

        Raises
        ------
        RuntimeError
            If the tape was already used, or the model's parameters have changed since it was
            recorded.
        ValueError, TypeError
            If a shape or dtype does not fit; the tape can then still be used.
        KeyboardInterrupt
            By Ctrl-C also in the middle; `into` is undefined then.

        Notes
        -----
        A. Graves, "Supervised sequence labelling with recurrent neural networks", 2012, section
        4.6, has the equations.
        """
        self._refuse_if_used()
        config, layout = self._config, self._layout
        core_dy = self._read_dy(dy)
        sizes = (config.num_parts, self._rows[1], config.state_size, config.hidden_size)
        dh, dc = read_state(dstate, "dstate", sizes, config.dtype, layout.batched)
        threads = thread_count(num_threads)
        total = self._read_into(into)
        flat = None if total is None else total.flat
        dx, dh0, dc0, flat = self._recording.backward(core_dy, dh, dc, flat, bool(grad_x), threads)
        self._used = True
        state = layout.state_from_core(dh0), layout.state_from_core(dc0)
        x = None if dx is None else self._from_core(dx)
        return Gradients(x, state, total or Parameters(self._table, flat))

    def _read_into(self, into: Gradients | Parameters | None) -> Parameters | None:
        """Return the parameter gradients to add to."""
        if into is None:
            return None
        total = into.parameters if isinstance(into, Gradients) else into
        if not isinstance(total, Parameters):
            raise TypeError(f"into must be what backward() returned, not {type(into).__name__}")
        flat, shapes = total.flat, {name: shape for name, shape, _ in self._table}
        if {name: array.shape for name, array in total.items()} != shapes:
            raise ValueError("into has other parameters than this model")
        if flat.dtype != self._config.dtype:
            raise ValueError(f"into is of {flat.dtype}, this model of {self._config.dtype}")
        if not flat.flags.writeable:
            raise ValueError("into is read-only: are these a model's parameters, not gradients?")
        return total

    def _read_dy(self, dy: ArrayLike | list[Any] | None) -> Array | None:
        """Return the user's dy as (T, B, O), or (sum T_i, O)."""
        if dy is None:
            return None
        config, layout, (rows, batch) = self._config, self._layout, self._rows
        y: Any = self.y
        if isinstance(layout, Ragged) and isinstance(dy, list):
            return pack(_same_shapes(dy, y, config.dtype), config.output_width, config.dtype)
        array = as_real(dy, "dy", config.dtype)
        if isinstance(layout, Layout) and array.shape == y.shape:
            return layout.to_core(array)
        last = (batch, config.output_width) if layout.batched else (config.output_width,)
        no_last = layout.lengths is None and rows[0] == 0
        if array.shape != last or no_last:
            whole = "a list as y is" if layout.ragged else f"y's {y.shape}"
            hint = "" if no_last else f", or {last} for the last step alone"
            raise ValueError(f"dy has shape {array.shape}, expected {whole}{hint}")
        core_dy = np.zeros((*rows, config.output_width), config.dtype)
        layout.put_last(core_dy, array)
        return core_dy


def _same_shapes(dy: list[Any], y: list[Array], dtype: np.dtype[Any]) -> list[Array]:
    """Check a list of gradients against the sequences that they belong to."""
    if len(dy) != len(y):
        raise ValueError(f"dy has {len(dy)} sequences, y has {len(y)}")
    arrays = [as_real(value, f"dy[{k}]", dtype) for k, value in enumerate(dy)]
    for k, (array, expected) in enumerate(zip(arrays, y, strict=True)):
        if array.shape != expected.shape:
            raise ValueError(f"dy[{k}] has shape {array.shape}, expected y's {expected.shape}")
    return arrays


class _Gates(Mapping[str, S]):
    """A tape's gates; each is copied from the tape when it is asked for."""

    def __init__(self, tape: Tape[S]) -> None:
        self._tape = tape

    def __getitem__(self, name: str) -> S:
        return self._tape._read(_GATES[name])

    def __iter__(self) -> Iterator[str]:
        return iter(_GATES)

    def __len__(self) -> int:
        return len(_GATES)

    def __repr__(self) -> str:
        return f"gates {', '.join(_GATES)} of shape (T, B, L D, H)"
