/* Every exit from a call restores the floating-point environment, on the caller's thread and on the team's, and results
   do not depend on it. Prints errors. */
#include "crew.h"
#include "heap.h"

#include <clstm.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { T = 150, B = 16, I = 24, H = 64, L = 2, PARAMETERS = 4 * H * (I + H) + 4 * H * 2 * H };
enum { T_LONG = 2000 }; /* long enough that every host is asked to cancel */

static float parameters[PARAMETERS], x[T_LONG * B * I], y[T * B * H], first_y[T * B * H];
static float dx[T * B * I], first_dx[T * B * I];
static char stream_memory[1 << 20];
static int failures, compared;

static void expect(int holds, const char *what) {
    if (holds) return;
    failures++;
    printf("%s\n", what);
}

static int cancel(void *user) {
    (void)user;
    return 1;
}

/* Without a bias, such a small x makes denormals everywhere, unless they are flushed. */
static void fill(void) {
    for (size_t k = 0; k < PARAMETERS; k++) parameters[k] = 0.3f * sinf((float)k);
    for (size_t k = 0; k < T_LONG * B * I; k++) x[k] = k % 3 ? 0 : 2e-38f * cosf((float)k);
}

static clstm_sequence sequence(void) {
    clstm_sequence sequence = CLSTM_SEQUENCE_INIT;
    sequence.steps = T;
    sequence.batch = B;
    sequence.x = x;
    sequence.y = y;
    return sequence;
}

/* The first call stores the result; later calls compare with it. */
static void compare(void) {
    expect(!compared || !memcmp(y, first_y, sizeof y), "forward depends on the caller's environment");
    expect(!compared || !memcmp(dx, first_dx, sizeof dx), "backward depends on the caller's environment");
    memcpy(first_y, y, sizeof y);
    memcpy(first_dx, dx, sizeof dx);
    compared = 1;
}

/* Sets the environment, calls, and checks that the call has left it unchanged. */
#define UNCHANGED(environment_, call, expected)                                             \
    do {                                                                                    \
        set_environment(environment_);                                                      \
        const clstm_status status = (call);                                                 \
        const uint64_t after = environment();                                               \
        set_environment(normal);                                                            \
        expect(status == (expected), #call ": another status");                             \
        expect(after == (environment_), #call ": the floating-point environment changed");  \
    } while (0)

static void passes(uint64_t normal, uint64_t now, const clstm_model *model, clstm_context *context, heap *heap) {
    const clstm_sequence all = sequence();
    clstm_sequence endless = sequence();
    clstm_gradients gradients = CLSTM_GRADIENTS_INIT;
    clstm_tape *tape, *none;
    gradients.dy = y;
    gradients.dx = dx;
    UNCHANGED(now, clstm_forward(model, &all, context), CLSTM_OK);
    UNCHANGED(now, clstm_record(model, &all, context, &tape), CLSTM_OK);
    heap->fail_at = heap->calls + 1;
    UNCHANGED(now, clstm_record(model, &all, context, &none), CLSTM_OUT_OF_MEMORY);
    heap->fail_at = 0;
    UNCHANGED(now, clstm_backward(tape, &gradients, context), CLSTM_OK);
    UNCHANGED(now, clstm_backward(tape, &gradients, context), CLSTM_TAPE_CONSUMED);
    clstm_tape_free(tape);
    compare();
    context->cancelled = cancel;
    endless.steps = T_LONG;
    endless.y = NULL;
    UNCHANGED(now, clstm_forward(model, &endless, context), CLSTM_CANCELLED);
    context->cancelled = NULL;
    clstm_stream *stream;
    UNCHANGED(now, clstm_stream_init(model, 1, 0, stream_memory, sizeof stream_memory, &stream), CLSTM_OK);
    UNCHANGED(now, clstm_stream_step(stream, x, NULL), CLSTM_OK);
    UNCHANGED(now, clstm_stream_process(stream, T, x, y), CLSTM_OK);
    UNCHANGED(now, clstm_stream_process_f64(stream, 1, NULL, NULL), CLSTM_INVALID_ARGUMENT);
    clstm_stream_release(stream);
    UNCHANGED(now, clstm_tanh(T, x, y), CLSTM_OK);
    UNCHANGED(now, clstm_sigmoid(T, x, y), CLSTM_OK);
    UNCHANGED(now, clstm_forward_f64(model, &(clstm_sequence_f64)CLSTM_SEQUENCE_F64_INIT, context), CLSTM_WRONG_DTYPE);
}

int main(void) {
    const uint64_t environments[] = ENVIRONMENTS;
    crew crew = {4, 0, 0};
    heap heap = {0, 0, 0, 0};
    clstm_config config = CLSTM_CONFIG_INIT;
    clstm_context context = CLSTM_CONTEXT_INIT;
    clstm_model *model;
    config.input_size = I;
    config.hidden_size = H;
    config.num_layers = L;
    config.no_bias = 1;
    context.allocate = heap_allocate;
    context.release = heap_release;
    context.user = &heap;
    fill();
    if (clstm_model_create(&config, parameters, &context, &model)) return 1;
    for (size_t threads = 1; threads <= 4; threads += 3) {
        if (threads > 1) context.team = crew_team(&crew);
        for (size_t k = 0; k < sizeof environments / sizeof *environments; k++)
            passes(environments[0], environments[k], model, &context, &heap);
    }
    clstm_model_free(model);
    expect(crew.used > 1, "no team was used");
    expect(!crew.disturbed, "a task left its thread's floating-point environment changed");
    return failures ? 1 : 0;
}
