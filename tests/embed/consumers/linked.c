/* Runs a model on a team and prints y exactly. A program like a user's, in C99 and in C++17. */
#include <clstm.h>
#include <stdio.h>

enum { FEATURES = 3, HIDDEN = 24, STEPS = 5, BATCH = 4, ELEMENTS = 4 * HIDDEN * (FEATURES + HIDDEN + 1) };

static void fill(float *array, int n) {
    for (int k = 0; k < n; k++) array[k] = (float)(37 * k % 64 - 32) / 64;
}

int main(void) {
    static float parameters[ELEMENTS], x[STEPS * BATCH * FEATURES], y[STEPS * BATCH * HIDDEN];
    clstm_config config = CLSTM_CONFIG_INIT;
    clstm_context context = CLSTM_CONTEXT_INIT;
    clstm_sequence sequence = CLSTM_SEQUENCE_INIT;
    clstm_model *model;

    fill(parameters, ELEMENTS);
    fill(x, STEPS * BATCH * FEATURES);
    config.input_size = FEATURES;
    config.hidden_size = HIDDEN;
    context.team = clstm_openmp_team(2);
    clstm_status status = clstm_model_create(&config, parameters, &context, &model);

    sequence.steps = STEPS;
    sequence.batch = BATCH;
    sequence.x = x;
    sequence.y = y;
    if (!status) status = clstm_forward(model, &sequence, &context);
    clstm_model_free(model);

    if (status) fprintf(stderr, "%s\n", clstm_strerror(status));
    for (int k = 0; k < STEPS * BATCH * HIDDEN; k++) printf("%a\n", (double)y[k]);
    return (int)status;
}
