/* Backpropagation through time, typed: layer by layer from the top, each backwards in time, and then its weight and
   input gradients (backward_gradients.h), both for a chunk of steps at a time, so that the second finds in a cache what
   the first has left: 3 to 10 % of B = 32, H = 128. Gates become their own gradients where they lie: on the tape, or, of
   a tape without them, in a buffer for the chunk (backward_recompute.h). Two directions of a layer run side by side. */
#pragma once

#include "backward_blas.h"
#include "backward_gradients.h"
#include "backward_layer.h"
#include "backward_packed.h"
#include "backward_readout.h"
#include "backward_recompute.h"
#include "backward_state.h"
#include "gather.h"
#include "tape.h"

/* ---- One chunk of a layer ---- */

/* A task: the chunk's steps, the last first. Half of the threads take one direction and half the other, or a single
   one both in turn. */
static void TYPED(recurrences_backward)(void *argument, size_t index, size_t count) {
    const TYPED(back_pass) *pass = argument;
    const size_t groups = count > 1 ? pass->directions : 1, each = count / groups, group = index / each;
    const clstm_i_seat seat = {index, index % each, each};
    for (size_t d = 0; d < pass->directions && group < groups; d++) {
        if (groups > 1 && d != group) continue;
        if (pass->pack) TYPED(packed_backward)(&pass->backs[d], seat);
        else TYPED(blas_backward)(&pass->backs[d], seat);
    }
}

static void TYPED(run_products)(TYPED(back_pass) *pass, TYPED(back) *back) {
    const double gates = 4 * (double)pass->hidden_size * (double)TYPED(chunk_rows)(pass);
    const double I = (double)back->input_size, R = (double)pass->recurrent_size;
    const double work = gates * ((back->d_weight_ih ? I + R : 0) + (back->dx ? I : 0));
    if (clstm_i_cancelled(pass->call)) return;
    if (back->d_weight_hr)
        clstm_i_run(pass->call, clstm_i_wanted(pass->call, gates * R / 4, SIZE_MAX), TYPED(projection_gradients), back);
    if (back->d_weight_ih) back->h_before = TYPED(hidden_before)(back);
    if (back->d_weight_ih || back->dx)
        clstm_i_run(pass->call, clstm_i_wanted(pass->call, work, SIZE_MAX), TYPED(products_backward), back);
}

static void TYPED(run_chunk_backward)(TYPED(back_pass) *pass) {
    const size_t blocks = pass->pack && !pass->between ? pass->backs[0].packed->blocks : 0;
    const clstm_i_plan *plan = pass->plan;
    const clstm_i_shape shape = {
        plan->steps, plan->batch, pass->backs[0].input_size, pass->hidden_size, 1, pass->directions, plan->total,
        sizeof(real),
    };
    const size_t threads = clstm_i_choose_split_backward(pass->call, &shape, blocks, &pass->split);
    for (size_t d = 0; d < pass->directions; d++)
        memset(pass->backs[d].counters, 0, threads * sizeof(clstm_i_counter));
    clstm_i_run(pass->call, threads, TYPED(recurrences_backward), pass);
    for (size_t d = 0; d < pass->directions; d++) TYPED(run_products)(pass, &pass->backs[d]);
}

/* A chunk whose gates are computed again, and what the chunk before it in time needs of its gradients. */
static void TYPED(run_chunk_again)(TYPED(back_pass) *pass) {
    clstm_i_call *call = pass->call;
    const double H = (double)pass->hidden_size, rows = (double)TYPED(chunk_rows)(pass);
    for (size_t d = 0; d < pass->directions && !clstm_i_cancelled(call); d++) {
        TYPED(back) *back = &pass->backs[d];
        const double work = 4 * H * rows * (double)(pass->recurrent_size + back->input_size);
        if (back->d_weight_hr) back->outputs = back->states + TYPED(chunk_rows)(pass) * pass->stride;
        clstm_i_run(call, clstm_i_wanted(call, work, SIZE_MAX), TYPED(gates_again), back);
    }
    if (!clstm_i_cancelled(call)) TYPED(run_chunk_backward)(pass);
    for (size_t d = 0; d < pass->directions; d++)
        memcpy(pass->backs[d].after, pass->backs[d].gates,
               TYPED(active)(pass, pass->first) * 4 * pass->hidden_size * sizeof(real));
}

/* Where a chunk begins that ends at a step: of at most so many rows, or a single step. */
static size_t TYPED(chunk_begin)(const clstm_i_plan *plan, size_t last, size_t most) {
    size_t first = last ? last - 1 : 0;
    while (first && plan->offsets[last] - plan->offsets[first - 1] <= most) first--;
    return first;
}

