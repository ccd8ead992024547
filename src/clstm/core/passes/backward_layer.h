/* The beginning and the end of a layer's backward pass, typed: its tensors, the gradients from above, and the gradients
   of its initial and final state. */
#pragma once

#include "backward_state.h"
#include "gather.h"
#include "read_cell.h"
#include "tape.h"

/* ---- Beginning ---- */

/* Adds the gradient of the final hidden state at each row's last step; for a row without steps it is the gradient of
   the initial state. */
static void TYPED(join_final)(const TYPED(layer_grad) *grad, const real *dhn) {
    const TYPED(backward_pass) *pass = grad->pass;
    const clstm_i_plan *plan = pass->plan;
    const size_t R = pass->recurrent_size, started = TYPED(active)(pass, 0);
    for (size_t row = started; grad->dh0 && row < plan->batch; row++)
        TYPED(copy_or_zero)(grad->dh0 + row * R, dhn ? dhn + clstm_i_caller_row(plan, row) * R : NULL, R);
    for (size_t t = 0; dhn && t < plan->steps; t++) {
        for (size_t row = TYPED(active)(pass, t + 1); row < plan->rows[t]; row++)
            TYPED(add)(grad->below + (plan->offsets[t] + row) * pass->h_stride,
                       dhn + clstm_i_caller_row(plan, row) * R, R);
    }
}

/* The tensors of a part, on the tape and in the model. */
static void TYPED(begin_part)(TYPED(layer_grad) *grad, size_t layer) {
    const TYPED(backward_pass) *pass = grad->pass;
    const clstm_tape *tape = pass->tape;
    const clstm_config *config = &tape->config;
    const size_t part = layer * pass->directions + grad->direction, H = pass->hidden_size, R = pass->recurrent_size;
    const clstm_i_offsets at = clstm_i_part_offsets(config, part);
    const real *weights = tape->model->parameters, *input = layer ? TYPED(tape_input)(tape, layer) : tape->x;
    clstm_i_assert(layer < config->num_layers);
    grad->part = part;
    grad->packed = pass->pack ? &pass->pack->parts[part] : NULL;
    grad->projection = pass->pack && config->proj_size ? &pass->pack->projections[part] : NULL;
    grad->forward = pass->forward_pack ? &pass->forward_pack->parts[part] : NULL;
    grad->input_size = at.input_size;
    grad->weight_ih = weights + at.input;
    grad->weight_hh = weights + at.recurrent;
    grad->weight_hr = config->proj_size ? weights + at.projection : NULL;
    grad->peephole = TYPED(peepholes_of)(tape->model, part);
    if (grad->bias) TYPED(write_bias)(tape->model, part, grad->bias);
    grad->x = input ? input : TYPED(slots)(tape, tape->hidden, part - 1, R) + tape->plan.batch * R;
    grad->h = TYPED(slots)(tape, tape->recurrent, part, R);
    grad->c = TYPED(slots)(tape, tape->cells, part, H);
    grad->outputs = tape->outputs ? (real *)tape->outputs + part * tape->plan.total * H : NULL;
    grad->outputs_stride = tape->outputs ? H : pass->c_stride;
    if (tape->gates) grad->gates = (real *)tape->gates + part * tape->plan.total * 4 * H;
}

/* Where the gradients of a part go: all of it is decided here. */
static void TYPED(begin_gradients)(TYPED(layer_grad) *grad, size_t layer) {
    const TYPED(backward_pass) *pass = grad->pass;
    const clstm_config *config = &pass->tape->config;
    const PUBLIC(gradients) *gradients = pass->gradients;
    const clstm_i_offsets at = clstm_i_part_offsets(config, grad->part);
    const size_t D = pass->directions, H = pass->hidden_size, R = pass->recurrent_size;
    grad->d_weights = gradients->parameters;
    grad->at = at;
    const real *dcn = gradients->dcn ? gradients->dcn + grad->part * pass->plan->batch * H : NULL;
    TYPED(gather_states)(pass->plan, grad->dc, H, dcn, NULL, H);

    TYPED(row_view) to = TYPED(caller_view)(pass->plan, gradients->dx, at.input_size, clstm_i_is_reversed(config, 0));
    if (layer && D == 1) to = TYPED(packed_view)(pass->plan, grad->below, pass->h_stride);
    else if (layer) to = TYPED(packed_view)(pass->plan, pass->above, D * R);
    to = TYPED(seen_by)(to, grad->direction);
    const int direct = TYPED(is_direct)(pass->plan, &to);
    grad->dx = direct || !to.data ? to.data : pass->dx_own;
    grad->dx_stride = direct ? to.stride : at.input_size;
    grad->dx_view = direct ? (TYPED(row_view)){0} : to;
    grad->dx_adds = grad->direction == 1 || (D > 1 && pass->capacity < pass->plan->total);
}

