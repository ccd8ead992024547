/* Products with packed weights, typed: which tiles, in which order. */
#ifndef KERNELS_PACKED_PRODUCT /* once a type: real_undefine.h ends it */
#define KERNELS_PACKED_PRODUCT

#include "register_tile.h"

enum {
    TYPED(WINDOW) = 3, /* blocks whose sums are at hand at once: a whole number of tiles of any width */
    TYPED(WINDOW_SUMS) = 4 * TYPED(WINDOW) * TYPED(MAX_ROWS),
};

/* How many of the blocks that are left go into the next window: so that no small rest remains. */
static inline size_t TYPED(window)(size_t left) {
    return left <= TYPED(WINDOW) ? left : left < 2 * TYPED(WINDOW) ? (left + 1) / 2 : TYPED(WINDOW);
}

/* The next window from either end. */
static inline clstm_i_range TYPED(next_window)(clstm_i_range all, size_t left, int backwards) {
    const size_t n = TYPED(window)(left), begin = backwards ? all.begin + left - n : all.end - left;
    return (clstm_i_range){begin, begin + n};
}

/* The next window of a single row. Where a block alone has chains enough for the multiply-adders, the next one's sums
   fill the time in which its activations wait, so that few blocks go one by one; but half a block never goes alone, and
   of three or fewer two go together. H = 48 takes 347 ns instead of 388, H = 72 899 and 932, H = 96 1,584 and 1,606;
   from H = 128 on it would lose 2 %. */
static inline clstm_i_range TYPED(next_row_window)(const TYPED(clstm_i_product) *p, size_t left, int backwards) {
    const size_t blocks = p->end - p->begin;
    if (VECTOR_BYTES < 64 || blocks > 6)
        return TYPED(next_window)((clstm_i_range){p->begin, p->end}, left, backwards);
    const int half = p->end > p->whole, few = blocks <= 3, at_half = half && left == (backwards ? blocks : 2);
    size_t n = few || at_half ? 2 : 1;
    if ((few && half) || n > left) n = left;
    const size_t begin = backwards ? p->begin + left - n : p->end - left;
    return (clstm_i_range){begin, begin + n};
}

/* The rows of the next tile. */
static inline clstm_i_range TYPED(next_rows)(size_t rows, size_t left) {
    return (clstm_i_range){rows - left, rows - left + TYPED(tile_rows)(left)};
}

/* Vectors of these blocks. */
static inline size_t TYPED(vectors_of)(const TYPED(clstm_i_product) *p, clstm_i_range blocks) {
    return 4 * (blocks.end - blocks.begin) - (blocks.end > p->whole ? 4 - p->last : 0);
}

/* ---- Sums ---- */

/* Blocks of one row: out (blocks, 4, LANES), and perhaps a last block's vectors. */
static void TYPED(sum_one_row)(const TYPED(clstm_i_product) *p, size_t row, clstm_i_range blocks, real *out) {
    const size_t last = blocks.end > p->whole ? p->last : 0;
    const TYPED(place) at = {p, row, blocks.begin, out, 0};
    TYPED(sum_tile)(&at, 1, 4 * (blocks.end - blocks.begin - (last > 0)), 0, last);
}

/* Blocks of some rows, no more than a tile has: out (rows, .) with the first block's vectors in front. */
static void TYPED(sum_rows_of)(const TYPED(clstm_i_product) *p, clstm_i_range rows, clstm_i_range blocks, real *out,
                               size_t stride) {
    const size_t count = rows.end - rows.begin, width = TYPED(tile_width)(count);
    const size_t whole = blocks.end < p->whole ? blocks.end : p->whole;
    const size_t vectors = whole > blocks.begin ? 4 * (whole - blocks.begin) : 0;
    for (size_t v = 0, n; v < vectors; v += n) {
        const TYPED(place) at = {p, rows.begin, blocks.begin + v / 4, out + v * TYPED(LANES), stride};
        n = vectors - v < width ? vectors - v : width;
        TYPED(sum_tile)(&at, count, n, v % 4, 0);
    }
    if (blocks.end <= p->whole) return;
    const size_t most = TYPED(MAX_SUMS) / p->last;
    for (size_t row = 0, n; row < count; row += n) {
        const TYPED(place) at = {p, rows.begin + row, p->whole, out + row * stride + vectors * TYPED(LANES), stride};
        n = count - row < most ? count - row : most;
        TYPED(sum_tile)(&at, n, 0, 0, p->last);
    }
}

