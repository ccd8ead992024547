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
