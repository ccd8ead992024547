# cython: language_level=3, freethreading_compatible=True, boundscheck=False, wraparound=False
"""The only boundary between Python and the C core: passes arrays, releases the GIL, raises statuses as exceptions.

Arrays have the model's dtype and the right shapes: `Model.takes` has checked them, or layout.py has converted them.
"""

cimport cython
cimport numpy as cnp
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.string cimport memcpy, strcmp

from contextlib import nullcontext
from os import environ, register_at_fork
from time import monotonic, sleep

import numpy as np

from ._boundary.arrays cimport (
    Geometry, Shape, c_shape, call_fits, contiguous, data, disjoint, empty, empty_y, fits, h_shape, lengths_copied,
    holds, is_sequence, readable, shaped, axes_swapped)
from .clstm_c cimport *
from ._boundary.locks cimport *
from ._boundary.passes cimport (
    Gradients, Rows, Sequences, gradients, gradients_of, lengths_fit, rows_of, sequence_of, sequences, set_incoming,
    set_inputs, set_masks, set_outgoing, set_results)
from ._boundary.status cimport engine_names, isa_names, raise_status
from ._boundary.tensors cimport make_config, make_geometry, tensors_of
cimport clstm._api.typed as typed

cnp.import_array()

cdef extern from "Python.h":
    int PyErr_CheckSignals() noexcept  # noexcept: raise_status raises the exception it leaves

version = clstm_version().decode()


# ---- Threads, and the context of the host ----

cdef int check_signals(void *user) noexcept with gil:
    return PyErr_CheckSignals()


cdef clstm_context host = CLSTM_CONTEXT_INIT
host.cancelled = check_signals
cdef object hold_blas = None  # a BlasHold, once scipy's BLAS is loaded
cdef object no_hold = nullcontext()


def default_threads():
    """Return how many threads this process may use."""
    return clstm_default_threads()


# Multiply-adds below which the core uses one thread: 2 * TUNE_WORK_PER_THREAD of tuning.h.
cdef double SHARED = 2e6


cdef size_t threads_for(size_t threads, double work) noexcept:
    """Return a pass's number of threads, for an upper bound of its work.

    0 threads stand for the default, which takes a system call: a pass too small to be shared does without.
    """
    if threads:
        return threads
    return clstm_default_threads() if work >= SHARED else 1


cpdef int load_blas() except -1:
    """Import scipy's BLAS, late: only the blas engine needs it."""
    global hold_blas
    if hold_blas is not None:
        return 0
    from . import _blas
    from .blas_threads import addresses
    host.sgemm = <void (*)(const clstm_gemm *) noexcept nogil>PyCapsule_GetPointer(_blas.SGEMM, b"clstm.sgemm")
    host.dgemm = <void (*)(const clstm_gemm_f64 *) noexcept nogil>PyCapsule_GetPointer(_blas.DGEMM, b"clstm.dgemm")
    hold = BlasHold(addresses())
    register_at_fork(after_in_child=hold.after_fork)
    hold_blas = hold
    return 0


def blas_hold():
    """Return what holds scipy's BLAS at one thread."""
    load_blas()
    return hold_blas


cdef bint needs_blas() noexcept:
    """Tell whether passes call the host's BLAS, as those of the blas engine do."""
    cdef const char *name = host.engine if host.engine != NULL else clstm_engine()
    return name != NULL and strcmp(name, b"blas") == 0


cdef clstm_context make_context(size_t threads, bint for_pass=False) except *:
    """Return the host's context, with a team of `threads` threads."""
    cdef bint blas = needs_blas()
    if for_pass and blas:
        load_blas()
    cdef clstm_context context = host
    if threads != 1:
        context.team = clstm_openmp_team(threads) if team() == "openmp" else clstm_pool_team(threads)
    return context


# ---- Engines and teams ----

cdef str chosen_team = None  # "pool", "openmp", "" for the engine's own; None: the environment was not read yet


def engines():
    """Return the names of the engines."""
    return engine_names()


def engine():
    """Return the engine in use."""
    cdef const char *name = host.engine if host.engine != NULL else clstm_engine()
    raise_status(CLSTM_OK if name != NULL else CLSTM_UNKNOWN_ENGINE, "clstm")
    return name.decode()


def set_engine(name):
    """Choose the engine of later calls by one of `engines`; None gives the choice back to CLSTM_ENGINE."""
    if name is None:
        host.engine = NULL
        return
    if name == "blas":
        load_blas()
    host.engine = clstm_engine_list()[engine_names().index(name)]


