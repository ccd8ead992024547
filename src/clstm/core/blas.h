/* The blas engine, typed: one layer over a chunk of steps, products by the context's gemm, then one fused loop over the
   gates. The plain shape of the computation, and the second opinion of the packed engine. */

/* sums = x weight_ih^T, hoisted over all steps of the chunk, of a worker's part of the rows. */
static void TYPED(blas_input)(const TYPED(worker) *worker, const TYPED(chunk) *chunk) {
    const TYPED(pass) *pass = worker->pass;
    const clstm_i_offsets at = clstm_i_layer_offsets(&pass->model->config, chunk->layer);
    const clstm_i_range rows = clstm_i_slice(chunk->n, 1, worker->index, worker->count);
    const PUBLIC(gemm) product = {
        .m = rows.end - rows.begin, .n = pass->width, .k = at.input_size,
        .a = chunk->x + rows.begin * chunk->x_stride, .lda = chunk->x_stride,
        .b = (const real *)pass->model->parameters + at.input, .ldb = at.input_size, .transpose_b = 1,
        .c = chunk->sums + rows.begin * pass->width, .ldc = pass->width,
    };
    TYPED(product)(pass->call, worker->thread, &product);
}

/* Step t of a range of the batch: sums += h_{t-1} weight_hh^T, then sums -> c_t, h_t. */
static void TYPED(blas_step)(const TYPED(worker) *worker, const TYPED(chunk) *chunk, clstm_i_range range, size_t t) {
    const TYPED(pass) *pass = worker->pass;
    const clstm_config *config = &pass->model->config;
    const clstm_i_plan *plan = &pass->plan;
    const clstm_i_offsets weights = clstm_i_layer_offsets(config, chunk->layer);
    const real *parameters = pass->model->parameters;
    const size_t H = config->hidden_size, active = plan->rows[t], end = range.end < active ? range.end : active;
    if (range.begin >= end) return;

    const size_t at = plan->offsets[t] - chunk->origin + range.begin;
    const size_t state = (chunk->layer * plan->batch + range.begin) * H;
    const real *before = pass->h + state;
    if (t > chunk->first) before = chunk->hidden + (plan->offsets[t - 1] - chunk->origin + range.begin) * H;
    const PUBLIC(gemm) product = {
        .m = end - range.begin, .n = 4 * H, .k = H,
        .a = before, .lda = H,
        .b = parameters + weights.recurrent, .ldb = H, .transpose_b = 1,
        .c = chunk->sums + at * 4 * H, .ldc = 4 * H, .accumulate = 1,
    };
    TYPED(product)(pass->call, worker->thread, &product);

    TYPED(clstm_i_gates) gates = {
        .rows = end - range.begin, .hidden_size = H, .keep = pass->tape && pass->tape->gates,
        .bias = config->no_bias ? pass->zeros : parameters + weights.bias,
        .gates = chunk->sums + at * 4 * H, .c_before = pass->c + state, .c = pass->c + state,
        .h = chunk->hidden + at * H,
    };
    pass->kernels->gates(&gates);
    if (!pass->tape) return;
    real *cells = (real *)pass->tape->cells + (chunk->layer * (plan->batch + plan->total) + plan->batch) * H;
    memcpy(cells + (chunk->origin + at) * H, gates.c, gates.rows * H * sizeof(real));
}

/* The product is shared by rows of all steps, the steps by rows of the batch: those never meet. */
static void TYPED(blas_layer)(const TYPED(worker) *worker, const TYPED(chunk) *chunk) {
    const clstm_i_range range = clstm_i_slice(worker->pass->plan.batch, 1, worker->index, worker->count);
    TYPED(blas_input)(worker, chunk);
    TYPED(meet)(worker);
    for (size_t t = chunk->first; t < chunk->last && !clstm_i_cancelled(worker->pass->call); t++)
        TYPED(blas_step)(worker, chunk, range, t);
    TYPED(meet)(worker);
}

/* y (rows, O) = h weight_out^T + bias_out of some rows of a chunk. */
static void TYPED(blas_readout)(const TYPED(worker) *worker, const TYPED(chunk) *chunk, clstm_i_range rows, real *y) {
    const TYPED(pass) *pass = worker->pass;
    const clstm_config *config = &pass->model->config;
    const real *parameters = pass->model->parameters;
    const size_t H = config->hidden_size, O = config->output_size;
    const clstm_i_offsets at = clstm_i_layer_offsets(config, config->num_layers);
    if (!config->no_bias)
        for (size_t row = 0; row < rows.end - rows.begin; row++)
            memcpy(y + row * O, parameters + at.bias, O * sizeof(real));
    const PUBLIC(gemm) product = {
        .m = rows.end - rows.begin, .n = O, .k = H,
        .a = chunk->hidden + rows.begin * H, .lda = H,
        .b = parameters + at.input, .ldb = H, .transpose_b = 1,
        .c = y, .ldc = O, .accumulate = !config->no_bias,
    };
    TYPED(product)(pass->call, worker->thread, &product);
}
