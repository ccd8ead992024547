/* Optimiser steps and clipping, typed: each one pass over flat arrays, shared by a team. */

/* A slice of n elements for one thread, in whole cache lines. */
static clstm_i_range TYPED(elements)(size_t n, size_t index, size_t count) {
    return clstm_i_slice(n, 64 / sizeof(real), index, count);
}

/* How many threads a pass is worth that moves so many numbers for each element. */
static size_t TYPED(pass_threads)(const clstm_i_call *call, size_t n, double numbers) {
    return clstm_i_wanted(call, numbers * (double)n, SIZE_MAX);
}

static clstm_status TYPED(check_step)(const clstm_model *model, const void *settings, const void *gradients,
                                      const void *state) {
    if (!model || !settings || !gradients || !state) return CLSTM_INVALID_ARGUMENT;
    return model->is_f64 == REAL_IS_F64 ? CLSTM_OK : CLSTM_WRONG_DTYPE;
}

/* ---- Adam ---- */

typedef struct TYPED(adam_task) {
    const TYPED(clstm_i_kernels) *kernels;
    TYPED(clstm_i_adam) step;
    size_t n;
} TYPED(adam_task);

static void TYPED(run_adam)(void *argument, size_t index, size_t count) {
    const TYPED(adam_task) *task = argument;
    const clstm_i_range own = TYPED(elements)(task->n, index, count);
    TYPED(clstm_i_adam) step = task->step;
    step.p += own.begin;
    step.g += own.begin;
    step.m += own.begin;
    step.v += own.begin;
    task->kernels->adam(&step, own.end - own.begin);
}

/* base^n, without libm's pow: as exact as n roundings. */
static double TYPED(power)(double base, size_t n) {
    double result = 1;
    for (; n; n /= 2, base *= base)
        if (n % 2) result *= base;
    return result;
}

clstm_status PUBLIC(adam_step)(clstm_model *model, const clstm_adam *adam, const real *gradients, real *m, real *v,
                               const clstm_context *given) {
    clstm_context context;
    clstm_status status = TYPED(check_step)(model, adam, gradients, m);
    if (!status && (!v || adam->size != sizeof *adam || !adam->step)) status = CLSTM_INVALID_ARGUMENT;
    if (!status) status = clstm_i_context(given, &context);
    const clstm_i_isa *isa = clstm_i_dispatch();
    if (!status && !isa) status = CLSTM_UNKNOWN_ISA;
    if (status) return status;

    const double correct1 = 1 - TYPED(power)(adam->beta1, adam->step);
    const double correct2 = 1 - TYPED(power)(adam->beta2, adam->step);
    TYPED(adam_task) task = {isa->KERNELS, {
        .p = model->parameters, .g = gradients, .m = m, .v = v,
        .toward1 = (real)(1 - adam->beta1), .toward2 = (real)(1 - adam->beta2),
        .rate = (real)(adam->lr / correct1), .divisor = (real)__builtin_sqrt(correct2), .eps = (real)adam->eps,
    }, model->elements};
    const clstm_i_call call = {.context = &context};
    clstm_i_run(&call, TYPED(pass_threads)(&call, task.n, 7), TYPED(run_adam), &task);
    clstm_i_new_version(model);
    return CLSTM_OK;
}

/* ---- Gradient descent ---- */

typedef struct TYPED(sgd_task) {
    const TYPED(clstm_i_kernels) *kernels;
    TYPED(clstm_i_sgd) step;
    size_t n;
} TYPED(sgd_task);

static void TYPED(run_sgd)(void *argument, size_t index, size_t count) {
    const TYPED(sgd_task) *task = argument;
    const clstm_i_range own = TYPED(elements)(task->n, index, count);
    TYPED(clstm_i_sgd) step = task->step;
    step.p += own.begin;
    step.g += own.begin;
    step.velocity += own.begin;
    task->kernels->sgd(&step, own.end - own.begin);
}

clstm_status PUBLIC(sgd_step)(clstm_model *model, const clstm_sgd *sgd, const real *gradients, real *velocity,
                              const clstm_context *given) {
    clstm_context context;
    clstm_status status = TYPED(check_step)(model, sgd, gradients, velocity);
    if (!status && sgd->size != sizeof *sgd) status = CLSTM_INVALID_ARGUMENT;
    if (!status) status = clstm_i_context(given, &context);
    const clstm_i_isa *isa = clstm_i_dispatch();
    if (!status && !isa) status = CLSTM_UNKNOWN_ISA;
    if (status) return status;

    TYPED(sgd_task) task = {isa->KERNELS, {
        .p = model->parameters, .g = gradients, .velocity = velocity,
        .rate = (real)sgd->lr, .momentum = (real)sgd->momentum,
    }, model->elements};
    const clstm_i_call call = {.context = &context};
    clstm_i_run(&call, TYPED(pass_threads)(&call, task.n, 5), TYPED(run_sgd), &task);
    clstm_i_new_version(model);
    return CLSTM_OK;
}

/* ---- Clipping ---- */

/* What one thread adds up, on a cache line of its own. */
typedef struct TYPED(partial_sum) {
    double squares;
    char unused[64 - sizeof(double)];
} TYPED(partial_sum);

typedef struct TYPED(clip_task) {
    const TYPED(clstm_i_kernels) *kernels;
    size_t n;
    real *a;
    real factor;
    TYPED(partial_sum) *sums; /* of each thread */
} TYPED(clip_task);

static void TYPED(run_squares)(void *argument, size_t index, size_t count) {
    const TYPED(clip_task) *task = argument;
    const clstm_i_range own = TYPED(elements)(task->n, index, count);
    task->sums[index].squares = task->kernels->sum_squares(own.end - own.begin, task->a + own.begin);
}

static void TYPED(run_scale)(void *argument, size_t index, size_t count) {
    const TYPED(clip_task) *task = argument;
    const clstm_i_range own = TYPED(elements)(task->n, index, count);
    task->kernels->scale(own.end - own.begin, task->a + own.begin, task->factor);
}

clstm_status PUBLIC(clip_global_norm)(size_t n, real *gradients, double max_norm, double *norm,
                                      const clstm_context *given) {
    enum { MOST = 64 }; /* threads: memory is no faster for more */
    TYPED(partial_sum) sums[MOST] = {{0, {0}}};
    clstm_context context;
    if ((n && !gradients) || !norm || !(max_norm > 0)) return CLSTM_INVALID_ARGUMENT;
    clstm_status status = clstm_i_context(given, &context);
    const clstm_i_isa *isa = clstm_i_dispatch();
    if (!status && !isa) status = CLSTM_UNKNOWN_ISA;
    if (status) return status;

    const clstm_i_call call = {.context = &context};
    const size_t wanted = TYPED(pass_threads)(&call, n, 2), threads = wanted < MOST ? wanted : MOST;
    TYPED(clip_task) task = {isa->KERNELS, n, gradients, 1, sums};
    clstm_i_run(&call, threads, TYPED(run_squares), &task);
    double squares = 0;
    for (size_t k = 0; k < MOST; k++) squares += sums[k].squares;
    *norm = __builtin_sqrt(squares);
    if (!(*norm > max_norm) || !(*norm < __builtin_inf())) return CLSTM_OK;
    task.factor = (real)(max_norm / *norm);
    clstm_i_run(&call, threads, TYPED(run_scale), &task);
    return CLSTM_OK;
}
