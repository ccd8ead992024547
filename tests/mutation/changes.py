"""A change of a source text: what a mutant differs in."""

from typing import NamedTuple


class Change(NamedTuple):
    """Replace `before`, which begins at character `start`, by `after`."""

    start: int
    before: str
    after: str
    operator: str  # the kind of change

    def applied(self, text: str) -> str:
        end = self.start + len(self.before)
        assert text[self.start : end] == self.before
        return text[: self.start] + self.after + text[end:]

    def line(self, text: str) -> int:
        return text.count("\n", 0, self.start) + 1


SWAPS = {
    "relation": {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="},
    "arithmetic": {"+": "-", "-": "+", "*": "/", "/": "*", "%": "*", "//": "*"},
    "assignment": {"+=": "-=", "-=": "+=", "*=": "/=", "/=": "*=", "|=": "&=", "&=": "|="},
    "logic": {"&&": "||", "||": "&&", "and": "or", "or": "and"},
}
"""The other operator of each kind."""
