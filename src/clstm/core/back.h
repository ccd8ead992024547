/* A backward pass, typed: what its threads share while one layer goes backwards. */

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
