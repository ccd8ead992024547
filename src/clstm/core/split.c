/* How the threads share a pass: the measured thresholds, in one place. Figures are of two cores of a Zen 3, in
   microseconds, float32. */
#include "internal.h"

size_t clstm_i_choose_split(const clstm_i_call *call, const clstm_i_shape *shape, int packed, clstm_i_split *split) {
    const double H = (double)shape->hidden_size, batch = (double)shape->batch, steps = (double)shape->steps;
    const double D = (double)shape->directions;
    const double depth = (double)shape->input_size + H + (D + 1) * H * (double)(shape->num_layers - 1);
    const size_t all = clstm_i_wanted(call, D * 4 * H * batch * steps * depth, SIZE_MAX);
    const size_t together = all > 1 ? shape->directions : 1, threads = all / together; /* of a direction */
    *split = CLSTM_I_UNITS;
    if (threads == 1 || !packed) return threads * together;

    /* Units win by 1.2 to 1.3 over rows from B = 2, H = 64 to B = 32, H = 256, because each thread reads half of the
       weights; but they are shared in whole cache lines of h, so that few of them can't be shared evenly. Where steps
       are short, meeting at each of them costs more than layers in turn: L = 2, H = 64, B = 1 takes 166 and 140, H =
       128 516 and 550. */
    const size_t lines = (shape->hidden_size * shape->element + 63) / 64;
    const double recurrent = 4 * H * H * batch;
    if (shape->directions == 1 && shape->num_layers > 1 && steps >= 64 && recurrent <= 3e4) *split = CLSTM_I_LAYERS;
    else if (lines < 4 * threads && shape->batch >= 16 * threads) *split = CLSTM_I_ROWS;
    else if (recurrent < 1.5e4) return together; /* B = 1, H = 64 takes 85, not 112; half of it would gain nothing */
    else if (threads > lines) return lines * together;
    return threads * together;
}

size_t clstm_i_choose_split_backward(const clstm_i_call *call, const clstm_i_shape *shape, size_t blocks,
                                     clstm_i_split *split) {
    const double H = (double)shape->hidden_size, recurrent = 4 * H * H * (double)shape->batch;
    const double work = recurrent * (double)shape->steps * (double)shape->directions;
    const size_t all = clstm_i_wanted(call, work, SIZE_MAX);
    const size_t together = all > 1 ? shape->directions : 1, threads = all / together; /* of a direction */
    /* A block has four times the units of a forward one, so that few blocks are shared less evenly; and rows wait for
       nobody. For 100 steps units and rows take, of B = 8: H = 64 293 and 187, H = 128 731 and 634; of 16 rows of H =
       200 3,800 and 3,300; from H = 256 on both the same. With fewer rows each thread's share of the weights decides,
       of B = 4: H = 20 76 and 44, H = 64 164 and 127, but H = 128 393 and 443, H = 256 1,230 and 1,790. */
    const int few_blocks = blocks < 4 * threads && shape->batch >= 4 * threads;
    const int small = H <= 64 && shape->batch >= threads;
    *split = !blocks || few_blocks || small ? CLSTM_I_ROWS : CLSTM_I_UNITS;
    if (*split == CLSTM_I_ROWS) return together * (threads < shape->batch ? threads : shape->batch ? shape->batch : 1);
    if (recurrent < 1.5e4) return together; /* B = 1, H = 40 takes 26 instead of 52, H = 64 77 and 73 */
    return together * (threads < blocks ? threads : blocks);
}

int clstm_i_hoists(const clstm_i_shape *shape, clstm_i_split split) {
    /* The hoisted product saves 5 % of B = 5, H = 200, on two threads 3 % of B = 16, H = 256, and nothing of 32 rows;
       of a smaller B more, as the input's weights are read once, not every step. A single step has nothing to share, a
       few features are as soon added in every step, and a thread's own rows of several steps do not lie together. */
    const size_t most = 24, few = 8;
    return shape->batch < most && shape->input_size >= few && shape->steps > 1 && split != CLSTM_I_ROWS;
}
