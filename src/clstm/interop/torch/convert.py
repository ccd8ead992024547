"""Models from and to `torch.nn.LSTM`, and from `torch.nn.LSTMCell` and state dicts."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import DTypeLike

from ...layers import Dense
from ...layout import Array
from ...lstm import LSTM as Model
from ...names import locate
from ...sequential import Sequential
from .. import torch_names
from ..budget import Budget
from ..half import noted
from ..layers import require_plain
from .tensors import array_of_tensor, hint_of, kind_of, kinds_of

_HEAD = "head: "  # prefix of a Linear's parameters in messages; no state dict has it
_CELL = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def import_torch() -> Any:
    """Import PyTorch, or say how it is installed."""
    try:
        import torch
    except ImportError:
        raise ImportError("clstm.interop.torch needs PyTorch: pip install torch") from None
    return torch


# ---- From PyTorch ----


def from_torch(
    source: Any,
    head: Any = None,
    *,
    prefix: str = "",
    batch_first: bool | None = None,
    dtype: DTypeLike | None = None,
) -> Model | Sequential:
    """Return a model with the weights of a PyTorch one: copies, with both biases added up.

    Parameters
    ----------
    source : module, or mapping from name to tensor or array
        A `torch.nn.LSTM` or `torch.nn.LSTMCell`; a `torch.nn.Sequential` of Embedding, Linear,
        Dropout, Tanh, Sigmoid, ReLU, ELU and Softmax that ends with an LSTM; or TorchScript, as
        `load` reads it from a file. A module gives the weights that its next call computes with,
        also those that normalisation, pruning or parametrizations compute; it stays unchanged. A
        mapping is a state dict, of an LSTM, an LSTMCell or a model of ours; its names and shapes
        give the options.
    head : torch.nn.Linear or str, optional
        A linear layer after the LSTM, which becomes the readout; for a state dict also the prefix
        of its names: ``"decoder."`` for ``decoder.weight`` and ``decoder.bias``. If only one of the
        LSTM and the layer has a bias, the other gets zeros.
    prefix : str
        Of the LSTM's names in the state dict of a larger model: ``"encoder.lstm."``. Other names
        are ignored. What all names have in common, such as ``"module."``, may be left out.
    batch_first : bool, optional
        By default that of the module; False for a state dict, which does not hold it.
    dtype : float32 or float64, optional
        By default that of the weights; float16 and bfloat16 become float32, and stand in
        ``notes["stored_as"]``.

    Returns
    -------
    LSTM or Sequential
        A module's `dropout` is not part of it: that is an argument of `LSTM.record`.

    Raises
    ------
    ValueError
        For another module, one with a `forward` of its own or with forward hooks, which may compute
        something else; for a tensor that is not on the CPU or not of floating point, or some of
        float64 beside others; for a name or shape that does not fit. The message names it.
    ImportError
        Without PyTorch.

    Examples
    --------
    >>> import torch, clstm.interop.torch
    >>> theirs = torch.nn.ModuleDict({"lstm": torch.nn.LSTM(3, 8), "fc": torch.nn.Linear(8, 1)})
    >>> clstm.interop.torch.from_torch(theirs["lstm"], theirs["fc"])
    LSTM(input_size=3, hidden_size=8, output_size=1)
    >>> state_dict = theirs.state_dict()
    >>> clstm.interop.torch.from_torch(state_dict, "fc.", prefix="lstm.")
    LSTM(input_size=3, hidden_size=8, output_size=1)
    """
    torch = import_torch()
    if isinstance(source, (torch.nn.Sequential, torch.nn.DataParallel, torch.jit.ScriptModule)):
        if prefix:
            raise ValueError("prefix is for state dicts: give the module's state_dict()")
        return _from_modules(torch, source, head, batch_first, dtype)
    tensors, first = tensors_of(torch, source)
    prefix, place = locate(tensors, prefix, head if isinstance(head, str) else None)
    starts = (prefix,) if place is None else (prefix, place)
    taken = {name: value for name, value in tensors.items() if name.startswith(starts)}
    if head is not None and place is None:
        taken |= {f"{_HEAD}{name}": value for name, value in _linear(torch, head).items()}
        place = _HEAD
    arrays = {name: array_of_tensor(torch, name, value) for name, value in taken.items()}
    if dtype is None:
        _check_one_dtype(arrays)
    first = first if batch_first is None else batch_first
    model = torch_names.read(arrays, prefix, place, batch_first=first, dtype=dtype)
    return noted(model, kinds_of(taken.values()))


def _from_modules(
    torch: Any, source: Any, head: Any, batch_first: bool | None, dtype: DTypeLike | None
) -> Model | Sequential:
    """Return a module that holds others as a model, with a linear layer behind it."""
    if isinstance(source, torch.jit.ScriptModule):
        if head is not None:
            raise ValueError("head is for an LSTM and for state dicts: TorchScript says all of it")
        return _from_script(torch, source, {"batch_first": batch_first, "dtype": dtype})
    from . import modules
    from .live import Live  # late: it imports PyTorch

    more = []
    if head is not None:
        linear = {name: array_of_tensor(torch, name, t) for name, t in _linear(torch, head).items()}
        more = [Dense(linear["weight"].copy(), linear["bias"].copy() if "bias" in linear else None)]
    model = modules.model_of(Live(source), batch_first, dtype, more)
    return noted(model, kinds_of(source.parameters()))


def _from_script(torch: Any, source: Any, options: dict[str, Any]) -> Model | Sequential:
    """Return what TorchScript computes, by the file that PyTorch writes of it."""
    from . import script
    from .archive import Archive

    buffer = io.BytesIO()
    torch.jit.save(source, buffer)
    budget = Budget(buffer.tell())
    with Archive(buffer, budget) as archive:
        return noted(script.model_of(archive, budget, options), archive.kinds)


def tensors_of(torch: Any, source: Any) -> tuple[Mapping[str, Any], bool]:
    """Return tensors by name, and whether sequences are (B, T, .)."""
    if isinstance(source, torch.nn.LSTM):
        names = source._flat_weights_names
        return _weights_of(source, names, "the LSTM"), bool(source.batch_first)
    if isinstance(source, torch.nn.LSTMCell):
        names = _CELL if source.bias else _CELL[:2]
        return _weights_of(source, names, "the LSTMCell"), False
    if isinstance(source, Mapping):
        return source, False
    hint = hint_of(torch, source)
    if not hint and isinstance(source, torch.nn.Module):
        hint = "; of a larger model give the LSTM inside it, or its state_dict() and a prefix"
    raise ValueError(
        f"expected a torch.nn.LSTM, a torch.nn.LSTMCell or a state dict, got {kind_of(source)}"
        f"{hint}"
    )


def _linear(torch: Any, head: Any) -> dict[str, Any]:
    if not isinstance(head, torch.nn.Linear):
        hint = hint_of(torch, head)
        raise ValueError(f"head must be a torch.nn.Linear or a prefix, got {kind_of(head)}{hint}")
    parts = head._parameters  # reading an attribute may compute it, and change the module
    names = ["weight"] if "bias" in parts and parts["bias"] is None else ["weight", "bias"]
    return _weights_of(head, names, "head")


def _weights_of(module: Any, names: Sequence[str], what: str) -> dict[str, Any]:
    from .computed import weights_of  # late: it imports PyTorch

    return weights_of(module, names, what)


def _check_one_dtype(arrays: Mapping[str, Array]) -> None:
    first = next(iter(arrays), "")
    for name, array in arrays.items():
        if array.dtype != arrays[first].dtype:
            raise ValueError(
                f"{name} has dtype {array.dtype}, {first} {arrays[first].dtype}: choose one "
                "by dtype="
            )


# ---- To PyTorch ----


def to_torch(lstm: Model) -> tuple[Any, Any]:
    """Return a PyTorch model with the same weights, copied; the second bias is zero.

    Parameters
    ----------
    lstm : LSTM
        With ``cell=Cell()``, forward or bidirectional, without `learn_state`.

    Returns
    -------
    (torch.nn.LSTM, torch.nn.Linear or None)
        The LSTM, and the readout if there is one.

    Raises
    ------
    ValueError
        For an option that `torch.nn.LSTM` does not have.

    Examples
    --------
    >>> import clstm, clstm.interop.torch
    >>> lstm = clstm.LSTM(3, 8, output_size=1)
    >>> clstm.interop.torch.to_torch(lstm)
    (LSTM(3, 8), Linear(in_features=8, out_features=1, bias=True))
    """
    require_plain(lstm, "torch.nn.LSTM", "bidirectional", "proj_size")
    torch = import_torch()
    options = {"bias": lstm.bias, "dtype": getattr(torch, lstm.dtype.name), "device": "meta"}
    module = torch.nn.LSTM(
        lstm.input_size,
        lstm.hidden_size,
        lstm.num_layers,
        batch_first=lstm.batch_first,
        bidirectional=lstm.bidirectional,
        proj_size=lstm.proj_size,
        **options,
    )
    module.to_empty(device="cpu")  # draws nothing from PyTorch's generator
    arrays = lstm.state_dict(torch_names=True)
    state = {name: torch.from_numpy(array) for name, array in arrays.items()}
    readout = {n: state.pop(f"{n}_out") for n in ("weight", "bias") if f"{n}_out" in state}
    module.load_state_dict(state)
    if not readout:
        return module, None
    outputs, width = readout["weight"].shape
    head = torch.nn.Linear(width, outputs, **options).to_empty(device="cpu")
    head.load_state_dict(readout)
    return module, head