static void TYPED(sum)(const TYPED(clstm_i_product) *p, clstm_i_range rows, clstm_i_range blocks, real *out,
                       size_t stride) {
    if (rows.end - rows.begin == 1) TYPED(sum_one_row)(p, rows.begin, blocks, out);
    else TYPED(sum_rows_of)(p, rows, blocks, out, stride);
}

/* ---- Windows: all rows go through some blocks, whose weights come from a private cache but the first time ---- */

/* Of the last vector only the wanted columns, by way of the stack. */
static void TYPED(sum_first_columns)(const TYPED(clstm_i_product) *p, clstm_i_range rows, clstm_i_range blocks,
                                     real *out, size_t stride, size_t columns) {
    real sums[TYPED(WINDOW_SUMS) * TYPED(LANES)];
    const size_t own = (blocks.end - blocks.begin) * TYPED(BLOCK);
    TYPED(sum)(p, rows, blocks, sums, own);
    for (size_t row = 0; row < rows.end - rows.begin; row++)
        __builtin_memcpy(out + row * stride, sums + row * own, columns * sizeof(real));
}

/* Of a row of a and one of weights, whose end is filled up with zeros. */
ALWAYS_INLINE real TYPED(dot)(const real *a, const real *weights, size_t depth) {
    enum { VECTORS = TYPED(CHAINS) / TYPED(LANES) };
    vreal sums[VECTORS] = {{0}};
    size_t k = 0;
    for (; k + TYPED(CHAINS) <= depth; k += TYPED(CHAINS))
        UNROLL for (size_t v = 0, at = k; v < VECTORS; v++, at += TYPED(LANES))
            sums[v] = TYPED(fma)(TYPED(load)(a + at), TYPED(load)(weights + at), sums[v]);
    UNROLL for (size_t v = 0; v < VECTORS; v++, k += TYPED(LANES)) {
        if (k >= depth) break;
        const size_t left = depth - k < TYPED(LANES) ? depth - k : TYPED(LANES);
        sums[v] = TYPED(fma)(TYPED(load_n)(a + k, left), TYPED(load)(weights + k), sums[v]);
    }
    return TYPED(sum_of_line)(sums);
}

/* A chain of its own for every column would use one lane of a vector, and wait for itself at each of its links: so it
   is one scalar product a column. A step of a stream of 8 units takes 55 ns instead of 64, of 24 114 instead of 121; in
   blocks 49 instead of 53, and 93 instead of 104. Not inlined, as the other way saves many registers that this one does
   not use. */
NEVER_INLINE void TYPED(multiply_narrow)(const TYPED(clstm_i_product) *p, real *out, size_t stride) {
    const TYPED(clstm_i_factor) *factor = &p->factors[0];
    const size_t depth = factor->matrix.depth, width = clstm_i_whole_vectors(depth, TYPED(CHAINS));
    for (size_t row = 0; row < p->rows; row++)
        for (size_t j = 0; j < p->narrow; j++)
            out[row * stride + j] =
                p->start[j] + TYPED(dot)(factor->a + row * factor->stride, factor->matrix.weights + j * width, depth);
}

NEVER_INLINE void TYPED(multiply_blocks)(const TYPED(clstm_i_product) *p, real *out, size_t stride, size_t columns) {
    const clstm_i_range all = {p->begin, p->end};
    for (size_t left = p->end - p->begin; left; left -= TYPED(window)(left)) {
        const clstm_i_range blocks = TYPED(next_window)(all, left, 0);
        const size_t first = blocks.begin * TYPED(BLOCK), wanted = columns - first;
        const int whole = wanted >= TYPED(vectors_of)(p, blocks) * TYPED(LANES);
        for (size_t rest = p->rows; rest; rest -= TYPED(tile_rows)(rest)) {
            const clstm_i_range rows = TYPED(next_rows)(p->rows, rest);
            real *to = out + rows.begin * stride + first;
            if (whole) TYPED(sum)(p, rows, blocks, to, stride);
            else TYPED(sum_first_columns)(p, rows, blocks, to, stride, wanted);
        }
    }
}

static void TYPED(multiply)(const TYPED(clstm_i_product) *p, real *out, size_t stride, size_t columns) {
    clstm_i_assert(p->begin <= p->end && stride >= columns && (!p->narrow || p->narrow == columns));
    if (p->narrow) TYPED(multiply_narrow)(p, out, stride);
    else TYPED(multiply_blocks)(p, out, stride, columns);
}

#endif
