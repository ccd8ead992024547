/* The forward pass of one direction of one layer over a chunk of steps, typed: where its rows lie, and how they are
   gathered and scattered. */
#pragma once

#include "forward_blas.h"
#include "forward_packed.h"

/* ---- Where the rows of a layer lie: all of it is decided here ---- */

/* The h of a part on the tape, from a row on. */
static real *TYPED(tape_hidden)(const TYPED(forward_pass) *pass, size_t part, size_t origin) {
    const size_t R = pass->recurrent_size;
    return TYPED(slots)(pass->tape, pass->tape->hidden, part, R) + (pass->plan.batch + origin) * R;
}

/* A layer's input as a direction reads it; layer L is the readout. Without data it is simply the h of the layer below,
   in the buffer of the same chunk. */
static TYPED(row_view) TYPED(input_view)(const TYPED(forward_pass) *pass, size_t layer, size_t direction) {
    const size_t columns = pass->directions * pass->recurrent_size;
    if (!layer) return TYPED(seen_by)(pass->x, direction);
    real *data = NULL;
    if (pass->tape) data = TYPED(tape_input)(pass->tape, layer);
    else if (pass->directions > 1) data = pass->between + layer % 2 * pass->plan.total * columns;
    return TYPED(seen_by)(TYPED(packed_view)(&pass->plan, data, columns), direction);
}

/* The h of a part over a chunk: on the tape, if its rows lie there as the engine needs them; else in a buffer. */
static real *TYPED(hidden_rows)(const TYPED(forward_pass) *pass, size_t part, size_t origin, size_t buffer) {
    if (pass->tape && pass->h_stride == pass->recurrent_size) return TYPED(tape_hidden)(pass, part, origin);
    return pass->hidden + buffer * pass->capacity * pass->h_stride;
}

/* The buffer of a layer's h in chunk `number`: of two for each layer in a wavefront, of one for each where layers run a
   step apart, else of two that layers use in turn. */
static size_t TYPED(buffer_of)(const TYPED(worker) *worker, size_t layer, size_t number) {
    const TYPED(forward_pass) *pass = worker->pass;
    if (pass->schedule.split == CLSTM_I_LAYERS) return 2 * layer + number % 2;
    if (pass->directions > 1) return worker->direction;
    return pass->skews ? layer : layer % 2;
}

/* The input: read where it lies if its rows are evenly spaced there; else gathered. */
static void TYPED(locate_input)(const TYPED(worker) *worker, TYPED(chunk) *chunk, size_t number) {
    const TYPED(forward_pass) *pass = worker->pass;
    const TYPED(row_view) view = TYPED(input_view)(pass, chunk->layer, worker->direction);
    if (!view.data) {
        const size_t below = TYPED(buffer_of)(worker, chunk->layer - 1, number);
        chunk->x = TYPED(hidden_rows)(pass, chunk->part - 1, chunk->origin, below);
        chunk->x_stride = pass->h_stride;
        return;
    }
    chunk->x_stride = TYPED(distance)(&pass->plan, &view, chunk->first);
    if (chunk->x_stride) {
        chunk->x = TYPED(row_at)(&pass->plan, &view, chunk->first);
        return;
    }
    chunk->from = view;
    chunk->x = chunk->gathered = pass->inputs + worker->direction * pass->capacity * view.stride;
    chunk->x_stride = view.stride;
}

/* h, and where it is scattered: to the next layer's input or to y, unless the readout follows. h is computed in y
   itself if its rows are evenly spaced there: 1 % at B = 16, H = 256, 2 % at B = 4. */
