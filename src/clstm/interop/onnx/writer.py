"""`save`: a model as an ONNX graph."""

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ...cell import SLOTS
from ...chain import lstms_in, parameters_in
from ...layers import Embedding, Last, Masking, Skip
from ...lstm import LSTM
from ...sequential import Sequential
from ..layers import layers_of, require_plain
from .graph import NOTES
from .graph_writer import GraphWriter

OPSET = 17
IR_VERSION = 8
_LARGEST = 2**31 - 2**20  # bytes of a protobuf message, less room for the rest of the graph
_OPTIONS = (
    *("bidirectional", "direction", "learn_state"),
    *("cell.peephole", "cell.coupled", "cell.clip"),
    *(f"cell.{slot}" for slot in SLOTS),
)


def save(
    model: LSTM | Sequential,
    path: str | os.PathLike[str],
    *,
    lengths: bool = False,
    states: bool = True,
) -> None:
    """Write a model as ONNX, of opset 17, as ONNX Runtime runs it.

    Inputs are ``x`` (T, B, I), or (B, T, I) if `batch_first`, without the last axis for indices of
    an `Embedding`, ``h0`` (L D, B, H) and ``c0`` (L D, B, H); outputs are ``y`` (T, B, O), (B, T,
    O), or (B, O) behind a `Last`, ``h_n`` and ``c_n`` like the initial state. With several LSTMs
    the names of the states end in their numbers: ``h0_0``, ``h0_1``. T and B are free. With
    `learn_state` the parameters are the defaults of h0 and c0, which need not be given then; ONNX
    Runtime warns that it cannot take them for constants.

    Parameters
    ----------
    model : LSTM or Sequential
        Each layer of an LSTM becomes an LSTM node, a readout or a `Dense` a MatMul and an Add.
    path : str or path
        Of the file.
    lengths : bool, default=False
        Whether there is an input ``lengths`` (B,) of int32, the number of steps of each row. y is
        undefined after a row's end.
    states : bool, default=True
        Whether initial and final states are inputs and outputs. Without them the LSTMs begin at
        zero, or at their learned state.

    Raises
    ------
    ValueError
        For options that ONNX's LSTM does not have: a projection (`proj_size`), a bound of the cell
        state (`cell_clip`); for float64, which ONNX Runtime lacks; for masks, which ONNX has not;
        for numbers of the cell that single precision cannot represent; for more than 2 GB; for
        notes that are no JSON values.
    TypeError
        If `model` is neither an LSTM nor a Sequential.
    OSError
        If the file cannot be written.
    ImportError
        Without the package onnx.

    Notes
    -----
    ONNX Runtime 1.32 computes some functions differently at the edges: ThresholdedRelu of alpha
    itself is 0, Softplus is infinite above 88. Numbers of the cell (`clip`, alpha and beta of the
    functions) are written in single precision, as ONNX requires.
    """
    try:
        import onnx
    except ImportError as error:
        raise ImportError("ONNX models need the package onnx: pip install onnx") from error
    layers = layers_of(model)
    for lstm in lstms_in(layers):
        _check_lstm(lstm)
    _check_layers(layers, lengths)
    if (size := sum(array.nbytes for _, array in parameters_in(layers))) > _LARGEST:
        raise ValueError(f"its parameters have {size} bytes, an ONNX file holds less than 2 GB")
    entry = _entry(model.notes)
    graph = GraphWriter(model, lengths, states).graph()
    opset = onnx.helper.make_opsetid("", OPSET)
    made = onnx.helper.make_model(
        graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="clstm"
    )
    if entry:
        made.metadata_props.add(key=NOTES, value=entry)
    with open(path, "wb") as file:
        file.write(made.SerializeToString())


def _check_lstm(lstm: LSTM) -> None:
    if lstm.proj_size:
        raise ValueError(f"proj_size is {lstm.proj_size}: ONNX's LSTM has no projection")
    if lstm.cell.cell_clip is not None:
        raise ValueError(f"cell_clip is {lstm.cell.cell_clip}: ONNX's LSTM has no such bound")
    require_plain(lstm, "ONNX's LSTM", *_OPTIONS)
    if lstm.dtype != np.float32:
        raise ValueError(f"dtype is {lstm.dtype}: ONNX Runtime's LSTM is float32")


def _check_layers(layers: tuple[Any, ...], lengths: bool) -> None:
    """Raise ValueError for a layer that a graph cannot compute."""
    backwards = False
    for layer in layers:
        if isinstance(layer, Masking) or (isinstance(layer, Embedding) and layer.mask_zero):
            raise ValueError(f"{layer!r} masks steps: ONNX's LSTM has lengths only")
        inner = layer.layers if isinstance(layer, Skip) else (layer,)
        for lstm in lstms_in(inner):
            backwards = lstm.bidirectional or lstm.direction == "reverse"
        if lengths and isinstance(layer, Last) and backwards:
            raise ValueError(f"{layer!r} of a reverse direction cannot be written with lengths")


def _entry(notes: Mapping[str, Any]) -> str:
    try:
        return json.dumps(dict(notes), allow_nan=False) if notes else ""
    except (TypeError, ValueError) as error:
        raise ValueError(f"notes must hold JSON values: {error}") from None
