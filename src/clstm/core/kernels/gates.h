/* The blas engine's gates, forward and backward, typed: one vector of hidden units at a time. The tail of a row runs
   the same code on fewer lanes, so that a unit's result does not depend on its position. */
#ifndef KERNELS_GATES /* included once for each type: real_undefine.h undefines it */
#define KERNELS_GATES

#include "steps.h"

/* Units j to j + n of one row; `keep` is constant wherever this is inlined. */
ALWAYS_INLINE void TYPED(gates_vector)(const TYPED(clstm_i_gates) *step, size_t row, size_t j, size_t n, int keep) {
    const size_t H = step->hidden_size, at = row * H + j;
    real *gates = step->gates + 4 * row * H + j;
    const real *bias = step->bias + j;

    vreal values[1][4], c = TYPED(load_n)(step->c_before + at, n), h;
    for (size_t gate = 0; gate < 4; gate++)
        values[0][gate] = TYPED(load_n)(gates + gate * H, n) + TYPED(load_n)(bias + gate * H, n);
    if (!REAL_IS_F64 && step->fast) TYPED(fast_cells)(values, &c, &h, 1);
    else TYPED(cells)(values, &c, &h, 1);
    TYPED(store_n)(step->c + at, c, n);
    TYPED(store_n)(step->h + at, h, n);

    if (!keep) return;
    for (size_t gate = 0; gate < 4; gate++) TYPED(store_n)(gates + gate * H, values[0][gate], n);
}

ALWAYS_INLINE void TYPED(gates_rows)(const TYPED(clstm_i_gates) *step, int keep) {
    const size_t H = step->hidden_size, whole = H - H % TYPED(LANES);
    for (size_t row = 0; row < step->rows; row++) {
        for (size_t j = 0; j < whole; j += TYPED(LANES)) TYPED(gates_vector)(step, row, j, TYPED(LANES), keep);
        if (whole < H) TYPED(gates_vector)(step, row, whole, H - whole, keep);
    }
}

static void TYPED(gates)(const TYPED(clstm_i_gates) *step) {
    clstm_i_assert(step->bias && !step->cell);
    if (step->keep) TYPED(gates_rows)(step, 1);
    else TYPED(gates_rows)(step, 0);
}

/* Fills a tile with units of one row, from unit j on. */
static void TYPED(load_cells)(const TYPED(clstm_i_gates) *step, size_t row, size_t j, TYPED(cell_tile) *tile) {
    const size_t H = step->hidden_size;
    const real *gates = step->gates + 4 * row * H, *c = step->c_before + row * H;
    for (size_t k = 0; k < tile->count; k++, j += TYPED(LANES)) {
        const size_t n = H - j < TYPED(LANES) ? H - j : TYPED(LANES);
        for (size_t gate = 0; gate < 4; gate++) {
            const size_t at = gate * H + j;
            tile->gates[gate][k] = TYPED(load_n)(gates + at, n) + TYPED(load_n)(step->bias + at, n);
        }
        tile->c[k] = TYPED(load_n)(c + j, n);
    }
}

static void TYPED(store_cells)(const TYPED(clstm_i_gates) *step, size_t row, size_t j, const TYPED(cell_tile) *tile) {
    const size_t H = step->hidden_size;
    for (size_t k = 0; k < tile->count; k++, j += TYPED(LANES)) {
        const size_t n = H - j < TYPED(LANES) ? H - j : TYPED(LANES);
        TYPED(store_n)(step->c + row * H + j, tile->c[k], n);
        TYPED(store_n)(step->h + row * H + j, tile->h[k], n);
        for (size_t gate = 0; step->keep && gate < 4; gate++)
            TYPED(store_n)(step->gates + (4 * row + gate) * H + j, tile->gates[gate][k], n);
    }
}

/* Cells other than the plain one, WINDOW vectors of units at a time. */
static void TYPED(cell_gates)(const TYPED(clstm_i_gates) *step) {
    const size_t H = step->hidden_size;
    for (size_t row = 0; row < step->rows; row++) {
        for (size_t j = 0, n; j < H; j += n) {
            TYPED(cell_tile) tile;
            n = H - j < TYPED(WINDOW) * TYPED(LANES) ? H - j : TYPED(WINDOW) * TYPED(LANES);
            tile.count = tile.units = (n + TYPED(LANES) - 1) / TYPED(LANES);
            TYPED(load_peepholes)(&tile, step->peephole, H, j);
            TYPED(load_cells)(step, row, j, &tile);
            TYPED(cell_forward)(step->cell, step->peephole != NULL, &tile);
            TYPED(store_cells)(step, row, j, &tile);
        }
    }
}

ALWAYS_INLINE void TYPED(gates_rows_backward)(const TYPED(clstm_i_gates_backward) *step, const int plain) {
    const size_t H = step->hidden_size, whole = H - H % TYPED(LANES);
    for (size_t row = 0; row < step->rows; row++) {
        const real *dh = step->dh + row * H;
        for (size_t j = 0; j < whole; j += TYPED(LANES))
            TYPED(vector_backward)(step, row, j, TYPED(LANES), TYPED(load)(dh + j), plain);
        if (whole < H)
            TYPED(vector_backward)(step, row, whole, H - whole, TYPED(load_part)(dh + whole, H - whole), plain);
    }
}

static void TYPED(gates_backward)(const TYPED(clstm_i_gates_backward) *step) { TYPED(gates_rows_backward)(step, 1); }
static void TYPED(cell_gates_backward)(const TYPED(clstm_i_gates_backward) *step) {
    TYPED(gates_rows_backward)(step, 0);
}

#endif
