# cython: language_level=3, freethreading_compatible=True, boundscheck=False, wraparound=False
"""The only boundary between Python and the C core: memory made readable, GIL released, status -> exception.

Arrays come in the model's dtype and in shapes that fit: `Model.takes` has seen so, or else layout.py has seen to it.
"""

cimport cython
cimport numpy as cnp
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.string cimport strcmp

from contextlib import nullcontext

import numpy as np

from .arrays cimport Geometry, call_fits, contiguous, data, empty, empty_state, empty_y, shaped, turned
from .clstm_c cimport *
from .optimise cimport adam, clip, sgd
from .status cimport isa_names, raise_status
from .tensors cimport make_config, tensors_of

cnp.import_array()

cdef extern from "Python.h":
    int PyErr_CheckSignals() noexcept  # declared anew: an exception it leaves is raised by raise_status

version = clstm_version().decode()


# ---- Threads, and what the core is given by this host ----

cdef int check_signals(void *user) noexcept with gil:
    return PyErr_CheckSignals()


cdef clstm_context host = CLSTM_CONTEXT_INIT
host.cancelled = check_signals
cdef object hold_blas = None  # a context manager, once scipy's BLAS is loaded
cdef object no_hold = nullcontext()


def default_threads():
    """Return how many threads this process may use."""
    return clstm_default_threads()


cpdef int load_blas() except -1:
    """Import scipy's BLAS, by the first call that needs a product."""
    global hold_blas
    if hold_blas is not None:
        return 0
    from . import _blas
    from .blas_threads import hold
    host.sgemm = <void (*)(const clstm_gemm *) noexcept nogil>PyCapsule_GetPointer(_blas.SGEMM, b"clstm.sgemm")
    host.dgemm = <void (*)(const clstm_gemm_f64 *) noexcept nogil>PyCapsule_GetPointer(_blas.DGEMM, b"clstm.dgemm")
    hold_blas = hold
    return 0


cpdef bint forward_needs_blas() noexcept:
    """Tell whether a forward pass calls the host's BLAS; a backward pass always does."""
    return clstm_engine() != NULL and strcmp(clstm_engine(), b"blas") == 0


cdef clstm_context make_context(size_t threads, bint needs_blas) except *:
    """What the core is given by this host, with a team of so many threads."""
    if needs_blas:
        load_blas()
    cdef clstm_context context = host
    context.team = clstm_openmp_team(threads)
    return context


# ---- What it can be, and what it is ----

def parameter_table(input_size, hidden_size, num_layers, output_size, bias):
    """Return ``[(name, shape, offset), ...]`` of the flat parameter array, and its length."""
    cdef clstm_config config = make_config(input_size, hidden_size, num_layers, output_size, bias)
    return tensors_of(&config)


def isas():
    """Return the names that CLSTM_ISA may take here, best first."""
    return isa_names()


def isa():
    """Return the instruction set in use."""
    raise_status(CLSTM_OK if clstm_isa() != NULL else CLSTM_UNKNOWN_ISA, "clstm")
    return clstm_isa().decode()


def engine():
    """Return the engine in use."""
    raise_status(CLSTM_OK if clstm_engine() != NULL else CLSTM_UNKNOWN_ENGINE, "clstm")
    return clstm_engine().decode()


def has_openmp():
    """Return whether the core was built with OpenMP."""
    return bool(clstm_has_openmp())


# ---- Activations ----

cdef map_activation(x, bint is_tanh):
    cdef int typenum = cnp.NPY_FLOAT64 if x.dtype == np.float64 else cnp.NPY_FLOAT32
    cdef cnp.ndarray source = contiguous(x, typenum)
    cdef cnp.ndarray target = np.empty_like(source)
    cdef size_t n = source.size
    if typenum == cnp.NPY_FLOAT64:
        function_f64 = clstm_tanh_f64 if is_tanh else clstm_sigmoid_f64
        raise_status(function_f64(n, <const double *>data(source), <double *>data(target)), "activation")
    else:
        function = clstm_tanh if is_tanh else clstm_sigmoid
        raise_status(function(n, <const float *>data(source), <float *>data(target)), "activation")
    return target


def tanh(x):
    """Return the core's tanh of a 1-D float32 or float64 array."""
    return map_activation(x, True)


def sigmoid(x):
    """Return the core's sigmoid of a 1-D float32 or float64 array."""
    return map_activation(x, False)


# ---- Gradients ----

