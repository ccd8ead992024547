/* The linear readout of the last layer, backward, typed: y = h weight_out^T + bias_out. */
#pragma once

#include "gemm_pieces.h"

/* The arguments of the tasks. */
typedef struct TYPED(readout_gradients) {
    clstm_i_call *call;
    const TYPED(clstm_i_kernels) *kernels;
    const clstm_config *config;
    const real *weights; /* the model's flat array */
    size_t rows;
    const real *h, *dy;  /* (rows, D R), (rows, O) */
    real *d_weights;     /* flat, or NULL */
    int accumulate;      /* d_weights is added to */
    real *dh;            /* (rows, dh_stride) */
    size_t dh_stride;
} TYPED(readout_gradients);

/* dy^T h and the sums of dy: a task over the O rows of weight_out. */
static void TYPED(readout_weight_gradients)(void *argument, size_t index, size_t count) {
    const TYPED(readout_gradients) *out = argument;
    const size_t columns = clstm_i_layer_size(out->config), O = out->config->output_size;
    const clstm_i_offsets at = clstm_i_part_offsets(out->config, clstm_i_parts(out->config));
    const clstm_i_range rows = clstm_i_share(O, 1, index, count);
    const PUBLIC(gemm) product = {
        .m = clstm_i_count(rows), .n = columns, .k = out->rows,
        .a = out->dy + rows.begin, .lda = O, .transpose_a = 1,
        .b = out->h, .ldb = columns,
        .c = out->d_weights + at.input + rows.begin * columns, .ldc = columns, .accumulate = out->accumulate,
    };
    TYPED(product)(out->call, out->kernels, index, &product);
    if (out->config->no_bias) return;
    real *d_bias = out->d_weights + at.bias + rows.begin;
    if (!out->accumulate) memset(d_bias, 0, clstm_i_count(rows) * sizeof(real));
    out->kernels->sum_rows(out->rows, clstm_i_count(rows), out->dy + rows.begin, O, d_bias);
}

/* dy weight_out: a task over the rows. */
static void TYPED(readout_input_gradients)(void *argument, size_t index, size_t count) {
    const TYPED(readout_gradients) *out = argument;
    const size_t columns = clstm_i_layer_size(out->config), O = out->config->output_size;
    const clstm_i_offsets at = clstm_i_part_offsets(out->config, clstm_i_parts(out->config));
    const clstm_i_range rows = clstm_i_share(out->rows, 1, index, count);
    const PUBLIC(gemm) product = {
        .m = clstm_i_count(rows), .n = columns, .k = O,
        .a = out->dy + rows.begin * O, .lda = O,
        .b = out->weights + at.input, .ldb = columns,
        .c = out->dh + rows.begin * out->dh_stride, .ldc = out->dh_stride,
    };
    TYPED(product)(out->call, out->kernels, index, &product);
}

static void TYPED(run_readout_backward)(TYPED(readout_gradients) *out) {
    const size_t O = out->config->output_size;
    const double work = (double)out->rows * (double)O * (double)clstm_i_layer_size(out->config);
    const size_t by_outputs = clstm_i_threads_for(out->call, work, O);
    const size_t by_rows = clstm_i_threads_for(out->call, work, out->rows);
    if (out->d_weights) clstm_i_run(out->call, by_outputs, TYPED(readout_weight_gradients), out);
    clstm_i_run(out->call, by_rows, TYPED(readout_input_gradients), out);
}

/* Clears the gradients of a readout if there is no dy. */
static void TYPED(no_readout_gradients)(const clstm_config *config, real *d_weights) {
    const size_t begin = clstm_i_part_offsets(config, clstm_i_parts(config)).input;
    memset(d_weights + begin, 0, config->output_size * (clstm_i_layer_size(config) + !config->no_bias) * sizeof(real));
}
