# Recorded passes, included by _core.pyx, whose names it uses.


@cython.final
cdef class Recording:
    """A `clstm_tape`, and the model that it must not outlive."""

    cdef clstm_tape *tape
    cdef Model model
    cdef bint taken  # a backward pass has begun; guarded by the model's lock
    cdef Shape x_shape
    cdef size_t batch, total  # rows of the states, and of x
    cdef cnp.ndarray dropout, recurrent  # masks; the tape points into them

    def __dealloc__(self):
        clstm_tape_free(self.tape)

    def read(self, int field, size_t part, out):
        """Copy a field (clstm_tape_field) of one part into `out`, (T, B, .) or (sum T_i, .), rows evenly spaced."""
        cdef cnp.ndarray target = out
        cdef size_t row_stride = target.strides[target.ndim - 2] // target.itemsize if target.size else 0
        cdef clstm_status status = typed.tape_read(
            self.tape, <clstm_tape_field>field, part, data(target), row_stride, self.model.is_f64)
        raise_status(status if self.tape != NULL else CLSTM_TAPE_CONSUMED, "tape")

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
        cdef Gradients g
        cdef const Geometry *sizes = &model.geometry
        cdef cnp.npy_intp states = sizes.num_parts * <cnp.npy_intp>self.batch
        model.enter()
        try:
            with model.lock:
                if self.taken:  # by another thread; the core's own mark comes too late
                    raise RuntimeError("the tape was already used by backward(): record again")
                self.taken = True
            with model.blas_hold(self.total):
                if not (holds(dy_, <cnp.npy_intp>self.total * sizes.output_size, typenum)
                        and holds(dh_, states * sizes.state_size, typenum)
                        and holds(dc_, states * sizes.hidden_size, typenum)
                        and holds(flat, model.elements, typenum) and cnp.PyArray_ISWRITEABLE(flat)):
                    self.taken = False
                    raise_changed()
                g = gradients(flat, into is not None)
                set_incoming(&g, dy_, dh_, dc_)
                set_outgoing(&g, dx, dh0, dc0)
                with nogil:
                    status = typed.backward(self.tape, gradients_of(&g, model.is_f64), &context, model.is_f64)
                if status == CLSTM_OK or status == CLSTM_CANCELLED:
                    clstm_tape_free(self.tape)  # consumed: its memory can serve the next tape
                    self.tape = NULL
                    self.dropout = self.recurrent = None
                else:
                    self.taken = False  # refused: the tape is unchanged
                raise_status(status, "backward")
        finally:
            model.leave()
        return dx, dh0, dc0, flat
