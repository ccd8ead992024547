/* How the threads share a forward pass: the measured thresholds, in one place. Figures are of two cores of a Zen 3, in
   microseconds, float32. */
#include "internal.h"

size_t clstm_i_choose_split(const clstm_i_call *call, const clstm_i_shape *shape, int packed, clstm_i_split *split) {
    const double H = (double)shape->hidden_size, batch = (double)shape->batch, steps = (double)shape->steps;
    const double depth = (double)shape->input_size + H + 2 * H * (double)(shape->num_layers - 1);
    const size_t threads = clstm_i_wanted(call, 4 * H * batch * steps * depth, SIZE_MAX);
    *split = CLSTM_I_UNITS;
    if (threads == 1 || !packed) return threads;

    /* A layer whose steps are short would wait for its threads at each of them: at L = 2, H = 64, B = 1 layers in turn
       take 140, shared units 166; at H = 128 it is 550 and 516. Units win by 1.2 to 1.3 over rows from B = 2, H = 64 to
       B = 32, H = 256: each thread reads half of the weights. Units of 16 or fewer are too few to share. */
    const double recurrent = 4 * H * H * batch;
    if (shape->num_layers > 1 && steps >= 64 && recurrent <= 3e4) *split = CLSTM_I_LAYERS;
    else if (H < 8 * (double)threads * sizeof(double) / (double)shape->element) *split = CLSTM_I_ROWS;
    else if (recurrent < 1.5e4) return 1; /* shorter than a meeting is worth: B = 1, H = 64 takes 85 instead of 112 */
    if (*split == CLSTM_I_ROWS && shape->batch < 2 * threads) return 1;
    return threads;
}

int clstm_i_hoists(const clstm_i_shape *shape, clstm_i_split split, size_t threads) {
    /* Of B = 4 rows of H = 256 the hoisted product saves a tenth, of 16 rows 3 %; of 32 rows and H = 512 it costs 4 %,
       as the sums' way through memory then costs more than the weights'. A single step has nothing to share. */
    const size_t most = 24;
    return shape->batch < most && shape->steps > 1 && (split != CLSTM_I_ROWS || threads == 1);
}
