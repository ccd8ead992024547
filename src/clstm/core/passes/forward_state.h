/* A forward pass, typed: what its threads share, its memory, and whose rows are whose. */
#pragma once

#include "gather.h"
#include "packed_weights.h"
#include "tape.h"

typedef struct TYPED(pass) {
    clstm_i_call *call;
    const clstm_model *model;
    const TYPED(clstm_i_kernels) *kernels;
    const TYPED(pack) *pack; /* NULL: the blas engine */
    const TYPED(clstm_i_cell) *cell; /* NULL: the plain one */
    clstm_tape *tape;        /* NULL: nothing is kept */
    clstm_i_plan plan;
    clstm_i_split split;
    size_t threads;    /* at most */
    size_t directions; /* D */
    size_t recurrent_size; /* R */
    size_t capacity;   /* rows of the longest chunk */
    size_t stride;     /* from one row of c to the next: whole vectors, in the packed engine */
    size_t h_stride;   /* of h likewise: the same without a projection */
    size_t width;      /* from one row of sums to the next */
    int direct;        /* the caller's sequences lie as packed ones */
    int nontemporal;   /* what the tape keeps of every step goes past the caches */
    int hoist;         /* the input product of a chunk's steps at once; else in every step */
    TYPED(port) x, y;  /* the caller's, of I and O columns; or the tape's x */
    char *memory;      /* all that follows */
    real *h, *c;       /* (L D, B, h_stride), (L D, B, stride) the state so far */
    real *hidden;      /* (buffers, capacity, h_stride) h of a layer over a chunk */
    real *inputs;      /* (D, capacity, I or D R) a layer's x over a chunk, where it lies elsewhere in another order */
    real *between;     /* (2, total, D R) what two directions leave to the next layer, where no tape keeps it */
    real *outputs;     /* (workers, B, stride) o_t tanh(c_t) before a projection */
    real *sums;        /* (workers, capacity, width) pre-activations */
    real *read_out;    /* (capacity, O) y on its way to where it does not lie as h does */
    real *zeros;       /* (4H,) the blas engine's bias of a model without one */
    clstm_i_counter *counters; /* (2 threads + L,): meetings of those that share a step, meetings of all, and each
                                  layer's chunks */
} TYPED(pass);

/* One thread's part in a pass. */
typedef struct TYPED(worker) {
    const TYPED(pass) *pass;
    size_t thread;       /* 0 is the caller's */
    size_t index, count; /* among those that share every step */
    clstm_i_range rows;  /* of the batch */
    size_t direction;
    size_t peer, peers;  /* among those that go through the same chunks: they share steps or rows */
    clstm_i_counter *counters; /* of the peers */
} TYPED(worker);

/* A direction of a layer over some steps, n rows in all. */
typedef struct TYPED(chunk) {
    size_t first, last; /* steps */
    size_t origin, n;   /* rows before them, and theirs */
    size_t layer, part;
    const real *x; /* (n, I) */
    size_t x_stride;
    real *gathered;  /* x itself, where it must be gathered first; else NULL */
    real *hidden;    /* (n, h_stride) */
    size_t h_stride; /* the pass's, or what separates single rows in y */
    int gives_y;     /* hidden lies in y */
    real *sums;      /* (n, width), or NULL */
    real *outputs;   /* (B, stride) of a step, where there is a projection */
} TYPED(chunk);

static void TYPED(meet)(const TYPED(worker) *worker) {
    clstm_i_meet(worker->pass->call, worker->counters, worker->index, worker->count);
}

/* Before the buffers of a chunk are written anew. Peers with rows of their own need not wait where these have the same
   places in every chunk. */
static void TYPED(meet_peers)(const TYPED(worker) *worker) {
    if (worker->count > 1 || worker->pass->plan.lengths)
        clstm_i_meet(worker->pass->call, worker->counters, worker->peer, worker->peers);
}

static void TYPED(poll)(const TYPED(worker) *worker, double work) {
    if (worker->thread == 0) clstm_i_poll(worker->pass->call, work);
}

/* ---- Memory ---- */

/* The rows of the longest chunk: at least one step, at most the whole sequence. */
static size_t TYPED(chunk_capacity)(const TYPED(pass) *pass, size_t total, size_t batch) {
    /* Between two threads that go through the layers one behind the other: few steps, so that none waits long. Else:
       what stays in a private cache between product and step, and has enough rows for a fast product. */
    const size_t bytes = (size_t)1 << 20, in_turn = 16;
    const size_t row = (pass->hoist || !pass->pack ? pass->width + pass->stride : pass->stride) * sizeof(real);
    size_t rows = bytes / row;
    if (pass->split == CLSTM_I_LAYERS && rows / in_turn > batch) rows = in_turn * batch;
    return rows < batch ? batch : rows < total ? rows : total;
}

