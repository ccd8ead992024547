"""Every declaration of clstm.h on a line of its own, to freeze what C programs rely on.

    python -m tests.embed.signatures

writes them to signatures.txt beside this file, after an intended change.
"""

import re
from pathlib import Path

from tests.support.paths import HEADER

FROZEN = Path(__file__).with_name("signatures.txt")

# They change with each release; test_build.py compares them.
VERSIONS = "#define CLSTM_VERSION_"


def declarations(text: str) -> list[str]:
    """Return functions, types and macros in the header's order, without comments and layout."""
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL).replace("\\\n", " ")
    text = re.sub(r"#ifdef __cplusplus.*?#endif", "", text, flags=re.DOTALL)
    macros = [" ".join(line.split()) for line in re.findall(r"^#define \w+.*\S \S.*", text, re.M)]
    code = re.sub(r"^#.*", "", text, flags=re.MULTILINE)
    # Up to the semicolon outside all braces: those of a struct's fields stand inside.
    statements = re.findall(r"[^;{}]+(?:\{[^{}]*\}[^;{}]*)?;", code)
    assert "".join(statements).split() == code.split(), "a declaration that this rule cannot read"
    found = [" ".join(statement.split()) for statement in statements]
    return found + [macro for macro in macros if not macro.startswith(VERSIONS)]


def functions(text: str) -> set[str]:
    """Return the names of the functions that the header declares."""
    rule = re.compile(r"(?!typedef)[^{(]*\b(clstm_\w+)\(")
    return {found[1] for line in declarations(text) if (found := rule.match(line))}


if __name__ == "__main__":
    FROZEN.write_text("\n".join(declarations(HEADER.read_text("utf-8"))) + "\n", "utf-8")
