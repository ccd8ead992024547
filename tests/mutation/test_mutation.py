"""The mutations of each language, what is left out, and runs that continue earlier ones."""

import ast
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tests.mutation import records
from tests.mutation.__main__ import again, drawn, run
from tests.mutation.changes import Change
from tests.mutation.places import AREAS, TESTS, changes_in, chosen_tests, files
from tests.mutation.records import Record
from tests.mutation.tree import TIERS
from tests.support.paths import ROOT

C = """\
enum { SIZE = 3 };

/* A comment: a + b, if (a < b). */
static size_t sum(const real *x, size_t a, size_t b) {
    const size_t n = a + 2; // a * b
    clstm_i_assert(n > 2);
    __builtin_prefetch(x + 1);
    if (a < b && x) swap(a, b);
    x->rows[a] -= n;
    const char *s = "a + b";
    return n;
}

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

static size_t tile_rows(size_t left) {
    return left + 1;
}
"""
OF_C = {
    ("a < b && x", "a <= b && x"),
    ("a < b && x", "a < b || x"),
    ("(a < b && x)", "(!(a < b && x))"),
    ("a + 2", "a - 2"),
    ("a + 2", "a + 3"),
    ("a + 2", "a + 1"),
    ("swap(a, b);", ";"),
    ("swap(a, b)", "swap(b, a)"),
    ("x->rows[a] -= n;", "x->rows[a] += n;"),
    ("x->rows[a] -= n;", ";"),
    ("return a < b ? a", "return a <= b ? a"),
}

CYTHON = '''\
cdef class Holder:
    """A docstring: a + b."""
    cdef int rows

    cdef int move(self, size_t n, size_t rows=1) except -1:
        cdef double *x = <double *>self.data
        if n > self.rows and n:  # a + b
            raise ValueError("n + 1")
        self.rows += n
        self.leave()
        return call(n, rows)
'''
OF_CYTHON = {
    ("n > self.rows and n", "n >= self.rows and n"),
    ("n > self.rows and n", "n > self.rows or n"),
    ("n > self.rows and n", "not (n > self.rows and n)"),
    ("self.rows += n", "self.rows -= n"),
    ("self.rows += n", "pass"),
    ("self.leave()", "pass"),
    ("call(n, rows)", "call(rows, n)"),
}

PYTHON = '''\
"""A docstring: a + b."""
def total(a: "int | None", b, é=1):
    "Return a + b."
    if not a:
        raise ValueError(f"{a + 1}")
    count = "é", a < b  # a > b
    a += [x for x in b if x][0]
    self.call(a, b)
    return True and count

Kind = tuple[int] | None

def __repr__(a):
    return a + 1
'''
OF_PYTHON = {
    ("é=1", "é=(2)"),
    ("é=1", "é=(0)"),
    ("not a", "(a)"),
    ("not a", "(not (not a))"),
    ('raise ValueError(f"{a + 1}")', "pass"),
    ("a < b", "(a <= b)"),
    ("for x in b if x]", "for x in b if (not (x))]"),
    ("[0]", "[(1)]"),
    ("a += [x for x in b if x][0]", "pass"),
    ("self.call(a, b)", "pass"),
    ("self.call(a, b)", "self.call(b, a)"),
    ("True and count", "(True or count)"),
    ("True and count", "(False) and count"),
}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("src/clstm/core/a.c", C, OF_C),
        ("src/clstm/a.pxi", CYTHON, OF_CYTHON),
        ("src/clstm/a.py", PYTHON, OF_PYTHON),
    ],
)
def test_a_small_source_has_just_these_mutants(
    name: str, text: str, expected: set[tuple[str, str]]
) -> None:
    """Neither comments, strings and declarations change, nor what is left out."""
    found = {change.applied(text) for change in changes_in(name, text)}
    assert found == {text.replace(before, after) for before, after in expected}
    assert all(text.count(before) == 1 for before, _ in expected)


def test_changes_keep_to_lines_and_python_stays_python() -> None:
    path = "src/clstm/layout.py"
    text = (ROOT / path).read_text("utf-8")
    changes = changes_in(path, text)
    assert len(changes) > 50
    for change in changes:
        ast.parse(change.applied(text))
        assert change.before in "\n".join(text.splitlines()[change.line(text) - 1 :])


def test_every_area_has_sources_and_every_source_has_tests() -> None:
    for area, least in (("core", 50), ("python", 50)):
        found = files(ROOT, area)
        assert len(found) >= least
        for path in found:
            tests = chosen_tests(path)
            names = {test.partition("::")[0] for test in tests.first + tests.rest}
            assert all((ROOT / name).is_file() for name in names), path
            assert tests.first and not set(tests.first) & set(tests.rest), path
    assert "src/clstm/core/tuning.h" not in files(ROOT, "core")
    assert set(records.GOALS) == set(AREAS)


def test_the_tiers_are_markers_of_the_suite(pytestconfig: pytest.Config) -> None:
    """pytest runs no test if one is not, and so would find no mutant."""
    markers = {line.partition(":")[0] for line in pytestconfig.getini("markers")}
    assert set(re.findall(r"not (\w+)", TIERS)) <= markers


