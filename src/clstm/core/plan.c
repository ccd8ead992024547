/* The plan: which rows are active at which step. */
#include "internal.h"

size_t clstm_i_plan_reserve(clstm_i_layout *layout, size_t steps, size_t batch) {
    size_t total;
    if (steps > SIZE_MAX / 2 - 1 || __builtin_mul_overflow(steps, batch, &total)) layout->overflow = 1;
    return clstm_i_reserve(layout, 2 * steps + 1, 1, sizeof(size_t));
}

clstm_i_plan clstm_i_plan_uniform(size_t steps, size_t batch, size_t *memory) {
    size_t *rows = memory, *offsets = memory + steps;
    for (size_t t = 0; t < steps; t++) {
        rows[t] = batch;
        offsets[t] = t * batch;
    }
    offsets[steps] = steps * batch;
    return (clstm_i_plan){steps, batch, steps * batch, rows, offsets};
}

size_t clstm_i_plan_chunk(const clstm_i_plan *plan, size_t first, size_t rows) {
    size_t last = first + 1;
    while (last < plan->steps && plan->offsets[last + 1] - plan->offsets[first] <= rows) last++;
    return last;
}
