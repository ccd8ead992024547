/* Cells other than the plain one, typed: peepholes, coupled gates, clipping, and activation functions chosen at run
   time. Written for the reader: one equation a line, over the values of a whole tile, between the same products and
   arrays as the plain cell (steps.h). The switch over the functions runs once a tile and costs little beside the
   product. */
#ifndef KERNELS_CELL_VARIANTS /* included once for each type: real_undefine.h undefines it */
#define KERNELS_CELL_VARIANTS

#include "packed_product.h"

enum { TYPED(TILE_UNITS) = TYPED(WINDOW) * TYPED(MAX_ROWS) };

/* Vectors of units, row by row. */
typedef struct TYPED(cell_tile) {
    size_t count; /* rows * units */
    size_t units; /* vectors in a row */
    vreal gates[4][TYPED(TILE_UNITS)]; /* in: sums; out: activated, i f g o */
    vreal c[TYPED(TILE_UNITS)];        /* in: c_{t-1}; out: c_t */
    vreal h[TYPED(TILE_UNITS)];        /* out: o_t hidden(c_t) */
    vreal peepholes[3][TYPED(WINDOW)]; /* i f o; the same for every row */
} TYPED(cell_tile);

/* ---- Functions ---- */

/* exp(x) - 1 = 2 t / (1 - t) with t = tanh(x / 2). For x <= 0, 1 - t does not cancel. */
ALWAYS_INLINE vreal TYPED(expm1_below_zero)(vreal x) {
    const vreal t = TYPED(tanh)(x * TYPED(splat)((real)0.5));
    return (t + t) / (TYPED(splat)(1) - t);
}

/* log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|)). With p = sigmoid(-|x|), the logarithm is -log(1 - p) = 2 atanh(s),
   s = p / (2 - p) <= 1/3, computed by its series. */
ALWAYS_INLINE vreal TYPED(softplus)(vreal x) {
    const int terms = REAL_IS_F64 ? 17 : 8;
    const vreal p = TYPED(sigmoid)(TYPED(min)(x, -x)), s = p / (TYPED(splat)(2) - p), s2 = s * s;
    vreal sum = TYPED(splat)(1 / (real)(2 * terms - 1));
    for (int k = terms - 2; k >= 0; k--) sum = TYPED(fma)(s2, sum, TYPED(splat)(1 / (real)(2 * k + 1)));
    return TYPED(fma)(s + s, sum, TYPED(max)(TYPED(splat)(0), x));
}

/* x, or 0 where x < least; NaN stays NaN. */
ALWAYS_INLINE vreal TYPED(zero_below)(vreal x, vreal least) { return (vreal)((vint)x & ~(vint)(x < least)); }

/* Clamps x, so that infinity gives 1 and not NaN. */
ALWAYS_INLINE vreal TYPED(softsign)(vreal x) {
    x = TYPED(max)(TYPED(splat)(-REAL_MAX), TYPED(min)(TYPED(splat)(REAL_MAX), x));
    return x / (TYPED(splat)(1) + TYPED(max)(x, -x));
}

