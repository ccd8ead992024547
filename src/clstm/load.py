"""`load`: a model from a file of any known format, recognised by its content."""

import importlib
import inspect
import io
import os
from dataclasses import dataclass
from typing import Any, BinaryIO

from .lstm import LSTM
from .sequential import Sequential


@dataclass(frozen=True, slots=True)
class Format:
    """A file format, and its module in `clstm.interop`."""

    name: str
    module: str

    def reader(self) -> Any:
        """Import the format's module, and no other one."""
        return importlib.import_module(f"clstm.interop.{self.module}")


SAFETENSORS = Format("safetensors", "safetensors")
ONNX = Format("ONNX", "onnx")
KERAS = Format("Keras", "keras")
TORCH = Format("PyTorch", "torch")
RTNEURAL = Format("RTNeural", "rtneural")
NAM = Format("NAM", "nam")
GUITARML = Format("GuitarML", "guitarml")
NPZ = Format("NumPy", "npz")
FORMATS = (SAFETENSORS, ONNX, KERAS, TORCH, RTNEURAL, NAM, GUITARML, NPZ)


def load(path: str | os.PathLike[str], **options: Any) -> LSTM | Sequential:
    """Load a model from a file of any known format.

    Parameters
    ----------
    path : str or path-like
        File of safetensors, ONNX, Keras (.keras, .weights.h5), PyTorch (a state dict, read without
        PyTorch; nothing in it is executed), RTNeural, NAM, GuitarML or NumPy (.npz). Its content
        decides the format, not its name.
    **options
        Options of the format's own `load` in ``clstm.interop``: ``prefix=`` and ``head=`` for
        safetensors, PyTorch and NumPy, ``key=`` for PyTorch's checkpoints, ``node=`` for ONNX,
        ``architecture=`` for Keras.

    Returns
    -------
    LSTM or Sequential
        What the file computes: an LSTM, with a linear readout or without one, or a `Sequential` if
        there is more around it. `notes` has what the file says beside that.

    Raises
    ------
    ValueError
        If the format is unknown, the file is malformed, or it holds something else. The message
        names the place.
    TypeError
        If the format does not have one of the options.
    OSError
        If the file cannot be read.
    ImportError
        If a package that the format needs is not installed.

    Examples
    --------
    >>> import clstm
    >>> clstm.LSTM(3, 8, rng=0).save("model.bin")        # doctest: +SKIP
    >>> clstm.load("model.bin")                          # doctest: +SKIP
    LSTM(input_size=3, hidden_size=8)
    """
    found = recognise(path)
    read = found.reader().load
    if options:
        known = list(inspect.signature(read).parameters)[1:]
        if unknown := [name for name in options if name not in known]:
            raise TypeError(
                f"{os.fspath(path)}: {found.name} has no option {unknown[0]!r}, its options are "
                f"{', '.join(known)}"
            )
    model: LSTM | Sequential = read(path, **options)
    return model


def recognise(path: str | os.PathLike[str]) -> Format:
    """Return the format of a file by its content; raise ValueError if it is unknown."""
    with open(path, "rb") as file:
        found = _recognise(file)
        hint = _hint(file) if found is None else ""
    if found is None:
        known = ", ".join(kind.name for kind in FORMATS)
        raise ValueError(f"{os.fspath(path)}: unknown format{hint}, expected one of: {known}")
    return found


def _recognise(file: BinaryIO) -> Format | None:
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    start = file.read(16)
    if start.startswith(b"\x89HDF\r\n\x1a\n"):
        return KERAS
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= size - 8:
        return SAFETENSORS
    file.seek(0)
    if start.startswith(b"PK"):
        return _recognise_zip(file)
    if start[:1] == b"\x80" and start[1:2] in b"\2\3\4\5":  # a pickle, from old PyTorch
        return TORCH
    if start.lstrip()[:1] == b"{" or start.startswith(b"\xef\xbb\xbf"):
        return _recognise_json(file.read(), os.fspath(file.name))
    return ONNX if _is_onnx(file, size) else None


def _hint(file: BinaryIO) -> str:
    """Return what a file of no known format is, and what reads it, for messages."""
    file.seek(0)
    start = file.read(8)
    file.seek(0)
    if start.startswith(b"\x93NUMPY"):
        return " (one NumPy array, .npy: LSTM.load_state_dict takes arrays by name)"
    return ""


def _names_in_zip(file: BinaryIO) -> list[str]:
    """Return the names in a zip archive; none if it is malformed."""
    import zipfile  # late: a third of the time of importing clstm

    try:
        with zipfile.ZipFile(file) as archive:
            return archive.namelist()
    except Exception:  # zipfile raises various types for malformed files
        return []


def _recognise_zip(file: BinaryIO) -> Format | None:
    names = _names_in_zip(file)
    if "config.json" in names:
        return KERAS
    if names and all(name.endswith(".npy") for name in names):
        return NPZ
    return TORCH if any(name.endswith("/data.pkl") for name in names) else None


def _recognise_json(data: bytes, path: str) -> Format | None:
    import json

    from .interop.budget import Budget
    from .interop.errors import naming
    from .interop.json_files import count_json

    with naming(path):
        count_json(data, Budget(len(data)))
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    if "architecture" in value:
        return NAM
    if "model_data" in value:
        return GUITARML
    state_dict = any(name.endswith(("weight_ih_l0", "weight_ih")) for name in value)
    return RTNEURAL if "layers" in value or state_dict else None


def _is_onnx(file: BinaryIO, size: int) -> bool:
    """Tell whether a file has the protobuf fields of an ONNX model, without reading all of it."""
    numbers = set()
    position = 0
    for _ in range(_MOST_FIELDS):
        if position >= size:
            break
        file.seek(position)
        head = file.read(20)
        tag, used = _varint(head, 0)
        number, wire = tag >> 3, tag & 7
        value, used = _varint(head, used)
        if used == 0 or wire != _ONNX_FIELDS.get(number):
            return False
        numbers.add(number)
        position += used + (value if wire == _BYTES else 0)
    return position == size and _GRAPH in numbers


# ModelProto in onnx.proto has ir_version, producer_name, producer_version, domain, model_version,
# doc_string, graph, opset_import, metadata_props, training_info, functions and configuration.
_VARINT, _BYTES, _GRAPH = 0, 2, 7
_MOST_FIELDS = 10_000
_ONNX_FIELDS = {1: _VARINT, 5: _VARINT} | dict.fromkeys((2, 3, 4, 6, 7, 8, 14, 20, 25, 26), _BYTES)


def _varint(data: bytes, start: int) -> tuple[int, int]:
    """Return a protobuf varint and the position after it, 0 if the varint does not end."""
    value = 0
    for k, byte in enumerate(data[start : start + 10]):
        value |= (byte & 127) << 7 * k
        if byte < 128:
            return value, start + k + 1
    return value, 0
