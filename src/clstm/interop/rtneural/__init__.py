"""RTNeural's JSON, of both kinds: layers as Keras has them, and a PyTorch state dict.

The first kind is ``{"in_shape": [null, null, I], "layers": [...]}``. Matrices are the transposes
of ours, gates are in our order, and every layer has a bias. The second kind is an object of arrays:
the part of a name before its last dot is the module, and the modules follow each other in the order
of the file, without activations between them.
"""

from .files import load, read, save

__all__ = ["load", "read", "save"]
