"""The class `Sequential`: LSTMs and the layers around them as one model."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from . import _core, sequential_files
from .calls import read_initial
from .chain import (
    Backward,
    Forward,
    Record,
    Step,
    check,
    has_layers_between,
    lstms_in,
    parameters_in,
    part_of,
    takes,
)
from .dropout import read_dropout
from .layers import Embedding, Last, Masking, Skip
from .layout import Array, Layout, State, as_array, as_pair, check_out, read_state
from .lstm import LSTM
from .model import Trainable
from .parameters import Parameters, Table
from .rows import Given, Rows, read_rows
from .sequential_stream import SequentialStream, check_causal
from .state_dict import read_file, read_state_dict
from .tape import Gradients, Tape, check_apart, read_into
from .threads import thread_count
from .windows import Windows, check_windows

States = tuple[State, ...]
Pairs = list[tuple[Array, Array] | None]
"""What the user gives as h and c of each LSTM, converted to arrays."""


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

    def with_activations(self, activations: str) -> "Sequential":
        """Return a copy whose LSTMs have these activations, as `LSTM.with_activations` does."""
        own = _parts_of(self._layers, "", self._snapshot(), None)
        layers = [_with_activations(layer, activations) for layer in own]
        return Sequential(layers, self._batch_first, notes=self.notes)

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
        return {name: array.copy() for name, array in self._snapshot().items()}

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
        out: Array | None = None,
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
        out : ndarray, optional
            Array for y, as in a call of `LSTM`.
        num_threads : int, optional
            Maximum number of threads; `get_num_threads()` by default.

        Returns
        -------
        y : ndarray or list of ndarray
            Output at every step, in the form of x, zero after the end of a row; or (B, O) behind a
            `Last`, (O,) for a single sequence. `out` if given.
        state : tuple of (ndarray, ndarray)
            Final state of each LSTM in order.

        Raises
        ------
        ValueError, TypeError, RuntimeError, KeyboardInterrupt
            As for a call of `LSTM`.
        """
        threads, pairs = thread_count(num_threads), self._pairs(state, "state")
        values, rows, form = self._read(x, lengths)
        initial = self._initial(pairs, "state", rows, form)
        if out is not None:
            self._check_out(out, x, pairs, values, rows, form)
        forward = Forward(initial, threads)
        with _core.Use(self._model), np.errstate(all="ignore"):
            result, after, _ = forward.run(self._layers, values, rows)
        y = form.to_user(result, after)
        if out is not None:
            out[...] = y
            y = out
        return y, _states(form, forward.final)

    def record(
        self,
        x: Any,
        state: Sequence[Any] | None = None,
        *,
        lengths: ArrayLike | None = None,
        keep: str = "gates",
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        rng: "int | np.random.Generator | None" = None,
        num_threads: int | None = None,
    ) -> "SequentialTape":
        """Run the model like a call, and record what `SequentialTape.backward` needs.

        Parameters
        ----------
        x, state, lengths, num_threads
            As in a call. The arrays are copied: later changes do not affect the gradients.
            `SequentialTape.backward` uses `num_threads` unless it is given another number.
        keep : {"gates", "states"}, default="gates"
            As in `LSTM.record`.
        dropout : float, default=0.0
            Probability, in [0, 1), with which each element of h_t of an LSTM's layer is set to zero
            in the input of the LSTM layer right after it, in the same LSTM or in the next one of
            the list; the others are scaled by 1 / (1 - p). Other layers have no dropout. Must be 0
            if there are no such two layers.
        recurrent_dropout : float, default=0.0
            Probability of dropout of h_{t-1} in the gates of every LSTM, as in `LSTM.record`.
        rng : int or numpy.random.Generator, optional
            Seed or generator for the factors, which are drawn for one LSTM after the other: of its
            input, if another LSTM stands before it, then as in `LSTM.record`.

        Returns
        -------
        SequentialTape
            With ``y``, ``state`` and ``backward``.

        Raises
        ------
        ValueError, TypeError, RuntimeError, KeyboardInterrupt
            As for a call; ValueError also if a function of a `Cell` has no gradient, or an LSTM has
            fast activations.
        """
        if keep not in ("gates", "states"):
            raise ValueError(f"keep must be 'gates' or 'states', not {keep!r}")
        for lstm in lstms_in(self._layers):
            lstm._config.check_gradients("record")
        threads, pairs = thread_count(num_threads), self._pairs(state, "state")
        between = has_layers_between(self._layers)
        dropped = read_dropout(dropout, recurrent_dropout, rng, between)
        values, rows, form = self._read(x, lengths)
        initial = self._initial(pairs, "state", rows, form)
        own_threads = None if num_threads is None else threads
        forward = Forward(initial, threads, Record(form, keep, dropped, own_threads))
        with _core.Use(self._model), np.errstate(all="ignore"):
            version = self._model.version
            y, after, trail = forward.run(self._layers, values.copy(), rows)
        final = _states(form, forward.final)
        return SequentialTape(
            self, version, form, after, trail, forward.tapes, y, final, own_threads
        )

    def _read(self, x: Any, lengths: Any) -> tuple[Array, Rows, Given]:
        masks = any(_masks(layer) for layer in self._layers)
        return read_rows(x, lengths, self.input_size, self.dtype, self._batch_first, masks)

    def _pairs(self, given: Any, name: str) -> Pairs:
        """Convert the user's pairs (h, c), one for each LSTM."""
        count = sum(1 for _ in lstms_in(self._layers))
        if given is not None and not isinstance(given, Sequence):
            kind = type(given).__name__
            raise TypeError(
                f"{name} must be a list [(h, c), ...], a pair for each LSTM, got {kind}"
            )
        pairs: list[Any] = [None] * count if given is None else list(given)
        if len(pairs) != count:
            raise ValueError(
                f"{name} has {len(pairs)} pairs, expected one for each of {count} LSTMs: "
                "[(h, c), ...]"
            )
        return [as_pair(pair, f"{name}[{k}]") for k, pair in enumerate(pairs)]

    def _initial(self, pairs: Pairs, name: str, rows: Rows, form: Given) -> list[Any]:
        """Check the result of `_pairs`; return None, or h (L D, B, R) and c (L D, B, H)."""
        batched = form.layout.batched
        return [
            read_initial(lstm._config, pair, rows.batch, batched, f"{name}[{k}]")
            for k, (lstm, pair) in enumerate(zip(lstms_in(self._layers), pairs, strict=True))
        ]

    def _check_out(
        self, out: Any, x: Any, pairs: Pairs, values: Array, rows: Rows, form: Given
    ) -> None:
        """Raise unless `out` is an array for y, apart from x and the states."""
        if isinstance(x, list):
            raise ValueError("out must be None if x is a list of sequences")
        has_last = any(isinstance(layer, Last) for layer in self._layers)
        shape = form.leading(rows, has_steps=not has_last)
        given = [x] if type(x) is np.ndarray else []  # `values` may be a copy
        states = [array for pair in pairs for array in pair or ()]
        inputs = {"x": [values, *given], "state": states}
        check_out(out, (*shape, self.output_size), self.dtype, inputs)

    def windows(
        self,
        x: Any,
        length: int,
        state: Sequence[Any] | None = None,
        *,
        num_threads: int | None = None,
    ) -> "Windows[SequentialTape]":
        """Record a long sequence in windows, for truncated backpropagation through time.

        Parameters
        ----------
        x, length
            As in `LSTM.windows`; indices if the first layer is an `Embedding`.
        state, num_threads
            As in a call.

        Returns
        -------
        Windows
            An iterator over pairs (slice of the steps of x, `SequentialTape` of that window). Each
            window starts from the final states of the previous one.

        Raises
        ------
        ValueError, TypeError
            As for `LSTM.windows`; ValueError also if the model has a `Last` or skips masked steps.
        """
        check_causal(self._layers, "windows give")
        for lstm in lstms_in(self._layers):
            check_windows(lstm._config)

        def layout(first: Any) -> Layout:
            form = read_rows(
                as_array(first, "x"), None, self.input_size, self.dtype, self._batch_first, False
            )[2]
            assert isinstance(form.layout, Layout)
            return form.layout

        return Windows(self.record, layout, x, length, state, num_threads)

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
        parameters = self._snapshot()
        sequential_files.write(path, self._layers, parameters, self._batch_first, self.notes)

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
        layers = tuple(_parts_of(self._layers, "", self._snapshot(), None))
        return _restore, (layers, self._batch_first, self.notes)


