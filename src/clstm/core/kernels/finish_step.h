/* The end of a step, typed: from sums to gates, cell state and hidden state, and on to the next step. */
#ifndef KERNELS_FINISH_STEP /* included once for each type: real_undefine.h undefines it */
#define KERNELS_FINISH_STEP

#include "packed_product.h"

enum { TYPED(AT_ONCE) = 4 }; /* most vectors of units that are finished together: their chains hide each other */

/* The six equations for n vectors of units. Each line has n independent chains, which hide each other's latency. */
ALWAYS_INLINE void TYPED(cells)(vreal (*gates)[4], vreal *c, vreal *h, const int n) {
    UNROLL for (int k = 0; k < n; k++) gates[k][0] = TYPED(sigmoid)(gates[k][0]);
    UNROLL for (int k = 0; k < n; k++) gates[k][2] = TYPED(tanh)(gates[k][2]);
    UNROLL for (int k = 0; k < n; k++) gates[k][1] = TYPED(sigmoid)(gates[k][1]);
    UNROLL for (int k = 0; k < n; k++) c[k] = TYPED(fma)(gates[k][1], c[k], gates[k][0] * gates[k][2]);
    UNROLL for (int k = 0; k < n; k++) gates[k][3] = TYPED(sigmoid)(gates[k][3]);
    UNROLL for (int k = 0; k < n; k++) h[k] = gates[k][3] * TYPED(tanh)(c[k]);
}

/* The same by fast activations. All gates are quotients: c_t and h_t take one division each, and no gate is known. */
ALWAYS_INLINE void TYPED(fast_cells)(vreal (*gates)[4], vreal *c, vreal *h, const int n) {
    UNROLL for (int k = 0; k < n; k++) {
        const TYPED(quotient) i = TYPED(fast_sigmoid)(gates[k][0]), g = TYPED(fast_tanh)(gates[k][2]);
        const TYPED(quotient) f = TYPED(fast_sigmoid)(gates[k][1]);
        const vreal below = i.below * g.below;
        c[k] = TYPED(fma)(f.above * c[k], below, i.above * g.above * f.below) / (f.below * below);
    }
    UNROLL for (int k = 0; k < n; k++) {
        const TYPED(quotient) o = TYPED(fast_sigmoid)(gates[k][3]), t = TYPED(fast_tanh)(c[k]);
        h[k] = o.above * t.above / (o.below * t.below);
    }
}

static void TYPED(record_vector)(const TYPED(clstm_i_steps) *step, size_t unit, real *row, vreal v) {
    const size_t left = step->hidden_size - unit;
    if (step->nontemporal) TYPED(store_nontemporal)(row + unit, v);
    else TYPED(store_n)(row + unit, v, left < TYPED(LANES) ? left : TYPED(LANES));
}

static void TYPED(record_cell)(const TYPED(clstm_i_steps) *step, size_t row, size_t unit, const vreal *gates, vreal c) {
    const size_t H = step->hidden_size;
    if (step->gates)
        for (size_t gate = 0; gate < 4; gate++)
            TYPED(record_vector)(step, unit, step->gates + (4 * row + gate) * H, gates[gate]);
    if (step->cells) TYPED(record_vector)(step, unit, step->cells + row * H, c);
}

/* The gates of one vector of units, from their sums. A half block has two vectors, i|f and g|o, with a gate in each
   half: every gate moves to a vector of its own, so that the same code finishes all blocks. */
ALWAYS_INLINE void TYPED(gates_of)(vreal *gates, const vreal *sums, const int half) {
    UNROLL for (int gate = 0; gate < 4; gate++) {
        const vreal own = sums[half ? gate / 2 : gate];
        gates[gate] = half && gate % 2 ? TYPED(swap_halves)(own) : own;
    }
}

/* A row of each of n steps, together: `whole` blocks and perhaps a half block, from their sums (i f g o each) to c_t
   and h_t. The sums of a step are `distance` vectors apart. `fast` is constant where time counts. */
ALWAYS_INLINE void TYPED(finish)(const TYPED(clstm_i_steps) *steps, size_t row, size_t block, const vreal *sums,
                                 const int distance, const int n, const int whole, const int half, int fast) {
    const int blocks = whole + half, count = n * blocks;
    vreal gates[TYPED(AT_ONCE)][4], c[TYPED(AT_ONCE)], h[TYPED(AT_ONCE)];
    UNROLL for (int k = 0; k < count; k++) {
        const TYPED(clstm_i_steps) *step = &steps[k / blocks];
        const size_t at = row * step->stride + (block + (size_t)(k % blocks)) * TYPED(LANES);
        TYPED(gates_of)(gates[k], sums + k / blocks * distance + 4 * (k % blocks), k % blocks == whole);
        c[k] = TYPED(load)(step->c + at);
    }
    if (!REAL_IS_F64 && fast) TYPED(fast_cells)(gates, c, h, count);
    else TYPED(cells)(gates, c, h, count);
    UNROLL for (int k = 0; k < count; k++) {
        const TYPED(clstm_i_steps) *step = &steps[k / blocks];
        const size_t at = row * step->stride + (block + (size_t)(k % blocks)) * TYPED(LANES);
        TYPED(store)(step->c + at, c[k]);
        TYPED(store)(step->h + at, h[k]);
    }
    if (!steps->gates && !steps->cells) return;
    for (int k = 0; k < count; k++)
        TYPED(record_cell)(&steps[k / blocks], row, (block + (size_t)(k % blocks)) * TYPED(LANES), gates[k], c[k]);
}

/* Advances every array by one step; h_{t-1} is the output of the step before. */
static void TYPED(advance)(TYPED(clstm_i_steps) *now) {
    TYPED(clstm_i_product) *p = &now->product;
    for (size_t n = 0; n + 1 < p->count; n++) p->factors[n].a += now->batch * p->factors[n].stride;
    p->factors[p->count - 1].a = now->h;
    p->start += now->batch * p->start_stride;
    now->h += now->batch * now->stride;
    if (now->gates) now->gates += now->batch * 4 * now->hidden_size;
    if (now->cells) now->cells += now->batch * now->hidden_size;
}

#endif
