"""`load`: a model out of a file of any format that is known, recognised by what is in it."""

import importlib
import io
import os
from dataclasses import dataclass
from typing import Any, BinaryIO

from .lstm import LSTM


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file."""

    name: str
    module: str  # of clstm.interop

    def reader(self) -> Any:
        """Import the module that reads it, and nothing for the other formats."""
        return importlib.import_module(f"clstm.interop.{self.module}")


SAFETENSORS = Format("safetensors", "safetensors")
ONNX = Format("ONNX", "onnx")
KERAS = Format("Keras", "keras")
TORCH = Format("PyTorch", "torch")
RTNEURAL = Format("RTNeural", "rtneural")
NAM = Format("NAM", "nam")
GUITARML = Format("GuitarML", "guitarml")
FORMATS = (SAFETENSORS, ONNX, KERAS, TORCH, RTNEURAL, NAM, GUITARML)


def load(path: str | os.PathLike[str], **options: Any) -> LSTM:
    """Return the model of a file, in whatever format it is.

    Parameters
    ----------
    path : path
        A file of safetensors, ONNX, Keras (.keras, .weights.h5), PyTorch (a state dict; no pickle
        is executed), RTNeural, NAM or GuitarML. Which one is told by its content, not by its name.
    **options
        Those of the format's own `load` in ``clstm.interop``, where it has them: ``prefix=`` and
        ``head=`` for safetensors and PyTorch, ``node=`` for ONNX, ``architecture=`` for Keras.

    Returns
    -------
    LSTM
        Only where the file holds an LSTM, with a linear readout or without.

    Raises
    ------
    ValueError
        For content of another kind, and as the format's own `load` does: for a file that is
        malformed, or is more than an LSTM and a linear readout, naming what else there is and the
        function that reads all of it.
    TypeError
        For an option that the format does not have.
    OSError, ImportError
        If the file cannot be read; if the package that the format needs is not there.

    Examples
    --------
    >>> import clstm
    >>> clstm.LSTM(3, 8, rng=0).save("model.bin")        # doctest: +SKIP
    >>> clstm.load("model.bin")                          # doctest: +SKIP
    LSTM(input_size=3, hidden_size=8)
    """
    lstm: LSTM = recognise(path).reader().load(path, **options)
    return lstm


def recognise(path: str | os.PathLike[str]) -> Format:
    """Return the format of a file by its content; ValueError for one that is not known."""
    with open(path, "rb") as file:
        found = _recognise(file)
    if found is None:
        known = ", ".join(kind.name for kind in FORMATS)
        raise ValueError(f"{os.fspath(path)}: its content is none of {known}")
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
    if start[:1] == b"\x80" and start[1:2] in b"\2\3\4\5":  # a pickle, as old PyTorch wrote
        return TORCH
    if start.lstrip()[:1] == b"{" or start.startswith(b"\xef\xbb\xbf"):
        return _recognise_json(file.read())
    return ONNX if _is_onnx(file, size) else None


def _recognise_zip(file: BinaryIO) -> Format | None:
    import zipfile  # here: it would be a third of the time that importing clstm takes

    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except Exception:  # of many types, for what is malformed
        return None
    if "config.json" in names:
        return KERAS
    return TORCH if any(name.endswith("/data.pkl") for name in names) else None


def _recognise_json(data: bytes) -> Format | None:
    import json

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
    """Tell whether a file is a protobuf message with an ONNX model's fields, without reading it."""
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


# Of ModelProto in onnx.proto: ir_version, producer_name, producer_version, domain, model_version,
# doc_string, graph, opset_import, metadata_props, training_info, functions, configuration.
_VARINT, _BYTES, _GRAPH = 0, 2, 7
_MOST_FIELDS = 10_000
_ONNX_FIELDS = {1: _VARINT, 5: _VARINT} | dict.fromkeys((2, 3, 4, 6, 7, 8, 14, 20, 25, 26), _BYTES)


def _varint(data: bytes, start: int) -> tuple[int, int]:
    """Return a number of protobuf and the place after it, 0 if it does not end."""
    value = 0
    for k, byte in enumerate(data[start : start + 10]):
        value |= (byte & 127) << 7 * k
        if byte < 128:
            return value, start + k + 1
    return value, 0
