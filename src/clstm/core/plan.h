/* The plan: which rows are active at which step, and where they lie in the caller's arrays. */
#pragma once

#include "memory.h"
#include "range.h"

#pragma GCC visibility push(hidden)

/* Where the rows of a sequence lie in an array: row r of step t has index at[t] + first[r]. */
typedef struct clstm_i_map {
    const size_t *at;    /* (steps,) */
    const size_t *first; /* (batch,), or NULL: r itself */
} clstm_i_map;

/* The active rows of each step. Rows are sorted by length, longest first, so that rows[t] never grows with t and the
   active rows come first. Arrays over time are packed, (total, .): padding is never read. A reverse direction numbers
   its steps from each row's end; the plan is otherwise the same. */
typedef struct clstm_i_plan {
    size_t steps, batch, total;
    const size_t *rows;    /* (steps,) */
    const size_t *offsets; /* (steps + 1,): rows before each step; the last is total */
    const size_t *lengths; /* (batch,) non-increasing, or NULL: all rows have all steps */
    const size_t *order;   /* (batch,) the caller's index of each row, or NULL: the same */
    clstm_i_map caller;    /* where rows lie in the caller's arrays */
    size_t caller_steps;   /* T if the caller pads rows to it, else 0 */
} clstm_i_plan;

/* The arguments of a plan. clstm_i_plan_total returns CLSTM_OVERFLOW if T B overflows, CLSTM_INVALID_ARGUMENT if a
   length exceeds T. */
typedef struct clstm_i_extent {
    size_t steps, batch;
    const size_t *lengths; /* (batch,) in the caller's order, or NULL */
    int ragged;
} clstm_i_extent;

int clstm_i_plan_is_uniform(const clstm_i_extent *extent); /* all rows have all steps, without padding */
clstm_status clstm_i_plan_total(const clstm_i_extent *extent, size_t *total);
size_t clstm_i_plan_longest(const clstm_i_extent *extent); /* the steps of the longest row */
size_t clstm_i_plan_reserve(clstm_i_layout *layout, const clstm_i_extent *extent);
clstm_i_plan clstm_i_plan_make(const clstm_i_extent *extent, size_t *memory);

/* Where rows lie in a packed array, in forward order. */
static inline clstm_i_map clstm_i_packed_map(const clstm_i_plan *plan) {
    return (clstm_i_map){plan->offsets, NULL};
}

/* The index in an array of a row at step s of a direction. Without a batch it is an address that nobody reads. */
static inline size_t clstm_i_place(const clstm_i_plan *plan, const clstm_i_map *map, int reversed, size_t s,
                                   size_t row) {
    clstm_i_assert(!plan->batch || (row < plan->batch && s < (plan->lengths ? plan->lengths[row] : plan->steps)));
    const size_t length = plan->lengths ? plan->lengths[row] : plan->steps, t = reversed ? length - 1 - s : s;
    return map->at[t] + (map->first ? map->first[row] : row);
}

/* The slot on a tape, in h and c, of the state before step t. */
static inline size_t clstm_i_slot_before(const clstm_i_plan *plan, size_t t) {
    return t ? plan->batch + plan->offsets[t - 1] : 0;
}

/* Whether the slots before step t > 0 directly follow those before step t - 1. */
static inline int clstm_i_slots_follow(const clstm_i_plan *plan, size_t t) {
    return clstm_i_slot_before(plan, t) == clstm_i_slot_before(plan, t - 1) + plan->rows[t - 1];
}

/* Rows of the caller's arrays, padding included. */
static inline size_t clstm_i_caller_rows(const clstm_i_plan *plan) {
    return plan->caller_steps ? plan->caller_steps * plan->batch : plan->total;
}

/* The caller's index of a row. */
static inline size_t clstm_i_caller_row(const clstm_i_plan *plan, size_t row) {
    return plan->order ? plan->order[row] : row;
}

/* Whether a single row is left at step t and therefore after it. Such rows are evenly spaced in every array. */
static inline int clstm_i_is_single(const clstm_i_plan *plan, size_t t) { return plan->lengths && plan->rows[t] == 1; }

/* The end of the longest run of steps from `first`, up to `last`, that have the same rows. */
static inline size_t clstm_i_plan_run(const clstm_i_plan *plan, size_t first, size_t last) {
    if (!plan->lengths) return last;
    size_t end = first + 1;
    while (end < last && plan->rows[end] == plan->rows[first]) end++;
    return end;
}

/* The end of the longest chunk from `first` with at most `rows` rows, or of one step. A chunk never mixes steps of a
   single row (clstm_i_is_single) with others. */
size_t clstm_i_plan_chunk(const clstm_i_plan *plan, size_t first, size_t rows);

/* One thread's rows of the batch, shared so that all threads have about the same number of row steps. */
clstm_i_range clstm_i_share_rows(const clstm_i_plan *plan, size_t index, size_t count);

#pragma GCC visibility pop
