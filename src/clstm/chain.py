"""The layers of a `Sequential` one after another: checks, forward pass and backward pass."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .dropout import Dropout, Masks
from .layers import Embedding, Last, Layer, Masking, Product, Reverse, Skip
from .layout import Array, Layout, State, layout_of
from .lengths import Ragged
from .lstm import LSTM
from .parameters import Parameters, Table
from .rows import Given, Rows
from .tape import Tape

Initial = tuple[Array | None, Array | None] | None


# ---- Which layers may follow each other ----


@dataclass(slots=True)
class _Checked:
    """What a layer gives, as far as the layers before it say."""

    features: int | None = None
    has_steps: bool = True
    masks: bool = False
    directions: str = "forward"  # of the features; "" if a layer has mixed them


def check(layers: Sequence[Any], place: str = "layers") -> int | None:
    """Check that each layer can follow the one before; return the number of features at the end."""
    if not layers:
        raise ValueError(f"{place} must hold at least one layer")
    return _follow(layers, place, _Checked()).features


def _follow(layers: Sequence[Any], place: str, at: _Checked) -> _Checked:
    for k, layer in enumerate(layers):
        name = f"{place}[{k}]"
        try:
            at = _after(layer, name, at, first=k == 0 and place == "layers")
        except ValueError as error:
            if str(error).startswith(place):
                raise
            raise ValueError(f"{name} is {kind(layer)}: {error}") from None
    return at


def _after(layer: Any, name: str, at: _Checked, first: bool) -> _Checked:
    """Return what a layer gives; raise ValueError if it cannot stand here."""
    if not isinstance(layer, (LSTM, Layer)):
        raise TypeError(f"{name} must be a clstm.LSTM or one of clstm.layers, got {kind(layer)}")
    if not at.has_steps and isinstance(layer, (LSTM, Last, Masking, Reverse, Skip, Embedding)):
        raise ValueError("it needs steps, but a Last stands before it")
    if isinstance(layer, Skip):
        return _after_skip(layer, name, at)
    if isinstance(layer, LSTM):
        return _after_lstm(layer, at)
    if isinstance(layer, Embedding) and not first:
        raise ValueError("it can only be the first layer")
    if isinstance(layer, Last):
        if layer.ends and not at.directions:
            raise ValueError("ends=True needs the directions of the LSTM right before it")
        return replace(at, has_steps=False)
    if isinstance(layer, Reverse):
        return replace(at, directions="")
    mixes = bool(layer.parameters) or isinstance(layer, Product)
    return _Checked(
        layer.features(at.features),
        at.has_steps,
        at.masks or isinstance(layer, Masking) or getattr(layer, "mask_zero", False),
        ("forward" if at.directions == "forward" else "") if mixes else at.directions,
    )


def _after_lstm(lstm: LSTM, at: _Checked) -> _Checked:
    if at.features not in (None, lstm.input_size):
        raise ValueError(f"it takes {lstm.input_size} features, the one before gives {at.features}")
    if at.masks and lstm.output_size and lstm.bidirectional:
        raise ValueError(
            "behind a mask the directions of its readout end at different steps: use an LSTM "
            "without output_size, and a Dense after it"
        )
    directions = "both" if lstm.bidirectional else lstm.direction
    mixed = lstm.output_size and directions != "forward"
    return replace(at, features=lstm._config.output_width, directions="" if mixed else directions)


def _after_skip(skip: Skip, name: str, at: _Checked) -> _Checked:
    for layer in skip.layers:
        if isinstance(layer, (Embedding, Last, Masking)):
            raise ValueError(f"its layers cannot hold {kind(layer)}")
    if not skip.layers:
        raise ValueError("its layers must hold at least one layer")
    inner = _follow(skip.layers, f"{name}.layers", at)
    taken, given = at.features if at.features is not None else takes(skip.layers), inner.features
    if taken is not None and skip.count > taken:
        raise ValueError(f"count={skip.count} exceeds the {taken} features that it takes")
    if skip.count not in (1, given):
        raise ValueError(f"count={skip.count} must be 1 or the {given} features of its layers")
    return inner


def kind(layer: Any) -> str:
    """Return the kind of a layer, for messages."""
    return type(layer).__name__


def takes(layers: Sequence[Any]) -> int | None:
    """Return the number of features that a list of layers takes, None for any number."""
    halved = 1
    for layer in layers:
        size: int | None
        if isinstance(layer, LSTM):
            size = layer.input_size
        elif isinstance(layer, Skip):
            size = takes(layer.layers)
        else:
            size = next((a.shape[-1] for a in layer.parameters.values()), None)
        if size is not None:
            return size * halved
        halved *= 2 if isinstance(layer, Product) else 1
    return None


def lstms_in(layers: Sequence[Any]) -> Iterator[LSTM]:
    """Yield every LSTM in order, also those inside of a skip."""
    for layer in layers:
        if isinstance(layer, LSTM):
            yield layer
        elif isinstance(layer, Skip):
            yield from lstms_in(layer.layers)


def has_layers_between(layers: Sequence[Any]) -> bool:
    """Tell whether a layer of an LSTM stands right after another, in one LSTM or in two."""
    for below, layer in zip([None, *layers], layers, strict=False):
        if isinstance(layer, LSTM) and (layer.num_layers > 1 or isinstance(below, LSTM)):
            return True
        if isinstance(layer, Skip) and has_layers_between(layer.layers):
            return True
    return False


def parameters_in(layers: Sequence[Any], prefix: str = "") -> Iterator[tuple[str, Array]]:
    """Yield ``(name, array)`` of every parameter in order: ``0.weight``, ``1.weight_ih_l0``, ..."""
    for k, layer in enumerate(layers):
        if isinstance(layer, Skip):
            yield from parameters_in(layer.layers, f"{prefix}{k}.")
        else:
            for name, array in layer.parameters.items():
                yield f"{prefix}{k}.{name}", array


def part_of(parameters: Parameters, first: str, size: int) -> Array:
    """Return the part of the flat array that begins with a parameter."""
    begin = parameters[first].ctypes.data - parameters.flat.ctypes.data
    begin //= parameters.flat.itemsize
    return parameters.flat[begin : begin + size]


# ---- Forward ----


@dataclass(slots=True)
class Step:
    """What the backward pass of a layer needs."""

    layer: Any
    rows: Rows  # of x
    x: Array
    y: Array
    inside: "list[Step] | Tape[Any] | None" = None  # of a skip, of an LSTM
    factors: Array | None = None  # of dropout, by which x was multiplied


@dataclass(frozen=True, slots=True)
class Record:
    """What a forward pass records, and how."""

    form: Given
    keep: str  # "gates" or "states"
    dropout: Dropout
    num_threads: int | None  # as the user gave it


class Forward:
    """A forward pass: the states that the LSTMs begin with and end with, and what it records."""

    def __init__(
        self, initial: Sequence[Initial], threads: int, record: Record | None = None
    ) -> None:
        self.initial = initial
        self.threads = threads
        self.record = record  # None: nothing is recorded
        self.final: list[State] = []
        self.tapes: list[Tape[Any]] = []

    def run(self, layers: Sequence[Any], x: Array, rows: Rows) -> tuple[Array, Rows, list[Step]]:
        """Send a sequence through layers."""
        trail: list[Step] = []
        for below, layer in zip([None, *layers], layers, strict=False):
            step = Step(layer, rows, x, x)
            if isinstance(layer, LSTM):
                if isinstance(below, LSTM) and self.record is not None:
                    step.factors = self.record.dropout.draw(x.shape, x.dtype)
                values = x if step.factors is None else x * step.factors
                step.y, rows, step.inside = self._run_lstm(layer, values, rows)
            elif isinstance(layer, Skip):
                inner, rows, step.inside = self.run(layer.layers, x, rows)
                step.y = layer.added(x, inner)
            else:
                step.y, rows = layer.forward(x, rows)
            x = step.y
            if self.record is not None:
                trail.append(step)
        return x, rows, trail

    def _run_lstm(self, lstm: LSTM, x: Array, rows: Rows) -> tuple[Array, Rows, Tape[Any] | None]:
        lengths, values = rows.lengths, x
        if rows.mask is not None:
            lengths, values = rows.kept()[0].astype(np.uintp), x[rows.mask]
        initial = self.initial[len(self.final)]
        ragged, tape = lengths is not None, None
        if self.record is None:
            y, state = lstm._model.forward(values, initial, None, self.threads, lengths, ragged)
        else:
            masks = self._masks(lstm, values, rows, lengths)
            tape = self._record(self.record, lstm, values, initial, lengths, masks)
            y, state = values_of(tape.y, lstm), tape.state
        self.final.append(state)
        if rows.mask is not None:
            y = held(lstm, y, rows)
        config = lstm._config
        backwards = config.direction == "reverse"
        split = 0 if backwards else config.state_size if config.bidirectional else y.shape[-1]
        return y, replace(rows, reversed_from=split), tape

    def _masks(self, lstm: LSTM, values: Array, rows: Rows, lengths: Array | None) -> Masks:
        """Draw the factors of dropout as `LSTM.record` does for the user's x."""
        assert self.record is not None
        form, dropout, config = self.record.form, self.record.dropout, lstm._config
        if lengths is None:
            assert isinstance(form.layout, Layout)
            return dropout.masks(config, form.layout.from_core(values), form.layout)
        if form.padded is None or rows.mask is not None:
            return dropout.masks(config, values, Ragged(lengths))
        assert isinstance(form.layout, Layout)
        shape = (*form.padded.shape[::-1], values.shape[-1])
        padded = form.layout.from_core(np.broadcast_to(values.dtype.type(0), shape))
        between, recurrent = dropout.masks(config, padded, form.layout)
        return None if between is None else np.stack([*map(form.pack, between)]), recurrent

    def _record(
        self,
        record: Record,
        lstm: LSTM,
        values: Array,
        initial: Initial,
        lengths: Array | None,
        masks: Masks,
    ) -> Tape[Any]:
        lean, ragged = record.keep == "states", lengths is not None
        layout = layout_of(3, False) if lengths is None else Ragged(lengths)
        recording, results = lstm._model.record(
            values, initial, lean, self.threads, lengths, ragged, masks
        )
        threads = None if record.num_threads is None else self.threads
        tape: Tape[Any] = Tape(
            recording, results, masks, layout, lstm._config, lstm._table, lean, threads
        )
        self.tapes.append(tape)
        return tape


