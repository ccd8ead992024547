/* Steps forward, typed: from a product's sums to gates, cell state and hidden state. */
#ifndef KERNELS_STEPS /* included once for each type: real_undefine.h undefines it */
#define KERNELS_STEPS

#include "cell_variants.h"
#include "small_steps.h"

/* Prefetches a tile's c and h before its sums, which take longer than the loads (TUNE_FETCH_STATES_HIDDEN). */
static inline void TYPED(fetch_states)(const TYPED(clstm_i_steps) *step, clstm_i_range rows, clstm_i_range blocks) {
    const size_t line = 64 / sizeof(real), end = blocks.end * TYPED(LANES);
    if (step->hidden_size <= TUNE_FETCH_STATES_HIDDEN) return;
    for (size_t row = rows.begin; row < rows.end; row++)
        for (size_t unit = blocks.begin * TYPED(LANES); unit < end; unit += line) {
            __builtin_prefetch(step->c + row * step->stride + unit, 1);
            __builtin_prefetch(step->h + row * step->stride + unit, 1);
        }
}

/* One step of some rows and blocks. Sums go through the stack, so that the activations of several blocks overlap: each
   is a dependent chain of some 50 cycles, more than the stores and loads cost. */
LINE_ALIGNED
static void TYPED(step_rows)(const TYPED(clstm_i_steps) *step, clstm_i_range rows, clstm_i_range blocks) {
    vreal sums[TYPED(WINDOW_SUMS)], *own = sums;
    const size_t units = blocks.end - blocks.begin, half = blocks.end > step->product.whole;
    TYPED(fetch_states)(step, rows, blocks);
    TYPED(sum)(&step->product, rows, blocks, (real *)sums, units * TYPED(BLOCK));
    for (size_t row = rows.begin; row < rows.end; row++, own += 4 * units) {
        switch (2 * (units - half) + half) {
        case 1: TYPED(finish)(step, row, blocks.begin, own, 0, 1, 0, 1, step->fast); break;
        case 2: TYPED(finish)(step, row, blocks.begin, own, 0, 1, 1, 0, step->fast); break;
        case 3: TYPED(finish)(step, row, blocks.begin, own, 0, 1, 1, 1, step->fast); break;
        case 4: TYPED(finish)(step, row, blocks.begin, own, 0, 1, 2, 0, step->fast); break;
        case 5: TYPED(finish)(step, row, blocks.begin, own, 0, 1, 2, 1, step->fast); break;
        case 6: TYPED(finish)(step, row, blocks.begin, own, 0, 1, 3, 0, step->fast); break;
        }
    }
}
_Static_assert(TYPED(WINDOW) == 3, "the cases above");

/* The same for a cell other than the plain one. */
static void TYPED(cell_rows)(const TYPED(clstm_i_steps) *step, clstm_i_range rows, clstm_i_range blocks) {
    vreal sums[TYPED(WINDOW_SUMS)];
    TYPED(cell_tile) tile;
    const size_t units = blocks.end - blocks.begin, first = blocks.begin * TYPED(LANES);
    TYPED(fetch_states)(step, rows, blocks);
    TYPED(sum)(&step->product, rows, blocks, (real *)sums, units * TYPED(BLOCK));
    const int half = blocks.end > step->product.whole;
    tile.units = units;
    tile.count = (rows.end - rows.begin) * units;
    TYPED(load_peepholes)(&tile, step->peephole, step->hidden_size, first);
    for (size_t k = 0; k < tile.count; k++) {
        vreal gates[4];
        TYPED(gates_of)(gates, sums + 4 * k, half && (k + 1) % units == 0);
        for (size_t gate = 0; gate < 4; gate++) tile.gates[gate][k] = gates[gate];
        const size_t row = rows.begin + k / units, unit = first + k % units * TYPED(LANES);
        tile.c[k] = TYPED(load)(step->c + row * step->stride + unit);
    }
    TYPED(cell_forward)(step->cell, step->peephole != NULL, &tile);
    for (size_t k = 0; k < tile.count; k++) {
        const size_t row = rows.begin + k / units, unit = first + k % units * TYPED(LANES);
        const vreal gates[4] = {tile.gates[0][k], tile.gates[1][k], tile.gates[2][k], tile.gates[3][k]};
        TYPED(store)(step->c + row * step->stride + unit, tile.c[k]);
        TYPED(store)(step->h + row * step->stride + unit, tile.h[k]);
        if (step->gates || step->cells) TYPED(record_cell)(step, row, unit, gates, tile.c[k]);
    }
}

