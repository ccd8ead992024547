# The functions that other Cython modules import at run time, without linking: those of clstm.h, with the prefix c_
# instead of clstm_, and the handle of a live model. __init__.pxd renames them for users.

from .clstm_c cimport *


cdef const clstm_model *model_of(lstm) except NULL

include "_api/declarations.pxi"  # generated (_boundary/generate.py)
