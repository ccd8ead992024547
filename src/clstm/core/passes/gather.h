/* Where a direction's rows come from and go to, typed.

   The time loop has the rows of a direction *packed*, in the order of its own steps (plan.h). The caller, and the other
   direction, have them elsewhere: a row view says where. Rows are gathered from a view, and scattered to it. */
#pragma once

#include "common.h"

/* ---- Small helpers on arrays ---- */

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
    clstm_i_assert(to_stride >= columns && from_stride >= columns);
    if (to_stride == columns && from_stride == columns) {
        memcpy(to, from, rows * columns * sizeof(real));
        return;
    }
    for (size_t row = 0; row < rows; row++)
        memcpy(to + row * to_stride, from + row * from_stride, columns * sizeof(real));
}

/* Prefetches rows that other threads have just written, if they are few (TUNE_FETCH_BYTES). Always inlined: gcc drops
   the call of a function that only prefetches. */
static inline __attribute__((always_inline)) void TYPED(fetch_rows)(const real *from, size_t stride, size_t rows,
                                                                    size_t columns) {
    const size_t line = 64 / sizeof(real);
    if (rows * columns * sizeof(real) > TUNE_FETCH_BYTES) return;
    for (size_t row = 0; row < rows; row++)
        for (size_t k = 0; k < columns; k += line) __builtin_prefetch(from + row * stride + k);
}

/* ---- Row views ---- */

typedef struct TYPED(row_view) {
    real *data; /* NULL: not wanted, or not there */
    size_t stride;
    clstm_i_map map;
    int reversed; /* the direction's steps begin at each row's end */
} TYPED(row_view);

/* A packed array in forward order. */
static inline TYPED(row_view) TYPED(packed_view)(const clstm_i_plan *plan, real *data, size_t stride) {
    return (TYPED(row_view)){data, stride, clstm_i_packed_map(plan), 0};
}

/* An array of the caller's, as the direction reads it; `data` is only read where the caller has it const. */
static inline TYPED(row_view) TYPED(caller_view)(const clstm_i_plan *plan, const real *data, size_t stride,
                                                 int reversed) {
    return (TYPED(row_view)){(real *)data, stride, plan->caller, reversed};
}

/* The same view as the other direction sees it. */
static inline TYPED(row_view) TYPED(seen_by)(TYPED(row_view) view, size_t direction) {
    view.reversed |= direction == 1;
    return view;
}

/* Whether the view is packed, in the order of the time loop. */
static inline int TYPED(is_direct)(const clstm_i_plan *plan, const TYPED(row_view) *view) {
    return view->map.at == plan->offsets && !view->map.first && !view->reversed;
}

/* The first row of a step. */
static inline real *TYPED(row_at)(const clstm_i_plan *plan, const TYPED(row_view) *view, size_t t) {
    return view->data + clstm_i_place(plan, &view->map, view->reversed, t, 0) * view->stride;
}

/* The distance between rows of a chunk that begins at a step, if they are evenly spaced and in order; else 0. */
static inline size_t TYPED(distance)(const clstm_i_plan *plan, const TYPED(row_view) *view, size_t first) {
    if (TYPED(is_direct)(plan, view)) return view->stride;
    if (view->reversed || !clstm_i_is_single(plan, first)) return 0;
    return (first + 1 < plan->steps ? view->map.at[first + 1] - view->map.at[first] : 1) * view->stride;
}

static inline TYPED(row_view) TYPED(columns_from)(TYPED(row_view) view, size_t column) {
    if (view.data) view.data += column;
    return view;
}

/* ---- Exchange between packed rows and a view ---- */

/* Moves n elements; `here` is packed, `there` in the view. */
typedef void TYPED(exchange)(real *here, real *there, size_t n);

static void TYPED(gather_rows)(real *here, real *there, size_t n) { memcpy(here, there, n * sizeof(real)); }
static void TYPED(scatter_rows)(real *here, real *there, size_t n) { memcpy(there, here, n * sizeof(real)); }
static void TYPED(scatter_add)(real *here, real *there, size_t n) { TYPED(add)(there, here, n); }
static void TYPED(scale_by_rows)(real *here, real *there, size_t n) {
    for (size_t k = 0; k < n; k++) here[k] *= there[k];
}