def test_every_test_of_a_reader_judges_mutants() -> None:
    named = {name for _, tests in TESTS for name in (*tests.first, *tests.rest)}
    for path in (ROOT / "tests/interop").rglob("test_*.py"):
        assert path.relative_to(ROOT).as_posix() in named


def test_what_changes_speed_alone_is_left_out() -> None:
    path = "src/clstm/core/kernels/packed_product.h"
    text = (ROOT / path).read_text("utf-8")
    lines = text.splitlines()
    changed = {lines[change.line(text) - 1] for change in changes_in(path, text)}
    assert changed
    assert not [line for line in changed if re.search("assert|prefetch|next_window", line)]


class Pretender:
    """A tree in which nothing is compiled: the outcome depends on the text alone."""

    commit = "abc"
    tested = 0.0

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "a.py").parent.mkdir(exist_ok=True)

    def build(self, path: str) -> None:
        compile((self.folder / path).read_text(), path, "exec")

    def first_failure(self, tests: tuple[str, ...], *more: object) -> str | None:
        return "tests/a.py::test" if "(2)" in (self.folder / "a.py").read_text() else None

    def passes_unchanged(self, test: str, *more: object) -> bool:
        return True

    def is_same_when_optimised(self, path: str) -> bool:
        return False

    def restore(self, path: str) -> None:
        (self.folder / path).write_text(PYTHON)


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "a.py").write_text(PYTHON)
    found = [("a.py", change) for change in changes_in("a.py", PYTHON)]
    monkeypatch.setattr("tests.mutation.__main__.ROOT", tmp_path)
    monkeypatch.setattr("tests.mutation.__main__.changes_of_area", lambda root, area: found)
    return tmp_path


def test_a_run_continues_the_one_before(sources: Path) -> None:
    """Whether in one run or several, also after one that was killed while it wrote."""
    tree = Pretender(sources / "tree")
    once, often = sources / "once.jsonl", sources / "often.jsonl"
    whole = run(tree, "python", 9, 5, once)  # type: ignore[arg-type]
    assert {record.result for record in whole} == {"killed", "survived"}
    for number in (2, 0, 4):
        run(tree, "python", number, 5, often)  # type: ignore[arg-type]
    with often.open("a") as file:
        file.write('{"area": "pyth')
    run(tree, "python", 3, 5, often)  # type: ignore[arg-type]
    assert [replace(record, seconds=0, cpu=0) for record in records.read(often)] == [
        replace(record, seconds=0, cpu=0) for record in whole
    ]
    assert len({(record.line, record.after) for record in whole}) == 9
    assert (sources / "tree" / "a.py").read_text() == PYTHON


def test_survivors_are_tried_again(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a test was written; not those of sources that have changed since."""
    tree, results = Pretender(sources / "tree"), sources / "results.jsonl"
    before = run(tree, "python", 9, 5, results)  # type: ignore[arg-type]
    monkeypatch.setattr(Pretender, "first_failure", lambda *more: "tests/a.py::new")
    (sources / "a.py").write_text("\n\n" + PYTHON)
    again(tree, 1, results)  # type: ignore[arg-type]
    assert records.read(results) == before
    (sources / "a.py").write_text(PYTHON)
    again(tree, 1, results)  # type: ignore[arg-type]
    after = records.read(results)
    assert {record.result for record in after} == {"killed"}
    old = [record for record in before if record.result == "killed"]
    assert [record for record in after if record.by != "tests/a.py::new"] == old


def test_a_mutant_depends_on_its_seed_and_number_alone() -> None:
    found = [("a.py", Change(k, "a", "b", "constant")) for k in range(1000)]
    numbers = [drawn(found, "core", 1, number) for number in range(5)]
    assert drawn(found, "core", 1, 3) == numbers[3]
    assert len({*numbers, drawn(found, "core", 2, 3), drawn(found, "python", 1, 3)}) == 7


def test_the_report_counts_what_runs_and_lists_survivors() -> None:
    one = Record("core", 1, 0, "src/clstm/core/model.c", 7, "relation", "<", "<=", "killed")
    refused = replace(one, result="refused")
    left = replace(one, path="src/clstm/core/passes/tape.h", line=9, result="survived")
    text = records.report([one, one, refused, one, left])
    assert "| **core** | 4 | 3 | 75 % | 92 % |" in text
    assert "| clstm/core | 3 | 3 | 100 % |" in text
    assert "| clstm/core/passes | 1 | 0 | 0 % |" in text
    assert "src/clstm/core/passes/tape.h:9: relation: '<' -> '<='" in text
    assert "model.c" not in text


def test_the_first_pattern_that_matches_chooses_the_tests() -> None:
    assert chosen_tests("src/clstm/core/schedule.c").first[0] == "tests/embed/test_schedule.py"
    assert chosen_tests("src/clstm/core/plan.c") == chosen_tests("src/clstm/core/range.h")
