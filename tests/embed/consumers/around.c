/* Plays what stands around an LSTM: around MODEL STEPS ROWS reads (STEPS, ROWS, I) floats and writes (STEPS, ROWS, O),
   half of them by a fork of the stream. Prints the gains to standard error. */
#include <clstm.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static void expect(int condition, const char *what) {
    if (condition) return;
    fprintf(stderr, "%s\n", what);
    exit(3);
}

static void check(clstm_status status) {
    if (status == CLSTM_OK) return;
    fprintf(stderr, "%s\n", clstm_strerror(status));
    exit(1);
}

static clstm_stream *stream_of(const clstm_model *model, size_t rows, void **memory, size_t *bytes) {
    clstm_stream *stream = NULL;
    check(clstm_stream_size(model, rows, bytes));
    *memory = malloc(*bytes);
    expect(*memory != NULL, "memory");
    check(clstm_stream_init(model, rows, 0, *memory, *bytes, &stream));
    return stream;
}

/* What the functions around refuse. */
static void refusals(clstm_model *model) {
    clstm_around around = *clstm_model_around(model);
    const clstm_around before = around;
    clstm_sequence sequence = CLSTM_SEQUENCE_INIT;
    clstm_tape *tape = NULL;
    const int plays = around.input_gain != 1 || around.skip != 0 || around.output_gain != 1;
    const clstm_status expected = plays ? CLSTM_STREAM_ONLY : CLSTM_OK;
    expect(clstm_forward(model, &sequence, NULL) == expected, "clstm_forward");
    expect(clstm_record(model, &sequence, NULL, &tape) == expected, "clstm_record");
    clstm_tape_free(tape);
    around.skip = NAN;
    expect(clstm_model_set_around(model, &around) == CLSTM_INVALID_ARGUMENT, "a NaN");
    around = before;
    around.output_gain = INFINITY;
    expect(clstm_model_set_around(model, &around) == CLSTM_INVALID_ARGUMENT, "an infinite gain");
    around.size = 1;
    expect(clstm_model_set_around(model, &around) == CLSTM_INVALID_ARGUMENT, "a size");
    expect(clstm_model_set_around(NULL, &before) == CLSTM_INVALID_ARGUMENT, "no model");
    expect(clstm_model_set_around(model, NULL) == CLSTM_INVALID_ARGUMENT, "nothing");
    expect(!clstm_model_around(NULL), "clstm_model_around of NULL");
    expect(clstm_model_around(model)->skip == before.skip, "a refused change");
}

int main(int count, char **arguments) {
    clstm_model *model;
    expect(count == 4, "arguments");
    const size_t steps = strtoul(arguments[2], NULL, 10), rows = strtoul(arguments[3], NULL, 10);
    check(clstm_model_from_file(arguments[1], NULL, &model));
    const clstm_around *around = clstm_model_around(model);
    fprintf(stderr, "%.9g %.9g %.9g", around->input_gain, around->skip, around->output_gain);
    refusals(model);

    const clstm_config *config = clstm_model_config(model);
    const size_t I = config->input_size, O = config->output_size ? config->output_size : config->hidden_size;
    float *x = malloc(steps * rows * (I + O) * sizeof *x), *y = x + steps * rows * I;
    expect(x && fread(x, sizeof *x, steps * rows * I, stdin) == steps * rows * I, "x");
    size_t bytes;
    void *memory, *more;
    clstm_stream *stream = stream_of(model, rows, &memory, &bytes), *fork = NULL;
    const size_t half = steps / 2;
    check(clstm_stream_process(stream, half, x, y));
    more = malloc(bytes);
    expect(more != NULL, "memory");
    check(clstm_stream_fork(stream, rows, more, bytes, &fork));
    check(clstm_stream_refresh(fork, model));
    for (size_t t = half; t < steps; t++) check(clstm_stream_step(fork, x + t * rows * I, y + t * rows * O));
    expect(fwrite(y, sizeof *y, steps * rows * O, stdout) == steps * rows * O, "y");

    const clstm_around none = CLSTM_AROUND_INIT;
    const int plays = around->input_gain != 1 || around->skip != 0 || around->output_gain != 1;
    check(clstm_model_set_around(model, &none));
    expect(clstm_stream_refresh(fork, model) == (plays ? CLSTM_INVALID_ARGUMENT : CLSTM_OK), "refresh");
    clstm_stream_release(fork);
    clstm_stream_release(stream);
    clstm_model_free(model);
    free(memory);
    free(more);
    free(x);
    return 0;
}
