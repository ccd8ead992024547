"""Writes the Cython code that only repeats clstm_c.pxd, the transcription of clstm.h.

    python src/clstm/_boundary/generate.py

does what setup.py does before it translates the modules. The files go to src/clstm/_api:

    declarations.pxi  for _core.pxd: the functions that other modules import, clstm_isa as c_isa
    definitions.pxi   for _core.pyx: their bodies, one call each
    names.pxi         for __init__.pxd: what `cimport clstm` offers, c_isa as isa
    typed.pxd         for _core.pyx: each float32 function and its float64 twin as one function

The package ships the first and the third.
"""

import re
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
TRANSCRIPTION = PACKAGE / "clstm_c.pxd"
FOLDER = PACKAGE / "_api"

HEAD = "# Written by _boundary/generate.py from clstm_c.pxd.\n"


@dataclass(frozen=True)
class Function:
    """A C function; types end in a space or an asterisk."""

    result: str
    name: str
    parameters: tuple[tuple[str, str], ...]  # (type, name)

    @property
    def short(self) -> str:
        return self.name.removeprefix("clstm_")

    @property
    def prototype(self) -> str:
        parameters = ", ".join(kind + name for kind, name in self.parameters)
        return f"cdef {self.result}c_{self.short}({parameters}) noexcept nogil"

    def definition(self) -> str:
        keyword = "" if self.result == "void " else "return "
        arguments = ", ".join(name for _, name in self.parameters)
        return f"{self.prototype}:\n    {keyword}{self.name}({arguments})\n"


def functions(transcription: str) -> list[Function]:
    """Return the functions in the file's order."""
    found = re.findall(r"^ {4}(\w[\w *]*[ *])(clstm_\w+)\(([^)]*)\)$", transcription, re.MULTILINE)
    return [Function(result, name, _parameters(text)) for result, name, text in found]


def _parameters(text: str) -> tuple[tuple[str, str], ...]:
    pairs = (re.fullmatch(r"(.*[ *])(\w+)", part.strip()) for part in text.split(",") if part)
    return tuple((pair[1], pair[2]) for pair in pairs if pair)


def names(transcription: str) -> list[str]:
    """Return the names of types and constants."""
    types = re.findall(r"^ {4}ctypedef \w+ (\w+):", transcription, re.MULTILINE)
    return types + re.findall(r"^ +(?:\w+ )?(CLSTM_\w+)\b", transcription, re.MULTILINE)


def typed(f32: Function, f64: Function) -> str:
    """Return one function for both types: what differs between them is void, and cast."""

    def either(kind: str, twin: str) -> str:
        return kind if kind == twin else re.sub(r"\w+ \*$", "void *", kind)

    def call(own: Function, other: Function) -> str:
        pairs = zip(own.parameters, other.parameters, strict=True)
        cast = (name if kind == twin else f"<{kind}>{name}" for (kind, name), (twin, _) in pairs)
        return f"return {own.name}({', '.join(cast)})"

    pairs = zip(f32.parameters, f64.parameters, strict=True)
    parameters = [either(kind, twin) + name for (kind, name), (twin, _) in pairs]
    head = f"{either(f32.result, f64.result)}{f32.short}({', '.join([*parameters, 'bint is_f64'])})"
    body = f"    if is_f64:\n        {call(f64, f32)}\n    {call(f32, f64)}\n"
    return f"cdef inline {head} noexcept nogil:\n{body}"


def generate(transcription: str) -> dict[str, str]:
    """Return the files' contents by name."""
    found = {function.name: function for function in functions(transcription)}
    twins = [(f, found[f"{name}_f64"]) for name, f in found.items() if f"{name}_f64" in found]
    shown = ",\n    ".join(names(transcription))
    renamed = ",\n    ".join(f"c_{f.short} as {f.short}" for f in found.values())
    both = "\n\n".join(typed(*pair) for pair in twins)
    return {
        "declarations.pxi": HEAD + "\n".join(f.prototype for f in found.values()) + "\n",
        "definitions.pxi": HEAD + "\n\n" + "\n\n".join(f.definition() for f in found.values()),
        "names.pxi": f"{HEAD}from clstm.clstm_c cimport (\n    {shown})\n"
        f"from clstm._core cimport (\n    {renamed})\n",
        "typed.pxd": f"{HEAD}from ..clstm_c cimport *\n\n\n{both}",
    }


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for file, text in generate(TRANSCRIPTION.read_text("utf-8")).items():
        path = FOLDER / file
        # A new time would mean a new build.
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
