/* The register tile, typed: some rows times some vectors of packed weights (pack.h), summed in registers from the first
   column to the last, then stored, or turned into c_t and h_t where they are.

   Every sum is one chain of multiply-adds: its start, then the columns of the first part in their order, then those of
   the second. Storing and loading a sum between two columns does not change it. So neither the tile's shape nor the way
   a product is cut up shows in a result, and a row's results do not depend on the rows beside it.

   Three rows of four 32-byte vectors use a weight often enough to run at the peak of the multiply-adders with weights
   from a private L2 cache (100 of 102 GFLOP/s), so that no panels for L1 are made: they cost 5 %. */

enum {
    TYPED(MAX_ROWS) = TILE_VECTORS / 4,
    /* One row reads each weight once, whatever the tile; three blocks are enough sums to cover the latency of the
       multiply-add, and few enough for every register file. */
    TYPED(ONE_ROW_BLOCKS) = 3,
    TYPED(MAX_SUMS) = TILE_VECTORS > 12 ? TILE_VECTORS : 12,
    TYPED(FINISH_BLOCKS) = 5, /* of one row at once: activations are chains, and these are independent */
    TYPED(BLOCK) = 4 * TYPED(LANES),
};

/* One part of a tile's product. */
typedef struct TYPED(run) {
    const real *a; /* (rows, depth) */
    size_t stride;
    const real *weights; /* (blocks, depth, 4, LANES), then (depth, last, LANES) */
    size_t block_stride;
    size_t depth;
} TYPED(run);

/* Where a tile stands. */
typedef struct TYPED(place) {
    size_t row, block;
    size_t count;
    TYPED(run) runs[2];
    const real *start; /* (rows, .), with the tile's first block in column 0 */
    size_t start_stride;
    real *out; /* likewise */
    size_t out_stride;
} TYPED(place);

ALWAYS_INLINE void TYPED(accumulate)(vreal *sums, const TYPED(run) *run, const int rows, const int blocks,
                                     const int last) {
    const int vectors = 4 * blocks + last;
    const size_t depth = run->depth, stride = run->stride, block_stride = run->block_stride;
    const real *a = run->a, *weights = run->weights, *last_weights = weights + (size_t)blocks * block_stride;
    for (size_t k = 0; k < depth; k++) {
        vreal factors[TYPED(MAX_ROWS)];
        UNROLL for (int row = 0; row < rows; row++) factors[row] = TYPED(splat)(a[(size_t)row * stride + k]);
        UNROLL for (int v = 0; v < vectors; v++) {
            const size_t block = (size_t)v / 4, at = (size_t)v % 4;
            const real *from = v < 4 * blocks ? weights + block * block_stride + (4 * k + at) * TYPED(LANES)
                                              : last_weights + ((size_t)last * k + at) * TYPED(LANES);
            const vreal weight = TYPED(load)(from);
            UNROLL for (int row = 0; row < rows; row++)
                sums[row * vectors + v] = TYPED(fma)(factors[row], weight, sums[row * vectors + v]);
        }
    }
}

/* The six equations, for n vectors of units at once: each line has n independent chains, as latency counts here. */
ALWAYS_INLINE void TYPED(cells)(vreal (*gates)[4], vreal *c, vreal *h, const int n) {
    UNROLL for (int k = 0; k < n; k++) gates[k][0] = TYPED(sigmoid)(gates[k][0]);
    UNROLL for (int k = 0; k < n; k++) gates[k][2] = TYPED(tanh)(gates[k][2]);
    UNROLL for (int k = 0; k < n; k++) gates[k][1] = TYPED(sigmoid)(gates[k][1]);
    UNROLL for (int k = 0; k < n; k++) c[k] = TYPED(fma)(gates[k][1], c[k], gates[k][0] * gates[k][2]);
    UNROLL for (int k = 0; k < n; k++) gates[k][3] = TYPED(sigmoid)(gates[k][3]);
    UNROLL for (int k = 0; k < n; k++) h[k] = gates[k][3] * TYPED(tanh)(c[k]);
}

static void TYPED(keep)(const TYPED(clstm_i_steps) *step, size_t row, size_t unit, const vreal *gates, vreal c) {
    const size_t H = step->hidden_size, n = H - unit < TYPED(LANES) ? H - unit : TYPED(LANES);
    real *to = step->gates + row * 4 * H + unit;
    for (size_t gate = 0; gate < 4; gate++) TYPED(put)(to + gate * H, gates[gate], n);
    TYPED(put)(step->cells + row * H + unit, c, n);
}

/* The sums of one vector of units: i f g o, or i|f and g|o in the halves of two. */
ALWAYS_INLINE void TYPED(spread)(const vreal *sums, vreal *gates, const int halves) {
    gates[0] = sums[0];
    gates[1] = halves ? TYPED(swap_halves)(sums[0]) : sums[1];
    gates[2] = halves ? sums[1] : sums[2];
    gates[3] = halves ? TYPED(swap_halves)(sums[1]) : sums[3];
}

