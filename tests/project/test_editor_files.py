"""What developers' tools read: the stages of .ci/run, the format check, files for editors."""

import json
import os
import shutil
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.commands import execute
from tests.support.paths import ROOT

CORE = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("src/clstm/core/*.c"))


def run(*command: object, cwd: Path = ROOT, status: int = 0, **environment: str) -> str:
    """Run a command without git's variables for hooks and without a build's CFLAGS."""
    without = {name for name in os.environ if name == "CFLAGS" or name.startswith("GIT_")}
    return execute(*command, cwd=cwd, status=status, without=without, **environment)


def needed(tool: str) -> str:
    path = shutil.which(tool) or shutil.which(tool, path=Path(sys.executable).parent)
    if path is None:
        pytest.skip(f"{tool} is not installed")
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a copy of what make and .ci/run need to begin."""
    for name in ("Makefile", "pyproject.toml", ".clang-format"):
        shutil.copy2(ROOT / name, tmp_path)
    for name in (".ci", "include", "src/clstm/core"):
        shutil.copytree(ROOT / name, tmp_path / name)
    return tmp_path


# ---- .ci/run ----


def test_stages_are_listed() -> None:
    lines = run(".ci/run", "--list").splitlines()
    assert {"tools", "test", "lint"} < {line.split()[0] for line in lines}
    assert all(len(line.split()) > 2 for line in lines)


@pytest.mark.parametrize("name", ["linted", "", "tools test", "--help"])
def test_an_unknown_stage_is_refused(name: str) -> None:
    assert run(".ci/run", "--list") in run(".ci/run", "lint", name, status=2)


def with_a_make(tree: Path, status: int) -> dict[str, str]:
    """Return an environment whose make only prints its arguments and ends with this status."""
    make = tree / "bin" / "make"
    make.parent.mkdir()
    make.write_text(f'#!/bin/sh\necho "make called: $*"\nexit {status}\n')
    make.chmod(0o755)
    return {"PATH": f"{make.parent}:{os.environ['PATH']}"}


def test_stages_run_alone_in_the_order_given(tree: Path) -> None:
    printed = run(".ci/run", "lint", "demo", cwd=tree, **with_a_make(tree, 0))
    called = [line for line in printed.splitlines() if line.startswith(("make", "===="))]
    assert called == [
        "==== make lint", "make called: lint",
        "==== make demo", "make called: demo",
    ]  # fmt: skip
    assert "all passed in" in printed


def test_a_failing_command_ends_the_run(tree: Path) -> None:
    """In the middle of a stage, too: bash would continue there if the stage ran in a condition."""
    printed = run(".ci/run", "blas", "demo", cwd=tree, status=3, **with_a_make(tree, 3))
    assert "make called: --silent" in printed
    assert "demo" not in printed and "passed" not in printed


# ---- The format check ----


def commit(tree: Path) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    run("git", "add", "-A", cwd=tree)
    run("git", *who, "commit", "-qm", "a change", cwd=tree)


def check(tree: Path, *arguments: str, status: int = 0) -> str:
    path = f"{Path(needed('clang-format')).parent}:{os.environ['PATH']}"
    script = tree / ".ci" / "format_check.py"
    return run(sys.executable, script, *arguments, cwd=tree, status=status, PATH=path)


def test_only_changed_lines_are_checked(tree: Path) -> None:
    needed("git")
    assert "not a git checkout" in check(tree)
    old = tree / "old.c"
    old.write_text("int  first;\n\nint second;\n\nint third;\n")
    run("git", "init", "-q", "-b", "main", cwd=tree)
    commit(tree)
    assert "no earlier commit" in check(tree)
    old.rename(tree / "moved.c")
    moved = tree / "moved.c"
    moved.write_text(moved.read_text().replace("third", "last"))
    commit(tree)
    assert "1 changed lines" in check(tree)
    moved.write_text(moved.read_text().replace("int last", "int* last"))
    assert "moved.c:5: the style differs\n-int* last;\n+int *last;\n" in check(tree, status=1)
    moved.write_text(f"/* {'a' * 120} */\n")
    assert "moved.c:1: 126 columns, at most 120" in check(tree, status=1)
    assert "git cannot compare" in check(tree, "nowhere", status=1)


def test_line_breaks_and_typed_names_are_accepted(tree: Path) -> None:
    needed("git")
    run("git", "init", "-q", "-b", "main", cwd=tree)
    commit(tree)
    (tree / "typed.c").write_text(
        "static void TYPED(f)(const TYPED(t) *p, size_t n) {\n"
        "    const size_t a = n * TYPED(SIZE);\n"
        "    TYPED(t) *q = p, r = {\n"
        "        .a = a, .b = q,\n"
        "        .c = n,\n"
        "    };\n"
        "}\n"
    )
    commit(tree)
    assert "7 changed lines" in check(tree)


def test_hooks_and_lint_take_the_same_versions() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    hooks = ROOT / ".pre-commit-config.yaml"
    if not hooks.exists():
        pytest.skip("the sdist has no hooks")
    lines = [line for line in hooks.read_text("utf-8").splitlines() if "additional_" in line]
    wanted = {json.loads(line.partition(":")[2])[0] for line in lines}
    assert len(wanted) == 3
    assert wanted < set(project["optional-dependencies"]["lint"])


# ---- Files for editors ----


@pytest.mark.parametrize("flags", ["", '-DNAME="a\\b"'])
def test_compile_commands(tree: Path, flags: str) -> None:
    run(needed("make"), "compile_commands.json", f"CFLAGS={flags}", cwd=tree)
    commands = json.loads((tree / "compile_commands.json").read_text("utf-8"))
    assert sorted(entry["file"] for entry in commands) == CORE
    for entry in commands:
        assert entry["directory"] == str(tree)
        assert entry["command"].endswith(f" -c {entry['file']}")
        assert f" {flags} " in entry["command"]


def test_the_compilers_call_is_one_that_compiles(tree: Path) -> None:
    run(needed("make"), "compile_commands.json", cwd=tree)
    [entry] = [
        entry
        for entry in json.loads((tree / "compile_commands.json").read_text("utf-8"))
        if entry["file"].endswith("/plan.c")
    ]
    needed(entry["command"].split()[0])
    run("sh", "-c", f"{entry['command']} -o plan.o", cwd=tree)
    assert (tree / "plan.o").is_file()


def test_tags_know_typed_functions(tree: Path) -> None:
    if "Universal" not in run(needed("ctags"), "--version"):
        pytest.skip("ctags is not Universal Ctags")
    for folder in ("tests", "bench", "examples"):
        (tree / folder).mkdir()
    run(needed("make"), "tags", cwd=tree)
    names = {line.split("\t")[0] for line in (tree / "tags").read_text("utf-8").splitlines()}
    assert {"clstm_forward", "clstm_model_create", "clstm_i_plan_make", "sum_one_row"} <= names
