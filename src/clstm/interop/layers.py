"""Other programs' models as layers: joined to one LSTM where they are one, else a `Sequential`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, overload

import numpy as np

from ..layers import ACTIVATIONS, Dense, Gain, Layer, Skip
from ..layout import Array, SupportsArray, as_array
from ..lengths import as_arrays
from ..lstm import LSTM
from ..sequential import Sequential

__all__ = [
    "ACTIVATIONS",
    "Dense",
    "Gain",
    "Skip",
    "as_model",
    "joined",
    "layers_of",
    "merged",
    "only_lstm",
    "require_plain",
    "run",
    "stacked",
    "with_readout",
]


@overload
def run(layers: Sequence[Any], x: SupportsArray) -> Array: ...
@overload
def run(layers: Sequence[Any], x: list[Any]) -> list[Array]: ...
def run(layers: Sequence[Any], x: Any) -> Any:
    """Send a sequence, an array as `LSTM` takes it, through a list of layers or a `Sequential`.

    A list of sequences (T_i, I) goes through each layer as a whole, and a list is returned.

    Raises
    ------
    TypeError
        If `layers` is not a list, one of them is not a layer, or x is no array or list of arrays.
    ValueError
        If a shape does not fit.
    """
    if isinstance(layers, Sequential):
        return layers(x)[0]
    if isinstance(layers, Mapping) or not isinstance(layers, Iterable):
        kind = type(layers).__name__
        raise TypeError(f"layers must be a list of layers, got {kind}: a single one is [layer]")
    y: Any = as_arrays(x, "x") if isinstance(x, list) else as_array(x, "x")
    for k, layer in enumerate(layers):
        if not callable(layer):
            raise TypeError(f"layers[{k}] must be a layer, got {_not_a_layer(layer)}")
        if isinstance(layer, LSTM):
            y, _ = layer(y)
        else:
            y = [layer(part) for part in y] if isinstance(y, list) else layer(y)
    return y


def _not_a_layer(value: Any) -> str:
    """Return the kind of a value, and what may be meant by it, for messages."""
    kind = type(value).__name__
    if isinstance(getattr(value, "lstm", None), LSTM):  # a NamedTuple of clstm.interop.onnx.read
        return (
            f"{kind}, a node of a graph: its .lstm is a model to call, and clstm.load reads a file "
            "that is one LSTM as one model"
        )
    if isinstance(value, Layer):
        return f"{kind}, which needs the rows of a model: clstm.Sequential(layers)(x)[0] has them"
    return kind


def as_model(
    layers: Sequence[Any], notes: Mapping[str, Any] | None = None, batch_first: bool = False
) -> LSTM | Sequential:
    """Return a list of layers, `joined`, as one LSTM if it is one, else as a `Sequential`."""
    chain = joined(layers)
    if len(chain) > 1 or not isinstance(chain[0], LSTM):
        return Sequential(chain, batch_first, notes=notes)
    lstm = chain[0]
    if batch_first and not lstm.batch_first:
        lstm = LSTM.from_state(replace(lstm._config, batch_first=True), lstm.state_dict())
    lstm.notes.update(notes or {})
    return lstm


def merged(layers: Sequence[Any]) -> list[Any]:
    """Return layers with a bias or an activation that stands alone in the `Dense` before it."""
    chain: list[Any] = []
    for layer in layers:
        below = chain[-1] if chain else None
        if isinstance(layer, Skip):
            chain.append(Skip(tuple(merged(layer.layers)), layer.count))
        elif not (_is_bare(layer) and isinstance(below, Dense) and not below.activation):
            chain.append(layer)
        elif layer.bias is None:
            chain[-1] = Dense(below.weight, below.bias, layer.activation)
        elif below.bias is None:
            chain[-1] = Dense(below.weight, layer.bias, layer.activation)
        else:
            chain.append(layer)
    return chain


def _is_bare(layer: Any) -> bool:
    return isinstance(layer, Dense) and layer.weight is None


def joined(layers: Sequence[Any]) -> list[Any]:
    """Return layers with consecutive LSTMs, and a linear `Dense` after them, as one LSTM."""
    chain: list[Any] = []
    run: list[LSTM] = []
    for layer in layers:
        if run and _continues(run[-1], layer):
            run.append(layer)
            continue
        if run and _is_readout(layer, run[-1]):
            chain.append(with_readout(stacked(run), layer.weight, layer.bias))
            run = []
            continue
        chain += [stacked(run)] if run else []
        run = [layer] if isinstance(layer, LSTM) else []
        if isinstance(layer, Skip):
            chain.append(Skip(tuple(joined(layer.layers)), layer.count))
        elif not run:
            chain.append(layer)
    return chain + ([stacked(run)] if run else [])


def layers_of(model: LSTM | Sequential) -> tuple[Any, ...]:
    """Return the layers of a model; those of an LSTM are itself."""
    if not isinstance(model, (LSTM, Sequential)):
        raise TypeError(f"the model must be an LSTM or a Sequential, got {type(model).__name__}")
    return model.layers if isinstance(model, Sequential) else (model,)


def only_lstm(layers: Sequence[Any], reader: str) -> LSTM:
    """Return a list of layers as one LSTM; a linear `Dense` after it becomes the readout.

    Consecutive LSTMs that are alike become the layers of one. Raises ValueError, which names the
    first layer that does not fit and the reader that returns the list.
    """
    count = 0
    for below, layer in zip([None, *layers], layers, strict=False):
        if not _continues(below, layer):
            break
        count += 1
    if 0 < count == len(layers):
        return stacked(layers)
    if 0 < count < len(layers) and _is_readout(layers[count], layers[count - 1]):
        if count + 1 == len(layers):
            return with_readout(stacked(layers[:count]), layers[count].weight, layers[count].bias)
        count += 1
    found = layer_name(layers[count]) if layers else "missing"
    if 0 < count < len(layers) and isinstance(layers[count - 1], LSTM):
        found += _why_it_ends(layers[count - 1], layers[count])
    raise ValueError(
        f"it is more than an LSTM with a linear readout: layer {count} is {found}. {reader} "
        "returns the list of layers"
    )


def layer_name(layer: Any) -> str:
    """Return the kind of a layer, for messages."""
    activation = getattr(layer, "activation", "")
    return type(layer).__name__ + (f" with {activation}" if activation else "")


def _is_readout(layer: Any, lstm: LSTM) -> bool:
    linear = isinstance(layer, Dense) and layer.weight is not None and not layer.activation
    return linear and lstm.output_size is None


def _continues(below: LSTM | None, layer: Any) -> bool:
    """Return whether a layer is an LSTM that differs from the one below only in weights."""
    if not isinstance(layer, LSTM) or below is None:
        return isinstance(layer, LSTM)
    return not (_difference(below, layer) or below.learn_state)


def _why_it_ends(below: LSTM, layer: Any) -> str:
    """Return what keeps an LSTM from being a layer on the one below, for messages."""
    if not isinstance(layer, LSTM):
        return ""
    return f": {_difference(below, layer) or 'both have a learned initial state'}"


def _difference(below: LSTM, layer: LSTM) -> str:
    """Return why one LSTM cannot be a layer on another; an empty string if it can."""
    lower, upper = below._config, layer._config
    if lower.output_size is not None:
        return f"the one below has a readout, output_size={lower.output_size}"
    for field in fields(lower):
        own, other = getattr(upper, field.name), getattr(lower, field.name)
        if field.name not in ("input_size", "num_layers", "output_size") and own != other:
            shown, expected = (v.name if isinstance(v, np.dtype) else repr(v) for v in (own, other))
            return f"it has {field.name}={shown}, the one below {expected}"
    if upper.input_size != lower.width:
        return f"it has input_size={upper.input_size}, the one below gives {lower.width} features"
    return ""


def stacked(lstms: Sequence[LSTM]) -> LSTM:
    """Return one LSTM with the layers of several that follow each other.

    They differ only in weights and in their number of layers: each takes what the one below gives,
    only the last may have a readout, and either all have a learned state or none has.

    Raises
    ------
    ValueError
        If two differ in anything else, which the message names, or there is none.
    TypeError
        If one is not an LSTM.
    """
    if not lstms:
        raise ValueError("lstms must hold at least one LSTM, got none")
    for k, lstm in enumerate(lstms):
        if not isinstance(lstm, LSTM):
            raise TypeError(f"lstms[{k}] must be a clstm.LSTM, got {type(lstm).__name__}")
        if k and (difference := _difference(lstms[k - 1], lstm)):
            raise ValueError(f"lstms[{k}] cannot be a layer on lstms[{k - 1}]: {difference}")
    if len(lstms) == 1:
        return lstms[0]
    state: dict[str, Array] = {}
    count = 0
    for lstm in lstms:
        for name, array in lstm.state_dict().items():
            kind, mark, rest = name.partition("_l")  # weight_ih, _l, 0_reverse
            number, _, reverse = rest.partition("_")
            moved = f"{kind}_l{count + int(number)}{reverse and '_' + reverse}" if mark else name
            together = name in ("h0", "c0") and name in state
            state[moved] = np.concatenate([state[name], array]) if together else array
        count += lstm.num_layers
    config = replace(lstms[-1]._config, input_size=lstms[0].input_size, num_layers=count)
    return LSTM.from_state(config, state)


def with_readout(lstm: LSTM, weight: Array, bias: Array | None) -> LSTM:
    """Return a model with a readout added: weight (O, D R) and bias (O,).

    If only one of the LSTM and the readout has a bias, the other gets zeros.

    Raises
    ------
    ValueError
        If the model has a readout already, or a shape does not fit.
    """
    if lstm.output_size is not None:
        raise ValueError(
            f"lstm has a readout already, output_size={lstm.output_size}: clstm.Sequential([lstm, "
            "clstm.layers.Dense(weight, bias)]) has a further linear layer"
        )
    width = lstm._config.width
    if weight.ndim != 2 or weight.shape[1] != width or not len(weight):
        raise ValueError(f"weight has shape {weight.shape}, expected (O, {width})")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"bias has shape {bias.shape}, expected {weight.shape[:1]} as weight")
    has_bias = lstm.bias or bias is not None
    config = replace(lstm._config, output_size=len(weight), bias=has_bias)
    state = {name: np.zeros(shape) for name, shape, _ in config.parameter_table()[0]}
    state |= lstm.state_dict() | {"weight_out": weight}
    return LSTM.from_state(config, state if bias is None else state | {"bias_out": bias})


IN_EVERY_FORMAT = (
    *("input_size", "hidden_size", "num_layers", "output_size", "bias"),
    *("batch_first", "dtype"),  # of a call and of the numbers, not of the equations
)
"""Options that no format needs to declare; a format that lacks one checks it itself."""


def require_plain(lstm: LSTM, system: str, *also: str) -> None:
    """Raise ValueError for an option that another system's LSTM does not have.

    An option that is not declared is refused, unless it has its default: a new one is never lost.

    Parameters
    ----------
    lstm : LSTM
    system : str
        The other system, for the message.
    *also : str
        Options that its LSTM has beside those of `IN_EVERY_FORMAT`: ``"bidirectional"``, ...; those
        of the cell one by one, ``"cell.peephole"``, ...
    """
    known = {*IN_EVERY_FORMAT, *also}
    config = lstm._config
    for field in fields(config):
        name, value = field.name, getattr(config, field.name)
        if name in known or value == field.default:
            continue
        if not any(option.startswith(f"{name}.") for option in known):
            raise ValueError(f"{system} has no {name}={value!r}")
        plain = type(value)()
        for part in fields(value):
            own = getattr(value, part.name)
            if f"{name}.{part.name}" not in known and own != getattr(plain, part.name):
                raise ValueError(f"{system} has no {name}.{part.name}={own!r}")