class SequentialTape:
    """A recorded forward pass of a `Sequential`, made by `Sequential.record`.

    Attributes
    ----------
    y : ndarray or list of ndarray, read-only
        Output, as a call of the model returns it.
    state : tuple of (ndarray, ndarray), read-only
        Final states, as a call of the model returns them.
    tapes : tuple of Tape
        Those of the LSTMs in order, with their gates, cells and factors of dropout, whose sequences
        have the axes (T, B, .), or are lists if the model's rows differ in length or have masked
        steps. `backward` consumes them.
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
        values.flags.writeable = False  # the backward pass reads them
        self.y: Any = form.to_user(values, after)
        if not isinstance(self.y, list):
            self.y.flags.writeable = False  # also if it is a copy
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
            Gradient of the loss with respect to y, in its form; or that of the last step of each
            row alone, (B, O) or (O,); or None if the loss depends only on the final states.
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
        model, after, values = self._model, self._after, self._values
        for tape in self.tapes:
            tape._recording.refuse_if_used()
        pairs, wants_x = model._pairs(dstate, "dstate"), bool(grad_x)
        threads = self._threads if num_threads is None else thread_count(num_threads)
        total = None if into is None else read_into(into, model._table, model.dtype)
        if dy is None:
            core = np.zeros(values.shape, model.dtype)
        else:
            core = self._form.read(dy, "dy", self.y, values, after)
        states = self._read_dstate(pairs)
        if total is None:
            flat = np.zeros(model._model.elements, model.dtype)
        else:
            flat = total.flat
            check_apart(flat, {"dy": core, "dstate": [a for pair in pairs for a in pair or ()]})
        wants_x = wants_x and model.input_size is not None
        backward = Backward(model._table, flat, states, threads)
        with _core.Use(model._model), np.errstate(all="ignore"):
            if model._model.version != self._version:
                raise RuntimeError("the model's parameters changed after the tape was recorded")
            dx = backward.run(self._trail, core, wants_x)
        x = self._form.to_user(dx, replace(after, has_steps=True)) if wants_x else None
        given = _states(self._form, backward.initial[::-1])
        return Gradients(x, given, total or Parameters(model._table, flat))  # type: ignore[arg-type]

    def _read_dstate(self, pairs: Pairs) -> list[Any]:
        """Check the gradients of the final states; return None, or those in the core's layout."""
        read = []
        for k, (tape, pair) in enumerate(zip(self.tapes, pairs, strict=True)):
            config = tape._config
            sizes = (config.num_parts, self._after.batch, config.state_size, config.hidden_size)
            batched = self._form.layout.batched
            both = read_state(pair, f"dstate[{k}]", sizes, config.dtype, batched)
            read.append(None if pair is None else both)
        return read


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
    layers: Sequence[Any], prefix: str, own: Parameters, group: _core.Group | None
) -> Iterator[Any]:
    """Yield layers whose arrays are parts of `own`; without a group, LSTMs have copies."""
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


def _with_activations(layer: Any, activations: str) -> Any:
    if isinstance(layer, Skip):
        inner = tuple(_with_activations(part, activations) for part in layer.layers)
        return Skip(inner, count=layer.count)
    return layer.with_activations(activations) if isinstance(layer, LSTM) else layer


def _restore(layers: Sequence[Any], batch_first: bool, notes: Mapping[str, Any]) -> Sequential:
    return Sequential(layers, batch_first, notes=notes)
