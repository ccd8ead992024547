/* Streams without their arithmetic, which is in passes/stream.h: memory, weights, and which rows are active. */
#include "stream_base.h"

static const clstm_i_stream_functions *functions_of(int is_f64) {
    return is_f64 ? &clstm_i_stream_f64 : &clstm_i_stream_f32;
}

static clstm_status measure(const clstm_i_stream_plan *plan, const clstm_i_isa **isa, size_t *bytes) {
    if (!plan->batch) return CLSTM_INVALID_ARGUMENT;
    if (plan->config->direction != CLSTM_FORWARD) return CLSTM_NOT_CAUSAL;
    *isa = clstm_i_dispatch();
    return *isa ? functions_of(plan->is_f64)->measure(plan, *isa, bytes) : CLSTM_UNKNOWN_ISA;
}

static clstm_i_stream_plan plan_for(const clstm_model *model, size_t batch) {
    return (clstm_i_stream_plan){&model->config, model->is_f64, model->plays, batch};
}

clstm_status clstm_stream_size(const clstm_model *model, size_t batch, size_t *bytes) {
    const clstm_i_isa *isa;
    if (!model || !bytes) return CLSTM_INVALID_ARGUMENT;
    const clstm_i_stream_plan plan = plan_for(model, batch);
    return measure(&plan, &isa, bytes);
}

/* Makes a stream without weights or rows; NULL with *status set if it can't be made or `bytes` are too few. */
static clstm_stream *make(const clstm_i_stream_plan *plan, void *memory, size_t bytes, clstm_status *status) {
    const clstm_i_isa *isa;
    size_t needed;
    *status = measure(plan, &isa, &needed);
    if (!*status && bytes < needed) *status = CLSTM_INVALID_ARGUMENT;
    if (*status) return NULL;
    char *aligned = clstm_i_align(memory);
    functions_of(plan->is_f64)->begin(plan, isa, aligned);
    return (clstm_stream *)aligned;
}

clstm_status clstm_stream_init(const clstm_model *model, size_t batch, int flags, void *memory, size_t bytes,
                               clstm_stream **result) {
    clstm_status status;
    if (!result) return CLSTM_INVALID_ARGUMENT;
    *result = NULL;
    if (!model || !memory || flags & ~CLSTM_STREAM_KEEP_ENVIRONMENT) return CLSTM_INVALID_ARGUMENT;
    const clstm_i_stream_plan plan = plan_for(model, batch);
    clstm_stream *stream = make(&plan, memory, bytes, &status);
    if (!stream) return status;
    stream->around = model->around;
    stream->context = model->context;
    stream->flags = flags;
    status = functions_of(stream->is_f64)->take_weights(stream, model);
    if (status) return status;
    stream->rows = batch;
    clstm_stream_reset(stream);
    *result = stream;
    return CLSTM_OK;
}

clstm_status clstm_stream_fork(const clstm_stream *from, size_t batch, void *memory, size_t bytes,
                               clstm_stream **result) {
    clstm_status status;
    if (!result) return CLSTM_INVALID_ARGUMENT;
    *result = NULL;
    if (!from || !from->pack || !memory || batch < from->rows) return CLSTM_INVALID_ARGUMENT;
    const clstm_i_stream_functions *functions = functions_of(from->is_f64);
    const clstm_i_stream_plan plan = {&from->config, from->is_f64, from->plays, batch};
    clstm_stream *stream = make(&plan, memory, bytes, &status);
    if (!stream) return status;
    stream->around = from->around;
    stream->context = from->context;
    stream->flags = from->flags;
    functions->share_weights(from, stream);
    stream->rows = from->rows;
    for (size_t row = 0; row < from->rows; row++) functions->copy_row(from, row, stream, row);
    *result = stream;
    return CLSTM_OK;
}

clstm_status clstm_stream_refresh(clstm_stream *stream, const clstm_model *model) {
    if (!stream || !model || !clstm_i_same_config(&stream->config, &model->config)) return CLSTM_INVALID_ARGUMENT;
    if (stream->is_f64 != model->is_f64) return CLSTM_WRONG_DTYPE;
    if (stream->plays != model->plays) return CLSTM_INVALID_ARGUMENT;
    const clstm_context context = stream->context;
    clstm_i_owned *before = stream->pack;
    const clstm_status status = functions_of(stream->is_f64)->take_weights(stream, model);
    if (status) return status;
    stream->context = model->context;
    stream->around = model->around;
    clstm_i_drop_pack(&context, before);
    return CLSTM_OK;
}

void clstm_stream_release(clstm_stream *stream) {
    if (!stream) return;
    clstm_i_drop_pack(&stream->context, stream->pack);
    stream->pack = NULL;
    stream->rows = 0; /* it computes nothing from now on */
}

clstm_status clstm_stream_reset(clstm_stream *stream) {
    if (!stream) return CLSTM_INVALID_ARGUMENT;
    for (size_t row = 0; row < stream->rows; row++) functions_of(stream->is_f64)->start_row(stream, row);
    return CLSTM_OK;
}

/* ---- Rows ---- */

size_t clstm_stream_rows(const clstm_stream *stream) { return stream ? stream->rows : 0; }

clstm_status clstm_stream_join(clstm_stream *stream, size_t *row) {
    if (!stream || !row || !stream->pack || stream->rows == stream->capacity) return CLSTM_INVALID_ARGUMENT;
    *row = stream->rows++;
    functions_of(stream->is_f64)->start_row(stream, *row);
    return CLSTM_OK;
}

clstm_status clstm_stream_leave(clstm_stream *stream, size_t row) {
    if (!stream || row >= stream->rows) return CLSTM_INVALID_ARGUMENT;
    stream->rows--;
    if (row < stream->rows) functions_of(stream->is_f64)->copy_row(stream, stream->rows, stream, row);
    return CLSTM_OK;
}
