/* Weight and input gradients of a part, typed: one product each over all rows of a chunk. */
#pragma once

#include "backward_state.h"
#include "gather.h"
#include "gemm_pieces.h"

/* h_{t-1} of the chunk's rows, (rows, R): on the tape, one slot before each step. Where rows end early these slots are
   not contiguous, and are gathered: one product for each run would read and write the whole gradient every time. */
static const real *TYPED(gather_hidden_before)(const TYPED(layer_grad) *grad) {
    const TYPED(backward_pass) *pass = grad->pass;
    const clstm_i_plan *plan = pass->plan;
    const size_t R = pass->recurrent_size;
    real *to = grad->gathered;
    clstm_i_assert(TYPED(chunk_rows)(pass) <= pass->capacity);
    size_t t = pass->first, end = TYPED(contiguous_until)(pass, t);
    if (end == pass->last) return grad->h + clstm_i_slot_before(plan, t) * R;
    for (; t < pass->last; t = end) {
        end = TYPED(contiguous_until)(pass, t);
        const size_t n = (plan->offsets[end] - plan->offsets[t]) * R;
        memcpy(to, grad->h + clstm_i_slot_before(plan, t) * R, n * sizeof(real));
        to += n;
    }
    return grad->gathered;
}

/* Weight gradients, dG^T x, dG^T h_{t-1} and the sums of dG, for some of the 4H rows of the weights. */
static void TYPED(weight_gradients)(const TYPED(layer_grad) *grad, size_t thread, clstm_i_range rows) {
    const TYPED(backward_pass) *pass = grad->pass;
    const size_t I = grad->input_size, H = pass->hidden_size, R = pass->recurrent_size, n = TYPED(chunk_rows)(pass);
    const real *d_gates = TYPED(gates_at)(grad, pass->first, 0) + rows.begin;
    const PUBLIC(gemm) input = {
        .m = clstm_i_count(rows), .n = I, .k = n,
        .a = d_gates, .lda = 4 * H, .transpose_a = 1,
        .b = grad->x + TYPED(origin)(pass) * I, .ldb = I,
        .c = grad->d_weights + grad->at.input + rows.begin * I, .ldc = I, .accumulate = pass->accumulate,
    };
    PUBLIC(gemm) products[2] = {input, input};
    products[1].n = products[1].ldb = products[1].ldc = R;
    products[1].b = grad->h_before;
    products[1].c = grad->d_weights + grad->at.recurrent + rows.begin * R;
    TYPED(products)(pass->call, pass->kernels, thread, products, 2);

    if (pass->tape->config.no_bias) return;
    real *d_bias = grad->d_weights + grad->at.bias + rows.begin;
    if (!pass->accumulate) memset(d_bias, 0, clstm_i_count(rows) * sizeof(real));
    pass->kernels->sum_rows(n, clstm_i_count(rows), d_gates, 4 * H, d_bias);
}

/* Peephole gradients of some units: i and f read c_{t-1}, o reads c_t. */
static void TYPED(peephole_gradients)(const TYPED(layer_grad) *grad, clstm_i_range units) {
    const TYPED(backward_pass) *pass = grad->pass;
    const clstm_i_plan *plan = pass->plan;
    const size_t H = pass->hidden_size, n = clstm_i_count(units);
    const real *c = grad->c + units.begin;
    real *to = grad->d_weights + grad->at.peephole + units.begin;
    for (size_t gate = 0; !pass->accumulate && gate < 3; gate++) memset(to + gate * H, 0, n * sizeof(real));
    for (size_t t = pass->first, end; t < pass->last; t = end) {
        end = TYPED(contiguous_until)(pass, t);
        const size_t rows = plan->offsets[end] - plan->offsets[t];
        const real *d_gates = TYPED(gates_at)(grad, t, 0) + units.begin, *before = c + clstm_i_slot_before(plan, t) * H;
        for (size_t gate = 0; gate < 2; gate++)
            pass->kernels->sum_products(rows, n, d_gates + gate * H, 4 * H, before, H, to + gate * H);
    }
    pass->kernels->sum_products(TYPED(chunk_rows)(pass), n, TYPED(gates_at)(grad, pass->first, 0) + 3 * H + units.begin,
                                4 * H, c + (plan->batch + TYPED(origin)(pass)) * H, H, to + 2 * H);
}

/* Projection gradients, dh^T (o tanh(c)): a task over the R rows of weight_hr. It precedes the input gradients, which
   may overwrite dh. */
static void TYPED(projection_gradients)(void *argument, size_t index, size_t count) {
    const TYPED(layer_grad) *grad = argument;
    const TYPED(backward_pass) *pass = grad->pass;
    const size_t H = pass->hidden_size, stride = pass->h_stride;
    const clstm_i_range rows = clstm_i_share(pass->recurrent_size, 1, index, count);
    const PUBLIC(gemm) product = {
        .m = clstm_i_count(rows), .n = H, .k = TYPED(chunk_rows)(pass),
        .a = grad->below + TYPED(origin)(pass) * stride + rows.begin, .lda = stride, .transpose_a = 1,
        .b = grad->outputs + (TYPED(origin)(pass) - TYPED(gates_origin)(pass)) * grad->outputs_stride,
        .ldb = grad->outputs_stride,
        .c = grad->d_weights + grad->at.projection + rows.begin * H, .ldc = H, .accumulate = pass->accumulate,
    };
    TYPED(product)(pass->call, pass->kernels, index, &product);
}

/* Input gradients, dG weight_ih, for some of the chunk's rows. */
static void TYPED(input_gradients)(const TYPED(layer_grad) *grad, size_t thread, clstm_i_range rows) {
    const TYPED(backward_pass) *pass = grad->pass;
    const size_t I = grad->input_size, H = pass->hidden_size;
    real *dx = grad->dx + (grad->dx_view.data ? 0 : TYPED(origin)(pass) * grad->dx_stride);
    const PUBLIC(gemm) product = {
        .m = clstm_i_count(rows), .n = I, .k = 4 * H,
        .a = TYPED(gates_at)(grad, pass->first, rows.begin), .lda = 4 * H,
        .b = grad->weight_ih, .ldb = I,
        .c = dx + rows.begin * grad->dx_stride, .ldc = grad->dx_stride,
        .accumulate = grad->dx_adds && !grad->dx_view.data,
    };
    TYPED(product)(pass->call, pass->kernels, thread, &product);
    clstm_i_assert(grad->dx_stride >= I);
    if (!grad->dx_view.data || pass->first == pass->last) return;
    const TYPED(packed_rows) own = {dx, I, I, {pass->first, pass->last}, rows};
    TYPED(exchange_rows)(pass->plan, grad->dx_adds ? TYPED(scatter_add) : TYPED(scatter_rows), &own, &grad->dx_view);
}

/* A task: a thread's share of weight, peephole and input gradients. */
static void TYPED(products_backward)(void *argument, size_t index, size_t count) {
    const TYPED(layer_grad) *grad = argument;
    const TYPED(backward_pass) *pass = grad->pass;
    const size_t line = 64 / sizeof(real); /* no cache line of the gradients has two writers */
    if (grad->d_weights)
        TYPED(weight_gradients)(grad, index, clstm_i_share(4 * pass->hidden_size, line, index, count));
    if (grad->d_weights && grad->peephole)
        TYPED(peephole_gradients)(grad, clstm_i_share(pass->hidden_size, line, index, count));
    if (grad->dx) TYPED(input_gradients)(grad, index, clstm_i_share(TYPED(chunk_rows)(pass), 1, index, count));
}
