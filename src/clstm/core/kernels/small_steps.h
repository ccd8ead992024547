/* Steps of small models, typed: rows of few units, and layers, in one instruction stream.

   A small step is little more than the latency from h_{t-1} to h_t: some 150 cycles at H = 8, of which the
   multiply-adds take 20. So steps that do not depend on each other run together, as strands: rows of a batch, or layers
   of which each is a step behind the layer below. The loop over time is inside the code of each shape, because whatever
   stands between h_t and the next product delays it. Every value is summed in the order of any other tile. */
#ifndef KERNELS_SMALL_STEPS /* included once for each type: real_undefine.h undefines it */
#define KERNELS_SMALL_STEPS

#include "finish_step.h"

enum {
    TYPED(SMALL_BLOCKS) = 5, /* most blocks of a row that is run as a strand */
    TYPED(MOST_STRANDS) = TYPED(AT_ONCE),
};

/* The sums of a strand over some blocks that fit one tile. */
ALWAYS_INLINE void TYPED(sum_strand)(vreal *sums, const TYPED(clstm_i_product) *p, size_t block, const int whole,
                                     const int half) {
    const int vectors = 4 * whole + 2 * half;
    UNROLL for (int v = 0; v < vectors; v++)
        sums[v] = TYPED(load)(p->start + block * TYPED(BLOCK) + v * TYPED(LANES));
    for (size_t n = 0; n < p->count; n++) {
        const TYPED(clstm_i_factor) *factor = &p->factors[n];
        const size_t columns = factor->columns, block_stride = columns * TYPED(BLOCK);
        const real *a = factor->a, *weights = factor->matrix.weights + block * block_stride;
        UNROLL_FOUR for (size_t k = 0; k < columns; k++) {
            const vreal column = TYPED(splat)(a[k]);
            UNROLL for (int v = 0; v < vectors; v++) {
                const size_t at = TYPED(vector_at)(block_stride, k, v, 4 * whole, 0, 2 * half);
                sums[v] = TYPED(fma)(column, TYPED(load)(weights + at), sums[v]);
            }
        }
    }
}

/* Steps of n strands whose blocks fit one tile each. */
ALWAYS_INLINE void TYPED(run_together)(TYPED(clstm_i_steps) *strands, size_t steps, const int n, const int whole,
                                       const int half, const int fast) {
    const int each = 4 * whole + 2 * half;
    TYPED(clstm_i_steps) now[TYPED(MOST_STRANDS)];
    UNROLL for (int k = 0; k < n; k++) now[k] = strands[k];
    for (size_t t = 0; t < steps; t++) {
        vreal sums[4 * TYPED(AT_ONCE)];
        UNROLL for (int k = 0; k < n; k++) TYPED(sum_strand)(sums + k * each, &now[k].product, 0, whole, half);
        TYPED(finish)(now, 0, 0, sums, each, n, whole, half, fast);
        UNROLL for (int k = 0; k < n; k++) TYPED(advance)(&now[k]);
    }
    UNROLL for (int k = 0; k < n; k++) strands[k] = now[k];
}

/* Steps of a single strand, in windows of blocks (next_row_window). */
ALWAYS_INLINE void TYPED(run_alone)(TYPED(clstm_i_steps) *strand, size_t steps, const int whole, const int half,
                                    const int fast) {
    const int wide = VECTOR_BYTES == 64, blocks = whole + half, few = blocks <= 3;
    const int window = !wide ? (few ? 3 : (blocks + 1) / 2) : !few ? 1 : half ? 3 : 2;
    const int windows = ((window > 1 ? blocks : whole) - 1) / window; /* before the last; a half block goes with one */
    TYPED(clstm_i_steps) now = *strand;
    for (size_t t = 0; t < steps; t++) {
        vreal sums[4 * TYPED(WINDOW)];
        int block = 0;
        UNROLL for (int k = 0; k < windows; k++, block += window) {
            TYPED(sum_strand)(sums, &now.product, (size_t)block, window, 0);
            TYPED(finish)(&now, 0, (size_t)block, sums, 0, 1, window, 0, fast);
        }
        TYPED(sum_strand)(sums, &now.product, (size_t)block, whole - block, half);
        TYPED(finish)(&now, 0, (size_t)block, sums, 0, 1, whole - block, half, fast);
        TYPED(advance)(&now);
    }
    *strand = now;
}

#define SHAPE(n, whole, half) ((n) * 16 + 2 * (whole) + (half))
#define TOGETHER(n, whole, half) \
    case SHAPE(n, whole, half): TYPED(run_together)(strands, steps, n, whole, half, fast); return
#define ALONE(whole, half) \
    case SHAPE(1, whole, half): TYPED(run_alone)(strands, steps, whole, half, fast); return

