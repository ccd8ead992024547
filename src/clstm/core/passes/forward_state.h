/* The state of a forward pass, typed: what its threads share, its memory, and which rows belong to which thread. */
#pragma once

#include "gather.h"
#include "packed_weights.h"
#include "tape.h"

typedef struct TYPED(forward_pass) {
    clstm_i_call *call;
    const clstm_model *model;
    const TYPED(clstm_i_kernels) *kernels;
    const TYPED(pack) *pack;         /* NULL: the blas engine */
    const TYPED(clstm_i_cell) *cell; /* NULL: the plain cell */
    clstm_tape *tape;                /* NULL: nothing is recorded */
    clstm_i_plan plan;
    clstm_i_shape shape;
    clstm_i_schedule schedule;
    size_t directions;     /* D */
    size_t recurrent_size; /* R */
    size_t capacity;       /* rows of the longest chunk */
    size_t c_stride;       /* between rows of c: whole vectors in the packed engine */
    size_t h_stride;       /* between rows of h: likewise; equal without a projection */
    size_t width;          /* lanes of a row of sums */
    int direct;            /* the caller's x and y have the rows packed, in order */
    int hoists;            /* the input product of some layer is hoisted */
    int skews;             /* the layers of a chunk run a step apart */
    int nontemporal;       /* gates and cells are recorded by non-temporal stores */
    TYPED(row_view) x, y;  /* the caller's, of I and O columns; or the tape's x */
    char *memory;          /* all arrays below */
    real *h, *c;           /* (L D, B, h_stride), (L D, B, c_stride) the state so far */
    real *hidden;          /* (buffers, capacity, h_stride) h of a layer over a chunk */
    real *inputs;          /* (D, capacity, I or D R) a layer's gathered input over a chunk */
    real *between;         /* (2, total, D R) h of both directions for the next layer, where no tape keeps it */
    real *outputs;         /* (buffers, B, c_stride) o_t tanh(c_t) before a projection */
    real *sums;            /* (buffers, capacity, width) hoisted input products; pre-activations of the blas engine */
    real *read_out;        /* (capacity, O) y before it is scattered */
    real *bias;            /* (L D, 4H), for the blas engine */
    clstm_i_counter *counters; /* (2 threads + L + 1,): barriers of subteams, barriers of all, chunks that each layer
                                  has done, waves that are taken */
} TYPED(forward_pass);

/* One thread of a pass. */
typedef struct TYPED(worker) {
    const TYPED(forward_pass) *pass;
    clstm_i_subteam step_team; /* threads that share every step */
    clstm_i_subteam pass_team; /* threads that go through the same chunks: they share steps or rows */
    clstm_i_range rows;        /* of the batch */
    size_t direction;
} TYPED(worker);

/* One direction of a layer over some steps, and where its rows lie (locate_chunk in forward_layer.h). */
typedef struct TYPED(chunk) {
    size_t first, last; /* steps */
    size_t origin, n;   /* rows before them, and in them */
    size_t layer, part;
    TYPED(row_view) from; /* if x must be gathered: from there; else without data */
    real *gathered;       /* (n, x_stride) x then; else NULL */
    const real *x;        /* (n, I) */
    size_t x_stride;
    real *hidden; /* (n, R) h, rows h_stride apart */
    size_t h_stride;
    TYPED(row_view) to; /* if h must be scattered to y or the next layer's input: there; else without data */
    int reads_out;      /* the readout follows, chunk by chunk */
    real *sums;         /* (n, width) or NULL: the input product is in the step */
    real *outputs;      /* (B, c_stride) of a step before its projection, or NULL */
} TYPED(chunk);

/* A worker's rows of the batch, where threads share them. */
static void TYPED(take_rows)(TYPED(worker) *worker) {
    const clstm_i_subteam *team = &worker->pass_team;
    if (team->count) worker->rows = clstm_i_share_rows(&worker->pass->plan, team->index, team->count);
}

/* Threads that share every step go through the same chunks. */
static int TYPED(shares_steps)(const TYPED(worker) *worker) { return worker->step_team.counters != NULL; }

static void TYPED(meet)(TYPED(worker) *worker) {
    clstm_i_meet(worker->pass->call, &worker->step_team);
    if (TYPED(shares_steps)(worker)) worker->pass_team = worker->step_team;
}

