/* The register tile, typed: some rows times some vectors of packed weights (passes/packed_weights.h), summed in
   registers from the first column to the last.

   Every sum is one chain of multiply-adds: its start, then the columns of the first factor in their order, then those
   of the second. Storing and loading a sum between two columns does not change it. So neither the tile's shape nor the
   way a product is cut up shows in a result, and a row's results do not depend on the rows beside it.

   A tile has as many sums as registers can hold beside its factors and weights, whatever its number of rows: the
   multiply-adders need 12 chains at once to be kept busy (8 give three quarters). It need not end where a block does.
   With three rows or more a weight is used often enough to come from a private L2 cache at the peak of the
   multiply-adders (100 of 102 GFLOP/s), so that no panels for L1 are made: those cost 5 %. */
#ifndef KERNELS_REGISTER_TILE /* once a type: real_undefine.h ends it */
#define KERNELS_REGISTER_TILE

enum {
    TYPED(BLOCK) = 4 * TYPED(LANES),
    TYPED(MAX_ROWS) = TILE_VECTORS < 16 ? 6 : TILE_VECTORS < 24 ? TILE_VECTORS / 4 : TILE_VECTORS / 3,
    TYPED(MAX_SUMS) = TILE_VECTORS > 12 ? TILE_VECTORS : 12,
    TYPED(LINE) = 64 / VECTOR_BYTES, /* vectors of a cache line */
};

/* How many of the rows that are left the next tile has. Where registers are few no tile of 5 rows would have enough
   sums, and the taller ones come first: they read their weights least often, which is worth 4 % of 32 rows. */
static inline size_t TYPED(tile_rows)(size_t left) {
    static const char few[12] = {0, 1, 2, 3, 4, 3, 6, 4, 4, 6, 6, 4};
    if (TILE_VECTORS < 16) return left < 12 ? (size_t)few[left] : 6;
    const size_t most = TILE_VECTORS / 4;
    /* Narrower, but the weights are read once: worth 9 % of 7 rows of H = 384, 3 % of 32 of H = 256, backwards. */
    if (left > most && left <= TYPED(MAX_ROWS)) return left;
    return left <= most ? left : left < 2 * most ? (left + 1) / 2 : most;
}

/* Vectors of whole blocks in a tile of so many rows. */
static inline size_t TYPED(tile_width)(size_t rows) {
    const size_t fitting = TILE_VECTORS / rows, most = rows == 1 ? 12 : rows == 2 ? 6 : 4;
    return fitting < most ? fitting : most;
}

/* Where a tile stands. */
typedef struct TYPED(place) {
    const TYPED(clstm_i_product) *product;
    size_t row, block; /* its first ones */
    real *out;         /* (rows, .) */
    size_t out_stride;
} TYPED(place);

/* Where vector v of a tile stands in its weights, for column k. The first `whole` stand in whole blocks, of which the
   first begins `offset` vectors before the tile; `last` more are those of the block after them. */
ALWAYS_INLINE size_t TYPED(vector_at)(size_t block_stride, size_t k, const int v, const int whole, const int offset,
                                      const int last) {
    const size_t block = (size_t)((v < whole ? offset + v : offset + whole) / 4);
    const size_t at = v < whole ? 4 * k + (size_t)((offset + v) % 4) : (size_t)last * k + (size_t)(v - whole);
    return block * block_stride + at * TYPED(LANES);
}

/* The shorter side of the tile stays in registers for a column, the longer one passes through one more. `fetch`: the
   lines of weights some columns ahead are asked for, as a processor's own prefetching ends with each page. */
ALWAYS_INLINE void TYPED(accumulate)(vreal *sums, const TYPED(clstm_i_factor) *factor, size_t row, size_t block,
                                     const int rows, const int whole, const int offset, const int last,
                                     const int fetch) {
    const size_t depth = factor->matrix.depth, stride = factor->stride, block_stride = depth * TYPED(BLOCK);
    const real *a = factor->a + row * stride, *weights = factor->matrix.weights + block * block_stride;
    const int vectors = whole + last, keep_column = rows <= vectors;
    for (size_t k = 0; k < depth; k++) {
        vreal column[TYPED(MAX_ROWS)], kept[4];
        if (fetch)
            UNROLL for (int v = 0; v < vectors; v += TYPED(LINE))
                __builtin_prefetch(
                    weights + TYPED(vector_at)(block_stride, k + TUNE_FETCH_COLUMNS, v, whole, offset, last));
        if (keep_column) {
            UNROLL for (int row = 0; row < rows; row++) column[row] = TYPED(splat)(a[(size_t)row * stride + k]);
            UNROLL for (int v = 0; v < vectors; v++) {
                const vreal weight = TYPED(load)(weights + TYPED(vector_at)(block_stride, k, v, whole, offset, last));
                UNROLL for (int row = 0; row < rows; row++)
                    sums[row * vectors + v] = TYPED(fma)(column[row], weight, sums[row * vectors + v]);
            }
        } else {
            UNROLL for (int v = 0; v < vectors; v++)
                kept[v] = TYPED(load)(weights + TYPED(vector_at)(block_stride, k, v, whole, offset, last));
            UNROLL for (int row = 0; row < rows; row++) {
                const vreal value = TYPED(splat)(a[(size_t)row * stride + k]);
                UNROLL for (int v = 0; v < vectors; v++)
                    sums[row * vectors + v] = TYPED(fma)(value, kept[v], sums[row * vectors + v]);
            }
        }
    }
}

