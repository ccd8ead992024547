# Streams, included by _core.pyx, whose names it uses.

from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc

cdef double SHORT = 2.0**17  # multiply-adds, about 20 us: for less, releasing the GIL costs more than it gives
cdef double PIECE = 2.0**26  # multiply-adds, about 10 ms (100 ms on a CPU a tenth as fast): the latency of Ctrl-C
cdef double STEP = 1000  # multiply-adds in the time of a step's overhead


@cython.final
cdef class Stream:
    """A `clstm_stream` in memory of its own, for one caller at a time.

    Parameters
    ----------
    model : Model
        The model; the stream starts with its weights.
    batched : bool
        Whether steps are (B, I) and (B, O), or (I,) and (O,) for a single row.
    rows : int
        Number of rows B.
    source : Stream, optional
        A stream of the same model to continue, with its rows and weights.
    """

    cdef clstm_stream *handle
    cdef void *memory
    cdef Model model
    cdef bint batched
    cdef readonly cnp.npy_intp rows
    cdef cnp.npy_intp capacity  # rows the memory holds
    cdef clstm_i_access access

    def __cinit__(self, Model model not None, bint batched, cnp.npy_intp rows, Stream source=None):
        self.model = model
        self.batched = batched
        self.rows = rows
        if source is None:
            self.begin(NULL, max(rows, 1))
            if not rows:
                clstm_stream_leave(self.handle, 0)  # the core starts with at least one
            return
        cdef unsigned mark = source.enter(CLSTM_I_READ)
        try:
            self.begin(source.handle, max(source.rows, 1))
            self.rows = source.rows
        finally:
            source.leave(mark)

    def __dealloc__(self):
        clstm_stream_release(self.handle)
        PyMem_RawFree(self.memory)

    cdef int begin(self, const clstm_stream *source, size_t capacity) except -1:
        """Continue `source`, or start at the initial state if it is NULL, in new memory for `capacity` rows."""
        cdef size_t size = 0
        cdef clstm_stream *handle = NULL
        cdef clstm_status status
        cdef unsigned call
        raise_status(clstm_stream_size(self.model.handle, capacity, &size), "stream")
        cdef void *memory = PyMem_RawMalloc(size)
        if memory == NULL:
            raise MemoryError(f"stream: {size} bytes for {capacity} rows")
        try:
            if source == NULL:
                call = self.model.enter()
                try:
                    with nogil:  # packs the weights if no call has
                        status = clstm_stream_init(self.model.handle, capacity, 0, memory, size, &handle)
                finally:
                    self.model.leave(call)
            else:
                status = clstm_stream_fork(source, capacity, memory, size, &handle)
            raise_status(status, "stream")
        except BaseException:
            PyMem_RawFree(memory)
            raise
        clstm_stream_release(self.handle)
        PyMem_RawFree(self.memory)
        self.handle, self.memory, self.capacity = handle, memory, capacity
        return 0

    # One caller at a time.

    cdef unsigned enter(self, clstm_i_purpose purpose) except? 0:
        """Begin a use of the stream; return the mark that `leave` takes."""
        cdef unsigned mark = 0
        cdef clstm_i_refusal refusal = clstm_i_hold(&self.access, purpose, &mark)
        if refusal != CLSTM_I_GRANTED:
            raise_no_stream(refusal)
        return mark

    cdef void leave(self, unsigned mark, bint whole=False) noexcept:
        """End a use. A torn stream stays so unless it is `whole` again."""
        clstm_i_end_hold(&self.access, mark, whole)

    # Steps.

    def step(self, x, out):
        """Return y of one step, which is `out` if given; or None if stream.py must convert the arrays."""
        return self.advance(x, out, False)

    def process(self, x, out):
        """Do the same for a block of steps."""
        return self.advance(x, out, True)

    cdef Shape shape(self, bint block, cnp.npy_intp steps, cnp.npy_intp last) noexcept:
        """Return the shape of one step, or of a block of steps."""
        if block:
            return shaped(3 if self.batched else 2, steps, self.rows, last)
        return shaped(2 if self.batched else 1, self.rows, 0, last)

    cdef object advance(self, x, out, bint block):
        cdef const Geometry *model = &self.model.geometry
        cdef Shape y_shape
        cdef cnp.npy_intp steps = 1
        if not cnp.PyArray_CheckExact(x) or not cnp.PyArray_NDIM(<cnp.ndarray>x):
            return None
        if block:
            steps = cnp.PyArray_DIM(<cnp.ndarray>x, 0)
        cdef unsigned mark = self.enter(CLSTM_I_WRITE)
        try:
            if not fits(x, self.shape(block, steps, model.input_size), model.typenum):
                return None
            y_shape = self.shape(block, steps, model.output_size)
            if out is None:
                out = empty(y_shape, model.typenum)
            elif not (fits(out, y_shape, model.typenum) and cnp.PyArray_ISWRITEABLE(<cnp.ndarray>out)
                      and (out is x or disjoint(<cnp.ndarray>out, <cnp.ndarray>x))):
                return None
            self.compute(steps, cnp.PyArray_BYTES(<cnp.ndarray>x), cnp.PyArray_BYTES(<cnp.ndarray>out))
        finally:
            self.leave(mark)
        return out

    cdef int compute(self, size_t steps, const char *x, char *y) except -1:
        """Run a short block in one piece, a long one in several without the GIL, with polls for signals in between."""
        cdef const Geometry *model = &self.model.geometry
        cdef bint is_f64 = self.model.is_f64
        cdef double work = STEP + <double>self.model.elements * <double>self.rows
        cdef size_t piece, left = steps, bytes = self.rows * (8 if is_f64 else 4)
        cdef clstm_status status
        if not self.rows or steps * work < SHORT:
            return raise_status(typed.stream_process(self.handle, steps, x, y, is_f64), "stream")
        piece = <size_t>max(1.0, PIECE / work)
        while left:
            piece = min(piece, left)
            with nogil:
                status = typed.stream_process(self.handle, piece, x, y, is_f64)
            raise_status(status, "stream")
            x += piece * bytes * model.input_size
            y += piece * bytes * model.output_size
            left -= piece
            if left and PyErr_CheckSignals():
                raise_status(CLSTM_CANCELLED, "stream")
        return 0

    # State, weights and rows.

    def get_state(self):
        """Return copies of h and c (L, B, .), or without B."""
        cdef const Geometry *model = &self.model.geometry
        cdef int axes = 3 if self.batched else 2
        cdef unsigned mark = self.enter(CLSTM_I_READ)
        try:
            h = empty(h_shape(model, axes, self.rows), model.typenum)
            c = empty(c_shape(model, axes, self.rows), model.typenum)
            raise_status(typed.stream_get_state(self.handle, data(h), data(c), self.model.is_f64), "state")
        finally:
            self.leave(mark)
        return h, c

    def set_state(self, h, c):
        """Replace the state by h and c (L, B, .)."""
        cdef const Geometry *model = &self.model.geometry
        cdef cnp.ndarray h_ = contiguous(h, model.typenum)
        cdef cnp.ndarray c_ = contiguous(c, model.typenum)
        cdef bint whole = False
        cdef unsigned mark = self.enter(CLSTM_I_MEND)
        try:
            if not (fits(h_, h_shape(model, 3, self.rows), model.typenum)
                    and fits(c_, c_shape(model, 3, self.rows), model.typenum)):
                raise RuntimeError("the stream's rows have changed meanwhile")
            raise_status(typed.stream_set_state(self.handle, data(h_), data(c_), self.model.is_f64), "state")
            whole = True
        finally:
            self.leave(mark, whole)

    def reset(self):
        """Set all rows to the initial state."""
        cdef bint whole = False
        cdef unsigned mark = self.enter(CLSTM_I_MEND)
        try:
            raise_status(clstm_stream_reset(self.handle), "reset")
            whole = True
        finally:
            self.leave(mark, whole)

    def refresh(self):
        """Replace the weights by the model's current ones."""
        # This packs them without the GIL; a fork meanwhile tears nothing of this stream.
        Stream(self.model, False, 1)
        cdef unsigned mark = self.enter(CLSTM_I_WRITE), call
        try:
            call = self.model.enter()
            try:
                raise_status(clstm_stream_refresh(self.handle, self.model.handle), "refresh")
            finally:
                self.model.leave(call)
        finally:
            self.leave(mark)

    def fork(self):
        """Return a copy that continues independently."""
        return Stream(self.model, self.batched, 0, self)

    def join(self, cnp.npy_intp n):
        """Append n rows at the initial state; return the index of the first."""
        cdef size_t row
        cdef unsigned mark = self.enter(CLSTM_I_WRITE)
        try:
            if n > self.capacity - self.rows:
                self.begin(self.handle, max(2 * <size_t>self.capacity, <size_t>self.rows + <size_t>n))
            first = self.rows
            for _ in range(n):
                raise_status(clstm_stream_join(self.handle, &row), "join")
            self.rows += n
        finally:
            self.leave(mark)
        return first

    def leave_row(self, cnp.npy_intp row):
        """Remove a row and move the last row to its index; return whether the row exists."""
        cdef unsigned mark = self.enter(CLSTM_I_WRITE)
        try:
            if not 0 <= row < self.rows:
                return False
            raise_status(clstm_stream_leave(self.handle, row), "leave")
            self.rows -= 1
        finally:
            self.leave(mark)
        return True
