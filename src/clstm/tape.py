"""What a recorded forward pass hands out, and the gradients that it gives."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from .layout import Array, Layout, State, as_real, read_state
from .parameters import Parameters, Table
from .threads import thread_count

_GATES = {"input": 0, "forget": 1, "cell": 2, "output": 3}  # clstm_tape_field
_CELL_STATE, _HIDDEN_STATE = 4, 5


@dataclass(frozen=True, slots=True)
class Gradients:
    """Gradients of a loss with respect to all that went into a recorded pass.

    Attributes
    ----------
    x : ndarray
        With respect to the input, of its shape.
    state : (ndarray, ndarray)
        With respect to the initial h and c, of their shapes.
    parameters : Parameters
        With respect to every parameter; ``parameters.flat`` is one contiguous array in the order of
        ``lstm.parameters.flat``.
    """

    x: Array
    state: State
    parameters: Parameters


class Tape:
    """A recorded forward pass, made by `LSTM.record`.

    It holds copies of the input and the state, so that changing them afterwards changes no
    gradient. `backward` uses it up.

    Attributes
    ----------
    y : ndarray, read-only
        The output, as a call of the model returns it.
    state : (ndarray, ndarray), read-only
        The final h and c, as a call of the model returns them.
    """

    __slots__ = ("_layout", "_lean", "_recording", "_shape", "_table", "_used", "state", "y")

    def __init__(
        self,
        recording: _core.Recording,
        results: tuple[Array, Array, Array],
        layout: Layout,
        shape: tuple[int, int, int, int],
        table: Table,
        lean: bool,
    ) -> None:
        for result in results:
            result.flags.writeable = False
        y, h, c = results
        self.y: Array = layout.from_core(y)
        self.state: State = layout.state_from_core(h), layout.state_from_core(c)
        self._recording = recording
        self._layout = layout
        self._shape = shape  # T, B, L, H
        self._table = table
        self._lean = lean
        self._used = False

    @property
    def hidden(self) -> Array:
        """The last layer's hidden state at every step, before the readout: (T, B, H), read-only."""
        steps, batch, layers, hidden_size = self._shape
        hidden = np.empty((steps, batch, hidden_size), self.y.dtype)
        self._recording.read(_HIDDEN_STATE, layers - 1, hidden)
        hidden.flags.writeable = False
        return self._layout.from_core(hidden)

    @property
    def gates(self) -> Mapping[str, Array]:
        """The activated gates by name, input, forget, cell, output: copies, (T, B, L, H).

        RuntimeError where `LSTM.record` was told to keep states alone.
        """
        self._refuse_if_used()
        if self._lean:
            raise RuntimeError("record(keep='states') keeps no gates")
        return _Gates(self)

    @property
    def cells(self) -> Array:
        """The cell states at every step: a copy, (T, B, L, H)."""
        return self._read(_CELL_STATE)

    def _read(self, field: int) -> Array:
        """Return one field of all layers, (T, B, L, H) in the user's order of axes."""
        self._refuse_if_used()
        result = np.empty(self._shape, self.y.dtype)
        for layer in range(self._shape[2]):
            self._recording.read(field, layer, result[:, :, layer])
        return self._layout.from_core(result)

    def _refuse_if_used(self) -> None:
        if self._used:
            raise RuntimeError("the tape was already used by backward(): record again")

    def backward(
        self,
        dy: ArrayLike | None,
        dstate: tuple[ArrayLike, ArrayLike] | None = None,
        *,
        into: Gradients | Parameters | None = None,
        num_threads: int | None = None,
    ) -> Gradients:
        """Backpropagate through time.

        Parameters
        ----------
        dy : ndarray or None
            Gradient of the loss with respect to y, of y's shape; or of the last step's shape, (B,
            O) or (O,), where the loss sees that step alone; or None where it sees the final state
            alone.
        dstate : (ndarray, ndarray), optional
            Gradient with respect to the final h and c, of their shapes; zero by default.
        into : Gradients or Parameters, optional
            What an earlier backward pass of this model returned, or its ``parameters``: the
            parameter gradients are added to it, and it is the result's ``parameters``. For the sum
            over several minibatches or windows of a long sequence.
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
        steps, batch, layers, hidden_size = self._shape
        layout = self._layout
        core_dy = self._read_dy(dy)
        sizes = (layers, batch, hidden_size)
        dh, dc = read_state(dstate, "dstate", sizes, self.y.dtype, layout)
        threads = thread_count(num_threads)
        total = self._read_into(into)
        flat = None if total is None else total.flat
        dx, dh0, dc0, flat = self._recording.backward(
            core_dy, dh, dc, (steps, batch), flat, threads
        )
        self._used = True
        state = layout.state_from_core(dh0), layout.state_from_core(dc0)
        return Gradients(layout.from_core(dx), state, total or Parameters(self._table, flat))

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
        if flat.dtype != self.y.dtype:
            raise ValueError(f"into is of {flat.dtype}, this model of {self.y.dtype}")
        if not flat.flags.writeable:
            raise ValueError("into is read-only: are these a model's parameters, not gradients?")
        return total

    def _read_dy(self, dy: ArrayLike | None) -> NDArray[Any] | None:
        """Return the user's dy as (T, B, O)."""
        if dy is None:
            return None
        array = as_real(dy, "dy", self.y.dtype)
        if array.shape == self.y.shape:
            return self._layout.to_core(array)
        steps, batch = self._shape[:2]
        last = (batch, self.y.shape[-1]) if self._layout.batched else self.y.shape[-1:]
        if array.shape != last or steps == 0:
            hint = f", or {last} for the last step alone" if steps else ""
            raise ValueError(f"dy has shape {array.shape}, expected y's {self.y.shape}{hint}")
        whole = np.zeros((steps, batch, self.y.shape[-1]), self.y.dtype)
        whole[-1] = array
        return whole


class _Gates(Mapping[str, Array]):
    """A tape's gates; each is copied from the tape when it is asked for."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape

    def __getitem__(self, name: str) -> Array:
        return self._tape._read(_GATES[name])

    def __iter__(self) -> Iterator[str]:
        return iter(_GATES)

    def __len__(self) -> int:
        return len(_GATES)

    def __repr__(self) -> str:
        return f"gates {', '.join(_GATES)} of shape (T, B, L, H)"