static void TYPED(run_layer_backward)(TYPED(back_pass) *pass) {
    const int wish = pass->accumulate;
    pass->first = pass->last = pass->plan->steps;
    do {
        pass->last = pass->first;
        pass->first = TYPED(chunk_begin)(pass->plan, pass->last, pass->at_once);
        if (pass->again) TYPED(run_chunk_again)(pass);
        else TYPED(run_chunk_backward)(pass);
        pass->accumulate = 1;
    } while (pass->first && !clstm_i_cancelled(pass->call));
    pass->accumulate = wish;
}

/* ---- The call ---- */

/* From y's gradient to that of the last layer's h, through a readout. */
static void TYPED(begin_backward)(TYPED(back_pass) *pass) {
    const clstm_tape *tape = pass->tape;
    const clstm_config *config = &tape->config;
    const PUBLIC(gradients) *gradients = pass->gradients;
    const size_t L = config->num_layers, O = config->output_size, R = pass->recurrent_size, total = pass->plan->total;
    const size_t D = pass->directions;
    TYPED(zero_padding)(pass->plan, gradients->dx, config->input_size, config->input_size, 0, 1);
    if (!O) return;
    real *dh = D > 1 ? pass->above : pass->backs[0].below;
    const size_t stride = D > 1 ? D * R : pass->h_stride;
    if (!gradients->dy) {
        if (gradients->parameters && !pass->accumulate) TYPED(no_readout_gradients)(config, gradients->parameters);
        if (total) memset(dh, 0, total * stride * sizeof(real));
        return;
    }
    const TYPED(port) dy = {(real *)gradients->dy, O, pass->plan->caller, clstm_i_goes_back(config, 0)};
    if (!pass->direct) TYPED(exchange_all)(pass->plan, TYPED(take_rows), pass->dy, O, O, &dy);
    const real *top = TYPED(tape_input)(tape, L);
    TYPED(readout_back) out = {
        .call = pass->call, .kernels = pass->kernels, .config = config, .rows = total,
        .weights = tape->model->parameters,
        .h = top ? top : TYPED(slots)(tape, tape->hidden, L - 1, R) + tape->plan.batch * R,
        .dy = pass->direct ? gradients->dy : pass->dy,
        .d_weights = gradients->parameters, .accumulate = pass->accumulate, .dh = dh, .dh_stride = stride,
    };
    TYPED(run_readout_backward)(&out);
}

static clstm_status TYPED(check_backward)(const clstm_tape *tape, const PUBLIC(gradients) *gradients) {
    if (!tape || !gradients || gradients->size != sizeof *gradients) return CLSTM_INVALID_ARGUMENT;
    if (tape->is_f64 != REAL_IS_F64) return CLSTM_WRONG_DTYPE;
    if (tape->consumed) return CLSTM_TAPE_CONSUMED;
    if (tape->model_version != tape->model->version) return CLSTM_MODEL_CHANGED;
    return CLSTM_OK;
}

clstm_status PUBLIC(backward)(clstm_tape *tape, const PUBLIC(gradients) *gradients, const clstm_context *given) {
    clstm_context context;
    clstm_status status = TYPED(check_backward)(tape, gradients);
    if (!status) status = clstm_i_context(given, &context);
    if (status) return status;

    clstm_i_call call = {.context = &context};
    TYPED(back_pass) pass = {
        .call = &call, .tape = tape, .gradients = gradients, .plan = &tape->plan, .accumulate = gradients->accumulate,
    };
    TYPED(clstm_i_cell) cell;
    status = TYPED(choose_backward)(&pass, &cell);
    if (!status) status = TYPED(allocate_backward)(&pass);
    if (status) return status;

    tape->consumed = 1;
    TYPED(begin_backward)(&pass);
    for (size_t k = tape->config.num_layers; k-- > 0 && !clstm_i_cancelled(&call);) {
        TYPED(begin_layer)(&pass, k);
        TYPED(run_layer_backward)(&pass);
        for (size_t d = 0; d < pass.directions; d++) TYPED(end_part)(&pass.backs[d]);
        if (k) TYPED(drop_gradients)(&pass, k);
    }
    clstm_i_give_back(tape->model->cache, CLSTM_I_WORKSPACE, pass.memory);
    return clstm_i_cancelled(&call) ? CLSTM_CANCELLED : CLSTM_OK;
}