ALWAYS_INLINE void TYPED(run_shape)(TYPED(clstm_i_steps) *strands, size_t n, size_t steps, const int fast) {
    const TYPED(clstm_i_product) *p = &strands->product;
    const size_t half = p->end > p->whole;
    switch (SHAPE(n, p->whole, half)) {
        ALONE(0, 1); ALONE(1, 0); ALONE(1, 1); ALONE(2, 0); ALONE(2, 1); ALONE(3, 0); ALONE(3, 1); ALONE(4, 0);
        ALONE(4, 1); ALONE(5, 0);
        TOGETHER(2, 0, 1); TOGETHER(2, 1, 0); TOGETHER(2, 1, 1); TOGETHER(2, 2, 0);
        TOGETHER(3, 0, 1); TOGETHER(3, 1, 0);
        TOGETHER(4, 0, 1); TOGETHER(4, 1, 0);
    }
}
_Static_assert(TYPED(AT_ONCE) == 4 && TYPED(SMALL_BLOCKS) == 5, "the cases above");
#undef SHAPE
#undef TOGETHER
#undef ALONE

/* Run n strands, as many as `together` allows, for some steps; the strands move on. Accurate and fast activations have
   a function each: in a single one, accurate ones took 5 % longer. */
LINE_ALIGNED
NEVER_INLINE void TYPED(run_accurate)(TYPED(clstm_i_steps) *strands, size_t n, size_t steps) {
    TYPED(run_shape)(strands, n, steps, 0);
}

LINE_ALIGNED
NEVER_INLINE void TYPED(run_fast)(TYPED(clstm_i_steps) *strands, size_t n, size_t steps) {
    TYPED(run_shape)(strands, n, steps, !REAL_IS_F64);
}

static inline void TYPED(run_strands)(TYPED(clstm_i_steps) *strands, size_t n, size_t steps) {
    if (strands->fast) TYPED(run_fast)(strands, n, steps);
    else TYPED(run_accurate)(strands, n, steps);
}

/* How many of `left` strands run together next, balanced so that no small remainder is left. */
static inline size_t TYPED(together)(const TYPED(clstm_i_product) *p, size_t left) {
    const size_t most = p->end > TYPED(AT_ONCE) / 2 ? 1 : TYPED(AT_ONCE) / p->end;
    return left <= most ? left : left < 2 * most ? (left + 1) / 2 : most;
}

/* One row of some steps. */
static TYPED(clstm_i_steps) TYPED(strand_of)(const TYPED(clstm_i_steps) *steps, size_t row) {
    TYPED(clstm_i_steps) own = *steps;
    TYPED(clstm_i_product) *p = &own.product;
    for (size_t n = 0; n < p->count; n++) p->factors[n].a += row * p->factors[n].stride;
    p->start += row * p->start_stride;
    own.c += row * own.stride;
    own.h += row * own.stride;
    if (own.gates) own.gates += row * 4 * own.hidden_size;
    if (own.cells) own.cells += row * own.hidden_size;
    return own;
}

/* Whether small_steps runs the steps of a product: a single row of few units, or several rows whose weights stay in the
   L1, because each row reads them anew. */
static inline int TYPED(is_small)(const TYPED(clstm_i_product) *p) {
    size_t depth = 0;
    for (size_t n = 0; n < p->count; n++) depth += p->factors[n].columns;
    if (p->begin || p->end > TYPED(SMALL_BLOCKS) || TYPED(is_long)(p)) return 0;
    return p->rows == 1
           || (p->rows <= TUNE_SMALL_ROWS && depth * p->end * TYPED(BLOCK) * sizeof(real) <= TUNE_SMALL_WEIGHTS);
}

NEVER_INLINE void TYPED(small_steps)(const TYPED(clstm_i_steps) *steps) {
    TYPED(clstm_i_steps) strands[TYPED(MOST_STRANDS)];
    for (size_t row = 0, n; row < steps->product.rows; row += n) {
        n = TYPED(together)(&steps->product, steps->product.rows - row);
        for (size_t k = 0; k < n; k++) strands[k] = TYPED(strand_of)(steps, row + k);
        TYPED(run_strands)(strands, n, steps->steps);
    }
}

/* In a turn every layer takes a step, each a step behind the layer below; upper layers begin later and end later. */
static void TYPED(skewed_steps)(const TYPED(clstm_i_steps) *layers, size_t count) {
    TYPED(clstm_i_steps) strands[TYPED(SKEWED_LAYERS)];
    const size_t steps = layers->steps;
    clstm_i_assert(count <= TYPED(SKEWED_LAYERS) && steps);
    for (size_t row = 0; row < layers->product.rows; row++) {
        for (size_t k = 0; k < count; k++) strands[k] = TYPED(strand_of)(&layers[k], row);
        for (size_t turn = 0, turns; turn < steps + count - 1; turn += turns) {
            const size_t first = turn < steps ? 0 : turn - steps + 1, last = turn < count ? turn + 1 : count;
            turns = last - first == count ? steps - turn : 1;
            for (size_t k = first, n; k < last; k += n) {
                n = TYPED(together)(&layers->product, last - k);
                TYPED(run_strands)(strands + k, n, turns);
            }
        }
    }
}

#endif
