/* Models: configuration, the flat parameter array and the offsets of its tensors. */
#include "model.h"
#include "tape_base.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- Configuration ---------------------------------------------------------------------------------------- */

#define AT(field) offsetof(clstm_config, field)
const clstm_i_field clstm_i_fields[CLSTM_I_FIELDS] = {
    {"input_size", CLSTM_I_SIZE, AT(input_size), 1, 0},
    {"hidden_size", CLSTM_I_SIZE, AT(hidden_size), 1, 0},
    {"num_layers", CLSTM_I_SIZE, AT(num_layers), 1, 0},
    {"output_size", CLSTM_I_SIZE, AT(output_size), 1, 0},
    {"proj_size", CLSTM_I_SIZE, AT(proj_size), 0, 0},
    {"bias", CLSTM_I_NO_FLAG, AT(no_bias), 1, 0},
    {"direction", CLSTM_I_DIRECTION, AT(direction), 0, 0},
    {"learn_state", CLSTM_I_FLAG, AT(learn_state), 0, 0},
    {"cell.peephole", CLSTM_I_FLAG, AT(cell.peephole), 0, 0},
    {"cell.coupled", CLSTM_I_FLAG, AT(cell.coupled), 0, 0},
    {"cell.clip", CLSTM_I_BOUND, AT(cell.clip), 0, 0},
    {"cell.cell_clip", CLSTM_I_BOUND, AT(cell.cell_clip), 0, 0},
    {"cell.gate", CLSTM_I_ACTIVATION, AT(cell.gate), 0, CLSTM_SIGMOID},
    {"cell.cell", CLSTM_I_ACTIVATION, AT(cell.cell), 0, CLSTM_TANH},
    {"cell.hidden", CLSTM_I_ACTIVATION, AT(cell.hidden), 0, CLSTM_TANH},
    {"activations", CLSTM_I_ACCURACY, AT(activations), 0, 0},
};
#undef AT

static const void *value(const clstm_config *config, const clstm_i_field *field) {
    return (const char *)config + field->offset;
}

static int is_valid_activation(const clstm_activation *a) {
    return (unsigned)a->function <= CLSTM_SOFTPLUS && isfinite(a->alpha) && isfinite(a->beta);
}

static int is_valid(const clstm_config *config, const clstm_i_field *field) {
    const void *at = value(config, field);
    switch (field->kind) {
    case CLSTM_I_SIZE:
    case CLSTM_I_FLAG:
    case CLSTM_I_NO_FLAG: return 1;
    case CLSTM_I_BOUND: return *(const double *)at >= 0 && isfinite(*(const double *)at);
    case CLSTM_I_ACTIVATION: return is_valid_activation(at);
    case CLSTM_I_ACCURACY: return (unsigned)*(const clstm_activations *)at <= CLSTM_FAST;
    case CLSTM_I_DIRECTION: return (unsigned)*(const clstm_direction *)at <= CLSTM_BIDIRECTIONAL;
    }
    return 0;
}

/* Replaces CLSTM_DEFAULT by the function it stands for. */
static void fill_in(clstm_config *config, const clstm_i_field *field) {
    if (field->kind != CLSTM_I_ACTIVATION) return;
    clstm_activation *activation = (clstm_activation *)((char *)config + field->offset);
    if (activation->function == CLSTM_DEFAULT) activation->function = field->usual;
}

static int is_same_activation(const clstm_activation *a, const clstm_activation *b) {
    return a->function == b->function && a->alpha == b->alpha && a->beta == b->beta;
}

static int is_same(const clstm_config *a, const clstm_config *b, const clstm_i_field *field) {
    const void *x = value(a, field), *y = value(b, field);
    switch (field->kind) {
    case CLSTM_I_SIZE: return *(const size_t *)x == *(const size_t *)y;
    case CLSTM_I_FLAG:
    case CLSTM_I_NO_FLAG: return !*(const int *)x == !*(const int *)y;
    case CLSTM_I_BOUND: return *(const double *)x == *(const double *)y;
    case CLSTM_I_ACTIVATION: return is_same_activation(x, y);
    case CLSTM_I_ACCURACY: return *(const clstm_activations *)x == *(const clstm_activations *)y;
    case CLSTM_I_DIRECTION: return *(const clstm_direction *)x == *(const clstm_direction *)y;
    }
    return 0;
}

