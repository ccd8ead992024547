"""Keras 3: from and to its layers, and its files, .keras and .weights.h5, without Keras.

The files need h5py, the layers Keras itself with any backend. Models that were Keras's have
``batch_first=True``, as everything of Keras; ``dropout``, initializers, regularizers and the like,
which matter in training alone, are left behind, and so are ``stateful`` and ``return_state``: here
the state is always handed out, and goes on where it is given to the next call.

Two options of Keras do not change the model, but what Keras hands on of its output:

- ``return_sequences=False``: Keras's output is that of the last step, here ``y[:, -1]``; of a
  Bidirectional layer each direction's last h, here ``(h, c) = state; h[-2], h[-1]``.
- ``go_backwards=True`` is ``direction="reverse"``, and Keras leaves the steps in reversed order:
  its output is ``y[:, ::-1]`` here, and its last step ``y[:, 0]``.
"""

from .reader import from_keras, load, read
from .writer import save, to_keras

__all__ = ["from_keras", "load", "read", "save", "to_keras"]