/* Packed rows of some steps. */
typedef struct TYPED(packed_rows) {
    real *data; /* the first row of the first step */
    size_t stride, columns;
    clstm_i_range steps;
    clstm_i_range rows; /* those to move, counted from the first row of the first step */
} TYPED(packed_rows);

static void TYPED(exchange_rows)(const clstm_i_plan *plan, TYPED(exchange) *exchange, const TYPED(packed_rows) *own,
                                 const TYPED(row_view) *view) {
    const size_t origin = plan->offsets[own->steps.begin], n = own->columns;
    const int contiguous = own->stride == n && view->stride == n;
    clstm_i_assert(own->stride >= n && view->stride >= n && own->steps.end <= plan->steps);
    clstm_i_assert(own->rows.end <= plan->offsets[own->steps.end] - origin);
    if (TYPED(is_direct)(plan, view)) {
        const clstm_i_range rows = own->rows;
        const size_t each = contiguous ? clstm_i_count(rows) : 1;
        for (size_t row = rows.begin; row < rows.end; row += each)
            exchange(own->data + row * own->stride, view->data + (origin + row) * view->stride, each * n);
        return;
    }
    /* A step's rows are adjacent in the view, too, unless they end at different steps or each has a place of its
       own. */
    const int adjacent = contiguous && !view->map.first && !(view->reversed && plan->lengths);
    for (size_t t = own->steps.begin; t < own->steps.end; t++) {
        const size_t at = plan->offsets[t] - origin;
        const size_t begin = own->rows.begin > at ? own->rows.begin - at : 0;
        const size_t end = clstm_i_min(own->rows.end > at ? own->rows.end - at : 0, plan->rows[t]);
        const size_t each = adjacent && begin < end ? end - begin : 1;
        for (size_t row = begin; row < end; row += each) {
            const size_t there = clstm_i_place(plan, &view->map, view->reversed, t, row);
            exchange(own->data + (at + row) * own->stride, view->data + there * view->stride, each * n);
        }
    }
}

/* Every row of the plan. */
static void TYPED(exchange_all)(const clstm_i_plan *plan, TYPED(exchange) *exchange, real *data, size_t stride,
                                size_t columns, const TYPED(row_view) *view) {
    const TYPED(packed_rows) own = {data, stride, columns, {0, plan->steps}, {0, plan->total}};
    if (plan->total) TYPED(exchange_rows)(plan, exchange, &own, view);
}

/* Writes zeros after each row's end, in one thread's share of the caller's steps. A sequence without padding has
   none. */
static void TYPED(zero_padding)(const clstm_i_plan *plan, real *data, size_t stride, size_t columns, size_t index,
                                size_t count) {
    const clstm_i_range own = clstm_i_share(plan->caller_steps, 1, index, count);
    for (size_t row = 0; data && plan->lengths && row < plan->batch; row++)
        for (size_t t = clstm_i_max(plan->lengths[row], own.begin); t < own.end; t++)
            memset(data + (t * plan->batch + plan->order[row]) * stride, 0, columns * sizeof(real));
}

/* ---- States: one for each row of the batch, in the caller's order there ---- */

/* (batch, columns) from the caller's; where `from` is NULL, copies of one row, or zeros. */
static void TYPED(gather_states)(const clstm_i_plan *plan, real *here, size_t stride, const real *from,
                                 const real *one_row, size_t columns) {
    clstm_i_assert(stride >= columns);
    for (size_t row = 0; row < plan->batch; row++)
        TYPED(copy_or_zero)(here + row * stride, from ? from + clstm_i_caller_row(plan, row) * columns : one_row,
                            columns);
}

static void TYPED(scatter_states)(const clstm_i_plan *plan, const real *here, size_t stride, real *to, size_t columns) {
    clstm_i_assert(stride >= columns);
    for (size_t row = 0; to && row < plan->batch; row++)
        memcpy(to + clstm_i_caller_row(plan, row) * columns, here + row * stride, columns * sizeof(real));
}
