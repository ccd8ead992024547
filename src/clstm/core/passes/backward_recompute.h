/* The gates of a chunk, recomputed from the recorded states, typed. No step waits for another here, so these are
   products over all rows of the chunk. The packed engine sums as in the forward pass: its gates are bit-identical. */
#pragma once

#include "backward_state.h"
#include "gemm_pieces.h"

/* A run of rows: its index in the chunk, in x, and the tape slot of h_{t-1}. */
typedef struct TYPED(recomputed_rows) {
    size_t at, row, slot, count;
} TYPED(recomputed_rows);

static void TYPED(recompute_packed)(const TYPED(layer_grad) *grad, const TYPED(recomputed_rows) *rows) {
    const TYPED(packed) *weights = grad->forward;
    const TYPED(backward_pass) *pass = grad->pass;
    const size_t I = grad->input_size, H = pass->hidden_size, R = pass->recurrent_size, stride = pass->c_stride;
    real *c = grad->states + rows->at * stride, *h = c + TYPED(chunk_rows)(pass) * stride;
    TYPED(copy_rows)(c, stride, grad->c + rows->slot * H, H, rows->count, H);
    TYPED(clstm_i_steps) steps = {
        .product = TYPED(product_of)(weights, rows->count), .steps = 1, .batch = rows->count, .c = c, .h = h,
        .stride = stride, .hidden_size = H, .gates = grad->gates + rows->at * 4 * H,
        .cell = pass->cell, .peephole = weights->peephole,
    };
    TYPED(add_factor)(&steps.product, weights->input, grad->x + rows->row * I, I);
    TYPED(add_factor)(&steps.product, weights->recurrent, grad->h + rows->slot * R, R);
    TYPED(run_kernel_steps)(pass->kernels, &steps);
}

static void TYPED(recompute_blas)(const TYPED(layer_grad) *grad, size_t thread, const TYPED(recomputed_rows) *rows) {
    const TYPED(backward_pass) *pass = grad->pass;
    const size_t I = grad->input_size, H = pass->hidden_size, R = pass->recurrent_size;
    real *gates = grad->gates + rows->at * 4 * H, *c = grad->states + rows->at * H;
    PUBLIC(gemm) product = {
        .m = rows->count, .n = 4 * H, .k = I,
        .a = grad->x + rows->row * I, .lda = I,
        .b = grad->weight_ih, .ldb = I, .transpose_b = 1,
        .c = gates, .ldc = 4 * H,
    };
    TYPED(product)(pass->call, pass->kernels, thread, &product);
    product.k = product.lda = product.ldb = R;
    product.a = grad->h + rows->slot * R;
    product.b = grad->weight_hh;
    product.accumulate = 1;
    TYPED(product)(pass->call, pass->kernels, thread, &product);
    const TYPED(clstm_i_gates) step = {
        .rows = rows->count, .hidden_size = H, .keep = 1, .bias = grad->bias, .gates = gates,
        .c_before = grad->c + rows->slot * H, .c = c, .h = c + TYPED(chunk_rows)(pass) * H,
        .cell = pass->cell, .peephole = grad->peephole,
    };
    TYPED(run_kernel_gates)(pass->kernels, &step);
}

/* A task: a thread's share of the chunk's rows, a few at a time, so that the host can cancel. */
static void TYPED(recompute_gates)(void *argument, size_t index, size_t count) {
    const TYPED(layer_grad) *grad = argument;
    const TYPED(backward_pass) *pass = grad->pass;
    const clstm_i_plan *plan = pass->plan;
    const double each = 4 * (double)pass->hidden_size * (double)(grad->input_size + pass->recurrent_size);
    const size_t most = each < TUNE_CALL_WORK ? (size_t)(TUNE_CALL_WORK / each) : 1;
    for (size_t t = pass->first, end; t < pass->last; t = end) {
        end = TYPED(contiguous_until)(pass, t);
        const size_t first = plan->offsets[t], slot = clstm_i_slot_before(plan, t);
        clstm_i_range own = clstm_i_share(plan->offsets[end] - first, 1, index, count);
        while (own.begin < own.end && !clstm_i_cancelled(pass->call)) {
            const size_t n = clstm_i_min(clstm_i_count(own), most), row = first + own.begin;
            const TYPED(recomputed_rows) rows = {row - TYPED(origin)(pass), row, slot + own.begin, n};
            if (grad->forward) TYPED(recompute_packed)(grad, &rows);
            else TYPED(recompute_blas)(grad, index, &rows);
            clstm_i_poll(pass->call, index, each * (double)n);
            own.begin += n;
        }
    }
}
