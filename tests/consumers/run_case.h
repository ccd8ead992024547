/* The typed part of run_case.c: the arrays of one case, and the calls. */

typedef struct TYPED(arrays) {
    size_t elements, xs, ys, states; /* how many numbers each holds */
    real *parameters, *x, *y, *dy, *dx, *gradients;
    real *h0, *c0, *hn, *cn, *dhn, *dcn, *dh0, *dc0;
} TYPED(arrays);

static TYPED(arrays) TYPED(read)(const job *job) {
    const clstm_config config = config_of(job);
    const size_t outputs = job->output_size ? job->output_size : job->hidden_size;
    size_t tensors;
    TYPED(arrays) a = {0};
    check(clstm_config_count(&config, &tensors, &a.elements));
    a.xs = job->steps * job->batch * job->input_size;
    a.ys = job->steps * job->batch * outputs;
    a.states = job->num_layers * job->batch * job->hidden_size;

    a.parameters = take(a.elements, sizeof(real));
    a.x = take(a.xs, sizeof(real));
    real **const states[] = {&a.h0, &a.c0}, **const made[] = {&a.hn, &a.cn, &a.dh0, &a.dc0};
    for (int k = 0; k < 2 && job->with_state; k++) *states[k] = take(a.states, sizeof(real));
    if (job->gradients) {
        a.dy = take(a.ys, sizeof(real));
        a.dhn = take(a.states, sizeof(real));
        a.dcn = take(a.states, sizeof(real));
    }
    for (int k = 0; k < 4; k++) *made[k] = room(a.states, sizeof(real));
    a.y = room(a.ys, sizeof(real));
    a.dx = room(a.xs, sizeof(real));
    a.gradients = room(a.elements, sizeof(real));
    return a;
}

static void TYPED(write)(const job *job, const TYPED(arrays) *a) {
    give(a->y, a->ys, sizeof(real));
    give(a->hn, a->states, sizeof(real));
    give(a->cn, a->states, sizeof(real));
    if (!job->gradients) return;
    give(a->dx, a->xs, sizeof(real));
    give(a->dh0, a->states, sizeof(real));
    give(a->dc0, a->states, sizeof(real));
    give(a->gradients, a->elements, sizeof(real));
}

static void TYPED(release)(TYPED(arrays) *a) {
    real *const all[] = {a->parameters, a->x, a->y, a->dy, a->dx, a->gradients, a->h0, a->c0,
                         a->hn, a->cn, a->dhn, a->dcn, a->dh0, a->dc0};
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) free(all[k]);
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

static void TYPED(run)(const job *job, host *host) {
    const clstm_config config = config_of(job);
    TYPED(arrays) arrays = TYPED(read)(job);
    clstm_model *model;
    AGAIN(host, PUBLIC(model_create)(&config, arrays.parameters, &host->context, &model));
    const size_t before = host->heap.peak = host->heap.now;
    TYPED(passes)(job, host, model, &arrays);
    clstm_model_free(model);
    const outcome outcome = {host->crew.used, host->heap.peak - before, host->refused, host->heap.now};
    give(&outcome, sizeof outcome, 1);
    TYPED(write)(job, &arrays);
    TYPED(release)(&arrays);
}
