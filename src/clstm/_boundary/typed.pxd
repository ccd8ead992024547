# The functions of clstm.h that come in two types, each as one that is told which. Inline, for _core.pyx.

from ..clstm_c cimport *
from .passes cimport Gradients, Sequences


cdef inline clstm_status create(const clstm_config *config, const void *flat, clstm_model **model,
                                bint is_f64) noexcept:
    if is_f64:
        return clstm_model_create_f64(config, <const double *>flat, NULL, model)
    return clstm_model_create(config, <const float *>flat, NULL, model)


cdef inline clstm_status update(clstm_model *model, const void *flat, bint is_f64) noexcept:
    if is_f64:
        return clstm_model_update_f64(model, <const double *>flat)
    return clstm_model_update(model, <const float *>flat)


cdef inline const void *parameters_of(const clstm_model *model, bint is_f64) noexcept:
    if is_f64:
        return clstm_model_parameters_f64(model)
    return clstm_model_parameters(model)


cdef inline clstm_status forward(const clstm_model *model, const Sequences *s, const clstm_context *context,
                                 clstm_tape **tape, bint is_f64) noexcept nogil:
    """Run a pass, and record it if `tape` is not NULL."""
    if tape == NULL:
        if is_f64:
            return clstm_forward_f64(model, &s.f64, context)
        return clstm_forward(model, &s.f32, context)
    if is_f64:
        return clstm_record_f64(model, &s.f64, context, tape)
    return clstm_record(model, &s.f32, context, tape)


cdef inline clstm_status read(const clstm_tape *tape, int field, size_t part, void *out, size_t row_stride,
                              bint is_f64) noexcept:
    if is_f64:
        return clstm_tape_read_f64(tape, <clstm_tape_field>field, part, <double *>out, row_stride)
    return clstm_tape_read(tape, <clstm_tape_field>field, part, <float *>out, row_stride)


cdef inline clstm_status backward(clstm_tape *tape, const Gradients *g, const clstm_context *context,
                                  bint is_f64) noexcept nogil:
    if is_f64:
        return clstm_backward_f64(tape, &g.f64, context)
    return clstm_backward(tape, &g.f32, context)


cdef inline clstm_status process(clstm_stream *stream, size_t steps, const void *x, void *y,
                                 bint is_f64) noexcept nogil:
    if is_f64:
        return clstm_stream_process_f64(stream, steps, <const double *>x, <double *>y)
    return clstm_stream_process(stream, steps, <const float *>x, <float *>y)


cdef inline clstm_status get_state(const clstm_stream *stream, void *h, void *c, bint is_f64) noexcept:
    if is_f64:
        return clstm_stream_get_state_f64(stream, <double *>h, <double *>c)
    return clstm_stream_get_state(stream, <float *>h, <float *>c)


cdef inline clstm_status set_state(clstm_stream *stream, const void *h, const void *c, bint is_f64) noexcept:
    if is_f64:
        return clstm_stream_set_state_f64(stream, <const double *>h, <const double *>c)
    return clstm_stream_set_state(stream, <const float *>h, <const float *>c)


cdef inline clstm_status tanh_of(size_t n, const void *x, void *y, bint is_f64) noexcept:
    if is_f64:
        return clstm_tanh_f64(n, <const double *>x, <double *>y)
    return clstm_tanh(n, <const float *>x, <float *>y)


cdef inline clstm_status sigmoid_of(size_t n, const void *x, void *y, bint is_f64) noexcept:
    if is_f64:
        return clstm_sigmoid_f64(n, <const double *>x, <double *>y)
    return clstm_sigmoid(n, <const float *>x, <float *>y)