/* What a tile's sums are in the end. Its shape's numbers are constants where this is inlined. */
ALWAYS_INLINE void TYPED(sum_up)(vreal *sums, const TYPED(clstm_i_product) *p, size_t row, size_t block,
                                 const int rows, const int whole, const int offset, const int last) {
    const int vectors = whole + last;
    const real *start = p->start + row * p->start_stride + block * TYPED(BLOCK) + (size_t)offset * TYPED(LANES);
    UNROLL for (int n = 0; n < rows; n++)
        UNROLL for (int v = 0; v < vectors; v++)
            sums[n * vectors + v] = TYPED(load)(start + (size_t)n * p->start_stride + v * TYPED(LANES));
    for (size_t n = 0; n < p->count; n++) {
        const TYPED(clstm_i_factor) *factor = &p->factors[n];
        const int fetch = rows > TUNE_FETCH_TILE_ROWS && factor->matrix.depth > TUNE_FETCH_TILE_DEPTH;
        if (fetch) TYPED(accumulate)(sums, factor, row, block, rows, whole, offset, last, 1);
        else TYPED(accumulate)(sums, factor, row, block, rows, whole, offset, last, 0);
    }
}

ALWAYS_INLINE void TYPED(tile)(const TYPED(place) *at, const int rows, const int whole, const int offset,
                               const int last) {
    const int vectors = whole + last;
    vreal sums[TYPED(MAX_SUMS)];
    TYPED(sum_up)(sums, at->product, at->row, at->block, rows, whole, offset, last);
    UNROLL for (int row = 0; row < rows; row++)
        UNROLL for (int v = 0; v < vectors; v++)
            TYPED(store)(at->out + (size_t)row * at->out_stride + v * TYPED(LANES), sums[row * vectors + v]);
}

/* The shapes that occur: one row has any number of blocks up to three, and the last block's vectors beside them.
   Several rows go through three blocks in tiles of tile_width, or through what is left of three; a last block by
   itself. */
#define SHAPE(rows, whole, offset, last) ((((rows) * 16 + (whole)) * 4 + (offset)) * 4 + (last))
#define TILE(rows, whole, offset, last)                        \
    case SHAPE(rows, whole, offset, last):                     \
        TYPED(tile)(at, rows, whole, offset, last);            \
        return
#define TILES_OF_THREE(rows) \
    TILE(rows, 3, 0, 0); TILE(rows, 3, 3, 0); TILE(rows, 3, 2, 0); TILE(rows, 3, 1, 0); TILE(rows, 2, 2, 0); \
    TILE(rows, 1, 3, 0)
#define TILES_OF_LAST_BLOCK(rows, whole) \
    TILE(rows, whole, 0, 1); TILE(rows, whole, 0, 2); TILE(rows, whole, 0, 3)

static void TYPED(sum_tile)(const TYPED(place) *at, size_t rows, size_t whole, size_t offset, size_t last) {
    clstm_i_assert(rows && rows <= TYPED(MAX_ROWS) && rows * (whole + last) <= TYPED(MAX_SUMS));
    switch (SHAPE(rows, whole, offset, last)) {
        TILES_OF_LAST_BLOCK(1, 0);
        TILE(1, 4, 0, 0); TILES_OF_LAST_BLOCK(1, 4);
        TILE(1, 8, 0, 0); TILES_OF_LAST_BLOCK(1, 8);
        TILE(1, 12, 0, 0);
        TILE(2, 6, 0, 0); TILE(2, 6, 2, 0); TILE(2, 2, 2, 0); TILE(2, 4, 0, 0); TILES_OF_LAST_BLOCK(2, 0);
        TILE(3, 4, 0, 0); TILES_OF_LAST_BLOCK(3, 0);
        TILES_OF_LAST_BLOCK(4, 0);
#if TILE_VECTORS < 16
        TILES_OF_THREE(4);
        TILE(6, 2, 0, 0); TILE(6, 2, 2, 0); TILE(6, 0, 0, 1); TILE(6, 0, 0, 2);
#else
        TILE(4, 4, 0, 0);
        TILE(5, 4, 0, 0); TILES_OF_LAST_BLOCK(5, 0);
#endif
#if TILE_VECTORS >= 24
        TILE(6, 4, 0, 0); TILES_OF_LAST_BLOCK(6, 0);
        TILES_OF_THREE(7); TILES_OF_LAST_BLOCK(7, 0);
        TILES_OF_THREE(8); TILES_OF_LAST_BLOCK(8, 0);
#endif
    }
}
#undef SHAPE
#undef TILE
#undef TILES_OF_THREE
#undef TILES_OF_LAST_BLOCK

#endif
