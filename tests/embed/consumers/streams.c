/* Streams give the results of one call, bit for bit, however they are fed, forked, refreshed and shared by rows, and
   refuse what they can't do. Prints errors. */
#include "heap.h"

#include <clstm.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { T = 150, B = 3, I = 9, H = 21, R = 13, O = 2, L = 2, STATES = L * B * H };

enum { PARAMETERS = 20000 }; /* enough for every model here */

static float parameters[PARAMETERS], x[T * B * I], y[T * B * O], expected[T * B * O];
static float hn[STATES], cn[STATES], h[STATES], c[STATES];
static char memory[3][1 << 20];
static int failures;

static void expect(int holds, const char *what) {
    if (holds) return;
    failures++;
    printf("%s\n", what);
}

#define RUNS(call) expect((call) == CLSTM_OK, #call)
#define REFUSES(call, status) expect((call) == (status), #call)

static clstm_config config(void) {
    clstm_config config = CLSTM_CONFIG_INIT;
    config.input_size = I;
    config.hidden_size = H;
    config.num_layers = L;
    config.output_size = O;
    config.learn_state = 1;
    return config;
}

static clstm_model *model_of(const clstm_config *config, const clstm_context *context) {
    clstm_model *model = NULL;
    for (size_t k = 0; k < PARAMETERS; k++) parameters[k] = 0.3f * sinf((float)(k * k % 997));
    RUNS(clstm_model_create(config, parameters, context, &model));
    return model;
}

static clstm_stream *stream_of(const clstm_model *model, size_t batch, int number) {
    clstm_stream *stream = NULL;
    char *odd = memory[number] + 2 * number + 1; /* any alignment is allowed */
    size_t bytes;
    RUNS(clstm_stream_size(model, batch, &bytes));
    REFUSES(clstm_stream_init(model, batch, 0, odd, bytes - 1, &stream), CLSTM_INVALID_ARGUMENT);
    RUNS(clstm_stream_init(model, batch, 0, odd, bytes, &stream));
    return stream;
}

/* One call, from the model's own initial state. */
static void run(const clstm_model *model, size_t steps) {
    clstm_sequence all = CLSTM_SEQUENCE_INIT;
    all.steps = steps;
    all.batch = B;
    all.x = x;
    all.y = expected;
    all.hn = hn;
    all.cn = cn;
    RUNS(clstm_forward(model, &all, NULL));
}

static void in_pieces(clstm_stream *stream) {
    static const size_t pieces[] = {1, 2, 1, 1, 70, 3, 0, 64, 8}; /* sum: T */
    size_t t = 0;
    memset(y, 0, sizeof y);
    for (size_t k = 0; k < sizeof pieces / sizeof *pieces; t += pieces[k++]) {
        if (pieces[k] == 1) RUNS(clstm_stream_step(stream, x + t * B * I, y + t * B * O));
        else RUNS(clstm_stream_process(stream, pieces[k], x + t * B * I, y + t * B * O));
    }
    expect(t == T, "the pieces are not the whole");
}

static void same_as_a_call(const clstm_config *config) {
    clstm_model *model = model_of(config, NULL);
    clstm_stream *stream = stream_of(model, B, 0), *fork = NULL;
    const size_t hs = L * B * (config->proj_size ? R : H), cs = L * B * H;
    run(model, T);
    in_pieces(stream);
    expect(!memcmp(y, expected, sizeof y), "a stream in pieces is another than one call");
    RUNS(clstm_stream_get_state(stream, h, c));
    expect(!memcmp(h, hn, hs * sizeof *h) && !memcmp(c, cn, cs * sizeof *c), "its state is another");
    RUNS(clstm_stream_fork(stream, B + 2, memory[2], sizeof memory[2], &fork));
    RUNS(clstm_stream_reset(stream));
    RUNS(clstm_stream_process(stream, T, x, NULL));
    RUNS(clstm_stream_step(stream, x, y));
    RUNS(clstm_stream_step(fork, x, y + B * O));
    expect(!memcmp(y, y + B * O, B * O * sizeof *y), "a fork goes on otherwise");
    RUNS(clstm_stream_set_state(stream, h, c));
    RUNS(clstm_stream_step(stream, x, y));
    expect(!memcmp(y, y + B * O, B * O * sizeof *y), "a state that is set is another");
    clstm_stream_release(fork);
    clstm_stream_release(stream);
    clstm_model_free(model);
}