/* One step of one row, for blocks that fit one tile: nothing leaves the registers between the sums and h_t. A small
   step is little more than the latency from h_{t-1} to h_t, and the stack would make it a quarter longer. */
ALWAYS_INLINE void TYPED(step_in_registers)(const TYPED(clstm_i_steps) *step, size_t block, const int whole,
                                            const int half, const int fast) {
    vreal sums[4 * TYPED(WINDOW)];
    TYPED(sum_strand)(sums, &step->product, block, whole, half);
    TYPED(finish)(step, 0, block, sums, 0, 1, whole, half, fast);
}

ALWAYS_INLINE void TYPED(step_blocks)(const TYPED(clstm_i_steps) *step, clstm_i_range blocks, const int fast) {
    const size_t half = blocks.end > step->product.whole, whole = blocks.end - blocks.begin - half;
    switch (2 * whole + half) {
    case 1: TYPED(step_in_registers)(step, blocks.begin, 0, 1, fast); return;
    case 2: TYPED(step_in_registers)(step, blocks.begin, 1, 0, fast); return;
    case 3: TYPED(step_in_registers)(step, blocks.begin, 1, 1, fast); return;
    case 4: TYPED(step_in_registers)(step, blocks.begin, 2, 0, fast); return;
    case 5: TYPED(step_in_registers)(step, blocks.begin, 2, 1, fast); return;
    case 6: TYPED(step_in_registers)(step, blocks.begin, 3, 0, fast); return;
    }
}

LINE_ALIGNED
NEVER_INLINE void TYPED(accurate_row)(const TYPED(clstm_i_steps) *step, clstm_i_range blocks) {
    TYPED(step_blocks)(step, blocks, 0);
}

LINE_ALIGNED
NEVER_INLINE void TYPED(fast_row)(const TYPED(clstm_i_steps) *step, clstm_i_range blocks) {
    TYPED(step_blocks)(step, blocks, !REAL_IS_F64);
}

static inline void TYPED(step_row)(const TYPED(clstm_i_steps) *step, clstm_i_range blocks) {
    if (step->fast) TYPED(fast_row)(step, blocks);
    else TYPED(accurate_row)(step, blocks);
}

/* All blocks and rows of a step. Odd steps visit the blocks in reverse, a zig-zag: they begin with the weights that the
   step before left in a cache. 10 % faster where the weights are twice as large as the cache. */
ALWAYS_INLINE void TYPED(whole_step)(const TYPED(clstm_i_steps) *step, size_t number, const int plain) {
    const TYPED(clstm_i_product) *p = &step->product;
    const clstm_i_range all = {p->begin, p->end};
    const int backwards = (int)(number % 2);
    if (plain && p->rows == 1 && !TYPED(is_long)(p)) {
        clstm_i_range blocks;
        for (size_t left = p->end - p->begin; left; left -= blocks.end - blocks.begin) {
            blocks = TYPED(next_row_window)(p, left, backwards);
            TYPED(step_row)(step, blocks);
        }
        return;
    }
    for (size_t left = p->end - p->begin; left; left -= TYPED(window)(left)) {
        const clstm_i_range blocks = TYPED(next_window)(all, left, backwards);
        for (size_t rest = p->rows; rest; rest -= TYPED(tile_rows)(rest)) {
            const clstm_i_range rows = TYPED(next_rows)(p->rows, rest);
            if (plain) TYPED(step_rows)(step, rows, blocks);
            else TYPED(cell_rows)(step, rows, blocks);
        }
    }
}

