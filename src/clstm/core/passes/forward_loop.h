/* The time loop of the forward pass, typed: chunks of steps through all layers and the readout, shared by threads. */
#pragma once

#include "forward_layer.h"

/* ---- One direction ---- */

/* Chunk after chunk, each through the layers from `begin` up to `end`. */
static void TYPED(run_layers)(TYPED(worker) *worker, size_t begin, size_t end) {
    const TYPED(forward_pass) *pass = worker->pass;
    size_t last;
    for (size_t first = 0; first < pass->plan.steps && !TYPED(stops)(worker); first = last) {
        last = clstm_i_plan_chunk(&pass->plan, first, pass->capacity);
        if (pass->skews) TYPED(run_skewed)(worker, first, last);
        else for (size_t k = begin; k < end && !TYPED(stops)(worker); k++) {
            const TYPED(chunk) chunk = TYPED(locate_chunk)(worker, 0, first, last, k);
            TYPED(run_chunk)(worker, &chunk);
        }
        TYPED(meet_before_reuse)(worker);
    }
}

/* Chunk n of layer k, once what it waits for is done. */
static void TYPED(run_wave)(TYPED(worker) *worker, clstm_i_counter *done, size_t k, size_t n) {
    const TYPED(forward_pass) *pass = worker->pass;
    const clstm_i_plan *plan = &pass->plan;
    const size_t thread = worker->step_team.thread, each = pass->capacity / plan->batch;
    clstm_i_await(pass->call, thread, &done[k], n);
    if (k) clstm_i_await(pass->call, thread, &done[k - 1], n + 1);
    if (k + 1 < pass->model->config.num_layers && n > 1) /* until it has read the buffer */
        clstm_i_await(pass->call, thread, &done[k + 1], n - 1);
    if (clstm_i_cancelled(pass->call)) return;
    const size_t first = n * each, last = clstm_i_min(first + each, plan->steps);
    const TYPED(chunk) chunk = TYPED(locate_chunk)(worker, n, first, last, k);
    TYPED(run_chunk)(worker, &chunk);
    clstm_i_publish(&done[k], n + 1);
}

/* A task: a wavefront. The waves (layer k, chunk n), ordered by k + n and then by k, are taken by the threads in turn.
   A wave waits only for waves of earlier diagonals, all of which have been taken, so that no two threads wait for each
   other. */
static void TYPED(run_wavefront)(void *argument, size_t index, size_t count) {
    const TYPED(forward_pass) *pass = argument;
    TYPED(worker) worker = {
        .pass = pass, .step_team = clstm_i_alone(index), .pass_team = clstm_i_alone(index),
        .rows = {0, pass->plan.batch},
    };
    const size_t L = pass->model->config.num_layers, each = pass->capacity / pass->plan.batch;
    const size_t chunks = (pass->plan.steps + each - 1) / each;
    clstm_i_counter *done = pass->counters + 2 * pass->schedule.threads; /* chunks of each layer */
    clstm_i_counter *taken = done + L;
    size_t wave = 0, own = atomic_fetch_add(&taken->value, 1);
    (void)count;
    for (size_t diagonal = 0; diagonal < chunks + L - 1; diagonal++) {
        for (size_t k = 0; k < L && k <= diagonal; k++) {
            if (diagonal - k >= chunks || wave++ != own) continue;
            TYPED(run_wave)(&worker, done, k, diagonal - k);
            if (clstm_i_cancelled(pass->call) || clstm_i_leaves(pass->call, index)) return;
            own = atomic_fetch_add(&taken->value, 1);
        }
    }
}

/* ---- Two directions: layer by layer, as each reads all steps of the one below ---- */

