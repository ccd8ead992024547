"""The messages in an ONNX file, counted before the protobuf package makes objects of them.

An empty message is two bytes in a file and some 200 in memory.
"""

from typing import Any

from ..budget import Budget

_MESSAGE = 200
"""Bytes that are counted for a message: a tensor or an attribute takes 150 to 210."""
_VARINT, _FIXED64, _BYTES, _GROUP, _END_GROUP, _FIXED32 = range(6)
_FIXED = {_FIXED64: 8, _FIXED32: 4, _GROUP: 0, _END_GROUP: 0}


def count_messages(data: bytes, descriptor: Any, budget: Budget) -> None:
    """Count the messages of a file; ValueError if there are too many for its size.

    Parameters
    ----------
    data : bytes
        What follows after something malformed is not counted: the protobuf package refuses it.
    descriptor : google.protobuf.descriptor.Descriptor
        Of the file's message; fields that it does not have are skipped by protobuf, too.
    budget : Budget
    """
    # An empty message has a length of zero, and few bytes of other files are zero. Messages that
    # are not empty have four bytes or more.
    if _MESSAGE * data.count(0) <= budget.left:
        return
    inner: dict[str, dict[int, Any]] = {}
    left = [(0, len(data), descriptor)]
    try:
        while left:
            at, end, kind = left.pop()
            if kind.full_name not in inner:
                fields = [field for field in kind.fields if field.message_type is not None]
                inner[kind.full_name] = {field.number: field.message_type for field in fields}
            for number, start, stop in _fields(data, at, end):
                if (message := inner[kind.full_name].get(number)) is not None:
                    budget.count(1, "the number of its messages", _MESSAGE)
                    left.append((start, stop, message))
    except IndexError:
        return


def _fields(data: bytes, at: int, end: int) -> Any:
    """Yield the number of each field of bytes in a message, and where its content lies."""
    while at < end:
        tag, at = _varint(data, at)
        kind = tag & 7
        if kind == _BYTES:
            size, at = _varint(data, at)
            if at + size > end:
                raise IndexError
            yield tag >> 3, at, at + size
            at += size
        elif kind == _VARINT:
            at = _varint(data, at)[1]
        elif kind in _FIXED:
            at += _FIXED[kind]
        else:
            raise IndexError


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number and the place after it; IndexError at the end of the data."""
    value = shift = 0
    while (byte := data[at]) > 127:
        value |= (byte & 127) << shift
        shift += 7
        at += 1
        if shift > 63:
            raise IndexError
    return value | byte << shift, at + 1
