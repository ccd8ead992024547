"""Where the weights of a Keras model are: in files of two layouts, or in live layers."""

from collections.abc import Callable
from typing import Any, Protocol

from ...layout import Array
from .hdf5 import WeightsFile
from .recurrent import parts_of
from .specs import LayerSpec

_GROUPS = {
    "LSTM": "lstm",
    "RNN": "rnn",
    "Bidirectional": "bidirectional",
    "Embedding": "embedding",
    "Dense": "dense",
    "TimeDistributed": "time_distributed",
    "Sequential": "sequential",
    "Functional": "functional",
    "Model": "functional",
}
"""A group of a weights file for each class with weights; the second layer of a class has _1."""
_CONTAINERS = ("layers", "_layer_checkpoint_dependencies")

Reader = Callable[[str], list[Array]]
"""Returns the arrays of a layer's part."""


class Weights(Protocol):
    """The weights of a model's layers.

    A layer is known by its name, and by its number among those of its class.
    """

    def of(self, spec: LayerSpec, number: int) -> Reader:
        """Return what reads the arrays of a layer."""

    def inside(self, kind: str, name: str, number: int) -> "Weights":
        """Return the weights of a model in the model."""


class Folders:
    """The layout of .keras and .weights.h5: groups by class, in each vars/0, vars/1, ..."""

    def __init__(self, file: WeightsFile, folder: str = "") -> None:
        self._file = file
        names = [f"{folder}/{name}".strip("/") for name in _CONTAINERS]
        self._container = next((name for name in names if file.has_group(name)), names[0])

    def _group(self, kind: str, number: int) -> str:
        return f"{self._container}/{_GROUPS.get(kind, '')}" + (f"_{number}" if number else "")

    def of(self, spec: LayerSpec, number: int) -> Reader:
        folder = self._group(spec.kind, number)
        return lambda part: self._file.numbered(f"{folder}/{part}/vars".replace("//", "/"))

    def inside(self, kind: str, name: str, number: int) -> Weights:
        return Folders(self._file, self._group(kind, number))


class Legacy:
    """The layout of .h5: a group for each layer of the model, in it arrays by variables' names.

    All arrays of a model in the model are in one group: `names` are those that lead to a layer.
    """

    def __init__(self, file: WeightsFile, root: str, names: tuple[str, ...] = ()) -> None:
        self._file = file
        self._root = root
        self._names = names

    def of(self, spec: LayerSpec, number: int) -> Reader:
        whole, *inner = *self._names, spec.name
        folder = f"{self._root}/{whole}".strip("/")
        own = inner[-1].split("/") if inner else []

        def read(part: str) -> list[Array]:
            return self._file.named(folder, (*own, *dict(parts_of(spec))[part]))

        return read

    def inside(self, kind: str, name: str, number: int) -> Weights:
        return Legacy(self._file, self._root, (*self._names, name))


class Live:
    """The layers of a model in memory."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def of(self, spec: LayerSpec, number: int) -> Reader:
        return lambda part: reader_of(self._model.get_layer(spec.name), spec.place)(part)

    def inside(self, kind: str, name: str, number: int) -> Weights:
        return Live(self._model.get_layer(name))


def reader_of(layer: Any, place: str) -> Reader:
    """Return what reads the arrays of a live layer."""
    module = type(layer).__module__
    if module.split(".")[0] not in ("keras", "tf_keras"):
        raise ValueError(f"{place}: {type(layer).__name__} of {module} is not a layer of Keras")

    def read(part: str) -> list[Array]:
        owner = layer
        for name in part.split("/") if part else ():
            if isinstance(owner, (list, tuple)):  # lstm_cell, lstm_cell_1, ...
                owner = owner[int(name.removeprefix("lstm_cell").strip("_") or 0)]
            else:
                owner = getattr(owner, name)
        if not owner.built:
            raise ValueError(f"{place} has no weights yet: build it, or call it once")
        return list(owner.get_weights())

    return read
