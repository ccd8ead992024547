/* Prints the schedule of each line of standard input:

       forward|backward|hoist THREADS STEPS BATCH TOTAL INPUT HIDDEN LAYERS DIRECTIONS ARGUMENT HANDOVER

   ARGUMENT is, for forward, 1 for the packed engine; for backward, the blocks of units; for hoist, the columns of the
   layer's input. It is linked to schedule.c alone. */
#include "schedule.h"

#include <stdio.h>
#include <string.h>

int main(void) {
    static const char *const splits[] = {"rows", "units", "layers"};
    char what[16];
    size_t threads, argument;
    clstm_i_shape shape = {.element = sizeof(float)};
    while (scanf("%15s %zu %zu %zu %zu %zu %zu %zu %zu %zu %lf", what, &threads, &shape.steps, &shape.batch,
                 &shape.total, &shape.input_size, &shape.hidden_size, &shape.num_layers, &shape.directions, &argument,
                 &shape.handover) == 11) {
        const clstm_context context = {.team = {.threads = threads}};
        const clstm_i_call call = {.context = &context};
        const int forward = !strcmp(what, "forward");
        const clstm_i_schedule schedule = forward ? clstm_i_schedule_forward(&call, &shape, (int)argument)
                                                  : clstm_i_schedule_backward(&call, &shape, argument);
        if (strcmp(what, "hoist")) printf("%zu %s\n", schedule.threads, splits[schedule.split]);
        else printf("%s\n", clstm_i_hoists(&shape, CLSTM_I_UNITS, argument) ? "hoisted" : "in the step");
    }
    return 0;
}
