/* The register tile, typed: some rows times some vectors of packed weights (passes/packed_weights.h), accumulated in
   registers from the first column to the last.

   The row contract: a pre-activation is a single chain of FMAs, from its start through the columns of the first factor
   to those of the second. Storing and reloading a sum between two columns does not change it. So results depend neither
   on the shape of the tile nor on how a product is cut, and a row's results do not depend on the rows beside it. A
   factor of very many columns has several chains, which are added up (long_sums.h): in an order that depends on its
   depth alone, so that the contract holds.

   A tile fills the registers with sums, beside its operands, for any number of rows: the FMA units need 12
   independent chains (8 reach three quarters of the peak). A tile may end inside a block. From three rows on, weights
   are reused often enough to stream from a private L2 at the peak of the FMA units (100 of 102 GFLOP/s). So they are
   not repacked into panels for the L1, which costs 5 %. */
#ifndef KERNELS_REGISTER_TILE /* included once for each type: real_undefine.h undefines it */
#define KERNELS_REGISTER_TILE

enum {
    TYPED(BLOCK) = 4 * TYPED(LANES),
    TYPED(MAX_ROWS) = TILE_VECTORS < 16 ? 6 : TILE_VECTORS < 24 ? TILE_VECTORS / 4 : TILE_VECTORS / 3,
    TYPED(MAX_SUMS) = TILE_VECTORS > 12 ? TILE_VECTORS : 12,
    TYPED(LINE) = 64 / VECTOR_BYTES, /* vectors in a cache line */
};

/* Rows of the next tile. With few registers, a tile of 5 rows would have too few sums, and the tallest tiles go first:
   they reread the weights least often, worth 4 % at 32 rows. */
static inline size_t TYPED(tile_rows)(size_t left) {
    static const char few[12] = {0, 1, 2, 3, 4, 3, 6, 4, 4, 6, 6, 4};
    if (TILE_VECTORS < 16) return left < 12 ? (size_t)few[left] : 6;
    const size_t most = TILE_VECTORS / 4;
    /* A taller, narrower tile reads the weights once. Backward: 9 % at 7 rows, H = 384; 3 % at 32 rows, H = 256. */
    if (left > most && left <= TYPED(MAX_ROWS)) return left;
    return left <= most ? left : left < 2 * most ? (left + 1) / 2 : most;
}

/* Vectors in a tile with this number of rows, over blocks of four vectors. */
static inline size_t TYPED(tile_width)(size_t rows) {
    const size_t fitting = TILE_VECTORS / rows, most = rows == 1 ? 12 : rows == 2 ? 6 : 4;
    return fitting < most ? fitting : most;
}

/* The position of a tile. */
typedef struct TYPED(place) {
    const TYPED(clstm_i_product) *product;
    size_t row, block; /* its first row and block */
    real *out;         /* (rows, .) */
    size_t out_stride;
} TYPED(place);

/* The offset of a tile's vector v, column k, in its weights. The first `whole` vectors belong to blocks of four and
   begin `offset` vectors into the first block; the other `last` vectors are the block after those. */
ALWAYS_INLINE size_t TYPED(vector_at)(size_t block_stride, size_t k, const int v, const int whole, const int offset,
                                      const int last) {
    const size_t block = (size_t)((v < whole ? offset + v : offset + whole) / 4);
    const size_t at = v < whole ? 4 * k + (size_t)((offset + v) % 4) : (size_t)last * k + (size_t)(v - whole);
    return block * block_stride + at * TYPED(LANES);
}

/* For each column, the shorter side of the tile is loaded into registers, and the longer side streams through one more.
   `fetch`: prefetch the weights of later columns. */
ALWAYS_INLINE void TYPED(accumulate)(vreal *sums, const TYPED(clstm_i_factor) *factor, size_t row, size_t block,
                                     const int rows, const int whole, const int offset, const int last,
                                     const int fetch) {
    const size_t columns = factor->columns, stride = factor->stride, block_stride = factor->matrix.depth * TYPED(BLOCK);
    const real *a = factor->a + row * stride, *weights = factor->matrix.weights + block * block_stride;
    const int vectors = whole + last, keep_column = rows <= vectors;
    for (size_t k = 0; k < columns; k++) {
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

/* A tile's sums. The shape is constant wherever this is inlined, so the sums stay in registers. */
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

/* The shapes that occur. One row takes up to three blocks in a single tile, a last block of fewer vectors included.
   Several rows cross three blocks, or the remainder of three, in tiles of tile_width vectors; a last block has a tile
   of its own. */
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

LINE_ALIGNED
static void TYPED(sum_short_tile)(const TYPED(place) *at, size_t rows, size_t whole, size_t offset, size_t last) {
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
