"""RTNeural's JSON, of both kinds: layers as Keras has them, and a PyTorch state dict.

The first kind is ``{"in_shape": [null, null, I], "layers": [...]}``. Matrices are transposed
against ours, with gates in our order, and every layer has a bias. The second is an object of
arrays: a name's part before the last dot says to which module it belongs, and the modules follow
each other as they stand in the file. It tells of no activations: there are none between them.
"""

from .files import load, read, save, write

__all__ = ["load", "read", "save", "write"]
