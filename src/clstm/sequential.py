"""The class `Sequential`: LSTMs and the layers around them as one model."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from . import _core, sequential_files
from .calls import read_initial
from .chain import Backward, Forward, Step, check, lstms_in, parameters_in, part_of, takes
from .layers import Embedding, Masking, Skip
from .layout import Array, Layout, State, as_pair
from .lengths import Ragged
from .lstm import LSTM
from .model import Trainable
from .parameters import Parameters, Table
from .rows import Given, Rows, read_rows
from .sequential_stream import SequentialStream
from .state_dict import read_file, read_state_dict
from .tape import Gradients, Tape

States = tuple[State, ...]


class Sequential(Trainable):
    """A chain of LSTMs and layers of `clstm.layers`, each a function of what the one before gives.

    Parameters
    ----------
    layers : iterable of LSTM and of the classes in `clstm.layers`
        At least one LSTM. The model has copies of them, in the dtype of the LSTMs.
    batch_first : bool, default=False
        Whether sequences have shape (B, T, .) instead of (T, B, .).
    notes : mapping, optional
        What a file says about the model beside its computation, by name; kept by `save`, pickle and
        conversions.

    Attributes
    ----------
    layers : tuple
        The model's own layers.
    notes : dict

    Raises
    ------
    ValueError
        If a layer cannot follow the one before it. The message names both.
    TypeError
        If something is not a layer.

    Examples
    --------
    >>> import numpy as np
    >>> import clstm
    >>> from clstm.layers import Dense, Last
    >>> model = clstm.Sequential([clstm.LSTM(3, 8, rng=0), Last(), Dense(np.ones((2, 8)))])
    >>> y, (state,) = model(np.ones((5, 4, 3)))       # 5 steps, a batch of 4
    >>> y.shape
    (4, 2)
    """

    __slots__ = ("_batch_first", "_layers")

    _model: _core.Group

    def __init__(
        self,
        layers: Sequence[Any],
        batch_first: bool = False,
        *,
        notes: Mapping[str, Any] | None = None,
    ) -> None:
        given = tuple(layers)
        check(given)
        lstms = list(lstms_in(given))
        if not lstms:
            raise ValueError("layers must hold an LSTM")
        for lstm in lstms:
            if lstm.dtype != lstms[0].dtype:
                raise ValueError(
                    f"all LSTMs must have one dtype, got {lstms[0].dtype} and {lstm.dtype}"
                )
            if lstm.batch_first and not batch_first:
                raise ValueError("an LSTM has batch_first=True: give it to the Sequential, too")
        self._table, size = _table_of(given)
        flat = np.empty(size, lstms[0].dtype)
        own = Parameters(self._table, flat)
        with np.errstate(all="ignore"):
            for name, array in parameters_in(given):
                own[name][...] = array
        self._model = _core.Group(flat)
        own.freeze()
        self._layers = tuple(_parts_of(given, "", own, self._model))
        self._batch_first = bool(batch_first)
        self.notes = dict(notes or {})

    # ---- What it is ----

    @property
    def layers(self) -> tuple[Any, ...]:
        """The model's own layers."""
        return self._layers

    def __len__(self) -> int:
        return len(self._layers)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._layers)

    def __getitem__(self, number: int) -> Any:
        return self._layers[number]

    @property
    def batch_first(self) -> bool:
        """Whether sequences have shape (B, T, .)."""
        return self._batch_first

    @property
    def input_size(self) -> int | None:
        """Number of features of x_t, or None if x holds indices of an `Embedding`."""
        return None if isinstance(self._layers[0], Embedding) else takes(self._layers)

    @property
    def output_size(self) -> int:
        """Number of features of y."""
        size = check(self._layers)
        assert size is not None
        return size

    def __repr__(self) -> str:
        lines = "".join(f"    {_shown(layer)},\n" for layer in self._layers)
        return f"Sequential([\n{lines}]{', batch_first=True' if self._batch_first else ''})"

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__

    # ---- Parameters ----

    def state_dict(self) -> dict[str, Array]:
        """Return copies of all parameters by name: ``0.weight``, ``1.weight_ih_l0``, ..."""
        return {name: array.copy() for name, array in self.parameters.items()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Replace all parameters by a result of `state_dict`.

        Raises
        ------
        KeyError
            If a name is missing or unknown.
        ValueError, TypeError
            If a shape or dtype does not fit.
        RuntimeError
            If a call is using the model or `edit` is open. The model stays unchanged in all these
            cases.
        """
        parameters = Parameters(self._table, np.empty(self._model.elements, self.dtype))
        read_state_dict(parameters, state_dict, "")
        self._model.replace(parameters.flat)

    # ---- Calls ----

    def __call__(
        self,
        x: Any,
        state: Sequence[Any] | None = None,
        *,
        lengths: ArrayLike | None = None,
        num_threads: int | None = None,
    ) -> tuple[Any, States]:
        """Run the model over a sequence or a batch of sequences.

        Parameters
        ----------
        x : ndarray or list of ndarray
            As in a call of `LSTM`: (T, B, I), (B, T, I) if `batch_first`, (T, I), or a list of
            (T_i, I). If the first layer is an `Embedding`, integers without the last axis.
        state : sequence of (ndarray, ndarray) or None, optional
            The initial state of each LSTM in order, or None for its own; as in a call of `LSTM`.
        lengths : array_like of int, shape (B,), optional
            Number of steps of each row, as in a call of `LSTM`.
        num_threads : int, optional
            Maximum number of threads; `get_num_threads()` by default.

        Returns
        -------
        y : ndarray or list of ndarray
            Output at every step, in the form of x, zero after the end of a row; or (B, O) behind a
            `Last`, (O,) for a single sequence.
        state : tuple of (ndarray, ndarray)
            Final state of each LSTM in order.

        Raises
        ------
        ValueError, TypeError, RuntimeError, KeyboardInterrupt
            As for a call of `LSTM`.
        """
        values, rows, form, initial = self._read(x, state, lengths)
        forward = Forward(initial, num_threads)
        with _core.Use(self._model):
            y, after, _ = forward.run(self._layers, values, rows)
        return form.to_user(y, after), _states(form, forward.final)

    def record(
        self,
        x: Any,
        state: Sequence[Any] | None = None,
        *,
        lengths: ArrayLike | None = None,
        keep: str = "gates",
        num_threads: int | None = None,
    ) -> "SequentialTape":
        """Run the model like a call, and record what `SequentialTape.backward` needs.

        Parameters
        ----------
        x, state, lengths, num_threads
            As in a call.
        keep : {"gates", "states"}, default="gates"
            As in `LSTM.record`.

        Returns
        -------
        SequentialTape
            With ``y``, ``state`` and ``backward``.

        Raises
        ------
        ValueError, TypeError, RuntimeError, KeyboardInterrupt
            As for a call; ValueError also if a function of a `Cell` has no gradient.
        """
        if keep not in ("gates", "states"):
            raise ValueError(f"keep must be 'gates' or 'states', not {keep!r}")
        values, rows, form, initial = self._read(x, state, lengths)
        forward = Forward(initial, num_threads, keep)
        with _core.Use(self._model):
            version = self._model.version
            y, after, trail = forward.run(self._layers, values.copy(), rows)
        final = _states(form, forward.final)
        return SequentialTape(
            self, version, form, after, trail, forward.tapes, y, final, num_threads
        )

    def _read(
        self, x: Any, state: Any, lengths: Any
    ) -> tuple[Array, Rows, Given, list[tuple[Array | None, Array | None] | None]]:
        masks = any(_masks(layer) for layer in self._layers)
        values, rows, form = read_rows(
            x, lengths, self.input_size, self.dtype, self._batch_first, masks
        )
        lstms = list(lstms_in(self._layers))
        pairs: list[Any] = [None] * len(lstms) if state is None else list(state)
        if len(pairs) != len(lstms):
            raise ValueError(
                f"state has {len(pairs)} pairs, expected one for each of {len(lstms)} LSTMs"
            )
        batched = form.layout.batched
        initial = [
            read_initial(lstm._config, as_pair(pair, f"state[{k}]"), rows.batch, batched)
            for k, (lstm, pair) in enumerate(zip(lstms, pairs, strict=True))
        ]
        return values, rows, form, initial

    def stream(self, batch_size: int | None = None) -> SequentialStream:
        """Start a live sequence, whose steps arrive one by one.

        Parameters
        ----------
        batch_size : int, optional
            As in `LSTM.stream`.

        Returns
        -------
        SequentialStream
            At the initial state of all LSTMs.

        Raises
        ------
        ValueError, TypeError, MemoryError, RuntimeError
            As for `LSTM.stream`; ValueError also if the model has a `Last` or skips masked steps.
        """
        return SequentialStream(self._layers, self._model, batch_size)

    # ---- Files and copies ----

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a safetensors file: parameters by name; layers and notes in its metadata.

        Raises
        ------
        ValueError
            If a note is not a JSON value. Nothing is written then.
        OSError
            If the file cannot be written.
        """
        sequential_files.write(path, self._layers, self._batch_first, self.notes)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Load a model from a file written by `save`.

        Raises
        ------
        ValueError
            If the file is truncated, inconsistent, or not written by `save`. The message names the
            file.
        OSError
            If the file cannot be read.
        """
        metadata, tensors, notes = read_file(path, "Sequential", sequential_files.FORMAT)
        layers, batch_first = sequential_files.read(path, metadata, tensors)
        try:
            return cls(layers, batch_first, notes=notes)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{os.fspath(path)} holds no valid model: {error}") from None

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self._layers, self._batch_first, self.notes)


class SequentialTape:
    """A recorded forward pass of a `Sequential`, made by `Sequential.record`.

    Attributes
    ----------
    y : ndarray or list of ndarray
        Output, as a call of the model returns it.
    state : tuple of (ndarray, ndarray)
        Final states, as a call of the model returns them.
    tapes : tuple of Tape
        Those of the LSTMs in order, with their gates and cells. `backward` consumes them.
    """

    __slots__ = (
        "_after",
        "_form",
        "_model",
        "_threads",
        "_trail",
        "_values",
        "_version",
        "state",
        "tapes",
        "y",
    )

    def __init__(
        self,
        model: Sequential,
        version: int,
        form: Given,
        after: Rows,
        trail: list[Step],
        tapes: Sequence[Tape[Any]],
        values: Array,
        state: States,
        threads: int | None,
    ) -> None:
        self._model, self._form, self._after, self._trail = model, form, after, trail
        self._version = version
        self._values = values
        self._threads = threads
        self.tapes = tuple(tapes)
        self.y: Any = form.to_user(values, after)
        self.state = state

    def backward(
        self,
        dy: Any,
        dstate: Sequence[Any] | None = None,
        *,
        into: Gradients | Parameters | None = None,
        grad_x: bool = True,
        num_threads: int | None = None,
    ) -> Gradients:
        """Backpropagate through all layers.

        Parameters
        ----------
        dy : ndarray, list of ndarray or None
            Gradient of the loss with respect to y, in its form; None if the loss depends only on
            the final states.
        dstate : sequence of (ndarray, ndarray) or None, optional
            Gradients with respect to the final state of each LSTM in order; zero by default.
        into : Gradients or Parameters, optional
            Earlier gradients of this model, to which those of the parameters are added.
        grad_x : bool, default=True
            Whether to compute the gradient with respect to x; x of indices has none.
        num_threads : int, optional
            As in `Tape.backward`.

        Returns
        -------
        Gradients
            With ``state`` a tuple of pairs, and ``parameters`` in the names of
            `Sequential.parameters`.

        Raises
        ------
        RuntimeError, ValueError, TypeError, KeyboardInterrupt
            As in `Tape.backward`.
        """
        model, after = self._model, self._after
        if dy is None:
            core = np.zeros(self._values.shape, model.dtype)
        else:
            core = self._form.read(dy, "dy", self.y, after, model.dtype)
        table = model._table
        flat = _flat_into(into, table, model._model.elements, model.dtype)
        pairs = [None] * len(self.tapes) if dstate is None else list(dstate)
        if len(pairs) != len(self.tapes):
            raise ValueError(f"dstate has {len(pairs)} pairs, expected {len(self.tapes)}")
        wants_x = bool(grad_x) and model.input_size is not None
        layout = self._form.layout
        given = [None if pair is None else _to_core(layout, pair) for pair in pairs]
        threads = self._threads if num_threads is None else num_threads
        backward = Backward(table, flat, given, threads)
        with _core.Use(model._model):
            if model._model.version != self._version:
                raise RuntimeError("the model's parameters changed after the tape was recorded")
            dx = backward.run(self._trail, core, wants_x)
        x = self._form.to_user(dx, replace(after, has_steps=True)) if wants_x else None
        states = _states(self._form, backward.initial[::-1])
        return Gradients(x, states, Parameters(table, flat))  # type: ignore[arg-type]


def _flat_into(into: Any, table: Table, size: int, dtype: np.dtype[Any]) -> Array:
    """Return the array that gradients are added to."""
    if into is None:
        return np.zeros(size, dtype)
    total = into.parameters if isinstance(into, Gradients) else into
    if not isinstance(total, Parameters):
        raise TypeError(f"into must be Gradients or Parameters, not {type(into).__name__}")
    if [(n, a.shape) for n, a in total.items()] != [(n, s) for n, s, _ in table]:
        raise ValueError("into must have the parameters of this model, got others")
    if total.flat.dtype != dtype or not total.flat.flags.writeable:
        raise ValueError(f"into must be writable, of dtype {dtype}")
    return total.flat


def _to_core(layout: Layout | Ragged, pair: Any) -> tuple[Array, Array]:
    h, c = as_pair(pair, "dstate")  # type: ignore[misc]
    return layout.state_to_core(h), layout.state_to_core(c)


def _states(form: Given, states: Sequence[State]) -> States:
    layout = form.layout
    return tuple((layout.state_from_core(h), layout.state_from_core(c)) for h, c in states)


def _masks(layer: Any) -> bool:
    return isinstance(layer, Masking) or getattr(layer, "mask_zero", False)


def _table_of(layers: Sequence[Any]) -> tuple[Table, int]:
    table: Table = []
    offset = 0
    for name, array in parameters_in(layers):
        table.append((name, array.shape, offset))
        offset += array.size
    return table, offset


def _parts_of(
    layers: Sequence[Any], prefix: str, own: Parameters, group: _core.Group
) -> Iterator[Any]:
    """Yield copies of layers whose arrays are parts of a model's own."""
    for k, layer in enumerate(layers):
        place = f"{prefix}{k}."
        if isinstance(layer, LSTM):
            config = replace(layer._config, batch_first=False)
            flat = part_of(own, place + next(iter(layer.parameters)), layer.parameters.flat.size)
            yield LSTM._restore(config, flat, layer.notes, group)
        elif isinstance(layer, Skip):
            yield Skip(tuple(_parts_of(layer.layers, place, own, group)), layer.count)
        else:
            yield layer.with_parameters({name: own[place + name] for name in layer.parameters})


def _shown(layer: Any) -> str:
    if isinstance(layer, Skip):
        inner = ", ".join(_shown(part) for part in layer.layers)
        return f"Skip([{inner}], count={layer.count})"
    return repr(layer)


def _restore(layers: Sequence[Any], batch_first: bool, notes: Mapping[str, Any]) -> Sequential:
    return Sequential(layers, batch_first, notes=notes)
