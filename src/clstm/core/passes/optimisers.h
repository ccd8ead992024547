/* Optimiser steps and clipping, typed: each one pass over flat arrays, shared by a team. */
#pragma once

#include "common.h"

/* One thread's share of n elements, in whole cache lines. */
static clstm_i_range TYPED(elements)(size_t n, size_t index, size_t count) {
    return clstm_i_share(n, 64 / sizeof(real), index, count);
}

/* Threads for a pass that moves this many numbers for each element. */
static size_t TYPED(pass_threads)(const clstm_i_call *call, size_t n, double numbers) {
    return clstm_i_threads_for(call, numbers * (double)n, SIZE_MAX);
}

/* ---- Steps ---- */

/* A step of one optimiser; the other is NULL. */
typedef struct TYPED(step_task) {
    const TYPED(clstm_i_kernels) *kernels;
    size_t n;
    const TYPED(clstm_i_adam) *adam;
    const TYPED(clstm_i_sgd) *sgd;
} TYPED(step_task);

static void TYPED(run_step)(void *argument, size_t index, size_t count) {
    const TYPED(step_task) *task = argument;
    const clstm_i_range own = TYPED(elements)(task->n, index, count);
    if (task->adam) task->kernels->adam(task->adam, own.begin, own.end);
    else task->kernels->sgd(task->sgd, own.begin, own.end);
}

static clstm_status TYPED(update)(size_t n, const TYPED(clstm_i_adam) *adam, const TYPED(clstm_i_sgd) *sgd,
                                  const clstm_context *given) {
    clstm_context context;
    const clstm_status status = clstm_i_context(given, &context);
    const clstm_i_isa *isa = clstm_i_dispatch();
    if (status || !isa) return status ? status : CLSTM_UNKNOWN_ISA;

    TYPED(step_task) task = {isa->KERNELS, n, adam, sgd};
    clstm_i_call call = {.context = &context};
    clstm_i_assert(!adam != !sgd);
    clstm_i_run(&call, TYPED(pass_threads)(&call, n, adam ? 7 : 5), TYPED(run_step), &task);
    return CLSTM_OK;
}

/* base^n without libm's pow, as accurate as n multiplications. */
static double TYPED(power)(double base, size_t n) {
    double result = 1;
    for (; n; n /= 2, base *= base)
        if (n % 2) result *= base;
    return result;
}

clstm_status PUBLIC(adam_update)(size_t n, const clstm_adam *adam, real *parameters, const real *gradients, real *m,
                                 real *v, const clstm_context *context) {
    if (!adam || (n && (!parameters || !gradients || !m || !v))) return CLSTM_INVALID_ARGUMENT;
    if (adam->size != sizeof *adam || !adam->step) return CLSTM_INVALID_ARGUMENT;
    const double correct1 = 1 - TYPED(power)(adam->beta1, adam->step);
    const double correct2 = 1 - TYPED(power)(adam->beta2, adam->step);
    const TYPED(clstm_i_adam) step = {
        .p = parameters, .g = gradients, .m = m, .v = v,
        .toward1 = (real)(1 - adam->beta1), .toward2 = (real)(1 - adam->beta2),
        .rate = (real)(adam->lr / correct1), .divisor = (real)__builtin_sqrt(correct2), .eps = (real)adam->eps,
        .keep = (real)(1 - adam->lr * adam->weight_decay),
    };
    return TYPED(update)(n, &step, NULL, context);
}

clstm_status PUBLIC(sgd_update)(size_t n, const clstm_sgd *sgd, real *parameters, const real *gradients,
                                real *velocity, const clstm_context *context) {
    if (!sgd || (n && (!parameters || !gradients || !velocity))) return CLSTM_INVALID_ARGUMENT;
    if (sgd->size != sizeof *sgd) return CLSTM_INVALID_ARGUMENT;
    const TYPED(clstm_i_sgd) step = {
        .p = parameters, .g = gradients, .velocity = velocity, .rate = (real)sgd->lr,
        .momentum = (real)sgd->momentum, .keep = (real)(1 - sgd->lr * sgd->weight_decay),
    };
    return TYPED(update)(n, NULL, &step, context);
}

