"""The programs in the documents run, and print what their comments say."""

import doctest
import importlib
import pkgutil
import re
import shlex
import subprocess
import sys

import pytest

import clstm
from tests.support.paths import ROOT

DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
MODULES = [f"clstm.{m.name}" for m in pkgutil.iter_modules(clstm.__path__) if m.name != "__main__"]


@pytest.mark.parametrize("name", ["clstm", *MODULES])
def test_docstring_examples(name):
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0


def test_the_public_classes_and_functions_are_documented():
    for name in clstm.__all__:
        if not name.startswith("__"):
            assert getattr(clstm, name).__doc__, name


def programs(language):
    """Every block of a language in the documents, with the document and its number as a name."""
    found = []
    for path in DOCUMENTS:
        blocks = re.findall(rf"```{language}\n(.*?)```", path.read_text("utf-8"), re.DOTALL)
        names = (f"{path.relative_to(ROOT).as_posix()}-{k}" for k in range(1, len(blocks) + 1))
        found += [pytest.param(block, id=name) for name, block in zip(names, blocks, strict=True)]
    assert found
    return found


@pytest.mark.parametrize("program", programs("python"))
def test_python_programs_run(tmp_path, program):
    """Each block is a program of its own; what it prints stands in its comments after `# ->`."""
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    expected = re.findall(r"# -> (.*)", program)
    assert expected == result.stdout.splitlines()


@pytest.mark.parametrize("program", programs("c"))
def test_c_programs_run(tmp_path, program):
    """Each block is a whole program, which ends with status 0."""
    (tmp_path / "program.c").write_text(program)
    build_and_run(tmp_path, "program.c")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path):
    """Relative links and pictures exist in the checkout, and headings that links name."""
    text = path.read_text("utf-8")
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'<img src="([^"]+)"', text)
    for link in links:
        if "://" in link:
            continue
        name, _, heading = link.partition("#")
        target = path.parent / name if name else path
        assert target.exists(), link
        assert not heading or heading in headings(target), link


def headings(path):
    """The anchors of a document's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", path.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 170


PROGRAMS = {
    "2. A complete program": "success: 0.",
    "3. A live signal": "success: 0\n",
    "4. Training": "success: learned\n",
    "5. What a host can bring": "success: by the host's allocator\n",
}


def section(title):
    header = (ROOT / "include" / "clstm.h").read_text()
    return re.split(r"\n   \d+\. [A-Z].*\n", header.split(f"   {title}\n")[1])[0]


@pytest.mark.parametrize("title", PROGRAMS)
@pytest.mark.parametrize("flags", ["-x c -std=c99", "-x c++ -std=c++17"], ids=["C99", "C++17"])
def test_the_programs_in_the_header_run(tmp_path, title, flags):
    """Each is whole, from its first #include on, and is C and C++."""
    text = section(title)
    (tmp_path / "program.c").write_text(text[text.index("#include") :])
    assert build_and_run(tmp_path, "program.c", *flags.split()).startswith(PROGRAMS[title])


def build_and_run(folder, source, *flags):
    """Compile a program as the package says, and run it."""
    command = [sys.executable, "-m", "clstm", "config", "--cflags", "--libs"]
    found = shlex.split(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    command = ["cc", *flags, source, "-x", "none", *found, "-o", "program"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    result = subprocess.run(["./program"], cwd=folder, check=True, capture_output=True, text=True)
    return result.stdout