def team():
    """Return the team in use."""
    if chosen_team is None:
        set_team(None)
    return chosen_team or ("openmp" if needs_blas() and clstm_has_openmp() else "pool")


def set_team(name):
    """Choose the team of later calls, "pool" or "openmp"; None gives the choice back to CLSTM_TEAM and the engine."""
    global chosen_team
    wish = environ.get("CLSTM_TEAM", "") if name is None else name
    if wish not in ("", "pool", "openmp"):
        raise ValueError(f"clstm: CLSTM_TEAM names no team, expected pool or openmp, got {wish!r}")
    if wish == "openmp" and not clstm_has_openmp():
        raise ValueError("clstm was built without OpenMP: there is no team openmp, only the pool")
    chosen_team = wish


# ---- Configurations, instruction sets ----

def parameter_table(config):
    """Return ``[(name, shape, offset), ...]`` of the parameters in the flat array, and its length."""
    cdef clstm_config core_config = make_config(config)
    return tensors_of(&core_config)


def isas():
    """Return the values that CLSTM_ISA may have on this CPU, best first."""
    return isa_names()


def isa():
    """Return the instruction set in use."""
    raise_status(CLSTM_OK if clstm_isa() != NULL else CLSTM_UNKNOWN_ISA, "clstm")
    return clstm_isa().decode()


def has_openmp():
    """Return whether the core was built with OpenMP."""
    return bool(clstm_has_openmp())


# ---- Lengths ----

def copy_lengths(array, size_t batch, size_t most):
    """Return a (batch,) uintp copy of an intp array with values from 0 to `most`, or None for any other array."""
    return lengths_copied(array, batch, most)


# ---- Activations ----

cdef map_activation(x, bint is_tanh):
    cdef bint is_f64 = x.dtype == np.float64
    cdef cnp.ndarray source = contiguous(x, cnp.NPY_FLOAT64 if is_f64 else cnp.NPY_FLOAT32)
    cdef cnp.ndarray target = np.empty_like(source)
    function = typed.tanh if is_tanh else typed.sigmoid
    raise_status(function(source.size, data(source), data(target), is_f64), "activation")
    return target


def tanh(x):
    """Return the core's tanh of a 1-D float32 or float64 array."""
    return map_activation(x, True)


def sigmoid(x):
    """Return the core's sigmoid of a 1-D float32 or float64 array."""
    return map_activation(x, False)


# ---- Gradients ----

cdef double NUMBERS = 8  # an optimiser or clipping moves at most as many for each parameter


def clip_global_norm(cnp.ndarray flat, double max_norm, size_t threads):
    """Scale a flat float32 or float64 array in place to a norm of at most max_norm; return the original norm."""
    if not (readable(flat, cnp.NPY_FLOAT32) or readable(flat, cnp.NPY_FLOAT64)):
        raise ValueError("grad must be contiguous, aligned and of dtype float32 or float64")
    if not cnp.PyArray_ISWRITEABLE(flat):
        raise ValueError("grad is read-only: are these a model's parameters, not gradients?")
    cdef clstm_context context = make_context(threads_for(threads, NUMBERS * <double>flat.size))
    cdef bint is_f64 = cnp.PyArray_TYPE(flat) == cnp.NPY_FLOAT64
    cdef void *gradients = data(flat)
    cdef size_t n = flat.size
    cdef double norm = 0
    cdef clstm_status status
    with nogil:
        status = typed.clip_global_norm(n, gradients, max_norm, &norm, &context, is_f64)
    raise_status(status, "clip_global_norm")
    return norm


cdef int raise_changed() except -1:
    """Raise for an array that the user's own code has changed since it was checked."""
    raise ValueError("an array was changed while the arguments were read")


# ---- Models ----

include "_boundary/_store.pxi"