/* A row that joins, and rows that stay when another leaves. */
static void rows(void) {
    const clstm_config own = config();
    clstm_model *model = model_of(&own, NULL);
    clstm_stream *all = stream_of(model, 3, 0), *one = stream_of(model, 1, 1);
    float step[3 * I], out[3 * O], alone[O];
    size_t row = 99;
    for (int k = 0; k < 3 * I; k++) step[k] = x[k];
    REFUSES(clstm_stream_join(all, &row), CLSTM_INVALID_ARGUMENT);
    RUNS(clstm_stream_step(all, step, out));
    RUNS(clstm_stream_step(one, step + 2 * I, alone));
    REFUSES(clstm_stream_leave(all, 3), CLSTM_INVALID_ARGUMENT);
    RUNS(clstm_stream_leave(all, 0)); /* row 2 is row 0 now */
    expect(clstm_stream_rows(all) == 2, "a row has left");
    RUNS(clstm_stream_step(all, step, out));
    RUNS(clstm_stream_step(one, step, alone));
    expect(!memcmp(out, alone, sizeof alone), "the last row takes the place of one that leaves");
    RUNS(clstm_stream_join(all, &row));
    expect(row == 2, "the row that joins is the last one");
    RUNS(clstm_stream_reset(one));
    RUNS(clstm_stream_step(all, step, out));
    RUNS(clstm_stream_step(one, step + 2 * I, alone));
    expect(!memcmp(out + 2 * O, alone, sizeof alone), "a row that joins begins at the initial state");
    for (int k = 0; k < 3; k++) RUNS(clstm_stream_leave(all, 0));
    RUNS(clstm_stream_process(all, 5, NULL, NULL));
    clstm_stream_release(all);
    clstm_stream_release(one);
    clstm_model_free(model);
}

/* A stream keeps its weights until it is refreshed, even if the model is updated or freed. */
static void weights(void) {
    heap heap = {0, 0, 0, 0};
    clstm_context context = CLSTM_CONTEXT_INIT;
    const clstm_config own = config();
    clstm_config other = own;
    context.allocate = heap_allocate;
    context.release = heap_release;
    context.user = &heap;
    clstm_model *model = model_of(&own, &context);
    clstm_stream *stream = stream_of(model, B, 0), *second = stream_of(model, B, 1), *fork = NULL;
    run(model, 1);
    for (size_t k = 0; k < PARAMETERS; k++) parameters[k] *= 0.5f;
    RUNS(clstm_model_update(model, parameters));
    RUNS(clstm_stream_step(stream, x, y));
    expect(!memcmp(y, expected, B * O * sizeof *y), "an update reaches a stream");
    run(model, 1);
    RUNS(clstm_stream_refresh(second, model)); /* keeps the memory of this version's packs */
    heap.fail_at = heap.calls + 1;
    clstm_model_update(model, parameters); /* the next use rebuilds them */
    REFUSES(clstm_stream_refresh(stream, model), CLSTM_OUT_OF_MEMORY);
    heap.fail_at = 0;
    RUNS(clstm_stream_refresh(stream, model));
    RUNS(clstm_stream_reset(stream));
    RUNS(clstm_stream_step(stream, x, y));
    expect(!memcmp(y, expected, B * O * sizeof *y), "a refreshed stream has other weights than the model");
    other.hidden_size++;
    clstm_model *wider = model_of(&other, NULL);
    REFUSES(clstm_stream_refresh(stream, wider), CLSTM_INVALID_ARGUMENT);
    clstm_model_free(wider);
    RUNS(clstm_stream_fork(second, B, memory[2], sizeof memory[2], &fork));
    clstm_model_free(model);
    clstm_stream_release(second);
    RUNS(clstm_stream_reset(stream));
    RUNS(clstm_stream_step(stream, x, y));
    expect(!memcmp(y, expected, B * O * sizeof *y), "a stream needs its model");
    RUNS(clstm_stream_step(fork, x, y));
    clstm_stream_release(stream);
    expect(heap.now > 0, "a fork shares weights that are gone");
    clstm_stream_release(fork);
    clstm_stream_release(NULL);
    expect(heap.now == 0, "weights were not given back");
}

