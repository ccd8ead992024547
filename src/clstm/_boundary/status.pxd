# Raises a status of the core as a Python exception. Inline.

from cpython.exc cimport PyErr_Occurred

from ..clstm_c cimport *


cdef inline list strings(const char *const *names):
    """Return the strings of a NULL-terminated list."""
    cdef size_t k = 0
    result = []
    while names[k] != NULL:
        result.append(names[k].decode())
        k += 1
    return result


cdef inline list isa_names():
    """Return the values that CLSTM_ISA may have on this CPU, best first."""
    return strings(clstm_isa_list())


cdef inline list engine_names():
    """Return the names of the engines."""
    return strings(clstm_engine_list())


cdef inline int raise_status(clstm_status status, str what) except -1:
    if status == CLSTM_OK:
        return 0
    if PyErr_Occurred():  # by a signal handler when the core polled, for example KeyboardInterrupt
        return -1
    if status == CLSTM_CANCELLED:
        raise RuntimeError(f"{what}: a signal handler forked this process during the call, whose results are lost")
    message = f"{what}: {clstm_strerror(status).decode()}"
    if status == CLSTM_OUT_OF_MEMORY:
        raise MemoryError(message)
    if status == CLSTM_TAPE_CONSUMED or status == CLSTM_MODEL_CHANGED:
        raise RuntimeError(message)
    if status == CLSTM_UNKNOWN_ISA:
        raise ValueError(f"{message}, expected one of: {', '.join(isa_names())}")
    if status == CLSTM_UNKNOWN_ENGINE:
        raise ValueError(f"{message}, expected one of: {', '.join(engine_names())}")
    raise ValueError(message)