/* Before the buffers of a chunk are reused. Not needed where each thread owns fixed rows of equal length. */
static void TYPED(meet_before_reuse)(TYPED(worker) *worker) {
    if (TYPED(shares_steps)(worker)) TYPED(meet)(worker);
    else if (worker->pass->plan.lengths && worker->pass_team.count > 1) {
        clstm_i_meet(worker->pass->call, &worker->pass_team);
        TYPED(take_rows)(worker);
    }
}

/* Whether a worker has left its team, or the call is cancelled. */
static int TYPED(stops)(const TYPED(worker) *worker) {
    return !worker->pass_team.count || clstm_i_cancelled(worker->pass->call);
}

static void TYPED(poll)(const TYPED(worker) *worker, double work) {
    clstm_i_poll(worker->pass->call, worker->step_team.thread, work);
}

/* ---- Memory ---- */

/* Whether one thread runs the layers of a chunk a step apart: rows are few and of equal length, and nothing happens to
   h between two layers. */
static int TYPED(pass_skews)(const TYPED(forward_pass) *pass, const clstm_i_extent *extent) {
    const clstm_tape *tape = pass->tape;
    if (!pass->pack || pass->schedule.threads > 1 || extent->batch > TUNE_SMALL_ROWS) return 0;
    if (!clstm_i_plan_is_uniform(extent) || (tape && (tape->dropout || TYPED(drops_recurrent)(tape)))) return 0;
    return TYPED(skews)(&pass->model->config, pass->kernels->lanes);
}

/* Whether the input product of a layer is hoisted. A layer that is a step behind another can't wait for all steps. */
static int TYPED(hoists)(const TYPED(forward_pass) *pass, size_t layer) {
    const size_t columns = clstm_i_input_size(&pass->model->config, layer);
    if (layer && pass->skews) return 0;
    return !pass->pack || clstm_i_hoists(&pass->shape, pass->schedule.split, columns);
}

/* Whether any layer hoists its input product. */
static int TYPED(any_hoists)(const TYPED(forward_pass) *pass) {
    const clstm_config *config = &pass->model->config;
    return TYPED(hoists)(pass, 0) || (config->num_layers > 1 && TYPED(hoists)(pass, 1));
}

/* Rows of the longest chunk: at least one step, at most the whole sequence. A wavefront has few steps in a chunk;
   otherwise a chunk stays in a private cache between product and step, and is long enough for a fast product. */
static size_t TYPED(chunk_capacity)(const TYPED(forward_pass) *pass, size_t total, size_t batch) {
    const size_t row = (pass->hoists ? pass->width + pass->c_stride : pass->c_stride) * sizeof(real);
    size_t rows = TUNE_CHUNK_BYTES / row;
    if (pass->schedule.split == CLSTM_I_LAYERS && rows / TUNE_WAVEFRONT_CHUNK > batch)
        rows = TUNE_WAVEFRONT_CHUNK * batch;
    return rows < batch ? batch : clstm_i_min(rows, total);
}

/* Places the arrays of a pass from an address on; with 0 for the address, only measures them. */
static void TYPED(place_arrays)(TYPED(forward_pass) *pass, clstm_i_layout *layout, size_t batch, uintptr_t memory) {
    const clstm_config *config = &pass->model->config;
    const size_t L = config->num_layers, D = pass->directions, B = batch, layer_size = clstm_i_layer_size(config);
    const size_t threads = pass->schedule.threads, wavefront = pass->schedule.split == CLSTM_I_LAYERS;
    const size_t buffers = wavefront ? threads : D; /* of sums and outputs */
    const int blas = !pass->pack, sums_on_tape = blas && pass->tape && pass->tape->gates;
    const int gathers = D > 1 || !(pass->direct || pass->tape), reads_out = config->output_size && !pass->direct;
    const int between = D > 1 && !pass->tape && (L > 1 || config->output_size);
    size_t states, rows, h_rows;
    if (__builtin_mul_overflow(L * D, B, &states)
        || __builtin_mul_overflow(wavefront ? 2 * L : pass->skews ? L : 2, pass->capacity, &h_rows)
        || __builtin_mul_overflow(buffers, pass->capacity, &rows)) layout->overflow = 1;
    if (layout->overflow) return;
#define PLACE(array, rows, columns) \
    pass->array = (void *)(memory + clstm_i_reserve(layout, rows, columns, sizeof *pass->array))
    PLACE(counters, 2 * threads + L + 1, 1);
    PLACE(h, states, pass->h_stride);
    PLACE(c, states, pass->c_stride);
    PLACE(hidden, h_rows, pass->h_stride);
    PLACE(inputs, gathers ? D * pass->capacity : 0, clstm_i_max(config->input_size, layer_size));
    PLACE(between, between ? 2 * pass->plan.total : 0, layer_size);
    PLACE(outputs, config->proj_size ? buffers * B : 0, pass->c_stride);
    PLACE(sums, pass->hoists && !sums_on_tape ? rows : 0, pass->width);
    PLACE(read_out, reads_out ? pass->capacity : 0, config->output_size);
    PLACE(bias, blas ? L * D : 0, 4 * config->hidden_size);
    PLACE(call->scratch, blas ? threads : 0, CLSTM_I_GEMM_BYTES);
#undef PLACE
}

