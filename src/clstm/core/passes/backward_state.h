/* The state of a backward pass, typed: what its threads share while one layer goes backward, and its memory. */
#pragma once

#include "gather.h"
#include "packed_weights.h"
#include "tape.h"

struct TYPED(backward_pass);

/* The gradients of one direction of a layer. */
typedef struct TYPED(layer_grad) {
    const struct TYPED(backward_pass) *pass;
    size_t direction, part;
    clstm_i_counter *counters; /* barriers of its threads */

    /* All steps, on the tape; or the chunk alone, where its gates are recomputed. */
    real *gates;  /* (rows, 4H) in: activated; then gradients of the pre-activations */
    real *after;  /* (B, 4H) those gradients at step `last` */
    real *states; /* (2, rows, c_stride) c and o tanh(c) that come with recomputed gates */

    /* The layer: its tensors and recorded arrays. */
    const TYPED(packed) *packed, *projection; /* weight_hh^T, and weight_hr^T or NULL; NULL: the blas engine */
    const TYPED(packed) *forward; /* the weights of the forward pass, where gates are recomputed; or NULL */
    const real *peephole;         /* (3H,), or NULL */
    size_t input_size;
    const real *weight_ih, *weight_hh, *weight_hr; /* (4H, I), (4H, R), (R, H) or NULL */
    real *bias;           /* (4H,), for the blas engine where gates are recomputed; or NULL */
    const real *x;        /* (total, I) */
    const real *h, *c;    /* (B + total, R) as the gates saw it, (B + total, H); slot 0 is the initial state */
    const real *outputs;  /* (rows, outputs_stride), like gates: o tanh(c) before the projection, or NULL */
    size_t outputs_stride;
    const real *h_before; /* (chunk's rows, R) h_{t-1} of each row: on the tape, or in `gathered` */
    real *gathered;       /* (capacity, R), where rows end early */

    /* The gradients. */
    real *below;       /* (total, h_stride) gradient of h */
    const real *dh;    /* (total, dh_stride) its term from above: `below`, or the caller's dy */
    size_t dh_stride;
    real *dc;          /* (B, H) in: gradient of the final cell state; out: of the initial one */
    real *dh0;         /* (B, R), or NULL: not wanted */
    real *dm;          /* (B, H) gradient of o tanh(c) at a step, where that is not h */
    real *dropped;     /* (B, R) gradient of h_{t-1} after recurrent dropout */
    real *dx;          /* gradient of x, or NULL: (total, dx_stride); or (chunk's rows, I), scattered to dx_view */
    size_t dx_stride;
    TYPED(row_view) dx_view;
    int dx_adds;       /* dx is added to: for the second direction; for both, where a chunk is not all steps */
    real *d_weights;   /* the flat gradients of all parameters, or NULL: not wanted */
    clstm_i_offsets at; /* of the part's tensors in them */
} TYPED(layer_grad);

typedef struct TYPED(backward_pass) {
    clstm_i_call *call;
    const clstm_tape *tape;
    const PUBLIC(gradients) *gradients;
    const TYPED(clstm_i_kernels) *kernels;
    const TYPED(clstm_i_cell) *cell; /* NULL: the plain cell */
    const TYPED(pack) *pack;         /* NULL: the blas engine */
    const TYPED(pack) *forward_pack; /* NULL where the tape has the gates, and for the blas engine */
    const clstm_i_plan *plan;
    clstm_i_schedule schedule; /* of the chunk */
    int accumulate;     /* parameter gradients are added to: by the caller's wish, or for a later chunk */
    int direct;         /* the caller's sequences have the rows packed, in order */
    int between_steps;  /* projection or recurrent dropout follow each step */
    int recompute;      /* the tape has no gates: those of a chunk are recomputed */
    size_t directions, hidden_size, recurrent_size;
    size_t c_stride, h_stride; /* H and R in whole vectors, in the packed engine */
    size_t capacity;    /* rows of the longest chunk */
    size_t first, last; /* steps of the chunk */
    char *memory;       /* all arrays below, and those of `grads` */
    real *above;        /* (total, D R) gradient of both directions' joint output, in forward order */
    real *dy;           /* (total, O) the caller's, gathered in forward order for the readout */
    real *x_reversed;   /* (total, I) x in the order of the reverse direction */
    real *dx_own;       /* (rows, I) gradient of x before it is scattered */
    real *zeros;        /* (c_stride,) */
    TYPED(layer_grad) grads[2]; /* of each direction */
} TYPED(backward_pass);

