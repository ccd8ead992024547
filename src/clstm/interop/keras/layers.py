"""A chain of Keras's layers as ours, from their configurations and weights."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from ...layers import ACTIVATIONS, Dense, Embedding, Masking, Reverse
from ...lstm import LSTM
from .. import layers as shared
from . import recurrent
from .specs import LayerSpec

_IDENTITIES = {
    *("InputLayer", "Dropout", "SpatialDropout1D", "GaussianDropout", "GaussianNoise"),
    *("AlphaDropout", "ActivityRegularization"),
}
"""Layers that only act in training."""


class _Chain:
    """The layers so far, and what the next one is given."""

    def __init__(self) -> None:
        self.layers: list[Any] = []
        self.width = 0  # of the next layer's input; 0 before the first layer
        self.has_steps = True
        self.mask: int | None = None  # the number of the layer that masks
        self.zeroes: list[bool] = []  # of the recurrent layers behind the mask
        self.mask_value = 0.0

    def add(self, spec: LayerSpec) -> None:
        """Append a layer."""
        spec.check_options()
        read = _READERS.get(spec.kind)
        if spec.kind not in recurrent.KINDS and (spec.outputs != (0,) or spec.merged):
            raise ValueError(f"{spec.place}: {spec.kind} has one output, the next layer takes more")
        if read is not None:
            read(self, spec)
        elif spec.kind not in _IDENTITIES:
            raise ValueError(f"{spec.place}: layers of class {spec.kind} are not supported")

    def append_recurrent(self, spec: LayerSpec) -> None:
        self.needs_steps(spec)
        one = recurrent.read(spec, self.width)
        if spec.merged and self.mask is not None and one.has_steps:
            raise ValueError(f"{spec.place}: sequences behind a mask, joined, are not supported")
        self.layers += [*one.lstms, *one.after]
        self.width, self.has_steps = one.width, one.has_steps
        if self.mask is not None:
            self.zeroes.append(one.zero_masked)

    def append_embedding(self, spec: LayerSpec) -> None:
        if self.layers:
            raise ValueError(f"{spec.place}: an Embedding can only be the first layer")
        spec.only("sparse", False)
        shape = spec.size("input_dim"), spec.size("output_dim")
        weight = np.array(spec.arrays("", embeddings=shape)[0], spec.dtype())
        mask = spec.flag("mask_zero", False)
        self.layers, self.width = [Embedding(weight, mask_zero=mask)], shape[1]
        self.mask = 0 if mask else None

    def append_masking(self, spec: LayerSpec) -> None:
        self.needs_steps(spec)
        if self.mask is not None:
            raise ValueError(f"{spec.place}: a second mask is not supported")
        self.mask, self.mask_value = len(self.layers), spec.number("mask_value", 0.0)
        self.layers.append(Masking(self.mask_value))

    def append_dense(self, spec: LayerSpec) -> None:
        part = ""
        if spec.kind == "TimeDistributed":
            self.needs_steps(spec)
            spec, part = spec.inner("layer"), "layer"
            if spec.kind != "Dense":
                raise ValueError(f"{spec.place}: TimeDistributed of {spec.kind} is not supported")
        units, bias = spec.size("units"), spec.flag("use_bias", True)
        shapes: dict[str, tuple[int, ...]] = {"kernel": (self.width, units)}
        arrays = spec.arrays(part, **shapes | ({"bias": (units,)} if bias else {}))
        arrays = [np.array(array, spec.dtype()) for array in arrays]
        activation = self.activation(spec)
        self.layers.append(Dense(arrays[0].T.copy(), arrays[1] if bias else None, activation))
        self.width = units

    def append_activation(self, spec: LayerSpec) -> None:
        spec.dtype()
        self.apply(self.activation(spec))

    def append_softmax(self, spec: LayerSpec) -> None:
        spec.only("axis", -1)
        if self.mask is not None and self.has_steps:
            raise ValueError(f"{spec.place}: a Softmax layer behind a mask is not supported")
        self.apply("softmax")

    def append_relu(self, spec: LayerSpec) -> None:
        spec.only("negative_slope", 0)
        spec.only("threshold", 0)
        if spec.config.get("max_value") is not None:
            raise ValueError(f"{spec.place}: max_value of ReLU is not supported")
        self.apply("relu")

    def append_elu(self, spec: LayerSpec) -> None:
        spec.only("alpha", 1)
        self.apply("elu")

    def apply(self, activation: str) -> None:
        """Apply a function, in the linear layer before it if there is one."""
        last = self.layers[-1] if self.layers else None
        if isinstance(last, Dense) and last.activation == "":
            self.layers[-1] = replace(last, activation=activation)
        elif activation:
            self.layers.append(Dense(activation=activation))

    def needs_steps(self, spec: LayerSpec) -> None:
        """Refuse a layer that takes a sequence where there is none."""
        if not self.has_steps:
            raise ValueError(
                f"{spec.place}: it takes a sequence, but the recurrent layer before it gives only "
                "one step, for example by return_sequences=False"
            )

    @staticmethod
    def activation(spec: LayerSpec) -> str:
        """Return the activation of a layer by our name."""
        name = spec.config.get("activation", "linear")
        activation = "" if name == "linear" else name
        if not isinstance(activation, str) or activation not in ACTIVATIONS or name == "":
            raise ValueError(f"{spec.place}: activation={name!r} is not supported in a {spec.kind}")
        return activation

    def finished(self) -> list[Any]:
        """Return the layers; the one that masks says what the last LSTM gives at masked steps."""
        if self.mask is None:
            return self.layers
        if len(set(self.zeroes)) > 1 and any(isinstance(x, Reverse) for x in self.layers):
            raise ValueError(
                "behind a mask, it has a layer with go_backwards=True, and layers with different "
                "zero_output_for_mask: that is not supported"
            )
        if not self.zeroes and isinstance(self.layers[self.mask], Masking) and self.mask_value:
            raise ValueError("it has a Masking that no LSTM follows: that is not supported")
        if self.zeroes and self.zeroes[-1]:
            self.layers[self.mask] = replace(self.layers[self.mask], zero_masked=True)
        return self.layers


_READERS: dict[str, Callable[[_Chain, LayerSpec], None]] = {
    **dict.fromkeys(recurrent.KINDS, _Chain.append_recurrent),
    "Embedding": _Chain.append_embedding,
    "Masking": _Chain.append_masking,
    "Dense": _Chain.append_dense,
    "TimeDistributed": _Chain.append_dense,
    "Activation": _Chain.append_activation,
    "Softmax": _Chain.append_softmax,
    "ReLU": _Chain.append_relu,
    "ELU": _Chain.append_elu,
}


def read_layers(specs: Iterable[LayerSpec]) -> list[Any]:
    """Return a chain of Keras's layers as layers of a `Sequential`.

    Layers that only act in training are left out.
    """
    chain = _Chain()
    kinds = []
    for spec in specs:
        kinds.append(spec.kind)
        chain.add(spec)
    if not any(isinstance(layer, LSTM) for layer in chain.layers):
        found = ", ".join(dict.fromkeys(kinds)) or "none"
        raise ValueError(f"it has no LSTM, its layers are: {found}")
    return chain.finished()


def simplified(layers: list[Any]) -> list[Any]:
    """Return the same model with consecutive LSTMs, and a linear Dense behind them, as one LSTM.

    Behind a mask nothing is joined: an LSTM holds y at masked steps, a Dense is computed there.
    """
    masks = any(isinstance(x, Masking) or getattr(x, "mask_zero", False) for x in layers)
    return layers if masks else shared.joined(layers)


def read_lstm(spec: LayerSpec) -> LSTM:
    """Return the LSTM of a recurrent layer alone."""
    if spec.kind not in recurrent.KINDS:
        raise ValueError(f"{spec.place} is a layer of class {spec.kind}, not an LSTM")
    spec.check_options()
    plain = dict(spec.config, merge_mode="concat") if spec.kind == "Bidirectional" else spec.config
    one = recurrent.read(replace(spec, config=plain, outputs=(0,), merged=None), 0)
    return shared.only_lstm(one.lstms, "clstm.interop.keras.read")