static void refusals(void) {
    clstm_config own = config(), back = config();
    back.direction = CLSTM_BIDIRECTIONAL;
    back.learn_state = 0;
    clstm_model *model = model_of(&own, NULL), *reverse = model_of(&back, NULL);
    clstm_stream *stream = NULL, *fork;
    double f64[B * I] = {0};
    size_t bytes, row;
    void *const room = memory[0];
    REFUSES(clstm_stream_size(NULL, 1, &bytes), CLSTM_INVALID_ARGUMENT);
    REFUSES(clstm_stream_size(model, 1, NULL), CLSTM_INVALID_ARGUMENT);
    REFUSES(clstm_stream_size(model, 0, &bytes), CLSTM_INVALID_ARGUMENT);
    REFUSES(clstm_stream_size(model, (size_t)-1 / 8, &bytes), CLSTM_OVERFLOW);
    REFUSES(clstm_stream_size(reverse, 1, &bytes), CLSTM_NOT_CAUSAL);
    REFUSES(clstm_stream_init(NULL, 1, 0, room, sizeof memory[0], &stream), CLSTM_INVALID_ARGUMENT);
    REFUSES(clstm_stream_init(model, 1, 0, NULL, sizeof memory[0], &stream), CLSTM_INVALID_ARGUMENT);
    REFUSES(clstm_stream_init(model, 1, 0, room, sizeof memory[0], NULL), CLSTM_INVALID_ARGUMENT);
    REFUSES(clstm_stream_init(model, 1, 2, room, sizeof memory[0], &stream), CLSTM_INVALID_ARGUMENT);
    REFUSES(clstm_stream_init(model, 0, 0, room, sizeof memory[0], &stream), CLSTM_INVALID_ARGUMENT);
    REFUSES(clstm_stream_init(reverse, 1, 0, room, sizeof memory[0], &stream), CLSTM_NOT_CAUSAL);
    expect(!stream, "a stream that was refused");
    stream = stream_of(model, 1, 0);
    REFUSES(clstm_stream_step(NULL, x, y), CLSTM_INVALID_ARGUMENT);
    REFUSES(clstm_stream_step(stream, NULL, y), CLSTM_INVALID_ARGUMENT);
    REFUSES(clstm_stream_step_f64(stream, f64, NULL), CLSTM_WRONG_DTYPE);
    REFUSES(clstm_stream_process_f64(stream, 1, f64, NULL), CLSTM_WRONG_DTYPE);
    REFUSES(clstm_stream_get_state(NULL, h, c), CLSTM_INVALID_ARGUMENT);
    REFUSES(clstm_stream_set_state(NULL, h, c), CLSTM_INVALID_ARGUMENT);
    REFUSES(clstm_stream_get_state_f64(stream, f64, NULL), CLSTM_WRONG_DTYPE);
    REFUSES(clstm_stream_set_state_f64(stream, f64, NULL), CLSTM_WRONG_DTYPE);
    REFUSES(clstm_stream_reset(NULL), CLSTM_INVALID_ARGUMENT);
    REFUSES(clstm_stream_refresh(stream, NULL), CLSTM_INVALID_ARGUMENT);
    REFUSES(clstm_stream_refresh(NULL, model), CLSTM_INVALID_ARGUMENT);
    REFUSES(clstm_stream_join(stream, NULL), CLSTM_INVALID_ARGUMENT);
    REFUSES(clstm_stream_leave(NULL, 0), CLSTM_INVALID_ARGUMENT);
    REFUSES(clstm_stream_fork(stream, 0, memory[1], sizeof memory[1], &fork), CLSTM_INVALID_ARGUMENT);
    REFUSES(clstm_stream_fork(stream, 1, memory[1], 64, &fork), CLSTM_INVALID_ARGUMENT);
    clstm_stream_release(stream);
    REFUSES(clstm_stream_join(stream, &row), CLSTM_INVALID_ARGUMENT);
    expect(clstm_stream_rows(NULL) == 0, "no stream has rows");
    clstm_model_free(model);
    clstm_model_free(reverse);
}

int main(void) {
    clstm_config plain = config(), projected = config(), other = config();
    projected.proj_size = R;
    other.cell.peephole = 1;
    other.cell.gate.function = CLSTM_HARD_SIGMOID;
    other.cell.gate.alpha = 0.2;
    other.cell.gate.beta = 0.5;
    for (size_t k = 0; k < sizeof x / sizeof *x; k++) x[k] = cosf((float)k);
    same_as_a_call(&plain);
    same_as_a_call(&projected);
    same_as_a_call(&other);
    rows();
    weights();
    refusals();
    return failures > 0;
}
