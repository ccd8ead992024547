/* Backpropagation through time, typed: layer by layer from the top, each backwards in time, and then its weight and
   input gradients as one product each over all (t, b) rows. The gates on the tape become their own gradients. */

/* What the threads of a team share while one layer goes backwards. */
typedef struct TYPED(back) {
    clstm_i_call *call;
    const TYPED(clstm_i_kernels) *kernels;
    const clstm_i_plan *plan;
    size_t input_size, hidden_size;
    const real *weight_ih, *weight_hh; /* (4H, I), (4H, H) */
    const real *x;                     /* (total, I) */
    real *gates;                       /* (total, 4H) in: activated; then gradients of the pre-activations */
    const real *h, *c;                 /* (B + total, H), slot 0 the initial state */
    real *dh;                          /* (total, H) gradient of h from above and, step by step, from the future */
    const real *dhn;                   /* (B, H) gradient of the final hidden state, or NULL */
    real *dc;                          /* (B, H) in: gradient of the final cell state; out: of the initial one */
    real *dh0;                         /* (B, H), or NULL */
    real *dx;                          /* (total, I), or NULL */
    real *d_weight_ih, *d_weight_hh;   /* (4H, I), (4H, H), or NULL */
    real *d_bias;                      /* (4H,), or NULL */
} TYPED(back);

/* The gates of step t - 1 after their gradient is known give to the h before them: to += dG weight_hh. */
static void TYPED(give_back)(const TYPED(back) *back, size_t index, const real *d_gates, real *to, size_t rows,
                             int accumulate) {
    const size_t H = back->hidden_size;
    const PUBLIC(gemm) product = {
        .m = rows, .n = H, .k = 4 * H,
        .a = d_gates, .lda = 4 * H,
        .b = back->weight_hh, .ldb = H,
        .c = to, .ldc = H, .accumulate = accumulate,
    };
    TYPED(product)(back->call, index, &product);
}

/* Step t for the active rows of a range: h_t's gradient from the step after, then the gates'. */
static void TYPED(step_backward)(const TYPED(back) *back, size_t index, size_t t, clstm_i_range range) {
    const clstm_i_plan *plan = back->plan;
    const size_t H = back->hidden_size, active = plan->rows[t];
    const size_t end = range.end < active ? range.end : active;
    if (range.begin >= end) return;

    const size_t at = plan->offsets[t] + range.begin, go_on = t + 1 < plan->steps ? plan->rows[t + 1] : 0;
    real *dh = back->dh + at * H;
    if (range.begin < go_on) {
        const size_t last = end < go_on ? end : go_on;
        const real *after = back->gates + (plan->offsets[t + 1] + range.begin) * 4 * H;
        TYPED(give_back)(back, index, after, dh, last - range.begin, 1);
    }
    if (back->dhn && end > go_on) { /* rows that end here */
        const size_t first = range.begin > go_on ? range.begin : go_on;
        TYPED(add)(dh + (first - range.begin) * H, back->dhn + first * H, (end - first) * H);
    }
    const size_t slot = t ? plan->batch + plan->offsets[t - 1] + range.begin : range.begin;
    const TYPED(clstm_i_gates_backward) step = {
        .rows = end - range.begin, .hidden_size = H, .gates = back->gates + at * 4 * H,
        .c_before = back->c + slot * H, .c = back->c + (plan->batch + at) * H,
        .dh = dh, .dc = back->dc + range.begin * H,
    };
    back->kernels->gates_backward(&step);
}

/* All steps, the last first: a task over the batch. */
static void TYPED(recurrence_backward)(void *argument, size_t index, size_t count) {
    const TYPED(back) *back = argument;
    const clstm_i_plan *plan = back->plan;
    const size_t H = back->hidden_size;
    const clstm_i_range range = clstm_i_slice(plan->batch, 1, index, count);
    for (size_t t = plan->steps; t-- > 0 && !clstm_i_cancelled(back->call);)
        TYPED(step_backward)(back, index, t, range);

    if (!back->dh0 || range.begin == range.end) return;
    const size_t started = plan->steps ? plan->rows[0] : 0;
    const size_t last = range.end < started ? range.end : started;
    const real *d_gates = back->gates + range.begin * 4 * H;
    if (range.begin < last) TYPED(give_back)(back, index, d_gates, back->dh0 + range.begin * H, last - range.begin, 0);

    const size_t first = range.begin > started ? range.begin : started; /* rows without a step */
    if (first >= range.end) return;
    const real *dhn = back->dhn ? back->dhn + first * H : NULL;
    TYPED(copy_or_zero)(back->dh0 + first * H, dhn, (range.end - first) * H);
}