/* After both directions of a layer: dropout of the next layer's input, or the readout. */
static void TYPED(finish_layer)(TYPED(worker) *all, size_t layer) {
    const TYPED(forward_pass) *pass = all->pass;
    const clstm_config *config = &pass->model->config;
    const clstm_i_plan *plan = &pass->plan;
    const int reads_out = layer + 1 == config->num_layers && config->output_size && pass->y.data;
    const TYPED(row_view) h = TYPED(input_view)(pass, layer + 1, 0);
    size_t last;
    if (layer + 1 < config->num_layers)
        TYPED(drop_input)(pass->tape, layer + 1, 0, plan->steps,
                          clstm_i_share(plan->total, 1, all->step_team.index, all->step_team.count));
    for (size_t first = 0; reads_out && first < plan->steps && !TYPED(stops)(all); first = last) {
        last = clstm_i_plan_chunk(plan, first, pass->capacity);
        const size_t origin = plan->offsets[first];
        const TYPED(chunk) chunk = {.first = first, .last = last, .origin = origin, .n = plan->offsets[last] - origin};
        for (size_t n = 0; n < TYPED(range_count)(all, &chunk); n++)
            TYPED(read_out)(all, &chunk, TYPED(range_at)(all, &chunk, n), h.data + origin * h.stride, h.stride);
        TYPED(meet)(all);
    }
    TYPED(meet)(all);
}

/* Half of the threads compute the forward direction and half the reverse one; or a single thread both in turn. A thread
   leaves after a layer, if it has a direction of its own. */
static void TYPED(run_both_directions)(TYPED(worker) *worker, size_t count) {
    const TYPED(forward_pass) *pass = worker->pass;
    const size_t thread = worker->pass_team.thread;
    const size_t groups = count > 1 ? 2 : 1, each = count / groups, group = thread / each;
    if (group >= groups) return; /* the last of an odd number of threads */
    TYPED(worker) all = *worker;
    all.step_team = clstm_i_team_of(thread, thread, groups * each, pass->counters + pass->schedule.threads);
    worker->pass_team = clstm_i_team_of(thread, thread % each, each, pass->counters + group * each);
    all.step_team.fixed = worker->pass_team.fixed = each > 1;
    all.pass_team = all.step_team;
    if (pass->schedule.split == CLSTM_I_ROWS) TYPED(take_rows)(worker);
    else worker->step_team = worker->pass_team;
    for (size_t k = 0; k < pass->model->config.num_layers && !TYPED(stops)(&all); k++) {
        for (size_t direction = 0; direction < 2; direction++) {
            worker->direction = direction;
            if (all.step_team.count == 1 || group == direction) TYPED(run_layers)(worker, k, k + 1);
        }
        TYPED(meet)(&all);
        if (!TYPED(stops)(&all)) TYPED(finish_layer)(&all, k);
    }
}

/* ---- A thread's task ---- */

static void TYPED(run_worker)(void *argument, size_t index, size_t count) {
    const TYPED(forward_pass) *pass = argument;
    const clstm_i_subteam team = clstm_i_team_of(index, index, count, pass->counters);
    TYPED(worker) worker = {
        .pass = pass, .step_team = clstm_i_alone(index), .pass_team = team, .rows = {0, pass->plan.batch},
    };
    TYPED(zero_padding)(&pass->plan, pass->y.data, pass->y.stride, pass->y.stride, index, count);
    if (pass->directions > 1) {
        TYPED(run_both_directions)(&worker, count);
        return;
    }
    if (pass->schedule.split == CLSTM_I_ROWS) TYPED(take_rows)(&worker);
    else worker.step_team = team;
    TYPED(run_layers)(&worker, 0, pass->model->config.num_layers);
}

/* Bands of the batch that threads take in turn: one for each; on a busy machine more, as long as tiles stay full. */
static size_t TYPED(bands_of_rows)(const TYPED(forward_pass) *pass) {
    const size_t threads = pass->schedule.threads;
    if (!pass->pack || !clstm_i_is_busy(pass->call)) return threads;
    return clstm_i_max(clstm_i_min(TUNE_BUSY_BANDS * threads, pass->plan.batch / TUNE_BUSY_ROWS), threads);
}

/* Rows of equal length never wait for each other: a thread that is late takes fewer of them. */
static void TYPED(run_pass)(TYPED(forward_pass) *pass) {
    const clstm_i_schedule *schedule = &pass->schedule;
    if (schedule->split == CLSTM_I_LAYERS) {
        TYPED(zero_padding)(&pass->plan, pass->y.data, pass->y.stride, pass->y.stride, 0, 1);
        clstm_i_run_freely(pass->call, schedule->threads, TYPED(run_wavefront), pass);
    } else if (schedule->split == CLSTM_I_ROWS && pass->directions == 1 && !pass->plan.lengths)
        clstm_i_run(pass->call, TYPED(bands_of_rows)(pass), TYPED(run_worker), pass);
    else clstm_i_run_together(pass->call, schedule->threads, TYPED(run_worker), pass);
}

