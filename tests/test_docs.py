"""What the documents say is run."""

import doctest
import importlib
import os
import pkgutil
import re
import subprocess
import sys

import pytest
from conftest import ROOT

import clstm

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


def test_the_program_in_the_header_runs(tmp_path):
    header = (ROOT / "include" / "clstm.h").read_text()
    program = header.split("2. A complete program\n")[1].split("3. Types")[0]
    (tmp_path / "program.c").write_text(program)
    assert build_and_run(tmp_path, "program.c").startswith("success: 0.")


def build_and_run(folder, source):
    """Compile a program with nothing but the header and the archive, as a user would."""
    archive = f"{clstm.get_library()}/libclstm.a"
    flags = ["-fopenmp"] if clstm.config()["openmp"] else []
    if sanitizers := os.environ.get("CLSTM_SANITIZE"):  # the archive was built with them
        flags.append(f"-fsanitize={sanitizers}")
    include = f"-I{clstm.get_include()}"
    command = ["cc", include, source, archive, *flags, "-lpthread", "-lm", "-o", "program"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    result = subprocess.run(["./program"], cwd=folder, check=True, capture_output=True, text=True)
    return result.stdout