/* values = function(values). min and max take the constant first, so that NaN stays NaN. */
static void TYPED(apply)(const TYPED(clstm_i_function) *f, vreal *values, size_t n) {
    const vreal alpha = TYPED(splat)(f->alpha), beta = TYPED(splat)(f->beta), zero = {0}, one = TYPED(splat)(1);
#define EACH(value)                     \
    for (size_t k = 0; k < n; k++) {    \
        const vreal x = values[k];      \
        values[k] = (value);            \
    }                                   \
    break
    switch (f->function) {
    case CLSTM_DEFAULT: break; /* replaced when a configuration is read */
    case CLSTM_SIGMOID: EACH(TYPED(sigmoid)(x));
    case CLSTM_TANH: EACH(TYPED(tanh)(x));
    case CLSTM_HARD_SIGMOID: EACH(TYPED(max)(zero, TYPED(min)(one, TYPED(fma)(alpha, x, beta))));
    case CLSTM_RELU: EACH(TYPED(max)(zero, x));
    case CLSTM_AFFINE: EACH(TYPED(fma)(alpha, x, beta));
    case CLSTM_LEAKY_RELU: EACH(TYPED(max)(zero, x) + alpha * TYPED(min)(zero, x));
    case CLSTM_THRESHOLDED_RELU: EACH(TYPED(zero_below)(x, alpha));
    case CLSTM_SCALED_TANH: EACH(alpha * TYPED(tanh)(beta * x));
    case CLSTM_ELU: EACH(TYPED(max)(zero, x) + alpha * TYPED(expm1_below_zero)(TYPED(min)(zero, x)));
    case CLSTM_SOFTSIGN: EACH(TYPED(softsign)(x));
    case CLSTM_SOFTPLUS: EACH(TYPED(softplus)(x));
    }
#undef EACH
}

static void TYPED(bound)(vreal *values, size_t n, real most) {
    for (size_t k = 0; k < n; k++)
        values[k] = TYPED(max)(TYPED(splat)(-most), TYPED(min)(TYPED(splat)(most), values[k]));
}

/* ---- Forward ---- */

static void TYPED(activate)(const TYPED(clstm_i_cell) *cell, const TYPED(clstm_i_function) *f, vreal *sums, size_t n) {
    TYPED(bound)(sums, n, cell->clip);
    TYPED(apply)(f, sums, n);
}

static void TYPED(add_peepholes)(TYPED(cell_tile) *tile, vreal *sums, const vreal *peepholes) {
    for (size_t first = 0; first < tile->count; first += tile->units)
        for (size_t unit = 0; unit < tile->units; unit++)
            sums[first + unit] = TYPED(fma)(peepholes[unit], tile->c[first + unit], sums[first + unit]);
}

/* The equations at clstm_cell in clstm.h. */
static void TYPED(cell_forward)(const TYPED(clstm_i_cell) *cell, int peephole, TYPED(cell_tile) *tile) {
    const size_t n = tile->count;
    vreal *i = tile->gates[0], *f = tile->gates[1], *g = tile->gates[2], *o = tile->gates[3];
    vreal *c = tile->c, *h = tile->h;
    if (peephole) {
        TYPED(add_peepholes)(tile, i, tile->peepholes[0]);
        TYPED(add_peepholes)(tile, f, tile->peepholes[1]);
    }
    TYPED(activate)(cell, &cell->gate, i, n);
    TYPED(activate)(cell, &cell->cell, g, n);
    if (!cell->coupled) TYPED(activate)(cell, &cell->gate, f, n);
    else for (size_t k = 0; k < n; k++) f[k] = TYPED(splat)(1) - i[k];

    for (size_t k = 0; k < n; k++) c[k] = TYPED(fma)(f[k], c[k], i[k] * g[k]);
    TYPED(bound)(c, n, cell->cell_clip);

    if (peephole) TYPED(add_peepholes)(tile, o, tile->peepholes[2]);
    TYPED(activate)(cell, &cell->gate, o, n);
    for (size_t k = 0; k < n; k++) h[k] = c[k];
    TYPED(apply)(&cell->hidden, h, n);
    for (size_t k = 0; k < n; k++) h[k] *= o[k];
}

/* The peepholes of the units from j on; zeros after H. */
static void TYPED(load_peepholes)(TYPED(cell_tile) *tile, const real *peephole, size_t H, size_t j) {
    for (size_t unit = 0; peephole && unit < tile->units; unit++, j += TYPED(LANES))
        for (size_t gate = 0; gate < 3; gate++)
            tile->peepholes[gate][unit] =
                TYPED(load_n)(peephole + gate * H + j, H - j < TYPED(LANES) ? H - j : TYPED(LANES));
}

/* ---- Backward ---- */

