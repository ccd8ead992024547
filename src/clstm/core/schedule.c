/* Who does what: how many threads share a pass, by rows, units or layers. Thresholds are in tuning.h. */
#include "schedule.h"

#include "tuning.h"

/* The mean number of active rows: one long row among short ones is shared as it would be alone. */
static size_t mean_rows(const clstm_i_shape *shape) {
    return shape->steps ? (shape->total + shape->steps / 2) / shape->steps : 0;
}

/* Threads that split the batch never wait and have equal shares, but each reads all weights at every step. That takes
   no longer than the multiply-adds do if each thread has enough rows, and the recurrent weights at most `bytes`. */
static int rows_win(const clstm_i_shape *shape, size_t threads, size_t rows_each, double bytes) {
    const double H = (double)shape->hidden_size;
    return mean_rows(shape) >= rows_each * threads && 4 * H * H * (double)shape->element <= bytes;
}

static int rows_win_forward(const clstm_i_shape *shape, size_t threads) {
    if (shape->total != shape->steps * shape->batch) /* few threads keep rows until the end */
        return rows_win(shape, threads, TUNE_ROWS_UNEVEN, TUNE_HALF_OF_L2);
    return rows_win(shape, threads, TUNE_ROWS_PRIVATE, TUNE_PRIVATE_L2)
           || rows_win(shape, threads, TUNE_ROWS_SHARED, TUNE_SHARED_L3);
}

static int rows_win_backward(const clstm_i_shape *shape, size_t threads) {
    return rows_win(shape, threads, TUNE_BACKWARD_ROWS_PRIVATE, TUNE_PRIVATE_L2)
           || rows_win(shape, threads, TUNE_BACKWARD_ROWS_SHARED, TUNE_SHARED_L3);
}

/* Threads that share a step meet after it. */
static int step_is_long(const clstm_i_shape *shape, double step) {
    return step >= TUNE_STEP_TO_SHARE && step >= TUNE_HANDOVER_WORK * shape->handover;
}

clstm_i_schedule clstm_i_schedule_forward(const clstm_i_call *call, const clstm_i_shape *shape, int packed) {
    const size_t rows = mean_rows(shape), H = shape->hidden_size, D = shape->directions, L = shape->num_layers;
    const double step = 4.0 * (double)H * (double)H * (double)rows; /* multiply-adds of one layer's recurrence */
    const double depth = (double)shape->input_size + (double)H + ((double)D + 1) * (double)H * (double)(L - 1);
    const double work = (double)D * 4 * (double)H * (double)rows * (double)shape->steps * depth;
    const size_t wanted = clstm_i_threads_for(call, work, SIZE_MAX);
    const size_t groups = wanted > 1 ? D : 1, threads = wanted / groups; /* of each direction */
    const size_t lines = (H * shape->element + 63) / 64; /* cache lines of h: the units to share */
    clstm_i_assert(H && L && D && D <= 2);

    if (threads == 1 || !packed) return (clstm_i_schedule){threads * groups, CLSTM_I_UNITS};
    if (rows_win_forward(shape, threads)) return (clstm_i_schedule){threads * groups, CLSTM_I_ROWS};
    if (D == 1 && L > 1 && shape->steps >= TUNE_WAVEFRONT_STEPS && step <= TUNE_WAVEFRONT_WORK)
        return (clstm_i_schedule){threads, CLSTM_I_LAYERS};
    if (step < TUNE_STEP_TO_SPLIT) return (clstm_i_schedule){groups, CLSTM_I_UNITS};
    if (H <= TUNE_SMALL_HIDDEN && rows >= threads) return (clstm_i_schedule){threads * groups, CLSTM_I_ROWS};
    if (!step_is_long(shape, step)) return (clstm_i_schedule){groups, CLSTM_I_UNITS};
    return (clstm_i_schedule){clstm_i_min(threads, lines) * groups, CLSTM_I_UNITS};
}

clstm_i_schedule clstm_i_schedule_backward(const clstm_i_call *call, const clstm_i_shape *shape, size_t blocks) {
    const size_t rows = mean_rows(shape), D = shape->directions;
    const double H = (double)shape->hidden_size, step = 4 * H * H * (double)rows;
    const size_t wanted = clstm_i_threads_for(call, step * (double)shape->steps * (double)D, SIZE_MAX);
    const size_t groups = wanted > 1 ? D : 1, threads = wanted / groups; /* of each direction */
    if (!blocks || rows_win_backward(shape, threads))
        return (clstm_i_schedule){groups * clstm_i_max(clstm_i_min(threads, rows), 1), CLSTM_I_ROWS};
    if (!step_is_long(shape, step)) return (clstm_i_schedule){groups, CLSTM_I_UNITS};
    return (clstm_i_schedule){groups * clstm_i_min(threads, blocks), CLSTM_I_UNITS};
}

int clstm_i_hoists(const clstm_i_shape *shape, clstm_i_split split, size_t columns) {
    /* One step has nothing to share; a thread's own rows of several steps are not adjacent. */
    return mean_rows(shape) < TUNE_HOIST_ROWS && columns >= TUNE_HOIST_COLUMNS && shape->steps > 1
           && split != CLSTM_I_ROWS;
}

size_t clstm_i_threads_for(const clstm_i_call *call, double work, size_t n) {
    const size_t threads = call->context->team.threads;
    size_t wanted = threads;
    if (work < 2.0 * TUNE_WORK_PER_THREAD) wanted = 1;
    else if (work < (double)TUNE_WORK_PER_THREAD * (double)threads)
        wanted = (size_t)work / TUNE_WORK_PER_THREAD; /* raises no inexact flag */
    return clstm_i_max(clstm_i_min(wanted, n), 1);
}

clstm_i_range clstm_i_share(size_t n, size_t grain, size_t index, size_t count) {
    const size_t grains = n / grain + (n % grain != 0);
    const size_t each = grains / count, more = grains % count;
    const size_t begin = index * each + clstm_i_min(index, more);
    clstm_i_assert(grain && index < count);
    return clstm_i_below((clstm_i_range){begin * grain, (begin + each + (index < more)) * grain}, n);
}
