/* Products with packed weights, typed: which tiles, in which order. */

/* n things in as few parts of at most `most` as there can be, as equal as they can be: 3 + 2 + 2, not 3 + 3 + 1. */
typedef struct TYPED(parting) {
    size_t count, each, more;
} TYPED(parting);

static TYPED(parting) TYPED(part)(size_t n, size_t most) {
    const size_t count = (n + most - 1) / most;
    return (TYPED(parting)){count, count ? n / count : 0, count ? n % count : 0};
}

static inline size_t TYPED(part_begin)(const TYPED(parting) *parting, size_t part) {
    return part * parting->each + (part < parting->more ? part : parting->more);
}

enum { TYPED(WINDOW) = 12 };

/* What the tiles of one product have in common. */
typedef struct TYPED(job) {
    const TYPED(clstm_i_product) *product;
    const TYPED(clstm_i_steps) *step; /* or NULL, and then: */
    real *out;
    size_t stride, columns;
    TYPED(parting) rows, blocks; /* of its tiles */
    int backwards; /* the last block first */
} TYPED(job);

/* Field by field: a small step would notice what a struct costs that is cleared and copied. */
static inline void TYPED(set_place)(TYPED(place) *at, const TYPED(job) *job, size_t row, size_t block) {
    const TYPED(clstm_i_product) *p = job->product;
    at->row = row;
    at->block = block;
    at->start = p->start + row * p->start_stride + block * TYPED(BLOCK);
    at->start_stride = p->start_stride;
    at->count = p->count;
    for (size_t n = 0; n < p->count; n++) {
        const TYPED(clstm_i_part) *part = &p->parts[n];
        TYPED(run) *run = &at->runs[n];
        run->a = part->a + row * part->stride;
        run->stride = part->stride;
        run->block_stride = part->depth * TYPED(BLOCK);
        run->weights = part->weights + block * run->block_stride;
        run->depth = part->depth;
    }
}

/* Sums to where they are wanted; by way of the stack where the last vector is wanted in part only. */
static void TYPED(sum_to_out)(const TYPED(job) *job, TYPED(place) *at, size_t rows, size_t vectors) {
    const size_t column = at->block * TYPED(BLOCK), left = job->columns - column;
    real *out = job->out + at->row * job->stride + column;
    at->out = out;
    at->out_stride = job->stride;
    if (left >= vectors * TYPED(LANES)) {
        TYPED(sum_tile)(at, rows, vectors);
        return;
    }
    real scratch[TYPED(MAX_SUMS) * TYPED(LANES)];
    at->out = scratch;
    at->out_stride = vectors * TYPED(LANES);
    TYPED(sum_tile)(at, rows, vectors);
    for (size_t row = 0; row < rows; row++)
        __builtin_memcpy(out + row * job->stride, scratch + row * at->out_stride, left * sizeof(real));
}

static void TYPED(run_tile)(const TYPED(job) *job, size_t row, size_t rows, size_t block, size_t vectors) {
    TYPED(place) at;
    TYPED(set_place)(&at, job, row, block);
    if (job->step) TYPED(step_tile)(&at, job->step, rows, vectors);
    else TYPED(sum_to_out)(job, &at, rows, vectors);
}

/* All of one row: first the sums, then what follows from them, for many blocks at once. */
static void TYPED(step_one_row)(const TYPED(job) *job, size_t begin, size_t vectors) {
    vreal sums[4 * TYPED(WINDOW)];
    const size_t blocks = (vectors + 3) / 4, tiles = (blocks + TYPED(ONE_ROW_BLOCKS) - 1) / TYPED(ONE_ROW_BLOCKS);
    for (size_t n = 0; n < tiles; n++) {
        const size_t tile = job->backwards ? tiles - 1 - n : n;
        const size_t first = 4 * (tile * blocks / tiles), end = 4 * ((tile + 1) * blocks / tiles);
        TYPED(place) at;
        TYPED(set_place)(&at, job, 0, begin + first / 4);
        at.out = (real *)(sums + first);
        TYPED(sum_tile)(&at, 1, (end < vectors ? end : vectors) - first);
    }
    const size_t parts = (blocks + TYPED(FINISH_BLOCKS) - 1) / TYPED(FINISH_BLOCKS);
    for (size_t n = 0; n < parts; n++) {
        const size_t first = 4 * (n * blocks / parts), end = 4 * ((n + 1) * blocks / parts);
        TYPED(step_row)(job->step, begin + first / 4, sums + first, (end < vectors ? end : vectors) - first);
    }
}

/* Rows after rows of the same blocks, so that their weights come from a private cache for all tiles but the first. */
static void TYPED(run_blocks)(const TYPED(job) *job, size_t group) {
    const TYPED(clstm_i_product) *p = job->product;
    const size_t begin = p->begin + TYPED(part_begin)(&job->blocks, group);
    const size_t end = p->begin + TYPED(part_begin)(&job->blocks, group + 1);
    const size_t vectors = 4 * (end - begin) - (end > p->whole ? 4 - p->last : 0);
    if (job->step && p->rows == 1) {
        TYPED(step_one_row)(job, begin, vectors);
        return;
    }
    for (size_t tile = 0; tile < job->rows.count; tile++) {
        const size_t row = TYPED(part_begin)(&job->rows, tile), row_end = TYPED(part_begin)(&job->rows, tile + 1);
        TYPED(run_tile)(job, row, row_end - row, begin, vectors);
    }
}

static void TYPED(begin_job)(TYPED(job) *job) {
    const TYPED(clstm_i_product) *p = job->product;
    job->rows = TYPED(part)(p->rows, TYPED(MAX_ROWS));
    job->blocks = TYPED(part)(p->end - p->begin, p->rows > 1 ? 1 : job->step ? TYPED(WINDOW) : TYPED(ONE_ROW_BLOCKS));
}

static void TYPED(multiply)(const TYPED(clstm_i_product) *product, real *out, size_t stride, size_t columns) {
    TYPED(job) job = {.product = product, .out = out, .stride = stride, .columns = columns};
    TYPED(begin_job)(&job);
    for (size_t group = 0; group < job.blocks.count; group++) TYPED(run_blocks)(&job, group);
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

/* Every other step goes through the blocks backwards: what the step before has left in a cache is read first. Worth 10 %
   where the weights are twice as large as the cache. */
static void TYPED(steps)(const TYPED(clstm_i_steps) *steps) {
    TYPED(clstm_i_steps) now = *steps;
    TYPED(job) job = {.product = &now.product, .step = &now};
    TYPED(begin_job)(&job);
    for (size_t t = 0; t < steps->steps; t++) {
        job.backwards = (steps->first + t) % 2;
        if (t) TYPED(advance)(&now);
        for (size_t group = 0; group < job.blocks.count; group++)
            TYPED(run_blocks)(&job, job.backwards ? job.blocks.count - 1 - group : group);
    }
}
