#!/usr/bin/env python3
"""Checks the changed lines of C and C++ against .clang-format and the limit of 120 columns.

    .ci/format_check.py          lines changed since the branch left main, or since HEAD~
    .ci/format_check.py COMMIT   lines changed since COMMIT

Unchanged lines of moved files are not checked. Line breaks are left to the author.
"""

import difflib
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = 120
SUFFIXES = ("*.c", "*.h", "*.cpp", "*.hpp")
Change = tuple[int, list[str], list[str]]  # the first line's index, the lines, the formatted lines


def git(*arguments: str) -> str | None:
    """Return what git prints, or None if it fails."""
    command = ["git", *arguments]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return result.stdout.strip() if result.returncode == 0 else None


def find_base() -> str | None:
    """Return the commit to compare with: where the branch left main, else HEAD~."""
    for main in ("origin/HEAD", "origin/main", "main"):
        base = git("merge-base", "HEAD", main)
        if base and base != git("rev-parse", "HEAD"):
            return base
    return git("rev-parse", "--verify", "--quiet", "HEAD~")


def changed_lines(diff: str) -> dict[str, set[int]]:
    """Return the indices of the added lines of each file in a diff without context."""
    lines: dict[str, set[int]] = {}
    name = ""
    for line in diff.splitlines():
        if line.startswith("+++ b/"):
            name = line.removeprefix("+++ b/").rstrip("\t")
        elif hunk := re.match(r"@@ -\S+ \+(\d+)(?:,(\d+))? @@", line):
            first, count = int(hunk[1]), int(hunk[2] or 1)
            lines.setdefault(name, set()).update(range(first - 1, first - 1 + count))
    return lines


def formatted(name: str, text: str) -> str:
    """Return the text in the project's style."""
    # clang-format would treat TYPED(name) as a call, so a word of the same length replaces it.
    masked = re.sub(r"\b(TYPED|PUBLIC)\((\w+)\)", r"\1_\2_", text)
    command = ["clang-format", f"--assume-filename={name}"]
    result = subprocess.run(
        command, cwd=ROOT, input=masked, capture_output=True, text=True, check=True
    )
    return re.sub(r"\b(TYPED|PUBLIC)_(\w+)_\b", r"\1(\2)", result.stdout)


def differences(name: str, text: str) -> list[Change]:
    """Return the runs of lines whose style differs, except for line breaks."""
    old, new = text.splitlines(), formatted(name, text).splitlines()
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    blocks = [code[1:] for code in matcher.get_opcodes() if code[0] == "replace"]
    return [(i, old[i:m], new[j:n]) for i, m, j, n in blocks if m - i == n - j]


def check(name: str, lines: set[int]) -> list[str]:
    """Return the findings in the changed lines of a file."""
    text = (ROOT / name).read_text("utf-8")
    found = []
    for first, old, new in differences(name, text):
        if lines & set(range(first, first + len(old))):
            body = [*(f"-{line}" for line in old), *(f"+{line}" for line in new)]
            found.append("\n".join([f"{name}:{first + 1}: the style differs", *body]))
    for index, line in enumerate(text.splitlines()):
        if index in lines and len(line) > COLUMNS:
            found.append(f"{name}:{index + 1}: {len(line)} columns, at most {COLUMNS}")
    return found


def main(arguments: list[str]) -> int:
    if git("rev-parse", "--show-toplevel") != str(ROOT):
        print("format check: not a git checkout; nothing is checked")
        return 0
    base = arguments[0] if arguments else find_base()
    if not base:
        print("format check: no earlier commit to compare with; nothing is checked")
        return 0
    options = ["-U0", "--no-color", "--no-ext-diff", "-M", "-C", "--diff-filter=d"]
    diff = git("diff", *options, base, "--", *SUFFIXES)
    if diff is None:
        sys.exit(f"format check: git cannot compare with {base}")
    changed = changed_lines(diff)
    found = [line for name, lines in changed.items() for line in check(name, lines)]
    print(*found, sep="\n", end="\n" if found else "")
    count = sum(map(len, changed.values()))
    print(f"format check: {count} changed lines since {base[:12]}, {len(found)} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
