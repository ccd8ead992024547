"""Files of `torch.save`: written, and read without running anything in them."""

import os
import re
import zipfile
from collections.abc import Mapping
from typing import Any, BinaryIO

from numpy.typing import DTypeLike

from ...lstm import LSTM as Model
from ...names import locate
from ..errors import naming
from .convert import from_torch, import_torch, tensors_of, to_torch

_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")  # for bold letters in a terminal


def save(lstm: Model, path: str | os.PathLike[str]) -> None:
    """Write a state dict by `torch.save`: that of the `torch.nn.LSTM` which `to_torch` makes.

    With a readout the names are ``lstm.weight_ih_l0``, ..., ``head.weight`` and ``head.bias``.
    `load` reads both forms. A state dict does not hold `batch_first`.

    Raises
    ------
    ValueError
        As `to_torch` does.
    """
    module, head = to_torch(lstm)
    state = module.state_dict()
    if head is not None:
        parts = {"lstm": state, "head": head.state_dict()}
        state = {
            f"{part}.{n}": value for part, values in parts.items() for n, value in values.items()
        }
    import_torch().save(dict(state), path)


def load(
    path: str | os.PathLike[str],
    head: str | None = None,
    *,
    prefix: str | None = None,
    batch_first: bool | None = None,
    dtype: DTypeLike | None = None,
) -> Model:
    """Read a file of `torch.save`: a state dict, or a whole `torch.nn.LSTM`.

    No code in the file is run (``weights_only=True``).

    Parameters
    ----------
    path : str or path
        In the format of PyTorch 1.6 and later.
    head, prefix : str, optional
        As in `from_torch`. Without a prefix the file must hold one LSTM and at most a linear
        layer, which becomes the head.
    batch_first, dtype
        As in `from_torch`.

    Raises
    ------
    ValueError
        For any other file, and as `from_torch` does; the message names the file.
    OSError
        If it cannot be read.
    """
    torch = import_torch()
    with naming(path, ArithmeticError, AttributeError, KeyError, TypeError):
        content = _load_tensors(torch, path)
        if isinstance(content, Mapping):
            names = [name for name in content if isinstance(name, str)]
            if len(names) < len(content):
                raise ValueError("it is not a state dict: some keys are not strings")
            if prefix is None:
                prefix, head = _find_prefixes(names, head)
            prefix, head = locate(names, prefix, head)
        tensors, first = tensors_of(torch, content)
        starts = (prefix or "", prefix or "" if head is None else head)
        taken = {name: value for name, value in tensors.items() if name.startswith(starts)}
        _check_size(torch, taken, os.path.getsize(path))
        chosen = first if batch_first is None else batch_first
        return from_torch(taken, head, prefix=prefix or "", batch_first=chosen, dtype=dtype)


def _load_tensors(torch: Any, path: str | os.PathLike[str]) -> Any:
    """Return what a file holds: tensors, plain data, at most an nn.LSTM."""
    with open(path, "rb") as file:
        _check_archive(file)
        try:
            with torch.serialization.safe_globals([torch.nn.LSTM]):
                return torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises various types for malformed files
            reason = _reason(error)
            raise ValueError(f"torch.load with weights_only=True refuses it: {reason}") from None


def _reason(error: Exception) -> str:
    """Return why `torch.load` refuses a file, without its advice to trust the file."""
    text = _ESCAPES.sub("", str(error))
    if found := re.search(r"GLOBAL (\S+)", text):
        return f"it holds {found[1]:.80}, expected model.state_dict() alone"
    last = text.rpartition("WeightsUnpickler error: ")[2]
    lines = [line.strip() for line in last.splitlines() if line.strip()]
    return (lines or [type(error).__name__])[0][:300]


def _check_archive(file: BinaryIO) -> None:
    """Raise unless the file is an archive without compressed entries."""
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
    except Exception:  # BadZipFile, and others for malformed files
        raise ValueError(
            "it is not a file of torch.save in the format of PyTorch 1.6 and later"
        ) from None
    if any(entry.filename.endswith("/constants.pkl") for entry in entries):
        raise ValueError(
            "it is TorchScript, a file of torch.jit.save: write its state dict, "
            "torch.save(torch.jit.load(path).state_dict(), path), and read that"
        )
    if packed := [entry for entry in entries if entry.compress_type != zipfile.ZIP_STORED]:
        raise ValueError(f"{packed[0].filename} is compressed, which torch.save never does")
    file.seek(0)


def _check_size(torch: Any, tensors: Mapping[str, Any], most: int) -> None:
    """Raise for tensors larger than the file: repeated by strides or by several names."""
    size = 0
    for name, tensor in tensors.items():
        if not isinstance(tensor, torch.Tensor):
            raise ValueError(
                f"{name} is {type(tensor).__name__}, expected a tensor. If the checkpoint holds "
                "more than a state dict, give the state dict to from_torch"
            )
        size += tensor.numel() * tensor.element_size()
    if size > most:
        raise ValueError(f"its tensors have {size} bytes, the file has {most}")


def _find_prefixes(names: list[str], head: str | None) -> tuple[str, str | None]:
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
