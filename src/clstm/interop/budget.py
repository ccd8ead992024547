"""What reading a file may take: memory and time in proportion to the file's size.

A small file can claim large sizes, name the same data many times, or nest and repeat structures. A
reader therefore asks its `Budget` before it allocates or loops, not after it. Time is counted in
bytes, too: a step of a loop in Python takes some microseconds, and makes about as many objects.
"""

import os

RATIO = 16
"""Bytes for each byte of the file. Half precision is copied four times on the way to a model."""
SPARE = 16 << 20
"""Bytes beside those, for small files."""
STEP = 96
"""Bytes for a step of a loop: an object, and its place in a list or a dictionary."""
MODEL = 16 << 10
"""Bytes for a model or a layer, besides its weights. A small model takes 0.1 ms and 2 kB."""


class Budget:
    """The bytes that a reader may still take.

    Parameters
    ----------
    size : int
        The file's size in bytes.
    """

    __slots__ = ("_left", "_most")

    def __init__(self, size: int) -> None:
        self._most = self._left = SPARE + RATIO * size

    @property
    def left(self) -> int:
        """The bytes that may still be taken."""
        return self._left

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> "Budget":
        """Return the budget of a file."""
        return cls(os.stat(path).st_size)

    def extend(self, size: int) -> None:
        """Add a further file of this size, which is read beside the first one."""
        self._most += RATIO * size
        self._left += RATIO * size

    def take(self, size: int, what: str) -> None:
        """Count bytes that will be allocated.

        Raises
        ------
        ValueError
            If they and those before exceed the budget. `what` is in the message, as its subject.
        """
        self._left -= size
        if self._left < 0:
            raise ValueError(
                f"{what} would take too much for a file of this size: reading it may take "
                f"{self._most >> 20} MiB, {RATIO} times the file and {SPARE >> 20} MiB"
            )

    def count(self, number: int, what: str, each: int = STEP) -> None:
        """Count steps of a loop, or objects; ValueError as for `take`."""
        self.take(number * each, what)

    def layers(self, number: int = 1) -> None:
        """Count models, or layers of one; ValueError as for `take`."""
        self.take(number * MODEL, "the number of its layers")