static void TYPED(locate_hidden)(const TYPED(worker) *worker, TYPED(chunk) *chunk, size_t number) {
    const TYPED(forward_pass) *pass = worker->pass;
    const clstm_config *config = &pass->model->config;
    const int last = chunk->layer + 1 == config->num_layers, is_y = last && !config->output_size;
    const size_t R = pass->recurrent_size, D = pass->directions;
    const size_t buffer = TYPED(buffer_of)(worker, chunk->layer, number);
    chunk->hidden = TYPED(hidden_rows)(pass, chunk->part, chunk->origin, buffer);
    chunk->h_stride = pass->h_stride;
    chunk->reads_out = last && config->output_size && D == 1 && pass->y.data;
    if (last && config->output_size && D == 1) return;

    const TYPED(row_view) view = is_y ? pass->y : TYPED(input_view)(pass, chunk->layer + 1, 0);
    chunk->to = TYPED(columns_from)(TYPED(seen_by)(view, worker->direction), worker->direction * R);
    if (!is_y || !pass->y.data || pass->tape || D > 1 || pass->h_stride > R) return;
    const size_t distance = TYPED(distance)(&pass->plan, &pass->y, chunk->first);
    if (!distance) return;
    chunk->hidden = TYPED(row_at)(&pass->plan, &pass->y, chunk->first);
    chunk->h_stride = distance;
    chunk->to.data = NULL;
}

/* Chunk `number` of a layer: the steps from `first` up to `last`. */
static TYPED(chunk) TYPED(locate_chunk)(const TYPED(worker) *worker, size_t number, size_t first, size_t last,
                                        size_t layer) {
    const TYPED(forward_pass) *pass = worker->pass;
    const clstm_i_plan *plan = &pass->plan;
    const size_t D = pass->directions, direction = worker->direction, origin = plan->offsets[first];
    const size_t work = pass->schedule.split == CLSTM_I_LAYERS ? worker->step_team.thread : direction;
    TYPED(chunk) chunk = {
        .first = first, .last = last, .origin = origin, .n = plan->offsets[last] - origin,
        .layer = layer, .part = layer * D + direction,
    };
    clstm_i_assert(first < last && last <= plan->steps && chunk.n <= pass->capacity);
    TYPED(locate_input)(worker, &chunk, number);
    TYPED(locate_hidden)(worker, &chunk, number);

    const int sums_on_tape = !pass->pack && pass->tape && pass->tape->gates;
    if (sums_on_tape) chunk.sums = (real *)pass->tape->gates + (chunk.part * plan->total + origin) * pass->width;
    else if (TYPED(hoists)(pass, layer))
        chunk.sums = pass->sums + work * pass->capacity * pass->width;
    if (pass->model->config.proj_size) chunk.outputs = pass->outputs + work * plan->batch * pass->c_stride;
    return chunk;
}

/* ---- A chunk ---- */

/* The h of each row's last step in the chunk becomes the layer's state. */
static void TYPED(carry_state)(const TYPED(worker) *worker, const TYPED(chunk) *chunk) {
    const TYPED(forward_pass) *pass = worker->pass;
    const clstm_i_plan *plan = &pass->plan;
    const clstm_i_subteam team = worker->step_team;
    const size_t stride = pass->h_stride;
    real *state = pass->h + chunk->part * plan->batch * stride;
    const clstm_i_range own = team.count > 1 ? clstm_i_share(plan->batch, 1, team.index, team.count) : worker->rows;
    for (size_t t = chunk->first, last; t < chunk->last; t = last) {
        last = clstm_i_plan_run(plan, t, chunk->last);
        const size_t continuing = last < chunk->last ? plan->rows[last] : 0;
        const size_t begin = clstm_i_max(own.begin, continuing), end = clstm_i_min(own.end, plan->rows[t]);
        if (begin >= end) continue;
        const real *from = chunk->hidden + (plan->offsets[last - 1] - chunk->origin + begin) * chunk->h_stride;
        memcpy(state + begin * stride, from, (end - begin) * stride * sizeof(real));
    }
}

static void TYPED(record_hidden)(const TYPED(worker) *worker, const TYPED(chunk) *chunk, clstm_i_range rows) {
    const TYPED(forward_pass) *pass = worker->pass;
    const size_t R = pass->recurrent_size;
    real *slots = TYPED(tape_hidden)(pass, chunk->part, chunk->origin);
    if (slots == chunk->hidden) return;
    TYPED(copy_rows)(slots + rows.begin * R, R, chunk->hidden + rows.begin * pass->h_stride, pass->h_stride,
                     clstm_i_count(rows), R);
}

