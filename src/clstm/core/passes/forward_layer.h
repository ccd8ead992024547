/* The forward pass of one direction of one layer over a chunk of steps, typed: from where its input lies to where its h
   is wanted. */
#pragma once

#include "forward_blas.h"
#include "forward_packed.h"
#include "forward_state.h"
#include "gather.h"
#include "tape.h"

/* Where the h of a part goes on the tape, from a row on. */
static real *TYPED(tape_hidden)(const TYPED(pass) *pass, size_t part, size_t origin) {
    const size_t R = pass->recurrent_size;
    return TYPED(slots)(pass->tape, pass->tape->hidden, part, R) + (pass->plan.batch + origin) * R;
}

/* What a layer reads where that is not simply the h of the layer below: (total, D R), in forward order. NULL if it
   is. Layer L is the readout. */
static real *TYPED(layer_input)(const TYPED(pass) *pass, size_t layer) {
    const size_t size = pass->plan.total * pass->directions * pass->recurrent_size;
    if (pass->tape) return TYPED(tape_input)(pass->tape, layer);
    return pass->directions > 1 ? pass->between + layer % 2 * size : NULL;
}

/* The same as a port, for a direction; layer 0 reads x. */
static TYPED(port) TYPED(source)(const TYPED(pass) *pass, size_t layer, size_t direction) {
    TYPED(port) port = pass->x;
    if (layer) {
        port.data = TYPED(layer_input)(pass, layer);
        port.stride = pass->directions * pass->recurrent_size;
        port.map = clstm_i_packed_map(&pass->plan);
        port.back = 0;
    }
    port.back |= direction == 1;
    return port;
}

/* Where the h of a layer goes, for the rows of a chunk: at once to the tape, if the rows lie there as the engine needs
   them; else to the buffer of that number. */
static real *TYPED(hidden_at)(const TYPED(pass) *pass, size_t layer, size_t direction, size_t origin, size_t buffer) {
    if (pass->tape && pass->h_stride == pass->recurrent_size)
        return TYPED(tape_hidden)(pass, layer * pass->directions + direction, origin);
    return pass->hidden + buffer * pass->capacity * pass->h_stride;
}

/* Or at once to y, which saves 1 % of B = 16, H = 256 and 2 % of B = 4. */
static void TYPED(give_y_directly)(const TYPED(pass) *pass, TYPED(chunk) *chunk) {
    const clstm_config *config = &pass->model->config;
    const clstm_i_plan *plan = &pass->plan;
    if (pass->tape || !pass->y.data || config->output_size || chunk->layer + 1 < config->num_layers
        || pass->directions > 1 || pass->h_stride > pass->recurrent_size) return;
    const size_t distance = TYPED(distance)(plan, &pass->y, chunk->first);
    if (!distance) return;
    chunk->gives_y = 1;
    chunk->hidden = TYPED(row_at)(plan, &pass->y, chunk->first);
    chunk->h_stride = distance;
}

/* A layer over the steps from `first` on, the chunk of that number. */
static TYPED(chunk) TYPED(chunk_at)(const TYPED(worker) *worker, size_t number, size_t first, size_t last,
                                    size_t layer) {
    const TYPED(pass) *pass = worker->pass;
    const clstm_i_plan *plan = &pass->plan;
    const size_t D = pass->directions, direction = worker->direction, origin = plan->offsets[first];
    const int in_turn = pass->split == CLSTM_I_LAYERS;
    const size_t own = in_turn ? 2 * layer + number % 2 : D > 1 ? direction : layer % 2;
    const size_t below = in_turn ? own - 2 : (layer + 1) % 2;
    TYPED(chunk) chunk = {
        .first = first, .last = last, .origin = origin, .n = plan->offsets[last] - origin,
        .layer = layer, .part = layer * D + direction, .x_stride = pass->h_stride,
        .hidden = TYPED(hidden_at)(pass, layer, direction, origin, own), .h_stride = pass->h_stride,
    };
    TYPED(give_y_directly)(pass, &chunk);
    const TYPED(port) source = TYPED(source)(pass, layer, direction);
    const size_t distance = source.data ? TYPED(distance)(plan, &source, first) : 0;
    if (distance) {
        chunk.x = TYPED(row_at)(plan, &source, first);
        chunk.x_stride = distance;
    } else if (source.data) {
        chunk.x = chunk.gathered = pass->inputs + direction * pass->capacity * source.stride;
        chunk.x_stride = source.stride;
    } else chunk.x = TYPED(hidden_at)(pass, layer - 1, direction, origin, below);

    const size_t few = 4; /* columns, which are cheaper in the step than on the way through memory */
    const size_t buffer = in_turn ? worker->thread : direction;
    if (!pass->pack || (pass->hoist && pass->pack->parts[chunk.part].input_size > few))
        chunk.sums = pass->sums + buffer * pass->capacity * pass->width;
    if (!pass->pack && pass->tape && pass->tape->gates)
        chunk.sums = (real *)pass->tape->gates + (chunk.part * plan->total + origin) * pass->width;
    if (pass->model->config.proj_size) chunk.outputs = pass->outputs + buffer * plan->batch * pass->stride;
    return chunk;
}

