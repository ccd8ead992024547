"""Keras 2 and 3: from and to its models and layers, and its files, without Keras.

Files are .keras, .h5 and .weights.h5; they need h5py, live models need Keras itself with any
backend. Models from Keras have ``batch_first=True``, and compute what Keras's ``predict`` does.
Options that only matter in training are dropped: ``dropout``, initializers, regularizers. So are
``stateful`` and ``return_state``: a model here always returns its states, and continues from the
states that the next call is given.

What Keras computes around its LSTMs:

- ``return_sequences=False`` is a `clstm.layers.Last`: the last step of each direction.
- ``go_backwards=True`` is ``direction="reverse"``, and a `clstm.layers.Reverse` behind it, because
  Keras leaves the steps in the order of computation.
- ``merge_mode`` "sum" and "ave" are a `clstm.layers.Dense` of zeros and ones, or halves; "mul" is
  a `clstm.layers.Product`.
- A mask, of an Embedding or a Masking, is that of `clstm.layers.Masking`.
"""

from .reader import from_keras, load, read
from .writer import save, to_keras

__all__ = ["from_keras", "load", "read", "save", "to_keras"]
