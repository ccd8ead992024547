/* A backward pass, typed: what its threads share while one layer goes backwards. */
#pragma once

#include "gather.h"
#include "packed_weights.h"
#include "read_cell.h"
#include "tape.h"

struct TYPED(back_pass);

/* One direction of a layer. */
typedef struct TYPED(back) {
    const struct TYPED(back_pass) *pass;
    size_t direction, part;
    clstm_i_counter *counters; /* of each thread's meetings */

    /* Of all steps, on the tape; of the chunk alone, where it is computed again. */
    real *gates;        /* (rows, 4H) in: activated; then gradients of the pre-activations */
    real *after;        /* (B, 4H) those gradients of step `last` */
    real *states;       /* (2, rows, stride) c and o tanh(c) that come with gates computed again */

    /* Of the layer. */
    const TYPED(packed) *packed, *projection; /* its weight_hh^T and weight_hr^T, or NULL; NULL: the blas engine */
    const real *peephole; /* (3H,), or NULL */
    const TYPED(packed) *forward; /* its weights for the forward pass, where gates are computed again; or NULL */
    size_t input_size;
    const real *weight_ih, *weight_hh, *weight_hr; /* (4H, I), (4H, R), (R, H) or NULL */
    const real *bias;    /* (4H,) */
    const real *x;       /* (total, I) */
    const real *h, *c;   /* (B + total, R) as the gates saw it, (B + total, H); slot 0 the initial state */
    const real *outputs; /* (rows, outputs_stride), as gates: o tanh(c) before the projection, or NULL */
    size_t outputs_stride;
    const real *h_before; /* (chunk's rows, R) h_{t-1} of each: on the tape, or in `gathered` */
    real *gathered;      /* (at_once, R), where rows end early */
    real *below;         /* (total, h_stride) gradient of h */
    const real *dh;      /* (total, dh_stride) the part of it that comes from above: `below`, or the caller's dy */
    size_t dh_stride;
    real *dc;            /* (B, H) in: gradient of the final cell state; out: of the initial one */
    real *dh0;           /* (B, R), or NULL: not wanted */
    real *dm;            /* (B, H) gradient of o tanh(c), of a step, where it is not that of h */
    real *dropped;       /* (B, R) gradient of h_{t-1} as the gates saw it, where that was dropped in part */
    real *dx;            /* gradient of x, or NULL: (total, dx_stride); or (chunk's rows, I) on its way to a port */
    size_t dx_stride;
    TYPED(port) dx_to;
    int dx_adds;         /* to what is there: of the second direction; of both, where a chunk is not all steps */
    real *d_weight_ih, *d_weight_hh, *d_weight_hr; /* (4H, I), (4H, R), (R, H) or NULL */
    real *d_bias;        /* (4H,), or NULL */
    real *d_peephole;    /* (3H,), or NULL */
} TYPED(back);

typedef struct TYPED(back_pass) {
    clstm_i_call *call;
    const clstm_tape *tape;
    const PUBLIC(gradients) *gradients;
    const TYPED(clstm_i_kernels) *kernels;
    const TYPED(clstm_i_cell) *cell; /* NULL: the plain one */
    const TYPED(pack) *pack;         /* NULL: the blas engine */
    const TYPED(pack) *forward_pack; /* NULL where the tape has the gates, and for the blas engine */
    const clstm_i_plan *plan;
    clstm_i_split split;
    int accumulate;     /* parameter gradients are added to: the caller's wish, or a later chunk */
    int direct;         /* the caller's sequences lie as packed ones */
    int between;        /* projection or recurrent dropout stand between steps */
    size_t directions, hidden_size, recurrent_size;
    size_t stride, h_stride; /* of H and R columns in the engine's own arrays: whole vectors */
    size_t at_once;     /* rows of a chunk at most, or those of one step */
    int again;          /* a chunk's gates are computed again: the tape does not have them */
    size_t first, last; /* steps of the chunk */
    char *memory;       /* of the call, with what follows and the chunks' buffers */
    real *above;        /* (total, D R) gradient of what two directions gave together, in forward order */
    real *dy;           /* (total, O) the caller's, in forward order, where that lies otherwise and is read out */
    real *x_back;       /* (total, I) x in the order of the reverse direction */
    real *dx_own;       /* (rows, I) gradient of x before it goes elsewhere */
    const real *zeros;  /* (stride,), and at least (4H,) */
    TYPED(back) backs[2];
} TYPED(back_pass);

/* Rows before the chunk, and rows in it. */
static inline size_t TYPED(origin)(const TYPED(back_pass) *pass) { return pass->plan->offsets[pass->first]; }
static inline size_t TYPED(chunk_rows)(const TYPED(back_pass) *pass) {
    return pass->plan->offsets[pass->last] - TYPED(origin)(pass);
}

