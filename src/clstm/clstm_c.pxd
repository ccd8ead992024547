# The only transcription of clstm.h for Cython. INIT macros get a type, so that Cython can assign them.

cdef extern from "clstm.h" nogil:
    const char *clstm_version()

    ctypedef enum clstm_status:
        CLSTM_OK
        CLSTM_INVALID_ARGUMENT
        CLSTM_INVALID_CONFIG
        CLSTM_OVERFLOW
        CLSTM_OUT_OF_MEMORY
        CLSTM_WRONG_DTYPE
        CLSTM_CANCELLED
        CLSTM_TAPE_CONSUMED
        CLSTM_MODEL_CHANGED
        CLSTM_NOT_CAUSAL
        CLSTM_NO_GRADIENT
        CLSTM_UNKNOWN_ISA
        CLSTM_UNKNOWN_ENGINE
        CLSTM_INVALID_FILE
        CLSTM_FILE_ERROR
        CLSTM_STREAM_ONLY

    const char *clstm_strerror(clstm_status status)

    ctypedef struct clstm_gemm:
        size_t m, n, k
        const float *a
        const float *b
        float *c
        size_t lda, ldb, ldc
        int transpose_a, transpose_b, accumulate

    ctypedef struct clstm_gemm_f64:
        size_t m, n, k
        const double *a
        const double *b
        double *c
        size_t lda, ldb, ldc
        int transpose_a, transpose_b, accumulate

    ctypedef struct clstm_team:
        size_t threads

    clstm_team clstm_pool_team(size_t threads)
    clstm_team clstm_openmp_team(size_t threads)
    size_t clstm_default_threads()
    int clstm_has_openmp()

    ctypedef struct clstm_context:
        void (*sgemm)(const clstm_gemm *product) noexcept nogil
        void (*dgemm)(const clstm_gemm_f64 *product) noexcept nogil
        int (*cancelled)(void *user) noexcept nogil
        clstm_team team
        const char *engine

    clstm_context CLSTM_CONTEXT_INIT "((clstm_context)CLSTM_CONTEXT_INIT)"

    const char *clstm_isa()
    const char *const *clstm_isa_list()
    const char *clstm_engine()
    const char *const *clstm_engine_list()

    ctypedef enum clstm_direction:
        CLSTM_FORWARD
        CLSTM_REVERSE
        CLSTM_BIDIRECTIONAL

    ctypedef enum clstm_function:
        CLSTM_DEFAULT
        CLSTM_SIGMOID
        CLSTM_TANH
        CLSTM_HARD_SIGMOID
        CLSTM_RELU
        CLSTM_AFFINE
        CLSTM_LEAKY_RELU
        CLSTM_THRESHOLDED_RELU
        CLSTM_SCALED_TANH
        CLSTM_ELU
        CLSTM_SOFTSIGN
        CLSTM_SOFTPLUS

    ctypedef struct clstm_activation:
        clstm_function function
        double alpha, beta

    ctypedef struct clstm_cell:
        int peephole, coupled
        double clip, cell_clip
        clstm_activation gate, cell, hidden

    ctypedef enum clstm_activations:
        CLSTM_ACCURATE
        CLSTM_FAST

    ctypedef struct clstm_config:
        size_t input_size, hidden_size, num_layers, output_size
        int no_bias
        clstm_direction direction
        size_t proj_size
        int learn_state
        clstm_cell cell
        clstm_activations activations

    clstm_config CLSTM_CONFIG_INIT "((clstm_config)CLSTM_CONFIG_INIT)"

    ctypedef struct clstm_parameter:
        char name[48]
        size_t rows, columns, offset

    clstm_status clstm_config_count(const clstm_config *config, size_t *tensors, size_t *elements)
    clstm_status clstm_config_parameter(const clstm_config *config, size_t index, clstm_parameter *parameter)

    ctypedef struct clstm_model:
        pass

    clstm_status clstm_model_create(
        const clstm_config *config, const float *parameters, const clstm_context *context, clstm_model **model)
    clstm_status clstm_model_create_f64(
        const clstm_config *config, const double *parameters, const clstm_context *context, clstm_model **model)
    clstm_status clstm_model_create_on(
        const clstm_config *config, float *parameters, const clstm_context *context, clstm_model **model)
    clstm_status clstm_model_create_on_f64(
        const clstm_config *config, double *parameters, const clstm_context *context, clstm_model **model)
    clstm_status clstm_model_touch(clstm_model *model)
    clstm_status clstm_model_update(clstm_model *model, const float *parameters)
    clstm_status clstm_model_update_f64(clstm_model *model, const double *parameters)
    const float *clstm_model_parameters(const clstm_model *model)
    const double *clstm_model_parameters_f64(const clstm_model *model)
    void clstm_model_free(clstm_model *model)

    clstm_status clstm_model_from_bytes(
        const void *bytes, size_t size, const clstm_context *context, clstm_model **model)
    clstm_status clstm_model_from_file(const char *path, const clstm_context *context, clstm_model **model)
    int clstm_model_is_f64(const clstm_model *model)
    const clstm_config *clstm_model_config(const clstm_model *model)

    ctypedef struct clstm_around:
        double input_gain
        double skip
        double output_gain

    clstm_around CLSTM_AROUND_INIT "((clstm_around)CLSTM_AROUND_INIT)"

    clstm_status clstm_model_set_around(clstm_model *model, const clstm_around *around)
    const clstm_around *clstm_model_around(const clstm_model *model)

    ctypedef enum clstm_keep:
        CLSTM_KEEP_GATES
        CLSTM_KEEP_STATES

    ctypedef struct clstm_sequence:
        size_t steps, batch
        const float *x
        const float *h0
        const float *c0
        float *y
        float *hn
        float *cn
        clstm_keep keep
        const size_t *lengths
        int ragged
        const float *dropout
        const float *recurrent_dropout

    ctypedef struct clstm_sequence_f64:
        size_t steps, batch
        const double *x
        const double *h0
        const double *c0
        double *y
        double *hn
        double *cn
        clstm_keep keep
        const size_t *lengths
        int ragged
        const double *dropout
        const double *recurrent_dropout

    clstm_sequence CLSTM_SEQUENCE_INIT "((clstm_sequence)CLSTM_SEQUENCE_INIT)"
    clstm_sequence_f64 CLSTM_SEQUENCE_F64_INIT "((clstm_sequence_f64)CLSTM_SEQUENCE_F64_INIT)"

    clstm_status clstm_forward(
        const clstm_model *model, const clstm_sequence *sequence, const clstm_context *context)
    clstm_status clstm_forward_f64(
        const clstm_model *model, const clstm_sequence_f64 *sequence, const clstm_context *context)

    ctypedef struct clstm_tape:
        pass

    ctypedef enum clstm_tape_field:
        CLSTM_INPUT_GATE
        CLSTM_FORGET_GATE
        CLSTM_CELL_GATE
        CLSTM_OUTPUT_GATE
        CLSTM_CELL_STATE
        CLSTM_HIDDEN_STATE

    clstm_status clstm_record(
        const clstm_model *model, const clstm_sequence *sequence, const clstm_context *context, clstm_tape **tape)
    clstm_status clstm_record_f64(
        const clstm_model *model, const clstm_sequence_f64 *sequence, const clstm_context *context, clstm_tape **tape)
    clstm_status clstm_tape_read(
        const clstm_tape *tape, clstm_tape_field field, size_t part, float *out, size_t row_stride)
    clstm_status clstm_tape_read_f64(
        const clstm_tape *tape, clstm_tape_field field, size_t part, double *out, size_t row_stride)
    void clstm_tape_free(clstm_tape *tape)

    ctypedef struct clstm_gradients:
        const float *dy
        const float *dhn
        const float *dcn
        float *dx
        float *dh0
        float *dc0
        float *parameters
        int accumulate

    ctypedef struct clstm_gradients_f64:
        const double *dy
        const double *dhn
        const double *dcn
        double *dx
        double *dh0
        double *dc0
        double *parameters
        int accumulate

    clstm_gradients CLSTM_GRADIENTS_INIT "((clstm_gradients)CLSTM_GRADIENTS_INIT)"
    clstm_gradients_f64 CLSTM_GRADIENTS_F64_INIT "((clstm_gradients_f64)CLSTM_GRADIENTS_F64_INIT)"

    clstm_status clstm_backward(clstm_tape *tape, const clstm_gradients *gradients, const clstm_context *context)
    clstm_status clstm_backward_f64(
        clstm_tape *tape, const clstm_gradients_f64 *gradients, const clstm_context *context)

    ctypedef struct clstm_adam:
        size_t step
        double lr
        double beta1
        double beta2
        double eps
        double weight_decay

    ctypedef struct clstm_sgd:
        double lr
        double momentum
        double weight_decay

    clstm_adam CLSTM_ADAM_INIT "((clstm_adam)CLSTM_ADAM_INIT)"
    clstm_sgd CLSTM_SGD_INIT "((clstm_sgd)CLSTM_SGD_INIT)"

    clstm_status clstm_adam_step(
        clstm_model *model, const clstm_adam *adam, const float *gradients, float *m, float *v,
        const clstm_context *context)
    clstm_status clstm_adam_step_f64(
        clstm_model *model, const clstm_adam *adam, const double *gradients, double *m, double *v,
        const clstm_context *context)
    clstm_status clstm_sgd_step(
        clstm_model *model, const clstm_sgd *sgd, const float *gradients, float *velocity,
        const clstm_context *context)
    clstm_status clstm_sgd_step_f64(
        clstm_model *model, const clstm_sgd *sgd, const double *gradients, double *velocity,
        const clstm_context *context)
    clstm_status clstm_adam_update(
        size_t n, const clstm_adam *adam, float *parameters, const float *gradients, float *m, float *v,
        const clstm_context *context)
    clstm_status clstm_adam_update_f64(
        size_t n, const clstm_adam *adam, double *parameters, const double *gradients, double *m, double *v,
        const clstm_context *context)
    clstm_status clstm_sgd_update(
        size_t n, const clstm_sgd *sgd, float *parameters, const float *gradients, float *velocity,
        const clstm_context *context)
    clstm_status clstm_sgd_update_f64(
        size_t n, const clstm_sgd *sgd, double *parameters, const double *gradients, double *velocity,
        const clstm_context *context)
    clstm_status clstm_clip_global_norm(
        size_t n, float *gradients, double max_norm, double *norm, const clstm_context *context)
    clstm_status clstm_clip_global_norm_f64(
        size_t n, double *gradients, double max_norm, double *norm, const clstm_context *context)

    ctypedef struct clstm_stream:
        pass

    clstm_status clstm_stream_size(const clstm_model *model, size_t batch, size_t *bytes)
    clstm_status clstm_stream_init(
        const clstm_model *model, size_t batch, int flags, void *memory, size_t bytes, clstm_stream **stream)
    clstm_status clstm_stream_fork(
        const clstm_stream *source, size_t batch, void *memory, size_t bytes, clstm_stream **stream)
    clstm_status clstm_stream_refresh(clstm_stream *stream, const clstm_model *model)
    void clstm_stream_release(clstm_stream *stream)
    clstm_status clstm_stream_step(clstm_stream *stream, const float *x, float *y)
    clstm_status clstm_stream_step_f64(clstm_stream *stream, const double *x, double *y)
    clstm_status clstm_stream_process(clstm_stream *stream, size_t steps, const float *x, float *y)
    clstm_status clstm_stream_process_f64(clstm_stream *stream, size_t steps, const double *x, double *y)
    clstm_status clstm_stream_reset(clstm_stream *stream)
    clstm_status clstm_stream_get_state(const clstm_stream *stream, float *h, float *c)
    clstm_status clstm_stream_get_state_f64(const clstm_stream *stream, double *h, double *c)
    clstm_status clstm_stream_set_state(clstm_stream *stream, const float *h, const float *c)
    clstm_status clstm_stream_set_state_f64(clstm_stream *stream, const double *h, const double *c)
    size_t clstm_stream_rows(const clstm_stream *stream)
    clstm_status clstm_stream_join(clstm_stream *stream, size_t *row)
    clstm_status clstm_stream_leave(clstm_stream *stream, size_t row)

    clstm_status clstm_tanh(size_t n, const float *x, float *y)
    clstm_status clstm_tanh_f64(size_t n, const double *x, double *y)
    clstm_status clstm_sigmoid(size_t n, const float *x, float *y)
    clstm_status clstm_sigmoid_f64(size_t n, const double *x, double *y)
