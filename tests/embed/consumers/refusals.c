/* Invalid configurations and sequences are refused by a status before anything is written. Prints those that were
   accepted. */
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

/* Clips and functions of the cell. NaN and infinity are made without libm. */
static void cells(void) {
    const double huge = 1e308, infinity = 10 * huge, wrong_bounds[] = {-1, infinity, -infinity, infinity - infinity};
    size_t tensors, elements;
    for (int k = 0; k < 4; k++) {
        clstm_config wrong = config(L);
        wrong.cell.clip = wrong_bounds[k];
        expect(clstm_config_count(&wrong, &tensors, &elements), CLSTM_INVALID_CONFIG, "a clip out of range");
        wrong = config(L);
        wrong.cell.cell_clip = wrong_bounds[k];
        expect(clstm_config_count(&wrong, &tensors, &elements), CLSTM_INVALID_CONFIG, "a cell_clip out of range");
    }
    for (int slot = 0; slot < 3; slot++) {
        clstm_config right = config(L), wrong = right;
        clstm_activation *const slots[] = {&wrong.cell.gate, &wrong.cell.cell, &wrong.cell.hidden};
        slots[slot]->function = (clstm_function)(CLSTM_SOFTPLUS + 1);
        expect(clstm_config_count(&wrong, &tensors, &elements), CLSTM_INVALID_CONFIG, "an unknown function");
        slots[slot]->function = CLSTM_HARD_SIGMOID;
        slots[slot]->alpha = infinity;
        expect(clstm_config_count(&wrong, &tensors, &elements), CLSTM_INVALID_CONFIG, "an infinite alpha");
        slots[slot]->alpha = 1;
        slots[slot]->beta = infinity - infinity;
        expect(clstm_config_count(&wrong, &tensors, &elements), CLSTM_INVALID_CONFIG, "a beta that is no number");
        slots[slot]->beta = -1e300;
        expect(clstm_config_count(&wrong, &tensors, &elements), CLSTM_OK, "a beta that is a number");
    }
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

/* A model without gradients still runs forward. Its y is 0: all parameters are 0, so c is, and ELU of 0 is 0. */
static void without_gradient(void) {
    clstm_config inference = config(L);
    inference.cell.hidden.function = CLSTM_ELU;
    inference.cell.hidden.alpha = 1;
    clstm_model *model;
    clstm_sequence given;
    clstm_tape *tape = (clstm_tape *)&given;
    if (clstm_model_create(&inference, NULL, NULL, &model)) {
        failures++, printf("no model with a function for inference\n");
        return;
    }
    given = sequence();
    for (int k = 0; k < T * B * H; k++) y[k] = 1;
    expect(clstm_record(model, &given, NULL, &tape), CLSTM_NO_GRADIENT, "a recording without a gradient");
    if (tape) failures++, printf("a tape without a gradient\n");
    for (int k = 0; k < T * B * H; k++)
        if (y[k] != 1) failures++, printf("y was written by what was refused\n");
    expect(clstm_forward(model, &given, NULL), CLSTM_OK, "a call without a gradient");
    for (int k = 0; k < T * B * H; k++)
        if (y[k] != 0) failures++, printf("y of a call is not 0\n");
    clstm_model_free(model);
}

/* Fast activations are for the plain cell in float32, without gradients. */
static void fast_activations(void) {
    clstm_config fast = config(L), wrong;
    size_t tensors, elements;
    clstm_model *model;
    fast.activations = CLSTM_FAST;
    expect(clstm_config_count(&fast, &tensors, &elements), CLSTM_OK, "fast activations");
    expect(clstm_model_create_f64(&fast, NULL, NULL, &model), CLSTM_WRONG_DTYPE, "fast activations in float64");
    wrong = fast;
    wrong.cell.coupled = 1;
    expect(clstm_config_count(&wrong, &tensors, &elements), CLSTM_INVALID_CONFIG, "fast activations of another cell");
    wrong = fast;
    wrong.activations = (clstm_activations)2;
    expect(clstm_config_count(&wrong, &tensors, &elements), CLSTM_INVALID_CONFIG, "unknown activations");
    if (clstm_model_create(&fast, NULL, NULL, &model)) {
        failures++, printf("no model with fast activations\n");
        return;
    }
    clstm_sequence given = sequence();
    clstm_tape *tape = NULL;
    expect(clstm_record(model, &given, NULL, &tape), CLSTM_NO_GRADIENT, "a recording of fast activations");
    expect(clstm_forward(model, &given, NULL), CLSTM_OK, "a call of fast activations");
    clstm_model_free(model);
}

int main(void) {
    clstm_config two = config(L), one = config(1);
    clstm_model *deep, *flat;
    configurations();
    cells();
    if (clstm_model_create(&two, NULL, NULL, &deep) || clstm_model_create(&one, NULL, NULL, &flat)) return 1;
    sequences(deep, flat);
    without_gradient();
    fast_activations();
    clstm_model_free(deep);
    clstm_model_free(flat);
    return failures > 0;
}
