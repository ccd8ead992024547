/* Backpropagation through time, typed: layer by layer from the top. A chunk of steps goes backward in time; then its
   weight and input gradients are computed (backward_gradients.h), while the gate gradients are still in a cache: 3 to
   10 % at B = 32, H = 128. Gates become their own gradients in place: on the tape, or, if the tape has none, in the
   chunk's buffer (backward_recompute.h). Two directions of a layer run side by side. */
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

/* Whether threads wait for each other in the chunk's steps. */
static int TYPED(meets_backward)(const TYPED(backward_pass) *pass) {
    return pass->schedule.split == CLSTM_I_UNITS && pass->schedule.threads > pass->directions;
}

/* A task: the chunk's steps, the last first. Half of the threads have one direction and half the other; or a single
   thread both in turn. */
static void TYPED(recurrences_backward)(void *argument, size_t index, size_t count) {
    const TYPED(backward_pass) *pass = argument;
    const size_t groups = count > 1 ? pass->directions : 1, each = count / groups, group = index / each;
    for (size_t d = 0; d < pass->directions && group < groups; d++) {
        if (groups > 1 && d != group) continue;
        const clstm_i_subteam team = clstm_i_team_of(index, index % each, each, pass->grads[d].counters);
        if (pass->pack) TYPED(packed_backward)(&pass->grads[d], team);
        else TYPED(blas_backward)(&pass->grads[d], team);
    }
}

static void TYPED(run_products)(TYPED(backward_pass) *pass, TYPED(layer_grad) *grad) {
    const double gates = 4 * (double)pass->hidden_size * (double)TYPED(chunk_rows)(pass);
    const double I = (double)grad->input_size, R = (double)pass->recurrent_size;
    const double work = gates * ((grad->d_weights ? I + R : 0) + (grad->dx ? I : 0));
    if (clstm_i_cancelled(pass->call)) return;
    if (grad->d_weights && grad->weight_hr)
        clstm_i_run(pass->call, clstm_i_threads_for(pass->call, gates * R / 4, SIZE_MAX), TYPED(projection_gradients),
                    grad);
    if (grad->d_weights) grad->h_before = TYPED(gather_hidden_before)(grad);
    if (grad->d_weights || grad->dx)
        clstm_i_run(pass->call, clstm_i_threads_for(pass->call, work, SIZE_MAX), TYPED(products_backward), grad);
}

static void TYPED(trace_backward)(const TYPED(backward_pass) *pass, const clstm_i_shape *shape, const char *isa) {
    if (pass->last != pass->plan->steps) return; /* one line for each layer */
    clstm_i_trace_pass(&(clstm_i_traced_pass){
        .name = "backward", .isa = isa, .packed = pass->pack != NULL, .shape = shape, .schedule = &pass->schedule,
        .chunk = pass->capacity,
    });
}

static void TYPED(run_chunk_backward)(TYPED(backward_pass) *pass) {
    const size_t blocks = pass->pack && !pass->between_steps ? pass->grads[0].packed->blocks : 0;
    const clstm_i_plan *plan = pass->plan;
    const clstm_i_shape shape = {
        plan->steps, plan->batch, pass->grads[0].input_size, pass->hidden_size, 1, pass->directions, plan->total,
        sizeof(real), clstm_i_handover(pass->call),
    };
    pass->schedule = clstm_i_schedule_backward(pass->call, &shape, blocks);
    if (clstm_i_traces()) TYPED(trace_backward)(pass, &shape, clstm_isa());
    for (size_t d = 0; d < pass->directions; d++)
        memset(pass->grads[d].counters, 0, pass->schedule.threads * sizeof(clstm_i_counter));
    if (TYPED(meets_backward)(pass))
        clstm_i_run_together(pass->call, pass->schedule.threads, TYPED(recurrences_backward), pass);
    else clstm_i_run(pass->call, pass->schedule.threads, TYPED(recurrences_backward), pass);
    for (size_t d = 0; d < pass->directions; d++) TYPED(run_products)(pass, &pass->grads[d]);
}