/* ---- Steps and chunks ---- */

/* Rows before the chunk, and rows in it. */
static inline size_t TYPED(origin)(const TYPED(backward_pass) *pass) { return pass->plan->offsets[pass->first]; }
static inline size_t TYPED(chunk_rows)(const TYPED(backward_pass) *pass) {
    return pass->plan->offsets[pass->last] - TYPED(origin)(pass);
}

/* Rows before the first row of `gates` and `outputs`. */
static inline size_t TYPED(gates_origin)(const TYPED(backward_pass) *pass) {
    return pass->recompute ? TYPED(origin)(pass) : 0;
}

/* The gates of a step of the chunk, from a row on. */
static inline real *TYPED(gates_at)(const TYPED(layer_grad) *grad, size_t t, size_t row) {
    const TYPED(backward_pass) *pass = grad->pass;
    clstm_i_assert(pass->plan->offsets[t] >= TYPED(gates_origin)(pass));
    return grad->gates + (pass->plan->offsets[t] - TYPED(gates_origin)(pass) + row) * 4 * pass->hidden_size;
}

/* Their gradients, at a step of the chunk or the one after it. */
static inline const real *TYPED(gradients_at)(const TYPED(layer_grad) *grad, size_t t, size_t row) {
    const TYPED(backward_pass) *pass = grad->pass;
    if (t < pass->last || !pass->recompute) return TYPED(gates_at)(grad, t, row);
    return grad->after + row * 4 * pass->hidden_size;
}

/* Rows that are active at a step; none after the last. */
static inline size_t TYPED(active)(const TYPED(backward_pass) *pass, size_t t) {
    return t < pass->plan->steps ? pass->plan->rows[t] : 0;
}

/* The first step after `first` whose rows of h and c are not contiguous with those of the step before; at most the end
   of the chunk. */
static size_t TYPED(contiguous_until)(const TYPED(backward_pass) *pass, size_t first) {
    const clstm_i_plan *plan = pass->plan;
    size_t t = first < pass->last ? first + 1 : first;
    while (t < pass->last && clstm_i_slots_follow(plan, t)) t++;
    return t;
}

/* Step t of some rows, as the kernels take it. */
static TYPED(clstm_i_gates_backward) TYPED(gates_step)(const TYPED(layer_grad) *grad, size_t t, clstm_i_range rows) {
    const TYPED(backward_pass) *pass = grad->pass;
    const clstm_i_plan *plan = pass->plan;
    const size_t H = pass->hidden_size, at = plan->offsets[t] + rows.begin;
    clstm_i_assert(rows.begin <= rows.end && rows.end <= plan->rows[t]);
    return (TYPED(clstm_i_gates_backward)){
        .rows = clstm_i_count(rows), .hidden_size = H, .gates = TYPED(gates_at)(grad, t, rows.begin),
        .c_before = grad->c + (clstm_i_slot_before(plan, t) + rows.begin) * H,
        .c = grad->c + (plan->batch + at) * H,
        .dh = grad->dm ? grad->dm + rows.begin * H : grad->dh + at * grad->dh_stride,
        .dc = grad->dc + rows.begin * H, .cell = pass->cell, .peephole = grad->peephole,
    };
}