def clip_global_norm(cnp.ndarray flat, double max_norm, size_t threads):
    """Scale a flat float32 or float64 array in place to a norm of at most max_norm; return what it was."""
    cdef clstm_context context = make_context(threads, False)
    cdef double norm = 0
    raise_status(clip(data(flat), flat.size, cnp.PyArray_TYPE(flat), max_norm, &norm, &context), "clip_global_norm")
    return norm


# ---- Models ----

@cython.final
cdef class Model:
    """A `clstm_model` and who may use it: any number of calls at once, or one editor alone.

    Parameters
    ----------
    input_size, hidden_size, num_layers, output_size, bias, batch_first
        As those of `clstm.LSTM`; output_size None or 0 for no readout.
    flat : ndarray, float32 or float64
        Its parameters, as `parameter_table` lays them out; copied. Its dtype is the model's.
    """

    cdef clstm_model *handle
    cdef cython.pymutex lock  # guards the two below
    cdef size_t calls
    cdef bint edited
    cdef size_t elements
    cdef Geometry geometry

    def __cinit__(self, input_size, hidden_size, num_layers, output_size, bias, batch_first, flat):
        cdef clstm_config config = make_config(input_size, hidden_size, num_layers, output_size, bias)
        cdef size_t tensors
        raise_status(clstm_config_count(&config, &tensors, &self.elements), "LSTM")
        cdef int typenum = cnp.NPY_FLOAT64 if flat.dtype == np.float64 else cnp.NPY_FLOAT32
        self.geometry = Geometry(config.input_size, config.hidden_size, config.num_layers,
                                 config.output_size or config.hidden_size, batch_first, typenum)
        cdef cnp.ndarray source = self.checked(flat)
        cdef clstm_status status
        if typenum == cnp.NPY_FLOAT64:
            status = clstm_model_create_f64(&config, <const double *>data(source), NULL, &self.handle)
        else:
            status = clstm_model_create(&config, <const float *>data(source), NULL, &self.handle)
        raise_status(status, "LSTM")

    def __dealloc__(self):
        clstm_model_free(self.handle)

    cdef cnp.ndarray checked(self, flat):
        cdef cnp.ndarray array = contiguous(flat, self.geometry.typenum)
        if array.ndim != 1 or <size_t>array.size != self.elements:
            raise ValueError(f"the flat parameter array has shape {flat.shape}, expected ({self.elements},)")
        return array

    # Who may use it.

    cdef int enter(self) except -1:
        with self.lock:
            if self.edited:
                raise RuntimeError("the model is being edited: no call may use it until edit() has ended")
            self.calls += 1
        return 0

    cdef int leave(self) except -1:
        with self.lock:
            self.calls -= 1
        return 0

    def begin_edit(self):
        """Take the model alone, or raise RuntimeError."""
        with self.lock:
            if self.edited:
                raise RuntimeError("the model is already being edited")
            if self.calls:
                raise RuntimeError("the model cannot be edited while a call uses it")
            self.edited = True

    def end_edit(self, flat):
        """Give the model back, with new parameters unless `flat` is None."""
        cdef cnp.ndarray source
        try:
            if flat is None:
                return
            source = self.checked(flat)
            if self.geometry.typenum == cnp.NPY_FLOAT64:
                raise_status(clstm_model_update_f64(self.handle, <const double *>data(source)), "edit")
            else:
                raise_status(clstm_model_update(self.handle, <const float *>data(source)), "edit")
        finally:
            with self.lock:
                self.edited = False

    @property
    def flat(self):
        """The model's own parameters, a read-only view that keeps the model alive."""
        cdef cnp.npy_intp n = self.elements
        cdef const void *parameters
        if self.geometry.typenum == cnp.NPY_FLOAT64:
            parameters = clstm_model_parameters_f64(self.handle)
        else:
            parameters = clstm_model_parameters(self.handle)
        cdef cnp.ndarray view = cnp.PyArray_SimpleNewFromData(1, &n, self.geometry.typenum, <void *>parameters)
        cnp.set_array_base(view, self)
        view.flags.writeable = False
        return view

    # Optimisers, between begin_edit and end_edit. All arrays are flat; the model and the state are written in place.

    def adam_step(self, cnp.ndarray g, cnp.ndarray m, cnp.ndarray v, settings, size_t threads):
        """One step of Adam; settings are t, lr, beta1, beta2, eps."""
        cdef clstm_context context = make_context(threads, False)
        raise_status(adam(self.handle, self.geometry.typenum, data(g), data(m), data(v), settings, &context), "Adam")

    def sgd_step(self, cnp.ndarray g, cnp.ndarray velocity, settings, size_t threads):
        """One step of gradient descent; settings are lr, momentum."""
        cdef clstm_context context = make_context(threads, False)
        raise_status(sgd(self.handle, self.geometry.typenum, data(g), data(velocity), settings, &context), "SGD")

    # Calls.

    def takes(self, x, state, out):
        """Tell whether a call's arrays can be used as they are: if not, layout.py converts them or says why not."""
        return call_fits(&self.geometry, x, state, out)

    def forward(self, x, state, out, size_t threads):
        """Return y and (h, c), shaped as the user's x and state, a pair or None; y is `out` where it is given."""
        cdef cnp.ndarray core_x = contiguous(turned(&self.geometry, x), self.geometry.typenum)
        cdef cnp.ndarray core_y = None if out is None else turned(&self.geometry, out)
        cdef bint direct = core_y is not None and cnp.PyArray_IS_C_CONTIGUOUS(core_y)
        if not direct:
            core_y = empty_y(&self.geometry, core_x)
        final = self.run(core_x, state, core_y, threads, NULL, CLSTM_KEEP_GATES)
        if out is None:
            return turned(&self.geometry, core_y), final
        if not direct:
            out[...] = turned(&self.geometry, core_y)
        return out, final

    def record(self, x, state, bint lean, size_t threads):
        """Return a `Recording`, of states alone if `lean`, and y (T, B, O), h, c (L, B, H) for x (T, B, I)."""
        cdef Recording recording = Recording.__new__(Recording)
        recording.model = self
        cdef cnp.ndarray core_x = contiguous(x, self.geometry.typenum)
        cdef cnp.ndarray y = empty_y(&self.geometry, core_x)
        h, c = self.run(core_x, state, y, threads, &recording.tape, CLSTM_KEEP_STATES if lean else CLSTM_KEEP_GATES)
        return recording, (y, h, c)

    cdef tuple run(self, cnp.ndarray x, state, cnp.ndarray y, size_t threads, clstm_tape **tape, clstm_keep keep):
        """Write y (T, B, O) and return h, c (L, B, H) for x (T, B, I) and the initial state; or all without B."""
        cdef size_t steps = x.shape[0], batch = x.shape[1] if x.ndim == 3 else 1
        h0, c0 = (None, None) if state is None else state
        cdef cnp.ndarray h0_ = contiguous(h0, self.geometry.typenum)
        cdef cnp.ndarray c0_ = contiguous(c0, self.geometry.typenum)
        cdef cnp.ndarray h = empty_state(&self.geometry, x.ndim, batch)
        cdef cnp.ndarray c = empty_state(&self.geometry, x.ndim, batch)
        cdef clstm_context context = make_context(threads, forward_needs_blas())
        cdef clstm_sequence s32 = CLSTM_SEQUENCE_INIT
        cdef clstm_sequence_f64 s64 = CLSTM_SEQUENCE_F64_INIT
        s32.steps = s64.steps = steps
        s32.batch = s64.batch = batch
        s32.x, s64.x = <const float *>data(x), <const double *>data(x)
        s32.h0, s64.h0 = <const float *>data(h0_), <const double *>data(h0_)
        s32.c0, s64.c0 = <const float *>data(c0_), <const double *>data(c0_)
        s32.y, s64.y = <float *>data(y), <double *>data(y)
        s32.hn, s64.hn = <float *>data(h), <double *>data(h)
        s32.cn, s64.cn = <float *>data(c), <double *>data(c)
        s32.keep = s64.keep = keep
        hold = self.blas_hold(steps * batch) if forward_needs_blas() else no_hold
        self.enter()
        try:
            if hold is no_hold:  # to enter even this costs as much as a small call's arithmetic
                self.compute(&s32, &s64, &context, tape)
            else:
                with hold:
                    self.compute(&s32, &s64, &context, tape)
        finally:
            self.leave()
        return h, c

    cdef int compute(self, const clstm_sequence *s32, const clstm_sequence_f64 *s64, const clstm_context *context,
                     clstm_tape **tape) except -1:
        cdef bint is_f64 = self.geometry.typenum == cnp.NPY_FLOAT64
        cdef clstm_status status
        with nogil:
            if tape == NULL and is_f64:
                status = clstm_forward_f64(self.handle, s64, context)
            elif tape == NULL:
                status = clstm_forward(self.handle, s32, context)
            elif is_f64:
                status = clstm_record_f64(self.handle, s64, context, tape)
            else:
                status = clstm_record(self.handle, s32, context, tape)
        return raise_status(status, "LSTM")

    cdef object blas_hold(self, size_t rows):
        """Something to enter while the core runs: OpenBLAS starts threads of its own from this size on."""
        cdef Geometry model = self.geometry
        cdef size_t widest = max(model.input_size, model.hidden_size, model.output_size)
        cdef double largest = <double>rows * 4.0 * <double>model.hidden_size * <double>widest
        return hold_blas if largest > 262144 else no_hold


