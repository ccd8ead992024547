"""Changes of C and Cython, found in their tokens."""

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tests.mutation.changes import SWAPS, Change

NUMBER = r"(?<![\w.])(?:0[xX][0-9a-fA-F]+|\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)[uUlLfF]*"
OPERATORS = (
    r"<<=|>>=|->|\+\+|--|\*\*|//|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]="
    r"|[-+*/%<>=!&|^~?:;,.(){}\[\]@]"
)
STRING = r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
IN_C = re.compile(
    rf"(?P<skip>/\*.*?\*/|//[^\n]*|^[ \t]*\#(?:\\\n|[^\n])*|{STRING})"
    rf"|(?P<number>{NUMBER})|(?P<word>\w+)|(?P<operator>{OPERATORS})",
    re.DOTALL | re.MULTILINE,
)
# A cast is skipped, as are heads of functions and lines that declare.
IN_CYTHON = re.compile(
    rf'(?P<skip>\#[^\n]*|[rbf]*""".*?"""|[rbf]*(?:{STRING})|<[\w. ]+[ *]*(?:\[[^\]]*\])?>(?=[\w(&])'
    r"|^[ \t]*(?:cdef|cpdef|def) [^\n=(]*\(.*?\)[^\n()]*:(?=\s*(?:\#[^\n]*)?\n)"
    r"|^[ \t]*(?:from|import|cimport|ctypedef|@|class|else|try)\b[^\n]*"
    r"|^[ \t]*cdef (?:[^\n=]*\n|(?:extern|class)\b[^\n]*))"
    rf"|(?P<number>{NUMBER})|(?P<word>\w+)|(?P<operator>{OPERATORS})",
    re.DOTALL | re.MULTILINE,
)
# A head begins in column 0; the body ends at the next brace there, or is on the same line.
FUNCTION = re.compile(
    r"^(?!typedef)(\w[^;{}]*\([^;{}]*)\{(?:\n(?P<long>.*?)^\}| (?P<short>[^\n]*) \}$)",
    re.DOTALL | re.MULTILINE,
)
NO_STATEMENTS = {"return", "break", "continue", "goto", "if", "for", "while", "switch", "case"}
NO_STATEMENTS |= {"default", "do", "else", "const", "static", "struct", "enum", "typedef", "UNROLL"}
MODIFIES = {"=", "++", "--", "+=", "-=", "*=", "/=", "|=", "&=", "^=", "<<=", ">>="}


class Token(NamedTuple):
    kind: str  # number, word or operator
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def tokens(text: str, language: re.Pattern[str]) -> list[Token]:
    found = language.finditer(text)
    return [Token(str(m.lastgroup), m[0], m.start()) for m in found if m.lastgroup != "skip"]


def ends_operand(token: Token) -> bool:
    return token.kind in ("number", "word") or token.text in (")", "]")


def swapped_operators(text: str, found: list[Token]) -> Iterator[Change]:
    """Change operators between two operands; one of a pointer's declaration touches its name."""
    for before, token, after in zip(found, found[1:], found[2:], strict=False):
        for kind, others in SWAPS.items():
            other = others.get(token.text)
            spaced = before.end < token.start and token.end < after.start
            if other is None or not ends_operand(before) or not spaced:
                continue
            yield Change(token.start, token.text, other, kind)


def changed_numbers(found: list[Token]) -> Iterator[Change]:
    for token in found:
        if token.kind != "number" or not token.text.isdecimal():
            continue
        value = int(token.text)
        yield Change(token.start, token.text, str(value + 1), "constant")
        if value:
            yield Change(token.start, token.text, str(value - 1), "constant")


def closing(found: list[Token], first: int) -> int:
    """Return the index of the parenthesis that closes the one at `first`."""
    depth = 0
    for index in range(first, len(found)):
        depth += found[index].text in ("(", "[")
        depth -= found[index].text in (")", "]")
        if depth == 0:
            return index
    return first


def negated_in_c(text: str, found: list[Token]) -> Iterator[Change]:
    for index, token in enumerate(found[:-1]):
        if token.text != "if" or found[index + 1].text != "(":
            continue
        first, last = found[index + 1], found[closing(found, index + 1)]
        condition = text[first.start : last.end]
        yield Change(first.start, condition, f"(!{condition})", "negation")


def negated_in_cython(text: str, found: list[Token]) -> Iterator[Change]:
    for match in re.finditer(r"^[ \t]*(?:el)?if (.*):(?= *(?:#.*)?$)", text, re.MULTILINE):
        if any(token.start == match.start(1) for token in found):
            yield Change(match.start(1), match[1], f"not ({match[1]})", "negation")


