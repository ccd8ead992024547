# What other Cython modules import of this one, at run time and without linking anything: the functions of clstm.h, c_
# before their names instead of clstm_, and the handle of a live model. __init__.pxd gives them to users.

from .clstm_c cimport *


cdef const clstm_model *model_of(lstm) except NULL

include "_api/declarations.pxi"  # generated (_boundary/generate.py)