/* y of some rows, from the h of the last layer. */
static void TYPED(read_out)(const TYPED(worker) *worker, const TYPED(chunk) *chunk, clstm_i_range rows, const real *h,
                            size_t h_stride) {
    const TYPED(forward_pass) *pass = worker->pass;
    const size_t O = pass->model->config.output_size, n = clstm_i_count(rows);
    real *y = pass->direct ? pass->y.data + chunk->origin * O : pass->read_out;
    h += rows.begin * h_stride;
    if (pass->pack) TYPED(packed_readout)(worker, h, h_stride, n, y + rows.begin * O);
    else TYPED(blas_readout)(worker, h, h_stride, n, y + rows.begin * O);
    if (!pass->direct) TYPED(exchange_range)(worker, chunk, rows, TYPED(scatter_rows), y, O, O, &pass->y);
}

/* Scatters h to y or to the next layer's input, unless it lies there already. */
static void TYPED(scatter_hidden)(const TYPED(worker) *worker, const TYPED(chunk) *chunk, clstm_i_range rows) {
    const TYPED(forward_pass) *pass = worker->pass;
    const size_t R = pass->recurrent_size, next = chunk->layer + 1;
    if (chunk->reads_out) TYPED(read_out)(worker, chunk, rows, chunk->hidden, pass->h_stride);
    if (!chunk->to.data) return;
    TYPED(exchange_range)(worker, chunk, rows, TYPED(scatter_rows), chunk->hidden, pass->h_stride, R, &chunk->to);
    if (next < pass->model->config.num_layers && pass->directions == 1)
        TYPED(drop_input)(pass->tape, next, chunk->first, chunk->last, rows);
}

/* Gathers the input, where it must be. */
static void TYPED(begin_chunk)(TYPED(worker) *worker, const TYPED(chunk) *chunk) {
    if (!chunk->gathered) return;
    for (size_t n = 0; n < TYPED(range_count)(worker, chunk); n++)
        TYPED(exchange_range)(worker, chunk, TYPED(range_at)(worker, chunk, n), TYPED(gather_rows), chunk->gathered,
                              chunk->x_stride, chunk->x_stride, &chunk->from);
    TYPED(meet)(worker);
}

/* What follows the steps. */
static void TYPED(end_chunk)(TYPED(worker) *worker, const TYPED(chunk) *chunk) {
    const TYPED(forward_pass) *pass = worker->pass;
    if (TYPED(stops)(worker)) return;
    TYPED(carry_state)(worker, chunk);
    for (size_t n = 0; n < TYPED(range_count)(worker, chunk); n++) {
        const clstm_i_range rows = TYPED(range_at)(worker, chunk, n);
        if (pass->tape) TYPED(record_hidden)(worker, chunk, rows);
        TYPED(scatter_hidden)(worker, chunk, rows);
    }
    if (pass->tape && pass->tape->dropout) TYPED(meet)(worker); /* the next layer reads what all threads have written */
}

static void TYPED(run_chunk)(TYPED(worker) *worker, const TYPED(chunk) *chunk) {
    TYPED(begin_chunk)(worker, chunk);
    if (TYPED(stops)(worker)) return;
    if (worker->pass->pack) TYPED(packed_layer)(worker, chunk);
    else TYPED(blas_layer)(worker, chunk);
    TYPED(end_chunk)(worker, chunk);
}

/* The steps from `first` up to `last` of all layers, a step apart. */
static void TYPED(run_skewed)(TYPED(worker) *worker, size_t first, size_t last) {
    const size_t L = worker->pass->model->config.num_layers;
    TYPED(chunk) chunks[TYPED(SKEWED_LAYERS)];
    for (size_t k = 0; k < L; k++) chunks[k] = TYPED(locate_chunk)(worker, 0, first, last, k);
    TYPED(begin_chunk)(worker, chunks);
    if (TYPED(stops)(worker)) return;
    TYPED(packed_skewed)(worker, chunks, L);
    for (size_t k = 0; k < L; k++) TYPED(end_chunk)(worker, &chunks[k]);
}
