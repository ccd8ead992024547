/* The blas engine's recurrence backwards, typed: a product by the context's gemm for each step, then one fused loop
   over the gates. Here dh is `below`, and each step's product is added to it. */

/* The gradients of a step's gates give to the h before them: to += dG weight_hh. */
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

/* The chunk's steps of a thread's rows of the batch, the last first: these rows never meet others. */
static void TYPED(blas_backward)(const TYPED(back) *back, size_t index, size_t count) {
    const clstm_i_plan *plan = back->plan;
    const size_t H = back->hidden_size;
    const clstm_i_range own = clstm_i_slice(plan->batch, 1, index, count);
    for (size_t t = back->last; t-- > back->first && !clstm_i_cancelled(back->call);) {
        const size_t active = plan->rows[t], go_on = TYPED(active)(back, t + 1);
        const size_t end = own.end < active ? own.end : active, last = end < go_on ? end : go_on;
        if (own.begin >= end) continue;
        real *dh = back->below + (plan->offsets[t] + own.begin) * H;
        if (own.begin < last)
            TYPED(give_back)(back, index, TYPED(gradients_at)(back, t + 1, own.begin), dh, last - own.begin, 1);
        const TYPED(clstm_i_gates_backward) step = TYPED(gates_step)(back, t, (clstm_i_range){own.begin, end});
        back->kernels->gates_backward(&step);
    }
    const size_t started = TYPED(active)(back, 0), last = own.end < started ? own.end : started;
    if (back->first == 0 && back->dh0 && own.begin < last)
        TYPED(give_back)(back, index, TYPED(gates_at)(back, 0, own.begin), back->dh0 + own.begin * H,
                         last - own.begin, 0);
}
