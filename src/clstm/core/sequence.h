/* The time loop of the forward pass, typed: chunks of steps through all layers and the readout. */

/* ---- One layer, one chunk ---- */

static real *TYPED(tape_hidden)(const TYPED(pass) *pass, size_t k, size_t origin) {
    const size_t total = pass->plan.total, B = pass->plan.batch;
    return (real *)pass->tape->hidden + (k * (B + total) + B + origin) * pass->model->config.hidden_size;
}

/* Where the h of layer k goes, for the rows of a chunk: at once to where it is wanted, if the rows lie there as the
   engine needs them, which saves 1 % of B = 16, H = 256 and 2 % of B = 4; else to the buffer of that number. */
static real *TYPED(hidden_at)(const TYPED(pass) *pass, size_t k, size_t origin, size_t buffer) {
    const clstm_config *config = &pass->model->config;
    if (pass->stride == config->hidden_size) {
        if (pass->tape) return TYPED(tape_hidden)(pass, k, origin);
        if (pass->y && !config->output_size && k + 1 == config->num_layers)
            return pass->y + origin * config->hidden_size;
    }
    return pass->hidden + buffer * pass->capacity * pass->stride;
}

/* Layer k over the steps from `first` on. */
static TYPED(chunk) TYPED(chunk_at)(const TYPED(worker) *worker, size_t number, size_t first, size_t last, size_t k) {
    const TYPED(pass) *pass = worker->pass;
    const clstm_i_plan *plan = &pass->plan;
    const int in_turn = pass->split == CLSTM_I_LAYERS;
    const size_t own = in_turn ? 2 * k + number % 2 : k % 2, below = in_turn ? own - 2 : (k + 1) % 2;
    TYPED(chunk) chunk = {
        .first = first, .last = last, .origin = plan->offsets[first], .n = plan->offsets[last] - plan->offsets[first],
        .layer = k, .x_stride = pass->stride, .hidden = TYPED(hidden_at)(pass, k, plan->offsets[first], own),
    };
    if (k) chunk.x = TYPED(hidden_at)(pass, k - 1, chunk.origin, below);
    else chunk.x_stride = pass->model->config.input_size, chunk.x = pass->x + chunk.origin * chunk.x_stride;

    const size_t few = 4; /* columns, which are cheaper in the step than on the way through memory */
    if (!pass->pack || (pass->hoist && pass->pack->layers[k].input_size > few))
        chunk.sums = pass->sums + (in_turn ? worker->thread : 0) * pass->capacity * pass->width;
    if (!pass->pack && pass->tape && pass->tape->gates)
        chunk.sums = (real *)pass->tape->gates + (k * plan->total + chunk.origin) * pass->width;
    return chunk;
}

/* h after the chunk becomes the layer's state: each row's own last one. */
static void TYPED(carry_state)(const TYPED(worker) *worker, const TYPED(chunk) *chunk) {
    const TYPED(pass) *pass = worker->pass;
    const clstm_i_plan *plan = &pass->plan;
    const size_t stride = pass->stride;
    real *state = pass->h + chunk->layer * plan->batch * stride;
    clstm_i_range own = worker->rows;
    if (worker->count > 1) own = clstm_i_slice(plan->batch, 1, worker->index, worker->count);
    for (size_t t = chunk->first; t < chunk->last; t++) {
        const size_t go_on = t + 1 < chunk->last ? plan->rows[t + 1] : 0;
        const size_t begin = own.begin > go_on ? own.begin : go_on;
        const size_t end = own.end < plan->rows[t] ? own.end : plan->rows[t];
        if (begin >= end) continue;
        const real *from = chunk->hidden + (plan->offsets[t] - chunk->origin + begin) * stride;
        memcpy(state + begin * stride, from, (end - begin) * stride * sizeof(real));
    }
}

static void TYPED(keep_hidden)(const TYPED(worker) *worker, const TYPED(chunk) *chunk, clstm_i_range rows) {
    const TYPED(pass) *pass = worker->pass;
    const size_t H = pass->model->config.hidden_size;
    real *slots = TYPED(tape_hidden)(pass, chunk->layer, chunk->origin);
    if (slots == chunk->hidden) return;
    TYPED(copy_rows)(slots + rows.begin * H, H, chunk->hidden + rows.begin * pass->stride, pass->stride,
                     rows.end - rows.begin, H);
}

