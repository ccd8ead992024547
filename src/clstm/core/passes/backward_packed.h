/* The packed engine's recurrence backward, typed: product and gate gradients are fused in the kernels, or, with
   projection or dropout between steps, run one after the other. */
#pragma once

#include "backward_state.h"
#include "forward_packed.h"

/* start + the gate gradients of some rows times weight_hh; `d_gates` NULL: the start alone. */
static TYPED(clstm_i_product) TYPED(recurrent_product)(const TYPED(layer_grad) *grad, const real *d_gates, size_t rows,
                                                       const real *start, size_t start_stride) {
    TYPED(clstm_i_product) product = TYPED(product_of)(grad->packed, rows);
    product.start = start;
    product.start_stride = start_stride;
    if (d_gates) TYPED(add_factor)(&product, grad->packed->input, d_gates, 4 * grad->pass->hidden_size);
    return product;
}

/* The blocks of the next kernel call, few enough that the host can cancel in time. Also polls. */
static clstm_i_range TYPED(next_blocks)(const TYPED(layer_grad) *grad, const TYPED(packed) *packed, size_t thread,
                                        size_t rows, size_t steps, clstm_i_range blocks) {
    const double work = (double)steps * (double)rows * (double)packed->input.depth * (double)packed->width;
    const size_t most = TYPED(blocks_per_call)(packed, work);
    if (clstm_i_count(blocks) > most) blocks.end = blocks.begin + most;
    clstm_i_poll(grad->pass->call, thread, work * (double)clstm_i_count(blocks) / (double)packed->blocks);
    return blocks;
}

/* out (rows, stride) = a product, all its columns. */
static void TYPED(multiply_backward)(const TYPED(layer_grad) *grad, const TYPED(packed) *packed, size_t thread,
                                     TYPED(clstm_i_product) product, clstm_i_range blocks, real *out, size_t stride) {
    while (blocks.begin < blocks.end && product.rows && !clstm_i_cancelled(grad->pass->call)) {
        const clstm_i_range next = TYPED(next_blocks)(grad, packed, thread, product.rows, 1, blocks);
        product.begin = next.begin;
        product.end = blocks.begin = next.end;
        grad->pass->kernels->multiply(&product, out, stride, packed->n);
    }
}

/* ---- Plain steps: a thread's rows and blocks ---- */

/* Some steps backward from t. `continuing` rows have a step after t, whose gate gradients are the product's factor. */
static void TYPED(run_steps_backward)(const TYPED(layer_grad) *grad, size_t thread, size_t t, size_t steps,
                                      clstm_i_range rows, clstm_i_range blocks, int continuing) {
    if (rows.begin >= rows.end) return;
    const real *d_gates = continuing ? TYPED(gradients_at)(grad, t + 1, rows.begin) : NULL;
    TYPED(clstm_i_steps_backward) call = {
        .gates = TYPED(gates_step)(grad, t, rows), .first = t, .steps = steps, .batch = grad->pass->plan->rows[t],
    };
    call.product = TYPED(recurrent_product)(grad, d_gates, clstm_i_count(rows), call.gates.dh, grad->dh_stride);
    while (blocks.begin < blocks.end && !clstm_i_cancelled(grad->pass->call)) {
        const clstm_i_range next =
            TYPED(next_blocks)(grad, grad->packed, thread, clstm_i_count(rows), steps, blocks);
        clstm_i_assert(steps == 1 || clstm_i_count(next) == grad->packed->blocks);
        call.product.begin = next.begin;
        call.product.end = blocks.begin = next.end;
        if (call.gates.cell) grad->pass->kernels->cell_steps_backward(&call);
        else grad->pass->kernels->steps_backward(&call);
    }
}

/* Steps from t backward in one kernel call: several only if no thread waits for them, all with equal numbers of rows,
   evenly spaced in memory, and few enough that the host can cancel in time. */
static size_t TYPED(steps_per_call_backward)(const TYPED(layer_grad) *grad, size_t t, size_t continuing, int shared) {
    const TYPED(backward_pass) *pass = grad->pass;
    const clstm_i_plan *plan = pass->plan;
    const size_t rows = plan->rows[t];
    const double each = (double)rows * 4 * (double)pass->hidden_size * (double)grad->packed->width;
    size_t n = 1;
    if (shared || continuing < rows) return n;
    while (n <= t - pass->first && (double)n * each < TUNE_STEPS_WORK && plan->rows[t - n] == rows
           && clstm_i_slots_follow(plan, t - n + 1))
        n++;
    return n;
}

/* dh0 = dG_0 weight_hh for some rows and blocks. */
static void TYPED(packed_initial)(const TYPED(layer_grad) *grad, size_t thread, clstm_i_range rows,
                                  clstm_i_range blocks) {
    const size_t R = grad->pass->recurrent_size, n = clstm_i_count(rows);
    real *to = grad->dropped ? grad->dropped : grad->dh0;
    if (!n) return;
    const TYPED(clstm_i_product) product =
        TYPED(recurrent_product)(grad, TYPED(gates_at)(grad, 0, rows.begin), n, grad->pass->zeros, 0);
    TYPED(multiply_backward)(grad, grad->packed, thread, product, blocks, to + rows.begin * R, R);
    if (grad->dropped) TYPED(through_dropout)(grad, rows, grad->dh0 + rows.begin * R, R, 0);
}