/* Allocates the arrays, and a plan unless the tape has it. plan.total is set before. */
static clstm_status TYPED(allocate_pass)(TYPED(forward_pass) *pass, const clstm_i_extent *extent) {
    const clstm_config *config = &pass->model->config;
    pass->capacity = TYPED(chunk_capacity)(pass, pass->plan.total, extent->batch);
    const size_t L = config->num_layers, states = pass->directions * L * extent->batch;
    clstm_i_layout layout = {0, 0};
    const size_t plan = pass->tape ? 0 : clstm_i_plan_reserve(&layout, extent);
    const clstm_i_layout head = layout;
    TYPED(place_arrays)(pass, &layout, extent->batch, 0);
    clstm_status status;
    char *memory = pass->memory = clstm_i_borrow(pass->model->cache, CLSTM_I_WORKSPACE, &layout, &status);
    if (!memory) return status;

    pass->plan = pass->tape ? pass->tape->plan : clstm_i_plan_make(extent, (size_t *)(memory + plan));
    layout = head;
    TYPED(place_arrays)(pass, &layout, extent->batch, (uintptr_t)memory);
    clstm_i_assert(clstm_i_is_aligned(pass->h) && clstm_i_is_aligned(pass->c) && clstm_i_is_aligned(pass->hidden));
    memset(pass->counters, 0, (2 * pass->schedule.threads + L + 1) * sizeof(clstm_i_counter));
    memset(pass->h, 0, states * pass->h_stride * sizeof(real));
    memset(pass->c, 0, states * pass->c_stride * sizeof(real));
    for (size_t q = 0; !pass->pack && q < clstm_i_parts(config); q++)
        TYPED(write_bias)(pass->model, q, pass->bias + q * 4 * config->hidden_size);
    return CLSTM_OK;
}

/* ---- Rows ---- */

static int TYPED(has_batch)(const TYPED(worker) *worker) {
    return clstm_i_count(worker->rows) == worker->pass->plan.batch;
}

/* The rows of step t that are a worker's, counted from the chunk's first row. */
static clstm_i_range TYPED(rows_at)(const TYPED(worker) *worker, const TYPED(chunk) *chunk, size_t t) {
    const clstm_i_plan *plan = &worker->pass->plan;
    const clstm_i_range rows = clstm_i_below(worker->rows, plan->rows[t]);
    const size_t at = plan->offsets[t] - chunk->origin;
    clstm_i_assert(t >= chunk->first && t < chunk->last);
    return (clstm_i_range){at + rows.begin, at + rows.end};
}

/* How many bands of rows the threads of a team share. A BLAS may round by the number of rows. So the number of the
   blas engine's bands is the call's number of threads, however many of them come. */
static size_t TYPED(bands)(const TYPED(forward_pass) *pass, const clstm_i_subteam *team) {
    return pass->pack ? team->count : clstm_i_max(pass->schedule.threads / pass->directions, 1);
}

static clstm_i_range TYPED(own_bands)(const TYPED(forward_pass) *pass, const clstm_i_subteam *team) {
    return clstm_i_share(TYPED(bands)(pass, team), 1, team->index, team->count);
}

/* A worker's rows of a chunk, as ranges: bands of all rows if the worker has the whole batch, else some rows of each
   step. */
static size_t TYPED(range_count)(const TYPED(worker) *worker, const TYPED(chunk) *chunk) {
    if (TYPED(has_batch)(worker)) return clstm_i_count(TYPED(own_bands)(worker->pass, &worker->step_team));
    return chunk->last - chunk->first;
}

