/* What a layer of a backward pass begins and ends with, typed: tensors, gradients from above, the state's. */
#pragma once

#include "backward_state.h"
#include "gather.h"
#include "read_cell.h"
#include "tape.h"

/* ---- What a layer begins with ---- */

/* The gradient of the final hidden state joins that from above, at each row's last step; of a row without a step it is
   already that of the initial state. */
static void TYPED(join_final)(const TYPED(back) *back, const real *dhn) {
    const TYPED(back_pass) *pass = back->pass;
    const clstm_i_plan *plan = pass->plan;
    const size_t R = pass->recurrent_size, started = TYPED(active)(pass, 0);
    for (size_t row = started; back->dh0 && row < plan->batch; row++)
        TYPED(copy_or_zero)(back->dh0 + row * R, dhn ? dhn + clstm_i_caller_row(plan, row) * R : NULL, R);
    for (size_t t = 0; dhn && t < plan->steps; t++) {
        for (size_t row = TYPED(active)(pass, t + 1); row < plan->rows[t]; row++)
            TYPED(add)(back->below + (plan->offsets[t] + row) * pass->h_stride,
                       dhn + clstm_i_caller_row(plan, row) * R, R);
    }
}

/* The tensors of a part, on the tape and in the model. */
static void TYPED(begin_part)(TYPED(back) *back, size_t layer) {
    const TYPED(back_pass) *pass = back->pass;
    const clstm_tape *tape = pass->tape;
    const clstm_config *config = &tape->config;
    const size_t part = layer * pass->directions + back->direction, H = pass->hidden_size, R = pass->recurrent_size;
    const clstm_i_offsets at = clstm_i_part_offsets(config, part);
    const real *weights = tape->model->parameters, *input = layer ? TYPED(tape_input)(tape, layer) : tape->x;
    back->part = part;
    back->packed = pass->pack ? &pass->pack->parts[part] : NULL;
    back->projection = pass->pack && config->proj_size ? &pass->pack->projections[part] : NULL;
    back->forward = pass->forward_pack ? &pass->forward_pack->parts[part] : NULL;
    back->input_size = at.input_size;
    back->weight_ih = weights + at.input;
    back->weight_hh = weights + at.recurrent;
    back->weight_hr = config->proj_size ? weights + at.projection : NULL;
    back->peephole = TYPED(peepholes_of)(tape->model, part);
    back->bias = config->no_bias ? pass->zeros : weights + at.bias;
    back->x = input ? input : TYPED(slots)(tape, tape->hidden, part - 1, R) + tape->plan.batch * R;
    back->h = TYPED(slots)(tape, tape->recurrent, part, R);
    back->c = TYPED(slots)(tape, tape->cells, part, H);
    back->outputs = tape->outputs ? (real *)tape->outputs + part * tape->plan.total * H : NULL;
    back->outputs_stride = tape->outputs ? H : pass->stride;
    if (tape->gates) back->gates = (real *)tape->gates + part * tape->plan.total * 4 * H;
}

/* Where a part's gradients go. */
static void TYPED(begin_gradients)(TYPED(back) *back, size_t layer) {
    const TYPED(back_pass) *pass = back->pass;
    const clstm_config *config = &pass->tape->config;
    const PUBLIC(gradients) *gradients = pass->gradients;
    const clstm_i_offsets at = clstm_i_part_offsets(config, back->part);
    const size_t D = pass->directions, H = pass->hidden_size, R = pass->recurrent_size;
    real *d_weights = gradients->parameters;
    back->d_weight_ih = d_weights ? d_weights + at.input : NULL;
    back->d_weight_hh = d_weights ? d_weights + at.recurrent : NULL;
    back->d_weight_hr = d_weights && config->proj_size ? d_weights + at.projection : NULL;
    back->d_bias = d_weights && !config->no_bias ? d_weights + at.bias : NULL;
    back->d_peephole = d_weights && config->cell.peephole ? d_weights + at.peephole : NULL;
    const real *dcn = gradients->dcn ? gradients->dcn + back->part * pass->plan->batch * H : NULL;
    TYPED(take_states)(pass->plan, back->dc, H, dcn, NULL, H);

    TYPED(port) to = {gradients->dx, at.input_size, pass->plan->caller, clstm_i_goes_back(config, back->direction)};
    if (layer && D == 1) to = (TYPED(port)){back->below, pass->h_stride, clstm_i_packed_map(pass->plan), 0};
    else if (layer) to = (TYPED(port)){pass->above, D * R, clstm_i_packed_map(pass->plan), back->direction == 1};
    const int direct = TYPED(is_direct)(pass->plan, &to);
    back->dx = direct || !to.data ? to.data : pass->dx_own;
    back->dx_stride = direct ? to.stride : at.input_size;
    back->dx_to = direct ? (TYPED(port)){0} : to;
    back->dx_adds = back->direction == 1 || (D > 1 && pass->at_once < pass->plan->total);
}

