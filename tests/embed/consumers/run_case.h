/* The typed code of run_case.c: the arrays of a case, and the calls. */

typedef struct TYPED(arrays) {
    size_t elements, xs, ys, hs, cs; /* elements of each */
    real *x, *y, *dy, *dx, *gradients, *dropout, *recurrent_dropout;
    real *h0, *c0, *hn, *cn, *dhn, *dcn, *dh0, *dc0;
    size_t *lengths;
} TYPED(arrays);

static TYPED(arrays) TYPED(read)(const job *job, const clstm_config *config) {
    const size_t directions = config->direction == CLSTM_BIDIRECTIONAL ? 2 : 1, rows = job->steps * job->batch;
    const size_t width = directions * (config->proj_size ? config->proj_size : config->hidden_size);
    size_t tensors;
    TYPED(arrays) a = {0};
    check(clstm_config_count(config, &tensors, &a.elements));
    a.xs = rows * config->input_size;
    a.ys = rows * (config->output_size ? config->output_size : width);
    a.hs = config->num_layers * job->batch * width;
    a.cs = config->num_layers * job->batch * directions * config->hidden_size;

    a.x = take(a.xs, sizeof(real));
    if (job->with_state) {
        a.h0 = take(a.hs, sizeof(real));
        a.c0 = take(a.cs, sizeof(real));
    }
    if (job->with_lengths) {
        uint64_t *lengths = take(job->batch, sizeof *lengths);
        a.lengths = room(job->batch, sizeof *a.lengths);
        for (size_t b = 0; b < job->batch; b++) a.lengths[b] = lengths[b];
        free(lengths);
    }
    if (job->gradients) {
        a.dy = take(a.ys, sizeof(real));
        a.dhn = take(a.hs, sizeof(real));
        a.dcn = take(a.cs, sizeof(real));
    }
    if (job->dropout & 1) a.dropout = take((config->num_layers - 1) * rows * width, sizeof(real));
    if (job->dropout & 2) a.recurrent_dropout = take(a.hs, sizeof(real));
    real **const hs[] = {&a.hn, &a.dh0}, **const cs[] = {&a.cn, &a.dc0};
    for (int k = 0; k < 2; k++) {
        *hs[k] = room(a.hs, sizeof(real));
        *cs[k] = room(a.cs, sizeof(real));
    }
    a.y = room(a.ys, sizeof(real));
    a.dx = room(a.xs, sizeof(real));
    a.gradients = room(a.elements, sizeof(real));
    return a;
}

static void TYPED(write)(const job *job, const TYPED(arrays) *a) {
    give(a->y, a->ys, sizeof(real));
    give(a->hn, a->hs, sizeof(real));
    give(a->cn, a->cs, sizeof(real));
    if (!job->gradients) return;
    give(a->dx, a->xs, sizeof(real));
    give(a->dh0, a->hs, sizeof(real));
    give(a->dc0, a->cs, sizeof(real));
    give(a->gradients, a->elements, sizeof(real));
}

static void TYPED(release)(TYPED(arrays) *a) {
    real *const all[] = {a->x, a->y, a->dy, a->dx, a->gradients, a->h0, a->c0,
                         a->hn, a->cn, a->dhn, a->dcn, a->dh0, a->dc0, a->dropout, a->recurrent_dropout};
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) free(all[k]);
    free(a->lengths);
}

static void TYPED(passes)(const job *job, host *host, const clstm_model *model, const TYPED(arrays) *a) {
    PUBLIC(sequence) sequence = SEQUENCE_INIT;
    sequence.steps = job->steps;
    sequence.batch = job->batch;
    sequence.x = a->x;
    sequence.h0 = a->h0;
    sequence.c0 = a->c0;
    sequence.y = a->y;
    sequence.hn = a->hn;
    sequence.cn = a->cn;
    sequence.lengths = a->lengths;
    sequence.dropout = a->dropout;
    sequence.recurrent_dropout = a->recurrent_dropout;
    sequence.keep = job->gradients == 2 ? CLSTM_KEEP_STATES : CLSTM_KEEP_GATES;
    if (!job->gradients) {
        AGAIN(host, PUBLIC(forward)(model, &sequence, &host->context));
        return;
    }
    clstm_tape *tape;
    PUBLIC(gradients) gradients = GRADIENTS_INIT;
    gradients.dy = a->dy;
    gradients.dhn = a->dhn;
    gradients.dcn = a->dcn;
    gradients.dx = a->dx;
    gradients.dh0 = a->dh0;
    gradients.dc0 = a->dc0;
    gradients.parameters = a->gradients;
    AGAIN(host, PUBLIC(record)(model, &sequence, &host->context, &tape));
    AGAIN(host, PUBLIC(backward)(tape, &gradients, &host->context));
    clstm_tape_free(tape);
}

/* Frees the model. */
static void TYPED(run)(const job *job, host *host, clstm_model *model) {
    TYPED(arrays) arrays = TYPED(read)(job, clstm_model_config(model));
    const size_t before = host->heap.peak = host->heap.now;
    TYPED(passes)(job, host, model, &arrays);
    clstm_model_free(model);
    const outcome outcome = {host->crew.used, host->heap.peak - before, host->refused, host->heap.now};
    give(&outcome, sizeof outcome, 1);
    TYPED(write)(job, &arrays);
    TYPED(release)(&arrays);
}