/* ---- The call ---- */

static clstm_status TYPED(check)(const clstm_model *model, const PUBLIC(sequence) *sequence, int records) {
    if (!model || !sequence || sequence->size != sizeof *sequence) return CLSTM_INVALID_ARGUMENT;
    if (model->is_f64 != REAL_IS_F64) return CLSTM_WRONG_DTYPE;
    if (model->plays) return CLSTM_STREAM_ONLY;
    if (!sequence->x && sequence->steps && sequence->batch) return CLSTM_INVALID_ARGUMENT;
    if ((unsigned)sequence->keep > CLSTM_KEEP_STATES) return CLSTM_INVALID_ARGUMENT;
    if (sequence->ragged && !sequence->lengths && sequence->batch) return CLSTM_INVALID_ARGUMENT;
    if (!records && (sequence->dropout || sequence->recurrent_dropout)) return CLSTM_INVALID_ARGUMENT;
    if (sequence->dropout && model->config.num_layers == 1) return CLSTM_INVALID_ARGUMENT;
    return CLSTM_OK;
}

/* Chooses engine and schedule; a cell that is not plain goes into *cell. */
static clstm_status TYPED(begin_pass)(TYPED(forward_pass) *pass, const clstm_i_extent *extent,
                                      TYPED(clstm_i_cell) *cell) {
    const clstm_config *config = &pass->model->config;
    const clstm_i_isa *isa;
    int packed;
    clstm_status status = clstm_i_chosen(pass->call->context, &isa, &packed);
    if (!status) status = clstm_i_plan_total(extent, &pass->plan.total);
    if (status) return status;
    pass->call->blas = !packed;
    pass->kernels = isa->KERNELS;
    pass->cell = TYPED(read_cell)(config, pass->kernels, cell);
    pass->directions = clstm_i_directions(config);
    pass->recurrent_size = clstm_i_recurrent_size(config);
    pass->direct = clstm_i_plan_is_uniform(extent) && config->direction != CLSTM_REVERSE;
    pass->c_stride = config->hidden_size;
    pass->h_stride = pass->recurrent_size;
    pass->width = 4 * config->hidden_size;
    if (packed) {
        const size_t lanes = pass->kernels->lanes;
        pass->pack = TYPED(get_pack)(pass->model, CLSTM_I_FORWARD, lanes, &status);
        if (!pass->pack) return status;
        pass->c_stride = clstm_i_whole_vectors(pass->c_stride, lanes);
        pass->h_stride = clstm_i_whole_vectors(pass->h_stride, lanes);
        pass->width = pass->pack->parts[0].width;
    }
    pass->shape = (clstm_i_shape){
        clstm_i_plan_longest(extent), extent->batch, config->input_size, config->hidden_size, config->num_layers,
        pass->directions, pass->plan.total, sizeof(real), clstm_i_handover(pass->call),
    };
    pass->schedule = clstm_i_schedule_forward(pass->call, &pass->shape, packed);
    pass->skews = TYPED(pass_skews)(pass, extent);
    pass->hoists = TYPED(any_hoists)(pass);
    return CLSTM_OK;
}

/* The initial state. */
static void TYPED(begin_states)(TYPED(forward_pass) *pass, const PUBLIC(sequence) *sequence) {
    const clstm_config *config = &pass->model->config;
    const size_t parts = clstm_i_parts(config), B = sequence->batch, H = config->hidden_size, R = pass->recurrent_size;
    const clstm_i_offsets at = clstm_i_part_offsets(config, parts);
    const real *own = config->learn_state ? pass->model->parameters : NULL;
    for (size_t q = 0; q < parts; q++) {
        TYPED(gather_states)(&pass->plan, pass->h + q * B * pass->h_stride, pass->h_stride,
                           sequence->h0 ? sequence->h0 + q * B * R : NULL, own ? own + at.h0 + q * R : NULL, R);
        TYPED(gather_states)(&pass->plan, pass->c + q * B * pass->c_stride, pass->c_stride,
                           sequence->c0 ? sequence->c0 + q * B * H : NULL, own ? own + at.c0 + q * H : NULL, H);
    }
}

