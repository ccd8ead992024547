/* The plan: which rows are active at which step, and where the caller has them. */
#pragma once

#include "memory.h"
#include "range.h"

#pragma GCC visibility push(hidden)

/* Where the rows of a sequence lie in an array: that of step t and row r is number at[t] + first[r]. */
typedef struct clstm_i_map {
    const size_t *at;    /* (steps,) */
    const size_t *first; /* (batch,), or NULL: r itself */
} clstm_i_map;

/* Which rows are active at which step. Rows are sorted by length, so that rows[t] never grows with t and the active
   ones are the first; arrays over time are packed, (total, .), so that padding is never read. A direction that goes
   back has its steps in its own order: the first is each row's last, and all else is the same. */
typedef struct clstm_i_plan {
    size_t steps, batch, total;
    const size_t *rows;    /* (steps,) */
    const size_t *offsets; /* (steps + 1,): rows before each step; the last is total */
    const size_t *lengths; /* (batch,) that never grow, or NULL: all rows have all steps */
    const size_t *order;   /* (batch,) the caller's number of each row, or NULL: the same */
    clstm_i_map caller;    /* where the caller has them */
    size_t caller_steps;   /* T, of rows that are padded to it; 0: without padding */
} clstm_i_plan;

/* What a plan is made of: CLSTM_OVERFLOW where T B rows can't be counted, CLSTM_INVALID_ARGUMENT for a length above
   T. */
typedef struct clstm_i_extent {
    size_t steps, batch;
    const size_t *lengths; /* (batch,) in the caller's order, or NULL */
    int ragged;
} clstm_i_extent;

int clstm_i_plan_is_uniform(const clstm_i_extent *extent); /* all rows have all steps, and lie packed */
clstm_status clstm_i_plan_total(const clstm_i_extent *extent, size_t *total);
size_t clstm_i_plan_longest(const clstm_i_extent *extent); /* the steps of the longest row */
size_t clstm_i_plan_reserve(clstm_i_layout *layout, const clstm_i_extent *extent);
clstm_i_plan clstm_i_plan_make(const clstm_i_extent *extent, size_t *memory);

/* Where packed arrays have their rows, in forward order. */
static inline clstm_i_map clstm_i_packed_map(const clstm_i_plan *plan) {
    return (clstm_i_map){plan->offsets, NULL};
}

/* The number of the row of a direction's step s in an array. */
static inline size_t clstm_i_place(const clstm_i_plan *plan, const clstm_i_map *map, int back, size_t s, size_t row) {
    clstm_i_assert(row < plan->batch && s < (plan->lengths ? plan->lengths[row] : plan->steps));
    const size_t length = plan->lengths ? plan->lengths[row] : plan->steps, t = back ? length - 1 - s : s;
    return map->at[t] + (map->first ? map->first[row] : row);
}

/* On a tape: slot of the rows before step t, in h and c. */
static inline size_t clstm_i_slot_before(const clstm_i_plan *plan, size_t t) {
    return t ? plan->batch + plan->offsets[t - 1] : 0;
}

/* Whether the rows before step t > 0 follow those before step t - 1. */
static inline int clstm_i_slots_follow(const clstm_i_plan *plan, size_t t) {
    return clstm_i_slot_before(plan, t) == clstm_i_slot_before(plan, t - 1) + plan->rows[t - 1];
}

/* How many rows the caller's sequences have. */
static inline size_t clstm_i_caller_rows(const clstm_i_plan *plan) {
    return plan->caller_steps ? plan->caller_steps * plan->batch : plan->total;
}

/* The caller's number of a row. */
static inline size_t clstm_i_caller_row(const clstm_i_plan *plan, size_t row) {
    return plan->order ? plan->order[row] : row;
}

/* Whether one row alone is left, at a step and so after it: these rows are evenly spaced wherever they lie. */
static inline int clstm_i_is_single(const clstm_i_plan *plan, size_t t) { return plan->lengths && plan->rows[t] == 1; }

/* The step after the longest run of steps from `first` up to `last` that have the same rows. */
static inline size_t clstm_i_plan_run(const clstm_i_plan *plan, size_t first, size_t last) {
    if (!plan->lengths) return last;
    size_t end = first + 1;
    while (end < last && plan->rows[end] == plan->rows[first]) end++;
    return end;
}

/* The step after the longest chunk from `first` that has at most `rows` rows, or one step; either no row is single or
   all are. */
size_t clstm_i_plan_chunk(const clstm_i_plan *plan, size_t first, size_t rows);

/* The rows of the batch that fall to one of `count` threads: so many that all have as many steps of rows. */
clstm_i_range clstm_i_share_rows(const clstm_i_plan *plan, size_t index, size_t count);

#pragma GCC visibility pop
