/* A layer's weight and input gradients, typed: one product each over all rows of a chunk. */

/* Weight gradients, dG^T x, dG^T h_{t-1} and the sums of dG, of some of the 4H rows of the weights. */
static void TYPED(weight_gradients)(const TYPED(back) *back, size_t index, clstm_i_range rows) {
    const size_t I = back->input_size, H = back->hidden_size, n = TYPED(chunk_rows)(back);
    PUBLIC(gemm) product = {
        .m = rows.end - rows.begin, .n = I, .k = n,
        .a = back->gates + rows.begin, .lda = 4 * H, .transpose_a = 1,
        .b = back->x + TYPED(origin)(back) * I, .ldb = I,
        .c = back->d_weight_ih + rows.begin * I, .ldc = I, .accumulate = back->accumulate,
    };
    TYPED(product)(back->call, index, &product);

    product.n = product.ldb = product.ldc = H;
    product.c = back->d_weight_hh + rows.begin * H;
    size_t t = back->first, end;
    do {
        end = TYPED(together)(back, t);
        product.k = back->plan->offsets[end] - back->plan->offsets[t];
        product.a = back->gates + (back->plan->offsets[t] - TYPED(origin)(back)) * 4 * H + rows.begin;
        product.b = back->h + TYPED(slot_before)(back->plan, t) * H; /* one slot behind: the rows before each step */
        TYPED(product)(back->call, index, &product);
        product.accumulate = 1;
        t = end;
    } while (t < back->last);

    if (!back->d_bias) return;
    real *d_bias = back->d_bias + rows.begin;
    if (!back->accumulate) memset(d_bias, 0, (rows.end - rows.begin) * sizeof(real));
    back->kernels->sum_rows(n, rows.end - rows.begin, back->gates + rows.begin, 4 * H, d_bias);
}

/* Input gradients, dG weight_ih, of some of the chunk's rows. */
static void TYPED(input_gradients)(const TYPED(back) *back, size_t index, clstm_i_range rows) {
    const size_t I = back->input_size, H = back->hidden_size;
    const PUBLIC(gemm) product = {
        .m = rows.end - rows.begin, .n = I, .k = 4 * H,
        .a = back->gates + rows.begin * 4 * H, .lda = 4 * H,
        .b = back->weight_ih, .ldb = I,
        .c = back->dx + (TYPED(origin)(back) + rows.begin) * back->dx_stride, .ldc = back->dx_stride,
    };
    TYPED(product)(back->call, index, &product);
}

/* A thread's part of both. */
static void TYPED(products_backward)(void *argument, size_t index, size_t count) {
    const TYPED(back) *back = argument;
    const size_t line = 64 / sizeof(real); /* no cache line of the gradients has two writers */
    if (back->d_weight_ih)
        TYPED(weight_gradients)(back, index, clstm_i_slice(4 * back->hidden_size, line, index, count));
    if (back->dx) TYPED(input_gradients)(back, index, clstm_i_slice(TYPED(chunk_rows)(back), 1, index, count));
}
