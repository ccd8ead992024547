/* The blas engine, typed: one layer over a chunk of steps. The stacked input product of all steps and the recurrent
   product of each step go to the context's gemm; one fused loop over the gates follows. This is the plain shape of the
   method, and the second opinion of the packed engine. */
#pragma once

#include "forward_state.h"
#include "gemm_pieces.h"

/* sums = x weight_ih^T for some rows of the chunk. */
static void TYPED(blas_input)(const TYPED(worker) *worker, const TYPED(chunk) *chunk, clstm_i_range rows) {
    const TYPED(forward_pass) *pass = worker->pass;
    const clstm_i_offsets at = clstm_i_part_offsets(&pass->model->config, chunk->part);
    const PUBLIC(gemm) product = {
        .m = clstm_i_count(rows), .n = pass->width, .k = at.input_size,
        .a = chunk->x + rows.begin * chunk->x_stride, .lda = chunk->x_stride,
        .b = (const real *)pass->model->parameters + at.input, .ldb = at.input_size, .transpose_b = 1,
        .c = chunk->sums + rows.begin * pass->width, .ldc = pass->width,
    };
    TYPED(product)(pass->call, pass->kernels, worker->step_team.thread, &product);
}

/* h_t = weight_hr (o_t tanh(c_t)): a worker's rows of a step. */
static void TYPED(blas_projection)(const TYPED(worker) *worker, const TYPED(chunk) *chunk,
                                   const TYPED(step_rows_at) *at) {
    const TYPED(forward_pass) *pass = worker->pass;
    const clstm_config *config = &pass->model->config;
    const clstm_i_offsets weights = clstm_i_part_offsets(config, chunk->part);
    const size_t H = config->hidden_size, R = pass->recurrent_size;
    const PUBLIC(gemm) product = {
        .m = clstm_i_count(at->rows), .n = R, .k = H,
        .a = chunk->outputs + at->first * H, .lda = H,
        .b = (const real *)pass->model->parameters + weights.projection, .ldb = H, .transpose_b = 1,
        .c = chunk->hidden + at->rows.begin * R, .ldc = R,
    };
    TYPED(product)(pass->call, pass->kernels, worker->step_team.thread, &product);
}

/* Step t of a worker's rows: sums += h_{t-1} weight_hh^T, then from the sums c_t and h_t. */
static void TYPED(blas_step)(const TYPED(worker) *worker, const TYPED(chunk) *chunk, size_t t) {
    const TYPED(forward_pass) *pass = worker->pass;
    const clstm_config *config = &pass->model->config;
    const clstm_i_plan *plan = &pass->plan;
    const clstm_i_offsets weights = clstm_i_part_offsets(config, chunk->part);
    const real *parameters = pass->model->parameters;
    const size_t H = config->hidden_size, R = pass->recurrent_size;
    const TYPED(step_rows_at) at = TYPED(locate_step)(worker, chunk, t);
    const size_t rows = clstm_i_count(at.rows);
    if (!rows) return;

    size_t stride;
    const real *before = TYPED(hidden_before_step)(worker, chunk, t, &at, &stride);
    real *sums = chunk->sums + at.rows.begin * 4 * H, *c = pass->c + (chunk->part * plan->batch + at.first) * H;
    const PUBLIC(gemm) product = {
        .m = rows, .n = 4 * H, .k = R,
        .a = before, .lda = stride,
        .b = parameters + weights.recurrent, .ldb = R, .transpose_b = 1,
        .c = sums, .ldc = 4 * H, .accumulate = 1,
    };
    TYPED(product)(pass->call, pass->kernels, worker->step_team.thread, &product);

    const TYPED(clstm_i_gates) gates = {
        .rows = rows, .hidden_size = H, .keep = pass->tape && pass->tape->gates,
        .bias = pass->bias + chunk->part * 4 * H,
        .gates = sums, .c_before = c, .c = c,
        .h = chunk->outputs ? chunk->outputs + at.first * H : chunk->hidden + at.rows.begin * chunk->h_stride,
        .fast = config->activations == CLSTM_FAST, .cell = pass->cell,
        .peephole = TYPED(peepholes_of)(pass->model, chunk->part),
    };
    TYPED(run_kernel_gates)(pass->kernels, &gates);
    if (chunk->outputs) TYPED(blas_projection)(worker, chunk, &at);
    if (!pass->tape) return;
    TYPED(record_after_step)(worker, chunk, &at);
    real *cells = TYPED(slots)(pass->tape, pass->tape->cells, chunk->part, H) + (plan->batch + at.slot) * H;
    memcpy(cells, c, rows * H * sizeof(real));
}

/* The steps of a band of the batch. */
static void TYPED(blas_band)(const TYPED(worker) *worker, const TYPED(chunk) *chunk, size_t band, size_t bands) {
    TYPED(worker) own = *worker;
    own.rows = clstm_i_share_rows(&worker->pass->plan, band, bands);
    own.step_team = clstm_i_alone(worker->step_team.thread);
    for (size_t t = chunk->first; t < chunk->last && !TYPED(stops)(&own); t++) TYPED(blas_step)(&own, chunk, t);
}

/* Threads share the product by rows of all steps, and the steps by rows of the batch, without waiting for each
   other. */
static void TYPED(blas_layer)(TYPED(worker) *worker, const TYPED(chunk) *chunk) {
    const TYPED(forward_pass) *pass = worker->pass;
    const clstm_i_subteam *team = &worker->step_team;
    for (size_t n = 0; n < TYPED(range_count)(worker, chunk); n++)
        TYPED(blas_input)(worker, chunk, TYPED(range_at)(worker, chunk, n));
    TYPED(meet)(worker);
    if (TYPED(stops)(worker)) return;
    const clstm_i_range own = TYPED(own_bands)(pass, team);
    for (size_t band = own.begin; band < own.end; band++)
        TYPED(blas_band)(worker, chunk, band, TYPED(bands)(pass, team));
    TYPED(meet)(worker);
}

/* y (rows, O) = h weight_out^T + bias_out. */
static void TYPED(blas_readout)(const TYPED(worker) *worker, const real *h, size_t stride, size_t rows, real *y) {
    const TYPED(forward_pass) *pass = worker->pass;
    const clstm_config *config = &pass->model->config;
    const real *parameters = pass->model->parameters;
    const size_t O = config->output_size, columns = clstm_i_layer_size(config);
    const clstm_i_offsets at = clstm_i_part_offsets(config, clstm_i_parts(config));
    if (!config->no_bias)
        for (size_t row = 0; row < rows; row++) memcpy(y + row * O, parameters + at.bias, O * sizeof(real));
    const PUBLIC(gemm) product = {
        .m = rows, .n = O, .k = columns,
        .a = h, .lda = stride,
        .b = parameters + at.input, .ldb = columns, .transpose_b = 1,
        .c = y, .ldc = O, .accumulate = !config->no_bias,
    };
    TYPED(product)(pass->call, pass->kernels, worker->step_team.thread, &product);
}
