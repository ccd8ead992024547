"""HDF5 files of Keras, by h5py alone: their configuration, and the arrays of both layouts."""

import io
from collections.abc import Callable, Sequence
from typing import Any

from ...layout import Array
from ..budget import Budget
from .datasets import read_dataset
from .specs import shown

SIGNATURE = b"\x89HDF\r\n\x1a\n"

_DEEPEST = 32  # groups in groups
_ORDER = ("kernel", "recurrent_kernel", "bias", "embeddings")
"""The names of a layer's variables, in Keras's order of weights."""


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
    """An HDF5 file that Keras wrote."""

    def __init__(self, data: bytes, budget: Budget) -> None:
        self.budget = budget
        self._listed: dict[str, dict[str, dict[str, str]]] = {}
        self._file = self._try(lambda: h5py().File(io.BytesIO(data), "r"))

    def __enter__(self) -> "WeightsFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def text(self, name: str) -> str | None:
        """Return an attribute of the file that is a single string."""

        def read() -> Any:
            attributes = self._file.attrs
            if name not in attributes:
                return None
            handle = attributes.get_id(name)
            if handle.shape != ():
                return None  # the strings of an array may all be one long string of the file
            self.budget.take(handle.get_storage_size(), f"its attribute {name}")
            return attributes[name]

        value = self._try(read)
        if isinstance(value, bytes):  # of a fixed length, as h5py writes bytes
            return value.decode("utf-8", "replace")
        return value if isinstance(value, str) else None

    def has_attribute(self, name: str) -> bool:
        """Return whether the file has an attribute."""
        return bool(self._try(lambda: name in self._file.attrs))

    def has_group(self, path: str) -> bool:
        """Return whether there is something by this path."""
        return bool(self._try(lambda: path in self._file))

    def names(self, folder: str) -> list[str]:
        """Return the names in a group."""

        def read() -> list[str]:
            group = self._group(folder)
            self.budget.count(len(group), f"the names in {folder}")
            return list(group)

        names: list[str] = self._try(read)
        return names

    def numbered(self, folder: str) -> list[Array]:
        """Return the arrays 0, 1, ... of a group."""
        names = sorted(self.names(folder))
        if names != [str(k) for k in range(len(names))]:
            raise ValueError(f"{folder} has {names}, expected 0, 1, ...")
        return [self._array(f"{folder}/{name}") for name in names]

    def named(self, folder: str, names: Sequence[str]) -> list[Array]:
        """Return the arrays of the only group below a folder to which these names lead.

        The names are in the path in this order, maybe among others; the last but one of a
        direction, "forward" or "backward", stands for all that begin with it.
        """
        if folder not in self._listed:
            found: dict[str, dict[str, str]] = {}
            self._list(folder, "", found, 0)
            self._listed[folder] = found
        self.budget.count(len(self._listed[folder]), f"the groups in {folder}")
        counts = {
            path: _occurrences(path.split("/"), names)
            for path in self._listed[folder]
            if _leads(path.split("/"), names)
        }
        paths = [path for path, count in counts.items() if count == max(counts.values())]
        if len(paths) != 1:
            wanted = f" of {shown('/'.join(names))}" if names else ""
            raise ValueError(f"{folder} has {len(paths)} groups of arrays{wanted}, expected 1")
        arrays = self._listed[folder][paths[0]]
        if unknown := sorted(arrays.keys() - set(_ORDER)):
            raise ValueError(f"{folder}/{paths[0]} has an array {shown(unknown[0])!r}")
        return [self._array(arrays[name]) for name in _ORDER if name in arrays]

    def _list(self, root: str, inner: str, found: dict[str, dict[str, str]], depth: int) -> None:
        """Find the groups below a folder that hold arrays, and the paths of these by name."""
        if depth > _DEEPEST:
            raise ValueError(f"{root} has groups in groups, more than {_DEEPEST} deep")
        folder = f"{root}/{inner}".rstrip("/")
        for name in self.names(folder):
            path = f"{folder}/{name}"
            self.budget.take(len(path), f"the paths in {root}")
            if self._is_group(path):
                self._list(root, f"{inner}/{name}".lstrip("/"), found, depth + 1)
            else:
                variable = name.removesuffix(":0")
                arrays = found.setdefault(inner, {})
                if variable in arrays:
                    raise ValueError(f"{folder} has two arrays {shown(variable)!r}")
                arrays[variable] = path

    def _is_group(self, path: str) -> bool:
        """Return whether a path is that of a group, not of an array; raise for a link."""

        def read() -> bool:
            if not isinstance(self._file.get(path, getlink=True), h5py().HardLink):
                raise ValueError(f"{path} is a link")
            return bool(self._file.get(path, getclass=True) is h5py().Group)

        return bool(self._try(read))

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


def _leads(path: Sequence[str], names: Sequence[str]) -> bool:
    """Return whether names are in a path in their order."""
    steps = iter(path)
    return all(any(_is(step, name) for step in steps) for name in names)


def _is(step: str, name: str) -> bool:
    return step == name or (name in ("forward", "backward") and step.startswith(f"{name}_"))


def _occurrences(path: Sequence[str], names: Sequence[str]) -> int:
    """Return how often a path has one of the names: a model may have the name of its layer."""
    return sum(any(_is(step, name) for name in names) for step in path)


def hdf5_bytes(groups: Sequence[tuple[str, Sequence[Array]]], attributes: dict[str, str]) -> bytes:
    """Return an HDF5 file: the arrays of each group, and strings."""
    buffer = io.BytesIO()
    with h5py().File(buffer, "w") as file:
        for name, text in attributes.items():
            file.attrs[name] = text
        file.create_group("vars")
        for name, arrays in groups:
            group = file.create_group(f"{name}/vars")
            for k, array in enumerate(arrays):
                group.create_dataset(str(k), data=array)
    return buffer.getvalue()
