/* Trains a model to remember its last input, in plain C. Prints the loss before and after, and the allocations of a
   step. Exits with 1 if the optimisers accept what they should refuse. */
#include "heap.h"

#include <clstm.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { T = 12, B = 16, H = 8, O = 1, ELEMENTS = 4 * H * (1 + H + 1) + O * (H + 1) };

static float parameters[ELEMENTS], gradients[ELEMENTS], m[ELEMENTS], v[ELEMENTS], velocity[ELEMENTS];
static float x[T * B], y[T * B], dy[T * B];

static float drawn(void) { return 2 * (float)rand() / (float)RAND_MAX - 1; }

/* The mean squared error between y_t and x_{t-1}, and its gradient. */
static double loss(void) {
    double sum = 0;
    for (int k = B; k < T * B; k++) {
        const float error = y[k] - x[k - B];
        sum += error * error;
        dy[k] = 2 * error / (T * B);
    }
    return sum / (T * B);
}

static double step(clstm_model *model, const clstm_context *context, size_t number, int use_sgd) {
    clstm_sequence sequence = CLSTM_SEQUENCE_INIT;
    clstm_gradients wanted = CLSTM_GRADIENTS_INIT;
    clstm_adam adam = CLSTM_ADAM_INIT;
    clstm_sgd sgd = CLSTM_SGD_INIT;
    clstm_tape *tape;
    double norm;
    for (int k = 0; k < T * B; k++) x[k] = drawn();
    sequence.steps = T;
    sequence.batch = B;
    sequence.x = x;
    sequence.y = y;
    sequence.keep = number % 2 ? CLSTM_KEEP_STATES : CLSTM_KEEP_GATES;
    if (clstm_record(model, &sequence, context, &tape)) exit(2);
    const double now = loss();
    wanted.dy = dy;
    wanted.parameters = gradients;
    if (clstm_backward(tape, &wanted, context)) exit(3);
    clstm_tape_free(tape);
    if (clstm_clip_global_norm(ELEMENTS, gradients, 1, &norm, context) || !(norm > 0)) exit(4);
    adam.step = number;
    adam.lr = 0.02;
    sgd.lr = 0.3;
    sgd.momentum = 0.9;
    if (use_sgd ? clstm_sgd_step(model, &sgd, gradients, velocity, context)
                : clstm_adam_step(model, &adam, gradients, m, v, context)) exit(5);
    return now;
}

static int refusals(clstm_model *model) {
    const clstm_adam no_size = {0, 1, 1, 0, 0, 1, 0};
    clstm_adam adam = CLSTM_ADAM_INIT;
    clstm_sgd sgd = CLSTM_SGD_INIT;
    double norm, none = 0;
    int wrong = clstm_adam_step(NULL, &adam, gradients, m, v, NULL) != CLSTM_INVALID_ARGUMENT;
    wrong += clstm_adam_step(model, NULL, gradients, m, v, NULL) != CLSTM_INVALID_ARGUMENT;
    wrong += clstm_adam_step(model, &adam, NULL, m, v, NULL) != CLSTM_INVALID_ARGUMENT;
    wrong += clstm_adam_step(model, &adam, gradients, NULL, v, NULL) != CLSTM_INVALID_ARGUMENT;
    wrong += clstm_adam_step(model, &adam, gradients, m, NULL, NULL) != CLSTM_INVALID_ARGUMENT;
    wrong += clstm_adam_step(model, &no_size, gradients, m, v, NULL) != CLSTM_INVALID_ARGUMENT;
    adam.step = 0;
    wrong += clstm_adam_step(model, &adam, gradients, m, v, NULL) != CLSTM_INVALID_ARGUMENT;
    wrong += clstm_adam_step_f64(model, &adam, &none, &none, &none, NULL) != CLSTM_WRONG_DTYPE;
    wrong += clstm_sgd_step(model, NULL, gradients, velocity, NULL) != CLSTM_INVALID_ARGUMENT;
    wrong += clstm_sgd_step(model, &sgd, NULL, velocity, NULL) != CLSTM_INVALID_ARGUMENT;
    wrong += clstm_sgd_step(model, &sgd, gradients, NULL, NULL) != CLSTM_INVALID_ARGUMENT;
    wrong += clstm_sgd_step_f64(model, &sgd, &none, &none, NULL) != CLSTM_WRONG_DTYPE;
    adam.step = 1;
    wrong += clstm_adam_update(1, &adam, NULL, gradients, m, v, NULL) != CLSTM_INVALID_ARGUMENT;
    wrong += clstm_adam_update(0, &adam, NULL, NULL, NULL, NULL, NULL) != CLSTM_OK;
    wrong += clstm_sgd_update(1, &sgd, NULL, gradients, velocity, NULL) != CLSTM_INVALID_ARGUMENT;
    wrong += clstm_sgd_update(0, &sgd, NULL, NULL, NULL, NULL) != CLSTM_OK;
    wrong += clstm_clip_global_norm(1, NULL, 1, &norm, NULL) != CLSTM_INVALID_ARGUMENT;
    wrong += clstm_clip_global_norm(1, gradients, 0, &norm, NULL) != CLSTM_INVALID_ARGUMENT;
    wrong += clstm_clip_global_norm(1, gradients, NAN, &norm, NULL) != CLSTM_INVALID_ARGUMENT;
    wrong += clstm_clip_global_norm(1, gradients, 1, NULL, NULL) != CLSTM_INVALID_ARGUMENT;
    wrong += clstm_clip_global_norm(0, NULL, 1, &norm, NULL) != CLSTM_OK || norm != 0;
    return wrong;
}