/* From the sums of a tile to c_t and h_t. */
ALWAYS_INLINE void TYPED(finish)(const TYPED(clstm_i_steps) *step, size_t row, size_t unit, const vreal *sums,
                                 const int rows, const int blocks, const int last) {
    enum { MOST = TYPED(MAX_ROWS) > TYPED(FINISH_BLOCKS) ? TYPED(MAX_ROWS) : TYPED(FINISH_BLOCKS) };
    const int units = blocks + (last > 0), n = rows * units;
    real *c_at = step->c + row * step->stride + unit, *h_at = step->h + row * step->stride + unit;
    vreal gates[MOST][4], c[MOST], h[MOST];
    UNROLL for (int k = 0; k < n; k++) {
        TYPED(spread)(sums + k / units * (4 * blocks + last) + k % units * 4, gates[k], k % units == blocks);
        c[k] = TYPED(load)(c_at + (size_t)(k / units) * step->stride + k % units * TYPED(LANES));
    }
    TYPED(cells)(gates, c, h, n);
    UNROLL for (int k = 0; k < n; k++) {
        TYPED(store)(c_at + (size_t)(k / units) * step->stride + k % units * TYPED(LANES), c[k]);
        TYPED(store)(h_at + (size_t)(k / units) * step->stride + k % units * TYPED(LANES), h[k]);
    }
    if (!step->gates) return;
    UNROLL for (int k = 0; k < n; k++)
        TYPED(keep)(step, row + (size_t)(k / units), unit + (size_t)(k % units) * TYPED(LANES), gates[k], c[k]);
}

/* A whole tile; `step` is NULL where the sums themselves are wanted. All but `at` are constants where it is inlined. */
ALWAYS_INLINE void TYPED(tile)(const TYPED(place) *at, const TYPED(clstm_i_steps) *step, const int rows,
                               const int blocks, const int last) {
    const int vectors = 4 * blocks + last;
    vreal sums[TYPED(MAX_SUMS)];
    UNROLL for (int row = 0; row < rows; row++)
        UNROLL for (int v = 0; v < vectors; v++)
            sums[row * vectors + v] = TYPED(load)(at->start + (size_t)row * at->start_stride + v * TYPED(LANES));

    for (size_t n = 0; n < at->count; n++) TYPED(accumulate)(sums, &at->runs[n], rows, blocks, last);

    if (!step) {
        UNROLL for (int row = 0; row < rows; row++)
            UNROLL for (int v = 0; v < vectors; v++)
                TYPED(store)(at->out + (size_t)row * at->out_stride + v * TYPED(LANES), sums[row * vectors + v]);
        return;
    }
    TYPED(finish)(step, at->row, at->block * TYPED(LANES), sums, rows, blocks, last);
}

ALWAYS_INLINE void TYPED(tile_of_rows)(const TYPED(place) *at, const TYPED(clstm_i_steps) *step, const int rows,
                                       size_t vectors) {
    if (vectors == 4) TYPED(tile)(at, step, rows, 1, 0);
    else if (vectors == 2) TYPED(tile)(at, step, rows, 0, 2);
    else if (!step && vectors == 1) TYPED(tile)(at, step, rows, 0, 1);
    else if (!step) TYPED(tile)(at, step, rows, 0, 3);
}

ALWAYS_INLINE void TYPED(tile_of_several_rows)(const TYPED(place) *at, const TYPED(clstm_i_steps) *step, size_t rows,
                                               size_t vectors) {
    switch (rows) {
    case 2: TYPED(tile_of_rows)(at, step, 2, vectors); return;
    case 3: TYPED(tile_of_rows)(at, step, 3, vectors); return;
#if TILE_VECTORS >= 20
    case 4: TYPED(tile_of_rows)(at, step, 4, vectors); return;
    case 5: TYPED(tile_of_rows)(at, step, 5, vectors); return;
#endif
#if TILE_VECTORS >= 24
    case 6: TYPED(tile_of_rows)(at, step, 6, vectors); return;
#endif
    }
}

#define ONE_ROW(blocks, last) \
    case 4 * blocks + last: TYPED(tile)(at, NULL, 1, blocks, last); return

static void TYPED(sum_tile)(const TYPED(place) *at, size_t rows, size_t vectors) {
    if (rows > 1) {
        TYPED(tile_of_several_rows)(at, NULL, rows, vectors);
        return;
    }
    switch (vectors) {
        ONE_ROW(0, 1); ONE_ROW(0, 2); ONE_ROW(0, 3);
        ONE_ROW(1, 0); ONE_ROW(1, 1); ONE_ROW(1, 2); ONE_ROW(1, 3);
        ONE_ROW(2, 0); ONE_ROW(2, 1); ONE_ROW(2, 2); ONE_ROW(2, 3);
        ONE_ROW(3, 0);
    }
}
#undef ONE_ROW

/* More than one row. */
static void TYPED(step_tile)(const TYPED(place) *at, const TYPED(clstm_i_steps) *step, size_t rows, size_t vectors) {
    TYPED(tile_of_several_rows)(at, step, rows, vectors);
}

/* One row's step from its sums, (vectors,) of at most FINISH_BLOCKS blocks. */
static void TYPED(step_row)(const TYPED(clstm_i_steps) *step, size_t block, const vreal *sums, size_t vectors) {
    const size_t unit = block * TYPED(LANES);
    switch (vectors) {
    case 2: TYPED(finish)(step, 0, unit, sums, 1, 0, 2); return;
    case 4: TYPED(finish)(step, 0, unit, sums, 1, 1, 0); return;
    case 6: TYPED(finish)(step, 0, unit, sums, 1, 1, 2); return;
    case 8: TYPED(finish)(step, 0, unit, sums, 1, 2, 0); return;
    case 10: TYPED(finish)(step, 0, unit, sums, 1, 2, 2); return;
    case 12: TYPED(finish)(step, 0, unit, sums, 1, 3, 0); return;
    case 14: TYPED(finish)(step, 0, unit, sums, 1, 3, 2); return;
    case 16: TYPED(finish)(step, 0, unit, sums, 1, 4, 0); return;
    case 18: TYPED(finish)(step, 0, unit, sums, 1, 4, 2); return;
    case 20: TYPED(finish)(step, 0, unit, sums, 1, 5, 0); return;
    }
}