/* The gradient of a part's h that comes from above. */
static void TYPED(gather_from_above)(TYPED(layer_grad) *grad, size_t layer) {
    const TYPED(backward_pass) *pass = grad->pass;
    const clstm_config *config = &pass->tape->config;
    const PUBLIC(gradients) *gradients = pass->gradients;
    const clstm_i_plan *plan = pass->plan;
    const size_t D = pass->directions, R = pass->recurrent_size;
    const int top = layer + 1 == config->num_layers, from_y = top && !config->output_size;
    grad->dh = grad->below;
    grad->dh_stride = pass->h_stride;
    if (D == 1 && !from_y) return; /* it lies there already */
    TYPED(row_view) from = TYPED(packed_view)(plan, pass->above, D * R);
    if (from_y) from = TYPED(caller_view)(plan, gradients->dy, D * R, clstm_i_is_reversed(config, 0));
    from = TYPED(columns_from)(TYPED(seen_by)(from, grad->direction), grad->direction * R);
    if (!from.data) memset(grad->below, 0, plan->total * pass->h_stride * sizeof(real));
    else if (!TYPED(reads_dy)(pass, layer)) {
        TYPED(exchange_all)(plan, TYPED(gather_rows), grad->below, pass->h_stride, R, &from);
    } else {
        grad->dh = from.data;
        grad->dh_stride = R;
    }
}

/* A task: a thread's share of x in the order of the reverse direction. */
static void TYPED(reverse_input)(void *argument, size_t index, size_t count) {
    const TYPED(backward_pass) *pass = argument;
    const TYPED(layer_grad) *grad = &pass->grads[1];
    const size_t I = grad->input_size;
    const TYPED(row_view) x = TYPED(packed_view)(pass->plan, (real *)pass->grads[0].x, I); /* only read */
    const TYPED(row_view) from = TYPED(seen_by)(x, 1);
    const TYPED(packed_rows) own = {
        pass->x_reversed, I, I, {0, pass->plan->steps}, clstm_i_share(pass->plan->total, 1, index, count),
    };
    TYPED(exchange_rows)(pass->plan, TYPED(gather_rows), &own, &from);
}

static void TYPED(begin_layer)(TYPED(backward_pass) *pass, size_t layer) {
    const size_t states = pass->plan->batch * pass->recurrent_size;
    for (size_t d = 0; d < pass->directions; d++) {
        TYPED(layer_grad) *grad = &pass->grads[d];
        TYPED(begin_part)(grad, layer);
        TYPED(begin_gradients)(grad, layer);
        TYPED(gather_from_above)(grad, layer);
        TYPED(join_final)(grad, pass->gradients->dhn ? pass->gradients->dhn + grad->part * states : NULL);
    }
    if (pass->directions == 1 || !pass->plan->total) return;
    real *dx = layer ? pass->above : pass->gradients->dx;
    const size_t rows = layer ? pass->plan->total : clstm_i_caller_rows(pass->plan);
    if (dx && pass->grads[0].dx_adds) memset(dx, 0, rows * pass->grads[0].input_size * sizeof(real));
    const double work = 8 * (double)pass->plan->total * (double)pass->grads[1].input_size;
    clstm_i_run(pass->call, clstm_i_threads_for(pass->call, work, SIZE_MAX), TYPED(reverse_input), pass);
    pass->grads[1].x = pass->x_reversed;
}

/* ---- End ---- */

/* The gradients of the initial state: for each of the caller's rows, and, summed over rows, for the model's own. */
static void TYPED(end_part)(const TYPED(layer_grad) *grad) {
    const TYPED(backward_pass) *pass = grad->pass;
    const clstm_tape *tape = pass->tape;
    const clstm_i_plan *plan = pass->plan;
    const PUBLIC(gradients) *gradients = pass->gradients;
    const size_t B = plan->batch, H = pass->hidden_size, R = pass->recurrent_size, q = grad->part;
    TYPED(scatter_states)(plan, grad->dh0, R, gradients->dh0 ? gradients->dh0 + q * B * R : NULL, R);
    TYPED(scatter_states)(plan, grad->dc, H, gradients->dc0 ? gradients->dc0 + q * B * H : NULL, H);
    if (!tape->config.learn_state || !gradients->parameters) return;
    const clstm_i_offsets at = clstm_i_part_offsets(&tape->config, clstm_i_parts(&tape->config));
    real *dh0 = gradients->parameters + at.h0 + q * R, *dc0 = gradients->parameters + at.c0 + q * H;
    if (!pass->accumulate) {
        memset(dh0, 0, R * sizeof(real));
        memset(dc0, 0, H * sizeof(real));
    }
    if (tape->own_h0) pass->kernels->sum_rows(B, R, grad->dh0, R, dh0);
    if (tape->own_c0) pass->kernels->sum_rows(B, H, grad->dc, H, dc0);
}

/* Applies the forward pass's dropout mask to the gradient that goes to the layer below. */
static void TYPED(drop_gradients)(TYPED(backward_pass) *pass, size_t layer) {
    const size_t size = pass->directions * pass->recurrent_size;
    const TYPED(row_view) factors = TYPED(dropout_of)(pass->tape, layer);
    real *data = pass->directions > 1 ? pass->above : pass->grads[0].below;
    if (factors.data)
        TYPED(exchange_all)(pass->plan, TYPED(scale_by_rows), data, pass->directions > 1 ? size : pass->h_stride, size,
                            &factors);
}
