/* The packed engine's recurrence backwards, typed: product and gates' gradients fused in the kernels; or, where
   something stands between steps, one after the other. */
#pragma once

#include "backward_state.h"
#include "forward_packed.h"
#include "gather.h"
#include "packed_weights.h"

/* The gates' gradients of some rows times weight_hh, starting from `start`, as the kernels take it. */
static TYPED(clstm_i_product) TYPED(recurrent_product)(const TYPED(back) *back, const real *d_gates, size_t rows,
                                                       const real *start, size_t start_stride) {
    const size_t depth = 4 * back->pass->hidden_size;
    return (TYPED(clstm_i_product)){
        .rows = rows, .whole = back->packed->whole, .last = back->packed->last,
        .count = d_gates != NULL, .parts = {{d_gates, depth, back->packed->input, depth}},
        .start = start, .start_stride = start_stride,
    };
}

/* The blocks from `begin` on that a kernel call of so many rows takes: the host can cancel within 50 ms. */
static clstm_i_range TYPED(next_blocks)(const TYPED(back) *back, const TYPED(packed) *packed, size_t thread,
                                        size_t rows, size_t steps, clstm_i_range blocks) {
    const double work = (double)steps * (double)rows * (double)packed->input_size * (double)packed->width;
    const size_t most = TYPED(blocks_at_once)(packed, work), left = blocks.end - blocks.begin;
    if (left > most) blocks.end = blocks.begin + most;
    if (thread == 0)
        clstm_i_poll(back->pass->call, work * (double)(blocks.end - blocks.begin) / (double)packed->blocks);
    return blocks;
}

/* out (rows, stride) = a product of all its columns. */
static void TYPED(multiply_back)(const TYPED(back) *back, const TYPED(packed) *packed, size_t thread,
                                 TYPED(clstm_i_product) product, clstm_i_range blocks, real *out, size_t stride) {
    while (blocks.begin < blocks.end && product.rows && !clstm_i_cancelled(back->pass->call)) {
        const clstm_i_range part = TYPED(next_blocks)(back, packed, thread, product.rows, 1, blocks);
        product.begin = part.begin;
        product.end = blocks.begin = part.end;
        back->pass->kernels->multiply(&product, out, stride, packed->n);
    }
}

/* ---- Fused steps ---- */

/* Some steps of some rows, from t backwards. Rows that go on have a later step. */
static void TYPED(steps_back)(const TYPED(back) *back, size_t thread, size_t t, size_t steps, clstm_i_range rows,
                              clstm_i_range blocks, int go_on) {
    if (rows.begin >= rows.end) return;
    const real *d_gates = go_on ? TYPED(gradients_at)(back, t + 1, rows.begin) : NULL;
    TYPED(clstm_i_steps_backward) call = {
        .gates = TYPED(gates_step)(back, t, rows), .first = t, .steps = steps, .batch = back->pass->plan->rows[t],
    };
    call.product = TYPED(recurrent_product)(back, d_gates, rows.end - rows.begin, call.gates.dh, back->dh_stride);
    while (blocks.begin < blocks.end && !clstm_i_cancelled(back->pass->call)) {
        const clstm_i_range part =
            TYPED(next_blocks)(back, back->packed, thread, rows.end - rows.begin, steps, blocks);
        call.product.begin = part.begin;
        call.product.end = blocks.begin = part.end;
        if (call.gates.cell) back->pass->kernels->cell_steps_backward(&call);
        else back->pass->kernels->steps_backward(&call);
    }
}

/* How many steps before t, and t, one kernel call can take: alone, no thread waits for it; with as many rows at each of
   them, which lie one step behind the other; and the host is asked in time. */
static size_t TYPED(steps_back_at_once)(const TYPED(back) *back, size_t t, size_t go_on, int shared) {
    const TYPED(back_pass) *pass = back->pass;
    const clstm_i_plan *plan = pass->plan;
    const size_t rows = plan->rows[t];
    const double most = 1e7, each = (double)rows * 4 * (double)pass->hidden_size * (double)back->packed->width;
    size_t n = 1;
    if (shared || go_on < rows) return n;
    while (n <= t - pass->first && (double)n * each < most && plan->rows[t - n] == rows
           && clstm_i_slots_follow(plan, t - n + 1))
        n++;
    return n;
}

/* Rows of a thread that are among the first n. */
static inline clstm_i_range TYPED(among)(clstm_i_range own, size_t n) {
    return (clstm_i_range){own.begin < n ? own.begin : n, own.end < n ? own.end : n};
}

/* dh0 = dG_0 weight_hh of some rows and blocks. */
static void TYPED(packed_initial)(const TYPED(back) *back, size_t thread, clstm_i_range rows, clstm_i_range blocks) {
    const size_t R = back->pass->recurrent_size, n = rows.end - rows.begin;
    real *to = back->dropped ? back->dropped : back->dh0;
    if (!n) return;
    const TYPED(clstm_i_product) product =
        TYPED(recurrent_product)(back, TYPED(gates_at)(back, 0, rows.begin), n, back->pass->zeros, 0);
    TYPED(multiply_back)(back, back->packed, thread, product, blocks, to + rows.begin * R, R);
    if (back->dropped) TYPED(through_dropout)(back, rows, back->dh0 + rows.begin * R, R, 0);
}

