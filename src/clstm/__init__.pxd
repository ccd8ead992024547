# `cimport clstm`: the C library that is inside the extension, from Cython and with nothing to link. Functions are those of
# clstm.h without the prefix clstm_, types and constants have their names there; compile with clstm.get_include().

from clstm._core cimport model_of

include "_api/names.pxi"  # generated (_boundary/generate.py)
