"""Files of `torch.save`: read without running anything in them, and what is in a state dict."""

import os
import zipfile
from collections.abc import Mapping
from typing import Any, BinaryIO


def read_file(torch: Any, path: str | os.PathLike[str]) -> Any:
    """Return what a file holds: tensors, plain data, at most an nn.LSTM."""
    with open(path, "rb") as file:
        _check_archive(file)
        try:
            with torch.serialization.safe_globals([torch.nn.LSTM]):
                return torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # of many types, for what is malformed
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise ValueError(f"torch.load with weights_only=True refuses it: {first}") from None


def _check_archive(file: BinaryIO) -> None:
    """Raise unless it is an archive that holds nothing which grows when it is read."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except Exception:  # BadZipFile, and others for what is malformed
        raise ValueError("it is no file of torch.save, as PyTorch 1.6 and later write it") from None
    if packed := [entry for entry in entries if entry.compress_type != zipfile.ZIP_STORED]:
        raise ValueError(f"{packed[0].filename} is compressed, which torch.save never does")
    file.seek(0)


def check_size(torch: Any, tensors: Mapping[str, Any], most: int) -> None:
    """Raise for tensors that are more than the file: repeated by strides, or by many names."""
    size = 0
    for name, tensor in tensors.items():
        if not isinstance(tensor, torch.Tensor):
            raise ValueError(
                f"{name} is no tensor but {type(tensor).__name__}. Of a checkpoint that holds more "
                "than a state dict give that part to from_torch"
            )
        size += tensor.numel() * tensor.element_size()
    if size > most:
        raise ValueError(f"its tensors have {size} bytes, the file has {most}")


def parts_of(names: list[str], head: str | None) -> tuple[str, str | None]:
    """Return the prefixes of the only LSTM and of the only linear layer beside it."""
    first = ("weight_ih_l0", "weight_ih_l0_reverse", "weight_ih")
    found = {n[: -len(end)] for n in names for end in first if n == end or n.endswith("." + end)}
    if len(found) > 1:
        several = ", ".join(map(repr, sorted(found)))
        raise ValueError(f"it holds several LSTMs: prefix must be one of {several}")
    prefix = min(found, default="")
    others = [name for name in names if not name.startswith(prefix) or (not prefix and "." in name)]
    others = [name for name in others if head is None or not name.startswith(head)]
    parts = {name.rpartition(".")[0] + "." for name in others}
    ends = {name.rpartition(".")[2] for name in others}
    if head is None and len(parts) == 1 and ends <= {"weight", "bias"}:
        return prefix, min(parts)
    if others:
        raise ValueError(f"{others[0]} belongs to another layer: prefix={prefix!r} leaves it out")
    return prefix, head
