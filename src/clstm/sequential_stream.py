"""Live sequences of a `Sequential`."""

from collections.abc import Iterator, Sequence
from typing import Any, NoReturn, Self

import numpy as np

from . import _core
from .chain import lstms_in, takes
from .layers import Embedding, Last, Masking, Reverse, Skip
from .layout import Array, State, as_array, cast, check_out
from .lstm import LSTM
from .rows import Rows
from .stream import Stream

_NO_ROWS = Rows(batch=0)  # the layers of a stream do not look at rows


class SequentialStream:
    """A live sequence, or a batch of sequences that advance together, made by `Sequential.stream`.

    It has what `Stream` has, and its results are those of a call over the whole sequence.

    Attributes
    ----------
    batch_size : int or None
        Number B of rows; None for a single sequence without a batch axis.
    state : tuple of (ndarray, ndarray)
        Copies of the state of each LSTM in order. A sequence of pairs of the same shapes can be
        assigned; if one does not fit, the state stays unchanged.

    Notes
    -----
    As `Stream`, it serves one caller at a time. If Ctrl-C comes amid a step or block of several
    LSTMs, they are at different steps: RuntimeError says so until `reset` or an assignment to
    `state`.
    """

    __slots__ = ("__weakref__", "_amid", "_batched", "_dtype", "_live", "_own", "_store")

    def __init__(self, layers: Sequence[Any], store: _core.Store, batch_size: int | None) -> None:
        check_causal(layers, "a stream gives")
        self._live = layers  # the model's, whose arrays change with it
        self._store = store
        self._dtype = next(lstms_in(layers)).dtype
        self._batched = batch_size is not None
        self._amid = False  # True while several LSTMs may be at different steps
        with _core.Use(store):
            # One attribute, so that a signal handler's exception finds layers and streams together.
            self._own = _copied(layers), [lstm.stream(batch_size) for lstm in lstms_in(layers)]

    @property
    def _layers(self) -> tuple[Any, ...]:
        return self._own[0]

    @property
    def _streams(self) -> list[Stream]:
        return self._own[1]

    def refresh(self) -> None:
        """Adopt the model's current parameters; the stream's state is kept."""
        self._refuse_if_amid()
        with _core.Use(self._store):
            streams = [stream.fork() for stream in self._streams]
            for stream in streams:
                stream.refresh()
            self._own = _copied(self._live), streams

    def _refuse_if_amid(self) -> None:
        if self._amid:
            raise RuntimeError(
                "the stream is in use by another caller, or a step was interrupted, so that its "
                "LSTMs are at different steps: reset() or an assignment to state begins anew"
            )

    # ---- Steps ----

    def step(self, x: Any, out: Array | None = None) -> Array:
        """Advance by one step: x (I,) or (B, I), or an index or (B,) of an `Embedding`.

        Arguments, result and errors are those of `Stream.step`.
        """
        return self._advance(x, out, False)

    def process(self, x: Any, out: Array | None = None) -> Array:
        """Advance by a block of steps: x (T, I) or (T, B, I), or (T,) or (T, B) of indices.

        Arguments, result and errors are those of `Stream.process`.
        """
        return self._advance(x, out, True)

    def _advance(self, x: Any, out: Array | None, block: bool) -> Array:
        values = self._read(x, block)
        if out is not None:
            inputs = {} if out is x else {"x": [values]}
            check_out(out, (*self._leading(values), self._width), self._dtype, inputs)
        self._refuse_if_amid()
        layers, streams = self._own
        self._amid = len(streams) > 1
        y = self._run(layers, values, iter(streams), block)
        self._amid = False
        if out is None:
            return y
        out[...] = y
        return out

    def _run(
        self, layers: Sequence[Any], x: Array, streams: Iterator[Stream], block: bool
    ) -> Array:
        for layer in layers:
            if isinstance(layer, LSTM):
                stream = next(streams)
                x = stream.process(x) if block else stream.step(x)
            elif isinstance(layer, Skip):
                x = layer.added(x, self._run(layer.layers, x, streams, block))
            else:
                x = layer.forward(x, _NO_ROWS)[0]
        return x

    @property
    def _indices(self) -> bool:
        return isinstance(self._layers[0], Embedding)

    @property
    def _width(self) -> int:
        return width_of(self._layers)

    def _leading(self, values: Array) -> tuple[int, ...]:
        return values.shape if self._indices else values.shape[:-1]

    def _read(self, x: Any, block: bool) -> Array:
        """Check and convert x; nothing advances if it does not fit."""
        array = np.asarray(x) if self._indices and isinstance(x, int) else as_array(x, "x")
        axes = {"T": len(array) if array.ndim else 0} if block else {}
        if self._batched:
            axes["batch_size"] = self._streams[0].batch_size or 0
        if not self._indices:
            axes["input_size"] = takes(self._layers) or 0
        if array.shape != tuple(axes.values()):
            shown = ", ".join(n if n == "T" else f"{n}={size}" for n, size in axes.items())
            raise ValueError(f"x has shape {array.shape}, expected ({shown})")
        if not self._indices:
            return cast(array, self._dtype)
        if array.dtype.kind not in "iu":
            raise TypeError(f"x must hold integers, indices of the Embedding, got {array.dtype}")
        return array

    # ---- State ----

    @property
    def state(self) -> tuple[State, ...]:
        """Copies of the state of each LSTM."""
        self._refuse_if_amid()
        return tuple(stream.state for stream in self._streams)

    @state.setter
    def state(self, state: Sequence[Any]) -> None:
        pairs, streams = list(state), self._streams
        if len(pairs) != len(streams):
            raise ValueError(f"state has {len(pairs)} pairs, expected {len(streams)}")
        read = [
            stream._read_state(pair, f"state[{k}]")
            for k, (stream, pair) in enumerate(zip(streams, pairs, strict=True))
        ]
        self._amid = len(streams) > 1
        for stream, (h, c) in zip(streams, read, strict=True):
            stream._stream.set_state(h, c)
        self._amid = False

    def reset(self) -> None:
        """Set all rows to the initial state of the weights in use."""
        self._amid = len(self._streams) > 1
        for stream in self._streams:
            stream.reset()
        self._amid = False

    def fork(self) -> Self:
        """Return an independent stream that continues from this one's state, with its weights."""
        self._refuse_if_amid()
        other = type(self).__new__(type(self))
        other._live, other._store, other._dtype = self._live, self._store, self._dtype
        other._amid, other._batched = False, self._batched
        layers, streams = self._own
        other._own = layers, [stream.fork() for stream in streams]
        return other

    # ---- Rows of a batch ----

    @property
    def batch_size(self) -> int | None:
        """Current number of rows, or None without a batch axis."""
        return self._streams[0].batch_size

    def join(self, n: int = 1) -> range:
        """Append rows at the initial state, as `Stream.join`."""
        self._refuse_if_amid()
        streams = [stream.fork() for stream in self._streams]
        joined = [stream.join(n) for stream in streams]
        self._own = self._layers, streams
        return joined[0]

    def leave(self, row: int) -> None:
        """Remove a row, as `Stream.leave`."""
        self._refuse_if_amid()
        streams = [stream.fork() for stream in self._streams]
        for stream in streams:
            stream.leave(row)
        self._own = self._layers, streams

    def __repr__(self) -> str:
        rows = f", batch_size={self.batch_size}" if self._batched else ""
        return f"<Stream of a Sequential of {len(self._layers)} layers{rows}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a stream cannot be pickled or copied: fork() it, or pickle its state")


def _copied(layers: Sequence[Any]) -> tuple[Any, ...]:
    """Return layers with copies of their arrays; the streams of LSTMs have their own."""
    return tuple(
        layer
        if isinstance(layer, LSTM)
        else Skip(_copied(layer.layers), layer.count)
        if isinstance(layer, Skip)
        else layer.with_parameters({n: a.copy() for n, a in layer.parameters.items()})
        for layer in layers
    )


def width_of(layers: Sequence[Any]) -> int:
    """Return the number of features that checked layers give."""
    size: int | None = None
    for layer in layers:
        if isinstance(layer, LSTM):
            size = layer._config.output_width
        elif isinstance(layer, Skip):
            size = width_of(layer.layers)
        else:
            size = layer.features(None if isinstance(layer, Embedding) else size)
    assert size is not None
    return size


def check_causal(layers: Sequence[Any], what_gives: str) -> None:
    """Raise if y at a step is not there after that step; LSTMs check their direction themselves."""
    for layer in layers:
        if isinstance(layer, (Last, Masking, Reverse)) or getattr(layer, "mask_zero", False):
            raise ValueError(f"{what_gives} y at every step, which a model with {layer!r} does not")
        if isinstance(layer, Skip):
            check_causal(layer.layers, what_gives)