int clstm_i_same_config(const clstm_config *a, const clstm_config *b) {
    for (size_t k = 0; k < CLSTM_I_FIELDS; k++)
        if (!is_same(a, b, &clstm_i_fields[k])) return 0;
    return 1;
}

int clstm_i_has_plain_cell(const clstm_config *config) {
    const clstm_cell *cell = &config->cell;
    return !cell->peephole && !cell->coupled && cell->clip == 0 && cell->cell_clip == 0
           && cell->gate.function == CLSTM_SIGMOID && cell->cell.function == CLSTM_TANH
           && cell->hidden.function == CLSTM_TANH;
}

int clstm_i_has_gradients(const clstm_config *config) {
    const clstm_cell *cell = &config->cell;
    return config->activations == CLSTM_ACCURATE && cell->gate.function <= CLSTM_RELU
           && cell->cell.function <= CLSTM_RELU && cell->hidden.function <= CLSTM_RELU;
}

/* Fills in the defaults and checks that every tensor, and all together, can be addressed. */
static clstm_status normalise(const clstm_config *given, clstm_config *config, size_t *elements) {
    if (!given || given->size != sizeof *given) return CLSTM_INVALID_ARGUMENT;
    *config = *given;
    if (!config->num_layers) config->num_layers = 1;
    for (size_t k = 0; k < CLSTM_I_FIELDS; k++) {
        if (!is_valid(config, &clstm_i_fields[k])) return CLSTM_INVALID_CONFIG;
        fill_in(config, &clstm_i_fields[k]);
    }
    if (config->activations == CLSTM_FAST && !clstm_i_has_plain_cell(config)) return CLSTM_INVALID_CONFIG;
    if (!config->input_size || !config->hidden_size || (config->proj_size && config->proj_size >= config->hidden_size))
        return CLSTM_INVALID_CONFIG;

    const size_t biased = !config->no_bias, H = config->hidden_size, O = config->output_size;
    const size_t D = clstm_i_directions(config), R = clstm_i_recurrent_size(config);
    const size_t each = config->proj_size + (config->cell.peephole ? 3 : 0); /* rows of H that belong to no gate */
    size_t gates, others, first, rest, out, states, parts;
    if (__builtin_mul_overflow(4, H, &gates)
        || __builtin_mul_overflow(each, H, &others)
        || __builtin_mul_overflow(D, config->num_layers, &parts)
        /* a part of the first layer: (I + R + 1) 4H + R H + 3H */
        || __builtin_add_overflow(config->input_size, R + biased, &first)
        || __builtin_mul_overflow(first, gates, &first)
        || __builtin_add_overflow(first, others, &first)
        || __builtin_mul_overflow(first, D, &first)
        /* of the others: (D R + R + 1) 4H + R H + 3H each */
        || __builtin_mul_overflow(D * R + R + biased, gates, &rest)
        || __builtin_add_overflow(rest, others, &rest)
        || __builtin_mul_overflow(rest, parts - D, &rest)
        /* the readout: O (D R + 1) */
        || __builtin_mul_overflow(O, D * R + biased, &out)
        /* the initial state: L D (R + H) */
        || __builtin_mul_overflow(config->learn_state ? parts : 0, R + H, &states)
        || __builtin_add_overflow(first, rest, elements)
        || __builtin_add_overflow(*elements, out, elements)
        || __builtin_add_overflow(*elements, states, elements))
        return CLSTM_OVERFLOW;
    return *elements > PTRDIFF_MAX / sizeof(double) ? CLSTM_OVERFLOW : CLSTM_OK;
}

/* Elements of a part of a layer. */
static size_t part_elements(const clstm_config *config, size_t layer) {
    const size_t H = config->hidden_size, R = clstm_i_recurrent_size(config), biased = !config->no_bias;
    const size_t others = config->proj_size + (config->cell.peephole ? 3 : 0);
    return 4 * H * (clstm_i_input_size(config, layer) + R + biased) + others * H;
}

clstm_i_offsets clstm_i_part_offsets(const clstm_config *config, size_t part) {
    clstm_i_assert(part <= clstm_i_parts(config));
    const size_t H = config->hidden_size, R = clstm_i_recurrent_size(config), D = clstm_i_directions(config);
    const size_t layer = part / D, biased = !config->no_bias;
    clstm_i_offsets at = {.input_size = clstm_i_input_size(config, layer)};
    if (layer) at.input = D * part_elements(config, 0) + (part - D) * part_elements(config, 1);
    else at.input = part * part_elements(config, 0);
    if (layer == config->num_layers) {
        at.bias = at.input + config->output_size * D * R;
        at.h0 = at.bias + biased * config->output_size;
        at.c0 = at.h0 + config->num_layers * D * R;
        return at;
    }
    at.recurrent = at.input + 4 * H * at.input_size;
    at.bias = at.recurrent + 4 * H * R;
    at.projection = at.bias + biased * 4 * H;
    at.peephole = at.projection + config->proj_size * H;
    return at;
}

