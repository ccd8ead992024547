# Flat parameters, who uses them, and how optimisers change them, included by _core.pyx, whose names it uses.


@cython.final
cdef class Progress:
    """The number of an optimiser's steps, which changes together with what a step writes.

    Parameters
    ----------
    steps : int
    torn : bool, default=False
        Whether a step was being written, as in a child process that was forked meanwhile, or in a copy made meanwhile.
    """

    cdef readonly size_t steps
    cdef bint writing

    def __cinit__(self, size_t steps, bint torn=False):
        self.steps = steps
        self.writing = torn

    def __reduce__(self):
        return Progress, (self.steps, self.writing)

    cdef size_t begin(self) except 0:
        """Begin a step, with exclusive access to the model; return its number."""
        if self.writing:
            raise RuntimeError(
                "the optimiser's averages are torn: another thread was writing them when this process was forked or "
                "the optimiser was copied; make a new optimiser")
        self.writing = True
        return self.steps + 1

    cdef void end(self, bint taken) noexcept:
        self.steps += taken
        self.writing = False


cdef class Store:
    """Flat parameters and who uses them: any number of concurrent calls or a single editor. The base of models."""

    cdef clstm_i_access own_access
    cdef clstm_i_access *access  # its own, or that of the whole
    cdef clstm_i_access own_copies
    cdef clstm_i_access *copies  # awaited by those that copy the parameters: the next step lets them
    cdef Store whole  # whose parameters these are a part of, or None
    cdef readonly size_t elements
    cdef bint is_f64
    cdef int typenum
    cdef void *parameters

    def __cinit__(self, *args, **kwargs):
        self.access = &self.own_access
        self.copies = &self.own_copies

    cdef void touch(self) noexcept:
        """Adapt what is made of the parameters to new ones."""

    cdef cnp.ndarray checked(self, flat):
        cdef cnp.ndarray array = contiguous(flat, self.typenum)
        if array.ndim != 1 or <size_t>array.size != self.elements:
            raise ValueError(f"the flat parameter array has shape {flat.shape}, expected ({self.elements},)")
        return array

    # Access.

    cdef unsigned enter(self) except? 0:
        """Begin a call; return the mark that `leave` takes."""
        cdef unsigned mark = 0
        cdef clstm_i_refusal refusal
        if self.whole is None:
            refusal = clstm_i_begin_call(self.access, &mark)
        else:
            refusal = clstm_i_begin_inner_call(self.access, &mark)
        if refusal != CLSTM_I_GRANTED:
            raise_no_call(refusal)
        return mark

    cdef void leave(self, unsigned mark) noexcept:
        clstm_i_end_call(self.access, mark)

    cdef int hold(self, clstm_i_purpose purpose, double timeout, unsigned *mark) except -1:
        """Get exclusive access to the model; raise RuntimeError if that is impossible for `timeout` seconds."""
        cdef clstm_i_refusal refusal = clstm_i_hold(self.access, purpose, mark)
        if refusal == CLSTM_I_GRANTED:
            return 0
        if timeout <= 0 or refusal == CLSTM_I_IS_TORN:
            return raise_no_edit(refusal)
        return self.await_hold(purpose, monotonic() + timeout, mark)

    cdef int await_hold(self, clstm_i_purpose purpose, double deadline, unsigned *mark) except -1:
        """Wait for exclusive access until the deadline; new calls are refused meanwhile, so that running ones end."""
        cdef double pause = 1e-5, left
        cdef unsigned waiting = clstm_i_begin_wait(self.access)
        cdef clstm_i_refusal refusal
        try:
            while True:
                refusal = clstm_i_hold(self.access, purpose, mark)
                if refusal == CLSTM_I_GRANTED:
                    return 0
                left = deadline - monotonic()
                if left <= 0 or refusal == CLSTM_I_IS_TORN:
                    return raise_no_edit(refusal)
                sleep(min(pause, left))  # a signal handler may raise here
                pause = min(2 * pause, 1e-3)
        finally:
            clstm_i_end_wait(self.access, waiting)

    # New parameters.

    cdef int update(self, flat) except -1:
        """Replace the parameters, with exclusive access."""
        cdef cnp.ndarray source = self.checked(flat)
        memcpy(self.parameters, data(source), cnp.PyArray_NBYTES(source))
        self.touch()
        return 0

    def replace(self, flat):
        """Replace the parameters, torn or not; raise RuntimeError if others use the model."""
        cdef unsigned mark = 0
        cdef bint whole = False
        flat = self.checked(flat)
        self.hold(CLSTM_I_MEND, 0, &mark)
        try:
            self.update(flat)
            whole = True
        finally:
            clstm_i_end_hold(self.access, mark, whole)

    def try_replace(self, flat):
        """Replace the parameters unless others use the model; return whether that was done."""
        try:
            self.replace(flat)
        except RuntimeError:
            return False
        return True

    @property
    def flat(self):
        """Read-only view of the model's parameters, which keeps the model alive."""
        if clstm_i_is_torn(self.access):
            raise_torn_weights()
        cdef cnp.npy_intp n = self.elements
        cdef cnp.ndarray view = cnp.PyArray_SimpleNewFromData(1, &n, self.typenum, self.parameters)
        cnp.set_array_base(view, self)
        view.flags.writeable = False
        return view

    def snapshot(self):
        """Return a copy of the parameters, between two optimiser steps of other threads."""
        cdef cnp.ndarray copy = empty(shaped(1, 0, 0, self.elements), self.typenum)
        cdef unsigned mark = 0, waiting = clstm_i_begin_wait(self.copies)
        cdef clstm_i_refusal refusal
        try:
            while clstm_i_is_written(self.access):
                sleep(1e-5)  # a signal handler may raise here
            refusal = clstm_i_begin_call(self.access, &mark)
            if refusal == CLSTM_I_IS_TORN:
                raise_torn_weights()
            # Whoever holds the model or waits for it writes nothing as long as this thread has the GIL.
            memcpy(data(copy), self.parameters, cnp.PyArray_NBYTES(copy))
            if refusal == CLSTM_I_GRANTED:
                clstm_i_end_call(self.access, mark)
        finally:
            clstm_i_end_wait(self.copies, waiting)
        return copy

    cdef int let_copy(self) except -1:
        """Give those that copy the parameters time to do it, between two steps: some 10 ms."""
        cdef int k
        for k in range(100):
            if not clstm_i_is_awaited(self.copies):
                break
            sleep(1e-4)  # a signal handler may raise here
        return 0

    cdef void *at(self, void *array, size_t number) noexcept nogil:
        """Return the address of an element."""
        return <char *>array + number * (sizeof(double) if self.is_f64 else sizeof(float))

    # Optimisers. All arrays are flat; parameters and state are updated in place, with exclusive access.

    cdef int check_gradient(self, cnp.ndarray g) except -1:
        """Raise unless an optimiser can read the gradient in place."""
        if not (readable(g, self.typenum) and g.ndim == 1 and <size_t>g.shape[0] == self.elements):
            raise ValueError(f"grad must be contiguous, aligned and of shape ({self.elements},)")
        return 0

    cdef int check_state(self, str name, cnp.ndarray state, str other_name, cnp.ndarray other) except -1:
        """Raise unless an optimiser can update its state in place, apart from the other array."""
        if cnp.PyArray_TYPE(state) != self.typenum or not cnp.PyArray_ISNOTSWAPPED(state):
            raise TypeError(f"{name} must be an array of the model's dtype, {self.flat.dtype}")
        if not (state.ndim == 1 and <size_t>state.shape[0] == self.elements and cnp.PyArray_ISCARRAY(state)):
            raise ValueError(f"{name} must be contiguous, aligned, writable and of shape ({self.elements},)")
        if not disjoint(state, other):
            raise ValueError(f"{name} shares memory with {other_name}")
        return 0

    def adam_step(self, cnp.ndarray g not None, cnp.ndarray m not None, cnp.ndarray v not None,
                  Progress progress not None, settings, list ranges not None, size_t threads):
        """Take one step of Adam, and count it.

        Settings are beta1, beta2, eps; a range is (begin, end, lr, weight_decay) of some parameters.
        """
        cdef clstm_context context = make_context(threads_for(threads, NUMBERS * <double>self.elements))
        cdef clstm_adam adam = CLSTM_ADAM_INIT
        cdef clstm_status status
        cdef unsigned mark = 0
        cdef size_t begin, end
        adam.beta1, adam.beta2, adam.eps = settings
        cdef cnp.ndarray flat = self.flat
        self.let_copy()
        self.check_gradient(g)
        self.check_state("m", m, "grad", g)
        self.check_state("m", m, "the model's parameters", flat)
        self.check_state("v", v, "grad", g)
        self.check_state("v", v, "the model's parameters", flat)
        self.check_state("v", v, "m", m)
        cdef void *gradients = data(g)
        cdef void *first = data(m)
        cdef void *second = data(v)
        self.hold(CLSTM_I_WRITE, 0, &mark)
        try:
            adam.step = progress.begin()
            status = CLSTM_OK
            for begin, end, adam.lr, adam.weight_decay in ranges:
                with nogil:
                    status = typed.adam_update(
                        end - begin, &adam, self.at(self.parameters, begin), self.at(gradients, begin),
                        self.at(first, begin), self.at(second, begin), &context, self.is_f64)
            self.touch()
            progress.end(status == CLSTM_OK)
        finally:
            clstm_i_end_hold(self.access, mark, False)
        raise_status(status, "Adam")

    def sgd_step(self, cnp.ndarray g not None, cnp.ndarray velocity not None, Progress progress not None, double momentum,
                 list ranges not None, size_t threads):
        """Take one step of gradient descent, and count it; ranges are those of Adam."""
        cdef clstm_context context = make_context(threads_for(threads, NUMBERS * <double>self.elements))
        cdef clstm_sgd sgd = CLSTM_SGD_INIT
        cdef clstm_status status
        cdef unsigned mark = 0
        cdef size_t begin, end
        sgd.momentum = momentum
        self.let_copy()
        self.check_gradient(g)
        self.check_state("velocity", velocity, "grad", g)
        self.check_state("velocity", velocity, "the model's parameters", self.flat)
        cdef void *gradients = data(g)
        cdef void *state = data(velocity)
        self.hold(CLSTM_I_WRITE, 0, &mark)
        try:
            progress.begin()
            status = CLSTM_OK
            for begin, end, sgd.lr, sgd.weight_decay in ranges:
                with nogil:
                    status = typed.sgd_update(
                        end - begin, &sgd, self.at(self.parameters, begin), self.at(gradients, begin),
                        self.at(state, begin), &context, self.is_f64)
            self.touch()
            progress.end(status == CLSTM_OK)
        finally:
            clstm_i_end_hold(self.access, mark, False)
        raise_status(status, "SGD")


