/* One layer: its input product for a chunk of steps at once, and the step. The blas engine: products by sgemm, then one
   fused loop over the gates. Typed. */

/* A layer over the steps of one chunk, n rows in all. */
typedef struct TYPED(layer) {
    size_t input_size, hidden_size;
    const real *weight_ih; /* (4H, I) */
    const real *weight_hh; /* (4H, H) */
    const real *bias;      /* (4H,) */
    const real *x;         /* (n, I) */
    real *gates;           /* (n, 4H) */
    real *h;               /* (n, H) */
    real *c;               /* (n, H) if kept for a backward pass; else c_before, updated in place */
    const real *h_before;  /* (B, H) before the chunk's first step */
    const real *c_before;  /* (B, H) likewise */
    int keep;
} TYPED(layer);

/* What the threads of a team share while a layer runs over a chunk. */
typedef struct TYPED(chunk) {
    clstm_i_call *call;
    const TYPED(clstm_i_kernels) *kernels;
    const clstm_i_plan *plan;
    size_t first, last; /* steps */
    TYPED(layer) layer;
} TYPED(chunk);

static size_t TYPED(chunk_rows)(const TYPED(chunk) *chunk) {
    return chunk->plan->offsets[chunk->last] - chunk->plan->offsets[chunk->first];
}

/* gates = x weight_ih^T, hoisted over all steps of the chunk: a task over its rows. */
static void TYPED(input_product)(void *argument, size_t index, size_t count) {
    const TYPED(chunk) *chunk = argument;
    const TYPED(layer) *layer = &chunk->layer;
    const size_t I = layer->input_size, gates = 4 * layer->hidden_size;
    const clstm_i_range rows = clstm_i_slice(TYPED(chunk_rows)(chunk), 1, index, count);
    const PUBLIC(gemm) product = {
        .m = rows.end - rows.begin, .n = gates, .k = I,
        .a = layer->x + rows.begin * I, .lda = I,
        .b = layer->weight_ih, .ldb = I, .transpose_b = 1,
        .c = layer->gates + rows.begin * gates, .ldc = gates,
    };
    TYPED(product)(chunk->call, index, &product);
}

/* Step t for the active rows of a range: gates += h_{t-1} weight_hh^T, then gates -> c_t, h_t. */
static void TYPED(step)(const TYPED(chunk) *chunk, size_t index, size_t t, clstm_i_range range) {
    const TYPED(layer) *layer = &chunk->layer;
    const clstm_i_plan *plan = chunk->plan;
    const size_t H = layer->hidden_size, gates = 4 * H, active = plan->rows[t];
    const size_t end = range.end < active ? range.end : active;
    if (range.begin >= end) return;

    const size_t origin = plan->offsets[chunk->first], at = plan->offsets[t] - origin + range.begin;
    const int carried = t == chunk->first;
    const size_t before = carried ? range.begin : plan->offsets[t - 1] - origin + range.begin;
    const real *h_before = (carried ? layer->h_before : layer->h) + before * H;
    const real *c_before = carried || !layer->keep ? layer->c_before + range.begin * H : layer->c + before * H;

    const PUBLIC(gemm) product = {
        .m = end - range.begin, .n = gates, .k = H,
        .a = h_before, .lda = H,
        .b = layer->weight_hh, .ldb = H, .transpose_b = 1,
        .c = layer->gates + at * gates, .ldc = gates, .accumulate = 1,
    };
    TYPED(product)(chunk->call, index, &product);

    const TYPED(clstm_i_gates) fused = {
        .rows = end - range.begin, .hidden_size = H, .keep = layer->keep, .bias = layer->bias,
        .gates = layer->gates + at * gates, .c_before = c_before,
        .c = layer->c + (layer->keep ? at : range.begin) * H, .h = layer->h + at * H,
    };
    chunk->kernels->gates(&fused);
}

/* All steps of the chunk: a task over the batch. Rows never meet, so no thread waits for another. */
static void TYPED(recurrence)(void *argument, size_t index, size_t count) {
    const TYPED(chunk) *chunk = argument;
    const clstm_i_range range = clstm_i_slice(chunk->plan->batch, 1, index, count);
    for (size_t t = chunk->first; t < chunk->last && !clstm_i_cancelled(chunk->call); t++)
        TYPED(step)(chunk, index, t, range);
}

static void TYPED(run_layer)(TYPED(chunk) *chunk) {
    const TYPED(layer) *layer = &chunk->layer;
    const size_t rows = TYPED(chunk_rows)(chunk), H = layer->hidden_size;
    const double gates = 4 * (double)H * (double)rows;
    /* An activation costs about as much as 32 multiply-adds. */
    const size_t product = clstm_i_wanted(chunk->call, gates * (double)layer->input_size, rows);
    const size_t steps = clstm_i_wanted(chunk->call, gates * ((double)H + 32), chunk->plan->batch);
    clstm_i_run(chunk->call, product, TYPED(input_product), chunk);
    clstm_i_run(chunk->call, steps, TYPED(recurrence), chunk);
}
