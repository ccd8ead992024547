"""Keras's files: what is in a .keras archive and in an HDF5 file of weights, through h5py alone."""

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...layout import Array
from .layers import Entry

# Files keep their bytes as they are, and nothing that claims to be much larger is Keras's.
_LARGEST_RATIO = 16
_SPARE = 1 << 20

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others may grow before one can know

HDF5 = b"\x89HDF\r\n\x1a\n"


def h5py() -> Any:
    """Import h5py, or say how it is installed."""
    try:
        import h5py as module
    except ImportError:
        raise ImportError(
            "Keras's files need h5py: pip install 'clstm-cpu[keras]', or pip install h5py"
        ) from None
    return module


def read_archive(data: bytes) -> tuple[str, bytes]:
    """Return the configuration and the weights, an HDF5 file, of a .keras archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {info.filename: info for info in archive.infolist()}
            parts = []
            for name in ("metadata.json", "config.json", "model.weights.h5"):
                if name not in members:
                    raise ValueError(f"it has no {name}")
                size = members[name].file_size
                if size > _LARGEST_RATIO * len(data) + _SPARE:
                    raise ValueError(f"{name} claims to be {size} bytes")
                if members[name].compress_type not in _METHODS:
                    raise ValueError(f"{name} is compressed as Keras never does it")
                parts.append(archive.read(members[name]))
    except ValueError as error:
        raise ValueError(str(error)) from None
    except Exception as error:  # of many types, for what is malformed
        raise ValueError(f"it is no sound zip archive: {error}") from None
    version = read_json(parts[0], "metadata.json").get("keras_version")
    if not isinstance(version, str) or not version.startswith("3."):
        raise ValueError(f"metadata.json: keras_version is {version!r}, expected 3.x")
    return parts[1].decode("utf-8", "replace"), parts[2]


def read_json(text: str | bytes, place: str) -> dict[str, Any]:
    """Return a JSON object."""
    try:
        value = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{place} is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{place} is no JSON object")
    return value


def _no_number(constant: str) -> None:
    raise ValueError(f"{constant} stands in it")


def entries(architecture: dict[str, Any], weights: "WeightsFile") -> list[Entry]:
    """Return the layers of a Sequential model, in order, each with its weights."""
    if architecture.get("class_name") != "Sequential":
        raise ValueError(
            f"it is a {architecture.get('class_name')!r} model, and only Sequential ones are read; "
            "from_keras takes a layer of any"
        )
    config = architecture.get("config")
    layers = config.get("layers") if isinstance(config, dict) else None
    if not isinstance(layers, list):
        raise ValueError("config.layers is no list")
    result: list[Entry] = []
    counts: dict[str, int] = {}
    for k, layer in enumerate(layers):
        if not isinstance(layer, dict) or not isinstance(layer.get("config"), dict):
            raise ValueError(f"layers[{k}] is no layer")
        kind, name = layer.get("class_name"), layer["config"].get("name")
        place = f"layers[{k}] ({name})"
        if layer.get("module", "keras.layers") != "keras.layers" or not isinstance(kind, str):
            raise ValueError(f"{place}: {kind} of {layer.get('module')} is no layer of Keras")
        count = counts[kind] = counts.get(kind, 0) + 1
        group = _FOLDERS.get(kind, "") + (f"_{count - 1}" if count > 1 else "")
        result.append(Entry(place, kind, layer["config"], weights.part(f"layers/{group}")))
    return result


# By classes, not by the layers' names; a second one has _1 after it.
_FOLDERS = {
    "LSTM": "lstm",
    "Bidirectional": "bidirectional",
    "Dense": "dense",
    "TimeDistributed": "time_distributed",
}


class WeightsFile:
    """The arrays of an HDF5 file that Keras 3 wrote."""

    def __init__(self, data: bytes) -> None:
        self._size = len(data)
        self._left = _LARGEST_RATIO * len(data) + _SPARE
        self._file = self._try(lambda: h5py().File(io.BytesIO(data), "r"))

    def __enter__(self) -> "WeightsFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def architecture(self) -> str | None:
        """Return the configuration that `save` put there; Keras's own files have none."""
        text = self._try(lambda: self._file.attrs.get("architecture"))
        return text if isinstance(text, str) else None

    def groups(self) -> list[str]:
        """Return what stands for layers with weights, in the order of names."""
        if not self._try(lambda: "layers" in self._file):
            raise ValueError("it has no group 'layers', as weights that Keras 3 saved have")
        names: list[str] = self._try(lambda: list(self._group("layers")))
        return names

    def part(self, folder: str) -> Callable[[str], list[Array]]:
        """Return the function from a part's name to its arrays."""
        return lambda part: self._read(f"{folder}/{part}/vars" if part else f"{folder}/vars")

    def _read(self, folder: str) -> list[Array]:
        names = self._try(lambda: sorted(self._group(folder)))
        if names != [str(k) for k in range(len(names))]:
            raise ValueError(f"{folder} has {names}, expected 0, 1, ...")
        return [self._array(f"{folder}/{name}") for name in names]

    def _group(self, folder: str) -> Any:
        group = self._file
        for name in folder.split("/"):
            if name not in group:
                raise ValueError(f"there is no {folder}")
            if not isinstance(group.get(name, getlink=True), h5py().HardLink):
                raise ValueError(f"{folder} is a link to another place")
            group = group[name]
            if not isinstance(group, h5py().Group):
                raise ValueError(f"{folder} is no group")
        return group

    def _array(self, path: str) -> Array:
        def read() -> Any:
            folder, name = path.rsplit("/", 1)
            group = self._group(folder)
            if not isinstance(group.get(name, getlink=True), h5py().HardLink):
                raise ValueError(f"{path} is a link to another place")  # maybe in another file
            value = group[name]
            if not isinstance(value, h5py().Dataset):
                raise ValueError(f"{path} is no array")
            if value.is_virtual or value.external or value.dtype.kind != "f":
                raise ValueError(f"{path} is no plain array of floating-point numbers")
            if value.shape is None or value.nbytes > self._left:
                raise ValueError(f"{path} claims shape {value.shape}, the file is smaller")
            self._left -= value.nbytes
            return np.asarray(value[()])

        array: Array = self._try(read)
        return array

    def _try(self, read: Callable[[], Any]) -> Any:
        """Call a function of h5py, which has errors of many kinds for broken files."""
        try:
            return read()
        except ImportError:
            raise
        except ValueError as error:
            raise ValueError(str(error)) from None
        except Exception as error:  # likewise
            raise ValueError(f"it is no sound HDF5 file: {error}") from None


def weights_bytes(folders: Sequence[tuple[str, Sequence[Array]]], architecture: str) -> bytes:
    """Return an HDF5 file: arrays of several folders, as Keras lays them."""
    buffer = io.BytesIO()
    with h5py().File(buffer, "w") as file:
        file.attrs["architecture"] = architecture
        file.create_group("vars")
        for folder, arrays in folders:
            group = file.create_group(f"{folder}/vars")
            for k, array in enumerate(arrays):
                group.create_dataset(str(k), data=array)
    return buffer.getvalue()


def archive_bytes(architecture: str, weights: bytes, metadata: str) -> bytes:
    """Return a .keras archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("metadata.json", metadata)
        archive.writestr("config.json", architecture)
        archive.writestr("model.weights.h5", weights)
    return buffer.getvalue()
