/* Reads a model's configuration from a file's metadata: strings by name, of which clstm.* are ours and others are
   ignored. */
#include "file_header.h"
#include "model.h"

#include <stdio.h>
#include <string.h>

/* The string of a key; NULL if it is absent. */
static const char *value_of(clstm_i_header *header, const char *key) {
    const char *found = clstm_i_names_find(&header->metadata, key);
    if (!found) return NULL;
    header->known++;
    clstm_i_json json = {found, header->text + header->size, 0};
    clstm_i_json_string(&json);
    clstm_i_json_require(&json, ':');
    return clstm_i_json_string(&json);
}

/* All readers below return 0 if the value is not allowed, or absent though needed. */

enum { OPTIONAL = 0, NEEDED = 1 };

enum { LONGEST_KEY = 40 }; /* clstm.1.0.cell.hidden.alpha has 27 characters */

/* "clstm.", the LSTM's prefix, and the two parts of a name. */
static const char *key_of(const clstm_i_header *header, char key[LONGEST_KEY], const char *name, const char *suffix) {
    snprintf(key, LONGEST_KEY, "clstm.%s%s%s", header->prefix, name, suffix);
    return key;
}

static int read_size(clstm_i_header *header, const char *key, int needed, size_t *size) {
    const char *value = value_of(header, key);
    *size = 0;
    if (!value) return !needed;
    clstm_i_text text = clstm_i_text_of(value);
    int byte = clstm_i_text_next(&text);
    if (byte < 0) return 0;
    for (; byte >= 0; byte = clstm_i_text_next(&text))
        if (byte < '0' || byte > '9' || __builtin_mul_overflow(*size, 10, size)
            || __builtin_add_overflow(*size, byte - '0', size)) return 0;
    return 1;
}

/* *choice: which of two words it is. */
static int read_choice(clstm_i_header *header, const char *key, int needed, const char *zero, const char *one,
                       int *choice) {
    const char *value = value_of(header, key);
    *choice = clstm_i_text_is(value, one);
    return value ? *choice || clstm_i_text_is(value, zero) : !needed;
}

static int read_flag(clstm_i_header *header, const char *key, int needed, int *flag) {
    return read_choice(header, key, needed, "False", "True", flag);
}

/* ---- The cell --------------------------------------------------------------------------------------------- */

/* Parses 0x1.8p+1, with at most 13 digits after the point. Bit by bit, so that no locale affects it. 0 if it is not a
   finite number. */
static int parse_real(const char *at, double *real) {
    static const char digits[] = "0123456789abcdef";
    const uint64_t sign = *at == '-';
    at += sign;
    if (at[0] != '0' || at[1] != 'x' || (at[2] != '0' && at[2] != '1') || at[3] != '.') return 0;
    const int normal = at[2] == '1';
    uint64_t fraction = 0;
    int places = 0;
    for (at += 4; *at && strchr(digits, *at); at++) {
        if (++places > 13) return 0;
        fraction = fraction << 4 | (uint64_t)(strchr(digits, *at) - digits);
    }
    fraction <<= 4 * (13 - places);
    if (!places || *at++ != 'p' || (*at != '-' && *at != '+')) return 0;
    const int below_one = *at++ == '-';
    int exponent = 0;
    if (!*at) return 0;
    for (; *at; at++) {
        if (*at < '0' || *at > '9' || exponent > 1023) return 0;
        exponent = 10 * exponent + (*at - '0');
    }
    if (below_one) exponent = -exponent;
    if (normal ? exponent < -1022 || exponent > 1023 : exponent != (fraction ? -1022 : 0)) return 0;
    const uint64_t bits = sign << 63 | (uint64_t)(normal ? exponent + 1023 : 0) << 52 | fraction;
    memcpy(real, &bits, sizeof *real);
    return 1;
}