/* ---- Steps with projection or dropout between them: a thread's rows, all blocks ---- */

/* Adds dG_{t+1} weight_hh to `below`, which completes the gradient of h_t. */
static void TYPED(join_recurrent)(const TYPED(layer_grad) *grad, size_t thread, size_t t, clstm_i_range rows) {
    const TYPED(backward_pass) *pass = grad->pass;
    const size_t n = clstm_i_count(rows), R = pass->recurrent_size, stride = pass->h_stride;
    const clstm_i_range blocks = {0, grad->packed->blocks};
    if (!n) return;
    real *dh = grad->below + (pass->plan->offsets[t] + rows.begin) * stride;
    const real *d_gates = TYPED(gradients_at)(grad, t + 1, rows.begin);
    if (grad->dropped) {
        TYPED(multiply_backward)(grad, grad->packed, thread,
                                 TYPED(recurrent_product)(grad, d_gates, n, pass->zeros, 0), blocks,
                                 grad->dropped + rows.begin * R, R);
        TYPED(through_dropout)(grad, rows, dh, stride, 1);
    } else {
        TYPED(multiply_backward)(grad, grad->packed, thread, TYPED(recurrent_product)(grad, d_gates, n, dh, stride),
                                 blocks, dh, stride);
    }
}

/* Backward through the projection: from the gradient of h_t to the gradient of o tanh(c). */
static void TYPED(packed_projection_backward)(const TYPED(layer_grad) *grad, size_t thread, size_t t,
                                              clstm_i_range rows) {
    const TYPED(backward_pass) *pass = grad->pass;
    const TYPED(packed) *packed = grad->projection;
    const size_t H = pass->hidden_size, stride = pass->h_stride, n = clstm_i_count(rows);
    const real *dh = grad->below + (pass->plan->offsets[t] + rows.begin) * stride;
    real *dm = grad->dm + rows.begin * H;
    if (!packed) {
        TYPED(copy_rows)(dm, H, dh, stride, n, H);
        return;
    }
    TYPED(clstm_i_product) product = TYPED(plain_product)(packed, n, dh, stride);
    product.start = pass->zeros;
    TYPED(multiply_backward)(grad, packed, thread, product, (clstm_i_range){0, packed->blocks}, dm, H);
}

static void TYPED(step_backward_in_turn)(const TYPED(layer_grad) *grad, size_t thread, size_t t, clstm_i_range own) {
    const TYPED(backward_pass) *pass = grad->pass;
    const clstm_i_range rows = clstm_i_below(own, pass->plan->rows[t]);
    if (rows.begin >= rows.end) return;
    TYPED(join_recurrent)(grad, thread, t, clstm_i_below(rows, TYPED(active)(pass, t + 1)));
    TYPED(packed_projection_backward)(grad, thread, t, rows);
    TYPED(gates_backward_step)(grad, t, rows);
}

/* ---- Both ---- */

/* A thread's rows and blocks of the chunk's steps, the last step first. */
static void TYPED(packed_backward)(const TYPED(layer_grad) *grad, clstm_i_subteam team) {
    const TYPED(backward_pass) *pass = grad->pass;
    const clstm_i_range batch = {0, pass->plan->batch}, all = {0, grad->packed->blocks};
    const int shared = pass->schedule.split == CLSTM_I_UNITS && team.count > 1;
    const clstm_i_range own = shared ? batch : clstm_i_share_rows(pass->plan, team.index, team.count);
    clstm_i_range blocks = all;
    size_t n = 1;
    for (size_t left = pass->last; left > pass->first && !clstm_i_cancelled(pass->call); left -= n) {
        const size_t t = left - 1, continuing = TYPED(active)(pass, left);
        if (shared) blocks = clstm_i_share(all.end, 1, team.index, team.count);
        const clstm_i_range rows = clstm_i_below(own, pass->plan->rows[t]);
        if (pass->between_steps) {
            TYPED(step_backward_in_turn)(grad, team.thread, t, own);
            continue;
        }
        const clstm_i_range ending = {clstm_i_max(rows.begin, continuing), rows.end};
        n = TYPED(steps_per_call_backward)(grad, t, continuing, team.count > 1 && shared);
        TYPED(run_steps_backward)(grad, team.thread, t, n, clstm_i_below(rows, continuing), blocks, 1);
        TYPED(run_steps_backward)(grad, team.thread, t, 1, ending, blocks, 0);
        if (shared) clstm_i_meet(pass->call, &team);
        if (!team.count) return;
    }
    if (shared) blocks = clstm_i_share(all.end, 1, team.index, team.count);
    if (pass->first == 0 && grad->dh0)
        TYPED(packed_initial)(grad, team.thread, clstm_i_below(own, TYPED(active)(pass, 0)), blocks);
}
