"""HDF5 files of weights as Keras 3 lays them out, by h5py alone."""

import io
from collections.abc import Callable, Sequence
from typing import Any

from ...layout import Array
from ..budget import Budget
from .datasets import read_dataset

SIGNATURE = b"\x89HDF\r\n\x1a\n"

_LEGACY = {"layer_names", "model_config"}  # attributes of files in the format before .weights.h5


def h5py() -> Any:
    """Import h5py, or say how it is installed."""
    try:
        import h5py as module
    except ImportError:
        raise ImportError(
            "Keras's files need h5py: pip install 'clstm-cpu[keras]', or pip install h5py"
        ) from None
    return module


class WeightsFile:
    """The arrays of an HDF5 file that Keras 3 wrote."""

    def __init__(self, data: bytes, budget: Budget) -> None:
        self.budget = budget
        self._file = self._try(lambda: h5py().File(io.BytesIO(data), "r"))

    def __enter__(self) -> "WeightsFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def architecture(self) -> str | None:
        """Return the configuration that `save` put there; Keras's own files have none."""

        def read() -> Any:
            attributes = self._file.attrs
            if "architecture" not in attributes or attributes.get_id("architecture").shape != ():
                return None  # the strings of an array may all be one long string of the file
            return attributes["architecture"]

        text = self._try(read)
        return text if isinstance(text, str) else None

    def groups(self) -> list[str]:
        """Return the names of the groups of layers with weights, sorted."""
        if not self._try(lambda: "layers" in self._file):
            if self._try(lambda: "model_weights" in self._file or _LEGACY & {*self._file.attrs}):
                raise ValueError(
                    "it has Keras's legacy format, .h5: load it with Keras, then write "
                    "model.save('model.keras') or model.save_weights('model.weights.h5')"
                )
            raise ValueError("it has no group 'layers', as weights that Keras 3 saved have")
        names: list[str] = self._try(lambda: self._names("layers"))
        return names

    def weights_of(self, folder: str) -> Callable[[str], list[Array]]:
        """Return a function that returns the arrays of a part by its name."""
        return lambda part: self._read(f"{folder}/{part}/vars" if part else f"{folder}/vars")

    def _read(self, folder: str) -> list[Array]:
        names = sorted(self._try(lambda: self._names(folder)))
        if names != [str(k) for k in range(len(names))]:
            raise ValueError(f"{folder} has {names}, expected 0, 1, ...")
        return [self._array(f"{folder}/{name}") for name in names]

    def _names(self, folder: str) -> list[str]:
        group = self._group(folder)
        self.budget.count(len(group), f"the names in {folder}")
        return list(group)

    def _group(self, folder: str) -> Any:
        group = self._file
        for name in folder.split("/"):
            if name not in group:
                raise ValueError(f"there is no {folder}")
            if not isinstance(group.get(name, getlink=True), h5py().HardLink):
                raise ValueError(f"{folder} is a link")
            group = group[name]
            if not isinstance(group, h5py().Group):
                raise ValueError(f"{folder} is not a group")
        return group

    def _array(self, path: str) -> Array:
        def read() -> Any:
            folder, name = path.rsplit("/", 1)
            group = self._group(folder)
            if not isinstance(group.get(name, getlink=True), h5py().HardLink):
                raise ValueError(f"{path} is a link")  # maybe in another file
            value = group[name]
            if not isinstance(value, h5py().Dataset):
                raise ValueError(f"{path} is not an array")
            try:
                return read_dataset(value, self.budget)
            except ValueError as error:
                raise ValueError(f"{path} {error}") from None

        array: Array = self._try(read)
        return array

    def _try(self, read: Callable[[], Any]) -> Any:
        """Call h5py; its errors for broken files, of many types, become ValueError."""
        try:
            return read()
        except ImportError:
            raise
        except ValueError as error:
            raise ValueError(str(error)) from None
        except Exception as error:
            raise ValueError(f"it is not a valid HDF5 file: {error}") from None


def hdf5_bytes(groups: Sequence[tuple[str, Sequence[Array]]], architecture: str) -> bytes:
    """Return an HDF5 file: the arrays of each group, and the configuration."""
    buffer = io.BytesIO()
    with h5py().File(buffer, "w") as file:
        file.attrs["architecture"] = architecture
        file.create_group("vars")
        for name, arrays in groups:
            group = file.create_group(f"{name}/vars")
            for k, array in enumerate(arrays):
                group.create_dataset(str(k), data=array)
    return buffer.getvalue()
