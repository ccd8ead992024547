# Locks that know forks, from the core (core/locks.h), and their refusals as exceptions. Inline.

cdef extern from "core/locks.h" nogil:
    ctypedef struct clstm_i_mutex:
        pass

    void clstm_i_lock(clstm_i_mutex *mutex) noexcept
    int clstm_i_try_lock(clstm_i_mutex *mutex) noexcept
    void clstm_i_unlock(clstm_i_mutex *mutex) noexcept

    ctypedef struct clstm_i_access:
        pass

    ctypedef enum clstm_i_refusal:
        CLSTM_I_GRANTED
        CLSTM_I_IS_HELD
        CLSTM_I_IS_TORN
        CLSTM_I_IS_AWAITED
        CLSTM_I_IS_SHARED

    ctypedef enum clstm_i_purpose:
        CLSTM_I_READ
        CLSTM_I_WRITE
        CLSTM_I_MEND

    clstm_i_refusal clstm_i_begin_call(clstm_i_access *access, unsigned *mark) noexcept
    clstm_i_refusal clstm_i_begin_inner_call(clstm_i_access *access, unsigned *mark) noexcept
    void clstm_i_end_call(clstm_i_access *access, unsigned mark) noexcept
    clstm_i_refusal clstm_i_hold(clstm_i_access *access, clstm_i_purpose purpose, unsigned *mark) noexcept
    clstm_i_refusal clstm_i_begin_write(clstm_i_access *access, unsigned *mark) noexcept
    void clstm_i_end_hold(clstm_i_access *access, unsigned mark, int whole) noexcept
    unsigned clstm_i_begin_wait(clstm_i_access *access) noexcept
    void clstm_i_end_wait(clstm_i_access *access, unsigned mark) noexcept
    int clstm_i_is_written(clstm_i_access *access) noexcept
    int clstm_i_is_awaited(clstm_i_access *access) noexcept
    int clstm_i_is_torn(clstm_i_access *access) noexcept


cdef inline int raise_torn_weights() except -1:
    raise RuntimeError(
        "the model's weights are torn: another thread was writing them when this process was forked; "
        "load_state_dict() replaces all of them")


cdef inline int raise_no_call(clstm_i_refusal refusal) except -1:
    """Raise for a call that a model refuses."""
    if refusal == CLSTM_I_IS_TORN:
        raise_torn_weights()
    if refusal == CLSTM_I_IS_AWAITED:
        raise RuntimeError("the model is about to be edited: no call may begin until edit() has ended")
    raise RuntimeError("the model is being edited: no call may use it until edit() has ended")


cdef inline int raise_no_edit(clstm_i_refusal refusal) except -1:
    """Raise for an edit that a model refuses."""
    if refusal == CLSTM_I_IS_TORN:
        raise_torn_weights()
    if refusal == CLSTM_I_IS_HELD:
        raise RuntimeError("the model is already being edited")
    raise RuntimeError("the model cannot be edited while a call uses it")


cdef inline int raise_no_stream(clstm_i_refusal refusal) except -1:
    """Raise for a caller that a stream refuses."""
    if refusal == CLSTM_I_IS_TORN:
        raise RuntimeError(
            "the stream is torn: another thread was writing its state when this process was forked; reset() or "
            "an assignment to state replaces it")
    raise RuntimeError("the stream is in use by another caller")


cdef inline int raise_used_tape(clstm_i_refusal refusal) except -1:
    """Raise for a user that a tape refuses: a backward pass holds it for ever, in a child too."""
    if refusal == CLSTM_I_IS_SHARED:
        raise RuntimeError("another thread is reading the tape: backward() would overwrite it")
    raise RuntimeError("the tape was already used by backward(): record again")