/* ---- Steps with something between them: a thread's rows, all blocks ---- */

/* below, the gradient of h_t of some rows, from what came from above: + dG_{t+1} weight_hh. */
static void TYPED(join_recurrent)(const TYPED(back) *back, size_t thread, size_t t, clstm_i_range rows) {
    const TYPED(back_pass) *pass = back->pass;
    const size_t n = rows.end - rows.begin, R = pass->recurrent_size, stride = pass->h_stride;
    const clstm_i_range blocks = {0, back->packed->blocks};
    if (!n) return;
    real *dh = back->below + (pass->plan->offsets[t] + rows.begin) * stride;
    const real *d_gates = TYPED(gradients_at)(back, t + 1, rows.begin);
    if (back->dropped) {
        TYPED(multiply_back)(back, back->packed, thread, TYPED(recurrent_product)(back, d_gates, n, pass->zeros, 0),
                             blocks, back->dropped + rows.begin * R, R);
        TYPED(through_dropout)(back, rows, dh, stride, 1);
    } else {
        TYPED(multiply_back)(back, back->packed, thread, TYPED(recurrent_product)(back, d_gates, n, dh, stride),
                             blocks, dh, stride);
    }
}

/* From the gradient of h_t to that of o tanh(c): back through the projection. */
static void TYPED(packed_projection_back)(const TYPED(back) *back, size_t thread, size_t t, clstm_i_range rows) {
    const TYPED(back_pass) *pass = back->pass;
    const TYPED(packed) *packed = back->projection;
    const size_t H = pass->hidden_size, stride = pass->h_stride, n = rows.end - rows.begin;
    const real *dh = back->below + (pass->plan->offsets[t] + rows.begin) * stride;
    real *dm = back->dm + rows.begin * H;
    if (!packed) {
        TYPED(copy_rows)(dm, H, dh, stride, n, H);
        return;
    }
    const TYPED(clstm_i_product) product = {
        .rows = n, .whole = packed->whole, .last = packed->last, .count = 1,
        .parts = {{dh, stride, packed->input, packed->input_size}}, .start = pass->zeros,
    };
    TYPED(multiply_back)(back, packed, thread, product, (clstm_i_range){0, packed->blocks}, dm, H);
}

static void TYPED(step_back_between)(const TYPED(back) *back, size_t thread, size_t t, clstm_i_range own) {
    const TYPED(back_pass) *pass = back->pass;
    const clstm_i_range rows = TYPED(among)(own, pass->plan->rows[t]);
    if (rows.begin >= rows.end) return;
    TYPED(join_recurrent)(back, thread, t, TYPED(among)(rows, TYPED(active)(pass, t + 1)));
    TYPED(packed_projection_back)(back, thread, t, rows);
    TYPED(gates_back)(back, t, rows);
}

/* ---- Both ---- */

/* A thread's rows and blocks of the chunk's steps, the last first. */
static void TYPED(packed_backward)(const TYPED(back) *back, clstm_i_seat seat) {
    const TYPED(back_pass) *pass = back->pass;
    const size_t B = pass->plan->batch, all = back->packed->blocks;
    const int shared = pass->split == CLSTM_I_UNITS && seat.count > 1;
    const clstm_i_range own =
        shared ? (clstm_i_range){0, B} : clstm_i_plan_share(pass->plan, seat.index, seat.count);
    const clstm_i_range blocks = shared ? clstm_i_slice(all, 1, seat.index, seat.count) : (clstm_i_range){0, all};
    size_t n = 1;
    for (size_t left = pass->last; left > pass->first && !clstm_i_cancelled(pass->call); left -= n) {
        const size_t t = left - 1, active = pass->plan->rows[t], go_on = TYPED(active)(pass, left);
        if (pass->between) {
            TYPED(step_back_between)(back, seat.thread, t, own);
            continue;
        }
        const size_t end = own.end < active ? own.end : active, middle = own.begin > go_on ? own.begin : go_on;
        n = TYPED(steps_back_at_once)(back, t, go_on, shared);
        TYPED(steps_back)(back, seat.thread, t, n, (clstm_i_range){own.begin, end < go_on ? end : go_on}, blocks, 1);
        TYPED(steps_back)(back, seat.thread, t, 1, (clstm_i_range){middle, end}, blocks, 0);
        if (shared) clstm_i_meet(pass->call, back->counters, seat.index, seat.count);
    }
    if (pass->first == 0 && back->dh0)
        TYPED(packed_initial)(back, seat.thread, TYPED(among)(own, TYPED(active)(pass, 0)), blocks);
}
