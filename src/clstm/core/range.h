/* Ranges of rows, units, blocks and steps. */
#pragma once

#include <stddef.h>

#pragma GCC visibility push(hidden)

/* begin <= i < end. */
typedef struct clstm_i_range {
    size_t begin, end;
} clstm_i_range;

static inline size_t clstm_i_min(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t clstm_i_max(size_t a, size_t b) { return a > b ? a : b; }

static inline size_t clstm_i_count(clstm_i_range range) { return range.end - range.begin; }

/* The members of a range below n. */
static inline clstm_i_range clstm_i_below(clstm_i_range range, size_t n) {
    return (clstm_i_range){clstm_i_min(range.begin, n), clstm_i_min(range.end, n)};
}

/* The share of one of `count` threads in n items, in multiples of `grain` (schedule.c). */
clstm_i_range clstm_i_share(size_t n, size_t grain, size_t index, size_t count);

#pragma GCC visibility pop
