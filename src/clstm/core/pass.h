/* A forward pass, typed: what its threads share, its memory, and whose rows are whose. */

typedef struct TYPED(pass) {
    clstm_i_call *call;
    const clstm_model *model;
    const TYPED(clstm_i_kernels) *kernels;
    const TYPED(pack) *pack; /* NULL: the blas engine */
    clstm_tape *tape;        /* NULL: nothing is kept */
    clstm_i_plan plan;
    clstm_i_split split;
    size_t threads;  /* at most */
    size_t capacity; /* rows of the longest chunk */
    size_t stride;   /* from one row of h or c to the next: whole vectors, in the packed engine */
    size_t width;    /* from one row of sums to the next */
    int hoist;       /* the input product of a chunk's steps at once; else in every step */
    const real *x;   /* (total, I) */
    real *y;         /* (total, O), or NULL */
    char *memory;    /* all that follows */
    real *h, *c;     /* (L, B, stride) the state so far */
    real *hidden;    /* (buffers, capacity, stride) h of a layer over a chunk */
    real *sums;      /* (workers, capacity, width) pre-activations */
    real *zeros;     /* (4H,) the blas engine's bias of a model without one */
    clstm_i_counter *counters; /* (threads + L,) of each thread's meetings, then of each layer's chunks */
} TYPED(pass);

/* One thread's part in a pass. */
typedef struct TYPED(worker) {
    const TYPED(pass) *pass;
    size_t thread;       /* 0 is the caller's */
    size_t index, count; /* among those that share every step */
    clstm_i_range rows;  /* of the batch */
} TYPED(worker);

/* A layer over some steps, n rows in all. */
typedef struct TYPED(chunk) {
    size_t first, last; /* steps */
    size_t origin, n;   /* rows before them, and theirs */
    size_t layer;
    const real *x; /* (n, I) */
    size_t x_stride;
    real *hidden; /* (n, stride) */
    real *sums;   /* (n, width) */
} TYPED(chunk);

static void TYPED(meet)(const TYPED(worker) *worker) {
    clstm_i_meet(worker->pass->call, worker->pass->counters, worker->index, worker->count);
}

static void TYPED(poll)(const TYPED(worker) *worker, double work) {
    if (worker->thread == 0) clstm_i_poll(worker->pass->call, work);
}

/* ---- Memory ---- */

/* The rows of the longest chunk: at least one step, at most the whole sequence. */
static size_t TYPED(chunk_capacity)(const TYPED(pass) *pass, size_t steps, size_t batch) {
    /* Between two threads that go through the layers one behind the other: few steps, so that none waits long. Else:
       what stays in a private cache between product and step, and has enough rows for a fast product. */
    const size_t bytes = (size_t)1 << 20, in_turn = 16;
    const size_t row = (pass->hoist || !pass->pack ? pass->width + pass->stride : pass->stride) * sizeof(real);
    size_t rows = bytes / row, total;
    if (__builtin_mul_overflow(steps, batch, &total)) total = SIZE_MAX;
    if (pass->split == CLSTM_I_LAYERS && rows / in_turn > batch) rows = in_turn * batch;
    return rows < batch ? batch : rows < total ? rows : total;
}

static clstm_status TYPED(allocate_pass)(TYPED(pass) *pass, size_t steps, size_t batch) {
    const clstm_config *config = &pass->model->config;
    const size_t L = config->num_layers, blas = !pass->pack, in_turn = pass->split == CLSTM_I_LAYERS;
    clstm_i_layout layout = {0, 0};
    size_t states, hidden = 0, sums = 0;
    pass->capacity = TYPED(chunk_capacity)(pass, steps, batch);
    if (__builtin_mul_overflow(L, batch, &states)
        || __builtin_mul_overflow(in_turn ? 2 * L : 2, pass->capacity, &hidden)
        || __builtin_mul_overflow(in_turn ? pass->threads : 1, pass->capacity, &sums)) layout.overflow = 1;

    const size_t planned = pass->tape ? 0 : clstm_i_plan_reserve(&layout, steps, batch);
    const size_t counters = clstm_i_reserve(&layout, pass->threads + L, 1, sizeof(clstm_i_counter));
    const size_t h_at = clstm_i_reserve(&layout, states, pass->stride, sizeof(real));
    const size_t c_at = clstm_i_reserve(&layout, states, pass->stride, sizeof(real));
    const size_t hidden_at = clstm_i_reserve(&layout, hidden, pass->stride, sizeof(real));
    const int on_tape = blas && pass->tape && pass->tape->gates;
    const size_t sums_at = clstm_i_reserve(&layout, pass->hoist && !on_tape ? sums : 0, pass->width, sizeof(real));
    const size_t zeros_at = clstm_i_reserve(&layout, blas && config->no_bias ? pass->width : 0, 1, sizeof(real));

    clstm_status status;
    char *memory = pass->memory = clstm_i_borrow(pass->model->cache, CLSTM_I_WORKSPACE, &layout, &status);
    if (!memory) return status;
    pass->plan = pass->tape ? pass->tape->plan : clstm_i_plan_uniform(steps, batch, (size_t *)(memory + planned));
    pass->counters = (clstm_i_counter *)(memory + counters);
    pass->h = (real *)(memory + h_at);
    pass->c = (real *)(memory + c_at);
    pass->hidden = (real *)(memory + hidden_at);
    pass->sums = (real *)(memory + sums_at);
    pass->zeros = (real *)(memory + zeros_at);
    memset(pass->counters, 0, (pass->threads + L) * sizeof(clstm_i_counter));
    memset(pass->h, 0, states * pass->stride * sizeof(real));
    memset(pass->c, 0, states * pass->stride * sizeof(real));
    if (blas && config->no_bias) memset(pass->zeros, 0, pass->width * sizeof(real));
    return CLSTM_OK;
}

/* ---- Rows ---- */

static void TYPED(copy_rows)(real *to, size_t to_stride, const real *from, size_t from_stride, size_t rows,
                             size_t columns) {
    if (to_stride == columns && from_stride == columns) {
        memcpy(to, from, rows * columns * sizeof(real));
        return;
    }
    for (size_t row = 0; row < rows; row++)
        memcpy(to + row * to_stride, from + row * from_stride, columns * sizeof(real));
}

static int TYPED(has_batch)(const TYPED(worker) *worker) {
    return worker->rows.end - worker->rows.begin == worker->pass->plan.batch;
}

/* The rows of step t that are a worker's, counted from the chunk's first row. */
static clstm_i_range TYPED(rows_at)(const TYPED(worker) *worker, const TYPED(chunk) *chunk, size_t t) {
    const clstm_i_plan *plan = &worker->pass->plan;
    const size_t active = plan->rows[t], at = plan->offsets[t] - chunk->origin;
    const clstm_i_range rows = worker->rows;
    return (clstm_i_range){at + (rows.begin < active ? rows.begin : active),
                           at + (rows.end < active ? rows.end : active)};
}

/* A worker's rows of a whole chunk, in so many spans: a part of all rows if it has the whole batch, perhaps together
   with others; else some of each step. */
static size_t TYPED(spans)(const TYPED(worker) *worker, const TYPED(chunk) *chunk) {
    return TYPED(has_batch)(worker) ? 1 : chunk->last - chunk->first;
}

static clstm_i_range TYPED(span)(const TYPED(worker) *worker, const TYPED(chunk) *chunk, size_t n) {
    if (TYPED(has_batch)(worker)) return clstm_i_slice(chunk->n, 1, worker->index, worker->count);
    return TYPED(rows_at)(worker, chunk, chunk->first + n);
}
