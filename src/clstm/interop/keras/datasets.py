"""Arrays of HDF5 files: their chunks and filters are checked before anything is read.

HDF5 itself decompresses a chunk before it compares it with the array, whatever size the chunk has;
and it loads filters that it does not know from other files.
"""

import itertools
import math
import zlib
from typing import Any

import numpy as np

from ...layout import Array
from ..budget import Budget

_DEFLATE, _SHUFFLE = 1, 2  # H5Z_FILTER_DEFLATE, H5Z_FILTER_SHUFFLE
_FILTERS: tuple[list[int], ...] = ([], [_DEFLATE], [_SHUFFLE], [_SHUFFLE, _DEFLATE])
_BFLOAT16 = np.dtype("V2")  # two bytes of no type of HDF5's, as Keras stores them
_CHUNK = 512  # bytes that are counted for a chunk besides its numbers


def read_dataset(dataset: Any, budget: Budget) -> Array:
    """Return an array of floating-point numbers; bfloat16 becomes float32.

    Raises ValueError, of which the array is the subject, for data elsewhere, another type, other
    filters, and more than the budget allows.
    """
    kind = dataset.dtype
    if dataset.is_virtual or dataset.external or not (kind.kind == "f" or kind == _BFLOAT16):
        raise ValueError("is not a plain array of floating-point numbers")
    if dataset.shape is None:
        raise ValueError("claims shape None, expected an array")
    budget.take(2 * dataset.nbytes, f"of shape {dataset.shape}")
    array = np.asarray(dataset[()]) if dataset.chunks is None else _read_chunks(dataset, budget)
    if kind != _BFLOAT16:
        return array
    budget.take(4 * dataset.nbytes, f"of shape {dataset.shape}")
    return (array.view("<u2").astype(np.uint32) << 16).view(np.float32)


def _read_chunks(dataset: Any, budget: Budget) -> Array:
    plan = dataset.id.get_create_plist()
    filters = [plan.get_filter(k)[0] for k in range(plan.get_nfilters())]
    if filters not in _FILTERS:
        raise ValueError(
            f"has the HDF5 filters {filters}, expected none, shuffle (2), deflate (1) or both"
        )
    size = math.prod(dataset.chunks) * dataset.dtype.itemsize
    grid = [range(0, n, step) for n, step in zip(dataset.shape, dataset.chunks, strict=True)]
    count = math.prod(map(len, grid))
    budget.take(count * (size + _CHUNK), f"in {count} chunks of shape {dataset.chunks}")
    array = np.empty(dataset.shape, dataset.dtype)
    for corner in itertools.product(*grid):
        place = tuple(slice(n, n + s) for n, s in zip(corner, dataset.chunks, strict=True))
        part = array[place]
        chunk = _read_chunk(dataset, corner, filters, size, budget)
        part[...] = chunk[tuple(map(slice, part.shape))]
    return array


def _read_chunk(
    dataset: Any, corner: tuple[int, ...], filters: list[int], size: int, budget: Budget
) -> Array:
    """Return the chunk that begins at a corner."""
    found = dataset.id.get_chunk_info_by_coord(corner)
    if found.byte_offset is None or found.filter_mask:
        raise ValueError(f"has no chunk at {corner} that went through all filters")
    if not filters and found.size != size:  # h5py would write beyond its own buffer
        raise ValueError(f"has a chunk at {corner} of {found.size} bytes, expected {size}")
    budget.take(found.size, f"with a chunk of {found.size} bytes at {corner}")
    data = dataset.id.read_direct_chunk(corner)[1]
    if _DEFLATE in filters:
        try:
            data = zlib.decompressobj().decompress(data, size + 1)
        except zlib.error as error:
            raise ValueError(f"has a chunk at {corner} that cannot be read: {error}") from None
    if len(data) != size:
        raise ValueError(f"has a chunk at {corner} of another size than {size} bytes")
    if _SHUFFLE in filters:
        bytes_ = np.frombuffer(data, np.uint8).reshape(dataset.dtype.itemsize, -1)
        data = np.ascontiguousarray(bytes_.T)
    return np.frombuffer(data, dataset.dtype).reshape(dataset.chunks)
