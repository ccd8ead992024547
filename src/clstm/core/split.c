/* How the threads share a forward pass: the thresholds, all measured, in one place. */
#include "internal.h"

size_t clstm_i_choose_split(const clstm_i_call *call, const clstm_i_shape *shape, int packed, clstm_i_split *split) {
    const double H = (double)shape->hidden_size, rows = (double)shape->steps * (double)shape->batch;
    const double depth = (double)shape->input_size + H + 2 * H * (double)(shape->num_layers - 1);
    const double work = 4 * H * rows * depth;
    const size_t threads = clstm_i_wanted(call, work, SIZE_MAX);
    *split = packed ? CLSTM_I_ROWS : CLSTM_I_UNITS;
    if (threads == 1 || !packed) return threads;
    const double recurrent = 4 * H * H * (double)shape->element;
    if (shape->batch >= 2 * threads && recurrent <= 384 << 10) return threads;
    if (shape->num_layers > 1 && recurrent <= 384 << 10 && shape->steps >= 64) { *split = CLSTM_I_LAYERS; return threads; }
    if (recurrent / (double)shape->element * (double)shape->batch >= 40000) { *split = CLSTM_I_UNITS; return threads; }
    return 1;
}

int clstm_i_hoists(const clstm_i_shape *shape, clstm_i_split split, size_t threads) {
    return shape->batch < 8 && (split != CLSTM_I_ROWS || threads == 1) && (shape->input_size > 4 || shape->num_layers > 1) && shape->steps > 1;
}