static size_t tensors_per_part(const clstm_config *config) {
    return 2 + !config->no_bias + (config->proj_size > 0) + (config->cell.peephole != 0);
}

static size_t count_tensors(const clstm_config *config) {
    const size_t readout = config->output_size ? 1 + !config->no_bias : 0;
    return clstm_i_parts(config) * tensors_per_part(config) + readout + (config->learn_state ? 2 : 0);
}

clstm_status clstm_config_count(const clstm_config *config, size_t *tensors, size_t *elements) {
    clstm_config own;
    size_t total;
    if (!tensors || !elements) return CLSTM_INVALID_ARGUMENT;
    const clstm_status status = normalise(config, &own, &total);
    if (status) return status;
    *tensors = count_tensors(&own);
    *elements = total;
    return CLSTM_OK;
}

/* The tensors of the layers, in the order of the flat array. */
static clstm_parameter layer_parameter(const clstm_config *config, size_t index) {
    static const char *const names[] = {"weight_ih_l%zu%s", "weight_hh_l%zu%s", "bias_l%zu%s", "weight_hr_l%zu%s",
                                        "weight_peephole_l%zu%s"};
    const size_t H = config->hidden_size, R = clstm_i_recurrent_size(config), D = clstm_i_directions(config);
    const size_t part = index / tensors_per_part(config);
    const clstm_i_offsets at = clstm_i_part_offsets(config, part);
    const size_t rows[] = {4 * H, 4 * H, 4 * H, R, 3 * H}, columns[] = {at.input_size, R, 0, H, 0};
    const size_t offsets[] = {at.input, at.recurrent, at.bias, at.projection, at.peephole};
    size_t kind = index % tensors_per_part(config);
    if (kind > 1 && config->no_bias) kind++;
    if (kind > 2 && !config->proj_size) kind++;
    clstm_i_assert(kind < sizeof names / sizeof *names);
    clstm_parameter parameter = {"", rows[kind], columns[kind], offsets[kind]};
    snprintf(parameter.name, sizeof parameter.name, names[kind], part / D,
             clstm_i_is_reversed(config, part % D) ? "_reverse" : "");
    return parameter;
}

/* The tensors that belong to no layer. */
static clstm_parameter other_parameter(const clstm_config *config, size_t index) {
    const size_t parts = clstm_i_parts(config);
    const clstm_i_offsets at = clstm_i_part_offsets(config, parts);
    const clstm_parameter all[] = {
        {"weight_out", config->output_size, clstm_i_layer_size(config), at.input},
        {"bias_out", config->output_size, 0, at.bias},
        {"h0", parts, clstm_i_recurrent_size(config), at.h0},
        {"c0", parts, config->hidden_size, at.c0},
    };
    if (!config->output_size) return all[index + 2];
    return all[index && config->no_bias ? index + 1 : index];
}

clstm_status clstm_config_parameter(const clstm_config *config, size_t index, clstm_parameter *parameter) {
    clstm_config own;
    size_t elements;
    if (!parameter) return CLSTM_INVALID_ARGUMENT;
    const clstm_status status = normalise(config, &own, &elements);
    if (status) return status;
    if (index >= count_tensors(&own)) return CLSTM_INVALID_ARGUMENT;

    const size_t of_layers = clstm_i_parts(&own) * tensors_per_part(&own);
    if (index < of_layers) *parameter = layer_parameter(&own, index);
    else *parameter = other_parameter(&own, index - of_layers);
    return CLSTM_OK;
}

