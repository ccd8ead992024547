/* Eight threads share one model. Each calls it, records and runs backward, and starts, steps, forks and releases
   streams, all concurrently from the first pack on. Prints results that differ from those of one thread. */
#include <clstm.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 8, ROUNDS = 20, T = 12, I = 3, H = 20, O = 2, P = 4 * H * (I + H + 1) + O * (H + 1) };

static float parameters[P], x[T * I];
static clstm_model *model;

typedef struct results {
    float y[T * O], stream[T * O], fork[O], gradients[P];
    clstm_status status;
} results;

static void run_passes(results *out) {
    clstm_sequence sequence = CLSTM_SEQUENCE_INIT;
    clstm_gradients gradients = CLSTM_GRADIENTS_INIT;
    clstm_tape *tape = NULL;
    sequence.steps = T;
    sequence.batch = 1;
    sequence.x = x;
    sequence.y = out->y;
    out->status = clstm_forward(model, &sequence, NULL);
    if (!out->status) out->status = clstm_record(model, &sequence, NULL, &tape);
    gradients.dy = out->y;
    gradients.parameters = out->gradients;
    if (!out->status) out->status = clstm_backward(tape, &gradients, NULL);
    clstm_tape_free(tape);
}

static void run_streams(results *out) {
    size_t bytes = 0;
    clstm_stream *stream = NULL, *fork = NULL;
    out->status = clstm_stream_size(model, 1, &bytes);
    char *memory = malloc(2 * bytes);
    if (!out->status) out->status = clstm_stream_init(model, 1, 0, memory, bytes, &stream);
    for (size_t t = 0; t < T && !out->status; t++)
        out->status = clstm_stream_step(stream, x + t * I, out->stream + t * O);
    if (!out->status) out->status = clstm_stream_fork(stream, 1, memory + bytes, bytes, &fork);
    clstm_stream_release(stream);
    if (!out->status) out->status = clstm_stream_step(fork, x, out->fork);
    if (!out->status) out->status = clstm_stream_refresh(fork, model);
    clstm_stream_release(fork);
    free(memory);
}

static void *run(void *argument) {
    results *out = argument;
    for (int round = 0; round < ROUNDS && !out->status; round++) {
        run_passes(out);
        if (!out->status) run_streams(out);
    }
    return NULL;
}

int main(void) {
    static results alone, all[THREADS];
    pthread_t threads[THREADS];
    clstm_config config = CLSTM_CONFIG_INIT;
    int failures = 0;
    config.input_size = I;
    config.hidden_size = H;
    config.output_size = O;
    for (int k = 0; k < P; k++) parameters[k] = 0.3f * sinf((float)k);
    for (int k = 0; k < T * I; k++) x[k] = cosf((float)k);
    if (clstm_model_create(&config, parameters, NULL, &model)) return 1;
    for (int k = 0; k < THREADS; k++) pthread_create(&threads[k], NULL, run, &all[k]);
    for (int k = 0; k < THREADS; k++) pthread_join(threads[k], NULL);
    run_passes(&alone);
    run_streams(&alone);
    for (int k = 0; k < THREADS; k++) {
        if (!all[k].status && !memcmp(&all[k], &alone, sizeof alone)) continue;
        failures++;
        printf("thread %d: %s\n", k, clstm_strerror(all[k].status));
    }
    clstm_model_free(model);
    return failures > 0;
}
