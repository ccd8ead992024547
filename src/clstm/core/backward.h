/* Backpropagation through time, typed: layer by layer from the top, each backwards in time, and then its weight and
   input gradients (gradients.h). Gates become their own gradients where they lie: on the tape, or, of a tape without
   them, in a buffer for a chunk of steps (recompute.h). */

/* ---- One layer ---- */

/* A task: the chunk's steps, the last first. */
static void TYPED(recurrence_backward)(void *argument, size_t index, size_t count) {
    const TYPED(back) *back = argument;
    if (back->packed) TYPED(packed_backward)(back, index, count);
    else TYPED(blas_backward)(back, index, count);
}

/* The gradient of the final hidden state joins that from above, at each row's last step; of a row without a step it is
   already that of the initial state. */
static void TYPED(join_final)(const TYPED(back) *back, real *dh, const real *dhn) {
    const clstm_i_plan *plan = back->plan;
    const size_t H = back->hidden_size, started = TYPED(active)(back, 0);
    if (back->dh0) TYPED(copy_or_zero)(back->dh0 + started * H, dhn ? dhn + started * H : NULL,
                                       (plan->batch - started) * H);
    for (size_t t = 0; dhn && t < plan->steps; t++) {
        for (size_t row = TYPED(active)(back, t + 1); row < plan->rows[t]; row++)
            TYPED(add)(dh + (plan->offsets[t] + row) * back->dh_stride, dhn + row * H, H);
    }
}

static void TYPED(run_chunk_backward)(TYPED(back) *back) {
    clstm_i_call *call = back->call;
    const size_t H = back->hidden_size, rows = TYPED(chunk_rows)(back);
    const double gates = 4 * (double)H * (double)rows, I = (double)back->input_size;
    const size_t blocks = back->packed ? back->packed->blocks : 0;
    const clstm_i_shape shape = {back->last - back->first, back->plan->batch, back->input_size, H, 1, sizeof(real)};
    const size_t threads = clstm_i_choose_split_backward(call, &shape, blocks, &back->split);
    memset(back->counters, 0, threads * sizeof(clstm_i_counter));
    clstm_i_run(call, threads, TYPED(recurrence_backward), back);

    const double work = gates * ((back->d_weight_ih ? I + (double)H : 0) + (back->dx ? I : 0));
    if (!clstm_i_cancelled(call) && (back->d_weight_ih || back->dx))
        clstm_i_run(call, clstm_i_wanted(call, work, SIZE_MAX), TYPED(products_backward), back);
}

/* A chunk whose gates are computed again, and what the chunk before it in time needs of its gradients. */
static void TYPED(run_chunk_again)(TYPED(back) *back) {
    clstm_i_call *call = back->call;
    const double H = (double)back->hidden_size, rows = (double)TYPED(chunk_rows)(back);
    const double work = 4 * H * rows * (H + (double)back->input_size);
    clstm_i_run(call, clstm_i_wanted(call, work, SIZE_MAX), TYPED(gates_again), back);
    if (!clstm_i_cancelled(call)) TYPED(run_chunk_backward)(back);
    memcpy(back->after, back->gates, TYPED(active)(back, back->first) * 4 * back->hidden_size * sizeof(real));
}

/* Where a chunk begins that ends at a step: of at most so many rows, or a single step. */
static size_t TYPED(chunk_begin)(const clstm_i_plan *plan, size_t last, size_t most) {
    size_t first = last ? last - 1 : 0;
    while (first && plan->offsets[last] - plan->offsets[first - 1] <= most) first--;
    return first;
}

static void TYPED(run_layer_backward)(TYPED(back) *back) {
    const int wish = back->accumulate, again = back->capacity > 0;
    back->first = back->last = back->plan->steps;
    do {
        back->last = back->first;
        back->first = again ? TYPED(chunk_begin)(back->plan, back->last, back->capacity) : 0;
        if (again) TYPED(run_chunk_again)(back);
        else TYPED(run_chunk_backward)(back);
        back->accumulate = 1;
    } while (back->first && !clstm_i_cancelled(back->call));
    back->accumulate = wish;
}

/* ---- The call ---- */

