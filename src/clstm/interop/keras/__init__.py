"""Keras 3: from and to its layers, and its files, .keras and .weights.h5, without Keras.

Files need h5py, live layers need Keras itself with any backend. Models from Keras have
``batch_first=True``. Options that only matter in training are dropped: ``dropout``, initializers,
regularizers. So are ``stateful`` and ``return_state``: a model here always returns its state, and
continues from the state that the next call is given.

Two options of Keras change which part of the output Keras returns:

- ``return_sequences=False``: only the last step, here ``y[:, -1]``; for a Bidirectional layer the
  last h of each direction, here ``(h, c) = state; h[-2], h[-1]``.
- ``go_backwards=True`` is ``direction="reverse"``. Keras leaves the steps in reversed order: its
  output is ``y[:, ::-1]`` here, and its last step ``y[:, 0]``.
"""

from .reader import from_keras, load, read
from .writer import save, to_keras

__all__ = ["from_keras", "load", "read", "save", "to_keras"]
