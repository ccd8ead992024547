/* The packed engine, typed: one layer over a chunk of steps, product and gates fused in the kernels. */
#pragma once

#include "forward_state.h"
#include "gather.h"
#include "packed_weights.h"
#include "read_cell.h"
#include "tape.h"

/* A kernel call of more multiply-adds is cut up, so that the host can cancel a call within 50 ms. */
static size_t TYPED(blocks_at_once)(const TYPED(packed) *packed, double work) {
    const double most = 1e8, pieces = work / most;
    if (pieces < 1) return packed->blocks;
    return pieces < (double)packed->blocks ? (size_t)((double)packed->blocks / pieces) : 1;
}

static double TYPED(work)(const TYPED(clstm_i_product) *product, const TYPED(packed) *packed) {
    double depth = 64; /* of activations, loads and stores */
    for (size_t n = 0; n < product->count; n++) depth += (double)product->parts[n].depth;
    return (double)product->rows * depth * (double)(packed->narrow ? packed->n : packed->width);
}

/* out (rows, stride) = start + the product, of the given blocks. */
static void TYPED(packed_multiply)(const TYPED(worker) *worker, const TYPED(packed) *packed,
                                   TYPED(clstm_i_product) product, clstm_i_range blocks, real *out, size_t stride,
                                   size_t columns) {
    const double work = TYPED(work)(&product, packed);
    const size_t most = TYPED(blocks_at_once)(packed, work);
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
    const size_t most = TYPED(blocks_at_once)(packed, work);
    for (size_t begin = blocks.begin; begin < blocks.end; begin = steps.product.end) {
        if (clstm_i_cancelled(worker->pass->call)) return;
        steps.product.begin = begin;
        steps.product.end = blocks.end - begin < most ? blocks.end : begin + most;
        TYPED(run_kernel_steps)(worker->pass->kernels, &steps);
        TYPED(poll)(worker, work * (double)(steps.product.end - begin) / (double)packed->blocks);
    }
}

/* The input product of all steps. Each thread has its own blocks of it, so that none waits before the first step. */
static void TYPED(packed_input)(const TYPED(worker) *worker, const TYPED(chunk) *chunk, const TYPED(packed) *packed,
                                clstm_i_range blocks) {
    const TYPED(clstm_i_product) product = {
        .rows = chunk->n, .whole = packed->whole, .last = packed->last,
        .count = 1, .parts = {{chunk->x, chunk->x_stride, packed->input, packed->input_size}},
        .start = packed->bias,
    };
    TYPED(packed_multiply)(worker, packed, product, blocks, chunk->sums, worker->pass->width, worker->pass->width);
}

/* The steps from t on, of a worker's rows and blocks, all with as many rows. */
static void TYPED(packed_steps)(const TYPED(worker) *worker, const TYPED(chunk) *chunk, const TYPED(packed) *packed,
                                clstm_i_range blocks, size_t t, size_t count) {
    const TYPED(pass) *pass = worker->pass;
    const clstm_i_plan *plan = &pass->plan;
    const size_t H = pass->model->config.hidden_size, stride = pass->stride, part = chunk->part;
    const TYPED(step_place) at = TYPED(place_step)(worker, chunk, t);
    size_t before_stride;
    const real *before = TYPED(before_step)(worker, chunk, t, &at, &before_stride);

    TYPED(clstm_i_steps) steps = {
        .product = {
            .rows = at.rows.end - at.rows.begin, .whole = packed->whole, .last = packed->last, .start = packed->bias,
        },
        .first = t, .steps = count, .batch = plan->rows[t], .c = pass->c + (part * plan->batch + at.first) * stride,
        .h = chunk->outputs ? chunk->outputs + at.first * stride : chunk->hidden + at.rows.begin * chunk->h_stride,
        .stride = chunk->outputs ? stride : chunk->h_stride, .hidden_size = H,
        .cell = pass->cell, .peephole = packed->peephole,
    };
    TYPED(clstm_i_product) *product = &steps.product;
    if (chunk->sums) {
        product->start = chunk->sums + at.rows.begin * pass->width;
        product->start_stride = pass->width;
    } else {
        product->parts[product->count++] = (TYPED(clstm_i_part)){
            chunk->x + at.rows.begin * chunk->x_stride, chunk->x_stride, packed->input, packed->input_size,
        };
    }
    product->parts[product->count++] = (TYPED(clstm_i_part)){
        before, before_stride, packed->recurrent, packed->recurrent_size,
    };
    if (worker->count > 1) TYPED(fetch_rows)(before, before_stride, product->rows, packed->recurrent_size);
    if (pass->tape) {
        const size_t total = plan->total, B = plan->batch;
        if (pass->tape->gates) steps.gates = (real *)pass->tape->gates + (part * total + at.slot) * 4 * H;
        steps.cells = TYPED(slots)(pass->tape, pass->tape->cells, part, H) + (B + at.slot) * H;
        steps.nontemporal = pass->nontemporal;
    }
    TYPED(run_steps)(worker, packed, steps, blocks);
}

