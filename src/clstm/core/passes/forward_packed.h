/* The packed engine, typed: one layer over a chunk of steps, product and gates fused in the kernels. */
#pragma once

#include "forward_state.h"

/* Blocks of one kernel call, so that the host can cancel in time. */
static size_t TYPED(blocks_per_call)(const TYPED(packed) *packed, double work) {
    const double calls = work / TUNE_CALL_WORK;
    if (calls < 1) return packed->blocks;
    return calls < (double)packed->blocks ? (size_t)((double)packed->blocks / calls) : 1;
}

/* Multiply-adds of a product; activations, loads and stores count as 64 more columns. */
static double TYPED(work)(const TYPED(clstm_i_product) *product, const TYPED(packed) *packed) {
    double depth = 64;
    for (size_t n = 0; n < product->count; n++) depth += (double)product->factors[n].matrix.depth;
    return (double)product->rows * depth * (double)(packed->narrow ? packed->n : packed->width);
}

/* out (rows, stride) = the sums of a product, for the given blocks. */
static void TYPED(packed_multiply)(const TYPED(worker) *worker, const TYPED(packed) *packed,
                                   TYPED(clstm_i_product) product, clstm_i_range blocks, real *out, size_t stride,
                                   size_t columns) {
    const double work = TYPED(work)(&product, packed);
    const size_t most = TYPED(blocks_per_call)(packed, work);
    for (size_t begin = blocks.begin; begin < blocks.end; begin = product.end) {
        if (clstm_i_cancelled(worker->pass->call)) return;
        product.begin = begin;
        product.end = blocks.end - begin < most ? blocks.end : begin + most;
        worker->pass->kernels->multiply(&product, out, stride, columns);
        TYPED(poll)(worker, work * (double)(product.end - begin) / (double)packed->blocks);
    }
}

static void TYPED(run_steps)(const TYPED(worker) *worker, const TYPED(packed) *packed, TYPED(clstm_i_steps) steps,
                             clstm_i_range blocks) {
    const double work = (double)steps.steps * TYPED(work)(&steps.product, packed);
    const size_t most = TYPED(blocks_per_call)(packed, work);
    clstm_i_assert(steps.steps == 1 || clstm_i_count(blocks) == packed->blocks);
    for (size_t begin = blocks.begin; begin < blocks.end; begin = steps.product.end) {
        if (clstm_i_cancelled(worker->pass->call)) return;
        steps.product.begin = begin;
        steps.product.end = blocks.end - begin < most ? blocks.end : begin + most;
        TYPED(run_kernel_steps)(worker->pass->kernels, &steps);
        TYPED(poll)(worker, work * (double)(steps.product.end - begin) / (double)packed->blocks);
    }
}

/* The input product of all steps. Each thread computes it for its own blocks, so that none waits before the first
   step. */
static void TYPED(packed_input)(const TYPED(worker) *worker, const TYPED(chunk) *chunk, const TYPED(packed) *packed,
                                clstm_i_range blocks) {
    TYPED(clstm_i_product) product = TYPED(product_of)(packed, chunk->n);
    TYPED(add_factor)(&product, packed->input, chunk->x, chunk->x_stride);
    TYPED(packed_multiply)(worker, packed, product, blocks, chunk->sums, worker->pass->width, worker->pass->width);
}

