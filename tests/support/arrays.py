"""Dtypes and memory layouts of the arrays that users pass."""

import numpy as np

DTYPES = ["?", "i1", "u1", "i2", "u4", "i8", "f2", "f4", "f8", "g"]


def misaligned(array):
    buffer = np.zeros(array.nbytes + 1, np.uint8)
    view = buffer[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    assert not view.flags.aligned or array.dtype.itemsize == 1
    return view


def spread(array):
    """The same values in every second element of a larger array."""
    larger = np.full([2 * n for n in array.shape], 99, array.dtype)
    view = larger[tuple(slice(None, None, 2) for _ in array.shape)]
    view[...] = array
    return view


def reversed_in_memory(array):
    return np.ascontiguousarray(array[::-1, ::-1, ::-1])[::-1, ::-1, ::-1]


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


LAYOUTS = {
    "contiguous": np.ascontiguousarray,
    "strided": spread,
    "negative": reversed_in_memory,
    "fortran": np.asfortranarray,
    "misaligned": misaligned,
    "byte-swapped": lambda a: a.astype(a.dtype.newbyteorder()),
    "read-only": read_only,
    "subclass": lambda a: a.view(np.recarray),
}