static int read_real(clstm_i_header *header, const char *key, int needed, double *real) {
    const char *value = value_of(header, key);
    if (!value) return !needed;
    char buffer[40]; /* the longest number, -0x1. 13 digits p-1022, has 24 characters */
    clstm_i_text text = clstm_i_text_of(value);
    for (size_t k = 0; k < sizeof buffer; k++) {
        const int byte = clstm_i_text_next(&text);
        buffer[k] = (char)(byte < 0 ? 0 : byte);
        if (byte < 0) return parse_real(buffer, real);
        if (!byte) return 0;
    }
    return 0;
}

/* The functions by number, with their number of parameters, whether a file must have these, and their defaults. */
static const struct {
    const char *name;
    int parameters, needed;
    double alpha, beta;
} functions[] = {
    {"", 0, OPTIONAL, 0, 0}, /* CLSTM_DEFAULT is not named */
    {"sigmoid", 0, OPTIONAL, 0, 0},
    {"tanh", 0, OPTIONAL, 0, 0},
    {"hard_sigmoid", 2, OPTIONAL, 0.2, 0.5},
    {"relu", 0, OPTIONAL, 0, 0},
    {"affine", 2, NEEDED, 0, 0},
    {"leaky_relu", 1, OPTIONAL, 0.01, 0},
    {"thresholded_relu", 1, OPTIONAL, 1, 0},
    {"scaled_tanh", 2, NEEDED, 0, 0},
    {"elu", 1, OPTIONAL, 1, 0},
    {"softsign", 0, OPTIONAL, 0, 0},
    {"softplus", 0, OPTIONAL, 0, 0},
};

/* An activation function and its parameters; absent: the default. */
static int read_activation(clstm_i_header *header, const char *name, clstm_activation *activation) {
    char key[LONGEST_KEY];
    const char *value = value_of(header, key_of(header, key, name, ""));
    if (!value) return 1;
    for (size_t k = 1; k < sizeof functions / sizeof *functions; k++) {
        if (!clstm_i_text_is(value, functions[k].name)) continue;
        const int parameters = functions[k].parameters, needed = functions[k].needed;
        *activation = (clstm_activation){(clstm_function)k, functions[k].alpha, functions[k].beta};
        return (parameters < 1 || read_real(header, key_of(header, key, name, ".alpha"), needed, &activation->alpha))
               && (parameters < 2 || read_real(header, key_of(header, key, name, ".beta"), needed, &activation->beta));
    }
    return 0;
}

/* A file has `bidirectional` and `direction` as separate fields. */
static int read_direction(clstm_i_header *header, const char *key, clstm_direction *direction) {
    int both, reverse;
    char of_both[LONGEST_KEY];
    if (!read_flag(header, key_of(header, of_both, "bidirectional", ""), OPTIONAL, &both)
        || !read_choice(header, key, OPTIONAL, "forward", "reverse", &reverse) || (both && reverse)) return 0;
    *direction = both ? CLSTM_BIDIRECTIONAL : reverse ? CLSTM_REVERSE : CLSTM_FORWARD;
    return 1;
}

/* ---- The whole configuration ------------------------------------------------------------------------------ */

static int read_field(clstm_i_header *header, const clstm_i_field *field, clstm_config *config) {
    void *to = (char *)config + field->offset;
    char key[LONGEST_KEY];
    key_of(header, key, field->name, "");
    int flag;
    switch (field->kind) {
    case CLSTM_I_SIZE: return read_size(header, key, field->needed, to);
    case CLSTM_I_FLAG: return read_flag(header, key, field->needed, to);
    case CLSTM_I_NO_FLAG:
        if (!read_flag(header, key, field->needed, &flag)) return 0;
        *(int *)to = !flag;
        return 1;
    case CLSTM_I_BOUND: return read_real(header, key, field->needed, to);
    case CLSTM_I_ACTIVATION: return read_activation(header, field->name, to);
    case CLSTM_I_ACCURACY:
        if (!read_choice(header, key, field->needed, "accurate", "fast", &flag)) return 0;
        *(clstm_activations *)to = flag ? CLSTM_FAST : CLSTM_ACCURATE;
        return 1;
    case CLSTM_I_DIRECTION: return read_direction(header, key, to);
    }
    return 0;
}