/* The gradient of the h of a part that comes from above. */
static void TYPED(take_from_above)(TYPED(back) *back, size_t layer) {
    const TYPED(back_pass) *pass = back->pass;
    const clstm_config *config = &pass->tape->config;
    const PUBLIC(gradients) *gradients = pass->gradients;
    const clstm_i_plan *plan = pass->plan;
    const size_t D = pass->directions, R = pass->recurrent_size;
    const int top = layer + 1 == config->num_layers, from_y = top && !config->output_size;
    back->dh = back->below;
    back->dh_stride = pass->h_stride;
    TYPED(port) from = {pass->above, D * R, clstm_i_packed_map(plan), 0};
    if (from_y) from = (TYPED(port)){(real *)gradients->dy, D * R, plan->caller, clstm_i_goes_back(config, 0)};
    from.back |= back->direction == 1;
    if (D == 1 && !from_y) return; /* it is there already */
    if (!from.data) memset(back->below, 0, plan->total * pass->h_stride * sizeof(real));
    else if (!TYPED(reads_dy)(pass, layer)) {
        from = TYPED(columns_from)(from, back->direction * R);
        TYPED(exchange_all)(plan, TYPED(take_rows), back->below, pass->h_stride, R, &from);
    } else {
        back->dh = from.data;
        back->dh_stride = R;
    }
}

/* A task: x in the order of the reverse direction, a thread's part. */
static void TYPED(turn_input)(void *argument, size_t index, size_t count) {
    const TYPED(back_pass) *pass = argument;
    const TYPED(back) *back = &pass->backs[1];
    const size_t I = back->input_size;
    const TYPED(port) from = {(real *)pass->backs[0].x, I, clstm_i_packed_map(pass->plan), 1};
    const TYPED(own_rows) own = {
        pass->x_back, I, I, {0, pass->plan->steps}, clstm_i_slice(pass->plan->total, 1, index, count),
    };
    TYPED(exchange_rows)(pass->plan, TYPED(take_rows), &own, &from);
}

static void TYPED(begin_layer)(TYPED(back_pass) *pass, size_t layer) {
    const size_t states = pass->plan->batch * pass->recurrent_size;
    for (size_t d = 0; d < pass->directions; d++) {
        TYPED(back) *back = &pass->backs[d];
        TYPED(begin_part)(back, layer);
        TYPED(begin_gradients)(back, layer);
        TYPED(take_from_above)(back, layer);
        TYPED(join_final)(back, pass->gradients->dhn ? pass->gradients->dhn + back->part * states : NULL);
    }
    if (pass->directions == 1 || !pass->plan->total) return;
    real *dx = layer ? pass->above : pass->gradients->dx;
    const size_t rows = layer ? pass->plan->total : clstm_i_caller_rows(pass->plan);
    if (dx && pass->backs[0].dx_adds) memset(dx, 0, rows * pass->backs[0].input_size * sizeof(real));
    const double work = 8 * (double)pass->plan->total * (double)pass->backs[1].input_size;
    clstm_i_run(pass->call, clstm_i_wanted(pass->call, work, SIZE_MAX), TYPED(turn_input), pass);
    pass->backs[1].x = pass->x_back;
}

/* ---- What a layer ends with ---- */

/* The gradients of the initial state, of the caller's rows and, summed over rows, of the model's own. */
static void TYPED(end_part)(const TYPED(back) *back) {
    const TYPED(back_pass) *pass = back->pass;
    const clstm_tape *tape = pass->tape;
    const clstm_i_plan *plan = pass->plan;
    const PUBLIC(gradients) *gradients = pass->gradients;
    const size_t B = plan->batch, H = pass->hidden_size, R = pass->recurrent_size, q = back->part;
    TYPED(give_states)(plan, back->dh0, R, gradients->dh0 ? gradients->dh0 + q * B * R : NULL, R);
    TYPED(give_states)(plan, back->dc, H, gradients->dc0 ? gradients->dc0 + q * B * H : NULL, H);
    if (!tape->config.learn_state || !gradients->parameters) return;
    const clstm_i_offsets at = clstm_i_part_offsets(&tape->config, clstm_i_parts(&tape->config));
    real *dh0 = gradients->parameters + at.h0 + q * R, *dc0 = gradients->parameters + at.c0 + q * H;
    if (!pass->accumulate) {
        memset(dh0, 0, R * sizeof(real));
        memset(dc0, 0, H * sizeof(real));
    }
    if (tape->own_h0) pass->kernels->sum_rows(B, R, back->dh0, R, dh0);
    if (tape->own_c0) pass->kernels->sum_rows(B, H, back->dc, H, dc0);
}

/* What the layer below gets is as much dropped as what it gave. */
static void TYPED(drop_gradients)(TYPED(back_pass) *pass, size_t layer) {
    const size_t size = pass->directions * pass->recurrent_size;
    const TYPED(port) factors = TYPED(dropout_of)(pass->tape, layer);
    real *data = pass->directions > 1 ? pass->above : pass->backs[0].below;
    if (factors.data)
        TYPED(exchange_all)(pass->plan, TYPED(scale_rows), data, pass->directions > 1 ? size : pass->h_stride, size,
                            &factors);
}
