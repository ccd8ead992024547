# A status of the core as a Python exception. Inline, for _core.pyx.

from cpython.exc cimport PyErr_Occurred

from .clstm_c cimport *


cdef inline list isa_names():
    """What CLSTM_ISA may be here, best first."""
    cdef const char *const *names = clstm_isa_list()
    cdef size_t k = 0
    result = []
    while names[k] != NULL:
        result.append(names[k].decode())
        k += 1
    return result


cdef inline int raise_status(clstm_status status, str what) except -1:
    if status == CLSTM_OK:
        return 0
    if PyErr_Occurred():  # KeyboardInterrupt, or what else a signal handler raised while the core was polling
        return -1
    message = f"{what}: {clstm_strerror(status).decode()}"
    if status == CLSTM_OUT_OF_MEMORY:
        raise MemoryError(message)
    if status == CLSTM_TAPE_CONSUMED or status == CLSTM_MODEL_CHANGED:
        raise RuntimeError(message)
    if status == CLSTM_UNKNOWN_ISA:
        raise ValueError(f"{message}; it may be one of: {', '.join(isa_names())}")
    raise ValueError(message)
