/* Products with packed weights, typed: the choice of tiles and their order. */
#ifndef KERNELS_PACKED_PRODUCT /* included once for each type: real_undefine.h undefines it */
#define KERNELS_PACKED_PRODUCT

#include "long_sums.h"

enum {
    TYPED(WINDOW) = 3, /* blocks in a window: 12 vectors, a multiple of every tile's */
    TYPED(WINDOW_SUMS) = 4 * TYPED(WINDOW) * TYPED(MAX_ROWS),
};

/* Blocks of the next window, balanced so that no small remainder is left. */
static inline size_t TYPED(window)(size_t left) {
    return left <= TYPED(WINDOW) ? left : left < 2 * TYPED(WINDOW) ? (left + 1) / 2 : TYPED(WINDOW);
}

/* The next window, from either end. */
static inline clstm_i_range TYPED(next_window)(clstm_i_range all, size_t left, int backwards) {
    const size_t n = TYPED(window)(left), begin = backwards ? all.begin + left - n : all.end - left;
    return (clstm_i_range){begin, begin + n};
}

/* The next window of a single row. With 64-byte vectors one block already saturates the FMA units, so blocks go singly,
   and the next block's sums hide this one's activation latency. Exceptions: a half block never goes alone, and of three
   or fewer blocks two go together. From H = 128 on, going singly would lose 2 %.

   | H  | singly, ns | in windows, ns |
   | 48 |        347 |            388 |
   | 72 |        899 |            932 |
   | 96 |      1,584 |          1,606 | */
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

/* Vectors in these blocks. */
static inline size_t TYPED(vectors_of)(const TYPED(clstm_i_product) *p, clstm_i_range blocks) {
    return 4 * (blocks.end - blocks.begin) - (blocks.end > p->whole ? 4 - p->last : 0);
}

/* ---- Sums ---- */

/* One row: out (blocks, 4, LANES), of which a last block has only its vectors. */
static void TYPED(sum_one_row)(const TYPED(clstm_i_product) *p, size_t row, clstm_i_range blocks, real *out) {
    const size_t last = blocks.end > p->whole ? p->last : 0;
    const TYPED(place) at = {p, row, blocks.begin, out, 0};
    TYPED(sum_tile)(&at, 1, 4 * (blocks.end - blocks.begin - (last > 0)), 0, last);
}

/* At most a tile's rows: out (rows, .), each row as above. */
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

/* ---- Windows: all rows pass one before the next, so that its weights stay in a private cache ---- */

/* Writes only the first columns. The sums go through the stack, because `out` ends inside their last vector. */
static void TYPED(sum_first_columns)(const TYPED(clstm_i_product) *p, clstm_i_range rows, clstm_i_range blocks,
                                     real *out, size_t stride, size_t columns) {
    real sums[TYPED(WINDOW_SUMS) * TYPED(LANES)];
    const size_t own = (blocks.end - blocks.begin) * TYPED(BLOCK);
    TYPED(sum)(p, rows, blocks, sums, own);
    for (size_t row = 0; row < rows.end - rows.begin; row++)
        __builtin_memcpy(out + row * stride, sums + row * own, columns * sizeof(real));
}

/* The dot product of a row of a and a row of weights, which is padded with zeros to a multiple of CHAINS. */
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

/* Few columns: one dot product for each, vectorised over the depth (TUNE_NARROW_COLUMNS). In blocks, they would use few
   lanes of a vector and wait for the latency of every FMA. Not inlined, because multiply_blocks saves many registers
   that this function does not use. */
NEVER_INLINE void TYPED(multiply_narrow)(const TYPED(clstm_i_product) *p, real *out, size_t stride) {
    const TYPED(clstm_i_factor) *factor = &p->factors[0];
    const size_t depth = factor->matrix.depth, width = clstm_i_whole_vectors(depth, TYPED(CHAINS));
    for (size_t row = 0; row < p->rows; row++)
        for (size_t j = 0; j < p->narrow; j++)
            out[row * stride + j] =
                p->start[j] + TYPED(dot)(factor->a + row * factor->stride, factor->matrix.weights + j * width, depth);
}

/* The same for a factor of so many columns that the partial sums of one dot product would be too long chains. */
NEVER_INLINE void TYPED(multiply_long_narrow)(const TYPED(clstm_i_product) *p, real *out, size_t stride) {
    const TYPED(clstm_i_factor) *factor = &p->factors[0];
    const size_t depth = factor->matrix.depth, width = clstm_i_whole_vectors(depth, TYPED(CHAINS));
    for (size_t row = 0; row < p->rows; row++) {
        for (size_t j = 0; j < p->narrow; j++) {
            const real *a = factor->a + row * factor->stride, *weights = factor->matrix.weights + j * width;
            real sum = p->start[j];
            for (size_t k = 0, n; k < depth; k += n) {
                n = depth - k < TYPED(NARROW_CHAINS) ? depth - k : TYPED(NARROW_CHAINS);
                sum += TYPED(dot)(a + k, weights + k, n);
            }
            out[row * stride + j] = sum;
        }
    }
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
    if (p->narrow && p->factors[0].columns > TYPED(NARROW_CHAINS)) TYPED(multiply_long_narrow)(p, out, stride);
    else if (p->narrow) TYPED(multiply_narrow)(p, out, stride);
    else TYPED(multiply_blocks)(p, out, stride, columns);
}

#endif
