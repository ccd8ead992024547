/* Sums over rows, typed: the gradients of biases and peepholes. */
#ifndef KERNELS_SUMS /* included once for each type: real_undefine.h undefines it */
#define KERNELS_SUMS

#include "register_tile.h"

/* Sums of some vectors of n columns. Rows are summed in groups and the groups' sums added: the rounding errors of one
   long chain would grow with the number of rows. */
ALWAYS_INLINE void TYPED(sum_columns)(size_t rows, const real *a, size_t stride, real *sums, const int vectors,
                                      size_t n) {
    const size_t group = 64;
    vreal total[4], partial[4];
    UNROLL for (int v = 0; v < vectors; v++) total[v] = TYPED(load_n)(sums + v * TYPED(LANES), n);
    for (size_t first = 0; first < rows; first += group) {
        const size_t last = rows - first < group ? rows : first + group;
        UNROLL for (int v = 0; v < vectors; v++) partial[v] = TYPED(splat)(0);
        for (size_t row = first; row < last; row++)
            UNROLL for (int v = 0; v < vectors; v++)
                partial[v] += TYPED(load_n)(a + row * stride + (size_t)v * TYPED(LANES), n);
        UNROLL for (int v = 0; v < vectors; v++) total[v] += partial[v];
    }
    UNROLL for (int v = 0; v < vectors; v++) TYPED(store_n)(sums + v * TYPED(LANES), total[v], n);
}

static void TYPED(sum_rows)(size_t rows, size_t columns, const real *a, size_t stride, real *sums) {
    size_t j = 0;
    for (; j + TYPED(BLOCK) <= columns; j += TYPED(BLOCK))
        TYPED(sum_columns)(rows, a + j, stride, sums + j, 4, TYPED(LANES));
    for (; j + TYPED(LANES) <= columns; j += TYPED(LANES))
        TYPED(sum_columns)(rows, a + j, stride, sums + j, 1, TYPED(LANES));
    if (j < columns) TYPED(sum_columns)(rows, a + j, stride, sums + j, 1, columns - j);
}

/* Sums of products, in groups of rows likewise. */
static void TYPED(sum_products)(size_t rows, size_t columns, const real *a, size_t a_stride, const real *b,
                                size_t b_stride, real *sums) {
    const size_t group = 64;
    for (size_t j = 0; j < columns; j += TYPED(LANES)) {
        const size_t n = columns - j < TYPED(LANES) ? columns - j : TYPED(LANES);
        vreal total = TYPED(load_n)(sums + j, n);
        for (size_t row = 0; row < rows;) {
            const size_t last = rows - row < group ? rows : row + group;
            vreal partial = {0};
            for (; row < last; row++)
                partial = TYPED(fma)(TYPED(load_n)(a + row * a_stride + j, n), TYPED(load_n)(b + row * b_stride + j, n),
                                     partial);
            total += partial;
        }
        TYPED(store_n)(sums + j, total, n);
    }
}

#endif
