"""Changes of Python, found in the syntax tree; the text around them stays as it is."""

import ast
import copy
import re
from collections import Counter
from collections.abc import Iterator

from tests.mutation.changes import Change

COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def parts(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node and all below it that runs: no annotations, no words of messages."""
    yield node
    if isinstance(node, ast.JoinedStr):
        return
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list"):
            continue
        if isinstance(node, ast.Raise) and name in ("exc", "cause"):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from parts(child)


def is_type(node: ast.BinOp) -> bool:
    """Tell whether an expression is `kind | None`, an annotation under a name."""
    return isinstance(node.right, ast.Constant) and node.right.value is None


def replaced_operator(node: ast.AST) -> ast.expr | None:
    """Return a copy of an expression with another operator."""
    other: ast.expr
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        other = copy.deepcopy(node)
        other.ops = [COMPARED[type(node.ops[0])]()]
        return other
    if isinstance(node, ast.BinOp) and type(node.op) in COMPUTED and not is_type(node):
        other = copy.deepcopy(node)
        other.op = COMPUTED[type(node.op)]()
        return other
    if isinstance(node, ast.BoolOp):
        other = copy.deepcopy(node)
        other.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        return other
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return copy.deepcopy(node.operand)
    return None


def replaced_constants(node: ast.AST) -> list[object]:
    if not isinstance(node, ast.Constant):
        return []
    if isinstance(node.value, bool):
        return [not node.value]
    if isinstance(node.value, int | float):
        return [node.value + 1, node.value - 1] if node.value else [node.value + 1]
    return []


def swapped_call(node: ast.AST) -> ast.Call | None:
    """Return a call whose first two neighbours that are names have changed places."""
    if not isinstance(node, ast.Call):
        return None
    for k, (left, right) in enumerate(zip(node.args, node.args[1:], strict=False)):
        if isinstance(left, ast.Name) and isinstance(right, ast.Name) and left.id != right.id:
            other = copy.deepcopy(node)
            other.args[k], other.args[k + 1] = other.args[k + 1], other.args[k]
            return other
    return None


def conditions(node: ast.AST) -> list[ast.expr]:
    if isinstance(node, ast.If | ast.IfExp):
        return [node.test]
    return node.ifs if isinstance(node, ast.comprehension) else []


def stored(function: ast.AST) -> Counter[str]:
    """Return how often a function assigns each name; its arguments count once more."""
    nodes = list(ast.walk(function))
    names = [n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    return Counter([*names, *(n.arg for n in nodes if isinstance(n, ast.arg))])


def is_deletable(node: ast.AST, names: Counter[str]) -> bool:
    """Tell whether a program without the statement fails nowhere but in what it computes."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Call)
    if isinstance(node, ast.Assign):
        return all(
            isinstance(target, ast.Attribute | ast.Subscript)
            or (isinstance(target, ast.Name) and names[target.id] > 1)
            for target in node.targets
        )
    return isinstance(node, ast.AugAssign | ast.Raise)


class Text:
    """A source, of whose characters the tree counts the bytes."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = text.splitlines(keepends=True)
        self.begins = [0]
        for line in self.lines:
            self.begins.append(self.begins[-1] + len(line))

    def place(self, line: int, column: int) -> int:
        return self.begins[line - 1] + len(self.lines[line - 1].encode()[:column].decode())

    def change(self, node: ast.AST, after: str, operator: str) -> Change:
        assert isinstance(node, ast.expr | ast.stmt)
        assert node.end_lineno is not None and node.end_col_offset is not None
        start = self.place(node.lineno, node.col_offset)
        end = self.place(node.end_lineno, node.end_col_offset)
        return Change(start, self.text[start:end], after, operator)


def changes_of(node: ast.AST, source: Text) -> Iterator[Change]:
    """Yield the changes of an expression, and of the conditions of its own."""
    if (other := replaced_operator(node)) is not None:
        yield source.change(node, f"({ast.unparse(other)})", "operator")
    for value in replaced_constants(node):
        yield source.change(node, f"({value!r})", "constant")
    if (call := swapped_call(node)) is not None:
        yield source.change(node, ast.unparse(call), "arguments")
    for test in conditions(node):
        change = source.change(test, "", "negation")
        yield change._replace(after=f"(not ({change.before}))")


def changes_in_python(text: str, left_out: re.Pattern[str]) -> list[Change]:
    """Return the changes of a module, but for functions whose names match `left_out`."""
    source, tree = Text(text), ast.parse(text)
    functions = [node for node in ast.walk(tree) if isinstance(node, FUNCTIONS)]
    outside = {n for f in functions if left_out.search(f.name) for n in ast.walk(f)}
    result = [c for n in parts(tree) if n not in outside for c in changes_of(n, source)]
    for function in functions:
        if function not in outside:
            names = stored(function)
            inner = [n for n in parts(function) if is_deletable(n, names)]
            result += [source.change(n, "pass", "deletion") for n in inner]
    return sorted(set(result))
