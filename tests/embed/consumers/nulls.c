/* Calls every function of clstm.h with NULL for each argument in turn, with structs of unknown size and with numbers of
   the other type: each returns a status and writes nothing. Prints calls that were not refused. */
#include <clstm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { H = 3, P = 4 * H * (1 + H + 1), T = 4 };

static float f32[P];
static double f64[P];
static float m[P], v[P], g[P], x[T], y[T * H];
static int failures;

static void expect(int holds, const char *what) {
    if (holds) return;
    failures++;
    printf("%s\n", what);
}

#define REFUSES(call, status) expect((call) == (status), #call)
#define NULLS(call) REFUSES(call, CLSTM_INVALID_ARGUMENT)
#define OTHER_TYPE(call) REFUSES(call, CLSTM_WRONG_DTYPE)

static clstm_config config(void) {
    clstm_config config = CLSTM_CONFIG_INIT;
    config.input_size = 1;
    config.hidden_size = H;
    return config;
}

static void about_the_library(void) {
    expect(strlen(clstm_version()) > 0, "clstm_version");
    expect(strlen(clstm_strerror((clstm_status)-1)) > 0, "clstm_strerror of no status");
    for (int status = 0; status <= CLSTM_STREAM_ONLY; status++)
        expect(strcmp(clstm_strerror((clstm_status)status), clstm_strerror((clstm_status)-1)), "a status without words");
    expect(clstm_isa() && clstm_isa_list()[0], "clstm_isa");
    expect(clstm_engine() && clstm_engine_list()[0], "clstm_engine");
    expect(clstm_default_threads() >= 1, "clstm_default_threads");
    expect(clstm_has_openmp() == 0 || clstm_has_openmp() == 1, "clstm_has_openmp");
    expect(clstm_openmp_team(0).size == sizeof(clstm_team), "clstm_openmp_team");
    expect(clstm_pool_team(0).size == sizeof(clstm_team), "clstm_pool_team");
}

static void configurations(void) {
    clstm_config right = config(), wrong = config();
    clstm_parameter parameter;
    size_t tensors, elements;
    wrong.size = 1;
    NULLS(clstm_config_count(NULL, &tensors, &elements));
    NULLS(clstm_config_count(&right, NULL, &elements));
    NULLS(clstm_config_count(&right, &tensors, NULL));
    NULLS(clstm_config_count(&wrong, &tensors, &elements));
    NULLS(clstm_config_parameter(NULL, 0, &parameter));
    NULLS(clstm_config_parameter(&right, 0, NULL));
    NULLS(clstm_config_parameter(&right, 99, &parameter));
}

static void models(clstm_model *single, clstm_model *twice) {
    clstm_config right = config();
    clstm_context wrong = CLSTM_CONTEXT_INIT, half = CLSTM_CONTEXT_INIT;
    clstm_model *made = single;
    wrong.size = 1;
    half.release = NULL;
    half.allocate = (void *(*)(void *, size_t))(size_t)1; /* never called, because release is missing */
    NULLS(clstm_model_create(NULL, f32, NULL, &made));
    expect(!made, "a model that was refused");
    NULLS(clstm_model_create(&right, f32, NULL, NULL));
    NULLS(clstm_model_create(&right, f32, &wrong, &made));
    NULLS(clstm_model_create(&right, f32, &half, &made));
    NULLS(clstm_model_create_f64(NULL, f64, NULL, &made));
    NULLS(clstm_model_create_f64(&right, f64, NULL, NULL));
    NULLS(clstm_model_from_bytes(NULL, 10, NULL, &made));
    NULLS(clstm_model_from_bytes("12345678", 8, NULL, NULL));
    NULLS(clstm_model_from_bytes("12345678", 8, &wrong, &made));
    NULLS(clstm_model_from_file(NULL, NULL, &made));
    NULLS(clstm_model_from_file("", NULL, NULL));
    REFUSES(clstm_model_from_file("", NULL, &made), CLSTM_FILE_ERROR);
    NULLS(clstm_model_update(NULL, f32));
    NULLS(clstm_model_update(single, NULL));
    OTHER_TYPE(clstm_model_update(twice, f32));
    NULLS(clstm_model_update_f64(NULL, f64));
    NULLS(clstm_model_update_f64(twice, NULL));
    OTHER_TYPE(clstm_model_update_f64(single, f64));
    expect(!clstm_model_parameters(NULL) && !clstm_model_parameters(twice), "clstm_model_parameters");
    expect(!clstm_model_parameters_f64(NULL) && !clstm_model_parameters_f64(single), "clstm_model_parameters_f64");
    expect(!clstm_model_is_f64(NULL) && clstm_model_is_f64(twice), "clstm_model_is_f64");
    expect(!clstm_model_config(NULL) && clstm_model_config(twice), "clstm_model_config");
    clstm_model_free(NULL);
}

