/* A model's cell and bias as the kernels take them, typed. */
#pragma once

#include "common.h"

static TYPED(clstm_i_function) TYPED(read_function)(clstm_activation a) {
    return (TYPED(clstm_i_function)){.function = a.function, .alpha = (real)a.alpha, .beta = (real)a.beta};
}

/* Reads a cell into *cell; NULL if it is the plain one. */
static const TYPED(clstm_i_cell) *TYPED(read_cell)(const clstm_config *config, const TYPED(clstm_i_kernels) *kernels,
                                                   TYPED(clstm_i_cell) *cell) {
    const clstm_cell *given = &config->cell;
    if (clstm_i_has_plain_cell(config)) return NULL;
    *cell = (TYPED(clstm_i_cell)){
        .gate = TYPED(read_function)(given->gate), .cell = TYPED(read_function)(given->cell),
        .hidden = TYPED(read_function)(given->hidden), .coupled = given->coupled,
        .clip = given->clip > 0 ? (real)given->clip : INFINITY,
        .cell_clip = given->cell_clip > 0 ? (real)given->cell_clip : INFINITY,
    };
    kernels->find_ranges(cell);
    return cell;
}

/* (3H,) of a part, or NULL. */
static const real *TYPED(peepholes_of)(const clstm_model *model, size_t part) {
    if (!model->config.cell.peephole) return NULL;
    return (const real *)model->parameters + clstm_i_part_offsets(&model->config, part).peephole;
}

/* The bias of row 0 <= row < 4H of a part's stacked product. */
static real TYPED(bias_at)(const clstm_model *model, size_t part, size_t row) {
    if (model->config.no_bias) return 0;
    return ((const real *)model->parameters)[clstm_i_part_offsets(&model->config, part).bias + row];
}

/* to (4H,) = the bias of a part. */
static void TYPED(write_bias)(const clstm_model *model, size_t part, real *to) {
    for (size_t row = 0; row < 4 * model->config.hidden_size; row++) to[row] = TYPED(bias_at)(model, part, row);
}

/* Run steps and gates by the kernels for their cell. */
static inline void TYPED(run_kernel_steps)(const TYPED(clstm_i_kernels) *kernels, const TYPED(clstm_i_steps) *steps) {
    if (steps->cell) kernels->cell_steps(steps);
    else kernels->steps(steps);
}

static inline void TYPED(run_kernel_gates)(const TYPED(clstm_i_kernels) *kernels, const TYPED(clstm_i_gates) *gates) {
    if (gates->cell) kernels->cell_gates(gates);
    else kernels->gates(gates);
}