/* The tensors of layer k, on the tape and in the caller's gradients. */
static void TYPED(begin_layer)(TYPED(back) *back, const clstm_tape *tape, const PUBLIC(gradients) *gradients,
                               size_t k) {
    const clstm_config *config = &tape->config;
    const clstm_i_plan *plan = &tape->plan;
    const clstm_i_offsets at = clstm_i_layer_offsets(config, k);
    const size_t H = config->hidden_size, states = plan->batch * H, slots = states + plan->total * H;
    const real *weights = tape->model->parameters, *hidden = tape->hidden, *cells = tape->cells;
    real *d_weights = gradients->parameters;

    back->packed = back->pack ? &back->pack->layers[k] : NULL;
    back->forward = back->forward_pack ? &back->forward_pack->layers[k] : NULL;
    back->input_size = at.input_size;
    back->weight_ih = weights + at.input;
    back->weight_hh = weights + at.recurrent;
    back->bias = config->no_bias ? back->zeros : weights + at.bias;
    back->x = k ? hidden + (k - 1) * slots + states : tape->x;
    if (tape->gates) back->gates = (real *)tape->gates + k * plan->total * 4 * H;
    back->h = hidden + k * slots;
    back->c = cells + k * slots;
    back->dh0 = gradients->dh0 ? gradients->dh0 + k * states : NULL;
    back->dx = k ? back->below : gradients->dx;
    back->dx_stride = k ? back->stride : at.input_size;
    back->d_weight_ih = d_weights ? d_weights + at.input : NULL;
    back->d_weight_hh = d_weights ? d_weights + at.recurrent : NULL;
    back->d_bias = d_weights && !config->no_bias ? d_weights + at.bias : NULL;
    TYPED(copy_or_zero)(back->dc, gradients->dcn ? gradients->dcn + k * states : NULL, states);
    if (k + 1 < config->num_layers) back->dh = back->below, back->dh_stride = back->stride;
    TYPED(join_final)(back, back->below, gradients->dhn ? gradients->dhn + k * states : NULL);
}

/* Whether the gradient from above can be read where the caller has it: nothing need be added, and its rows are whole
   vectors. */
static int TYPED(reads_dy)(const TYPED(back) *back, const clstm_config *config, const PUBLIC(gradients) *gradients) {
    return back->pack && gradients->dy && !config->output_size && !gradients->dhn && back->stride == back->hidden_size;
}

/* The gradient of the last layer's h, from that of y. */
static void TYPED(begin_backward)(TYPED(back) *back, const clstm_tape *tape, const PUBLIC(gradients) *gradients) {
    const clstm_config *config = &tape->config;
    const size_t H = config->hidden_size, total = tape->plan.total, states = tape->plan.batch * H;
    back->dh = back->below;
    back->dh_stride = back->stride;
    if (config->output_size && gradients->dy) {
        const real *top = (const real *)tape->hidden + (config->num_layers - 1) * (states + total * H) + states;
        TYPED(readout_back) out = {
            .call = back->call, .kernels = back->kernels, .config = config, .rows = total,
            .weights = tape->model->parameters, .h = top, .dy = gradients->dy,
            .d_weights = gradients->parameters, .accumulate = back->accumulate,
            .dh = back->below, .dh_stride = back->stride,
        };
        TYPED(run_readout_backward)(&out);
        return;
    }
    if (config->output_size && gradients->parameters && !back->accumulate)
        TYPED(no_readout_gradients)(config, gradients->parameters);
    if (TYPED(reads_dy)(back, config, gradients)) {
        back->dh = gradients->dy;
        back->dh_stride = H;
    } else if (gradients->dy) TYPED(copy_rows)(back->below, back->stride, gradients->dy, H, total, H);
    else if (total) memset(back->below, 0, total * back->stride * sizeof(real));
}

static clstm_status TYPED(check_backward)(const clstm_tape *tape, const PUBLIC(gradients) *gradients) {
    if (!tape || !gradients || gradients->size != sizeof *gradients) return CLSTM_INVALID_ARGUMENT;
    if (tape->is_f64 != REAL_IS_F64) return CLSTM_WRONG_DTYPE;
    if (tape->consumed) return CLSTM_TAPE_CONSUMED;
    if (tape->model_version != tape->model->version) return CLSTM_MODEL_CHANGED;
    return CLSTM_OK;
}

