/* The time loop of the forward pass, typed: chunks of steps through all layers and the readout. */

/* Where a pass keeps its values. Without a tape, one chunk of one layer at a time. */
typedef struct TYPED(workspace) {
    void *block;
    clstm_tape *tape;
    size_t rows;     /* of the longest chunk */
    real *h, *c;     /* (L, B, H) the state before the chunk */
    real *gates;     /* (rows, 4H) */
    real *hidden[2]; /* (rows, H) output of this layer and of the one below */
    real *no_bias;   /* (4H,) zeros, for a model without bias */
} TYPED(workspace);

/* The rows of the longest chunk: at least one step, at most the whole sequence. */
static size_t TYPED(chunk_capacity)(size_t hidden_size, size_t steps, size_t batch) {
    /* So many gates stay in a private cache between product and step, and are many enough for a fast product. */
    const size_t bytes = (size_t)1 << 21, rows = bytes / sizeof(real) / 4 / hidden_size;
    size_t total;
    if (__builtin_mul_overflow(steps, batch, &total)) total = SIZE_MAX;
    return rows < batch ? batch : rows < total ? rows : total;
}

static clstm_status TYPED(prepare)(TYPED(workspace) *work, const clstm_model *model, const PUBLIC(sequence) *sequence,
                                   const clstm_context *context, clstm_i_plan *plan) {
    const clstm_config *config = &model->config;
    const size_t H = config->hidden_size, B = sequence->batch, L = config->num_layers;
    const int recording = work->tape != NULL;
    clstm_i_layout layout = {0, 0};
    size_t states;
    if (__builtin_mul_overflow(L, B, &states)) layout.overflow = 1;

    work->rows = TYPED(chunk_capacity)(H, sequence->steps, B);
    const size_t chunk = recording ? 0 : work->rows;
    const size_t planned = recording ? 0 : clstm_i_plan_reserve(&layout, sequence->steps, B);
    const size_t h = clstm_i_reserve(&layout, states, H, sizeof(real));
    const size_t c = clstm_i_reserve(&layout, states, H, sizeof(real));
    const size_t gates = clstm_i_reserve(&layout, chunk, 4 * H, sizeof(real));
    const size_t even = clstm_i_reserve(&layout, chunk, H, sizeof(real));
    const size_t odd = clstm_i_reserve(&layout, L > 1 ? chunk : 0, H, sizeof(real));
    const size_t zeros = clstm_i_reserve(&layout, config->no_bias ? 4 : 0, H, sizeof(real));

    clstm_status status;
    char *memory = clstm_i_allocate(context, &layout, &work->block, &status);
    if (!memory) return status;
    work->h = (real *)(memory + h);
    work->c = (real *)(memory + c);
    work->gates = (real *)(memory + gates);
    work->hidden[0] = (real *)(memory + even);
    work->hidden[1] = (real *)(memory + odd);
    work->no_bias = (real *)(memory + zeros);
    if (config->no_bias) memset(work->no_bias, 0, 4 * H * sizeof(real));
    *plan = recording ? work->tape->plan : clstm_i_plan_uniform(sequence->steps, B, (size_t *)(memory + planned));
    return CLSTM_OK;
}

/* Layer k over the rows from `offset` on: its weights and where its values go. */
static TYPED(layer) TYPED(layer_at)(const TYPED(workspace) *work, const clstm_model *model, const clstm_i_plan *plan,
                                    size_t k, size_t offset) {
    const clstm_config *config = &model->config;
    const clstm_i_offsets at = clstm_i_layer_offsets(config, k);
    const size_t H = config->hidden_size, B = plan->batch;
    const real *weights = model->parameters;
    TYPED(layer) layer = {
        .input_size = at.input_size, .hidden_size = H,
        .weight_ih = weights + at.input, .weight_hh = weights + at.recurrent,
        .bias = config->no_bias ? work->no_bias : weights + at.bias,
        .x = work->hidden[(k + 1) % 2], .gates = work->gates, .h = work->hidden[k % 2], .c = work->c + k * B * H,
        .h_before = work->h + k * B * H, .c_before = work->c + k * B * H,
    };
    const clstm_tape *tape = work->tape;
    if (tape) {
        const size_t slots = B + plan->total, slot = B + offset;
        layer.keep = 1;
        layer.gates = (real *)tape->gates + (k * plan->total + offset) * 4 * H;
        layer.h = (real *)tape->hidden + (k * slots + slot) * H;
        layer.c = (real *)tape->cells + (k * slots + slot) * H;
        if (k) layer.x = (const real *)tape->hidden + ((k - 1) * slots + slot) * H;
    }
    return layer;
}