@cython.final
cdef class Recording:
    """A `clstm_tape`, and the model that it must not outlive."""

    cdef clstm_tape *tape
    cdef Model model
    cdef bint taken  # by a backward pass; guarded by the model's lock

    def __dealloc__(self):
        clstm_tape_free(self.tape)

    def read(self, int field, size_t layer, out):
        """Copy a field (clstm_tape_field) of one layer into `out`, (T, B, H), whose rows are evenly spaced."""
        cdef cnp.ndarray target = out
        cdef size_t row_stride = target.strides[1] // target.itemsize if target.size else 0
        cdef clstm_status status
        if self.model.geometry.typenum == cnp.NPY_FLOAT64:
            status = clstm_tape_read_f64(self.tape, <clstm_tape_field>field, layer, <double *>data(target), row_stride)
        else:
            status = clstm_tape_read(self.tape, <clstm_tape_field>field, layer, <float *>data(target), row_stride)
        raise_status(status if self.tape != NULL else CLSTM_TAPE_CONSUMED, "tape")

    def backward(self, dy, dh, dc, shape, into, threads):
        """Return dx (T, B, I), dh0, dc0 (L, B, H) and flat parameter gradients, added to `into`; inputs may be None."""
        cdef Model model = self.model
        cdef int typenum = model.geometry.typenum
        steps, batch = shape
        cdef cnp.ndarray dy_ = contiguous(dy, typenum)
        cdef cnp.ndarray dh_ = contiguous(dh, typenum)
        cdef cnp.ndarray dc_ = contiguous(dc, typenum)
        cdef cnp.ndarray dx = empty(shaped(3, steps, batch, model.geometry.input_size), typenum)
        cdef cnp.ndarray dh0 = empty_state(&model.geometry, 3, batch)
        cdef cnp.ndarray dc0 = empty_state(&model.geometry, 3, batch)
        cdef cnp.ndarray flat = empty(shaped(1, 0, 0, model.elements), typenum) if into is None else into
        cdef clstm_context context = make_context(threads, True)
        cdef clstm_status status
        cdef clstm_gradients g32 = CLSTM_GRADIENTS_INIT
        cdef clstm_gradients_f64 g64 = CLSTM_GRADIENTS_F64_INIT
        g32.dy, g64.dy = <const float *>data(dy_), <const double *>data(dy_)
        g32.dhn, g64.dhn = <const float *>data(dh_), <const double *>data(dh_)
        g32.dcn, g64.dcn = <const float *>data(dc_), <const double *>data(dc_)
        g32.dx, g64.dx = <float *>data(dx), <double *>data(dx)
        g32.dh0, g64.dh0 = <float *>data(dh0), <double *>data(dh0)
        g32.dc0, g64.dc0 = <float *>data(dc0), <double *>data(dc0)
        g32.parameters, g64.parameters = <float *>data(flat), <double *>data(flat)
        g32.accumulate = g64.accumulate = into is not None
        model.enter()
        try:
            with model.lock:
                if self.taken:  # by another thread: the core's own mark would come too late
                    raise RuntimeError("the tape was already used by backward(): record again")
                self.taken = True
            with model.blas_hold(steps * batch):
                with nogil:
                    if typenum == cnp.NPY_FLOAT64:
                        status = clstm_backward_f64(self.tape, &g64, &context)
                    else:
                        status = clstm_backward(self.tape, &g32, &context)
                if status == CLSTM_OK or status == CLSTM_CANCELLED:
                    clstm_tape_free(self.tape)  # used up: the next one may have its memory
                    self.tape = NULL
                else:
                    self.taken = False  # refused: nothing was touched
                raise_status(status, "backward")
        finally:
            model.leave()
        return dx, dh0, dc0, flat