/* ---- Layers around the LSTM: a gain, a skip and a gain, each there or not --------------------------------- */

typedef enum layer_kind { NO_LAYER, GAIN, SKIP, LSTM } layer_kind;

static layer_kind read_kind(clstm_i_header *header, const char *place) {
    static const char *const names[] = {"", "Gain", "Skip", "LSTM"};
    char key[LONGEST_KEY];
    snprintf(key, sizeof key, "clstm.%skind", place);
    const char *value = value_of(header, key);
    for (int kind = GAIN; value && kind <= LSTM; kind++)
        if (clstm_i_text_is(value, names[kind])) return (layer_kind)kind;
    return NO_LAYER;
}

static int read_count(clstm_i_header *header, const char *place, const char *name, size_t *count) {
    char key[LONGEST_KEY];
    snprintf(key, sizeof key, "clstm.%s%s", place, name);
    return read_size(header, key, NEEDED, count);
}

static int read_gain(clstm_i_header *header, const char *place, double *gain) {
    char key[LONGEST_KEY];
    snprintf(key, sizeof key, "clstm.%svalue", place);
    return read_real(header, key, NEEDED, gain);
}

/* A skip of the first feature around an LSTM alone. */
static int read_skip(clstm_i_header *header, const char *place, clstm_around *around) {
    size_t count, layers;
    around->skip = 1;
    snprintf(header->prefix, sizeof header->prefix, "%s0.", place);
    return read_count(header, place, "count", &count) && count == 1 && read_count(header, place, "layers", &layers)
           && layers == 1 && read_kind(header, header->prefix) == LSTM;
}

/* Finds the LSTM, whose prefix it keeps. */
static int read_around(clstm_i_header *header, clstm_around *around) {
    size_t count;
    int batch_first;
    if (!read_count(header, "", "layers", &count) || count < 1 || count > 3
        || !read_flag(header, "clstm.batch_first", NEEDED, &batch_first)) return 0;
    for (size_t k = 0; k < count; k++) {
        char place[8];
        snprintf(place, sizeof place, "%u.", (unsigned)k);
        const layer_kind kind = read_kind(header, place);
        const int found = *header->prefix != 0;
        if (kind == GAIN && (found ? k + 1 == count : !k)) {
            if (!read_gain(header, place, found ? &around->output_gain : &around->input_gain)) return 0;
        } else if (kind == SKIP && !found) {
            if (!read_skip(header, place, around)) return 0;
        } else if (kind == LSTM && !found) snprintf(header->prefix, sizeof header->prefix, "%s", place);
        else return 0;
    }
    return *header->prefix != 0;
}

int clstm_i_file_config(clstm_i_header *header, clstm_config *config, clstm_around *around, int *is_f64) {
    static const clstm_config defaults = CLSTM_CONFIG_INIT;
    static const clstm_around nothing = CLSTM_AROUND_INIT;
    char key[LONGEST_KEY];
    int batch_first; /* C has one layout, whatever the file says */
    *config = defaults;
    *around = nothing;
    const char *format = value_of(header, "clstm.format");
    if (!clstm_i_text_is(format, "1") && !(clstm_i_text_is(format, "2") && read_around(header, around))) return 0;
    if (!read_choice(header, key_of(header, key, "dtype", ""), NEEDED, "float32", "float64", is_f64)
        || !read_flag(header, key_of(header, key, "batch_first", ""), NEEDED, &batch_first)) return 0;
    for (size_t k = 0; k < CLSTM_I_FIELDS; k++)
        if (!read_field(header, &clstm_i_fields[k], config)) return 0;
    /* 0 layers mean 1 in a clstm_config, and are an error in a file. */
    return config->num_layers && header->known == header->ours;
}
