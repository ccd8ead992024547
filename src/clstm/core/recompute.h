/* The gates of a chunk computed again from the states before its steps, typed: products over all its rows, because here
   no step waits for another. The packed engine adds up as the forward pass did: its gates are equal bit by bit. */

/* Some rows: the first one in the chunk, in x, and its slot before. */
typedef struct TYPED(rows_again) {
    size_t at, row, slot, count;
} TYPED(rows_again);

static void TYPED(packed_again)(const TYPED(back) *back, const TYPED(rows_again) *rows) {
    const TYPED(packed) *weights = back->forward;
    const size_t I = back->input_size, H = back->hidden_size, stride = back->stride;
    real *c = back->states + rows->at * stride, *h = c + TYPED(chunk_rows)(back) * stride;
    TYPED(copy_rows)(c, stride, back->c + rows->slot * H, H, rows->count, H);
    const TYPED(clstm_i_steps) steps = {
        .product = {
            .rows = rows->count, .begin = 0, .end = weights->blocks, .whole = weights->whole, .last = weights->last,
            .count = 2, .parts = {{back->x + rows->row * I, I, weights->input, I},
                                  {back->h + rows->slot * H, H, weights->recurrent, H}},
            .start = weights->bias,
        },
        .steps = 1, .batch = rows->count, .c = c, .h = h, .stride = stride, .hidden_size = H,
        .gates = back->gates + rows->at * 4 * H,
    };
    back->kernels->steps(&steps);
}

static void TYPED(blas_again)(const TYPED(back) *back, size_t index, const TYPED(rows_again) *rows) {
    const size_t I = back->input_size, H = back->hidden_size;
    real *gates = back->gates + rows->at * 4 * H, *c = back->states + rows->at * H;
    PUBLIC(gemm) product = {
        .m = rows->count, .n = 4 * H, .k = I,
        .a = back->x + rows->row * I, .lda = I,
        .b = back->weight_ih, .ldb = I, .transpose_b = 1,
        .c = gates, .ldc = 4 * H,
    };
    TYPED(product)(back->call, index, &product);
    product.k = product.lda = product.ldb = H;
    product.a = back->h + rows->slot * H;
    product.b = back->weight_hh;
    product.accumulate = 1;
    TYPED(product)(back->call, index, &product);
    const TYPED(clstm_i_gates) step = {
        .rows = rows->count, .hidden_size = H, .keep = 1, .bias = back->bias, .gates = gates,
        .c_before = back->c + rows->slot * H, .c = c, .h = c + TYPED(chunk_rows)(back) * H,
    };
    back->kernels->gates(&step);
}

/* A task: a thread's part of the chunk's rows, some at a time, so that the host can cancel. */
static void TYPED(gates_again)(void *argument, size_t index, size_t count) {
    const TYPED(back) *back = argument;
    const clstm_i_plan *plan = back->plan;
    const double each = 4 * (double)back->hidden_size * (double)(back->input_size + back->hidden_size), most = 1e8;
    const size_t at_once = each < most ? (size_t)(most / each) : 1;
    for (size_t t = back->first, end; t < back->last; t = end) {
        end = TYPED(together)(back, t);
        const size_t first = plan->offsets[t], slot = TYPED(slot_before)(plan, t);
        clstm_i_range own = clstm_i_slice(plan->offsets[end] - first, 1, index, count);
        while (own.begin < own.end && !clstm_i_cancelled(back->call)) {
            const size_t left = own.end - own.begin, n = left < at_once ? left : at_once, row = first + own.begin;
            const TYPED(rows_again) rows = {row - TYPED(origin)(back), row, slot + own.begin, n};
            if (back->forward) TYPED(packed_again)(back, &rows);
            else TYPED(blas_again)(back, index, &rows);
            if (index == 0) clstm_i_poll(back->call, each * (double)n);
            own.begin += n;
        }
    }
}