static void passes(const clstm_model *single, const clstm_model *twice) {
    clstm_sequence right = CLSTM_SEQUENCE_INIT, wrong;
    clstm_sequence_f64 right_f64 = CLSTM_SEQUENCE_F64_INIT;
    clstm_context odd = CLSTM_CONTEXT_INIT;
    clstm_tape *tape = (clstm_tape *)x;
    odd.size = 1;
    right.steps = right_f64.steps = T;
    right.batch = right_f64.batch = 1;
    right.x = x;
    right.y = y;
    right_f64.x = f64;
    NULLS(clstm_forward(NULL, &right, NULL));
    NULLS(clstm_forward(single, NULL, NULL));
    NULLS(clstm_forward(single, &right, &odd));
    OTHER_TYPE(clstm_forward(twice, &right, NULL));
    NULLS(clstm_forward_f64(NULL, &right_f64, NULL));
    NULLS(clstm_forward_f64(twice, NULL, NULL));
    OTHER_TYPE(clstm_forward_f64(single, &right_f64, NULL));
    wrong = right;
    wrong.size = 1;
    NULLS(clstm_forward(single, &wrong, NULL));
    wrong = right;
    wrong.x = NULL;
    NULLS(clstm_forward(single, &wrong, NULL));
    wrong = right;
    wrong.keep = (clstm_keep)7;
    NULLS(clstm_record(single, &wrong, NULL, &tape));
    expect(!tape, "a tape that was refused");
    NULLS(clstm_record(NULL, &right, NULL, &tape));
    NULLS(clstm_record(single, NULL, NULL, &tape));
    NULLS(clstm_record(single, &right, NULL, NULL));
    OTHER_TYPE(clstm_record(twice, &right, NULL, &tape));
    NULLS(clstm_record_f64(NULL, &right_f64, NULL, &tape));
    NULLS(clstm_record_f64(twice, NULL, NULL, &tape));
    NULLS(clstm_record_f64(twice, &right_f64, NULL, NULL));
    OTHER_TYPE(clstm_record_f64(single, &right_f64, NULL, &tape));
    for (int k = 0; k < T * H; k++) expect(y[k] == 0, "y was written");
}

static void tapes(const clstm_model *single) {
    clstm_sequence sequence = CLSTM_SEQUENCE_INIT;
    clstm_gradients right = CLSTM_GRADIENTS_INIT, wrong = CLSTM_GRADIENTS_INIT;
    clstm_gradients_f64 other = CLSTM_GRADIENTS_F64_INIT;
    clstm_context odd = CLSTM_CONTEXT_INIT;
    clstm_tape *tape;
    odd.size = wrong.size = 1;
    sequence.steps = T;
    sequence.batch = 1;
    sequence.x = x;
    expect(clstm_record(single, &sequence, NULL, &tape) == CLSTM_OK, "a recording");
    NULLS(clstm_tape_read(NULL, CLSTM_INPUT_GATE, 0, y, H));
    NULLS(clstm_tape_read(tape, CLSTM_INPUT_GATE, 0, NULL, H));
    NULLS(clstm_tape_read(tape, (clstm_tape_field)9, 0, y, H));
    NULLS(clstm_tape_read(tape, CLSTM_INPUT_GATE, 1, y, H));
    NULLS(clstm_tape_read_f64(NULL, CLSTM_INPUT_GATE, 0, f64, H));
    OTHER_TYPE(clstm_tape_read_f64(tape, CLSTM_INPUT_GATE, 0, f64, H));
    NULLS(clstm_backward(NULL, &right, NULL));
    NULLS(clstm_backward(tape, NULL, NULL));
    NULLS(clstm_backward(tape, &wrong, NULL));
    NULLS(clstm_backward(tape, &right, &odd));
    NULLS(clstm_backward_f64(NULL, &other, NULL));
    OTHER_TYPE(clstm_backward_f64(tape, &other, NULL));
    expect(clstm_backward(tape, &right, NULL) == CLSTM_OK, "a refused backward pass used up the tape");
    REFUSES(clstm_backward(tape, &right, NULL), CLSTM_TAPE_CONSUMED);
    REFUSES(clstm_tape_read(tape, CLSTM_INPUT_GATE, 0, y, H), CLSTM_TAPE_CONSUMED);
    clstm_tape_free(tape);
    clstm_tape_free(NULL);
}