/* `count` steps from t on with equal numbers of rows, for a worker's rows. */
static TYPED(clstm_i_steps) TYPED(packed_steps)(const TYPED(worker) *worker, const TYPED(chunk) *chunk, size_t t,
                                                size_t count) {
    const TYPED(forward_pass) *pass = worker->pass;
    const TYPED(packed) *packed = &pass->pack->parts[chunk->part];
    const clstm_i_plan *plan = &pass->plan;
    const size_t H = pass->model->config.hidden_size, part = chunk->part;
    const TYPED(step_rows_at) at = TYPED(locate_step)(worker, chunk, t);
    size_t before_stride;
    const real *before = TYPED(hidden_before_step)(worker, chunk, t, &at, &before_stride);

    TYPED(clstm_i_steps) steps = {
        .product = TYPED(product_of)(packed, clstm_i_count(at.rows)), .first = t, .steps = count,
        .batch = plan->rows[t], .c = pass->c + (part * plan->batch + at.first) * pass->c_stride,
        .h = chunk->outputs ? chunk->outputs + at.first * pass->c_stride
                            : chunk->hidden + at.rows.begin * chunk->h_stride,
        .stride = chunk->outputs ? pass->c_stride : chunk->h_stride, .hidden_size = H,
        .fast = pass->model->config.activations == CLSTM_FAST, .cell = pass->cell, .peephole = packed->peephole,
    };
    clstm_i_assert(at.rows.end <= chunk->n && at.first + clstm_i_count(at.rows) <= plan->batch);
    TYPED(clstm_i_product) *product = &steps.product;
    if (chunk->sums) {
        product->start = chunk->sums + at.rows.begin * pass->width;
        product->start_stride = pass->width;
    } else {
        TYPED(add_factor)(product, packed->input, chunk->x + at.rows.begin * chunk->x_stride, chunk->x_stride);
    }
    TYPED(add_factor)(product, packed->recurrent, before, before_stride);
    if (worker->step_team.count > 1)
        TYPED(fetch_rows)(before, before_stride, product->rows, packed->recurrent.depth);
    if (pass->tape) {
        const size_t total = plan->total, B = plan->batch;
        if (pass->tape->gates) steps.gates = (real *)pass->tape->gates + (part * total + at.slot) * 4 * H;
        steps.cells = TYPED(slots)(pass->tape, pass->tape->cells, part, H) + (B + at.slot) * H;
        steps.nontemporal = pass->nontemporal;
    }
    return steps;
}

/* h_t = weight_hr (o_t tanh(c_t)), a worker's share of a step: some blocks, or some rows if blocks are too few. */
static void TYPED(packed_projection)(const TYPED(worker) *worker, const TYPED(chunk) *chunk,
                                     const TYPED(step_rows_at) *at) {
    const TYPED(forward_pass) *pass = worker->pass;
    const TYPED(packed) *packed = &pass->pack->projections[chunk->part];
    const clstm_i_subteam team = worker->step_team;
    clstm_i_range blocks = {0, packed->blocks}, rows = {0, clstm_i_count(at->rows)};
    if (packed->blocks >= team.count) blocks = clstm_i_share(packed->blocks, 1, team.index, team.count);
    else rows = clstm_i_share(rows.end, 1, team.index, team.count);
    const TYPED(clstm_i_product) product =
        TYPED(plain_product)(packed, clstm_i_count(rows), chunk->outputs + (at->first + rows.begin) * pass->c_stride,
                             pass->c_stride);
    TYPED(packed_multiply)(worker, packed, product, blocks,
                           chunk->hidden + (at->rows.begin + rows.begin) * pass->h_stride, pass->h_stride,
                           pass->recurrent_size);
}

/* Projection and recurrent dropout, which the next step depends on. */
static void TYPED(packed_after_step)(TYPED(worker) *worker, const TYPED(chunk) *chunk, size_t t) {
    const TYPED(forward_pass) *pass = worker->pass;
    const TYPED(step_rows_at) at = TYPED(locate_step)(worker, chunk, t);
    if (chunk->outputs) {
        TYPED(packed_projection)(worker, chunk, &at);
        TYPED(meet)(worker);
    }
    if (!pass->tape || TYPED(stops)(worker)) return;
    TYPED(record_after_step)(worker, chunk, &at);
    TYPED(meet)(worker);
}

/* Steps from t on in one kernel call: several only if no thread waits for them, and few enough that the host can cancel
   in time. */
static size_t TYPED(steps_per_call)(const TYPED(worker) *worker, const TYPED(chunk) *chunk, size_t t,
                                    int stops_after_step) {
    const TYPED(forward_pass) *pass = worker->pass;
    const clstm_i_plan *plan = &pass->plan;
    const double depth = 2.0 * (double)pass->c_stride + (double)pass->pack->parts[chunk->part].input.depth;
    if (worker->step_team.count > 1 || stops_after_step) return 1;
    const double each = (double)plan->rows[t] * (double)pass->width * depth; /* 0 for a batch without rows */
    size_t last = chunk->last;
    if (each * (double)(last - t) > TUNE_STEPS_WORK) last = t + 1 + (size_t)(TUNE_STEPS_WORK / each);
    return clstm_i_plan_run(plan, t, last) - t;
}

