/* Products of row-major matrices, typed: C = op(A) op(B), or added to C. For gradients, which are sums over all steps.

   For every GEMM_DEPTH columns of op(A): pack panels of op(B), as wide as a tile; then, for each strip of rows of
   op(A), accumulate every tile of C in registers and add it to C. A strip that is transposed is copied first. Products
   of the same op(A) share its strips, so that each strip and each panel is copied once: up to 5 % of the backward pass
   of 512 units. Packing strips in the order of tiles, as BLAS does, gained nothing here.

   A sum over GEMM_DEPTH columns is one chain. 512 columns of float32 instead of 256 read and write C half as often: 2
   to 4 % of training at 512 units on a Zen 5. */
#ifndef KERNELS_GEMM /* included once for each type: real_undefine.h undefines it */
#define KERNELS_GEMM

#include "register_tile.h"

enum {
    TYPED(GEMM_ROWS) = TILE_VECTORS / 4, /* rows of a tile of four vectors */
    TYPED(GEMM_TALL) = 16 * TYPED(GEMM_ROWS),
    TYPED(GEMM_PANELS) = 8,
    TYPED(GEMM_COPIES) = TYPED(GEMM_TALL) + TYPED(GEMM_PANELS) * TYPED(BLOCK),
};
_Static_assert(TYPED(GEMM_COPIES) * TYPED(GEMM_DEPTH) * sizeof(real) <= CLSTM_I_GEMM_BYTES, "");

/* A tile of C, of at most GEMM_ROWS rows and BLOCK columns, and the operands whose product it receives. */
typedef struct TYPED(gemm_tile) {
    size_t rows, columns, depth;
    const real *a; /* op(A), with strides a_row, a_column; GEMM_ROWS rows are readable, whatever `rows` */
    size_t a_row, a_column;
    const real *b; /* op(B): (depth, BLOCK), padded with zeros */
    real *c;       /* in a panel: the first row of C */
    size_t c_row, c_column;
    int accumulate;
} TYPED(gemm_tile);

/* Prefetches C before the sums, which take as long as the loads: 10 % where C is not in a cache. */
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

/* Into rows of C with exactly `vectors` vectors of columns. */
ALWAYS_INLINE void TYPED(gemm_store_vectors)(const TYPED(gemm_tile) *tile, const vreal *sums, const size_t rows,
                                            const int vectors) {
    UNROLL for (size_t row = 0; row < rows; row++) {
        real *c = tile->c + row * tile->c_row;
        UNROLL for (int v = 0; v < vectors; v++, c += TYPED(LANES)) {
            const vreal sum = sums[(int)row * vectors + v];
            TYPED(store)(c, tile->accumulate ? TYPED(load)(c) + sum : sum);
        }
    }
}