/* Weight gradients, dG^T x, dG^T h_{t-1} and the sums of dG: a task over the 4H rows of the weights. */
static void TYPED(weight_gradients)(void *argument, size_t index, size_t count) {
    const TYPED(back) *back = argument;
    const size_t I = back->input_size, H = back->hidden_size, total = back->plan->total;
    const clstm_i_range rows = clstm_i_slice(4 * H, 16, index, count); /* whole cache lines */
    PUBLIC(gemm) product = {
        .m = rows.end - rows.begin, .n = I, .k = total,
        .a = back->gates + rows.begin, .lda = 4 * H, .transpose_a = 1,
        .b = back->x, .ldb = I,
        .c = back->d_weight_ih + rows.begin * I, .ldc = I,
    };
    TYPED(product)(back->call, index, &product);

    product.n = product.ldb = product.ldc = H;
    product.b = back->h; /* one slot behind: the rows before each step */
    product.c = back->d_weight_hh + rows.begin * H;
    TYPED(product)(back->call, index, &product);

    if (!back->d_bias) return;
    memset(back->d_bias + rows.begin, 0, (rows.end - rows.begin) * sizeof(real));
    back->kernels->sum_rows(total, rows.end - rows.begin, back->gates + rows.begin, 4 * H, back->d_bias + rows.begin);
}

/* Input gradients, dG weight_ih: a task over all rows. */
static void TYPED(input_gradients)(void *argument, size_t index, size_t count) {
    const TYPED(back) *back = argument;
    const size_t I = back->input_size, H = back->hidden_size;
    const clstm_i_range rows = clstm_i_slice(back->plan->total, 1, index, count);
    const PUBLIC(gemm) product = {
        .m = rows.end - rows.begin, .n = I, .k = 4 * H,
        .a = back->gates + rows.begin * 4 * H, .lda = 4 * H,
        .b = back->weight_ih, .ldb = I,
        .c = back->dx + rows.begin * I, .ldc = I,
    };
    TYPED(product)(back->call, index, &product);
}

static void TYPED(run_layer_backward)(TYPED(back) *back) {
    clstm_i_call *call = back->call;
    const size_t total = back->plan->total, H = back->hidden_size;
    const double gates = 4 * (double)H * (double)total, I = (double)back->input_size;
    const size_t steps = clstm_i_wanted(call, gates * ((double)H + 32), back->plan->batch);
    const size_t weights = clstm_i_wanted(call, gates * (I + (double)H), 4 * H);
    const size_t inputs = clstm_i_wanted(call, gates * I, total);
    clstm_i_run(call, steps, TYPED(recurrence_backward), back);
    if (back->d_weight_ih && !clstm_i_cancelled(call)) clstm_i_run(call, weights, TYPED(weight_gradients), back);
    if (back->dx && !clstm_i_cancelled(call)) clstm_i_run(call, inputs, TYPED(input_gradients), back);
}