@cython.final
cdef class Group(Store):
    """The parameters of several models and other layers in one array.

    Parameters
    ----------
    flat : ndarray, float32 or float64, one-dimensional
        Used without a copy, and not to be written to by others.
    """

    cdef readonly size_t version
    cdef cnp.ndarray array
    cdef list models

    def __cinit__(self, cnp.ndarray flat not None):
        self.typenum = cnp.PyArray_TYPE(flat)
        self.is_f64 = self.typenum == cnp.NPY_FLOAT64
        self.elements = flat.size
        self.array = flat
        self.parameters = data(flat)
        self.models = []

    cdef void touch(self) noexcept:
        cdef Store model
        self.version += 1
        for model in self.models:
            model.touch()


@cython.final
@cython.no_gc_clear  # __dealloc__ needs the store
cdef class Use:
    """A context manager, made for a single `with`, that uses a store in its block, as a call does.

    As with `Edit`, no signal handler can raise between the begin or the end of the use and its record.
    """

    cdef Store store
    cdef unsigned mark
    cdef bint inside

    def __cinit__(self, Store store not None):
        self.store = store

    def __dealloc__(self):
        self.end()

    cdef void end(self) noexcept:
        if self.inside:
            self.inside = False
            self.store.leave(self.mark)

    def __enter__(self):
        self.mark = self.store.enter()
        self.inside = True

    def __exit__(self, kind, value, traceback):
        self.end()
