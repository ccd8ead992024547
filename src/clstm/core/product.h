/* Products with packed weights, typed: which tiles, in which order; and steps, which go on from a product's sums. */

enum {
    TYPED(WINDOW) = 3, /* blocks whose sums are at hand at once: a whole number of tiles of any width */
    TYPED(WINDOW_SUMS) = 4 * TYPED(WINDOW) * TYPED(MAX_ROWS),
    TYPED(FINISHED) = 5, /* vectors of units whose activations are computed together */
};

/* How many of the things that are left go into the next part, of at most `most`: so that no small rest remains. */
static inline size_t TYPED(next_part)(size_t left, size_t most) {
    return left <= most ? left : left < 2 * most ? (left + 1) / 2 : most;
}

/* The next part from either end. */
static inline clstm_i_range TYPED(part)(clstm_i_range whole, size_t left, size_t most, int backwards) {
    const size_t n = TYPED(next_part)(left, most), begin = backwards ? whole.begin + left - n : whole.end - left;
    return (clstm_i_range){begin, begin + n};
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

/* ---- Windows: all rows go through some blocks, so that their weights come from a private cache but once ---- */

static size_t TYPED(window)(const TYPED(clstm_i_product) *p) {
    const size_t bytes = 448 << 10; /* of a small L2 cache, beside x and h */
    size_t depth = 0;
    for (size_t n = 0; n < p->count; n++) depth += p->parts[n].depth;
    const int fits = p->rows <= TYPED(MAX_ROWS) || TYPED(WINDOW) * depth * TYPED(BLOCK) * sizeof(real) <= bytes;
    return fits ? TYPED(WINDOW) : 1;
}

/* Tiles of one block have four vectors, so fewer rows, where registers are few. */
static inline size_t TYPED(tile_rows)(size_t window) { return window == 1 ? TILE_VECTORS / 4 : TYPED(MAX_ROWS); }

/* Of the last vector only the wanted columns, by way of the stack. */
static void TYPED(sum_in_part)(const TYPED(clstm_i_product) *p, clstm_i_range rows, clstm_i_range blocks, real *out,
                               size_t stride, size_t columns) {
    real sums[TYPED(WINDOW_SUMS) * TYPED(LANES)];
    const size_t own = (blocks.end - blocks.begin) * TYPED(BLOCK);
    TYPED(sum)(p, rows, blocks, sums, own);
    for (size_t row = 0; row < rows.end - rows.begin; row++)
        __builtin_memcpy(out + row * stride, sums + row * own, columns * sizeof(real));
}

static void TYPED(multiply)(const TYPED(clstm_i_product) *p, real *out, size_t stride, size_t columns) {
    const size_t window = TYPED(window)(p), most = TYPED(tile_rows)(window);
    const clstm_i_range all_blocks = {p->begin, p->end}, all_rows = {0, p->rows};
    for (size_t left = p->end - p->begin; left; left -= TYPED(next_part)(left, window)) {
        const clstm_i_range blocks = TYPED(part)(all_blocks, left, window, 0);
        const size_t first = blocks.begin * TYPED(BLOCK), wanted = columns - first;
        const size_t vectors = 4 * (blocks.end - blocks.begin) - (blocks.end > p->whole ? 4 - p->last : 0);
        for (size_t rest = p->rows; rest; rest -= TYPED(next_part)(rest, most)) {
            const clstm_i_range rows = TYPED(part)(all_rows, rest, most, 0);
            real *to = out + rows.begin * stride + first;
            if (wanted >= vectors * TYPED(LANES)) TYPED(sum)(p, rows, blocks, to, stride);
            else TYPED(sum_in_part)(p, rows, blocks, to, stride, wanted);
        }
    }
}

/* ---- Steps ---- */

/* The six equations, for n vectors of units at once: each line has n independent chains, as latency counts here. */
ALWAYS_INLINE void TYPED(cells)(vreal (*gates)[4], vreal *c, vreal *h, const int n) {
    UNROLL for (int k = 0; k < n; k++) gates[k][0] = TYPED(sigmoid)(gates[k][0]);
    UNROLL for (int k = 0; k < n; k++) gates[k][2] = TYPED(tanh)(gates[k][2]);
    UNROLL for (int k = 0; k < n; k++) gates[k][1] = TYPED(sigmoid)(gates[k][1]);
    UNROLL for (int k = 0; k < n; k++) c[k] = TYPED(fma)(gates[k][1], c[k], gates[k][0] * gates[k][2]);
    UNROLL for (int k = 0; k < n; k++) gates[k][3] = TYPED(sigmoid)(gates[k][3]);
    UNROLL for (int k = 0; k < n; k++) h[k] = gates[k][3] * TYPED(tanh)(c[k]);
}

static void TYPED(keep)(const TYPED(clstm_i_steps) *step, size_t row, size_t unit, const vreal *gates, vreal c) {
    const size_t H = step->hidden_size, n = H - unit < TYPED(LANES) ? H - unit : TYPED(LANES);
    real *to = step->gates + row * 4 * H + unit;
    for (size_t gate = 0; gate < 4; gate++) TYPED(put)(to + gate * H, gates[gate], n);
    TYPED(put)(step->cells + row * H + unit, c, n);
}

/* Where several vectors of units stand: one after the other in a row, or one below the other. */
typedef struct TYPED(units) {
    size_t row, unit; /* of the first */
    int down;
} TYPED(units);

/* From n vectors' sums, i f g o each, to their c_t and h_t. */
ALWAYS_INLINE void TYPED(finish)(const TYPED(clstm_i_steps) *step, TYPED(units) at, const vreal *sums, const int n) {
    const size_t first = at.row * step->stride + at.unit, hop = at.down ? step->stride : TYPED(LANES);
    vreal gates[TYPED(FINISHED)][4], c[TYPED(FINISHED)], h[TYPED(FINISHED)];
    UNROLL for (int k = 0; k < n; k++) {
        UNROLL for (int gate = 0; gate < 4; gate++) gates[k][gate] = sums[4 * k + gate];
        c[k] = TYPED(load)(step->c + first + (size_t)k * hop);
    }
    TYPED(cells)(gates, c, h, n);
    UNROLL for (int k = 0; k < n; k++) {
        TYPED(store)(step->c + first + (size_t)k * hop, c[k]);
        TYPED(store)(step->h + first + (size_t)k * hop, h[k]);
    }
    if (!step->gates) return;
    for (size_t k = 0; k < (size_t)n; k++)
        TYPED(keep)(step, at.row + (at.down ? k : 0), at.unit + (at.down ? 0 : k * TYPED(LANES)), gates[k], c[k]);
}

static void TYPED(finish_some)(const TYPED(clstm_i_steps) *step, TYPED(units) at, const vreal *sums, size_t n) {
    switch (n) {
    case 1: TYPED(finish)(step, at, sums, 1); return;
    case 2: TYPED(finish)(step, at, sums, 2); return;
    case 3: TYPED(finish)(step, at, sums, 3); return;
    case 4: TYPED(finish)(step, at, sums, 4); return;
    case 5: TYPED(finish)(step, at, sums, 5); return;
    }
}

/* sums (rows, blocks, 4) of a last block hold i|f and g|o in the halves of two: each to a vector of its own. */
static void TYPED(spread)(vreal *sums, size_t rows, size_t blocks) {
    for (size_t row = 0; row < rows; row++) {
        vreal *last = sums + 4 * ((row + 1) * blocks - 1);
        last[3] = TYPED(swap_halves)(last[1]);
        last[2] = last[1];
        last[1] = TYPED(swap_halves)(last[0]);
    }
}

/* One step of some rows and blocks: sums, then all that follows from them. Their way through the stack costs less than
   activations that wait for each other, which are chains of some 50 cycles. */
static void TYPED(step_tile)(const TYPED(clstm_i_steps) *step, clstm_i_range rows, clstm_i_range blocks) {
    vreal sums[TYPED(WINDOW_SUMS)], *own = sums;
    const size_t units = blocks.end - blocks.begin, count = rows.end - rows.begin;
    TYPED(sum)(&step->product, rows, blocks, (real *)sums, units * TYPED(BLOCK));
    if (blocks.end > step->product.whole) TYPED(spread)(sums, count, units);
    const int down = units == 1; /* then the activations of several rows are computed together */
    const size_t lines = down ? 1 : count, length = down ? count : units;
    for (size_t line = 0; line < lines; line++) {
        for (size_t done = 0, n; done < length; done += n) {
            const size_t row = rows.begin + line + (down ? done : 0), block = blocks.begin + (down ? 0 : done);
            n = TYPED(next_part)(length - done, TYPED(FINISHED));
            TYPED(finish_some)(step, (TYPED(units)){row, block * TYPED(LANES), down}, own, n);
            own += 4 * n;
        }
    }
}

/* One step of one row, of blocks that are a single tile: from sums to h_t nothing leaves the registers. A small step is
   little more than the latency from h_{t-1} to h_t; the way through the stack would make it a quarter longer. */
ALWAYS_INLINE void TYPED(step_in_registers)(const TYPED(clstm_i_steps) *step, size_t block, const int whole,
                                            const int last) {
    const int blocks = whole + (last > 0);
    const TYPED(units) at = {0, block * TYPED(LANES), 0};
    vreal sums[4 * TYPED(WINDOW)];
    TYPED(sum_up)(sums, &step->product, 0, block, 1, 4 * whole, 0, last);
    if (last) TYPED(spread)(sums, 1, (size_t)blocks);
    TYPED(finish)(step, at, sums, blocks);
}

static void TYPED(step_row)(const TYPED(clstm_i_steps) *step, clstm_i_range blocks) {
    const size_t last = blocks.end > step->product.whole, whole = blocks.end - blocks.begin - last;
    switch (2 * whole + last) {
    case 1: TYPED(step_in_registers)(step, blocks.begin, 0, 2); return;
    case 2: TYPED(step_in_registers)(step, blocks.begin, 1, 0); return;
    case 3: TYPED(step_in_registers)(step, blocks.begin, 1, 2); return;
    case 4: TYPED(step_in_registers)(step, blocks.begin, 2, 0); return;
    case 5: TYPED(step_in_registers)(step, blocks.begin, 2, 2); return;
    case 6: TYPED(step_in_registers)(step, blocks.begin, 3, 0); return;
    }
}

/* Every array moves on by a step; h_{t-1} is what the step before wrote. */
static void TYPED(advance)(TYPED(clstm_i_steps) *now) {
    TYPED(clstm_i_product) *p = &now->product;
    for (size_t n = 0; n + 1 < p->count; n++) p->parts[n].a += now->batch * p->parts[n].stride;
    p->parts[p->count - 1].a = now->h;
    p->start += now->batch * p->start_stride;
    now->h += now->batch * now->stride;
    if (!now->gates) return;
    now->gates += now->batch * 4 * now->hidden_size;
    now->cells += now->batch * now->hidden_size;
}

/* Every other step goes through the blocks backwards: what the step before has left in a cache is read first. Worth
   10 % where the weights are twice as large as the cache. */
static void TYPED(steps)(const TYPED(clstm_i_steps) *steps) {
    TYPED(clstm_i_steps) now = *steps;
    const TYPED(clstm_i_product) *p = &now.product;
    const size_t window = TYPED(window)(p), most = TYPED(tile_rows)(window);
    const clstm_i_range all_blocks = {p->begin, p->end}, all_rows = {0, p->rows};
    for (size_t t = 0; t < steps->steps; t++) {
        const int backwards = (steps->first + t) % 2;
        if (t) TYPED(advance)(&now);
        for (size_t left = p->end - p->begin; left; left -= TYPED(next_part)(left, window)) {
            const clstm_i_range blocks = TYPED(part)(all_blocks, left, window, backwards);
            if (p->rows == 1) TYPED(step_row)(&now, blocks);
            else for (size_t rest = p->rows; rest; rest -= TYPED(next_part)(rest, most))
                TYPED(step_tile)(&now, TYPED(part)(all_rows, rest, most, 0), blocks);
        }
    }
}