/* The state after the chunk: each row's own last step in it. */
static void TYPED(carry_state)(const TYPED(chunk) *chunk, real *h, real *c) {
    const clstm_i_plan *plan = chunk->plan;
    const TYPED(layer) *layer = &chunk->layer;
    const size_t H = layer->hidden_size, origin = plan->offsets[chunk->first];
    for (size_t t = chunk->first; t < chunk->last; t++) {
        const size_t go_on = t + 1 < chunk->last ? plan->rows[t + 1] : 0, ended = plan->rows[t] - go_on;
        const size_t at = (plan->offsets[t] - origin + go_on) * H;
        if (!ended) continue;
        memcpy(h + go_on * H, layer->h + at, ended * H * sizeof(real));
        if (layer->keep) memcpy(c + go_on * H, layer->c + at, ended * H * sizeof(real));
    }
}

static void TYPED(write_y)(clstm_i_call *call, const clstm_model *model, const TYPED(chunk) *chunk, real *y) {
    const size_t rows = TYPED(chunk_rows)(chunk);
    if (model->config.output_size) TYPED(run_readout)(call, model, rows, chunk->layer.h, y);
    else memcpy(y, chunk->layer.h, rows * model->config.hidden_size * sizeof(real));
}

/* Chunk after chunk, each through all layers. */
static void TYPED(time_loop)(clstm_i_call *call, const clstm_model *model, const clstm_i_plan *plan,
                             const TYPED(workspace) *work, const PUBLIC(sequence) *sequence) {
    const clstm_config *config = &model->config;
    const size_t I = config->input_size, O = clstm_i_output_size(config), states = plan->batch * config->hidden_size;
    TYPED(chunk) chunk = {.call = call, .kernels = clstm_i_dispatch()->KERNELS, .plan = plan};
    for (; chunk.first < plan->steps && !clstm_i_cancelled(call); chunk.first = chunk.last) {
        const size_t offset = plan->offsets[chunk.first];
        chunk.last = clstm_i_plan_chunk(plan, chunk.first, work->rows);
        for (size_t k = 0; k < config->num_layers && !clstm_i_cancelled(call); k++) {
            chunk.layer = TYPED(layer_at)(work, model, plan, k, offset);
            if (k == 0) chunk.layer.x = (work->tape ? (const real *)work->tape->x : sequence->x) + offset * I;
            TYPED(run_layer)(&chunk);
            TYPED(carry_state)(&chunk, work->h + k * states, work->c + k * states);
        }
        if (sequence->y) TYPED(write_y)(call, model, &chunk, sequence->y + offset * O);
    }
}

static clstm_status TYPED(check)(const clstm_model *model, const PUBLIC(sequence) *sequence) {
    if (!model || !sequence || sequence->size != sizeof *sequence) return CLSTM_INVALID_ARGUMENT;
    if (model->is_f64 != REAL_IS_F64) return CLSTM_WRONG_DTYPE;
    if (!sequence->x && sequence->steps && sequence->batch) return CLSTM_INVALID_ARGUMENT;
    return clstm_i_dispatch() ? CLSTM_OK : CLSTM_UNKNOWN_ISA;
}

/* The pass itself, for clstm_forward and, with a tape that has its memory, clstm_record. */
static clstm_status TYPED(run_sequence)(const clstm_model *model, const PUBLIC(sequence) *sequence,
                                        const clstm_context *context, clstm_tape *tape) {
    TYPED(workspace) work = {.tape = tape};
    clstm_i_call call = {.context = context};
    clstm_i_plan plan;
    const clstm_status status = TYPED(prepare)(&work, model, sequence, context, &plan);
    if (status) return status;

    const size_t states = model->config.num_layers * plan.batch * model->config.hidden_size;
    TYPED(copy_or_zero)(work.h, sequence->h0, states);
    TYPED(copy_or_zero)(work.c, sequence->c0, states);
    if (tape) TYPED(begin_tape)(tape, sequence, work.h, work.c);
    TYPED(time_loop)(&call, model, &plan, &work, sequence);
    const int cancelled = clstm_i_cancelled(&call);
    if (!cancelled && sequence->hn) memcpy(sequence->hn, work.h, states * sizeof(real));
    if (!cancelled && sequence->cn) memcpy(sequence->cn, work.c, states * sizeof(real));
    clstm_i_release(context, work.block);
    return cancelled ? CLSTM_CANCELLED : CLSTM_OK;
}

clstm_status PUBLIC(forward)(const clstm_model *model, const PUBLIC(sequence) *sequence, const clstm_context *given) {
    clstm_context context;
    clstm_status status = TYPED(check)(model, sequence);
    if (!status) status = clstm_i_context(given, &context);
    return status ? status : TYPED(run_sequence)(model, sequence, &context, NULL);
}

clstm_status PUBLIC(record)(const clstm_model *model, const PUBLIC(sequence) *sequence, const clstm_context *given,
                            clstm_tape **result) {
    clstm_context context;
    if (!result) return CLSTM_INVALID_ARGUMENT;
    *result = NULL;
    clstm_status status = TYPED(check)(model, sequence);
    if (!status) status = clstm_i_context(given, &context);
    clstm_tape *tape = NULL;
    if (!status) status = TYPED(make_tape)(model, sequence, &context, &tape);
    if (!status) status = TYPED(run_sequence)(model, sequence, &context, tape);
    if (!status) *result = tape;
    else clstm_tape_free(tape);
    return status;
}