static void TYPED(gates_backward_step)(const TYPED(layer_grad) *grad, size_t t, clstm_i_range rows) {
    const TYPED(clstm_i_gates_backward) step = TYPED(gates_step)(grad, t, rows);
    if (step.cell) grad->pass->kernels->cell_gates_backward(&step);
    else grad->pass->kernels->gates_backward(&step);
}

/* Backward through recurrent dropout: writes or adds to `to` the gradient of h_{t-1} from that after dropout. */
static void TYPED(through_dropout)(const TYPED(layer_grad) *grad, clstm_i_range rows, real *to, size_t stride,
                                   int add) {
    const clstm_tape *tape = grad->pass->tape;
    const size_t R = grad->pass->recurrent_size;
    real *dropped = grad->dropped + rows.begin * R;
    TYPED(drop_recurrent)(tape, grad->part, rows, dropped, R, dropped);
    for (size_t row = rows.begin; row < rows.end; row++, to += stride, dropped += R) {
        if (add) TYPED(add)(to, dropped, R);
        else memcpy(to, dropped, R * sizeof(real));
    }
}

/* ---- Engine and memory ---- */

/* Whether the gradient from above is read where the caller has it: nothing is added to it, and its rows are whole
   vectors. */
static int TYPED(reads_dy)(const TYPED(backward_pass) *pass, size_t layer) {
    const clstm_config *config = &pass->tape->config;
    return layer + 1 == config->num_layers && pass->directions == 1 && pass->direct && !pass->between_steps
           && pass->pack && pass->gradients->dy && !config->output_size && !pass->gradients->dhn
           && pass->h_stride == pass->recurrent_size;
}

/* Chooses the engine and all that depends on it; a cell that is not plain goes into *cell. */
static clstm_status TYPED(choose_backward)(TYPED(backward_pass) *pass, TYPED(clstm_i_cell) *cell) {
    const clstm_tape *tape = pass->tape;
    const clstm_config *config = &tape->config;
    const clstm_i_isa *isa;
    int packed;
    clstm_status status = clstm_i_chosen(pass->call->context, &isa, &packed);
    if (status) return status;
    const size_t lanes = isa->KERNELS->lanes;
    pass->call->blas = !packed;
    pass->kernels = isa->KERNELS;
    pass->cell = TYPED(read_cell)(config, pass->kernels, cell);
    pass->directions = clstm_i_directions(config);
    pass->hidden_size = pass->c_stride = config->hidden_size;
    pass->recurrent_size = pass->h_stride = clstm_i_recurrent_size(config);
    pass->between_steps = config->proj_size || TYPED(drops_recurrent)(tape);
    pass->recompute = !tape->gates;
    pass->direct = tape->plan.caller.at == tape->plan.offsets && config->direction != CLSTM_REVERSE;
    if (!packed) return CLSTM_OK;
    pass->c_stride = clstm_i_whole_vectors(pass->c_stride, lanes);
    pass->h_stride = clstm_i_whole_vectors(pass->h_stride, lanes);
    pass->pack = TYPED(get_pack)(tape->model, CLSTM_I_BACKWARD, lanes, &status);
    if (!status && pass->recompute)
        pass->forward_pack = TYPED(get_pack)(tape->model, CLSTM_I_FORWARD, lanes, &status);
    return status;
}

/* Rows of the longest chunk: enough for fast products, and few enough that the gate gradients are still in a cache
   (TUNE_BACKWARD_CHUNK_BYTES and below it). */
static size_t TYPED(chunk_capacity_backward)(const clstm_i_plan *plan, size_t H, size_t threads, int recompute) {
    const size_t row = 4 * H * sizeof(real), shared = TUNE_BACKWARD_SHARED_BYTES / row;
    size_t rows = (recompute ? TUNE_RECOMPUTED_CHUNK_BYTES : TUNE_BACKWARD_CHUNK_BYTES) / row;
    if (!recompute) {
        rows = clstm_i_max(rows, TUNE_BACKWARD_LEAST_ROWS);
        if (threads > 1 && H > TUNE_BACKWARD_SHARED_HIDDEN && rows < shared)
            rows = clstm_i_min(shared, TUNE_BACKWARD_SHARED_ROWS * threads);
    }
    return rows < plan->batch ? plan->batch : clstm_i_min(rows, plan->total);
}

