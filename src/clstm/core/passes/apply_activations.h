/* The activations as functions of arrays, typed. */
#pragma once

#include "common.h"

typedef struct TYPED(map) {
    void (*function)(size_t n, const real *x, real *y);
    size_t n;
    const real *x;
    real *y;
} TYPED(map);

static void TYPED(map_all)(void *argument, size_t index, size_t count) {
    const TYPED(map) *map = argument;
    (void)index;
    (void)count;
    map->function(map->n, map->x, map->y);
}

/* Runs through clstm_i_run for its floating-point environment, so that results are those of a model. */
static clstm_status TYPED(run_map)(TYPED(map) map) {
    if (map.n && (!map.x || !map.y)) return CLSTM_INVALID_ARGUMENT;
    clstm_context context;
    clstm_i_context(NULL, &context);
    clstm_i_call call = {.context = &context};
    clstm_i_run(&call, 1, TYPED(map_all), &map);
    return CLSTM_OK;
}

clstm_status PUBLIC(tanh)(size_t n, const real *x, real *y) {
    const clstm_i_isa *isa = clstm_i_dispatch();
    return isa ? TYPED(run_map)((TYPED(map)){isa->KERNELS->tanh, n, x, y}) : CLSTM_UNKNOWN_ISA;
}

clstm_status PUBLIC(sigmoid)(size_t n, const real *x, real *y) {
    const clstm_i_isa *isa = clstm_i_dispatch();
    return isa ? TYPED(run_map)((TYPED(map)){isa->KERNELS->sigmoid, n, x, y}) : CLSTM_UNKNOWN_ISA;
}