/* A worker's blocks of every step. No cache line of h has two writers. */
static clstm_i_range TYPED(blocks_of)(const TYPED(worker) *worker, const TYPED(packed) *packed) {
    const size_t line = 64 / sizeof(real) / worker->pass->kernels->lanes;
    return clstm_i_share(packed->blocks, clstm_i_max(line, 1), worker->step_team.index, worker->step_team.count);
}

static void TYPED(packed_layer)(TYPED(worker) *worker, const TYPED(chunk) *chunk) {
    const TYPED(forward_pass) *pass = worker->pass;
    const TYPED(packed) *packed = &pass->pack->parts[chunk->part];
    const int stops_after_step = chunk->outputs || TYPED(drops_recurrent)(pass->tape);
    if (chunk->sums) TYPED(packed_input)(worker, chunk, packed, TYPED(blocks_of)(worker, packed));
    for (size_t t = chunk->first, count; t < chunk->last && !TYPED(stops)(worker); t += count) {
        count = TYPED(steps_per_call)(worker, chunk, t, stops_after_step);
        const TYPED(clstm_i_steps) steps = TYPED(packed_steps)(worker, chunk, t, count);
        TYPED(run_steps)(worker, packed, steps, TYPED(blocks_of)(worker, packed));
        TYPED(meet)(worker);
        if (stops_after_step && !TYPED(stops)(worker)) TYPED(packed_after_step)(worker, chunk, t);
    }
    if (pass->nontemporal) clstm_i_order_stores();
}

/* All layers of a chunk, a step apart; rows are of equal length. */
static void TYPED(packed_skewed)(TYPED(worker) *worker, const TYPED(chunk) *chunks, size_t count) {
    const TYPED(forward_pass) *pass = worker->pass;
    const TYPED(packed) *first = &pass->pack->parts[chunks->part];
    if (chunks->sums) TYPED(packed_input)(worker, chunks, first, (clstm_i_range){0, first->blocks});
    for (size_t t = chunks->first, n; t < chunks->last && !TYPED(stops)(worker); t += n) {
        TYPED(clstm_i_steps) layers[TYPED(SKEWED_LAYERS)];
        double work = 0;
        n = TYPED(steps_per_call)(worker, chunks, t, 0);
        for (size_t k = 0; k < count; k++) {
            layers[k] = TYPED(packed_steps)(worker, &chunks[k], t, n);
            work += (double)n * TYPED(work)(&layers[k].product, &pass->pack->parts[chunks[k].part]);
        }
        pass->kernels->skewed_steps(layers, count);
        TYPED(poll)(worker, work);
    }
    if (pass->nontemporal) clstm_i_order_stores();
}

/* Whether gates and cells are recorded by non-temporal stores (TUNE_NONTEMPORAL_BYTES), which need whole vectors. */
static int TYPED(records_nontemporal)(const TYPED(forward_pass) *pass) {
    const size_t H = pass->model->config.hidden_size;
    const size_t rows = clstm_i_parts(&pass->model->config) * pass->plan.total;
    if (!pass->tape || !pass->pack || H % pass->kernels->lanes) return 0;
    return rows * (pass->tape->gates ? 5 : 1) * H * sizeof(real) > TUNE_NONTEMPORAL_BYTES;
}

/* y (rows, O) = h weight_out^T + bias_out. */
static void TYPED(packed_readout)(const TYPED(worker) *worker, const real *h, size_t stride, size_t rows, real *y) {
    const TYPED(packed) *packed = worker->pass->pack->readout;
    const TYPED(clstm_i_product) product = TYPED(plain_product)(packed, rows, h, stride);
    const clstm_i_range blocks = {0, packed->blocks};
    TYPED(packed_multiply)(worker, packed, product, blocks, y, packed->n, packed->n);
}
