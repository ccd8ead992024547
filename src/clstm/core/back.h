/* A backward pass, typed: what its threads share while one layer goes backwards. */

typedef struct TYPED(back) {
    clstm_i_call *call;
    const TYPED(clstm_i_kernels) *kernels;
    const TYPED(pack) *pack;         /* weight_hh^T of all layers; NULL: the blas engine */
    const TYPED(pack) *forward_pack; /* NULL where the tape has the gates, and for the blas engine */
    const clstm_i_plan *plan;
    clstm_i_split split;
    int accumulate; /* parameter gradients are added to: the caller's wish, or a later chunk */
    size_t hidden_size;
    size_t stride;             /* from one row of `below` to the next: whole vectors */
    size_t capacity;           /* rows of a chunk whose gates are computed again; 0: the tape has them */
    char *memory;              /* of the call, with what follows and the chunk's buffers */
    real *below;               /* (total, stride) gradient of h: from y, then what each layer leaves to that below */
    real *dc;                  /* (B, H) in: gradient of the final cell state; out: of the initial one */
    const real *zeros;         /* (stride,), and at least (4H,) */
    clstm_i_counter *counters; /* of each thread's meetings */

    /* Of the chunk: all steps, where the tape has the gates; else some, whose gates are computed again. */
    size_t first, last; /* steps */
    real *gates;        /* (rows, 4H) in: activated; then gradients of the pre-activations */
    real *after;        /* (B, 4H) those gradients of step `last` */
    real *states;       /* (2, rows, stride) c and h that come with gates computed again */

    /* Of the layer. */
    const TYPED(packed) *packed;  /* its weight_hh^T; NULL: the blas engine */
    const TYPED(packed) *forward; /* its weights for the forward pass, where gates are computed again; or NULL */
    size_t input_size;
    const real *weight_ih, *weight_hh; /* (4H, I), (4H, H) */
    const real *bias;                  /* (4H,) */
    const real *x;                     /* (total, I) */
    const real *h, *c;                 /* (B + total, H), slot 0 the initial state */
    const real *dh;                    /* (total, dh_stride) gradient of h from above: `below`, or the caller's dy */
    size_t dh_stride;
    real *dh0; /* (B, H), or NULL */
    real *dx;  /* (total, dx_stride), or NULL */
    size_t dx_stride;
    real *d_weight_ih, *d_weight_hh; /* (4H, I), (4H, H), or NULL */
    real *d_bias;                    /* (4H,), or NULL */
} TYPED(back);

/* Slot of the rows before step t, in h and c. */
static inline size_t TYPED(slot_before)(const clstm_i_plan *plan, size_t t) {
    return t ? plan->batch + plan->offsets[t - 1] : 0;
}

/* Rows before the chunk, and rows in it. */
static inline size_t TYPED(origin)(const TYPED(back) *back) { return back->plan->offsets[back->first]; }
static inline size_t TYPED(chunk_rows)(const TYPED(back) *back) {
    return back->plan->offsets[back->last] - TYPED(origin)(back);
}

/* The gates of a step of the chunk, from a row on. */
static inline real *TYPED(gates_at)(const TYPED(back) *back, size_t t, size_t row) {
    return back->gates + (back->plan->offsets[t] - TYPED(origin)(back) + row) * 4 * back->hidden_size;
}

/* Their gradients, of a step of the chunk or the one after it. */
static inline const real *TYPED(gradients_at)(const TYPED(back) *back, size_t t, size_t row) {
    return t < back->last ? TYPED(gates_at)(back, t, row) : back->after + row * 4 * back->hidden_size;
}

/* Rows that are active at a step, if there is one. */
static inline size_t TYPED(active)(const TYPED(back) *back, size_t t) {
    return t < back->plan->steps ? back->plan->rows[t] : 0;
}

/* Step t of some rows, as the kernels take it. */
static TYPED(clstm_i_gates_backward) TYPED(gates_step)(const TYPED(back) *back, size_t t, clstm_i_range rows) {
    const clstm_i_plan *plan = back->plan;
    const size_t H = back->hidden_size, at = plan->offsets[t] + rows.begin;
    return (TYPED(clstm_i_gates_backward)){
        .rows = rows.end - rows.begin, .hidden_size = H, .gates = TYPED(gates_at)(back, t, rows.begin),
        .c_before = back->c + (TYPED(slot_before)(plan, t) + rows.begin) * H,
        .c = back->c + (plan->batch + at) * H,
        .dh = back->dh + at * back->dh_stride, .dc = back->dc + rows.begin * H,
    };
}

/* Steps whose rows of h and c before them lie together: from `first` to the one that is returned. */
static size_t TYPED(together)(const TYPED(back) *back, size_t first) {
    const clstm_i_plan *plan = back->plan;
    size_t t = first < back->last ? first + 1 : first;
    while (t < back->last && TYPED(slot_before)(plan, t) == TYPED(slot_before)(plan, t - 1) + plan->rows[t - 1]) t++;
    return t;
}
