/* A part's weight and input gradients, typed: one product each over all rows of a chunk. */
#pragma once

#include "backward_state.h"
#include "gather.h"
#include "gemm_pieces.h"

/* h_{t-1} of the chunk's rows, (rows, R). On the tape it lies one slot behind, with the rows before each step. Where
   rows end early these do not lie together and are copied: a product for each piece of them would read and write the
   whole gradient once more. */
static const real *TYPED(hidden_before)(const TYPED(back) *back) {
    const TYPED(back_pass) *pass = back->pass;
    const clstm_i_plan *plan = pass->plan;
    const size_t R = pass->recurrent_size;
    real *to = back->gathered;
    size_t t = pass->first, end = TYPED(together)(pass, t);
    if (end == pass->last) return back->h + clstm_i_slot_before(plan, t) * R;
    for (; t < pass->last; t = end) {
        end = TYPED(together)(pass, t);
        const size_t n = (plan->offsets[end] - plan->offsets[t]) * R;
        memcpy(to, back->h + clstm_i_slot_before(plan, t) * R, n * sizeof(real));
        to += n;
    }
    return back->gathered;
}

/* Weight gradients, dG^T x, dG^T h_{t-1} and the sums of dG, of some of the 4H rows of the weights. */
static void TYPED(weight_gradients)(const TYPED(back) *back, size_t index, clstm_i_range rows) {
    const TYPED(back_pass) *pass = back->pass;
    const size_t I = back->input_size, H = pass->hidden_size, R = pass->recurrent_size, n = TYPED(chunk_rows)(pass);
    const real *d_gates = TYPED(gates_at)(back, pass->first, 0) + rows.begin;
    const PUBLIC(gemm) input = {
        .m = rows.end - rows.begin, .n = I, .k = n,
        .a = d_gates, .lda = 4 * H, .transpose_a = 1,
        .b = back->x + TYPED(origin)(pass) * I, .ldb = I,
        .c = back->d_weight_ih + rows.begin * I, .ldc = I, .accumulate = pass->accumulate,
    };
    PUBLIC(gemm) products[2] = {input, input};
    products[1].n = products[1].ldb = products[1].ldc = R;
    products[1].b = back->h_before;
    products[1].c = back->d_weight_hh + rows.begin * R;
    TYPED(products)(pass->call, pass->kernels, index, products, 2);

    if (!back->d_bias) return;
    real *d_bias = back->d_bias + rows.begin;
    if (!pass->accumulate) memset(d_bias, 0, (rows.end - rows.begin) * sizeof(real));
    pass->kernels->sum_rows(n, rows.end - rows.begin, d_gates, 4 * H, d_bias);
}

/* Of the peepholes, of some units: i and f saw the c before their step, o that of its own. */
static void TYPED(peephole_gradients)(const TYPED(back) *back, clstm_i_range units) {
    const TYPED(back_pass) *pass = back->pass;
    const clstm_i_plan *plan = pass->plan;
    const size_t H = pass->hidden_size, n = units.end - units.begin;
    const real *c = back->c + units.begin;
    real *to = back->d_peephole + units.begin;
    for (size_t gate = 0; !pass->accumulate && gate < 3; gate++) memset(to + gate * H, 0, n * sizeof(real));
    for (size_t t = pass->first, end; t < pass->last; t = end) {
        end = TYPED(together)(pass, t);
        const size_t rows = plan->offsets[end] - plan->offsets[t];
        const real *d_gates = TYPED(gates_at)(back, t, 0) + units.begin, *before = c + clstm_i_slot_before(plan, t) * H;
        for (size_t gate = 0; gate < 2; gate++)
            pass->kernels->sum_products(rows, n, d_gates + gate * H, 4 * H, before, H, to + gate * H);
    }
    pass->kernels->sum_products(TYPED(chunk_rows)(pass), n, TYPED(gates_at)(back, pass->first, 0) + 3 * H + units.begin,
                                4 * H, c + (plan->batch + TYPED(origin)(pass)) * H, H, to + 2 * H);
}

/* Of the projection, dh^T (o tanh(c)): a task over its R rows. Before the input gradients, which may go where dh is. */
static void TYPED(projection_gradients)(void *argument, size_t index, size_t count) {
    const TYPED(back) *back = argument;
    const TYPED(back_pass) *pass = back->pass;
    const size_t H = pass->hidden_size, stride = pass->h_stride;
    const clstm_i_range rows = clstm_i_slice(pass->recurrent_size, 1, index, count);
    const PUBLIC(gemm) product = {
        .m = rows.end - rows.begin, .n = H, .k = TYPED(chunk_rows)(pass),
        .a = back->below + TYPED(origin)(pass) * stride + rows.begin, .lda = stride, .transpose_a = 1,
        .b = back->outputs + (TYPED(origin)(pass) - TYPED(held_from)(pass)) * back->outputs_stride,
        .ldb = back->outputs_stride,
        .c = back->d_weight_hr + rows.begin * H, .ldc = H, .accumulate = pass->accumulate,
    };
    TYPED(product)(pass->call, pass->kernels, index, &product);
}

/* Input gradients, dG weight_ih, of some of the chunk's rows. */
static void TYPED(input_gradients)(const TYPED(back) *back, size_t index, clstm_i_range rows) {
    const TYPED(back_pass) *pass = back->pass;
    const size_t I = back->input_size, H = pass->hidden_size;
    real *dx = back->dx + (back->dx_to.data ? 0 : TYPED(origin)(pass) * back->dx_stride);
    const PUBLIC(gemm) product = {
        .m = rows.end - rows.begin, .n = I, .k = 4 * H,
        .a = TYPED(gates_at)(back, pass->first, rows.begin), .lda = 4 * H,
        .b = back->weight_ih, .ldb = I,
        .c = dx + rows.begin * back->dx_stride, .ldc = back->dx_stride,
        .accumulate = back->dx_adds && !back->dx_to.data,
    };
    TYPED(product)(pass->call, pass->kernels, index, &product);
    if (!back->dx_to.data || pass->first == pass->last) return;
    const TYPED(own_rows) own = {dx, I, I, {pass->first, pass->last}, rows};
    TYPED(exchange_rows)(pass->plan, back->dx_adds ? TYPED(add_rows) : TYPED(give_rows), &own, &back->dx_to);
}

/* A thread's part of all. */
static void TYPED(products_backward)(void *argument, size_t index, size_t count) {
    const TYPED(back) *back = argument;
    const TYPED(back_pass) *pass = back->pass;
    const size_t line = 64 / sizeof(real); /* no cache line of the gradients has two writers */
    if (back->d_weight_ih)
        TYPED(weight_gradients)(back, index, clstm_i_slice(4 * pass->hidden_size, line, index, count));
    if (back->d_peephole)
        TYPED(peephole_gradients)(back, clstm_i_slice(pass->hidden_size, line, index, count));
    if (back->dx) TYPED(input_gradients)(back, index, clstm_i_slice(TYPED(chunk_rows)(pass), 1, index, count));
}