ALWAYS_INLINE void TYPED(walk)(const TYPED(clstm_i_steps) *steps, const int plain) {
    clstm_i_assert(steps->product.count && (plain ? !steps->cell : steps->cell != NULL));
    clstm_i_assert(steps->stride % TYPED(LANES) == 0 && steps->stride >= steps->hidden_size);
    if (steps->steps == 1) { /* most calls of a stream */
        TYPED(whole_step)(steps, steps->first, plain);
        return;
    }
    if (plain && TYPED(is_small)(&steps->product)) {
        TYPED(small_steps)(steps);
        return;
    }
    TYPED(clstm_i_steps) now = *steps;
    for (size_t t = 0; t < steps->steps; t++) {
        if (t) TYPED(advance)(&now);
        TYPED(whole_step)(&now, steps->first + t, plain);
    }
}

LINE_ALIGNED
static void TYPED(steps)(const TYPED(clstm_i_steps) *steps) { TYPED(walk)(steps, 1); }
static void TYPED(cell_steps)(const TYPED(clstm_i_steps) *steps) { TYPED(walk)(steps, 0); }
/* Steps backward, typed: dh_t = gradient from above + dG_{t+1} W_hh, and from it dG_t, fused. */

/* The derivatives of `cells`, in reverse order, for units j to j + n of one row. Recomputing tanh(c) is cheaper than
   storing it. */
static inline void TYPED(gates_backward_vector)(const TYPED(clstm_i_gates_backward) *step, size_t row, size_t j,
                                                size_t n, vreal dh) {
    const size_t H = step->hidden_size, at = row * H + j;
    const vreal one = TYPED(splat)(1);
    real *gates = step->gates + 4 * row * H + j;
    const vreal i = TYPED(load_n)(gates, n), f = TYPED(load_n)(gates + H, n);
    const vreal g = TYPED(load_n)(gates + 2 * H, n), o = TYPED(load_n)(gates + 3 * H, n);
    const vreal tanh_c = TYPED(tanh)(TYPED(load_n)(step->c + at, n));

    const vreal d_o = dh * tanh_c;
    const vreal dc = TYPED(fma)(dh * o, one - tanh_c * tanh_c, TYPED(load_n)(step->dc + at, n));
    const vreal df = dc * TYPED(load_n)(step->c_before + at, n);

    TYPED(store_n)(step->dc + at, dc * f, n);
    TYPED(store_n)(gates, dc * g * (i * (one - i)), n);
    TYPED(store_n)(gates + H, df * (f * (one - f)), n);
    TYPED(store_n)(gates + 2 * H, dc * i * (one - g * g), n);
    TYPED(store_n)(gates + 3 * H, d_o * (o * (one - o)), n);
}

/* Units j to j + n of one row, for either kind of cell; `plain` is constant wherever this is inlined. */
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

/* Moves every array back by one step; the product's factor is dG, which this step has written. */
static void TYPED(retreat)(TYPED(clstm_i_steps_backward) *now) {
    TYPED(clstm_i_gates_backward) *step = &now->gates;
    const size_t H = step->hidden_size;
    now->product.factors[0].a = step->gates;
    now->product.start -= now->batch * now->product.start_stride;
    step->gates -= now->batch * 4 * H;
    step->c = step->c_before;
    step->c_before -= now->batch * H;
}

/* Zig-zag through the blocks, as in whole_step. */
ALWAYS_INLINE void TYPED(walk_backward)(const TYPED(clstm_i_steps_backward) *steps, const int plain) {
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

LINE_ALIGNED
static void TYPED(steps_backward)(const TYPED(clstm_i_steps_backward) *steps) { TYPED(walk_backward)(steps, 1); }
static void TYPED(cell_steps_backward)(const TYPED(clstm_i_steps_backward) *steps) { TYPED(walk_backward)(steps, 0); }

#endif
