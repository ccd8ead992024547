/* The packed engine's recurrence backwards, typed: product and gates' gradients fused in the kernels. */

/* dG weight_hh of some rows, starting from `start`, as the kernels take it. */
static TYPED(clstm_i_product) TYPED(recurrent_product)(const TYPED(back) *back, const real *d_gates, size_t rows,
                                                       const real *start, size_t start_stride) {
    const size_t depth = 4 * back->hidden_size;
    return (TYPED(clstm_i_product)){
        .rows = rows, .whole = back->packed->whole, .last = back->packed->last,
        .count = d_gates != NULL, .parts = {{d_gates, depth, back->packed->input, depth}},
        .start = start, .start_stride = start_stride,
    };
}

/* The blocks from `begin` on that a kernel call of so many rows takes: the host can cancel within 50 ms. */
static clstm_i_range TYPED(next_blocks)(const TYPED(back) *back, size_t index, size_t rows, size_t steps,
                                        clstm_i_range blocks) {
    const double work = (double)steps * (double)rows * 4 * (double)back->hidden_size * (double)back->packed->width;
    const size_t most = TYPED(blocks_at_once)(back->packed, work), left = blocks.end - blocks.begin;
    if (left > most) blocks.end = blocks.begin + most;
    if (index == 0)
        clstm_i_poll(back->call, work * (double)(blocks.end - blocks.begin) / (double)back->packed->blocks);
    return blocks;
}

/* Some steps of some rows, from t backwards. Rows that go on have a later step. */
static void TYPED(steps_back)(const TYPED(back) *back, size_t index, size_t t, size_t steps, clstm_i_range rows,
                              clstm_i_range blocks, int go_on) {
    if (rows.begin >= rows.end) return;
    const real *d_gates = go_on ? TYPED(gradients_at)(back, t + 1, rows.begin) : NULL;
    TYPED(clstm_i_steps_backward) call = {
        .gates = TYPED(gates_step)(back, t, rows), .first = t, .steps = steps, .batch = back->plan->rows[t],
    };
    call.product = TYPED(recurrent_product)(back, d_gates, rows.end - rows.begin, call.gates.dh, back->dh_stride);
    while (blocks.begin < blocks.end && !clstm_i_cancelled(back->call)) {
        const clstm_i_range part = TYPED(next_blocks)(back, index, rows.end - rows.begin, steps, blocks);
        call.product.begin = part.begin;
        call.product.end = blocks.begin = part.end;
        back->kernels->steps_backward(&call);
    }
}

/* How many steps before t, and t, one kernel call can take: alone, no thread waits for it; with the whole batch at each
   of them; and the host is asked in time. */
static size_t TYPED(steps_back_at_once)(const TYPED(back) *back, size_t t, size_t go_on, int shared) {
    const clstm_i_plan *plan = back->plan;
    const double most = 1e7, each = (double)plan->batch * 4 * (double)back->hidden_size * (double)back->packed->width;
    if (shared || go_on < plan->batch) return 1;
    const size_t left = t + 1 - back->first;
    return (double)left * each < most ? left : most / each < 1 ? 1 : (size_t)(most / each);
}

/* dh0 = dG_0 weight_hh of some rows and blocks. */
static void TYPED(packed_initial)(const TYPED(back) *back, size_t index, clstm_i_range rows, clstm_i_range blocks) {
    const size_t H = back->hidden_size;
    if (rows.begin >= rows.end) return;
    TYPED(clstm_i_product) product = TYPED(recurrent_product)(back, TYPED(gates_at)(back, 0, rows.begin),
                                                              rows.end - rows.begin, back->zeros, 0);
    while (blocks.begin < blocks.end && !clstm_i_cancelled(back->call)) {
        const clstm_i_range part = TYPED(next_blocks)(back, index, product.rows, 1, blocks);
        product.begin = part.begin;
        product.end = blocks.begin = part.end;
        back->kernels->multiply(&product, back->dh0 + rows.begin * H, H, H);
    }
}

/* A thread's rows and blocks of the chunk's steps, the last first. */
static void TYPED(packed_backward)(const TYPED(back) *back, size_t index, size_t count) {
    const size_t B = back->plan->batch, all = back->packed->blocks;
    const int shared = back->split == CLSTM_I_UNITS && count > 1;
    const clstm_i_range own = shared ? (clstm_i_range){0, B} : clstm_i_slice(B, 1, index, count);
    const clstm_i_range blocks = shared ? clstm_i_slice(all, 1, index, count) : (clstm_i_range){0, all};
    size_t n;
    for (size_t left = back->last; left > back->first && !clstm_i_cancelled(back->call); left -= n) {
        const size_t t = left - 1, active = back->plan->rows[t], go_on = TYPED(active)(back, left);
        const size_t end = own.end < active ? own.end : active, middle = own.begin > go_on ? own.begin : go_on;
        n = TYPED(steps_back_at_once)(back, t, go_on, shared);
        TYPED(steps_back)(back, index, t, n, (clstm_i_range){own.begin, end < go_on ? end : go_on}, blocks, 1);
        TYPED(steps_back)(back, index, t, 1, (clstm_i_range){middle, end}, blocks, 0);
        if (shared) clstm_i_meet(back->call, back->counters, index, count);
    }
    const size_t started = TYPED(active)(back, 0);
    if (back->first == 0 && back->dh0)
        TYPED(packed_initial)(back, index, (clstm_i_range){own.begin, own.end < started ? own.end : started}, blocks);
}
