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

README = ROOT / "README.md"
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
    blocks = re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)
    assert blocks
    return blocks


def test_readme_python_programs_run(tmp_path):
    """Each block is a program of its own; what it prints stands in its comments after `# ->`."""
    for program in programs("python"):
        command = [sys.executable, "-c", program]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
        expected = re.findall(r"# -> (.*)", program)
        assert expected == result.stdout.splitlines()


def test_readme_c_programs_run(tmp_path):
    (tmp_path / "program.c").write_text(programs("c")[0])
    build_and_run(tmp_path, "program.c")


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
