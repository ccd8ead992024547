/* The plan: which rows are active at which step, and where they lie in the caller's arrays. */
#include "plan.h"

int clstm_i_plan_is_uniform(const clstm_i_extent *extent) {
    if (!extent->lengths) return 1;
    if (extent->ragged && extent->batch > 1) return 0;
    for (size_t row = 0; row < extent->batch; row++)
        if (extent->lengths[row] != extent->steps) return 0;
    return 1;
}

clstm_status clstm_i_plan_total(const clstm_i_extent *extent, size_t *total) {
    const int counted = !__builtin_mul_overflow(extent->steps, extent->batch, total);
    if (!extent->lengths) return counted ? CLSTM_OK : CLSTM_OVERFLOW;
    if (!counted && !extent->ragged) return CLSTM_OVERFLOW;
    *total = 0;
    for (size_t row = 0; row < extent->batch; row++) {
        if (extent->lengths[row] > extent->steps) return CLSTM_INVALID_ARGUMENT;
        if (__builtin_add_overflow(*total, extent->lengths[row], total)) return CLSTM_OVERFLOW;
    }
    return CLSTM_OK;
}

size_t clstm_i_plan_longest(const clstm_i_extent *extent) {
    if (!extent->lengths) return extent->batch ? extent->steps : 0;
    size_t longest = 0;
    for (size_t row = 0; row < extent->batch; row++)
        if (longest < extent->lengths[row]) longest = extent->lengths[row];
    return longest;
}

size_t clstm_i_plan_reserve(clstm_i_layout *layout, const clstm_i_extent *extent) {
    const size_t steps = extent->steps;
    size_t n = 2 * steps + 1;
    if (steps > SIZE_MAX / 3 - 1) layout->overflow = 1;
    if (extent->lengths
        && (__builtin_mul_overflow(3, extent->batch, &n) || __builtin_add_overflow(n, 3 * steps + 1, &n)))
        layout->overflow = 1;
    return clstm_i_reserve(layout, n, 1, sizeof(size_t));
}

static clstm_i_plan make_uniform(const clstm_i_extent *extent, size_t *memory) {
    const size_t steps = extent->steps, batch = extent->batch;
    size_t *rows = memory, *offsets = memory + steps;
    for (size_t t = 0; t < steps; t++) {
        rows[t] = batch;
        offsets[t] = t * batch;
    }
    offsets[steps] = steps * batch;
    return (clstm_i_plan){steps, batch, steps * batch, rows, offsets, NULL, NULL, {offsets, NULL}, steps};
}

/* rows[t]: the number of rows longer than t. */
static void count_rows(const clstm_i_extent *extent, size_t *rows) {
    for (size_t t = 0; t < extent->steps; t++) rows[t] = 0;
    for (size_t row = 0; row < extent->batch; row++)
        if (extent->lengths[row]) rows[extent->lengths[row] - 1]++;
    for (size_t t = extent->steps; t-- > 1;) rows[t - 1] += rows[t];
}

/* Counting sort: rows of length n follow the rows[n] longer ones, in the caller's order. */
static void sort_rows(const clstm_i_extent *extent, const size_t *rows, size_t *next, size_t *order) {
    for (size_t n = 0; n < extent->steps; n++) next[n] = rows[n];
    next[extent->steps] = 0;
    for (size_t row = 0; row < extent->batch; row++) order[next[extent->lengths[row]]++] = row;
}

clstm_i_plan clstm_i_plan_make(const clstm_i_extent *extent, size_t *memory) {
    if (clstm_i_plan_is_uniform(extent)) return make_uniform(extent, memory);
    const size_t batch = extent->batch, most = extent->steps;
    size_t *rows = memory, *offsets = rows + most, *at = offsets + most + 1;
    size_t *lengths = at + most, *order = lengths + batch, *first = order + batch, steps = 0, start = 0;
    count_rows(extent, rows);
    sort_rows(extent, rows, offsets, order);
    while (steps < most && rows[steps]) steps++;
    offsets[0] = 0;
    for (size_t t = 0; t < steps; t++) {
        offsets[t + 1] = offsets[t] + rows[t];
        at[t] = extent->ragged ? t : t * batch;
    }
    for (size_t row = 0; row < batch; row++) {
        lengths[row] = start; /* temporarily: the first row of each ragged sequence */
        start += extent->lengths[row];
    }
    for (size_t row = 0; row < batch; row++) first[row] = extent->ragged ? lengths[order[row]] : order[row];
    for (size_t row = 0; row < batch; row++) lengths[row] = extent->lengths[order[row]];
    for (size_t row = 1; row < batch; row++) clstm_i_assert(lengths[row] <= lengths[row - 1]);
    return (clstm_i_plan){steps, batch, offsets[steps], rows, offsets, lengths, order, {at, first},
                          extent->ragged ? 0 : most};
}

size_t clstm_i_plan_chunk(const clstm_i_plan *plan, size_t first, size_t rows) {
    clstm_i_assert(first < plan->steps);
    size_t last = first + 1;
    const int single = clstm_i_is_single(plan, first);
    while (last < plan->steps && plan->offsets[last + 1] - plan->offsets[first] <= rows
           && clstm_i_is_single(plan, last) == single)
        last++;
    return last;
}

clstm_i_range clstm_i_share_rows(const clstm_i_plan *plan, size_t index, size_t count) {
    if (!plan->lengths) return clstm_i_share(plan->batch, 1, index, count);
    const clstm_i_range own = clstm_i_share(plan->total, 1, index, count);
    clstm_i_range share = {0, 0};
    for (size_t row = 0, done = 0; row < plan->batch; done += plan->lengths[row++]) {
        if (done < own.begin) share.begin = row + 1;
        if (done < own.end) share.end = row + 1;
    }
    if (index + 1 == count) share.end = plan->batch;
    return share;
}