/* h after the chunk becomes the layer's state: each row's own last one. */
static void TYPED(carry_state)(const TYPED(worker) *worker, const TYPED(chunk) *chunk) {
    const TYPED(pass) *pass = worker->pass;
    const clstm_i_plan *plan = &pass->plan;
    const size_t stride = pass->h_stride;
    real *state = pass->h + chunk->part * plan->batch * stride;
    clstm_i_range own = worker->rows;
    if (worker->count > 1) own = clstm_i_slice(plan->batch, 1, worker->index, worker->count);
    for (size_t t = chunk->first, last; t < chunk->last; t = last) {
        last = clstm_i_plan_run(plan, t, chunk->last);
        const size_t go_on = last < chunk->last ? plan->rows[last] : 0;
        const size_t begin = own.begin > go_on ? own.begin : go_on;
        const size_t end = own.end < plan->rows[t] ? own.end : plan->rows[t];
        if (begin >= end) continue;
        const real *from = chunk->hidden + (plan->offsets[last - 1] - chunk->origin + begin) * chunk->h_stride;
        memcpy(state + begin * stride, from, (end - begin) * stride * sizeof(real));
    }
}

static void TYPED(keep_hidden)(const TYPED(worker) *worker, const TYPED(chunk) *chunk, clstm_i_range rows) {
    const TYPED(pass) *pass = worker->pass;
    const size_t R = pass->recurrent_size;
    real *slots = TYPED(tape_hidden)(pass, chunk->part, chunk->origin);
    if (slots == chunk->hidden) return;
    TYPED(copy_rows)(slots + rows.begin * R, R, chunk->hidden + rows.begin * pass->h_stride, pass->h_stride,
                     rows.end - rows.begin, R);
}

/* y of some rows, from the h of the last layer. */
static void TYPED(read_out)(const TYPED(worker) *worker, const TYPED(chunk) *chunk, clstm_i_range rows, const real *h,
                            size_t h_stride) {
    const TYPED(pass) *pass = worker->pass;
    const size_t O = pass->model->config.output_size;
    real *y = pass->direct ? pass->y.data + chunk->origin * O : pass->read_out;
    if (pass->pack)
        TYPED(packed_readout)(worker, h + rows.begin * h_stride, h_stride, rows.end - rows.begin, y + rows.begin * O);
    else TYPED(blas_readout)(worker, h + rows.begin * h_stride, h_stride, rows.end - rows.begin, y + rows.begin * O);
    if (!pass->direct) TYPED(exchange_span)(worker, chunk, rows, TYPED(give_rows), y, O, O, &pass->y);
}

/* To the next layer, or to y. */
static void TYPED(hand_on)(const TYPED(worker) *worker, const TYPED(chunk) *chunk, clstm_i_range rows) {
    const TYPED(pass) *pass = worker->pass;
    const clstm_config *config = &pass->model->config;
    const size_t R = pass->recurrent_size, D = pass->directions, next = chunk->layer + 1;
    const int last = next == config->num_layers;
    if (last && config->output_size && D == 1) {
        if (pass->y.data) TYPED(read_out)(worker, chunk, rows, chunk->hidden, pass->h_stride);
        return;
    }
    TYPED(port) to = last && !config->output_size ? pass->y : TYPED(source)(pass, next, 0);
    if (!to.data || chunk->gives_y) return;
    to.back |= worker->direction == 1;
    to = TYPED(columns_from)(to, worker->direction * R);
    TYPED(exchange_span)(worker, chunk, rows, TYPED(give_rows), chunk->hidden, pass->h_stride, R, &to);
    if (!last && D == 1) TYPED(drop_input)(pass->tape, next, chunk->first, chunk->last, rows);
}

static void TYPED(run_chunk)(const TYPED(worker) *worker, const TYPED(chunk) *chunk) {
    const TYPED(pass) *pass = worker->pass;
    const size_t spans = TYPED(spans)(worker, chunk);
    if (chunk->gathered) {
        const TYPED(port) from = TYPED(source)(pass, chunk->layer, worker->direction);
        for (size_t n = 0; n < spans; n++)
            TYPED(exchange_span)(worker, chunk, TYPED(span)(worker, chunk, n), TYPED(take_rows), chunk->gathered,
                                 chunk->x_stride, chunk->x_stride, &from);
        TYPED(meet)(worker);
    }
    if (pass->pack) TYPED(packed_layer)(worker, chunk);
    else TYPED(blas_layer)(worker, chunk);
    if (clstm_i_cancelled(pass->call)) return;

    TYPED(carry_state)(worker, chunk);
    for (size_t n = 0; n < spans; n++) {
        const clstm_i_range rows = TYPED(span)(worker, chunk, n);
        if (pass->tape) TYPED(keep_hidden)(worker, chunk, rows);
        TYPED(hand_on)(worker, chunk, rows);
    }
    if (pass->tape && pass->tape->dropout) TYPED(meet)(worker); /* the next layer reads what all have written */
}
