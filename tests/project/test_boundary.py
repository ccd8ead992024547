"""clstm_c.pxd against the header that it transcribes, and the files generated from it."""

import re
import runpy

from tests.embed import signatures
from tests.support.paths import ROOT

BOUNDARY = ROOT / "src" / "clstm" / "_boundary"
GENERATOR = runpy.run_path(str(BOUNDARY / "generate.py"))
TRANSCRIPTION = (ROOT / "src" / "clstm" / "clstm_c.pxd").read_text("utf-8")
DECLARATIONS = signatures.declarations(signatures.HEADER.read_text("utf-8"))


def types_of(parameters):
    """The types of a C prototype's parameters, without names."""
    return [re.sub(r"\w+$", "", p.strip()) for p in parameters.split(",") if p != "void"]


def test_functions_are_those_of_the_header():
    rule = re.compile(r"(\w[\w *]*[ *])(clstm_\w+)\((.*)\);")
    found = [rule.fullmatch(line) for line in DECLARATIONS]
    declared = {match[2]: (match[1], types_of(match[3])) for match in found if match}
    assert declared.keys() == signatures.functions(signatures.HEADER.read_text("utf-8"))
    transcribed = {
        function.name: (function.result, [kind for kind, _ in function.parameters])
        for function in GENERATOR["functions"](TRANSCRIPTION)
    }
    assert transcribed == declared


def test_types_and_constants_are_those_of_the_header():
    code = " ".join(line for line in DECLARATIONS if line.startswith("typedef"))
    types = set(re.findall(r"typedef \w+ (\w+)", code))
    enumerators = set(re.findall(r"\bCLSTM_\w+", code))
    macros = {
        line.split()[1]
        for line in DECLARATIONS
        if line.startswith("#define") and "_INIT" in line.split()[1]
    }
    transcribed = GENERATOR["names"](TRANSCRIPTION)
    assert len(transcribed) == len(set(transcribed))
    inside = {"CLSTM_CELL_INIT", "CLSTM_TEAM_INIT"}  # other macros set these structs up
    assert set(transcribed) == types | enumerators | (macros - inside)


def test_what_is_generated():
    transcription = """\
cdef extern from "clstm.h" nogil:
    ctypedef enum clstm_status:
        CLSTM_OK

    ctypedef struct clstm_model:
        void (*sgemm)(const float *a) noexcept nogil

    clstm_model CLSTM_MODEL_INIT "((clstm_model)CLSTM_MODEL_INIT)"

    const char *const *clstm_isa_list()
    void clstm_free(clstm_model *model)
    clstm_status clstm_tanh(
        size_t n, const float *x)
    clstm_status clstm_tanh_f64(size_t n, const double *x)
"""
    generated = GENERATOR["generate"](transcription)
    files = {name: text.splitlines()[1:] for name, text in generated.items()}
    tanh = "cdef clstm_status c_tanh(size_t n, const float *x) noexcept nogil"
    assert files["declarations.pxi"] == [
        "cdef const char *const *c_isa_list() noexcept nogil",
        "cdef void c_free(clstm_model *model) noexcept nogil",
        tanh,
        "cdef clstm_status c_tanh_f64(size_t n, const double *x) noexcept nogil",
    ]
    definitions = "\n".join(files["definitions.pxi"])
    assert f"{tanh}:\n    return clstm_tanh(n, x)\n" in definitions
    assert "c_free(clstm_model *model) noexcept nogil:\n    clstm_free(model)\n" in definitions
    names = "".join(files["names.pxi"])
    assert "clstm_status,    clstm_model,    CLSTM_OK,    CLSTM_MODEL_INIT)" in names
    assert "c_isa_list as isa_list,    c_free as free,    c_tanh as tanh," in names
    assert files["typed.pxd"][3:] == [
        "cdef inline clstm_status tanh(size_t n, const void *x, bint is_f64) noexcept nogil:",
        "    if is_f64:",
        "        return clstm_tanh_f64(n, <const double *>x)",
        "    return clstm_tanh(n, <const float *>x)",
    ]
