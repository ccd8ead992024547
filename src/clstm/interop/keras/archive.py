"""The .keras archive: a zip file of the configuration, the weights and notes on both."""

import io
import json
import zipfile
from typing import Any

from ..budget import Budget
from ..json_files import count_json

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the size of others is only known afterwards


def read_archive(data: bytes, budget: Budget) -> tuple[str, bytes]:
    """Return the configuration and the weights, an HDF5 file, of a .keras archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {info.filename: info for info in archive.infolist()}
            parts = []
            for name in ("metadata.json", "config.json", "model.weights.h5"):
                if name not in members:
                    raise ValueError(f"it has no {name}")
                if members[name].compress_type not in _METHODS:
                    raise ValueError(f"{name} is compressed by a method that Keras does not use")
                parts.append(_read(archive, members[name], budget))
    except ValueError as error:
        raise ValueError(str(error)) from None
    except Exception as error:  # zipfile raises various types for malformed files
        raise ValueError(f"it is not a valid zip archive: {error}") from None
    version = json_object(parts[0], "metadata.json", budget).get("keras_version")
    if not isinstance(version, str) or not version.startswith("3."):
        raise ValueError(f"metadata.json: keras_version is {version!r}, expected 3.x")
    return parts[1].decode("utf-8", "replace"), parts[2]


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, budget: Budget) -> bytes:
    """Return a member of the size that it claims; its data may hold much more."""
    budget.take(member.file_size, member.filename)
    with archive.open(member) as file:
        return file.read(member.file_size)  # without a limit all of it would be decompressed


def json_object(text: str | bytes, place: str, budget: Budget) -> dict[str, Any]:
    """Return a JSON object."""
    count_json(text.encode("utf-8", "replace") if isinstance(text, str) else text, budget)
    try:
        value = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{place} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{place} is not a JSON object")
    return value


def _no_number(constant: str) -> None:
    raise ValueError(f"it contains {constant}")


def archive_bytes(architecture: str, weights: bytes, metadata: str) -> bytes:
    """Return a .keras archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("metadata.json", metadata)
        archive.writestr("config.json", architecture)
        archive.writestr("model.weights.h5", weights)
    return buffer.getvalue()
