"""LSTM nodes of ONNX models: read as models, and models written as ONNX.

`read` returns every LSTM node of a file, `load` a whole file as one LSTM or one of its nodes, and
`save` writes a file that ONNX Runtime runs. The package onnx is needed: `pip install onnx`.
"""

from .reader import Node, load, read
from .writer import save

__all__ = ["Node", "load", "read", "save"]
