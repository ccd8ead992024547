# The functions of clstm.h as Cython functions, which other modules can import: a part of _core.pyx.


cdef const clstm_model *model_of(lstm) except NULL:
    """The handle of a `clstm.LSTM`, valid as long as the object, which must not be edited while it is used."""
    model = getattr(lstm, "_model", None)
    if type(model) is not Model:
        raise TypeError(f"expected a clstm.LSTM, got {type(lstm).__name__}")
    return (<Model>model).handle


cdef const char *c_version() noexcept nogil:
    return clstm_version()


cdef const char *c_strerror(clstm_status status) noexcept nogil:
    return clstm_strerror(status)


cdef clstm_team c_openmp_team(size_t threads) noexcept nogil:
    return clstm_openmp_team(threads)


cdef size_t c_default_threads() noexcept nogil:
    return clstm_default_threads()


cdef int c_has_openmp() noexcept nogil:
    return clstm_has_openmp()


cdef const char *c_isa() noexcept nogil:
    return clstm_isa()


cdef const char *const *c_isa_list() noexcept nogil:
    return clstm_isa_list()


cdef const char *c_engine() noexcept nogil:
    return clstm_engine()


cdef const char *const *c_engine_list() noexcept nogil:
    return clstm_engine_list()


cdef clstm_status c_config_count(const clstm_config *config, size_t *tensors, size_t *elements) noexcept nogil:
    return clstm_config_count(config, tensors, elements)


cdef clstm_status c_config_parameter(
        const clstm_config *config, size_t index, clstm_parameter *parameter) noexcept nogil:
    return clstm_config_parameter(config, index, parameter)


cdef clstm_status c_model_create(
        const clstm_config *config, const float *parameters, const clstm_context *context,
        clstm_model **model) noexcept nogil:
    return clstm_model_create(config, parameters, context, model)


cdef clstm_status c_model_create_f64(
        const clstm_config *config, const double *parameters, const clstm_context *context,
        clstm_model **model) noexcept nogil:
    return clstm_model_create_f64(config, parameters, context, model)


cdef clstm_status c_model_update(clstm_model *model, const float *parameters) noexcept nogil:
    return clstm_model_update(model, parameters)


cdef clstm_status c_model_update_f64(clstm_model *model, const double *parameters) noexcept nogil:
    return clstm_model_update_f64(model, parameters)


cdef const float *c_model_parameters(const clstm_model *model) noexcept nogil:
    return clstm_model_parameters(model)


cdef const double *c_model_parameters_f64(const clstm_model *model) noexcept nogil:
    return clstm_model_parameters_f64(model)


cdef void c_model_free(clstm_model *model) noexcept nogil:
    clstm_model_free(model)


cdef clstm_status c_model_from_bytes(
        const void *bytes, size_t size, const clstm_context *context, clstm_model **model) noexcept nogil:
    return clstm_model_from_bytes(bytes, size, context, model)


cdef clstm_status c_model_from_file(
        const char *path, const clstm_context *context, clstm_model **model) noexcept nogil:
    return clstm_model_from_file(path, context, model)


cdef int c_model_is_f64(const clstm_model *model) noexcept nogil:
    return clstm_model_is_f64(model)


cdef const clstm_config *c_model_config(const clstm_model *model) noexcept nogil:
    return clstm_model_config(model)


cdef clstm_status c_forward(
        const clstm_model *model, const clstm_sequence *sequence, const clstm_context *context) noexcept nogil:
    return clstm_forward(model, sequence, context)


cdef clstm_status c_forward_f64(
        const clstm_model *model, const clstm_sequence_f64 *sequence, const clstm_context *context) noexcept nogil:
    return clstm_forward_f64(model, sequence, context)


cdef clstm_status c_record(
        const clstm_model *model, const clstm_sequence *sequence, const clstm_context *context,
        clstm_tape **tape) noexcept nogil:
    return clstm_record(model, sequence, context, tape)


cdef clstm_status c_record_f64(
        const clstm_model *model, const clstm_sequence_f64 *sequence, const clstm_context *context,
        clstm_tape **tape) noexcept nogil:
    return clstm_record_f64(model, sequence, context, tape)


cdef clstm_status c_tape_read(
        const clstm_tape *tape, clstm_tape_field field, size_t part, float *out, size_t row_stride) noexcept nogil:
    return clstm_tape_read(tape, field, part, out, row_stride)


cdef clstm_status c_tape_read_f64(
        const clstm_tape *tape, clstm_tape_field field, size_t part, double *out, size_t row_stride) noexcept nogil:
    return clstm_tape_read_f64(tape, field, part, out, row_stride)


cdef void c_tape_free(clstm_tape *tape) noexcept nogil:
    clstm_tape_free(tape)


cdef clstm_status c_backward(
        clstm_tape *tape, const clstm_gradients *gradients, const clstm_context *context) noexcept nogil:
    return clstm_backward(tape, gradients, context)


cdef clstm_status c_backward_f64(
        clstm_tape *tape, const clstm_gradients_f64 *gradients, const clstm_context *context) noexcept nogil:
    return clstm_backward_f64(tape, gradients, context)