/* With `own` the model has an array of its own, filled from `parameters`; else it uses that array. */
static clstm_status create(const clstm_config *given, void *parameters, int own, int is_f64,
                           const clstm_context *given_context, clstm_model **result) {
    if (!result) return CLSTM_INVALID_ARGUMENT;
    *result = NULL;
    clstm_config config;
    clstm_context context;
    size_t elements;
    clstm_status status = normalise(given, &config, &elements);
    if (!status) status = clstm_i_context(given_context, &context);
    if (!status && is_f64 && config.activations == CLSTM_FAST) status = CLSTM_WRONG_DTYPE;
    if (status) return status;

    clstm_i_layout layout = {0, 0};
    const size_t element = is_f64 ? sizeof(double) : sizeof(float);
    const size_t self = clstm_i_reserve(&layout, 1, 1, sizeof(clstm_model));
    const size_t array = clstm_i_reserve(&layout, own ? elements : 0, 1, element);
    void *block;
    char *memory = clstm_i_allocate(&context, &layout, &block, &status);
    clstm_i_cache *cache = memory ? clstm_i_cache_create(&context, &status) : NULL;
    if (memory && !cache) clstm_i_release(&context, block);
    if (status) return status;

    clstm_model *model = (clstm_model *)(memory + self);
    *model = (clstm_model){
        .context = context, .block = block, .config = config, .around = CLSTM_AROUND_INIT, .is_f64 = is_f64,
        .elements = elements, .parameters = own ? memory + array : parameters, .cache = cache,
    };
    if (own && parameters) memcpy(model->parameters, parameters, elements * element);
    else if (own) memset(model->parameters, 0, elements * element);
    *result = model;
    return CLSTM_OK;
}

clstm_status clstm_model_create(const clstm_config *config, const float *parameters, const clstm_context *context,
                                clstm_model **model) {
    return create(config, (void *)parameters, 1, 0, context, model);
}

clstm_status clstm_model_create_f64(const clstm_config *config, const double *parameters,
                                    const clstm_context *context, clstm_model **model) {
    return create(config, (void *)parameters, 1, 1, context, model);
}

clstm_status clstm_model_create_on(const clstm_config *config, float *parameters, const clstm_context *context,
                                   clstm_model **model) {
    if (model) *model = NULL;
    return parameters ? create(config, parameters, 0, 0, context, model) : CLSTM_INVALID_ARGUMENT;
}

clstm_status clstm_model_create_on_f64(const clstm_config *config, double *parameters, const clstm_context *context,
                                       clstm_model **model) {
    if (model) *model = NULL;
    return parameters ? create(config, parameters, 0, 1, context, model) : CLSTM_INVALID_ARGUMENT;
}

clstm_status clstm_model_touch(clstm_model *model) {
    if (!model) return CLSTM_INVALID_ARGUMENT;
    clstm_i_new_version(model);
    return CLSTM_OK;
}

clstm_status clstm_model_set_around(clstm_model *model, const clstm_around *around) {
    if (!model || !around || around->size != sizeof *around) return CLSTM_INVALID_ARGUMENT;
    if (!__builtin_isfinite(around->input_gain) || !__builtin_isfinite(around->skip)
        || !__builtin_isfinite(around->output_gain)) return CLSTM_INVALID_ARGUMENT;
    model->around = *around;
    model->plays = around->input_gain != 1 || around->skip != 0 || around->output_gain != 1;
    return CLSTM_OK;
}

const clstm_around *clstm_model_around(const clstm_model *model) { return model ? &model->around : NULL; }

void clstm_i_new_version(clstm_model *model) {
    model->version++;
    clstm_i_cache_retire_packs(model->cache);
}

static clstm_status update(clstm_model *model, const void *parameters, int is_f64) {
    if (!model || !parameters) return CLSTM_INVALID_ARGUMENT;
    if (model->is_f64 != is_f64) return CLSTM_WRONG_DTYPE;
    memcpy(model->parameters, parameters, model->elements * (is_f64 ? sizeof(double) : sizeof(float)));
    clstm_i_new_version(model);
    return CLSTM_OK;
}

clstm_status clstm_model_update(clstm_model *model, const float *parameters) {
    return update(model, parameters, 0);
}

clstm_status clstm_model_update_f64(clstm_model *model, const double *parameters) {
    return update(model, parameters, 1);
}

const float *clstm_model_parameters(const clstm_model *model) {
    return model && !model->is_f64 ? model->parameters : NULL;
}

const double *clstm_model_parameters_f64(const clstm_model *model) {
    return model && model->is_f64 ? model->parameters : NULL;
}

void clstm_model_free(clstm_model *model) {
    if (!model) return;
    const clstm_context context = model->context;
    clstm_i_cache_close(model->cache);
    clstm_i_release(&context, model->block);
}

void clstm_tape_free(clstm_tape *tape) {
    if (tape) clstm_i_return_tape(tape);
}