static void TYPED(write_y)(const TYPED(worker) *worker, const TYPED(chunk) *chunk, clstm_i_range rows) {
    const TYPED(pass) *pass = worker->pass;
    const clstm_config *config = &pass->model->config;
    real *y = pass->y + (chunk->origin + rows.begin) * clstm_i_output_size(config);
    if (pass->y + chunk->origin * config->hidden_size == chunk->hidden) return;
    if (!config->output_size)
        TYPED(copy_rows)(y, config->hidden_size, chunk->hidden + rows.begin * pass->stride, pass->stride,
                         rows.end - rows.begin, config->hidden_size);
    else if (pass->pack) TYPED(packed_readout)(worker, chunk, rows, y);
    else TYPED(blas_readout)(worker, chunk, rows, y);
}

static void TYPED(run_chunk)(const TYPED(worker) *worker, const TYPED(chunk) *chunk) {
    const TYPED(pass) *pass = worker->pass;
    const int last = chunk->layer + 1 == pass->model->config.num_layers;
    if (pass->pack) TYPED(packed_layer)(worker, chunk);
    else TYPED(blas_layer)(worker, chunk);
    if (clstm_i_cancelled(pass->call)) return;

    TYPED(carry_state)(worker, chunk);
    for (size_t n = 0; n < TYPED(spans)(worker, chunk); n++) {
        const clstm_i_range rows = TYPED(span)(worker, chunk, n);
        if (pass->tape) TYPED(keep_hidden)(worker, chunk, rows);
        if (last && pass->y) TYPED(write_y)(worker, chunk, rows);
    }
}

/* ---- All chunks ---- */

/* Chunk after chunk, each through all layers. */
static void TYPED(chunk_by_chunk)(const TYPED(worker) *worker) {
    const TYPED(pass) *pass = worker->pass;
    size_t last;
    for (size_t first = 0; first < pass->plan.steps && !clstm_i_cancelled(pass->call); first = last) {
        last = clstm_i_plan_chunk(&pass->plan, first, pass->capacity);
        for (size_t k = 0; k < pass->model->config.num_layers; k++) {
            const TYPED(chunk) chunk = TYPED(chunk_at)(worker, 0, first, last, k);
            TYPED(run_chunk)(worker, &chunk);
        }
        TYPED(meet)(worker); /* the next chunk writes where this one was read */
    }
}

/* Layers one behind the other: the tasks (layer k, chunk n), in the order of k + n and then k, go to the threads in
   turn. Each waits for tasks of earlier diagonals only, which have all been begun, so that no two wait for each
   other. */
static void TYPED(layers_in_turn)(const TYPED(worker) *worker, size_t threads) {
    const TYPED(pass) *pass = worker->pass;
    const clstm_i_plan *plan = &pass->plan;
    const size_t L = pass->model->config.num_layers, each = pass->capacity / plan->batch;
    const size_t chunks = (plan->steps + each - 1) / each;
    clstm_i_counter *done = pass->counters + pass->threads; /* chunks of each layer */
    size_t task = 0;
    for (size_t diagonal = 0; diagonal < chunks + L - 1; diagonal++) {
        for (size_t k = 0; k < L && k <= diagonal; k++) {
            const size_t n = diagonal - k;
            if (n >= chunks || task++ % threads != worker->thread) continue;
            clstm_i_await(pass->call, &done[k], n);
            if (k) clstm_i_await(pass->call, &done[k - 1], n + 1);
            if (k + 1 < L && n > 1) clstm_i_await(pass->call, &done[k + 1], n - 1); /* has read the buffer */
            if (clstm_i_cancelled(pass->call)) return;
            const size_t first = n * each, last = plan->steps - first < each ? plan->steps : first + each;
            const TYPED(chunk) chunk = TYPED(chunk_at)(worker, n, first, last, k);
            TYPED(run_chunk)(worker, &chunk);
            atomic_store_explicit(&done[k].value, n + 1, memory_order_release);
        }
    }
}