def values_of(y: Any, lstm: LSTM) -> Array:
    """Return a tape's y, an array or a list of packed rows, as one array."""
    if not isinstance(y, list):
        array: Array = y
        return array
    return np.concatenate([np.empty((0, lstm._config.output_width), lstm.dtype), *y])


def halves(lstm: LSTM, rows: Rows) -> list[tuple[slice, Array]]:
    """Return the features of each direction of an LSTM, and where its y at each step comes from."""
    size, config = lstm._config.state_size, lstm._config
    if config.bidirectional:
        return [
            (slice(size), rows.sources(reverse=False)),
            (slice(size, None), rows.sources(reverse=True)),
        ]
    return [(slice(None), rows.sources(config.direction == "reverse"))]


def held(lstm: LSTM, computed: Array, rows: Rows) -> Array:
    """Return y at all steps from y at the computed ones: held, or zero, at the masked ones."""
    y = np.zeros((len(rows.mask), computed.shape[-1]), computed.dtype)  # type: ignore[arg-type]
    for features, source in halves(lstm, rows):
        known = source >= 0
        y[known, features] = computed[source[known], features]
    return y


# ---- Backward ----


class Backward:
    """A backward pass: the gradients of the parameters, in one array, and of the states."""

    def __init__(
        self, table: Table, flat: Array, dstates: Sequence[Any], num_threads: int | None
    ) -> None:
        self.named = Parameters(table, flat)
        self.dstates = list(dstates)
        self.num_threads = num_threads
        self.initial: list[State] = []  # gradients of the initial states, last LSTM first

    def run(self, trail: Sequence[Step], dy: Array, wants_x: bool, prefix: str = "") -> Array:
        """Return the gradient of x."""
        for k in reversed(range(len(trail))):
            step, name = trail[k], f"{prefix}{k}."
            wanted = wants_x or k > 0
            if isinstance(step.layer, LSTM):
                dy = self._run_lstm(step, dy, wanted, name)
            elif isinstance(step.layer, Skip):
                assert isinstance(step.inside, list)
                dx = self.run(step.inside, dy, wanted, name)
                dy = step.layer.gradient(dx, dy) if wanted else dx
            else:
                dy, grads = step.layer.backward(step.x, step.y, step.rows, dy)
                for own, grad in zip(step.layer.parameters, grads, strict=True):
                    self.named[name + own][...] += grad
        return dy

    def _run_lstm(self, step: Step, dy: Array, wants_x: bool, name: str) -> Array:
        lstm, rows, tape = step.layer, step.rows, step.inside
        assert isinstance(tape, Tape)
        if rows.mask is not None:
            dy = _released(lstm, dy, rows)
        given: Any = dy if rows.lengths is None else tape._layout.from_core(dy)
        grad = tape.backward(
            given, self.dstates.pop(), grad_x=wants_x, into=self._into(lstm, name),
            num_threads=self.num_threads,
        )  # fmt: skip
        self.initial.append(grad.state)
        if grad.x is None:
            return dy
        dx: Array = grad.x
        if rows.lengths is not None:
            dx = np.concatenate([np.empty((0, lstm.input_size), lstm.dtype), *dx])
        if rows.mask is not None:
            scattered = np.zeros((len(rows.mask), lstm.input_size), lstm.dtype)
            scattered[rows.mask] = dx
            dx = scattered
        return dx if step.factors is None else dx * step.factors

    def _into(self, lstm: LSTM, name: str) -> Parameters:
        """Return the part of the gradients that belongs to an LSTM."""
        first = name + next(iter(lstm.parameters))
        return Parameters(lstm._table, part_of(self.named, first, lstm._model.elements))


def _released(lstm: LSTM, dy: Array, rows: Rows) -> Array:
    """Return the gradient of y at the computed steps: the sum over all steps that have it."""
    grad = np.zeros((int(rows.mask.sum()), dy.shape[-1]), dy.dtype)  # type: ignore[union-attr]
    for features, source in halves(lstm, rows):
        known = source >= 0
        np.add.at(grad[:, features], source[known], dy[known][:, features])
    return grad