static clstm_i_range TYPED(range_at)(const TYPED(worker) *worker, const TYPED(chunk) *chunk, size_t number) {
    const clstm_i_subteam *team = &worker->step_team;
    if (!TYPED(has_batch)(worker)) return TYPED(rows_at)(worker, chunk, chunk->first + number);
    const size_t band = TYPED(own_bands)(worker->pass, team).begin + number;
    return clstm_i_share(chunk->n, 1, band, TYPED(bands)(worker->pass, team));
}

/* Exchanges rows of a chunk, packed as (n, stride), with a view. */
static void TYPED(exchange_range)(const TYPED(worker) *worker, const TYPED(chunk) *chunk, clstm_i_range rows,
                                  TYPED(exchange) *exchange, real *data, size_t stride, size_t columns,
                                  const TYPED(row_view) *view) {
    const TYPED(packed_rows) own = {data, stride, columns, {chunk->first, chunk->last}, rows};
    TYPED(exchange_rows)(&worker->pass->plan, exchange, &own, view);
}

/* ---- Between two steps: projection and recurrent dropout ---- */

/* A worker's rows of one step, of one direction of one layer. */
typedef struct TYPED(step_rows_at) {
    clstm_i_range rows; /* in the chunk */
    size_t first;       /* row of the batch */
    size_t slot;        /* of the first row on the tape, without slot 0 of the initial state */
} TYPED(step_rows_at);

static TYPED(step_rows_at) TYPED(locate_step)(const TYPED(worker) *worker, const TYPED(chunk) *chunk, size_t t) {
    const clstm_i_range rows = TYPED(rows_at)(worker, chunk, t);
    const size_t slot = rows.begin + chunk->origin;
    return (TYPED(step_rows_at)){rows, slot - worker->pass->plan.offsets[t], slot};
}

/* h_{t-1} as the gates of a step see it, and the stride of its rows. */
static const real *TYPED(hidden_before_step)(const TYPED(worker) *worker, const TYPED(chunk) *chunk, size_t t,
                                             const TYPED(step_rows_at) *at, size_t *stride) {
    const TYPED(forward_pass) *pass = worker->pass;
    const clstm_i_plan *plan = &pass->plan;
    const size_t R = pass->recurrent_size;
    if (TYPED(drops_recurrent)(pass->tape)) {
        *stride = R;
        const real *slots = TYPED(slots)(pass->tape, pass->tape->recurrent, chunk->part, R);
        return slots + (clstm_i_slot_before(plan, t) + at->first) * R;
    }
    if (t == chunk->first) {
        *stride = pass->h_stride;
        return pass->h + (chunk->part * plan->batch + at->first) * pass->h_stride;
    }
    *stride = chunk->h_stride;
    return chunk->hidden + (plan->offsets[t - 1] - chunk->origin + at->first) * chunk->h_stride;
}

/* Records o_t tanh(c_t) before a projection, and h_t after recurrent dropout. Threads that share the step have some
   rows each. */
static void TYPED(record_after_step)(const TYPED(worker) *worker, const TYPED(chunk) *chunk,
                                     const TYPED(step_rows_at) *at) {
    const TYPED(forward_pass) *pass = worker->pass;
    const clstm_tape *tape = pass->tape;
    const size_t H = pass->model->config.hidden_size, R = pass->recurrent_size;
    const clstm_i_range own =
        clstm_i_share(clstm_i_count(at->rows), 1, worker->step_team.index, worker->step_team.count);
    if (tape->outputs) {
        real *outputs = (real *)tape->outputs + (chunk->part * pass->plan.total + at->slot) * H;
        TYPED(copy_rows)(outputs + own.begin * H, H, chunk->outputs + (at->first + own.begin) * pass->c_stride,
                         pass->c_stride, clstm_i_count(own), H);
    }
    if (!TYPED(drops_recurrent)(tape)) return;
    const clstm_i_range rows = {at->first + own.begin, at->first + own.end};
    TYPED(drop_recurrent)(tape, chunk->part, rows, chunk->hidden + (at->rows.begin + own.begin) * pass->h_stride,
                          pass->h_stride, TYPED(slots)(tape, tape->recurrent, chunk->part, R)
                          + (pass->plan.batch + at->slot + own.begin) * R);
}
