"""The functions of a source file and the length of their bodies, for C, Python and Cython."""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

C_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
# A head starts in column 0 and holds a parenthesis; the body ends at the next brace in column 0.
C_FUNCTION = re.compile(r"^(?!typedef)(\w[^;{}]*\([^;{}]*)\{\n(.*?)^\}", re.DOTALL | re.MULTILINE)
CYTHON_FUNCTION = re.compile(r"^( *)(?:async )?(?:def|cdef|cpdef)\b(?! class\b)[^#\n]*?(\w+)\(")

Lengths = Iterator[tuple[str, int]]  # (name, lines of the body)


def in_c(text: str) -> Lengths:
    """Find the functions by their heads and braces in column 0."""
    blank = C_COMMENT.sub(lambda found: "\n" * found[0].count("\n"), text)
    for head, body in C_FUNCTION.findall(blank):
        yield " ".join(head.split()), body.count("\n")


def without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0]
    is_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return body[1:] if is_text and isinstance(first.value.value, str) else body


def in_python(text: str) -> Lengths:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = without_docstring(node.body)
            yield node.name, body[-1].end_lineno - body[0].lineno + 1 if body else 0


def in_cython(text: str) -> Lengths:
    """Find the functions by indentation: a body ends before the first line that is out of it."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if not (found := CYTHON_FUNCTION.match(line)):
            continue
        body = list(body_below(lines[number:], indentation=len(found[1])))
        quotes = [k for k, inner in enumerate(body) for _ in range(inner.count('"""'))]
        if quotes[:1] == [0]:  # a docstring
            body = body[quotes[1] + 1 :]
        yield found[2], len(body)


def end_of_head(lines: list[str]) -> int:
    """Return the number of the line on which the head's parentheses are closed."""
    opened = 0
    for number, line in enumerate(lines):
        opened += len(re.findall(r"[(\[]", line)) - len(re.findall(r"[)\]]", line))
        if opened == 0:
            return number
    raise ValueError(f"parentheses are left open: {lines[0]}")


def body_below(lines: list[str], indentation: int) -> Iterator[str]:
    """Yield the lines of the body whose head is the first line; none after a declaration."""
    head = end_of_head(lines)
    if not re.search(r":\s*(#.*)?$", lines[head]):
        return
    blank: list[str] = []
    for line in lines[head + 1 :]:
        if not line.strip():
            blank.append(line)
            continue
        if len(line) - len(line.lstrip()) <= indentation:
            return
        yield from [*blank, line]
        blank.clear()


SCANS: dict[str, Callable[[str], Lengths]] = {
    ".c": in_c,
    ".h": in_c,
    ".py": in_python,
    ".pyi": in_python,
    ".pyx": in_cython,
    ".pxd": in_cython,
    ".pxi": in_cython,
}


def lengths(path: Path) -> list[tuple[str, int]]:
    return list(SCANS[path.suffix](path.read_text("utf-8")))
