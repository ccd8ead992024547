"""The C interface: the archive's symbols, and every declaration of clstm.h."""

import re
import subprocess
from pathlib import Path

import pytest

import clstm
from tests.embed import signatures
from tests.embed.native import needed

ARCHIVE = Path(clstm.get_library()) / "libclstm.a"
HEADER = signatures.HEADER.read_text("utf-8")


@pytest.fixture(scope="module")
def symbols() -> dict[str, list[tuple[str, str, str]]]:
    """Return by object what it shares with others: visibility, section and name of each symbol."""
    needed("readelf", "binutils")
    command = ["readelf", "--symbols", "--wide", ARCHIVE]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    table: dict[str, list[tuple[str, str, str]]] = {}
    for line in printed.splitlines():
        if found := re.match(r"File: .*\((.*)\.o\)", line):
            rows = table.setdefault(found[1], [])
        columns = line.split()
        shared = len(columns) == 8 and columns[4] in ("GLOBAL", "WEAK")
        if shared and not columns[7].startswith("__odr_asan."):  # added by sanitizers
            rows.append((columns[5], columns[6], columns[7]))
    assert "threads_openmp" in table
    return table


def test_symbols_that_the_archive_defines(symbols) -> None:
    """The functions that the header declares; and hidden ones, which no library exports."""
    rows = [row for rows in symbols.values() for row in rows]
    defined = {name: visibility for visibility, section, name in rows if section != "UND"}
    own = {name for name in defined if name.startswith("clstm_i_")}
    assert defined.keys() - own == signatures.functions(HEADER)
    assert {defined[name] for name in own} == {"HIDDEN"}


def test_symbols_that_the_archive_needs(symbols) -> None:
    """No Python, no BLAS, and OpenMP in one object alone."""
    openmp = re.compile(r"GOMP|omp_|__kmpc")
    users = set()
    for file, rows in symbols.items():
        wanted = {name for _, section, name in rows if section == "UND"}
        foreign = {name for name in wanted if not name.startswith("clstm_")}
        assert not {name for name in foreign if re.search(r"^_?Py|cblas|[sdgx]gemm", name)}, file
        users |= {file for name in wanted if openmp.match(name)}
    assert users == ({"threads_openmp"} if clstm.config()["openmp"] else set())


def test_the_signatures_are_frozen() -> None:
    declared = signatures.declarations(HEADER)
    frozen = signatures.FROZEN.read_text("utf-8").splitlines()
    assert len(set(declared)) == len(declared)
    assert len(signatures.functions(HEADER)) > 30
    changed = sorted({*declared} ^ {*frozen})
    assert not changed, (
        "clstm.h does not declare what C programs rely on. If that is meant, say so in the "
        f"changelog and run `python -m tests.embed.signatures`. New or gone: {changed}"
    )