clstm_status PUBLIC(adam_step)(clstm_model *model, const clstm_adam *adam, const real *gradients, real *m, real *v,
                               const clstm_context *context) {
    if (!model) return CLSTM_INVALID_ARGUMENT;
    if (model->is_f64 != REAL_IS_F64) return CLSTM_WRONG_DTYPE;
    const clstm_status status =
        PUBLIC(adam_update)(model->elements, adam, model->parameters, gradients, m, v, context);
    if (!status) clstm_i_new_version(model);
    return status;
}

clstm_status PUBLIC(sgd_step)(clstm_model *model, const clstm_sgd *sgd, const real *gradients, real *velocity,
                              const clstm_context *context) {
    if (!model) return CLSTM_INVALID_ARGUMENT;
    if (model->is_f64 != REAL_IS_F64) return CLSTM_WRONG_DTYPE;
    const clstm_status status =
        PUBLIC(sgd_update)(model->elements, sgd, model->parameters, gradients, velocity, context);
    if (!status) clstm_i_new_version(model);
    return status;
}

/* ---- Clipping ---- */

enum { TYPED(PIECES) = 64 }; /* of the array, whatever the threads: the norm does not depend on their number */

/* The sum of a piece, on a cache line of its own. */
typedef struct TYPED(partial_sum) {
    double squares;
    char unused[64 - sizeof(double)];
} TYPED(partial_sum);

typedef struct TYPED(clip_task) {
    const TYPED(clstm_i_kernels) *kernels;
    size_t n;
    real *a;
    real factor;
    TYPED(partial_sum) *sums; /* (PIECES,) */
} TYPED(clip_task);

static void TYPED(run_squares)(void *argument, size_t index, size_t count) {
    const TYPED(clip_task) *task = argument;
    const clstm_i_range own = clstm_i_share(TYPED(PIECES), 1, index, count);
    for (size_t piece = own.begin; piece < own.end; piece++) {
        const clstm_i_range at = TYPED(elements)(task->n, piece, TYPED(PIECES));
        task->sums[piece].squares = task->kernels->sum_squares(at.end - at.begin, task->a + at.begin);
    }
}

static void TYPED(run_scale)(void *argument, size_t index, size_t count) {
    const TYPED(clip_task) *task = argument;
    const clstm_i_range own = TYPED(elements)(task->n, index, count);
    task->kernels->scale(own.end - own.begin, task->a + own.begin, task->factor);
}

clstm_status PUBLIC(clip_global_norm)(size_t n, real *gradients, double max_norm, double *norm,
                                      const clstm_context *given) {
    TYPED(partial_sum) sums[TYPED(PIECES)];
    clstm_context context;
    if ((n && !gradients) || !norm || !(max_norm > 0)) return CLSTM_INVALID_ARGUMENT;
    clstm_status status = clstm_i_context(given, &context);
    const clstm_i_isa *isa = clstm_i_dispatch();
    if (!status && !isa) status = CLSTM_UNKNOWN_ISA;
    if (status) return status;

    clstm_i_call call = {.context = &context};
    const size_t threads = clstm_i_min(TYPED(pass_threads)(&call, n, 2), TYPED(PIECES));
    TYPED(clip_task) task = {isa->KERNELS, n, gradients, 1, sums};
    clstm_i_run(&call, threads, TYPED(run_squares), &task);
    double squares = 0;
    for (size_t k = 0; k < TYPED(PIECES); k++) squares += sums[k].squares;
    *norm = __builtin_sqrt(squares);
    if (!(*norm > max_norm) || !(*norm < __builtin_inf())) return CLSTM_OK;
    task.factor = (real)(max_norm / *norm);
    clstm_i_run(&call, threads, TYPED(run_scale), &task);
    return CLSTM_OK;
}
