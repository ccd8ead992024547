/* The blas engine's gates, forwards and backwards, sums and maps, typed: what happens to one vector of hidden units.
   Tails run the same code on a partial vector, so that a unit's result does not depend on where it stands. */

/* Units j to j + n of one row. `keep` is a constant wherever this is inlined. */
ALWAYS_INLINE void TYPED(gates_vector)(const TYPED(clstm_i_gates) *step, size_t row, size_t j, size_t n, int keep) {
    const size_t H = step->hidden_size, at = row * H + j;
    real *gates = step->gates + 4 * row * H + j;
    const real *bias = step->bias + j;

    vreal values[1][4], c = TYPED(take)(step->c_before + at, n), h;
    for (size_t gate = 0; gate < 4; gate++)
        values[0][gate] = TYPED(take)(gates + gate * H, n) + TYPED(take)(bias + gate * H, n);
    TYPED(cells)(values, &c, &h, 1);
    TYPED(put)(step->c + at, c, n);
    TYPED(put)(step->h + at, h, n);

    if (!keep) return;
    for (size_t gate = 0; gate < 4; gate++) TYPED(put)(gates + gate * H, values[0][gate], n);
}

ALWAYS_INLINE void TYPED(gates_rows)(const TYPED(clstm_i_gates) *step, int keep) {
    const size_t H = step->hidden_size, whole = H - H % TYPED(LANES);
    for (size_t row = 0; row < step->rows; row++) {
        for (size_t j = 0; j < whole; j += TYPED(LANES)) TYPED(gates_vector)(step, row, j, TYPED(LANES), keep);
        if (whole < H) TYPED(gates_vector)(step, row, whole, H - whole, keep);
    }
}

static void TYPED(gates)(const TYPED(clstm_i_gates) *step) {
    if (step->keep) TYPED(gates_rows)(step, 1);
    else TYPED(gates_rows)(step, 0);
}

/* A tile of one row, from unit j on. */
static void TYPED(load_cells)(const TYPED(clstm_i_gates) *step, size_t row, size_t j, TYPED(cell_tile) *tile) {
    const size_t H = step->hidden_size;
    const real *gates = step->gates + 4 * row * H, *c = step->c_before + row * H;
    for (size_t k = 0; k < tile->count; k++, j += TYPED(LANES)) {
        const size_t n = H - j < TYPED(LANES) ? H - j : TYPED(LANES);
        for (size_t gate = 0; gate < 4; gate++) {
            const size_t at = gate * H + j;
            tile->gates[gate][k] = TYPED(take)(gates + at, n) + TYPED(take)(step->bias + at, n);
        }
        tile->c[k] = TYPED(take)(c + j, n);
    }
}

static void TYPED(store_cells)(const TYPED(clstm_i_gates) *step, size_t row, size_t j, const TYPED(cell_tile) *tile) {
    const size_t H = step->hidden_size;
    for (size_t k = 0; k < tile->count; k++, j += TYPED(LANES)) {
        const size_t n = H - j < TYPED(LANES) ? H - j : TYPED(LANES);
        TYPED(put)(step->c + row * H + j, tile->c[k], n);
        TYPED(put)(step->h + row * H + j, tile->h[k], n);
        for (size_t gate = 0; step->keep && gate < 4; gate++)
            TYPED(put)(step->gates + (4 * row + gate) * H + j, tile->gates[gate][k], n);
    }
}

/* Of cells other than the plain one, some vectors of units at a time. */
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

/* The sums of some vectors of n columns each. In blocks of rows: one long chain of additions would lose as many
   roundings as there are rows. */
ALWAYS_INLINE void TYPED(sum_columns)(size_t rows, const real *a, size_t stride, real *sums, const int vectors,
                                      size_t n) {
    const size_t block = 64;
    vreal total[4], part[4];
    UNROLL for (int v = 0; v < vectors; v++) total[v] = TYPED(take)(sums + v * TYPED(LANES), n);
    for (size_t first = 0; first < rows; first += block) {
        const size_t last = rows - first < block ? rows : first + block;
        UNROLL for (int v = 0; v < vectors; v++) part[v] = TYPED(splat)(0);
        for (size_t row = first; row < last; row++)
            UNROLL for (int v = 0; v < vectors; v++)
                part[v] += TYPED(take)(a + row * stride + (size_t)v * TYPED(LANES), n);
        UNROLL for (int v = 0; v < vectors; v++) total[v] += part[v];
    }
    UNROLL for (int v = 0; v < vectors; v++) TYPED(put)(sums + v * TYPED(LANES), total[v], n);
}

static void TYPED(sum_rows)(size_t rows, size_t columns, const real *a, size_t stride, real *sums) {
    size_t j = 0;
    for (; j + TYPED(BLOCK) <= columns; j += TYPED(BLOCK))
        TYPED(sum_columns)(rows, a + j, stride, sums + j, 4, TYPED(LANES));
    for (; j + TYPED(LANES) <= columns; j += TYPED(LANES))
        TYPED(sum_columns)(rows, a + j, stride, sums + j, 1, TYPED(LANES));
    if (j < columns) TYPED(sum_columns)(rows, a + j, stride, sums + j, 1, columns - j);
}

/* In blocks of rows likewise. */
static void TYPED(sum_products)(size_t rows, size_t columns, const real *a, size_t a_stride, const real *b,
                                size_t b_stride, real *sums) {
    const size_t block = 64;
    for (size_t j = 0; j < columns; j += TYPED(LANES)) {
        const size_t n = columns - j < TYPED(LANES) ? columns - j : TYPED(LANES);
        vreal total = TYPED(take)(sums + j, n);
        for (size_t row = 0; row < rows;) {
            const size_t last = rows - row < block ? rows : row + block;
            vreal part = {0};
            for (; row < last; row++)
                part = TYPED(fma)(TYPED(take)(a + row * a_stride + j, n), TYPED(take)(b + row * b_stride + j, n), part);
            total += part;
        }
        TYPED(put)(sums + j, total, n);
    }
}

#define KERNEL_MAP(function)                                                              \
    static void TYPED(map_##function)(size_t n, const real *x, real *y) {                 \
        for (size_t j = 0; j < n; j += TYPED(LANES)) {                                    \
            const size_t part = n - j < TYPED(LANES) ? n - j : TYPED(LANES);              \
            TYPED(put)(y + j, TYPED(function)(TYPED(take)(x + j, part)), part);           \
        }                                                                                 \
    }
KERNEL_MAP(tanh)
KERNEL_MAP(sigmoid)
#undef KERNEL_MAP

/* The entries of this type in the table of dispatch.h. */
static const TYPED(clstm_i_kernels) TYPED(kernels) = {
    TYPED(LANES), TYPED(multiply), TYPED(gemm), TYPED(steps), TYPED(steps_backward),
    TYPED(gates), TYPED(gates_backward),
    TYPED(cell_steps), TYPED(cell_steps_backward), TYPED(cell_gates), TYPED(cell_gates_backward), TYPED(find_ranges),
    TYPED(sum_rows), TYPED(sum_products), TYPED(map_tanh), TYPED(map_sigmoid),
    TYPED(adam), TYPED(sgd), TYPED(sum_squares), TYPED(scale),
};