ALWAYS_INLINE void TYPED(gemm_store)(const TYPED(gemm_tile) *tile, const vreal *sums, const int vectors) {
    if (tile->columns == (size_t)vectors * TYPED(LANES) && tile->c_column == 1) {
        TYPED(gemm_store_vectors)(tile, sums, tile->rows, vectors);
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
        TYPED(gemm_store)(tile, sums, vectors); \
        break
    switch ((tile->columns + TYPED(LANES) - 1) / TYPED(LANES)) {
        TILE(1);
        TILE(2);
        TILE(3);
        TILE(4);
    }
#undef TILE
}

/* to (rows, to_stride) = rows and columns of `from`, then `zeros` columns of zeros. By vectors, because gcc turns
   memcpy into a string instruction, which starts slowly for such short rows. */
static void TYPED(copy_padded)(const real *from, size_t stride, size_t rows, size_t columns, size_t zeros, real *to,
                                 size_t to_stride) {
    const size_t whole = columns - columns % TYPED(LANES);
    for (size_t row = 0; row < rows; row++, from += stride, to += to_stride) {
        for (size_t j = 0; j < whole; j += TYPED(LANES)) TYPED(store)(to + j, TYPED(load)(from + j));
        for (size_t j = whole; j < columns; j++) to[j] = from[j];
        for (size_t j = 0; j < zeros; j++) to[columns + j] = 0;
    }
}

/* The same for the transpose of `from`. */
static void TYPED(copy_transposed)(const real *from, size_t stride, size_t rows, size_t columns, size_t zeros, real *to,
                               size_t to_stride) {
    for (size_t row = 0; row < rows; row++, from++, to += to_stride) {
        for (size_t column = 0; column < columns; column++) to[column] = from[column * stride];
        __builtin_memset(to + columns, 0, zeros * sizeof(real));
    }
}

static inline size_t TYPED(at_most)(size_t n, size_t most) { return n < most ? n : most; }

/* A strip: up to GEMM_TALL rows of op(A), and GEMM_DEPTH columns. */
typedef struct TYPED(gemm_strip) {
    size_t rows;
    const real *whole, *rest; /* rows of full tiles; the remainder, less than a tile */
    size_t whole_row, rest_row, column;
} TYPED(gemm_strip);

/* The strip of rows i and `depth` columns from k. A transposed one is copied. Otherwise full tiles read op(A) in place,
   and only the remainder is copied, because a tile reads GEMM_ROWS rows. */
static TYPED(gemm_strip) TYPED(strip_of_a)(const PUBLIC(gemm) *p, clstm_i_range i, size_t k, size_t depth, real *to) {
    const size_t rows = i.end - i.begin, rest = rows % TYPED(GEMM_ROWS), missing = rest ? TYPED(GEMM_ROWS) - rest : 0;
    if (p->transpose_a) {
        const size_t stride = rows + missing;
        TYPED(copy_padded)(p->a + k * p->lda + i.begin, p->lda, depth, rows, missing, to, stride);
        return (TYPED(gemm_strip)){rows, to, to + rows - rest, 1, 1, stride};
    }
    const real *a = p->a + k;
    if (rest) {
        TYPED(copy_padded)(a + (i.end - rest) * p->lda, p->lda, rest, depth, 0, to, depth);
        __builtin_memset(to + rest * depth, 0, missing * depth * sizeof(real));
    }
    return (TYPED(gemm_strip)){rows, a + i.begin * p->lda, to, p->lda, depth, 1};
}

/* Packs panels of op(B), rows from k, contiguously into `to`. Each row is copied into all panels before the next, in
   the order of memory: 512 columns of 256 rows from memory take 37 us instead of 58 panel by panel. */
static void TYPED(pack_panel_rows)(const PUBLIC(gemm) *p, size_t k, size_t depth, clstm_i_range columns, real *to) {
    const real *from = p->b + k * p->ldb;
    for (size_t row = 0; row < depth; row++, from += p->ldb, to += TYPED(BLOCK)) {
        real *panel = to;
        for (size_t j = columns.begin; j < columns.end; j += TYPED(BLOCK), panel += TYPED(BLOCK) * TYPED(GEMM_DEPTH)) {
            const size_t n = TYPED(at_most)(columns.end - j, TYPED(BLOCK));
            TYPED(copy_padded)(from + j, 0, 1, n, TYPED(BLOCK) - n, panel, 0);
        }
    }
}

static size_t TYPED(panels_of)(size_t columns) { return (columns + TYPED(BLOCK) - 1) / TYPED(BLOCK); }

/* Packs panels for either op(B), and sets where their columns of C are; `turned`: C is transposed. */
static void TYPED(pack_panels)(const PUBLIC(gemm) *p, int turned, size_t k, clstm_i_range columns,
                               TYPED(gemm_tile) *panels, real *to) {
    const size_t depth = TYPED(at_most)(p->k - k, TYPED(GEMM_DEPTH)), size = TYPED(BLOCK) * TYPED(GEMM_DEPTH);
    if (!p->transpose_b) TYPED(pack_panel_rows)(p, k, depth, columns, to);
    for (size_t j = columns.begin; j < columns.end; j += TYPED(BLOCK), to += size) {
        const size_t n = TYPED(at_most)(columns.end - j, TYPED(BLOCK));
        if (p->transpose_b)
            TYPED(copy_transposed)(p->b + j * p->ldb + k, p->ldb, depth, n, TYPED(BLOCK) - n, to, TYPED(BLOCK));
        *panels++ = (TYPED(gemm_tile)){
            .columns = n, .depth = depth, .b = to, .c = p->c + (turned ? j * p->ldc : j),
            .c_row = turned ? 1 : p->ldc, .c_column = turned ? p->ldc : 1, .accumulate = p->accumulate || k > 0,
        };
    }
}

/* The tiles of a strip under one panel. `tile` has the panel, and C from the strip's first row. */
static void TYPED(add_tiles)(const TYPED(gemm_strip) *strip, TYPED(gemm_tile) tile) {
    tile.a_column = strip->column;
    for (size_t left = strip->rows; left; left -= tile.rows, tile.c += tile.rows * tile.c_row) {
        const int whole = left >= TYPED(GEMM_ROWS);
        tile.rows = whole ? TYPED(GEMM_ROWS) : left;
        tile.a_row = whole ? strip->whole_row : strip->rest_row;
        tile.a = whole ? strip->whole + (strip->rows - left) * strip->whole_row : strip->rest;
        TYPED(gemm_add)(&tile);
    }
}

/* The products of op(A)'s columns from k and some panels. */
static void TYPED(multiply_panels)(const PUBLIC(gemm) *p, size_t k, const TYPED(gemm_tile) *panels, size_t count,
                                   real *copy) {
    for (clstm_i_range i = {0, 0}; i.begin < p->m; i.begin = i.end) {
        i.end = i.begin + TYPED(at_most)(p->m - i.begin, TYPED(GEMM_TALL));
        const TYPED(gemm_strip) strip = TYPED(strip_of_a)(p, i, k, panels[0].depth, copy);
        for (size_t n = 0; n < count; n++) {
            TYPED(gemm_tile) tile = panels[n];
            tile.c += i.begin * tile.c_row;
            TYPED(add_tiles)(&strip, tile);
        }
    }
}

/* Products of one op(A), over its columns from k, in rounds with an equal number of panels. */
static void TYPED(multiply_columns)(const PUBLIC(gemm) *products, size_t count, int turned, size_t k, real *scratch) {
    const size_t size = TYPED(BLOCK) * TYPED(GEMM_DEPTH);
    TYPED(gemm_tile) panels[TYPED(GEMM_PANELS)];
    size_t left = 0, taken = 0;
    for (size_t q = 0; q < count; q++) left += TYPED(panels_of)(products[q].n);
    if (!left) return;
    const size_t rounds = (left + TYPED(GEMM_PANELS) - 1) / TYPED(GEMM_PANELS), each = (left + rounds - 1) / rounds;
    for (size_t q = 0; q < count; q++) {
        for (clstm_i_range j = {0, 0}; j.begin < products[q].n; j.begin = j.end) {
            j.end = j.begin + TYPED(at_most)(products[q].n - j.begin, (each - taken) * TYPED(BLOCK));
            TYPED(pack_panels)(&products[q], turned, k, j, panels + taken, scratch + taken * size);
            taken += TYPED(panels_of)(j.end - j.begin);
            left -= TYPED(panels_of)(j.end - j.begin);
            if (taken < each && left) continue;
            TYPED(multiply_panels)(products, k, panels, taken, scratch + TYPED(GEMM_PANELS) * size);
            taken = 0;
        }
    }
}

/* A narrow C leaves lanes of vectors unused; transposed, it leaves only rows of a tile unused: (op(A)
   op(B))^T = op(B)^T op(A)^T. */
static int TYPED(is_narrow)(const PUBLIC(gemm) *p) { return p->transpose_a && p->n < TYPED(GEMM_ROWS) && p->m > p->n; }

static PUBLIC(gemm) TYPED(transposed)(const PUBLIC(gemm) *p) {
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

static void TYPED(multiply_all)(const PUBLIC(gemm) *products, size_t count, int turned, real *scratch) {
    for (size_t k = 0; k < products->k; k += TYPED(GEMM_DEPTH))
        TYPED(multiply_columns)(products, count, turned, k, scratch);
}

static void TYPED(clear)(const PUBLIC(gemm) *p) {
    for (size_t row = 0; row < p->m; row++) __builtin_memset(p->c + row * p->ldc, 0, p->n * sizeof(real));
}

static void TYPED(gemm)(const PUBLIC(gemm) *products, size_t count, void *scratch) {
    clstm_i_assert(clstm_i_is_aligned(scratch));
    for (size_t q = 0, end; q < count; q = end) {
        end = q + 1;
        if (!products[q].k && !products[q].accumulate) TYPED(clear)(&products[q]);
        if (TYPED(is_narrow)(&products[q])) {
            const PUBLIC(gemm) turned = TYPED(transposed)(&products[q]);
            TYPED(multiply_all)(&turned, 1, 1, scratch);
            continue;
        }
        while (products[q].k && end < count && !TYPED(is_narrow)(&products[end])) end++;
        TYPED(multiply_all)(products + q, end - q, 0, scratch);
    }
}

#endif