/* The values of a monotonic function at both ends of its input, in ascending order. */
static void TYPED(find_range)(TYPED(clstm_i_function) *f, real most) {
    vreal ends[2] = {TYPED(splat)(-most), TYPED(splat)(most)};
    TYPED(apply)(f, ends, 2);
    const int rises = ends[0][0] <= ends[1][0];
    f->low = ends[rises ? 0 : 1][0];
    f->high = ends[rises ? 1 : 0][0];
}

/* Computed by the forward pass's code, so that `slope` can compare for equality. */
static void TYPED(find_ranges)(TYPED(clstm_i_cell) *cell) {
    const real most = cell->clip < REAL_MAX ? cell->clip : REAL_MAX;
    TYPED(find_range)(&cell->gate, most);
    TYPED(find_range)(&cell->cell, most);
    TYPED(find_range)(&cell->hidden, REAL_MAX);
}

/* The derivative of a function from its result y alone, which suffices for all that can be trained. It is 0 at the ends
   of the range, where x was clipped or the function is flat. NaN compares false and is not at an end. */
ALWAYS_INLINE vreal TYPED(slope)(const TYPED(clstm_i_function) *f, vreal y) {
    const vreal one = TYPED(splat)(1);
    const vint ends = (vint)(y <= TYPED(splat)(f->low)) | (vint)(y >= TYPED(splat)(f->high));
    vreal slope = one;
    if (f->function == CLSTM_SIGMOID) slope = y * (one - y);
    else if (f->function == CLSTM_TANH) slope = one - y * y;
    else if (f->function == CLSTM_HARD_SIGMOID) slope = TYPED(splat)(f->alpha);
    return (vreal)((vint)slope & ~ends);
}

/* cell_forward in reverse for units j to j + n of one row, as gates_backward_vector is for the plain cell. */
static inline void TYPED(cell_backward_vector)(const TYPED(clstm_i_gates_backward) *step, size_t row, size_t j,
                                               size_t n, vreal dh) {
    const TYPED(clstm_i_cell) *cell = step->cell;
    const size_t H = step->hidden_size, at = row * H + j;
    const real *peephole = step->peephole ? step->peephole + j : NULL;
    real *gates = step->gates + 4 * row * H + j;
    const vreal i = TYPED(load_n)(gates, n), f = TYPED(load_n)(gates + H, n);
    const vreal g = TYPED(load_n)(gates + 2 * H, n), o = TYPED(load_n)(gates + 3 * H, n);
    const vreal c = TYPED(load_n)(step->c + at, n), before = TYPED(load_n)(step->c_before + at, n), zero = {0};
    vreal hidden = c;
    TYPED(apply)(&cell->hidden, &hidden, 1);

    const vreal d_o = dh * hidden * TYPED(slope)(&cell->gate, o);
    vreal dc = TYPED(fma)(dh * o, TYPED(slope)(&cell->hidden, hidden), TYPED(load_n)(step->dc + at, n));
    if (peephole) dc = TYPED(fma)(d_o, TYPED(load_n)(peephole + 2 * H, n), dc);
    dc = (vreal)((vint)dc & ~(vint)(TYPED(max)(c, -c) >= TYPED(splat)(cell->cell_clip)));

    const vreal by_forget = dc * before;
    const vreal di = (cell->coupled ? dc * g - by_forget : dc * g) * TYPED(slope)(&cell->gate, i);
    const vreal df = cell->coupled ? zero : by_forget * TYPED(slope)(&cell->gate, f);
    const vreal dg = dc * i * TYPED(slope)(&cell->cell, g);
    dc *= f;
    if (peephole) dc = TYPED(fma)(df, TYPED(load_n)(peephole + H, n), TYPED(fma)(di, TYPED(load_n)(peephole, n), dc));

    TYPED(store_n)(step->dc + at, dc, n);
    TYPED(store_n)(gates, di, n);
    TYPED(store_n)(gates + H, df, n);
    TYPED(store_n)(gates + 2 * H, dg, n);
    TYPED(store_n)(gates + 3 * H, d_o, n);
}

#endif