/* A model on the caller's array, trained by updates of that array in two parts, equals one trained by steps. */
static int shared(const clstm_config *config, const clstm_context *context) {
    static float own[ELEMENTS], m_own[ELEMENTS], v_own[ELEMENTS], y_own[T * B * O];
    clstm_sequence sequence = CLSTM_SEQUENCE_INIT;
    clstm_adam adam = CLSTM_ADAM_INIT;
    clstm_model *model, *on;
    const size_t half = ELEMENTS / 3;
    adam.weight_decay = 0.1;
    if (clstm_model_create(config, parameters, context, &model)) return 1;
    memcpy(own, parameters, sizeof own);
    memset(m, 0, sizeof m);
    memset(v, 0, sizeof v);
    if (clstm_model_create_on(config, own, context, &on)) return 2;
    for (adam.step = 1; adam.step < 4; adam.step++) {
        for (int k = 0; k < ELEMENTS; k++) gradients[k] = drawn();
        if (clstm_adam_step(model, &adam, gradients, m, v, context)) return 3;
        if (clstm_adam_update(half, &adam, own, gradients, m_own, v_own, context)) return 4;
        const size_t rest = ELEMENTS - half;
        if (clstm_adam_update(rest, &adam, own + half, gradients + half, m_own + half, v_own + half, context)) return 5;
        if (clstm_model_touch(on)) return 6;
        sequence.steps = T;
        sequence.batch = B;
        sequence.x = x;
        sequence.y = y;
        if (clstm_forward(model, &sequence, context)) return 7;
        sequence.y = y_own;
        if (clstm_forward(on, &sequence, context)) return 8;
        if (memcmp(y, y_own, sizeof y_own)) return 9;
    }
    if (memcmp(own, clstm_model_parameters(model), sizeof own)) return 10;
    clstm_model_free(model);
    clstm_model_free(on);
    return 0;
}

int main(void) {
    clstm_config config = CLSTM_CONFIG_INIT;
    clstm_context context = CLSTM_CONTEXT_INIT;
    heap heap = {0, 0, 0, 0};
    clstm_model *model;
    config.input_size = 1;
    config.hidden_size = H;
    config.output_size = O;
    context.allocate = heap_allocate;
    context.release = heap_release;
    context.user = &heap;
    for (int use_sgd = 0; use_sgd < 2; use_sgd++) {
        double first = 0, last = 0;
        size_t calls = 0;
        for (int k = 0; k < ELEMENTS; k++) parameters[k] = 0.4f * drawn();
        if (clstm_model_create(&config, parameters, &context, &model)) return 1;
        for (size_t number = 1; number <= 600; number++) {
            if (number == 581) calls = heap.calls;
            const double now = step(model, &context, number, use_sgd);
            if (number <= 20) first += now / 20;
            if (number > 580) last += now / 20;
        }
        printf("%g %g %g\n", first, last, (double)(heap.calls - calls) / 20);
        if (refusals(model)) return 1;
        clstm_model_free(model);
    }
    const int differs = shared(&config, &context);
    return differs ? 10 + differs : heap.now > 0;
}
