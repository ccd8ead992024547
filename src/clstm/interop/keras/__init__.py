"""Keras 3: from and to its layers, and its files, .keras and .weights.h5, without Keras.

Files need h5py, live layers need Keras itself with any backend. Models from Keras have
``batch_first=True``. Options that only matter in training are dropped: ``dropout``, initializers,
regularizers. So are ``stateful`` and ``return_state``: a model here always returns its state, and
continues from the state that the next call is given.

Two options of Keras change which part of the output Keras returns:

- ``return_sequences=False``: only the last step of each direction. Of a forward LSTM it is
  ``y[:, -1]`` here, also with a readout. A reverse direction ends at the first step of y, so
  `load` and `from_keras` refuse Bidirectional layers and ``go_backwards=True`` then; `read` returns
  layers that compute it.
- ``go_backwards=True`` is ``direction="reverse"``. y has the order of time; Keras leaves the steps
  in reversed order: its output with ``return_sequences=True`` is ``y[:, ::-1]``.
"""

from .reader import from_keras, load, read
from .writer import save, to_keras

__all__ = ["from_keras", "load", "read", "save", "to_keras"]
