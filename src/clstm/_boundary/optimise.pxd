# The optimisers' passes over flat arrays of either type. Inline, for _core.pyx.

cimport numpy as cnp

from ..clstm_c cimport *


cdef inline clstm_status adam(clstm_model *model, int typenum, const void *g, void *m, void *v, settings,
                              const clstm_context *context) except *:
    cdef clstm_adam step = CLSTM_ADAM_INIT
    cdef clstm_status status
    step.step, step.lr, step.beta1, step.beta2, step.eps = settings
    with nogil:
        if typenum == cnp.NPY_FLOAT64:
            status = clstm_adam_step_f64(model, &step, <const double *>g, <double *>m, <double *>v, context)
        else:
            status = clstm_adam_step(model, &step, <const float *>g, <float *>m, <float *>v, context)
    return status


cdef inline clstm_status sgd(clstm_model *model, int typenum, const void *g, void *velocity, settings,
                             const clstm_context *context) except *:
    cdef clstm_sgd step = CLSTM_SGD_INIT
    cdef clstm_status status
    step.lr, step.momentum = settings
    with nogil:
        if typenum == cnp.NPY_FLOAT64:
            status = clstm_sgd_step_f64(model, &step, <const double *>g, <double *>velocity, context)
        else:
            status = clstm_sgd_step(model, &step, <const float *>g, <float *>velocity, context)
    return status


cdef inline clstm_status clip(void *flat, size_t n, int typenum, double max_norm, double *norm,
                              const clstm_context *context) noexcept:
    cdef clstm_status status
    with nogil:
        if typenum == cnp.NPY_FLOAT64:
            status = clstm_clip_global_norm_f64(n, <double *>flat, max_norm, norm, context)
        else:
            status = clstm_clip_global_norm(n, <float *>flat, max_norm, norm, context)
    return status
