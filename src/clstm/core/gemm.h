/* Products of row-major matrices, typed: C = op(A) op(B), or added to C. For gradients, which are sums over all steps.

   A block of op(A) and a panel of op(B) as wide as a tile are copied to where they lie together, in a private cache,
   and every tile of C sums over the block's columns in registers. What BLAS does besides, the block put in the order of
   the tiles, is not worth its time here: transposed, as weight gradients have it, that took OpenBLAS 10 to 15 % of
   training a model of 128 units. Sums over the columns of one block are one chain each, and then added to C. */

enum {
    TYPED(GEMM_ROWS) = TILE_VECTORS / 4, /* of a tile, by four vectors */
    TYPED(GEMM_TALL) = 64 * TYPED(GEMM_ROWS),
    TYPED(GEMM_DEPTH) = 1024 / sizeof(real),
};
_Static_assert((TYPED(GEMM_TALL) + TYPED(BLOCK)) * TYPED(GEMM_DEPTH) * sizeof(real) <= CLSTM_I_GEMM_BYTES, "");

/* Some rows and columns of C, no more than a tile has, and a block's part of what is added to them. */
typedef struct TYPED(gemm_tile) {
    size_t rows, columns, depth;
    const real *a; /* op(A): rows and columns so far apart; rows of a whole tile, zeros after the last */
    size_t a_row, a_column;
    const real *b; /* op(B): (depth, BLOCK), zeros after the last column */
    real *c;
    size_t c_row, c_column;
    int accumulate;
} TYPED(gemm_tile);

/* C's lines are asked for before the sums are begun, which take as long as to fetch them: worth 10 % where C does not
   lie in a cache. */
ALWAYS_INLINE void TYPED(gemm_sums)(const TYPED(gemm_tile) *tile, vreal *sums, const int vectors) {
    const real *a = tile->a, *b = tile->b;
    for (size_t row = 0; row < tile->rows; row++)
        UNROLL for (int v = 0; v < vectors; v += TYPED(LINE))
            __builtin_prefetch(tile->c + row * tile->c_row + (size_t)v * TYPED(LANES) * tile->c_column, 1);
    UNROLL for (int n = 0; n < TYPED(GEMM_ROWS) * vectors; n++) sums[n] = TYPED(splat)(0);
    for (size_t k = 0; k < tile->depth; k++, a += tile->a_column, b += TYPED(BLOCK)) {
        vreal right[4];
        UNROLL for (int v = 0; v < vectors; v++) right[v] = TYPED(load)(b + v * TYPED(LANES));
        UNROLL for (int row = 0; row < TYPED(GEMM_ROWS); row++) {
            const vreal left = TYPED(splat)(a[(size_t)row * tile->a_row]);
            UNROLL for (int v = 0; v < vectors; v++)
                sums[row * vectors + v] = TYPED(fma)(left, right[v], sums[row * vectors + v]);
        }
    }
}

ALWAYS_INLINE void TYPED(gemm_give)(const TYPED(gemm_tile) *tile, const vreal *sums, const int vectors) {
    if (tile->columns == (size_t)vectors * TYPED(LANES) && tile->c_column == 1) {
        for (size_t row = 0; row < tile->rows; row++) {
            real *c = tile->c + row * tile->c_row;
            UNROLL for (int v = 0; v < vectors; v++, c += TYPED(LANES)) {
                const vreal sum = sums[(int)row * vectors + v];
                TYPED(store)(c, tile->accumulate ? TYPED(load)(c) + sum : sum);
            }
        }
        return;
    }
    const real *from = (const real *)sums;
    for (size_t row = 0; row < tile->rows; row++, from += vectors * TYPED(LANES)) {
        for (size_t column = 0; column < tile->columns; column++) {
            real *c = tile->c + row * tile->c_row + column * tile->c_column;
            *c = tile->accumulate ? *c + from[column] : from[column];
        }
    }
}

static void TYPED(gemm_add)(const TYPED(gemm_tile) *tile) {
    vreal sums[4 * TYPED(GEMM_ROWS)];
#define TILE(vectors)                           \
    case vectors:                               \
        TYPED(gemm_sums)(tile, sums, vectors);  \
        TYPED(gemm_give)(tile, sums, vectors);  \
        break
    switch ((tile->columns + TYPED(LANES) - 1) / TYPED(LANES)) {
        TILE(1);
        TILE(2);
        TILE(3);
        TILE(4);
    }
#undef TILE
}

/* to (rows, to_stride) = rows and columns of `from`, and zeros in the `zeros` columns after them. */
static void TYPED(copy_straight)(const real *from, size_t stride, size_t rows, size_t columns, size_t zeros, real *to,
                                 size_t to_stride) {
    for (size_t row = 0; row < rows; row++, from += stride, to += to_stride) {
        __builtin_memcpy(to, from, columns * sizeof(real));
        __builtin_memset(to + columns, 0, zeros * sizeof(real));
    }
}

