"""LSTM nodes of ONNX models: read as models, and models written as ONNX.

`read` returns every LSTM node of a file, `load` the LSTM that a whole file is or one of its nodes,
`save` writes a file that ONNX Runtime runs. It needs the package onnx: `pip install onnx`.
"""

from .reader import Node, load, read
from .writer import save

__all__ = ["Node", "load", "read", "save"]