static void arrays(clstm_model *single) {
    const clstm_around odd = {1, 1, 0, 1};
    clstm_adam adam = CLSTM_ADAM_INIT;
    clstm_sgd sgd = CLSTM_SGD_INIT;
    NULLS(clstm_model_set_around(single, NULL));
    NULLS(clstm_model_set_around(single, &odd));
    expect(!clstm_model_around(NULL), "clstm_model_around");
    NULLS(clstm_adam_update(1, NULL, x, x, y, y, NULL));
    NULLS(clstm_adam_update(1, &adam, NULL, x, y, y, NULL));
    NULLS(clstm_adam_update_f64(1, &adam, NULL, f64, f64, f64, NULL));
    NULLS(clstm_sgd_update(1, NULL, x, x, y, NULL));
    NULLS(clstm_sgd_update(1, &sgd, NULL, x, y, NULL));
    NULLS(clstm_sgd_update_f64(1, &sgd, NULL, f64, f64, NULL));
    clstm_config config = CLSTM_CONFIG_INIT, no_size = CLSTM_CONFIG_INIT;
    clstm_model *model = NULL;
    config.input_size = config.hidden_size = 1;
    NULLS(clstm_model_create_on(&config, NULL, NULL, &model));
    NULLS(clstm_model_create_on(&config, x, NULL, NULL));
    NULLS(clstm_model_create_on_f64(&config, NULL, NULL, &model));
    REFUSES(clstm_model_create_on(&no_size, x, NULL, &model), CLSTM_INVALID_CONFIG);
    NULLS(clstm_model_touch(NULL));
    expect(!model, "a model that was refused");
}

static void optimisers(clstm_model *single, clstm_model *twice) {
    arrays(single);
    clstm_adam adam = CLSTM_ADAM_INIT, odd_adam = CLSTM_ADAM_INIT;
    clstm_sgd sgd = CLSTM_SGD_INIT, odd_sgd = CLSTM_SGD_INIT;
    double norm;
    odd_adam.size = odd_sgd.size = 1;
    NULLS(clstm_adam_step(NULL, &adam, g, m, v, NULL));
    NULLS(clstm_adam_step(single, NULL, g, m, v, NULL));
    NULLS(clstm_adam_step(single, &odd_adam, g, m, v, NULL));
    NULLS(clstm_adam_step(single, &adam, NULL, m, v, NULL));
    NULLS(clstm_adam_step(single, &adam, g, NULL, v, NULL));
    NULLS(clstm_adam_step(single, &adam, g, m, NULL, NULL));
    OTHER_TYPE(clstm_adam_step(twice, &adam, g, m, v, NULL));
    NULLS(clstm_adam_step_f64(twice, &adam, NULL, f64, f64, NULL));
    OTHER_TYPE(clstm_adam_step_f64(single, &adam, f64, f64, f64, NULL));
    NULLS(clstm_sgd_step(NULL, &sgd, g, m, NULL));
    NULLS(clstm_sgd_step(single, NULL, g, m, NULL));
    NULLS(clstm_sgd_step(single, &odd_sgd, g, m, NULL));
    NULLS(clstm_sgd_step(single, &sgd, NULL, m, NULL));
    NULLS(clstm_sgd_step(single, &sgd, g, NULL, NULL));
    OTHER_TYPE(clstm_sgd_step(twice, &sgd, g, m, NULL));
    NULLS(clstm_sgd_step_f64(twice, &sgd, NULL, f64, NULL));
    OTHER_TYPE(clstm_sgd_step_f64(single, &sgd, f64, f64, NULL));
    NULLS(clstm_clip_global_norm(P, NULL, 1, &norm, NULL));
    NULLS(clstm_clip_global_norm(P, g, 1, NULL, NULL));
    NULLS(clstm_clip_global_norm(P, g, 0, &norm, NULL));
    NULLS(clstm_clip_global_norm_f64(P, NULL, 1, &norm, NULL));
    NULLS(clstm_clip_global_norm_f64(P, f64, 1, NULL, NULL));
}

static void activations(void) {
    NULLS(clstm_tanh(1, NULL, y));
    NULLS(clstm_tanh(1, x, NULL));
    NULLS(clstm_sigmoid(1, NULL, y));
    NULLS(clstm_sigmoid(1, x, NULL));
    NULLS(clstm_tanh_f64(1, NULL, f64));
    NULLS(clstm_sigmoid_f64(1, f64, NULL));
    expect(clstm_tanh(0, NULL, NULL) == CLSTM_OK, "nothing to do is no error");
}

int main(void) {
    const clstm_config shape = config();
    clstm_model *single, *twice;
    if (clstm_model_create(&shape, f32, NULL, &single) || clstm_model_create_f64(&shape, f64, NULL, &twice)) return 1;
    about_the_library();
    configurations();
    models(single, twice);
    passes(single, twice);
    tapes(single);
    optimisers(single, twice);
    activations();
    for (int k = 0; k < P; k++) expect(clstm_model_parameters(single)[k] == 0, "a refused call changed the model");
    clstm_model_free(single);
    clstm_model_free(twice);
    return failures > 0;
}