static void TYPED(end_states)(const TYPED(forward_pass) *pass, const PUBLIC(sequence) *sequence) {
    const clstm_config *config = &pass->model->config;
    const size_t B = sequence->batch, H = config->hidden_size, R = pass->recurrent_size;
    for (size_t q = 0; q < clstm_i_parts(config); q++) {
        TYPED(scatter_states)(&pass->plan, pass->h + q * B * pass->h_stride, pass->h_stride,
                           sequence->hn ? sequence->hn + q * B * R : NULL, R);
        TYPED(scatter_states)(&pass->plan, pass->c + q * B * pass->c_stride, pass->c_stride,
                           sequence->cn ? sequence->cn + q * B * H : NULL, H);
    }
}

static void TYPED(trace_pass)(const TYPED(forward_pass) *pass, const char *isa) {
    clstm_i_trace_pass(&(clstm_i_traced_pass){
        .name = pass->tape ? "record" : "forward", .isa = isa, .packed = pass->pack != NULL, .shape = &pass->shape,
        .schedule = &pass->schedule, .hoists = pass->hoists, .chunk = pass->capacity,
    });
}

/* The pass itself, for clstm_forward and, with a tape that has its memory, clstm_record. */
static clstm_status TYPED(run_sequence)(const clstm_model *model, const PUBLIC(sequence) *sequence,
                                        const clstm_context *context, clstm_tape *tape) {
    const clstm_config *config = &model->config;
    const clstm_i_extent extent = TYPED(extent)(sequence);
    clstm_i_call call = {.context = context};
    TYPED(forward_pass) pass = {.call = &call, .model = model, .tape = tape};
    TYPED(clstm_i_cell) cell;
    clstm_status status = TYPED(begin_pass)(&pass, &extent, &cell);
    if (!status) status = TYPED(allocate_pass)(&pass, &extent);
    if (status) return status;

    if (clstm_i_traces()) TYPED(trace_pass)(&pass, clstm_isa());
    pass.nontemporal = TYPED(records_nontemporal)(&pass);
    const int reversed = clstm_i_is_reversed(config, 0);
    const size_t I = config->input_size, O = clstm_i_output_size(config);
    pass.x = TYPED(caller_view)(&pass.plan, sequence->x, I, reversed);
    pass.y = TYPED(caller_view)(&pass.plan, sequence->y, O, reversed);
    clstm_i_assert(pass.direct == TYPED(is_direct)(&pass.plan, &pass.y));
    TYPED(begin_states)(&pass, sequence);
    if (tape) {
        TYPED(begin_tape)(tape, &pass.x, pass.h, pass.h_stride, pass.c, pass.c_stride);
        pass.x = TYPED(packed_view)(&pass.plan, tape->x, I);
    }
    TYPED(run_pass)(&pass);
    const int cancelled = clstm_i_cancelled(&call);
    if (!cancelled) TYPED(end_states)(&pass, sequence);
    clstm_i_give_back(model->cache, CLSTM_I_WORKSPACE, pass.memory);
    return cancelled ? CLSTM_CANCELLED : CLSTM_OK;
}

clstm_status PUBLIC(forward)(const clstm_model *model, const PUBLIC(sequence) *sequence, const clstm_context *given) {
    clstm_context context;
    clstm_status status = TYPED(check)(model, sequence, 0);
    if (!status) status = clstm_i_context(given, &context);
    return status ? status : TYPED(run_sequence)(model, sequence, &context, NULL);
}

clstm_status PUBLIC(record)(const clstm_model *model, const PUBLIC(sequence) *sequence, const clstm_context *given,
                            clstm_tape **result) {
    clstm_context context;
    if (!result) return CLSTM_INVALID_ARGUMENT;
    *result = NULL;
    clstm_status status = TYPED(check)(model, sequence, 1);
    if (!status && !clstm_i_has_gradients(&model->config)) status = CLSTM_NO_GRADIENT;
    if (!status) status = clstm_i_context(given, &context);
    clstm_tape *tape = NULL;
    if (!status) status = TYPED(make_tape)(model, sequence, &context, &tape);
    if (!status) status = TYPED(run_sequence)(model, sequence, &context, tape);
    if (!status) *result = tape;
    else clstm_tape_free(tape);
    return status;
}
