# Exclusive access to a model, included by _core.pyx, whose names it uses.


@cython.final
@cython.no_gc_clear  # __dealloc__ needs the model
cdef class Edit:
    """Exclusive access to a model in a `with` block, which changes a copy of the parameters.

    Neither `__enter__` nor `__exit__` runs Python code between taking or giving back the access and its end, so that
    no signal handler can raise there. If one raises between `__enter__` and the block, `__dealloc__` ends the access.

    Parameters
    ----------
    model : Store
    working : parameters.Parameters
        Writable parameters of the model's shapes, in memory of their own. They are the block's, with the model's
        values; those that it ends with are the model's new ones.
    timeout : float
        Seconds to wait for other users of the model.
    """

    cdef Store model
    cdef object working
    cdef list arrays  # all views of the parameters, the flat one first
    cdef double timeout
    cdef unsigned mark
    cdef bint inside, over

    def __cinit__(self, Store model not None, working, double timeout):
        self.model = model
        self.working = working
        self.arrays = [working.flat, *working.values()]
        self.timeout = timeout

    def __dealloc__(self):
        if self.inside:
            clstm_i_end_hold(self.model.access, self.mark, False)

    def __enter__(self):
        cdef cnp.ndarray flat = self.arrays[0]
        if self.over:
            raise RuntimeError("an edit ends with its block: call edit() once more")
        if not holds(flat, self.model.elements, self.model.typenum):
            raise_changed()
        self.model.hold(CLSTM_I_READ, self.timeout, &self.mark)
        self.inside = self.over = True
        memcpy(data(flat), self.model.parameters, cnp.PyArray_NBYTES(flat))
        return self.working

    def __exit__(self, kind, value, traceback):
        cdef clstm_i_refusal refusal
        cdef cnp.ndarray view
        if not self.inside:
            return
        try:
            for view in self.arrays:
                cnp.PyArray_CLEARFLAGS(view, cnp.NPY_ARRAY_WRITEABLE)  # later writes would have no effect
            if kind is None:
                refusal = clstm_i_begin_write(self.model.access, &self.mark)
                if refusal != CLSTM_I_GRANTED:  # only in a child that the block has forked
                    raise_no_edit(refusal)
                self.model.update(self.arrays[0])
        finally:
            self.inside = False
            clstm_i_end_hold(self.model.access, self.mark, False)