/* Rows before the first of gates and outputs. */
static inline size_t TYPED(held_from)(const TYPED(back_pass) *pass) { return pass->again ? TYPED(origin)(pass) : 0; }

/* The gates of a step of the chunk, from a row on. */
static inline real *TYPED(gates_at)(const TYPED(back) *back, size_t t, size_t row) {
    const TYPED(back_pass) *pass = back->pass;
    return back->gates + (pass->plan->offsets[t] - TYPED(held_from)(pass) + row) * 4 * pass->hidden_size;
}

/* Their gradients, of a step of the chunk or the one after it. */
static inline const real *TYPED(gradients_at)(const TYPED(back) *back, size_t t, size_t row) {
    const TYPED(back_pass) *pass = back->pass;
    return t < pass->last || !pass->again ? TYPED(gates_at)(back, t, row) : back->after + row * 4 * pass->hidden_size;
}

/* Rows that are active at a step, if there is one. */
static inline size_t TYPED(active)(const TYPED(back_pass) *pass, size_t t) {
    return t < pass->plan->steps ? pass->plan->rows[t] : 0;
}

/* Step t of some rows, as the kernels take it. */
static TYPED(clstm_i_gates_backward) TYPED(gates_step)(const TYPED(back) *back, size_t t, clstm_i_range rows) {
    const TYPED(back_pass) *pass = back->pass;
    const clstm_i_plan *plan = pass->plan;
    const size_t H = pass->hidden_size, at = plan->offsets[t] + rows.begin;
    return (TYPED(clstm_i_gates_backward)){
        .rows = rows.end - rows.begin, .hidden_size = H, .gates = TYPED(gates_at)(back, t, rows.begin),
        .c_before = back->c + (clstm_i_slot_before(plan, t) + rows.begin) * H,
        .c = back->c + (plan->batch + at) * H,
        .dh = back->dm ? back->dm + rows.begin * H : back->dh + at * back->dh_stride,
        .dc = back->dc + rows.begin * H, .cell = pass->cell, .peephole = back->peephole,
    };
}

static void TYPED(gates_back)(const TYPED(back) *back, size_t t, clstm_i_range rows) {
    const TYPED(clstm_i_gates_backward) step = TYPED(gates_step)(back, t, rows);
    if (step.cell) back->pass->kernels->cell_gates_backward(&step);
    else back->pass->kernels->gates_backward(&step);
}

/* Steps whose rows of h and c before them lie together: from `first` to the one that is returned. */
static size_t TYPED(together)(const TYPED(back_pass) *pass, size_t first) {
    const clstm_i_plan *plan = pass->plan;
    size_t t = first < pass->last ? first + 1 : first;
    while (t < pass->last && clstm_i_slots_follow(plan, t)) t++;
    return t;
}

/* to += or = the product of the factors of h_{t-1} of some rows with what came through them. */
static void TYPED(through_dropout)(const TYPED(back) *back, clstm_i_range rows, real *to, size_t stride, int add) {
    const clstm_tape *tape = back->pass->tape;
    const size_t R = back->pass->recurrent_size;
    real *dropped = back->dropped + rows.begin * R;
    TYPED(drop_recurrent)(tape, back->part, rows, dropped, R, dropped);
    for (size_t row = rows.begin; row < rows.end; row++, to += stride, dropped += R) {
        if (add) TYPED(add)(to, dropped, R);
        else memcpy(to, dropped, R * sizeof(real));
    }
}
/* A backward pass's engine and memory, typed. */

/* Whether the gradient from above can be read where the caller has it: nothing need be added, and its rows are whole
   vectors. */
static int TYPED(reads_dy)(const TYPED(back_pass) *pass, size_t layer) {
    const clstm_config *config = &pass->tape->config;
    return layer + 1 == config->num_layers && pass->directions == 1 && pass->direct && !pass->between && pass->pack
           && pass->gradients->dy && !config->output_size && !pass->gradients->dhn
           && pass->h_stride == pass->recurrent_size;
}

/* Chooses the engine, and what follows from it; a cell that is not plain goes into *cell. */
static clstm_status TYPED(choose_backward)(TYPED(back_pass) *pass, TYPED(clstm_i_cell) *cell) {
    const clstm_tape *tape = pass->tape;
    const clstm_config *config = &tape->config;
    const clstm_i_isa *isa;
    int packed;
    clstm_status status = clstm_i_chosen(&isa, &packed);
    if (status) return status;
    const size_t lanes = isa->KERNELS->lanes;
    pass->call->blas = !packed;
    pass->kernels = isa->KERNELS;
    pass->cell = TYPED(read_cell)(config, pass->kernels, cell);
    pass->directions = clstm_i_directions(config);
    pass->hidden_size = pass->stride = config->hidden_size;
    pass->recurrent_size = pass->h_stride = clstm_i_recurrent_size(config);
    pass->between = config->proj_size || TYPED(drops_recurrent)(tape);
    pass->direct = tape->plan.caller.at == tape->plan.offsets && config->direction != CLSTM_REVERSE;
    if (!packed) return CLSTM_OK;
    pass->stride = clstm_i_whole_vectors(pass->stride, lanes);
    pass->h_stride = clstm_i_whole_vectors(pass->h_stride, lanes);
    pass->pack = TYPED(get_pack)(tape->model, 1, lanes, &status);
    if (!status && !tape->gates) pass->forward_pack = TYPED(get_pack)(tape->model, 0, lanes, &status);
    return status;
}

