# Recorded passes, included by _core.pyx, whose names it uses.


@cython.final
cdef class Recording:
    """A `clstm_tape`, and the model that it must not outlive."""

    cdef clstm_tape *tape
    cdef Model model
    cdef clstm_i_access access  # held by a backward pass, and for ever after it
    cdef Shape x_shape
    cdef size_t batch, total  # rows of the states, and of x
    cdef cnp.ndarray dropout, recurrent  # masks; the tape points into them

    def __dealloc__(self):
        clstm_tape_free(self.tape)

    cdef unsigned enter(self) except? 0:
        """Begin to read the tape; raise RuntimeError if a backward pass has begun."""
        cdef unsigned mark = 0
        if clstm_i_begin_call(&self.access, &mark) != CLSTM_I_GRANTED:
            raise_used_tape(CLSTM_I_IS_HELD)
        return mark

    def refuse_if_used(self):
        """Raise RuntimeError if a backward pass has begun."""
        clstm_i_end_call(&self.access, self.enter())

    def read(self, int field, size_t part, out):
        """Copy a field (clstm_tape_field) of one part into `out`, (T, B, .) or (sum T_i, .), rows evenly spaced."""
        cdef cnp.ndarray target = out
        cdef size_t row_stride = target.strides[target.ndim - 2] // target.itemsize if target.size else 0
        cdef unsigned mark = self.enter()
        cdef clstm_status status = typed.tape_read(
            self.tape, <clstm_tape_field>field, part, data(target), row_stride, self.model.is_f64)
        clstm_i_end_call(&self.access, mark)
        raise_status(status, "tape")

    def backward(self, dy, dh, dc, into, bint grad_x, size_t threads):
        """Return dx in x's layout, dh0, dc0 (L D, B, .) and flat parameter gradients, added to `into`.

        Any input may be None. dx is None if not `grad_x`.
        """
        cdef Model model = self.model
        cdef int typenum = model.geometry.typenum
        cdef cnp.ndarray dy_ = contiguous(dy, typenum)
        cdef cnp.ndarray dh_ = contiguous(dh, typenum)
        cdef cnp.ndarray dc_ = contiguous(dc, typenum)
        cdef cnp.ndarray dx = empty(self.x_shape, typenum) if grad_x else None
        cdef cnp.ndarray dh0 = empty(h_shape(&model.geometry, 3, self.batch), typenum)
        cdef cnp.ndarray dc0 = empty(c_shape(&model.geometry, 3, self.batch), typenum)
        cdef cnp.ndarray flat = empty(shaped(1, 0, 0, model.elements), typenum) if into is None else into
        cdef clstm_context context = make_context(threads_for(threads, model.backward_work(self.total)), for_pass=True)
        cdef clstm_status status
        cdef clstm_i_refusal refusal
        cdef Gradients g
        cdef const Geometry *sizes = &model.geometry
        cdef cnp.npy_intp states = sizes.num_parts * <cnp.npy_intp>self.batch
        cdef unsigned call = model.enter(), mark = 0
        cdef bint consumed = False  # after a refusal the tape is unchanged
        try:
            refusal = clstm_i_hold(&self.access, CLSTM_I_WRITE, &mark)
            if refusal != CLSTM_I_GRANTED:
                raise_used_tape(refusal)
            try:
                with model.blas_hold(self.total):
                    if not (holds(dy_, <cnp.npy_intp>self.total * sizes.output_size, typenum)
                            and holds(dh_, states * sizes.state_size, typenum)
                            and holds(dc_, states * sizes.hidden_size, typenum)
                            and holds(flat, model.elements, typenum) and cnp.PyArray_ISWRITEABLE(flat)):
                        raise_changed()
                    g = gradients(flat, into is not None)
                    set_incoming(&g, dy_, dh_, dc_)
                    set_outgoing(&g, dx, dh0, dc0)
                    with nogil:
                        status = typed.backward(self.tape, gradients_of(&g, model.is_f64), &context, model.is_f64)
                    consumed = status == CLSTM_OK or status == CLSTM_CANCELLED
                    raise_status(status, "backward")
            finally:
                self.end(mark, consumed)
        finally:
            model.leave(call)
        return dx, dh0, dc0, flat

    cdef void end(self, unsigned mark, bint consumed) noexcept:
        """End a backward pass: free a consumed tape, whose memory can serve the next one."""
        if not consumed:
            clstm_i_end_hold(&self.access, mark, False)
            return
        clstm_tape_free(self.tape)
        self.tape = NULL
        self.dropout = self.recurrent = None
