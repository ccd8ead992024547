"""The code in a TorchScript archive: its classes and functions as syntax trees, never compiled.

TorchScript writes its code in Python's syntax. Python's parser makes a tree of it, after the words
and signs have been counted: each takes up to a kilobyte there.
"""

import ast
import re
import warnings
from collections.abc import Iterator
from typing import Any

from ..budget import Budget
from .archive import Archive

_WORD, _SIGN, _LINE = 1200, 350, 600  # bytes in a tree, at most
_WORDS, _SIGNS = re.compile(r"\w+"), re.compile(r"[^\w\s]")


class Code:
    """The code of an archive, parsed file by file when it is looked up.

    Names are those of the archive: ``__torch__.torch.nn.modules.rnn.LSTM``.
    """

    def __init__(self, archive: Archive, budget: Budget) -> None:
        self._archive = archive
        self._budget = budget
        self._files: dict[str, dict[str, Any]] = {}

    def function(self, name: str) -> ast.FunctionDef:
        """Return a function outside of classes."""
        found = self._find(name)
        if not isinstance(found, ast.FunctionDef):
            raise ValueError(f"its code has no function {name}")
        return found

    def method(self, name: str, method: str) -> ast.FunctionDef:
        """Return a method of a class."""
        found = self._class(name).get(method)
        if not isinstance(found, ast.FunctionDef):
            raise ValueError(f"its code has no {name}.{method}")
        return found

    def has(self, name: str, method: str) -> bool:
        """Tell whether a class has a method."""
        return isinstance(self._class(name).get(method), ast.FunctionDef)

    def constant(self, name: str, attribute: str) -> Any:
        """Return a constant of a class, ``hidden_size : Final[int] = 4``; KeyError without it."""
        found = self._class(name)[attribute]
        if not isinstance(found, ast.Constant):
            raise KeyError(attribute)
        return found.value

    def _class(self, name: str) -> dict[str, Any]:
        found = self._find(name)
        if not isinstance(found, dict):
            raise ValueError(f"its code has no class {name}")
        return found

    def _find(self, name: str) -> Any:
        module, _, last = name.rpartition(".")
        path = module.replace(".", "/") + ".py"
        if path not in self._files:
            self._files[path] = self._parsed(path)
        return self._files[path].get(last)

    def _parsed(self, path: str) -> dict[str, ast.stmt]:
        text = self._archive.code(path)
        words = sum(1 for _ in _WORDS.finditer(text))
        signs = sum(1 for _ in _SIGNS.finditer(text))
        size = words * _WORD + signs * _SIGN + text.count("\n") * _LINE
        self._budget.take(size, f"the code in {path}")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of escapes in strings that Python does not know
                tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise ValueError(f"the code in {path} cannot be parsed: {error}") from None
        found: dict[str, Any] = {}
        for part in tree.body:
            if isinstance(part, ast.FunctionDef):
                found[part.name] = part
            elif isinstance(part, ast.ClassDef):
                found[part.name] = dict(_members(part))
        return found


def _members(definition: ast.ClassDef) -> Iterator[tuple[str, Any]]:
    """Yield the methods and the constants of a class by name."""
    for part in definition.body:
        if isinstance(part, ast.FunctionDef):
            yield part.name, part
        elif isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
            yield part.target.id, part.value
