# `cimport clstm` gives Cython the C library inside the extension, with nothing to link. Functions lose the prefix
# clstm_ of clstm.h; types and constants keep their names. Compile with clstm.get_include().

from clstm._core cimport model_of

include "_api/names.pxi"  # generated (_boundary/generate.py)