/* Places the arrays of a pass from an address on; with 0 for the address, only measures them. */
static void TYPED(place_backward)(TYPED(backward_pass) *pass, clstm_i_layout *layout, uintptr_t memory) {
    const clstm_tape *tape = pass->tape;
    const clstm_config *config = &tape->config;
    const size_t total = tape->plan.total, B = tape->plan.batch, D = pass->directions, H = pass->hidden_size;
    const size_t R = pass->recurrent_size, I = config->input_size, O = config->output_size, L = config->num_layers;
    const size_t widest = pass->gradients->dx ? clstm_i_max(I, D * R) : D * R;
    const size_t threads = clstm_i_max(pass->call->context->team.threads, 1);
    const int below = L > 1 || !TYPED(reads_dy)(pass, L - 1), drops = TYPED(drops_recurrent)(tape);
    const int dx_own = D > 1 || !pass->direct, dh0 = pass->gradients->dh0 || tape->own_h0;
#define PLACE(array, wanted, rows, columns) \
    array = (wanted) ? (void *)(memory + clstm_i_reserve(layout, rows, columns, sizeof *array)) : NULL
    PLACE(pass->above, D > 1 && (L > 1 || O), total, D * R);
    PLACE(pass->dy, O && !pass->direct, total, O);
    PLACE(pass->x_reversed, D > 1, total, clstm_i_max(I, D * R));
    PLACE(pass->dx_own, dx_own, pass->capacity, widest);
    PLACE(pass->zeros, 1, 1, clstm_i_max(pass->c_stride, pass->h_stride));
    PLACE(pass->call->scratch, 1, threads, CLSTM_I_GEMM_BYTES);
    for (size_t d = 0; d < D; d++) {
        TYPED(layer_grad) *grad = &pass->grads[d];
        grad->pass = pass;
        grad->direction = d;
        PLACE(grad->counters, 1, threads + 1, 1);
        PLACE(grad->gathered, tape->plan.lengths != NULL, pass->capacity, R);
        PLACE(grad->below, below, total, pass->h_stride);
        PLACE(grad->dc, 1, B, H);
        PLACE(grad->dh0, dh0, B, R);
        PLACE(grad->dm, pass->between_steps, B, H);
        PLACE(grad->dropped, drops, B, R);
        PLACE(grad->bias, pass->recompute && !pass->pack, 4, H);
        PLACE(grad->gates, pass->recompute, pass->capacity, 4 * H);
        PLACE(grad->states, pass->recompute, 2 * pass->capacity, pass->c_stride);
        PLACE(grad->after, pass->recompute, B, 4 * H);
    }
#undef PLACE
}

static clstm_status TYPED(allocate_backward)(TYPED(backward_pass) *pass) {
    const clstm_tape *tape = pass->tape;
    const size_t threads = pass->call->context->team.threads;
    pass->capacity = TYPED(chunk_capacity_backward)(&tape->plan, pass->hidden_size, threads, pass->recompute);
    clstm_i_layout layout = {0, 0};
    TYPED(place_backward)(pass, &layout, 0);
    clstm_status status;
    pass->memory = clstm_i_borrow(tape->model->cache, CLSTM_I_WORKSPACE, &layout, &status);
    if (status) return status;
    layout = (clstm_i_layout){0, 0};
    TYPED(place_backward)(pass, &layout, (uintptr_t)pass->memory);
    memset(pass->zeros, 0, pass->c_stride * sizeof(real));
    return CLSTM_OK;
}