/* The arrays of a pass, in memory that begins at an address; with 0 for it, only what they need. */
static void TYPED(place_arrays)(TYPED(pass) *pass, clstm_i_layout *layout, size_t batch, uintptr_t memory) {
    const clstm_config *config = &pass->model->config;
    const size_t L = config->num_layers, D = pass->directions, B = batch, width = D * pass->recurrent_size;
    const size_t in_turn = pass->split == CLSTM_I_LAYERS, workers = in_turn ? pass->threads : D;
    const int blas = !pass->pack, on_tape = blas && pass->tape && pass->tape->gates;
    const int gathers = D > 1 || !(pass->direct || pass->tape), read_out = config->output_size && !pass->direct;
    const int between = D > 1 && !pass->tape && (L > 1 || config->output_size);
    size_t states, rows, h_rows;
    if (__builtin_mul_overflow(L * D, B, &states)
        || __builtin_mul_overflow(in_turn ? 2 * L : 2, pass->capacity, &h_rows)
        || __builtin_mul_overflow(workers, pass->capacity, &rows)) layout->overflow = 1;
    if (layout->overflow) return;
#define PLACE(array, rows, columns) \
    pass->array = (void *)(memory + clstm_i_reserve(layout, rows, columns, sizeof *pass->array))
    PLACE(counters, 2 * pass->threads + L, 1);
    PLACE(h, states, pass->h_stride);
    PLACE(c, states, pass->stride);
    PLACE(hidden, h_rows, pass->h_stride);
    PLACE(inputs, gathers ? D * pass->capacity : 0, config->input_size > width ? config->input_size : width);
    PLACE(between, between ? 2 * pass->plan.total : 0, width);
    PLACE(outputs, config->proj_size ? workers * B : 0, pass->stride);
    PLACE(sums, pass->hoist && !on_tape ? rows : 0, pass->width);
    PLACE(read_out, read_out ? pass->capacity : 0, config->output_size);
    PLACE(zeros, blas && config->no_bias ? pass->width : 0, 1);
    PLACE(call->scratch, blas ? pass->threads : 0, CLSTM_I_GEMM_BYTES);
#undef PLACE
}

/* A plan, unless the tape has it, and all arrays. `plan.total` is known before. */
static clstm_status TYPED(allocate_pass)(TYPED(pass) *pass, const clstm_i_extent *extent) {
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
    memset(pass->counters, 0, (2 * pass->threads + L) * sizeof(clstm_i_counter));
    memset(pass->h, 0, states * pass->h_stride * sizeof(real));
    memset(pass->c, 0, states * pass->stride * sizeof(real));
    if (!pass->pack && config->no_bias) memset(pass->zeros, 0, pass->width * sizeof(real));
    return CLSTM_OK;
}

/* ---- Rows ---- */

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

/* Rows of a chunk between here, (n, stride), and a port. */
static void TYPED(exchange_span)(const TYPED(worker) *worker, const TYPED(chunk) *chunk, clstm_i_range rows,
                                 TYPED(exchange) *exchange, real *data, size_t stride, size_t columns,
                                 const TYPED(port) *port) {
    const TYPED(own_rows) own = {data, stride, columns, {chunk->first, chunk->last}, rows};
    TYPED(exchange_rows)(&worker->pass->plan, exchange, &own, port);
}
/* What stands between a step's cells and the gates of the next one, in models or recordings that have it, typed:
   projection and recurrent dropout. */

/* Where a worker's rows of step t stand, of one direction of one layer. */
typedef struct TYPED(step_place) {
    clstm_i_range rows; /* of the chunk */
    size_t first;       /* of the batch */
    size_t slot;        /* of the first one on the tape, slot 0 of the initial state not counted */
} TYPED(step_place);

static TYPED(step_place) TYPED(place_step)(const TYPED(worker) *worker, const TYPED(chunk) *chunk, size_t t) {
    const clstm_i_range rows = TYPED(rows_at)(worker, chunk, t);
    const size_t slot = rows.begin + chunk->origin;
    return (TYPED(step_place)){rows, slot - worker->pass->plan.offsets[t], slot};
}

/* h_{t-1} as the gates of a step see it, and the distance of its rows. */
static const real *TYPED(before_step)(const TYPED(worker) *worker, const TYPED(chunk) *chunk, size_t t,
                                      const TYPED(step_place) *at, size_t *stride) {
    const TYPED(pass) *pass = worker->pass;
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

/* A step's share of what the tape keeps of its own: o_t tanh(c_t) before the projection, h_t as the next step's gates
   see it. Those that share the step each have some rows. */
static void TYPED(keep_between)(const TYPED(worker) *worker, const TYPED(chunk) *chunk, const TYPED(step_place) *at) {
    const TYPED(pass) *pass = worker->pass;
    const clstm_tape *tape = pass->tape;
    const size_t H = pass->model->config.hidden_size, R = pass->recurrent_size;
    const clstm_i_range own = clstm_i_slice(at->rows.end - at->rows.begin, 1, worker->index, worker->count);
    if (tape->outputs) {
        real *outputs = (real *)tape->outputs + (chunk->part * pass->plan.total + at->slot) * H;
        TYPED(copy_rows)(outputs + own.begin * H, H, chunk->outputs + (at->first + own.begin) * pass->stride,
                         pass->stride, own.end - own.begin, H);
    }
    if (!TYPED(drops_recurrent)(tape)) return;
    const clstm_i_range rows = {at->first + own.begin, at->first + own.end};
    TYPED(drop_recurrent)(tape, chunk->part, rows, chunk->hidden + (at->rows.begin + own.begin) * pass->h_stride,
                          pass->h_stride, TYPED(slots)(tape, tape->recurrent, chunk->part, R)
                          + (pass->plan.batch + at->slot + own.begin) * R);
}