/* Chooses the engine. */
static clstm_status TYPED(choose_backward)(TYPED(back) *back, const clstm_tape *tape) {
    const clstm_i_isa *isa;
    int packed;
    clstm_status status = clstm_i_chosen(&isa, &packed);
    if (status) return status;
    const size_t H = back->hidden_size, lanes = isa->KERNELS->lanes;
    back->kernels = isa->KERNELS;
    back->stride = H;
    if (!packed) return CLSTM_OK;
    back->stride = (H + lanes - 1) / lanes * lanes;
    back->pack = TYPED(get_pack)(tape->model, 1, lanes, &status);
    if (!status && !tape->gates) back->forward_pack = TYPED(get_pack)(tape->model, 0, lanes, &status);
    return status;
}

/* Rows whose gates are computed again at a time: enough for fast products, few enough for a cache. */
static size_t TYPED(rows_again_at_once)(const clstm_i_plan *plan, size_t H) {
    const size_t bytes = (size_t)4 << 20, rows = bytes / (4 * H * sizeof(real));
    return rows < plan->batch ? plan->batch : rows < plan->total ? rows : plan->total;
}

static clstm_status TYPED(allocate_backward)(TYPED(back) *back, const clstm_tape *tape,
                                             const PUBLIC(gradients) *gradients) {
    const size_t total = tape->plan.total, H = back->hidden_size, B = tape->plan.batch;
    const size_t threads = back->call->context->team.threads;
    const int below = tape->config.num_layers > 1 || !TYPED(reads_dy)(back, &tape->config, gradients);
    back->capacity = tape->gates ? 0 : TYPED(rows_again_at_once)(&tape->plan, H);
    clstm_i_layout layout = {0, 0};
    const size_t counters = clstm_i_reserve(&layout, threads + 1, 1, sizeof(clstm_i_counter));
    const size_t below_at = clstm_i_reserve(&layout, below ? total : 0, back->stride, sizeof(real));
    const size_t dc = clstm_i_reserve(&layout, B, H, sizeof(real));
    const size_t zeros = clstm_i_reserve(&layout, 4, back->stride, sizeof(real));
    const size_t gates = clstm_i_reserve(&layout, back->capacity, 4 * H, sizeof(real));
    const size_t states = clstm_i_reserve(&layout, 2 * back->capacity, back->stride, sizeof(real));
    const size_t after = clstm_i_reserve(&layout, tape->gates ? 0 : B, 4 * H, sizeof(real));
    clstm_status status;
    char *memory = back->memory = clstm_i_borrow(tape->model->cache, CLSTM_I_WORKSPACE, &layout, &status);
    if (status) return status;
    back->counters = (clstm_i_counter *)(memory + counters);
    back->below = (real *)(memory + below_at);
    back->dc = (real *)(memory + dc);
    back->zeros = memset(memory + zeros, 0, 4 * back->stride * sizeof(real));
    back->gates = (real *)(memory + gates);
    back->states = (real *)(memory + states);
    back->after = (real *)(memory + after);
    return CLSTM_OK;
}

clstm_status PUBLIC(backward)(clstm_tape *tape, const PUBLIC(gradients) *gradients, const clstm_context *given) {
    clstm_context context;
    clstm_status status = TYPED(check_backward)(tape, gradients);
    if (!status) status = clstm_i_context(given, &context);
    if (status) return status;

    const size_t H = tape->config.hidden_size, B = tape->plan.batch;
    clstm_i_call call = {.context = &context};
    TYPED(back) back = {
        .call = &call, .plan = &tape->plan, .hidden_size = H, .accumulate = gradients->accumulate,
    };
    status = TYPED(choose_backward)(&back, tape);
    if (!status) status = TYPED(allocate_backward)(&back, tape, gradients);
    if (status) return status;

    tape->consumed = 1;
    TYPED(begin_backward)(&back, tape, gradients);
    for (size_t k = tape->config.num_layers; k-- > 0 && !clstm_i_cancelled(&call);) {
        TYPED(begin_layer)(&back, tape, gradients, k);
        TYPED(run_layer_backward)(&back);
        if (gradients->dc0) memcpy(gradients->dc0 + k * B * H, back.dc, B * H * sizeof(real));
    }
    clstm_i_give_back(tape->model->cache, CLSTM_I_WORKSPACE, back.memory);
    return clstm_i_cancelled(&call) ? CLSTM_CANCELLED : CLSTM_OK;
}
