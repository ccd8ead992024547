/* How the threads share a pass: the measured thresholds, in one place. Figures are of two cores, in microseconds,
   float32: of a Zen 4, those of layers in turn of a Zen 3. A cache line took 40 ns from one core to the other; where it
   takes 160, all that meets at every step is slower by up to a half, and rows win more often than here. */
#include "schedule.h"

/* The mean number of rows: one long row among short ones is shared as it would be alone. */
static size_t mean_rows(const clstm_i_shape *shape) {
    return shape->steps ? (shape->total + shape->steps / 2) / shape->steps : 0;
}

/* Rows wait for nobody and are shared evenly, but each thread reads all weights, at every step. That takes no longer
   than the multiply-adders do with enough rows each, and recurrent weights of no more than `most` bytes. */
static int rows_win(const clstm_i_shape *shape, size_t threads, size_t each, double most) {
    const double H = (double)shape->hidden_size;
    return mean_rows(shape) >= each * threads && 4 * H * H * (double)shape->element <= most;
}

/* Bytes of recurrent weights, of float32: of H = 128 and 192, which half of a core's own cache and most of it keep, and
   of H = 512, which the cache of all gives fast enough; of B = 16, H = 768 rows lose 8 %. */
static const double in_half = 2.7e5, in_private = 6e5, in_shared = 4.2e6;

/* Multiply-adds of a step from which on units are shared. Of B = 1, H = 64 two threads would take 68 to 77 instead of
   85, but 140 between cores that share no cache. */
static const double enough = 1.7e4;

size_t clstm_i_choose_split(const clstm_i_call *call, const clstm_i_shape *shape, int packed, clstm_i_split *split) {
    const size_t rows = mean_rows(shape);
    const double H = (double)shape->hidden_size, D = (double)shape->directions, steps = (double)shape->steps;
    const double depth = (double)shape->input_size + H + (D + 1) * H * (double)(shape->num_layers - 1);
    const size_t all = clstm_i_wanted(call, D * 4 * H * (double)rows * steps * depth, SIZE_MAX);
    const size_t together = all > 1 ? shape->directions : 1, threads = all / together; /* of a direction */
    *split = CLSTM_I_UNITS;
    if (threads == 1 || !packed) return threads * together;

    /* Units are shared in whole cache lines of h. Where steps are short, meeting at each of them costs more than layers
       in turn, L = 2, H = 64, B = 1 takes 166 and 140, H = 128 516 and 550; or than reading all weights: of 100 steps
       by rows and by units take, of B = 12, H = 64 480 and 590, H = 192 3,500 and 3,660, of B = 16, H = 256 8,310 and
       8,670, H = 512 33,000 and 35,000. B = 8 would gain as much, but then rows half full, which gain nothing, would
       take 0.7 of full ones. Of rows that end at different steps one thread has few, long ones: of B = 16, half full,
       H = 64 takes 360 and 380, but of B = 32 H = 192 6,600 and 6,100, H = 256 11,700 and 9,100. */
    const size_t lines = (shape->hidden_size * shape->element + 63) / 64;
    const double recurrent = 4 * H * H * (double)rows;
    const int even = shape->total == shape->steps * shape->batch;
    const int in_turn = shape->directions == 1 && shape->num_layers > 1 && steps >= 64 && recurrent <= 3e4;
    const int rows_of_own = even ? rows_win(shape, threads, 5, in_private) || rows_win(shape, threads, 8, in_shared)
                                 : rows_win(shape, threads, 4, in_half);
    if (rows_of_own) *split = CLSTM_I_ROWS;
    else if (in_turn) *split = CLSTM_I_LAYERS;
    else if (recurrent < 1.5e4) return together; /* half of it would gain nothing */
    else if (shape->hidden_size <= 48 && rows >= threads) *split = CLSTM_I_ROWS; /* B = 4 takes 122, not 145 */
    else if (recurrent < enough) return together;
    else if (threads > lines) return lines * together;
    return threads * together;
}

size_t clstm_i_choose_split_backward(const clstm_i_call *call, const clstm_i_shape *shape, size_t blocks,
                                     clstm_i_split *split) {
    const size_t rows = mean_rows(shape);
    const double H = (double)shape->hidden_size, recurrent = 4 * H * H * (double)rows;
    const double work = recurrent * (double)shape->steps * (double)shape->directions;
    const size_t all = clstm_i_wanted(call, work, SIZE_MAX);
    const size_t together = all > 1 ? shape->directions : 1, threads = all / together; /* of a direction */
    /* By rows and by units take, of B = 4, H = 40 170 and 190, H = 128 1,400 and 1,530, H = 192 2,850 and 3,140; but of
       B = 3 and H = 256, half full, 2,670 and 2,440. */
    const int by_rows = rows_win(shape, threads, 1, in_private) || rows_win(shape, threads, 4, in_shared);
    *split = !blocks || by_rows ? CLSTM_I_ROWS : CLSTM_I_UNITS;
    if (*split == CLSTM_I_ROWS) return together * (threads < rows ? threads : rows ? rows : 1);
    if (recurrent < enough) return together; /* B = 1, H = 40 takes 26 instead of 52, H = 64 77 and 73 */
    return together * (threads < blocks ? threads : blocks);
}

int clstm_i_hoists(const clstm_i_shape *shape, clstm_i_split split) {
    /* The hoisted product saves 5 % of B = 5, H = 200, and nothing of 32 rows; of a smaller B more, as the input's
       weights are read once, not every step. A single step has nothing to share, a few features are as soon added in
       every step, and a thread's own rows of several steps do not lie together. */
    const size_t most = 24, few = 8;
    return mean_rows(shape) < most && shape->input_size >= few && shape->steps > 1 && split != CLSTM_I_ROWS;
}

size_t clstm_i_wanted(const clstm_i_call *call, double work, size_t n) {
    /* Fork and join cost 2 us, in which a core does some 10^5 multiply-adds; but on a busy machine a scheduler's
       slice, so that training a small model became several times slower on two threads than on one. */
    const size_t least = 1000000, threads = call->context->team.threads;
    size_t wanted = threads;
    if (work < 2 * (double)least) wanted = 1;
    else if (work < (double)least * (double)threads) wanted = (size_t)work / least; /* raises no inexact flag */
    if (wanted > n) wanted = n;
    return wanted ? wanted : 1;
}

clstm_i_range clstm_i_slice(size_t n, size_t grain, size_t index, size_t count) {
    const size_t grains = n / grain + (n % grain != 0);
    const size_t each = grains / count, more = grains % count;
    const size_t begin = index * each + (index < more ? index : more);
    clstm_i_range range = {begin * grain, (begin + each + (index < more)) * grain};
    if (range.begin > n) range.begin = n;
    if (range.end > n) range.end = n;
    return range;
}
