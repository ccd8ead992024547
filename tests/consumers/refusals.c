/* What a configuration or a sequence must not say is refused by a status, before anything is written. Prints what was
   not. */
#include <clstm.h>
#include <stdint.h>
#include <stdio.h>

enum { T = 3, B = 2, H = 4, L = 2 };

static float x[T * B], y[T * B * H], masks[T * B * H];
static int failures;

static void expect(clstm_status status, clstm_status expected, const char *what) {
    if (status == expected) return;
    failures++;
    printf("%s: %s\n", what, clstm_strerror(status));
}

static clstm_config config(size_t layers) {
    clstm_config config = CLSTM_CONFIG_INIT;
    config.input_size = 1;
    config.hidden_size = H;
    config.num_layers = layers;
    return config;
}

static void configurations(void) {
    size_t tensors, elements;
    clstm_config wrong = config(L);
    wrong.proj_size = H;
    expect(clstm_config_count(&wrong, &tensors, &elements), CLSTM_INVALID_CONFIG, "a projection as large as h");
    wrong = config(L);
    wrong.direction = (clstm_direction)3;
    expect(clstm_config_count(&wrong, &tensors, &elements), CLSTM_INVALID_CONFIG, "a third direction");
    wrong = config(SIZE_MAX / 64);
    wrong.direction = CLSTM_BIDIRECTIONAL;
    expect(clstm_config_count(&wrong, &tensors, &elements), CLSTM_OVERFLOW, "layers that can't be counted");
    wrong = config(L);
    wrong.hidden_size = SIZE_MAX / 8;
    wrong.proj_size = SIZE_MAX / 16;
    expect(clstm_config_count(&wrong, &tensors, &elements), CLSTM_OVERFLOW, "a projection that can't be counted");
}

static clstm_sequence sequence(void) {
    clstm_sequence sequence = CLSTM_SEQUENCE_INIT;
    sequence.steps = T;
    sequence.batch = B;
    sequence.x = x;
    sequence.y = y;
    return sequence;
}

static void sequences(const clstm_model *deep, const clstm_model *flat) {
    const size_t too_long[B] = {1, T + 1}, endless[B] = {SIZE_MAX, SIZE_MAX}, empty[B] = {0, 0};
    clstm_tape *tape = NULL;
    clstm_sequence wrong = sequence();
    wrong.lengths = too_long;
    expect(clstm_forward(deep, &wrong, NULL), CLSTM_INVALID_ARGUMENT, "a row longer than T");
    wrong.ragged = 1;
    expect(clstm_record(deep, &wrong, NULL, &tape), CLSTM_INVALID_ARGUMENT, "a ragged row longer than T");
    wrong.lengths = endless;
    wrong.steps = SIZE_MAX;
    expect(clstm_forward(deep, &wrong, NULL), CLSTM_OVERFLOW, "rows that can't be counted");
    wrong = sequence();
    wrong.ragged = 1;
    expect(clstm_forward(deep, &wrong, NULL), CLSTM_INVALID_ARGUMENT, "ragged without lengths");
    wrong = sequence();
    wrong.dropout = masks;
    expect(clstm_forward(deep, &wrong, NULL), CLSTM_INVALID_ARGUMENT, "dropout without a recording");
    expect(clstm_record(flat, &wrong, NULL, &tape), CLSTM_INVALID_ARGUMENT, "dropout after the only layer");
    wrong.dropout = NULL;
    wrong.recurrent_dropout = masks;
    expect(clstm_forward(deep, &wrong, NULL), CLSTM_INVALID_ARGUMENT, "recurrent dropout without a recording");
    if (tape) failures++, printf("a tape of a recording that was refused\n");
    for (int k = 0; k < T * B * H; k++)
        if (y[k] != 0) failures++, printf("y was written\n");

    clstm_sequence none = sequence();
    none.lengths = empty;
    for (int k = 0; k < T * B * H; k++) y[k] = 1;
    expect(clstm_forward(deep, &none, NULL), CLSTM_OK, "rows without a step");
    for (int k = 0; k < T * B * H; k++)
        if (y[k] != 0) failures++, printf("y is not zero after a row's end\n");
}

int main(void) {
    clstm_config two = config(L), one = config(1);
    clstm_model *deep, *flat;
    configurations();
    if (clstm_model_create(&two, NULL, NULL, &deep) || clstm_model_create(&one, NULL, NULL, &flat)) return 1;
    sequences(deep, flat);
    clstm_model_free(deep);
    clstm_model_free(flat);
    return failures > 0;
}
