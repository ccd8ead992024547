/* The blas engine's recurrence backwards, typed: a product by the context's gemm for each step, then one fused loop
   over the gates. Here dh is `below`, and each step's product is added to it. */
#pragma once

#include "backward_packed.h"
#include "backward_state.h"
#include "gemm_pieces.h"

/* The gradients of a step's gates give to the h before them: to += or = dG weight_hh. */
static void TYPED(give_back)(const TYPED(back) *back, size_t thread, size_t t, clstm_i_range rows, real *to, int add) {
    const size_t H = back->pass->hidden_size, R = back->pass->recurrent_size;
    if (rows.begin >= rows.end) return;
    const PUBLIC(gemm) product = {
        .m = rows.end - rows.begin, .n = R, .k = 4 * H,
        .a = TYPED(gradients_at)(back, t, rows.begin), .lda = 4 * H,
        .b = back->weight_hh, .ldb = R,
        .c = back->dropped ? back->dropped + rows.begin * R : to, .ldc = R,
        .accumulate = add && !back->dropped,
    };
    TYPED(product)(back->pass->call, back->pass->kernels, thread, &product);
    if (back->dropped) TYPED(through_dropout)(back, rows, to, R, add);
}

/* From the gradient of h_t to that of o tanh(c): back through the projection. */
static void TYPED(blas_projection_back)(const TYPED(back) *back, size_t thread, size_t t, clstm_i_range rows) {
    const size_t H = back->pass->hidden_size, R = back->pass->recurrent_size, n = rows.end - rows.begin;
    const real *dh = back->below + (back->pass->plan->offsets[t] + rows.begin) * R;
    if (!back->weight_hr) {
        memcpy(back->dm + rows.begin * H, dh, n * H * sizeof(real));
        return;
    }
    const PUBLIC(gemm) product = {
        .m = n, .n = H, .k = R,
        .a = dh, .lda = R,
        .b = back->weight_hr, .ldb = H,
        .c = back->dm + rows.begin * H, .ldc = H,
    };
    TYPED(product)(back->pass->call, back->pass->kernels, thread, &product);
}

/* The chunk's steps of a thread's rows of the batch, the last first: these rows never meet others. */
static void TYPED(blas_backward)(const TYPED(back) *back, clstm_i_seat seat) {
    const TYPED(back_pass) *pass = back->pass;
    const clstm_i_plan *plan = pass->plan;
    const size_t R = pass->recurrent_size;
    const clstm_i_range own = clstm_i_plan_share(plan, seat.index, seat.count);
    for (size_t t = pass->last; t-- > pass->first && !clstm_i_cancelled(pass->call);) {
        const clstm_i_range rows = TYPED(among)(own, plan->rows[t]);
        if (rows.begin >= rows.end) continue;
        TYPED(give_back)(back, seat.thread, t + 1, TYPED(among)(rows, TYPED(active)(pass, t + 1)),
                         back->below + (plan->offsets[t] + rows.begin) * R, 1);
        if (back->dm) TYPED(blas_projection_back)(back, seat.thread, t, rows);
        TYPED(gates_back)(back, t, rows);
    }
    const clstm_i_range started = TYPED(among)(own, TYPED(active)(pass, 0));
    if (pass->first == 0 && back->dh0)
        TYPED(give_back)(back, seat.thread, 0, started, back->dh0 + started.begin * R, 0);
}
