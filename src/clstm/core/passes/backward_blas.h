/* The blas engine's recurrence backward, typed: for each step a product by the context's gemm, then one fused loop over
   the gates. Here `dh` is `below`, and each step's product is added to it. */
#pragma once

#include "backward_state.h"
#include "gemm_pieces.h"

/* Writes or adds to `to` the gradient of h_{t-1}, dG_t weight_hh. */
static void TYPED(add_recurrent_gradient)(const TYPED(layer_grad) *grad, size_t thread, size_t t, clstm_i_range rows,
                                          real *to, int add) {
    const size_t H = grad->pass->hidden_size, R = grad->pass->recurrent_size;
    if (rows.begin >= rows.end) return;
    const PUBLIC(gemm) product = {
        .m = clstm_i_count(rows), .n = R, .k = 4 * H,
        .a = TYPED(gradients_at)(grad, t, rows.begin), .lda = 4 * H,
        .b = grad->weight_hh, .ldb = R,
        .c = grad->dropped ? grad->dropped + rows.begin * R : to, .ldc = R,
        .accumulate = add && !grad->dropped,
    };
    TYPED(product)(grad->pass->call, grad->pass->kernels, thread, &product);
    if (grad->dropped) TYPED(through_dropout)(grad, rows, to, R, add);
}

/* Backward through the projection: from the gradient of h_t to the gradient of o tanh(c). */
static void TYPED(blas_projection_backward)(const TYPED(layer_grad) *grad, size_t thread, size_t t,
                                            clstm_i_range rows) {
    const size_t H = grad->pass->hidden_size, R = grad->pass->recurrent_size, n = clstm_i_count(rows);
    const real *dh = grad->below + (grad->pass->plan->offsets[t] + rows.begin) * R;
    if (!grad->weight_hr) {
        memcpy(grad->dm + rows.begin * H, dh, n * H * sizeof(real));
        return;
    }
    const PUBLIC(gemm) product = {
        .m = n, .n = H, .k = R,
        .a = dh, .lda = R,
        .b = grad->weight_hr, .ldb = H,
        .c = grad->dm + rows.begin * H, .ldc = H,
    };
    TYPED(product)(grad->pass->call, grad->pass->kernels, thread, &product);
}

/* The chunk's steps for a thread's rows of the batch, the last step first. Threads do not wait for each other. */
static void TYPED(blas_backward)(const TYPED(layer_grad) *grad, clstm_i_subteam team) {
    const TYPED(backward_pass) *pass = grad->pass;
    const clstm_i_plan *plan = pass->plan;
    const size_t R = pass->recurrent_size;
    const clstm_i_range own = clstm_i_share_rows(plan, team.index, team.count);
    for (size_t t = pass->last; t-- > pass->first && !clstm_i_cancelled(pass->call);) {
        const clstm_i_range rows = clstm_i_below(own, plan->rows[t]);
        if (rows.begin >= rows.end) continue;
        TYPED(add_recurrent_gradient)(grad, team.thread, t + 1, clstm_i_below(rows, TYPED(active)(pass, t + 1)),
                                      grad->below + (plan->offsets[t] + rows.begin) * R, 1);
        if (grad->dm) TYPED(blas_projection_backward)(grad, team.thread, t, rows);
        TYPED(gates_backward_step)(grad, t, rows);
    }
    const clstm_i_range started = clstm_i_below(own, TYPED(active)(pass, 0));
    if (pass->first == 0 && grad->dh0)
        TYPED(add_recurrent_gradient)(grad, team.thread, 0, started, grad->dh0 + started.begin * R, 0);
}
