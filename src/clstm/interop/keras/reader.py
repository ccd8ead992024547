"""The public functions: models from and to Keras's layers and files."""

import json
import os
import re
import sys
from functools import reduce
from pathlib import Path
from typing import Any

from ...layout import Array
from ...lstm import LSTM
from ..errors import naming
from ..layers import only_lstm
from .hdf5 import (
    HDF5,
    WeightsFile,
    archive_bytes,
    entries,
    read_archive,
    read_json,
    weights_bytes,
)
from .layers import Entry, Last, Reversed, read_layers
from .writer import architecture_of, folders_of

_READER = "clstm.interop.keras.read"
_VERSION = '{"keras_version": "3.0.0"}'  # the oldest that has all that is written here

_WITHOUT_WEIGHTS = re.compile(r"(dropout|spatial_dropout1d|gaussian_(dropout|noise))(_\d+)?")


def load(path: str | os.PathLike[str], *, architecture: str | None = None) -> LSTM:
    """Return the model of a .keras or .weights.h5 file: LSTM layers of one size and kind.

    Parameters
    ----------
    path : path
        A file of a Sequential model that Keras 3 or `save` wrote. Layers may be LSTM, Bidirectional
        ones with ``merge_mode="concat"``, and a linear Dense, also TimeDistributed, as the readout.
    architecture : str, optional
        For .weights.h5, which does not hold it: what the Keras model's ``to_json()`` returned.
        Without it the file may have LSTM layers alone, and they are taken to have Keras's default
        activations and ``return_sequences=True``.

    Returns
    -------
    LSTM
        With ``batch_first=True``.

    Raises
    ------
    ValueError
        If the file holds anything else; the layer is named, and `read` where that can read it.
    OSError, ImportError
        If the file cannot be read; if h5py is not there.
    """
    layers = read(path, architecture=architecture)
    with naming(path):
        return _only_lstm(layers)


def read(path: str | os.PathLike[str], *, architecture: str | None = None) -> list[Any]:
    """Return all layers of a file: `LSTM`, `Dense`, `Last` and `Reversed`, in order.

    Where Keras hands on the last step alone a `Last` follows the `LSTM`, and a `Reversed` where it
    leaves the steps in reversed order, so that the list computes what the Keras model does.
    `clstm.interop.layers.run` sends a sequence through the list.
    """
    data = Path(path).read_bytes()
    with naming(path, KeyError, TypeError, MemoryError):
        if data.startswith(HDF5):
            return _read_weights(data, architecture)
        text, weights = read_archive(data)
        with WeightsFile(weights) as file:
            return read_layers(entries(read_json(text, "config.json"), file))


def save(lstm: LSTM, path: str | os.PathLike[str]) -> None:
    """Write a .keras file, or weights alone where `path` ends with .weights.h5.

    One LSTM or Bidirectional layer for each layer, with ``return_sequences=True``, and a Dense for
    the readout; ``keras.saving.load_model`` and ``Model.load_weights`` read them.

    Raises
    ------
    ValueError
        For what Keras does not have: peepholes, coupled gates, bounds, two functions that differ,
        or one that Keras lacks; a projection, a learned state; more than one layer with
        ``direction="reverse"``.
    """
    text = json.dumps(architecture_of(lstm))
    data = weights_bytes(folders_of(lstm), text)
    if not os.fspath(path).endswith(".weights.h5"):
        data = archive_bytes(text, data, _VERSION)
    Path(path).write_bytes(data)


def from_keras(layer: Any) -> LSTM:
    """Return the model of a built Keras layer, LSTM or Bidirectional, or of a Sequential model.

    Weights are copied. Raises ValueError as `load` does.
    """
    version = getattr(sys.modules.get("keras"), "__version__", "0")
    if not version.startswith("3."):  # functions of the same name are others in Keras 2
        raise ValueError(f"layers of Keras 3 are read, this is Keras {version}")
    layers = layer.layers if type(layer).__name__ == "Sequential" else [layer]
    return _only_lstm(read_layers([_entry(k, each) for k, each in enumerate(layers)]))


def to_keras(lstm: LSTM) -> Any:
    """Return a ``keras.Sequential`` model of the layers that `save` writes, with copied weights.

    Raises ValueError as `save` does, ImportError without Keras.
    """
    architecture = architecture_of(lstm)
    try:
        import keras
    except ImportError:
        raise ImportError("to_keras needs Keras: pip install keras, and a backend") from None
    model = keras.Sequential.from_config(architecture["config"])
    model.set_weights([array for _, arrays in folders_of(lstm) for array in arrays])
    return model


def _only_lstm(layers: list[Any]) -> LSTM:
    """Return the LSTM that the layers are, but for which of its steps Keras hands on."""
    k = next((k for k, layer in enumerate(layers) if isinstance(layer, (Last, Reversed))), None)
    if k is not None and not any(isinstance(layer, LSTM) for layer in layers[k:]):
        both = isinstance(layers[k], Last) and layers[k].bidirectional
        if not both or k == len(layers) - 1:  # a readout of both directions' last h is none of y
            layers = layers[:k] + layers[k + 1 :]
    return only_lstm(layers, _READER)


def _entry(k: int, layer: Any) -> Entry:
    kind, place = type(layer).__name__, f"layers[{k}] ({getattr(layer, 'name', None)})"
    if not type(layer).__module__.startswith(("keras.src.", "keras.layers")):
        raise ValueError(f"{place}: {type(layer)} is no layer of Keras")

    def weights(part: str) -> list[Array]:
        names = part.split("/") if part else []
        owner = reduce(getattr, names, layer)
        if not owner.built:
            raise ValueError(f"{place} has no weights yet: build it, or call it once")
        return list(owner.get_weights())

    return Entry(place, kind, layer.get_config(), weights)


def _read_weights(data: bytes, architecture: str | None) -> list[Any]:
    with WeightsFile(data) as file:
        groups = file.groups()
        text = file.architecture() if architecture is None else architecture
        if text is not None:
            return read_layers(entries(read_json(text, "architecture"), file))
        groups = [name for name in groups if not _WITHOUT_WEIGHTS.fullmatch(name)]
        names = [f"lstm_{k}" if k else "lstm" for k in range(len(groups))]
        if not names or sorted(groups) != sorted(names):
            raise ValueError(
                f"its layers are {', '.join(groups) or 'none'}, and it does not tell their order "
                "and functions: give architecture=, which the Keras model's to_json() returns"
            )
        return read_layers([_default_lstm(file, name) for name in names])


def _default_lstm(file: WeightsFile, name: str) -> Entry:
    """Return an LSTM layer of which only the weights are known."""
    weights = file.part(f"layers/{name}")
    arrays = weights("cell")
    units = arrays[1].shape[0] if len(arrays) > 1 and arrays[1].ndim == 2 else 0
    config = {"units": units, "use_bias": len(arrays) > 2, "return_sequences": True}
    return Entry(name, "LSTM", config | {"dtype": str(arrays[0].dtype) if arrays else ""}, weights)