def swapped_arguments(text: str, found: list[Token]) -> Iterator[Change]:
    """Swap neighbours that are plain names; a compiler refuses those of unlike types."""
    for index, token in enumerate(found[2:-2], start=2):
        before, left, right, after = (found[index + k] for k in (-2, -1, 1, 2))
        names = left.kind == right.kind == "word" and left.text != right.text
        if token.text == "," and names and before.text in ("(", ",") and after.text in (",", ")"):
            if before.text == "(" and found[index - 3].text in ("if", "for", "while"):
                continue
            whole = text[left.start : right.end]
            middle = text[left.end : right.start]
            yield Change(left.start, whole, right.text + middle + left.text, "arguments")


def has_effect(statement: list[Token]) -> bool:
    """Tell whether a statement assigns or calls, and declares nothing."""
    first, texts = statement[0], [token.text for token in statement]
    if first.text in NO_STATEMENTS or (first.text not in ("*", "(") and first.kind != "word"):
        return False
    declares = len(statement) > 1 and first.kind == statement[1].kind == "word"
    return not declares and bool(MODIFIES & set(texts) or "(" in texts)


def deleted_in_c(text: str, found: list[Token]) -> Iterator[Change]:
    """Delete statements that end in a semicolon and stand in no parentheses."""
    begin, depth = 0, 0
    for index, token in enumerate(found):
        depth += token.text == "("
        depth -= token.text == ")"
        if token.text == ";" and depth == 0 and begin < index:
            statement = found[begin:index]
            if has_effect(statement):
                first = statement[0].start
                yield Change(first, text[first : token.start], "", "deletion")
        heads = token.text in ("{", "}", "else") or (token.text in (";", ":") and depth == 0)
        if heads or (token.text == ")" and depth == 0 and ends_head(found, index)):
            begin = index + 1


def ends_head(found: list[Token], last: int) -> bool:
    """Tell whether a parenthesis closes the head of an if or a loop."""
    depth = 0
    for index in range(last, 0, -1):
        depth += found[index].text == ")"
        depth -= found[index].text == "("
        if depth == 0:
            return found[index - 1].text in ("if", "for", "while", "switch")
    return False


def deleted_in_cython(text: str, found: list[Token]) -> Iterator[Change]:
    """Delete calls, and assignments to what exists, that fill one line."""
    starts = {token.start for token in found}
    pattern = r"^[ ]+([\w.\[\]]+(?: [-+*/|&]?= [^\n]*[^\n,(\[]|\([^\n]*\)))$"
    for match in re.finditer(pattern, text, re.MULTILINE):
        word, statement = match[1].split("(")[0].split(" ")[0], match[1]
        assigns = "=" in statement.partition("(")[0]
        if match.start(1) not in starts or statement.count("(") != statement.count(")"):
            continue
        if not assigns or "." in word or "[" in word:
            yield Change(match.start(1), statement, "pass", "deletion")


def functions(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield the head of each function of C, and where its body begins and ends."""
    for match in FUNCTION.finditer(text):
        yield match[1], *match.span("long" if match["long"] is not None else "short")


Finder = Callable[[str, list[Token]], Iterator[Change]]


def changes_in_c(text: str, left_out: re.Pattern[str]) -> list[Change]:
    """Return the changes within functions, but for lines and heads that match `left_out`."""
    finders: list[Finder] = [swapped_operators, negated_in_c, swapped_arguments, deleted_in_c]
    everything = tokens(text, IN_C)
    result: list[Change] = []
    for head, begin, end in functions(text):
        if left_out.search(head):
            continue
        found = [token for token in everything if begin <= token.start < end]
        result += changed_numbers(found)
        result += [change for finder in finders for change in finder(text, found)]
    return sorted(keep(result, text, left_out))


def changes_in_cython(text: str, left_out: re.Pattern[str]) -> list[Change]:
    """Return the changes of lines that do not match `left_out`."""
    finders = [swapped_operators, negated_in_cython, swapped_arguments, deleted_in_cython]
    found = tokens(text, IN_CYTHON)
    result = list(changed_numbers(found))
    result += [change for finder in finders for change in finder(text, found)]
    return sorted(keep(result, text, left_out))


def keep(found: list[Change], text: str, left_out: re.Pattern[str]) -> Iterator[Change]:
    """Leave out the changes of lines that match."""
    for change in found:
        begin = text.rfind("\n", 0, change.start) + 1
        end = text.find("\n", change.start + len(change.before))
        if not left_out.search(text[begin : end if end >= 0 else len(text)]):
            yield change
