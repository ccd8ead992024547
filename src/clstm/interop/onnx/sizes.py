"""Sizes of axes that are known before a graph runs: integers, and polynomials of unknown sizes.

A file leaves sizes such as those of batch and time open, and computes with them: the size of an
axis that joins two is their product, and the number of the last step is T - 1. An unknown size is
at least one.
"""

from collections import Counter
from typing import Any, TypeAlias

_Term = tuple[str, ...]  # the unknown sizes of a product, sorted
_MOST_TERMS = 16
_HIGHEST_DEGREE = 8
_LARGEST = 1 << 63


class Undecided(Exception):
    """Something that depends on an unknown size, or exceeds what is followed."""


class Polynomial:
    """A sum of products of unknown sizes; one that is a number is an int instead."""

    __slots__ = ("terms",)

    def __init__(self, terms: dict[_Term, int]) -> None:
        self.terms = terms

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Polynomial) and self.terms == other.terms

    def __hash__(self) -> int:
        return hash(frozenset(self.terms.items()))

    def __repr__(self) -> str:
        return " + ".join("*".join([str(n), *names]) for names, n in self.terms.items())

    def __add__(self, other: "Size") -> "Size":
        total = Counter(self.terms)
        for term, number in terms_of(other).items():
            total[term] += number
        return _size(total)

    def __mul__(self, other: "Size") -> "Size":
        total: Counter[_Term] = Counter()
        for one, number in self.terms.items():
            for term, factor in terms_of(other).items():
                total[tuple(sorted(one + term))] += number * factor
        return _size(total)

    def __neg__(self) -> "Size":
        return self * -1

    def __sub__(self, other: "Size") -> "Size":
        return self + -other

    def __rsub__(self, other: int) -> "Size":
        return -self + other

    __radd__ = __add__
    __rmul__ = __mul__


Size: TypeAlias = int | Polynomial


def unknown(name: str) -> Size:
    """Return the size of this name."""
    return Polynomial({(name,): 1})


def terms_of(size: Size) -> dict[_Term, int]:
    """Return the products of a size and their factors; () is the constant term."""
    return size.terms if isinstance(size, Polynomial) else {(): int(size)}


def _size(terms: Counter[_Term]) -> Size:
    kept = {term: number for term, number in terms.items() if number}
    if len(kept) > _MOST_TERMS or max(map(len, kept), default=0) > _HIGHEST_DEGREE:
        raise Undecided("a size is computed from too many others")
    if any(abs(number) >= _LARGEST for number in kept.values()):
        raise Undecided("a size is too large")
    if not kept:
        return 0
    return kept[()] if list(kept) == [()] else Polynomial(kept)


def product(sizes: Any) -> Size:
    """Return the product of sizes."""
    total: Size = 1
    for size in sizes:
        total = total * size
    return _size(Counter(terms_of(total)))


def quotient(size: Size, divisor: Size) -> Size | None:
    """Return a size divided by another, or None if it is not known to be a multiple."""
    if size == divisor:
        return 1
    if isinstance(divisor, int):
        if divisor == 0 or any(number % divisor for number in terms_of(size).values()):
            return None
        return _size(Counter({t: number // divisor for t, number in terms_of(size).items()}))
    if len(divisor.terms) != 1:
        return None
    ((names, factor),) = divisor.terms.items()
    result: Counter[_Term] = Counter()
    for term, number in terms_of(size).items():
        left = Counter(term)
        left.subtract(names)
        if number % factor or min(left.values(), default=0) < 0:
            return None
        result[tuple(sorted(left.elements()))] = number // factor
    return _size(result)


def least(size: Size) -> int | None:
    """Return a lower bound, as every unknown size is at least one; None if there is none."""
    terms = terms_of(size)
    if any(number < 0 for term, number in terms.items() if term):
        return None
    return sum(terms.values())


def known(sizes: Any) -> list[int]:
    """Return sizes as numbers; raise Undecided if one is unknown."""
    if any(isinstance(size, Polynomial) for size in sizes):
        raise Undecided("its size is unknown")
    return [int(size) for size in sizes]


def equal(one: Size, other: Size) -> bool:
    """Return whether two sizes are equal; raise Undecided if that depends on unknown ones."""
    difference = one - other
    if isinstance(difference, int):
        return difference == 0
    for either in (difference, -difference):
        if (bound := least(either)) is not None and bound > 0:
            return False
    raise Undecided("it depends on an unknown size")


def shown(sizes: Any) -> str:
    """Return a shape for messages; "?" stands for an unknown size."""
    first = ["?" if isinstance(size, Polynomial) else str(size) for size in list(sizes)[:8]]
    more = "..." if len(sizes) > 8 else ""
    return f"({', '.join(first)}{',' * (len(sizes) == 1)}{more})"
