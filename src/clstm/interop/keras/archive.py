"""The .keras archive: a zip file of the configuration, the weights and notes on both."""

import io
import json
import zipfile
from typing import Any

from ..budget import Budget
from ..json_files import count_json

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the size of others is only known afterwards


def read_archive(data: bytes, budget: Budget) -> tuple[dict[str, Any], str, bytes]:
    """Return the metadata, the configuration, and the weights, an HDF5 file, of an archive."""
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
    metadata = json_object(parts[0], "metadata.json", budget)
    return metadata, parts[1].decode("utf-8", "replace"), parts[2]


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


def major_version(text: Any, place: str) -> int:
    """Return 2 or 3 of a version of Keras; ValueError for another one."""
    found = text.split(".")[0] if isinstance(text, str) else None
    if found in ("2", "3"):
        return int(found)
    if found in ("0", "1"):
        raise ValueError(
            f"{place} is {text!r}: Keras 1 is not supported; load it with Keras 2, and save it "
            "again there"
        )
    raise ValueError(f"{place} is {text!r}, expected 2.x or 3.x")


def _no_number(constant: str) -> None:
    raise ValueError(f"it contains {constant}")


def archive_bytes(architecture: str, weights: bytes, metadata: str) -> bytes:
    """Return a .keras archive, the same for the same content."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in (
            ("metadata.json", metadata),
            ("config.json", architecture),
            ("model.weights.h5", weights),
        ):
            archive.writestr(zipfile.ZipInfo(name), content)  # of 1980, not of now
    return buffer.getvalue()