/* Rows of a chunk: enough for fast products, few enough that these find in a cache what the recurrence has left.
   Several threads copy weights and h each, for every chunk, and meet after it: of (50,128,512,512) two take 3 % less
   with four times as many rows; of H = 128 1 % more, as one thread does of any H. */
static size_t TYPED(rows_at_once)(const clstm_i_plan *plan, size_t H, size_t threads, int again) {
    const size_t bytes = (size_t)(again ? 4 : 1) << 20, shared = (size_t)16 << 20, row = 4 * H * sizeof(real);
    const size_t each = 1024, least = again ? 0 : 512;
    size_t rows = bytes / row;
    if (rows < least) rows = least;
    if (!again && threads > 1 && H > 128 && rows < shared / row)
        rows = shared / row < each * threads ? shared / row : each * threads;
    return rows < plan->batch ? plan->batch : rows < plan->total ? rows : plan->total;
}

/* The arrays of a pass, in memory that begins at an address; with 0 for it, only what they need. */
static void TYPED(place_back)(TYPED(back_pass) *pass, clstm_i_layout *layout, uintptr_t memory) {
    const clstm_tape *tape = pass->tape;
    const clstm_config *config = &tape->config;
    const size_t total = tape->plan.total, B = tape->plan.batch, D = pass->directions, H = pass->hidden_size;
    const size_t R = pass->recurrent_size, I = config->input_size, O = config->output_size, L = config->num_layers;
    const size_t widest = I > D * R && pass->gradients->dx ? I : D * R, threads = pass->call->context->team.threads;
    const int below = L > 1 || !TYPED(reads_dy)(pass, L - 1), drops = TYPED(drops_recurrent)(tape);
    const int dx_own = D > 1 || !pass->direct, dh0 = pass->gradients->dh0 || tape->own_h0;
#define PLACE(array, wanted, rows, columns) \
    array = (wanted) ? (void *)(memory + clstm_i_reserve(layout, rows, columns, sizeof *array)) : NULL
    PLACE(pass->above, D > 1 && (L > 1 || O), total, D * R);
    PLACE(pass->dy, O && !pass->direct, total, O);
    PLACE(pass->x_back, D > 1, total, I > D * R ? I : D * R);
    PLACE(pass->dx_own, dx_own, pass->at_once, widest);
    real *zeros;
    PLACE(zeros, 1, 4, pass->stride);
    pass->zeros = zeros;
    PLACE(pass->call->scratch, 1, threads ? threads : 1, CLSTM_I_GEMM_BYTES);
    for (size_t d = 0; d < D; d++) {
        TYPED(back) *back = &pass->backs[d];
        back->pass = pass;
        back->direction = d;
        PLACE(back->counters, 1, threads + 1, 1);
        PLACE(back->gathered, tape->plan.lengths != NULL, pass->at_once, R);
        PLACE(back->below, below, total, pass->h_stride);
        PLACE(back->dc, 1, B, H);
        PLACE(back->dh0, dh0, B, R);
        PLACE(back->dm, pass->between, B, H);
        PLACE(back->dropped, drops, B, R);
        PLACE(back->gates, pass->again, pass->at_once, 4 * H);
        PLACE(back->states, pass->again, 2 * pass->at_once, pass->stride);
        PLACE(back->after, pass->again, B, 4 * H);
    }
#undef PLACE
}

static clstm_status TYPED(allocate_backward)(TYPED(back_pass) *pass) {
    const clstm_tape *tape = pass->tape;
    const size_t threads = pass->call->context->team.threads;
    pass->again = !tape->gates;
    pass->at_once = TYPED(rows_at_once)(&tape->plan, pass->hidden_size, threads, pass->again);
    clstm_i_layout layout = {0, 0};
    TYPED(place_back)(pass, &layout, 0);
    clstm_status status;
    pass->memory = clstm_i_borrow(tape->model->cache, CLSTM_I_WORKSPACE, &layout, &status);
    if (status) return status;
    layout = (clstm_i_layout){0, 0};
    TYPED(place_back)(pass, &layout, (uintptr_t)pass->memory);
    memset((real *)pass->zeros, 0, 4 * pass->stride * sizeof(real));
    return CLSTM_OK;
}