/* d_gates and the other tensors of layer k, on the tape and in the caller's gradients. */
static void TYPED(begin_layer)(TYPED(back) *back, const clstm_tape *tape, const PUBLIC(gradients) *gradients,
                               size_t k) {
    const clstm_config *config = &tape->config;
    const clstm_i_plan *plan = &tape->plan;
    const clstm_i_offsets at = clstm_i_layer_offsets(config, k);
    const size_t H = config->hidden_size, states = plan->batch * H, slots = states + plan->total * H;
    const real *weights = tape->model->parameters, *hidden = tape->hidden, *cells = tape->cells;
    real *d_weights = gradients->parameters;

    back->input_size = at.input_size;
    back->weight_ih = weights + at.input;
    back->weight_hh = weights + at.recurrent;
    back->x = k ? hidden + (k - 1) * slots + states : tape->x;
    back->gates = (real *)tape->gates + k * plan->total * 4 * H;
    back->h = hidden + k * slots;
    back->c = cells + k * slots;
    back->dhn = gradients->dhn ? gradients->dhn + k * states : NULL;
    back->dh0 = gradients->dh0 ? gradients->dh0 + k * states : NULL;
    back->dx = k ? back->dh : gradients->dx; /* the layer below finds its dh where this one leaves it */
    back->d_weight_ih = d_weights ? d_weights + at.input : NULL;
    back->d_weight_hh = d_weights ? d_weights + at.recurrent : NULL;
    back->d_bias = d_weights && !config->no_bias ? d_weights + at.bias : NULL;
    TYPED(copy_or_zero)(back->dc, gradients->dcn ? gradients->dcn + k * states : NULL, states);
}

/* The gradient of the last layer's h, from that of y. */
static void TYPED(begin_backward)(TYPED(back) *back, const clstm_tape *tape, const PUBLIC(gradients) *gradients) {
    const clstm_config *config = &tape->config;
    const size_t H = config->hidden_size, total = tape->plan.total, states = tape->plan.batch * H;
    if (!config->output_size || !gradients->dy) {
        TYPED(copy_or_zero)(back->dh, gradients->dy, total * H);
        if (config->output_size && gradients->parameters) TYPED(no_readout_gradients)(config, gradients->parameters);
        return;
    }
    const real *top = (const real *)tape->hidden + (config->num_layers - 1) * (states + total * H) + states;
    TYPED(readout_back) out = {
        .call = back->call, .kernels = back->kernels, .config = config, .rows = total,
        .weights = tape->model->parameters, .h = top, .dy = gradients->dy,
        .d_weights = gradients->parameters, .dh = back->dh,
    };
    TYPED(run_readout_backward)(&out);
}

static clstm_status TYPED(check_backward)(const clstm_tape *tape, const PUBLIC(gradients) *gradients) {
    if (!tape || !gradients || gradients->size != sizeof *gradients) return CLSTM_INVALID_ARGUMENT;
    if (tape->is_f64 != REAL_IS_F64) return CLSTM_WRONG_DTYPE;
    if (tape->consumed) return CLSTM_TAPE_CONSUMED;
    if (tape->model_version != tape->model->version) return CLSTM_MODEL_CHANGED;
    return CLSTM_OK;
}

clstm_status PUBLIC(backward)(clstm_tape *tape, const PUBLIC(gradients) *gradients, const clstm_context *given) {
    clstm_context context;
    clstm_status status = TYPED(check_backward)(tape, gradients);
    if (!status) status = clstm_i_context(given, &context);
    if (status) return status;

    const size_t H = tape->config.hidden_size, B = tape->plan.batch;
    clstm_i_layout layout = {0, 0};
    const size_t dh = clstm_i_reserve(&layout, tape->plan.total, H, sizeof(real));
    const size_t dc = clstm_i_reserve(&layout, B, H, sizeof(real));
    void *block;
    char *memory = clstm_i_allocate(&context, &layout, &block, &status);
    if (!memory) return status;

    clstm_i_call call = {.context = &context};
    TYPED(back) back = {
        .call = &call, .kernels = clstm_i_dispatch()->KERNELS, .plan = &tape->plan, .hidden_size = H,
        .dh = (real *)(memory + dh), .dc = (real *)(memory + dc),
    };
    tape->consumed = 1;
    TYPED(begin_backward)(&back, tape, gradients);
    for (size_t k = tape->config.num_layers; k-- > 0 && !clstm_i_cancelled(&call);) {
        TYPED(begin_layer)(&back, tape, gradients, k);
        TYPED(run_layer_backward)(&back);
        if (gradients->dc0) memcpy(gradients->dc0 + k * B * H, back.dc, B * H * sizeof(real));
    }
    clstm_i_release(&context, block);
    return clstm_i_cancelled(&call) ? CLSTM_CANCELLED : CLSTM_OK;
}