/* The same from the transpose of `from`. */
static void TYPED(copy_turned)(const real *from, size_t stride, size_t rows, size_t columns, size_t zeros, real *to,
                               size_t to_stride) {
    for (size_t row = 0; row < rows; row++, from++, to += to_stride) {
        for (size_t column = 0; column < columns; column++) to[column] = from[column * stride];
        __builtin_memset(to + columns, 0, zeros * sizeof(real));
    }
}

/* What remains of n, or `most`. */
static inline size_t TYPED(at_most)(size_t n, size_t most) { return n < most ? n : most; }

/* A block of op(A) with rows from i and columns from k, for tiles from its first row. */
static void TYPED(take_block)(const PUBLIC(gemm) *p, size_t i, size_t k, real *to, TYPED(gemm_tile) *tile) {
    const size_t rows = TYPED(at_most)(p->m - i, TYPED(GEMM_TALL));
    const size_t zeros = (TYPED(GEMM_ROWS) - rows % TYPED(GEMM_ROWS)) % TYPED(GEMM_ROWS);
    tile->a = to;
    tile->a_row = p->transpose_a ? 1 : tile->depth;
    tile->a_column = p->transpose_a ? rows + zeros : 1;
    if (p->transpose_a) {
        TYPED(copy_straight)(p->a + k * p->lda + i, p->lda, tile->depth, rows, zeros, to, rows + zeros);
        return;
    }
    TYPED(copy_straight)(p->a + i * p->lda + k, p->lda, rows, tile->depth, 0, to, tile->depth);
    __builtin_memset(to + rows * tile->depth, 0, zeros * tile->depth * sizeof(real));
}

/* A panel of op(B) with rows from k and columns from j. */
static void TYPED(take_panel)(const PUBLIC(gemm) *p, size_t k, size_t j, real *to, TYPED(gemm_tile) *tile) {
    tile->b = to;
    tile->columns = TYPED(at_most)(p->n - j, TYPED(BLOCK));
    const size_t zeros = TYPED(BLOCK) - tile->columns;
    if (p->transpose_b)
        TYPED(copy_turned)(p->b + j * p->ldb + k, p->ldb, tile->depth, tile->columns, zeros, to, TYPED(BLOCK));
    else TYPED(copy_straight)(p->b + k * p->ldb + j, p->ldb, tile->depth, tile->columns, zeros, to, TYPED(BLOCK));
}

/* The product of one block of op(A), from row i on, with all of op(B)'s rows that it meets. `tile` says where C is. */
static void TYPED(multiply_block)(const PUBLIC(gemm) *p, size_t i, size_t k, real *scratch, TYPED(gemm_tile) tile) {
    real *panel = scratch, *block = scratch + TYPED(BLOCK) * TYPED(GEMM_DEPTH), *c = tile.c;
    const size_t rows = TYPED(at_most)(p->m - i, TYPED(GEMM_TALL));
    tile.depth = TYPED(at_most)(p->k - k, TYPED(GEMM_DEPTH));
    tile.accumulate = p->accumulate || k > 0;
    TYPED(take_block)(p, i, k, block, &tile);
    for (size_t j = 0; j < p->n; j += TYPED(BLOCK)) {
        TYPED(take_panel)(p, k, j, panel, &tile);
        for (size_t row = 0; row < rows; row += TYPED(GEMM_ROWS)) {
            tile.rows = TYPED(at_most)(rows - row, TYPED(GEMM_ROWS));
            tile.a = block + row * tile.a_row;
            tile.c = c + (i + row) * tile.c_row + j * tile.c_column;
            TYPED(gemm_add)(&tile);
        }
    }
}

/* (op(A) op(B))^T = op(B)^T op(A)^T. */
static PUBLIC(gemm) TYPED(turned)(const PUBLIC(gemm) *p) {
    PUBLIC(gemm) turned = *p;
    turned.m = p->n;
    turned.n = p->m;
    turned.a = p->b;
    turned.b = p->a;
    turned.lda = p->ldb;
    turned.ldb = p->lda;
    turned.transpose_a = !p->transpose_b;
    turned.transpose_b = !p->transpose_a;
    return turned;
}

static void TYPED(gemm)(const PUBLIC(gemm) *given, void *scratch) {
    PUBLIC(gemm) p = *given;
    TYPED(gemm_tile) tile = {.c = p.c, .c_row = p.ldc, .c_column = 1};
    /* A narrow C leaves the lanes of vectors unused; if it is turned, some of a tile's rows. */
    if (p.transpose_a && p.n < TYPED(GEMM_ROWS) && p.m > p.n) {
        p = TYPED(turned)(given);
        tile.c_row = 1;
        tile.c_column = given->ldc;
    }
    for (size_t row = 0; !p.k && !p.accumulate && row < p.m; row++)
        for (size_t column = 0; column < p.n; column++) p.c[row * tile.c_row + column * tile.c_column] = 0;
    for (size_t k = 0; k < p.k; k += TYPED(GEMM_DEPTH))
        for (size_t i = 0; i < p.m; i += TYPED(GEMM_TALL)) TYPED(multiply_block)(&p, i, k, scratch, tile);
}
