# The structs of a pass: the layout of its rows, and the float32 and float64 forms, which get the same values. All
# functions are inline; _core.pyx keeps the arrays alive.

cimport numpy as cnp

from .arrays cimport data
from ..clstm_c cimport *


cdef struct Rows:
    size_t steps, batch
    size_t total  # rows of x: steps * batch, or the sum of the lengths if ragged
    int axes  # of the states: 3, or 2 without a batch
    const size_t *lengths  # (batch,), or NULL
    bint ragged


cdef inline Rows rows_of(cnp.ndarray x, cnp.ndarray lengths, bint ragged) noexcept:
    """Return the layout of the rows of x: (T, B, I), (T, I) or ragged (sum T_i, I)."""
    cdef Rows rows
    cdef size_t k
    rows.lengths = <const size_t *>data(lengths)
    rows.ragged = ragged
    if ragged:
        rows.steps, rows.batch, rows.total, rows.axes = 0, lengths.shape[0], x.shape[0], 3
        for k in range(rows.batch):
            rows.steps = max(rows.steps, rows.lengths[k])
    else:
        rows.steps, rows.batch, rows.axes = x.shape[0], x.shape[1] if x.ndim == 3 else 1, x.ndim
        rows.total = rows.steps * rows.batch
    return rows


cdef inline bint lengths_fit(const Rows *rows, cnp.ndarray lengths) noexcept:
    """Tell whether there is a length for each row and, if ragged, x has as many rows as they say."""
    cdef size_t k, total = 0
    if lengths is None:
        return not rows.ragged
    if not rows.ragged:
        return <size_t>lengths.shape[0] == rows.batch  # the core compares each with the steps
    for k in range(rows.batch):
        if rows.lengths[k] > rows.total - total:
            return False
        total += rows.lengths[k]
    return total == rows.total


cdef struct Sequences:  # the model's dtype selects one
    clstm_sequence f32
    clstm_sequence_f64 f64


cdef inline Sequences sequences(const Rows *rows, clstm_keep keep) noexcept:
    cdef Sequences s
    s.f32, s.f64 = CLSTM_SEQUENCE_INIT, CLSTM_SEQUENCE_F64_INIT
    s.f32.steps = s.f64.steps = rows.steps
    s.f32.batch = s.f64.batch = rows.batch
    s.f32.lengths = s.f64.lengths = rows.lengths
    s.f32.ragged = s.f64.ragged = rows.ragged
    s.f32.keep = s.f64.keep = keep
    return s


cdef inline const void *sequence_of(const Sequences *s, bint is_f64) noexcept nogil:
    if is_f64:
        return &s.f64
    return &s.f32


cdef inline void set_inputs(Sequences *s, cnp.ndarray x, cnp.ndarray h0, cnp.ndarray c0) noexcept:
    s.f32.x, s.f64.x = <const float *>data(x), <const double *>data(x)
    s.f32.h0, s.f64.h0 = <const float *>data(h0), <const double *>data(h0)
    s.f32.c0, s.f64.c0 = <const float *>data(c0), <const double *>data(c0)


cdef inline void set_masks(Sequences *s, cnp.ndarray dropout, cnp.ndarray recurrent) noexcept:
    s.f32.dropout, s.f64.dropout = <const float *>data(dropout), <const double *>data(dropout)
    s.f32.recurrent_dropout = <const float *>data(recurrent)
    s.f64.recurrent_dropout = <const double *>data(recurrent)


cdef inline void set_results(Sequences *s, cnp.ndarray y, cnp.ndarray h, cnp.ndarray c) noexcept:
    s.f32.y, s.f64.y = <float *>data(y), <double *>data(y)
    s.f32.hn, s.f64.hn = <float *>data(h), <double *>data(h)
    s.f32.cn, s.f64.cn = <float *>data(c), <double *>data(c)


# ---- Backward ----

cdef struct Gradients:  # the model's dtype selects one
    clstm_gradients f32
    clstm_gradients_f64 f64


cdef inline Gradients gradients(cnp.ndarray flat, bint accumulate) noexcept:
    cdef Gradients g
    g.f32, g.f64 = CLSTM_GRADIENTS_INIT, CLSTM_GRADIENTS_F64_INIT
    g.f32.parameters, g.f64.parameters = <float *>data(flat), <double *>data(flat)
    g.f32.accumulate = g.f64.accumulate = accumulate
    return g


cdef inline const void *gradients_of(const Gradients *g, bint is_f64) noexcept nogil:
    if is_f64:
        return &g.f64
    return &g.f32


cdef inline void set_incoming(Gradients *g, cnp.ndarray dy, cnp.ndarray dh, cnp.ndarray dc) noexcept:
    g.f32.dy, g.f64.dy = <const float *>data(dy), <const double *>data(dy)
    g.f32.dhn, g.f64.dhn = <const float *>data(dh), <const double *>data(dh)
    g.f32.dcn, g.f64.dcn = <const float *>data(dc), <const double *>data(dc)


cdef inline void set_outgoing(Gradients *g, cnp.ndarray dx, cnp.ndarray dh0, cnp.ndarray dc0) noexcept:
    g.f32.dx, g.f64.dx = <float *>data(dx), <double *>data(dx)
    g.f32.dh0, g.f64.dh0 = <float *>data(dh0), <double *>data(dh0)
    g.f32.dc0, g.f64.dc0 = <float *>data(dc0), <double *>data(dc0)
