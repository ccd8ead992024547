/* The gates of a chunk computed again from the states before its steps, typed: products over all its rows, because here
   no step waits for another. The packed engine adds up as the forward pass did: its gates are equal bit by bit. */
#pragma once

#include "backward_state.h"
#include "gather.h"
#include "gemm_pieces.h"
#include "packed_weights.h"
#include "read_cell.h"

/* Some rows: the first one in the chunk, in x, and its slot before. */
typedef struct TYPED(rows_again) {
    size_t at, row, slot, count;
} TYPED(rows_again);

static void TYPED(packed_again)(const TYPED(back) *back, const TYPED(rows_again) *rows) {
    const TYPED(packed) *weights = back->forward;
    const TYPED(back_pass) *pass = back->pass;
    const size_t I = back->input_size, H = pass->hidden_size, R = pass->recurrent_size, stride = pass->stride;
    real *c = back->states + rows->at * stride, *h = c + TYPED(chunk_rows)(pass) * stride;
    TYPED(copy_rows)(c, stride, back->c + rows->slot * H, H, rows->count, H);
    const TYPED(clstm_i_steps) steps = {
        .product = {
            .rows = rows->count, .begin = 0, .end = weights->blocks, .whole = weights->whole, .last = weights->last,
            .count = 2, .parts = {{back->x + rows->row * I, I, weights->input, I},
                                  {back->h + rows->slot * R, R, weights->recurrent, R}},
            .start = weights->bias,
        },
        .steps = 1, .batch = rows->count, .c = c, .h = h, .stride = stride, .hidden_size = H,
        .gates = back->gates + rows->at * 4 * H, .cell = pass->cell, .peephole = weights->peephole,
    };
    TYPED(run_kernel_steps)(pass->kernels, &steps);
}

static void TYPED(blas_again)(const TYPED(back) *back, size_t thread, const TYPED(rows_again) *rows) {
    const TYPED(back_pass) *pass = back->pass;
    const size_t I = back->input_size, H = pass->hidden_size, R = pass->recurrent_size;
    real *gates = back->gates + rows->at * 4 * H, *c = back->states + rows->at * H;
    PUBLIC(gemm) product = {
        .m = rows->count, .n = 4 * H, .k = I,
        .a = back->x + rows->row * I, .lda = I,
        .b = back->weight_ih, .ldb = I, .transpose_b = 1,
        .c = gates, .ldc = 4 * H,
    };
    TYPED(product)(pass->call, pass->kernels, thread, &product);
    product.k = product.lda = product.ldb = R;
    product.a = back->h + rows->slot * R;
    product.b = back->weight_hh;
    product.accumulate = 1;
    TYPED(product)(pass->call, pass->kernels, thread, &product);
    const TYPED(clstm_i_gates) step = {
        .rows = rows->count, .hidden_size = H, .keep = 1, .bias = back->bias, .gates = gates,
        .c_before = back->c + rows->slot * H, .c = c, .h = c + TYPED(chunk_rows)(pass) * H,
        .cell = pass->cell, .peephole = back->peephole,
    };
    TYPED(run_kernel_gates)(pass->kernels, &step);
}

/* A task: a thread's part of the chunk's rows, some at a time, so that the host can cancel. */
static void TYPED(gates_again)(void *argument, size_t index, size_t count) {
    const TYPED(back) *back = argument;
    const TYPED(back_pass) *pass = back->pass;
    const clstm_i_plan *plan = pass->plan;
    const double depth = (double)(back->input_size + pass->recurrent_size), most = 1e8;
    const double each = 4 * (double)pass->hidden_size * depth;
    const size_t at_once = each < most ? (size_t)(most / each) : 1;
    for (size_t t = pass->first, end; t < pass->last; t = end) {
        end = TYPED(together)(pass, t);
        const size_t first = plan->offsets[t], slot = clstm_i_slot_before(plan, t);
        clstm_i_range own = clstm_i_slice(plan->offsets[end] - first, 1, index, count);
        while (own.begin < own.end && !clstm_i_cancelled(pass->call)) {
            const size_t left = own.end - own.begin, n = left < at_once ? left : at_once, row = first + own.begin;
            const TYPED(rows_again) rows = {row - TYPED(origin)(pass), row, slot + own.begin, n};
            if (back->forward) TYPED(packed_again)(back, &rows);
            else TYPED(blas_again)(back, index, &rows);
            if (index == 0) clstm_i_poll(pass->call, each * (double)n);
            own.begin += n;
        }
    }
}
