"""ONNX models: read as models, and models written as ONNX.

`load` returns what a file computes, `read` its layers, `nodes` every LSTM node of it, and `save`
writes a file that ONNX Runtime runs. The package onnx is needed: `pip install onnx`.
"""

from .reader import Node, load, nodes, read
from .writer import save

__all__ = ["Node", "load", "nodes", "read", "save"]
