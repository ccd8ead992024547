/* Steps backwards, typed: dh_t = what comes from above + dG_{t+1} R, and from there to dG_t, in one pass. */

/* The derivatives of `cells`, its lines in reverse, for units j to j + n of one row. tanh(c) is cheaper to compute
   again than to keep. */
static inline void TYPED(gates_backward_vector)(const TYPED(clstm_i_gates_backward) *step, size_t row, size_t j,
                                                size_t n, vreal dh) {
    const size_t H = step->hidden_size, at = row * H + j;
    const vreal one = TYPED(splat)(1);
    real *gates = step->gates + 4 * row * H + j;
    const vreal i = TYPED(take)(gates, n), f = TYPED(take)(gates + H, n);
    const vreal g = TYPED(take)(gates + 2 * H, n), o = TYPED(take)(gates + 3 * H, n);
    const vreal tanh_c = TYPED(tanh)(TYPED(take)(step->c + at, n));

    const vreal d_o = dh * tanh_c;
    const vreal dc = TYPED(fma)(dh * o, one - tanh_c * tanh_c, TYPED(take)(step->dc + at, n));
    const vreal df = dc * TYPED(take)(step->c_before + at, n);

    TYPED(put)(step->dc + at, dc * f, n);
    TYPED(put)(gates, dc * g * (i * (one - i)), n);
    TYPED(put)(gates + H, df * (f * (one - f)), n);
    TYPED(put)(gates + 2 * H, dc * i * (one - g * g), n);
    TYPED(put)(gates + 3 * H, d_o * (o * (one - o)), n);
}

/* Units j to j + n of one row, of either kind of cell: `plain` is a constant wherever this is inlined. */
ALWAYS_INLINE void TYPED(vector_backward)(const TYPED(clstm_i_gates_backward) *step, size_t row, size_t j, size_t n,
                                          vreal dh, const int plain) {
    if (plain) TYPED(gates_backward_vector)(step, row, j, n, dh);
    else TYPED(cell_backward_vector)(step, row, j, n, dh);
}

ALWAYS_INLINE void TYPED(rows_backward)(const TYPED(clstm_i_steps_backward) *now, clstm_i_range rows,
                                        clstm_i_range blocks, const int plain) {
    const TYPED(clstm_i_product) *p = &now->product;
    const size_t H = now->gates.hidden_size, first = blocks.begin * TYPED(BLOCK);
    const size_t vectors = TYPED(vectors_of)(p, blocks);
    vreal sums[TYPED(WINDOW_SUMS)], *dh = sums;
    TYPED(sum)(p, rows, blocks, (real *)sums, vectors * TYPED(LANES));
    for (size_t row = rows.begin; row < rows.end; row++) {
        for (size_t v = 0; v < vectors; v++, dh++) {
            const size_t j = first + v * TYPED(LANES);
            if (H - j >= TYPED(LANES)) TYPED(vector_backward)(&now->gates, row, j, TYPED(LANES), *dh, plain);
            else TYPED(vector_backward)(&now->gates, row, j, H - j, *dh, plain);
        }
    }
}

/* Every array moves to the step before; the product's factor is what this step wrote. */
static void TYPED(retreat)(TYPED(clstm_i_steps_backward) *now) {
    TYPED(clstm_i_gates_backward) *step = &now->gates;
    const size_t H = step->hidden_size;
    now->product.parts[0].a = step->gates;
    now->product.start -= now->batch * now->product.start_stride;
    step->gates -= now->batch * 4 * H;
    step->c = step->c_before;
    step->c_before -= now->batch * H;
}

/* Every other step goes through the blocks backwards, as in `steps`. */
ALWAYS_INLINE void TYPED(walk_back)(const TYPED(clstm_i_steps_backward) *steps, const int plain) {
    TYPED(clstm_i_steps_backward) now = *steps;
    const TYPED(clstm_i_product) *p = &now.product;
    const clstm_i_range all = {p->begin, p->end};
    for (size_t t = 0; t < steps->steps; t++) {
        if (t) TYPED(retreat)(&now);
        for (size_t left = p->end - p->begin; left; left -= TYPED(window)(left)) {
            const clstm_i_range blocks = TYPED(next_window)(all, left, (int)((steps->first + t) % 2));
            for (size_t rest = p->rows; rest; rest -= TYPED(tile_rows)(rest))
                TYPED(rows_backward)(&now, TYPED(next_rows)(p->rows, rest), blocks, plain);
        }
    }
}

static void TYPED(steps_backward)(const TYPED(clstm_i_steps_backward) *steps) { TYPED(walk_back)(steps, 1); }
static void TYPED(cell_steps_backward)(const TYPED(clstm_i_steps_backward) *steps) { TYPED(walk_back)(steps, 0); }