@cython.final
cdef class Model(Store):
    """A `clstm_model`.

    Parameters
    ----------
    config : configuration.Configuration
        The equations, the sizes, and the order of a sequence's axes.
    flat : ndarray, float32 or float64
        Parameters in the order of `parameter_table`. The model has the same dtype, and a copy of them.
    whole : Group, optional
        Whose array `flat` is a part of; it is then used without a copy.
    """

    cdef clstm_model *handle
    cdef Geometry geometry

    def __cinit__(self, config, flat, Group whole=None):
        cdef clstm_config core_config = make_config(config)
        cdef size_t tensors
        raise_status(clstm_config_count(&core_config, &tensors, &self.elements), "LSTM")
        self.is_f64 = flat.dtype == np.float64
        self.typenum = cnp.NPY_FLOAT64 if self.is_f64 else cnp.NPY_FLOAT32
        self.geometry = make_geometry(config, self.typenum)
        cdef cnp.ndarray source = self.checked(flat)
        if whole is None:
            raise_status(typed.model_create(&core_config, data(source), NULL, &self.handle, self.is_f64), "LSTM")
        else:
            raise_status(typed.model_create_on(&core_config, data(source), NULL, &self.handle, self.is_f64), "LSTM")
            self.whole, self.access, self.copies = whole, whole.access, whole.copies
            whole.models.append(self)
        self.parameters = <void *>typed.model_parameters(self.handle, self.is_f64)

    def __dealloc__(self):
        clstm_model_free(self.handle)

    cdef void touch(self) noexcept:
        clstm_model_touch(self.handle)

    # Calls.

    def takes(self, x, state, out):
        """Tell whether the core can use a call's arrays in place; otherwise layout.py converts them or raises."""
        return call_fits(&self.geometry, x, state, out)

    def forward(self, x, state, out, size_t threads, lengths=None, bint ragged=False):
        """Return y and (h, c) in the user's layout; y is `out` if given. `state` is a pair or None.

        `lengths` (B,) has dtype uintp. A ragged batch has x (sum of lengths, I).
        """
        if not is_sequence(x):
            raise_changed()
        cdef cnp.ndarray core_x = contiguous(axes_swapped(&self.geometry, x), self.geometry.typenum)
        cdef cnp.ndarray core_lengths = contiguous(lengths, cnp.NPY_UINTP)
        cdef Rows rows = rows_of(core_x, core_lengths, ragged)
        if not lengths_fit(&rows, core_lengths):
            raise_changed()
        cdef cnp.ndarray core_y = None if out is None else axes_swapped(&self.geometry, out)
        cdef bint direct = core_y is not None and cnp.PyArray_IS_C_CONTIGUOUS(core_y)
        if not direct:
            core_y = empty_y(&self.geometry, core_x)
        cdef Sequences s = sequences(&rows, CLSTM_KEEP_GATES)
        final = self.run(&s, &rows, core_x, state, core_y, threads, NULL)
        if out is None:
            return axes_swapped(&self.geometry, core_y), final
        if not direct:
            out[...] = axes_swapped(&self.geometry, core_y)
        return out, final

    def record(self, x, state, bint lean, size_t threads, lengths, bint ragged, masks):
        """Record a pass over x (T, B, I), states only if `lean`; return the `Recording` and (y, h, c).

        The results have the core's layout: y (T, B, O), h and c (L D, B, .). `lengths` and `ragged` as in `forward`;
        `masks` are those of dropout and recurrent dropout, each an array as in clstm.h, or None.
        """
        cdef Recording recording = Recording.__new__(Recording)
        if not is_sequence(x):
            raise_changed()
        cdef cnp.ndarray core_x = contiguous(x, self.geometry.typenum)
        cdef cnp.ndarray core_lengths = contiguous(lengths, cnp.NPY_UINTP)
        cdef Rows rows = rows_of(core_x, core_lengths, ragged)
        cdef const Geometry *sizes = &self.geometry
        dropout, recurrent = masks
        recording.model = self
        recording.dropout = contiguous(dropout, self.geometry.typenum)
        recording.recurrent = contiguous(recurrent, self.geometry.typenum)
        cdef cnp.npy_intp states = sizes.num_parts * sizes.state_size  # L D R
        if not (lengths_fit(&rows, core_lengths)
                and holds(recording.dropout, (states - sizes.width) * <cnp.npy_intp>rows.total, sizes.typenum)
                and holds(recording.recurrent, states * <cnp.npy_intp>rows.batch, sizes.typenum)):
            raise_changed()
        recording.batch, recording.total = rows.batch, rows.total
        recording.x_shape = shaped(core_x.ndim, core_x.shape[0], core_x.shape[1], self.geometry.input_size)
        cdef cnp.ndarray y = empty_y(&self.geometry, core_x)
        cdef Sequences s = sequences(&rows, CLSTM_KEEP_STATES if lean else CLSTM_KEEP_GATES)
        set_masks(&s, recording.dropout, recording.recurrent)
        h, c = self.run(&s, &rows, core_x, state, y, threads, &recording.tape)
        return recording, (y, h, c)

    cdef tuple run(self, Sequences *s, const Rows *rows, cnp.ndarray x, state, cnp.ndarray y, size_t threads,
                   clstm_tape **tape):
        """Compute y in place; return h, c (L D, B, .), or without B."""
        cdef int typenum = self.geometry.typenum
        h0, c0 = (None, None) if state is None else state
        cdef cnp.ndarray h0_ = contiguous(h0, typenum)
        cdef cnp.ndarray c0_ = contiguous(c0, typenum)
        cdef cnp.ndarray h = empty(h_shape(&self.geometry, rows.axes, rows.batch), typenum)
        cdef cnp.ndarray c = empty(c_shape(&self.geometry, rows.axes, rows.batch), typenum)
        set_results(s, y, h, c)
        cdef clstm_context context = make_context(threads_for(threads, self.forward_work(rows.total)), for_pass=True)
        hold = self.blas_hold(rows.total)
        cdef unsigned mark = self.enter()
        try:
            if hold is no_hold:  # entering no_hold costs as much as the arithmetic of a small call
                self.compute(s, rows, x, h0_, c0_, y, &context, tape)
            else:
                with hold:
                    self.compute(s, rows, x, h0_, c0_, y, &context, tape)
        finally:
            self.leave(mark)
        return h, c

    cdef int compute(self, Sequences *s, const Rows *rows, cnp.ndarray x, cnp.ndarray h0, cnp.ndarray c0,
                     cnp.ndarray y, const clstm_context *context, clstm_tape **tape) except -1:
        """Run the core, on arrays whose sizes are checked once more: nothing runs between this check and their use."""
        cdef const Geometry *sizes = &self.geometry
        cdef cnp.npy_intp states = sizes.num_parts * <cnp.npy_intp>rows.batch, total = rows.total
        if not (holds(x, total * sizes.input_size, sizes.typenum)
                and holds(y, total * sizes.output_size, sizes.typenum) and cnp.PyArray_ISWRITEABLE(y)
                and holds(h0, states * sizes.state_size, sizes.typenum)
                and holds(c0, states * sizes.hidden_size, sizes.typenum)):
            raise_changed()
        set_inputs(s, x, h0, c0)
        s.f32.y, s.f64.y = <float *>data(y), <double *>data(y)
        cdef const void *sequence = sequence_of(s, self.is_f64)
        cdef clstm_status status
        with nogil:
            if tape == NULL:
                status = typed.forward(self.handle, sequence, context, self.is_f64)
            else:
                status = typed.record(self.handle, sequence, context, tape, self.is_f64)
        return raise_status(status, "LSTM")

    cdef double forward_work(self, size_t rows) noexcept:
        """Return an upper bound of the multiply-adds by which the core shares a pass (schedule.c)."""
        cdef const Geometry *sizes = &self.geometry
        cdef double H = sizes.hidden_size, D = sizes.width // sizes.state_size
        cdef double depth = D * (sizes.input_size + H) + 3 * H * (sizes.num_parts - D)
        return 1.5 * <double>rows * 4 * H * depth  # 1.5: the core rounds the mean number of rows

    cdef double backward_work(self, size_t rows) noexcept:
        """Return the same for a backward pass, whose products of matrices are shared one by one."""
        cdef const Geometry *sizes = &self.geometry
        cdef double H = sizes.hidden_size, widest = max(sizes.input_size, sizes.width)
        cdef double products = 6 * H * sizes.num_parts * (2 * widest + 2 * H)
        return <double>rows * (products + 8 * widest + <double>sizes.output_size * sizes.width)

    cdef object blas_hold(self, size_t rows):
        """Return a context manager for a pass: OpenBLAS starts its own threads above 262,144 multiply-adds."""
        cdef Geometry model = self.geometry
        if not needs_blas():
            return no_hold
        cdef size_t widest = max(model.input_size, model.hidden_size, model.width, model.output_size)
        cdef double largest = <double>rows * 4.0 * <double>model.hidden_size * <double>widest
        return hold_blas if largest > 262144 else no_hold


# ---- Locks, edits, arrays of a user, recorded passes, streams ----

include "_boundary/_blas_hold.pxi"
include "_boundary/_edit.pxi"
include "_boundary/_lock.pxi"
include "_boundary/_named_arrays.pxi"
include "_boundary/_recording.pxi"
include "_boundary/_stream.pxi"


# ---- For other Cython modules (_core.pxd) ----

cdef const clstm_model *model_of(lstm) except NULL:
    """Return the handle of a `clstm.LSTM`, valid for the object's lifetime. Nobody may edit the object during use."""
    model = getattr(lstm, "_model", None)
    if type(model) is not Model:
        raise TypeError(f"expected a clstm.LSTM, got {type(lstm).__name__}")
    return (<Model>model).handle


include "_api/definitions.pxi"
