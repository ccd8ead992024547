/* Sums over very many columns, typed.

   The rounding errors of a chain grow with its length. A factor of more than SINGLE_CHAIN columns is therefore summed
   in chains of CHAIN columns, each from zero. Chains are added up in groups, and groups are added to the sums before
   the factor. Errors of one row's sums (root mean square, float32, AVX2), relative to those of OpenBLAS's product:

   | columns                              | 3,000 | 10^4 | 10^5 | 10^6 |
   | one chain                            |   3.2 |  5.3 | 13.7 | 28.3 |
   | chains of 256, added in groups of 16 |   1.0 |  0.9 |  0.7 |  0.8 |

   The tiles are those of other products, called once for each chain: so the loops of short factors stay as they are. */
#ifndef KERNELS_LONG_SUMS /* included once for each type: real_undefine.h undefines it */
#define KERNELS_LONG_SUMS

#include "register_tile.h"

enum {
    TYPED(SINGLE_CHAIN) = 1024, /* most columns of a factor that continue the chain before them */
    TYPED(CHAIN) = 256,         /* columns of a chain in a longer factor */
    TYPED(CHAINS_IN_GROUP) = 16,
    TYPED(NARROW_CHAINS) = TYPED(CHAINS) * TYPED(CHAIN), /* columns of a dot product, whose partial sums are chains */
};

static const real TYPED(zeros)[16 * TYPED(LANES)]; /* as many as a tile reads of its start */

static inline int TYPED(is_long)(const TYPED(clstm_i_product) *p) {
    for (size_t n = 0; n < p->count; n++)
        if (p->factors[n].columns > TYPED(SINGLE_CHAIN)) return 1;
    return 0;
}

/* to (rows, to_stride) += from (rows, columns) */
static void TYPED(add_sums)(real *to, size_t to_stride, const real *from, size_t rows, size_t columns) {
    for (size_t row = 0; row < rows; row++, to += to_stride, from += columns)
        for (size_t j = 0; j < columns; j += TYPED(LANES))
            TYPED(store)(to + j, TYPED(load)(to + j) + TYPED(load)(from + j));
}

/* Adds a factor in chains to a tile's sums `out`. The factor begins at the tile's first row and block. */
static void TYPED(add_chains)(const TYPED(place) *tile, TYPED(clstm_i_factor) factor, size_t rows, size_t whole,
                              size_t offset, size_t last) {
    real chain[TYPED(MAX_SUMS) * TYPED(LANES)], group[TYPED(MAX_SUMS) * TYPED(LANES)];
    const size_t width = (whole + last) * TYPED(LANES), block = whole ? TYPED(BLOCK) : width;
    TYPED(clstm_i_product) product = {.count = 1, .start = TYPED(zeros)};
    for (size_t left = factor.matrix.depth, n = 0; left; left -= factor.columns, n++) {
        const int first = n % TYPED(CHAINS_IN_GROUP) == 0;
        factor.columns = left < TYPED(CHAIN) ? left : TYPED(CHAIN);
        product.factors[0] = factor;
        const TYPED(place) to = {&product, 0, 0, first ? group : chain, width};
        TYPED(sum_short_tile)(&to, rows, whole, offset, last);
        if (!first) TYPED(add_sums)(group, width, chain, rows, width);
        if ((n + 1) % TYPED(CHAINS_IN_GROUP) == 0 || left == factor.columns)
            TYPED(add_sums)(tile->out, tile->out_stride, group, rows, width);
        factor.a += factor.columns;
        factor.matrix.weights += factor.columns * block;
    }
}

/* A tile of a product with a long factor: the start goes to `out`, and the factors are added there one by one. */
NEVER_INLINE void TYPED(sum_long_tile)(const TYPED(place) *at, size_t rows, size_t whole, size_t offset, size_t last) {
    TYPED(clstm_i_product) product = *at->product;
    TYPED(place) tile = *at;
    tile.product = &product;
    product.count = 0;
    TYPED(sum_short_tile)(&tile, rows, whole, offset, last);
    tile.row = tile.block = 0;
    product.count = 1;
    product.start = at->out - offset * TYPED(LANES); /* a tile reads its start from `offset` on */
    product.start_stride = at->out_stride;
    for (size_t n = 0; n < at->product->count; n++) {
        TYPED(clstm_i_factor) factor = at->product->factors[n];
        factor.a += at->row * factor.stride;
        factor.matrix.weights += at->block * factor.matrix.depth * TYPED(BLOCK);
        product.factors[0] = factor;
        if (factor.columns <= TYPED(SINGLE_CHAIN)) TYPED(sum_short_tile)(&tile, rows, whole, offset, last);
        else TYPED(add_chains)(&tile, factor, rows, whole, offset, last);
    }
}

/* A chain begins at another row of the matrix, which lies elsewhere in a last block than in whole ones: so these have a
   tile each. */
static void TYPED(sum_tile)(const TYPED(place) *at, size_t rows, size_t whole, size_t offset, size_t last) {
    if (!TYPED(is_long)(at->product)) {
        TYPED(sum_short_tile)(at, rows, whole, offset, last);
        return;
    }
    TYPED(place) after = *at;
    after.block += whole / 4;
    after.out += whole * TYPED(LANES);
    if (whole) TYPED(sum_long_tile)(at, rows, whole, offset, 0);
    if (last) TYPED(sum_long_tile)(&after, rows, 0, 0, last);
}

#endif
