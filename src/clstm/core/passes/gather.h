/* Small helpers on arrays, typed. */
#pragma once

#include "common.h"

static void TYPED(copy_or_zero)(real *to, const real *from, size_t elements) {
    if (!elements) return; /* an empty array may be a null pointer */
    if (from) memcpy(to, from, elements * sizeof(real));
    else memset(to, 0, elements * sizeof(real));
}

static void TYPED(add)(real *to, const real *from, size_t n) {
    for (size_t k = 0; k < n; k++) to[k] += from[k];
}

static void TYPED(copy_rows)(real *to, size_t to_stride, const real *from, size_t from_stride, size_t rows,
                             size_t columns) {
    if (to_stride == columns && from_stride == columns) {
        memcpy(to, from, rows * columns * sizeof(real));
        return;
    }
    for (size_t row = 0; row < rows; row++)
        memcpy(to + row * to_stride, from + row * from_stride, columns * sizeof(real));
}

/* Asks for rows that other threads have just written, if they are few: a product would wait for the other core line
   after line. Two threads take 0.94 of the time of B = 2, H = 64, where meetings are slow 0.88, 0.98 and 0.93 of B = 8;
   16 rows of 512 take 1 % more. Inlined, as gcc drops calls of what does nothing else. */
static inline __attribute__((always_inline)) void TYPED(fetch_rows)(const real *from, size_t stride, size_t rows,
                                                                    size_t columns) {
    const size_t most = 1 << 14, line = 64 / sizeof(real);
    if (rows * columns * sizeof(real) > most) return;
    for (size_t row = 0; row < rows; row++)
        for (size_t k = 0; k < columns; k += line) __builtin_prefetch(from + row * stride + k);
}
/* Where a direction's rows come from and go to, typed. The time loop has them packed, in the order of the direction's
   own steps (internal.h, the plan); the caller, or the other direction, has them elsewhere. */

typedef struct TYPED(port) {
    real *data; /* NULL: nothing is wanted */
    size_t stride;
    clstm_i_map map;
    int back; /* own steps begin at each row's end */
} TYPED(port);

/* Whether the rows lie there as the time loop has them. */
static inline int TYPED(is_direct)(const clstm_i_plan *plan, const TYPED(port) *port) {
    return port->map.at == plan->offsets && !port->map.first && !port->back;
}

/* The first row of a step, where the rows are evenly spaced. */
static inline real *TYPED(row_at)(const clstm_i_plan *plan, const TYPED(port) *port, size_t t) {
    return port->data + clstm_i_place(plan, &port->map, port->back, t, 0) * port->stride;
}

/* How far the rows of a chunk from a step on are apart there, if they are evenly spaced, in their order; else 0. */
static inline size_t TYPED(distance)(const clstm_i_plan *plan, const TYPED(port) *port, size_t first) {
    if (TYPED(is_direct)(plan, port)) return port->stride;
    if (port->back || !clstm_i_is_single(plan, first)) return 0;
    return (first + 1 < plan->steps ? port->map.at[first + 1] - port->map.at[first] : 1) * port->stride;
}

/* The columns of a port from one on. */
static inline TYPED(port) TYPED(columns_from)(TYPED(port) port, size_t column) {
    port.data += column;
    return port;
}

/* What happens to n elements here and there. */
typedef void TYPED(exchange)(real *here, real *there, size_t n);

static void TYPED(take_rows)(real *here, real *there, size_t n) { memcpy(here, there, n * sizeof(real)); }
static void TYPED(give_rows)(real *here, real *there, size_t n) { memcpy(there, here, n * sizeof(real)); }
static void TYPED(add_rows)(real *here, real *there, size_t n) { TYPED(add)(there, here, n); }
static void TYPED(scale_rows)(real *here, real *there, size_t n) {
    for (size_t k = 0; k < n; k++) here[k] *= there[k];
}

/* Rows of some steps, here: `data` is the first row of the first step. */
typedef struct TYPED(own_rows) {
    real *data;
    size_t stride, columns;
    clstm_i_range steps;
    clstm_i_range rows; /* of the steps' rows, counted from the first: those that are meant */
} TYPED(own_rows);

static void TYPED(exchange_rows)(const clstm_i_plan *plan, TYPED(exchange) *exchange, const TYPED(own_rows) *own,
                                 const TYPED(port) *port) {
    const size_t origin = plan->offsets[own->steps.begin], n = own->columns;
    if (TYPED(is_direct)(plan, port)) {
        const clstm_i_range rows = own->rows;
        const size_t at_once = own->stride == n && port->stride == n ? rows.end - rows.begin : 1;
        for (size_t row = rows.begin; row < rows.end; row += at_once)
            exchange(own->data + row * own->stride, port->data + (origin + row) * port->stride, at_once * n);
        return;
    }
    /* Rows of a step lie together there, too, but where they end or stand on their own. */
    const int together = !port->map.first && !(port->back && plan->lengths) && own->stride == n && port->stride == n;
    for (size_t t = own->steps.begin; t < own->steps.end; t++) {
        const size_t at = plan->offsets[t] - origin;
        const size_t begin = own->rows.begin > at ? own->rows.begin - at : 0;
        const size_t left = own->rows.end > at ? own->rows.end - at : 0;
        const size_t end = left < plan->rows[t] ? left : plan->rows[t];
        const size_t step = together && begin < end ? end - begin : 1;
        for (size_t row = begin; row < end; row += step) {
            const size_t there = clstm_i_place(plan, &port->map, port->back, t, row);
            exchange(own->data + (at + row) * own->stride, port->data + there * port->stride, step * n);
        }
    }
}

/* Every row of the plan. */
static void TYPED(exchange_all)(const clstm_i_plan *plan, TYPED(exchange) *exchange, real *data, size_t stride,
                                size_t columns, const TYPED(port) *port) {
    const TYPED(own_rows) own = {data, stride, columns, {0, plan->steps}, {0, plan->total}};
    if (plan->total) TYPED(exchange_rows)(plan, exchange, &own, port);
}

/* Zeros after each row's end, at one of `count` threads' share of the caller's steps. A sequence without padding has
   none. */
static void TYPED(zero_padding)(const clstm_i_plan *plan, real *data, size_t stride, size_t columns, size_t index,
                                size_t count) {
    const clstm_i_range own = clstm_i_slice(plan->caller_steps, 1, index, count);
    for (size_t row = 0; data && plan->lengths && row < plan->batch; row++)
        for (size_t t = plan->lengths[row] > own.begin ? plan->lengths[row] : own.begin; t < own.end; t++)
            memset(data + (t * plan->batch + plan->order[row]) * stride, 0, columns * sizeof(real));
}

/* ---- States: a row each, in the caller's order there ---- */

/* (batch, columns) from the caller's, or copies of one row where `from` is NULL, or zeros. */
static void TYPED(take_states)(const clstm_i_plan *plan, real *here, size_t stride, const real *from, const real *own,
                               size_t columns) {
    for (size_t row = 0; row < plan->batch; row++)
        TYPED(copy_or_zero)(here + row * stride, from ? from + clstm_i_caller_row(plan, row) * columns : own, columns);
}

static void TYPED(give_states)(const clstm_i_plan *plan, const real *here, size_t stride, real *to, size_t columns) {
    for (size_t row = 0; to && row < plan->batch; row++)
        memcpy(to + clstm_i_caller_row(plan, row) * columns, here + row * stride, columns * sizeof(real));
}