static void TYPED(run_worker)(void *argument, size_t index, size_t count) {
    const TYPED(pass) *pass = argument;
    TYPED(worker) worker = {pass, index, 0, 1, {0, pass->plan.batch}};
    switch (pass->split) {
    case CLSTM_I_ROWS: worker.rows = clstm_i_slice(pass->plan.batch, 1, index, count); break;
    case CLSTM_I_UNITS: worker.index = index, worker.count = count; break;
    case CLSTM_I_LAYERS: TYPED(layers_in_turn)(&worker, count); return;
    }
    TYPED(chunk_by_chunk)(&worker);
}

/* ---- The call ---- */

static clstm_status TYPED(check)(const clstm_model *model, const PUBLIC(sequence) *sequence) {
    if (!model || !sequence || sequence->size != sizeof *sequence) return CLSTM_INVALID_ARGUMENT;
    if (model->is_f64 != REAL_IS_F64) return CLSTM_WRONG_DTYPE;
    if (!sequence->x && sequence->steps && sequence->batch) return CLSTM_INVALID_ARGUMENT;
    if ((unsigned)sequence->keep > CLSTM_KEEP_STATES) return CLSTM_INVALID_ARGUMENT;
    return CLSTM_OK;
}

/* Chooses engine and split. */
static clstm_status TYPED(begin_pass)(TYPED(pass) *pass, size_t steps, size_t batch) {
    const clstm_config *config = &pass->model->config;
    const clstm_i_isa *isa;
    int packed;
    clstm_status status = clstm_i_chosen(&isa, &packed);
    if (status) return status;
    pass->kernels = isa->KERNELS;
    pass->stride = config->hidden_size;
    pass->width = 4 * config->hidden_size;
    if (packed) {
        const size_t lanes = pass->kernels->lanes;
        pass->pack = TYPED(get_pack)(pass->model, 0, lanes, &status);
        if (!pass->pack) return status;
        pass->stride = (config->hidden_size + lanes - 1) / lanes * lanes;
        pass->width = pass->pack->layers[0].width;
    }
    const clstm_i_shape shape = {
        steps, batch, config->input_size, config->hidden_size, config->num_layers, sizeof(real),
    };
    pass->threads = clstm_i_choose_split(pass->call, &shape, packed, &pass->split);
    pass->hoist = !packed || clstm_i_hoists(&shape, pass->split);
    return CLSTM_OK;
}

/* The pass itself, for clstm_forward and, with a tape that has its memory, clstm_record. */
static clstm_status TYPED(run_sequence)(const clstm_model *model, const PUBLIC(sequence) *sequence,
                                        const clstm_context *context, clstm_tape *tape) {
    const size_t L = model->config.num_layers, B = sequence->batch, H = model->config.hidden_size;
    clstm_i_call call = {.context = context};
    TYPED(pass) pass = {.call = &call, .model = model, .tape = tape, .x = sequence->x, .y = sequence->y};
    clstm_status status = TYPED(begin_pass)(&pass, sequence->steps, B);
    if (!status) status = TYPED(allocate_pass)(&pass, sequence->steps, B);
    if (status) return status;

    if (sequence->h0) TYPED(copy_rows)(pass.h, pass.stride, sequence->h0, H, L * B, H);
    if (sequence->c0) TYPED(copy_rows)(pass.c, pass.stride, sequence->c0, H, L * B, H);
    if (tape) {
        TYPED(begin_tape)(tape, sequence);
        pass.x = tape->x;
    }
    clstm_i_run(&call, pass.threads, TYPED(run_worker), &pass);
    const int cancelled = clstm_i_cancelled(&call);
    if (!cancelled && sequence->hn) TYPED(copy_rows)(sequence->hn, H, pass.h, pass.stride, L * B, H);
    if (!cancelled && sequence->cn) TYPED(copy_rows)(sequence->cn, H, pass.c, pass.stride, L * B, H);
    clstm_i_give_back(model->cache, CLSTM_I_WORKSPACE, pass.memory);
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