cdef clstm_status c_adam_step(
        clstm_model *model, const clstm_adam *adam, const float *gradients, float *m, float *v,
        const clstm_context *context) noexcept nogil:
    return clstm_adam_step(model, adam, gradients, m, v, context)


cdef clstm_status c_adam_step_f64(
        clstm_model *model, const clstm_adam *adam, const double *gradients, double *m, double *v,
        const clstm_context *context) noexcept nogil:
    return clstm_adam_step_f64(model, adam, gradients, m, v, context)


cdef clstm_status c_sgd_step(
        clstm_model *model, const clstm_sgd *sgd, const float *gradients, float *velocity,
        const clstm_context *context) noexcept nogil:
    return clstm_sgd_step(model, sgd, gradients, velocity, context)


cdef clstm_status c_sgd_step_f64(
        clstm_model *model, const clstm_sgd *sgd, const double *gradients, double *velocity,
        const clstm_context *context) noexcept nogil:
    return clstm_sgd_step_f64(model, sgd, gradients, velocity, context)


cdef clstm_status c_clip_global_norm(
        size_t n, float *gradients, double max_norm, double *norm, const clstm_context *context) noexcept nogil:
    return clstm_clip_global_norm(n, gradients, max_norm, norm, context)


cdef clstm_status c_clip_global_norm_f64(
        size_t n, double *gradients, double max_norm, double *norm, const clstm_context *context) noexcept nogil:
    return clstm_clip_global_norm_f64(n, gradients, max_norm, norm, context)


cdef clstm_status c_stream_size(const clstm_model *model, size_t batch, size_t *bytes) noexcept nogil:
    return clstm_stream_size(model, batch, bytes)


cdef clstm_status c_stream_init(
        const clstm_model *model, size_t batch, int flags, void *memory, size_t bytes,
        clstm_stream **stream) noexcept nogil:
    return clstm_stream_init(model, batch, flags, memory, bytes, stream)


cdef clstm_status c_stream_fork(
        const clstm_stream *source, size_t batch, void *memory, size_t bytes, clstm_stream **stream) noexcept nogil:
    return clstm_stream_fork(source, batch, memory, bytes, stream)


cdef clstm_status c_stream_refresh(clstm_stream *stream, const clstm_model *model) noexcept nogil:
    return clstm_stream_refresh(stream, model)


cdef void c_stream_release(clstm_stream *stream) noexcept nogil:
    clstm_stream_release(stream)


cdef clstm_status c_stream_step(clstm_stream *stream, const float *x, float *y) noexcept nogil:
    return clstm_stream_step(stream, x, y)


cdef clstm_status c_stream_step_f64(clstm_stream *stream, const double *x, double *y) noexcept nogil:
    return clstm_stream_step_f64(stream, x, y)


cdef clstm_status c_stream_process(clstm_stream *stream, size_t steps, const float *x, float *y) noexcept nogil:
    return clstm_stream_process(stream, steps, x, y)


cdef clstm_status c_stream_process_f64(
        clstm_stream *stream, size_t steps, const double *x, double *y) noexcept nogil:
    return clstm_stream_process_f64(stream, steps, x, y)


cdef clstm_status c_stream_reset(clstm_stream *stream) noexcept nogil:
    return clstm_stream_reset(stream)


cdef clstm_status c_stream_get_state(const clstm_stream *stream, float *h, float *c) noexcept nogil:
    return clstm_stream_get_state(stream, h, c)


cdef clstm_status c_stream_get_state_f64(const clstm_stream *stream, double *h, double *c) noexcept nogil:
    return clstm_stream_get_state_f64(stream, h, c)


cdef clstm_status c_stream_set_state(clstm_stream *stream, const float *h, const float *c) noexcept nogil:
    return clstm_stream_set_state(stream, h, c)


cdef clstm_status c_stream_set_state_f64(clstm_stream *stream, const double *h, const double *c) noexcept nogil:
    return clstm_stream_set_state_f64(stream, h, c)


cdef size_t c_stream_rows(const clstm_stream *stream) noexcept nogil:
    return clstm_stream_rows(stream)


cdef clstm_status c_stream_join(clstm_stream *stream, size_t *row) noexcept nogil:
    return clstm_stream_join(stream, row)


cdef clstm_status c_stream_leave(clstm_stream *stream, size_t row) noexcept nogil:
    return clstm_stream_leave(stream, row)


cdef clstm_status c_tanh(size_t n, const float *x, float *y) noexcept nogil:
    return clstm_tanh(n, x, y)


cdef clstm_status c_tanh_f64(size_t n, const double *x, double *y) noexcept nogil:
    return clstm_tanh_f64(n, x, y)


cdef clstm_status c_sigmoid(size_t n, const float *x, float *y) noexcept nogil:
    return clstm_sigmoid(n, x, y)


cdef clstm_status c_sigmoid_f64(size_t n, const double *x, double *y) noexcept nogil:
    return clstm_sigmoid_f64(n, x, y)
