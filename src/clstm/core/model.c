/* Models: configuration, the flat parameter array and where its tensors stand. */
#include "internal.h"

#include <stdio.h>
#include <string.h>

/* Fills in the defaults and checks that every tensor, and all together, can be addressed. */
static clstm_status normalise(const clstm_config *given, clstm_config *config, size_t *elements) {
    if (!given || given->size != sizeof *given) return CLSTM_INVALID_ARGUMENT;
    *config = *given;
    if (!config->num_layers) config->num_layers = 1;
    if (!config->input_size || !config->hidden_size) return CLSTM_INVALID_CONFIG;

    const size_t biased = !config->no_bias, H = config->hidden_size, O = config->output_size;
    size_t gates, first, rest, out;
    if (__builtin_mul_overflow(4, H, &gates)
        /* the first layer: (I + H + 1) 4H */
        || __builtin_add_overflow(config->input_size, H + biased, &first)
        || __builtin_mul_overflow(first, gates, &first)
        /* the others: (2H + 1) 4H each */
        || __builtin_mul_overflow(2 * H + biased, gates, &rest)
        || __builtin_mul_overflow(rest, config->num_layers - 1, &rest)
        /* the readout: O (H + 1) */
        || __builtin_mul_overflow(O, H + biased, &out)
        || __builtin_add_overflow(first, rest, elements)
        || __builtin_add_overflow(*elements, out, elements))
        return CLSTM_OVERFLOW;
    return *elements > PTRDIFF_MAX / sizeof(double) ? CLSTM_OVERFLOW : CLSTM_OK;
}

clstm_i_offsets clstm_i_layer_offsets(const clstm_config *config, size_t layer) {
    const size_t H = config->hidden_size, I = config->input_size, biased = !config->no_bias;
    clstm_i_offsets at = {layer ? H : I, 0, 0, 0};
    if (layer) at.input = 4 * H * (I + H + biased) + (layer - 1) * 4 * H * (2 * H + biased);
    if (layer == config->num_layers) {
        at.bias = at.input + config->output_size * H;
        return at;
    }
    at.recurrent = at.input + 4 * H * at.input_size;
    at.bias = at.recurrent + 4 * H * H;
    return at;
}

static size_t count_tensors(const clstm_config *config) {
    const size_t biased = !config->no_bias, readout = config->output_size > 0;
    return config->num_layers * (2 + biased) + readout * (1 + biased);
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

clstm_status clstm_config_parameter(const clstm_config *config, size_t index, clstm_parameter *parameter) {
    clstm_config own;
    size_t elements;
    if (!parameter) return CLSTM_INVALID_ARGUMENT;
    const clstm_status status = normalise(config, &own, &elements);
    if (status) return status;
    if (index >= count_tensors(&own)) return CLSTM_INVALID_ARGUMENT;

    const size_t H = own.hidden_size, per_layer = own.no_bias ? 2 : 3, layer = index / per_layer;
    const clstm_i_offsets at = clstm_i_layer_offsets(&own, layer);
    if (layer == own.num_layers) {
        if (index % per_layer == 0) *parameter = (clstm_parameter){"weight_out", own.output_size, H, at.input};
        else *parameter = (clstm_parameter){"bias_out", own.output_size, 0, at.bias};
        return CLSTM_OK;
    }
    static const char *const names[] = {"weight_ih_l%zu", "weight_hh_l%zu", "bias_l%zu"};
    const size_t columns[] = {at.input_size, H, 0}, offsets[] = {at.input, at.recurrent, at.bias};
    const size_t kind = index % per_layer;
    *parameter = (clstm_parameter){"", 4 * H, columns[kind], offsets[kind]};
    snprintf(parameter->name, sizeof parameter->name, names[kind], layer);
    return CLSTM_OK;
}

static clstm_status create(const clstm_config *given, const void *parameters, int is_f64,
                           const clstm_context *given_context, clstm_model **result) {
    if (!result) return CLSTM_INVALID_ARGUMENT;
    *result = NULL;
    clstm_config config;
    clstm_context context;
    size_t elements;
    clstm_status status = normalise(given, &config, &elements);
    if (!status) status = clstm_i_context(given_context, &context);
    if (status) return status;

    clstm_i_layout layout = {0, 0};
    const size_t element = is_f64 ? sizeof(double) : sizeof(float);
    const size_t self = clstm_i_reserve(&layout, 1, 1, sizeof(clstm_model));
    const size_t array = clstm_i_reserve(&layout, elements, 1, element);
    void *block;
    char *memory = clstm_i_allocate(&context, &layout, &block, &status);
    clstm_i_cache *cache = memory ? clstm_i_cache_create(&context, &status) : NULL;
    if (memory && !cache) clstm_i_release(&context, block);
    if (status) return status;

    clstm_model *model = (clstm_model *)(memory + self);
    *model = (clstm_model){
        .context = context, .block = block, .config = config, .is_f64 = is_f64, .elements = elements,
        .parameters = memory + array, .cache = cache,
    };
    if (parameters) memcpy(model->parameters, parameters, elements * element);
    else memset(model->parameters, 0, elements * element);
    *result = model;
    return CLSTM_OK;
}

clstm_status clstm_model_create(const clstm_config *config, const float *parameters, const clstm_context *context,
                                clstm_model **model) {
    return create(config, parameters, 0, context, model);
}

clstm_status clstm_model_create_f64(const clstm_config *config, const double *parameters,
                                    const clstm_context *context, clstm_model **model) {
    return create(config, parameters, 1, context, model);
}

void clstm_i_new_version(clstm_model *model) {
    model->version++;
    clstm_i_cache_release_packs(model->cache);
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