/* A chunk whose gates are recomputed; it keeps the gate gradients that the chunk before it in time needs. */
static void TYPED(run_recomputed_chunk)(TYPED(backward_pass) *pass) {
    clstm_i_call *call = pass->call;
    const double H = (double)pass->hidden_size, rows = (double)TYPED(chunk_rows)(pass);
    for (size_t d = 0; d < pass->directions && !clstm_i_cancelled(call); d++) {
        TYPED(layer_grad) *grad = &pass->grads[d];
        const double work = 4 * H * rows * (double)(pass->recurrent_size + grad->input_size);
        if (grad->d_weights && grad->weight_hr) grad->outputs = grad->states + TYPED(chunk_rows)(pass) * pass->c_stride;
        clstm_i_run(call, clstm_i_threads_for(call, work, SIZE_MAX), TYPED(recompute_gates), grad);
    }
    if (!clstm_i_cancelled(call)) TYPED(run_chunk_backward)(pass);
    for (size_t d = 0; d < pass->directions; d++)
        memcpy(pass->grads[d].after, pass->grads[d].gates,
               TYPED(active)(pass, pass->first) * 4 * pass->hidden_size * sizeof(real));
}

/* The first step of the chunk that ends at a step: at most `most` rows, or a single step. */
static size_t TYPED(chunk_begin)(const clstm_i_plan *plan, size_t last, size_t most) {
    size_t first = last ? last - 1 : 0;
    while (first && plan->offsets[last] - plan->offsets[first - 1] <= most) first--;
    return first;
}

static void TYPED(run_layer_backward)(TYPED(backward_pass) *pass) {
    const int wish = pass->accumulate;
    pass->first = pass->last = pass->plan->steps;
    do {
        pass->last = pass->first;
        pass->first = TYPED(chunk_begin)(pass->plan, pass->last, pass->capacity);
        clstm_i_assert(TYPED(chunk_rows)(pass) <= pass->capacity);
        if (pass->recompute) TYPED(run_recomputed_chunk)(pass);
        else TYPED(run_chunk_backward)(pass);
        pass->accumulate = 1;
    } while (pass->first && !clstm_i_cancelled(pass->call));
    pass->accumulate = wish;
}

/* ---- The call ---- */

/* From the gradient of y to the gradient of the last layer's h, through the readout if there is one. */
static void TYPED(begin_backward)(TYPED(backward_pass) *pass) {
    const clstm_tape *tape = pass->tape;
    const clstm_config *config = &tape->config;
    const PUBLIC(gradients) *gradients = pass->gradients;
    const size_t L = config->num_layers, O = config->output_size, R = pass->recurrent_size, total = pass->plan->total;
    const size_t D = pass->directions;
    TYPED(zero_padding)(pass->plan, gradients->dx, config->input_size, config->input_size, 0, 1);
    if (!O) return;
    real *dh = D > 1 ? pass->above : pass->grads[0].below;
    const size_t stride = D > 1 ? D * R : pass->h_stride;
    if (!gradients->dy) {
        if (gradients->parameters && !pass->accumulate) TYPED(no_readout_gradients)(config, gradients->parameters);
        if (total) memset(dh, 0, total * stride * sizeof(real));
        return;
    }
    const TYPED(row_view) dy = TYPED(caller_view)(pass->plan, gradients->dy, O, clstm_i_is_reversed(config, 0));
    if (!pass->direct) TYPED(exchange_all)(pass->plan, TYPED(gather_rows), pass->dy, O, O, &dy);
    const real *top = TYPED(tape_input)(tape, L);
    TYPED(readout_gradients) out = {
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
    TYPED(backward_pass) pass = {
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
        for (size_t d = 0; d < pass.directions; d++) TYPED(end_part)(&pass.grads[d]);
        if (k) TYPED(drop_gradients)(&pass, k);
    }
    clstm_i_give_back(tape->model->cache, CLSTM_I_WORKSPACE, pass.memory);
    return clstm_i_cancelled(&call) ? CLSTM_CANCELLED : CLSTM_OK;
}