/* h_t = weight_hr (o_t tanh(c_t)) of a worker's part of a step: some columns, or rows where there are too few. */
static void TYPED(packed_projection)(const TYPED(worker) *worker, const TYPED(chunk) *chunk,
                                     const TYPED(step_place) *at) {
    const TYPED(pass) *pass = worker->pass;
    const TYPED(packed) *packed = &pass->pack->projections[chunk->part];
    clstm_i_range blocks = {0, packed->blocks}, rows = {0, at->rows.end - at->rows.begin};
    if (packed->blocks >= worker->count) blocks = clstm_i_slice(packed->blocks, 1, worker->index, worker->count);
    else rows = clstm_i_slice(rows.end, 1, worker->index, worker->count);
    const TYPED(clstm_i_product) product = TYPED(plain_product)(
        packed, rows.end - rows.begin, chunk->outputs + (at->first + rows.begin) * pass->stride, pass->stride);
    TYPED(packed_multiply)(worker, packed, product, blocks,
                           chunk->hidden + (at->rows.begin + rows.begin) * pass->h_stride, pass->h_stride,
                           pass->recurrent_size);
}

/* What follows a step before the next one may begin. */
static void TYPED(packed_between)(const TYPED(worker) *worker, const TYPED(chunk) *chunk, size_t t) {
    const TYPED(pass) *pass = worker->pass;
    const TYPED(step_place) at = TYPED(place_step)(worker, chunk, t);
    if (chunk->outputs) {
        TYPED(packed_projection)(worker, chunk, &at);
        TYPED(meet)(worker);
    }
    if (!pass->tape) return;
    TYPED(keep_between)(worker, chunk, &at);
    TYPED(meet)(worker);
}

/* How many steps from t on one kernel call can take: alone, no thread waits for it; and the host is asked in time. */
static size_t TYPED(steps_at_once)(const TYPED(worker) *worker, const TYPED(chunk) *chunk, size_t t, int between) {
    const TYPED(pass) *pass = worker->pass;
    const clstm_i_plan *plan = &pass->plan;
    const TYPED(packed) *packed = &pass->pack->parts[chunk->part];
    const double most = 1e7, depth = 2.0 * (double)pass->stride + (double)packed->input_size;
    if (worker->count > 1 || between) return 1;
    const double each = (double)plan->rows[t] * (double)pass->width * depth; /* 0 of a batch without rows */
    size_t last = chunk->last;
    if (each * (double)(last - t) > most) last = t + 1 + (size_t)(most / each);
    return clstm_i_plan_run(plan, t, last) - t;
}

static void TYPED(packed_layer)(const TYPED(worker) *worker, const TYPED(chunk) *chunk) {
    const TYPED(pass) *pass = worker->pass;
    const TYPED(packed) *packed = &pass->pack->parts[chunk->part];
    const size_t line = 64 / sizeof(real) / pass->kernels->lanes; /* no cache line of h has two writers */
    const clstm_i_range blocks = clstm_i_slice(packed->blocks, line ? line : 1, worker->index, worker->count);
    const int between = chunk->outputs || TYPED(drops_recurrent)(pass->tape);
    if (chunk->sums) TYPED(packed_input)(worker, chunk, packed, blocks);
    for (size_t t = chunk->first, count; t < chunk->last && !clstm_i_cancelled(pass->call); t += count) {
        count = TYPED(steps_at_once)(worker, chunk, t, between);
        TYPED(packed_steps)(worker, chunk, packed, blocks, t, count);
        TYPED(meet)(worker);
        if (between) TYPED(packed_between)(worker, chunk, t);
    }
    if (pass->nontemporal) clstm_i_order_stores();
}

/* Whether gates and cells go past the caches: those would hold little of them until the backward pass, and all of it
   would be read into them first. Recording (100,32,256,256) takes 32.5 ms instead of 34.1, (28,64,28,128) 3.2 and 3.7;
   but of 0.7 MB, (8,64,8,64), the backward pass would take 0.48 instead of 0.43. */
static int TYPED(keeps_nontemporal)(const TYPED(pass) *pass) {
    const size_t most = (size_t)1 << 20, H = pass->model->config.hidden_size;
    const size_t rows = clstm_i_parts(&pass->model->config) * pass->plan.total;
    if (!pass->tape || !pass->pack || H % pass->kernels->lanes) return 0;
    return rows * (pass->tape->gates ? 5 : 1) * H * sizeof(real) > most;
}

/* y (rows, O) = h weight_out^T + bias_out of some rows. */
static void TYPED(packed_readout)(const TYPED(worker) *worker, const real *h, size_t stride, size_t rows, real *y) {
    const TYPED(packed) *packed = worker->pass->pack->readout;
    const TYPED(clstm_i_product) product = TYPED(plain_product)(packed, rows, h, stride);
    const clstm_i_range blocks = {0, packed->blocks};
    TYPED(packed_multiply)(worker, packed, product, blocks, y, packed->n, packed->n);
}
