/* Reads models from safetensors files: the size of a JSON header in 8 bytes, the header, and the data of all
   tensors. */
#include "file_header.h"
#include "model.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { LONGEST_HEADER = 16 << 20 }; /* bytes: enough for 50 thousand layers, and for clstm_i_names' offsets */

/* ---- The source of bytes ---------------------------------------------------------------------------------- */

typedef struct source {
    const char *bytes; /* the next bytes in memory, or */
    FILE *stream;      /* an open file, positioned at them */
    size_t left;
    int error; /* the stream's errno */
} source;

static clstm_status read_bytes(source *source, void *target, size_t n) {
    if (n > source->left) return CLSTM_INVALID_FILE;
    source->left -= n;
    if (!source->stream) {
        memcpy(target, source->bytes, n);
        source->bytes += n;
        return CLSTM_OK;
    }
    if (fread(target, 1, n, source->stream) == n) return CLSTM_OK;
    source->error = errno;
    return ferror(source->stream) ? CLSTM_FILE_ERROR : CLSTM_INVALID_FILE; /* a short read: truncated meanwhile */
}

/* Finds the header's text in the caller's memory, or reads it into memory of its own. */
static clstm_status read_header(source *source, const clstm_context *context, clstm_i_header *header, void **block) {
    unsigned char length[8];
    uint64_t size = 0;
    clstm_status status = read_bytes(source, length, sizeof length);
    if (status) return status;
    for (int k = 7; k >= 0; k--) size = size << 8 | length[k];
    if (size > LONGEST_HEADER || size > source->left) return CLSTM_INVALID_FILE;
    header->size = (size_t)size;
    if (!source->stream) {
        header->text = source->bytes;
        source->bytes += header->size;
        source->left -= header->size;
        return CLSTM_OK;
    }
    clstm_i_layout layout = {0, 0};
    clstm_i_reserve(&layout, header->size, 1, 1);
    char *text = clstm_i_allocate(context, &layout, block, &status);
    header->text = text;
    return text ? read_bytes(source, text, header->size) : status;
}

/* ---- Parsing the header ----------------------------------------------------------------------------------- */

typedef struct entry {
    int is_f64;
    size_t rank, shape[2];
    size_t range[2]; /* begin and end in the data, in bytes */
} entry;

/* Reads at most two numbers in brackets, as the axes of a tensor or the ends of a range, and returns their count. */
static size_t read_sizes(clstm_i_json *json, size_t sizes[2]) {
    size_t count = 0;
    clstm_i_json_require(json, '[');
    do {
        const size_t size = clstm_i_json_size(json);
        if (count == 2) clstm_i_json_fail(json);
        else sizes[count++] = size;
    } while (clstm_i_json_accept(json, ','));
    clstm_i_json_require(json, ']');
    return count;
}

/* A tensor's three fields, each once, in any order. */
static entry read_entry(clstm_i_json *json) {
    enum { DTYPE = 1, SHAPE = 2, RANGE = 4 };
    entry entry = {0};
    int seen = 0;
    clstm_i_json_require(json, '{');
    do {
        const char *name = clstm_i_json_string(json);
        clstm_i_json_require(json, ':');
        const int field = clstm_i_text_is(name, "dtype") ? DTYPE : clstm_i_text_is(name, "shape") ? SHAPE
                        : clstm_i_text_is(name, "data_offsets") ? RANGE : 0;
        if (!field || seen & field) clstm_i_json_fail(json);
        seen |= field;
        if (field == SHAPE) entry.rank = read_sizes(json, entry.shape);
        if (field == RANGE && read_sizes(json, entry.range) != 2) clstm_i_json_fail(json);
        if (field != DTYPE) continue;
        const char *dtype = clstm_i_json_string(json);
        entry.is_f64 = clstm_i_text_is(dtype, "F64");
        if (!entry.is_f64 && !clstm_i_text_is(dtype, "F32")) clstm_i_json_fail(json);
    } while (clstm_i_json_accept(json, ','));
    clstm_i_json_require(json, '}');
    if (seen != (DTYPE | SHAPE | RANGE)) clstm_i_json_fail(json);
    return entry;
}

static int is_ours(const char *key) {
    if (!key) return 0;
    clstm_i_text text = clstm_i_text_of(key);
    for (const char *prefix = "clstm."; *prefix; prefix++)
        if (clstm_i_text_next(&text) != *prefix) return 0;
    return 1;
}

static void scan_metadata(clstm_i_header *header, clstm_i_json *json) {
    clstm_i_json_require(json, '{');
    do {
        const char *key = clstm_i_json_string(json);
        clstm_i_names_add(&header->metadata, key);
        header->ours += is_ours(key);
        clstm_i_json_require(json, ':');
        clstm_i_json_string(json);
    } while (clstm_i_json_accept(json, ','));
    clstm_i_json_require(json, '}');
}

/* Parses the whole header, three levels deep, and adds its names to the tables; 0 if it is malformed. */
static int scan(clstm_i_header *header) {
    clstm_i_json json = {header->text, header->text + header->size, 0};
    int metadata = 0;
    header->tensors.count = header->metadata.count = header->ours = 0;
    header->tensors.header = header->metadata.header = header->text;
    if (!header->size || *header->text != '{') return 0;
    clstm_i_json_require(&json, '{');
    do {
        const char *name = clstm_i_json_string(&json);
        clstm_i_json_require(&json, ':');
        if (!clstm_i_text_is(name, "__metadata__")) {
            clstm_i_names_add(&header->tensors, name);
            read_entry(&json);
        } else if (metadata++) clstm_i_json_fail(&json);
        else scan_metadata(header, &json);
    } while (clstm_i_json_accept(&json, ','));
    clstm_i_json_require(&json, '}');
    clstm_i_json_require_end(&json);
    return !json.failed;
}

/* ---- Matching the tensors to the model -------------------------------------------------------------------- */

typedef struct tensor {
    size_t begin, bytes; /* in the data */
    size_t offset;       /* in the flat array, bytes */
} tensor;

/* All tables in one allocation, which is smaller than the header. */
typedef struct tables {
    tensor *tensors;
    uint32_t *order; /* tensors in the order of the data */
    void *block;
} tables;

static clstm_status make_tables(clstm_i_header *header, const clstm_context *context, tables *tables) {
    clstm_i_layout layout = {0, 0};
    clstm_status status;
    const size_t count = header->tensors.count;
    const size_t tensors = clstm_i_reserve(&layout, count, 1, sizeof *tables->tensors);
    const size_t order = clstm_i_reserve(&layout, count, 1, sizeof *tables->order);
    const size_t names = clstm_i_reserve(&layout, count, 1, sizeof *header->tensors.at);
    const size_t keys = clstm_i_reserve(&layout, header->metadata.count, 1, sizeof *header->metadata.at);
    char *memory = clstm_i_allocate(context, &layout, &tables->block, &status);
    if (!memory) return status;
    tables->tensors = (tensor *)(memory + tensors);
    tables->order = (uint32_t *)(memory + order);
    header->tensors.at = (uint32_t *)(memory + names);
    header->metadata.at = (uint32_t *)(memory + keys);
    scan(header); /* once more, now to fill them */
    return CLSTM_OK;
}

/* Finds one tensor of the model, whose type and shape must match. */
static int find_tensor(const clstm_i_header *header, const clstm_parameter *wanted, int is_f64, tensor *tensor) {
    const size_t element = is_f64 ? sizeof(double) : sizeof(float);
    char name[sizeof wanted->name + sizeof header->prefix];
    snprintf(name, sizeof name, "%s%s", header->prefix, wanted->name);
    const char *found = clstm_i_names_find(&header->tensors, name);
    if (!found) return 0;
    clstm_i_json json = {found, header->text + header->size, 0};
    clstm_i_json_string(&json);
    clstm_i_json_require(&json, ':');
    const entry entry = read_entry(&json);
    tensor->begin = entry.range[0];
    tensor->bytes = wanted->rows * (wanted->columns ? wanted->columns : 1) * element;
    tensor->offset = wanted->offset * element;
    return entry.is_f64 == is_f64 && entry.shape[0] == wanted->rows && entry.rank == (wanted->columns ? 2 : 1)
           && (!wanted->columns || entry.shape[1] == wanted->columns)
           && entry.range[1] - entry.range[0] == tensor->bytes; /* a range that wraps is refused by find_tensors */
}

static int begins_before(const void *tensors, uint32_t a, uint32_t b) {
    const tensor *all = tensors;
    return all[a].begin < all[b].begin;
}

/* Finds all tensors of the model, which must cover the data without gaps or overlaps. */
static int find_tensors(const clstm_i_header *header, const clstm_config *config, int is_f64, size_t data,
                        const tables *tables) {
    size_t count, elements, end = 0;
    if (clstm_config_count(config, &count, &elements) || count != header->tensors.count) return 0;
    for (size_t k = 0; k < count; k++) {
        clstm_parameter wanted;
        if (clstm_config_parameter(config, k, &wanted)
            || !find_tensor(header, &wanted, is_f64, &tables->tensors[k])) return 0;
        tables->order[k] = (uint32_t)k;
    }
    clstm_i_sort(tables->order, count, begins_before, tables->tensors);
    for (size_t k = 0; k < count; k++) {
        const tensor *next = &tables->tensors[tables->order[k]];
        if (next->begin != end) return 0;
        end += next->bytes;
    }
    return end == data;
}

static clstm_status read_model(source *source, const clstm_context *context, clstm_i_header *header, tables *tables,
                               clstm_model **model) {
    clstm_config config;
    clstm_around around;
    int is_f64;
    if (!scan(header)) return CLSTM_INVALID_FILE;
    clstm_status status = make_tables(header, context, tables);
    if (status) return status;
    if (!clstm_i_names_sort(&header->metadata) || !clstm_i_names_sort(&header->tensors)
        || !clstm_i_file_config(header, &config, &around, &is_f64)
        || !find_tensors(header, &config, is_f64, source->left, tables)) return CLSTM_INVALID_FILE;

    status = is_f64 ? clstm_model_create_f64(&config, NULL, context, model)
                    : clstm_model_create(&config, NULL, context, model);
    if (!status) status = clstm_model_set_around(*model, &around);
    for (size_t k = 0; !status && k < header->tensors.count; k++) {
        const tensor *next = &tables->tensors[tables->order[k]];
        status = read_bytes(source, (char *)(*model)->parameters + next->offset, next->bytes);
    }
    return status;
}

static clstm_status load(source *source, const clstm_context *context, clstm_model **model) {
    clstm_i_header header = {0};
    tables tables = {0};
    void *block = NULL;
    if (__BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__) return CLSTM_INVALID_FILE;
    clstm_status status = read_header(source, context, &header, &block);
    if (!status) status = read_model(source, context, &header, &tables, model);
    clstm_i_release(context, tables.block);
    clstm_i_release(context, block);
    if (!status) return CLSTM_OK;
    clstm_model_free(*model);
    *model = NULL;
    return status;
}

clstm_status clstm_model_from_bytes(const void *bytes, size_t size, const clstm_context *given, clstm_model **model) {
    if (!model) return CLSTM_INVALID_ARGUMENT;
    *model = NULL;
    clstm_context context;
    if (!bytes) return CLSTM_INVALID_ARGUMENT;
    const clstm_status status = clstm_i_context(given, &context);
    if (status) return status;
    source source = {bytes, NULL, size, 0};
    return load(&source, &context, model);
}

clstm_status clstm_model_from_file(const char *path, const clstm_context *given, clstm_model **model) {
    if (!model) return CLSTM_INVALID_ARGUMENT;
    *model = NULL;
    clstm_context context;
    if (!path) return CLSTM_INVALID_ARGUMENT;
    clstm_status status = clstm_i_context(given, &context);
    if (status) return status;
    FILE *stream = fopen(path, "rb");
    if (!stream) return CLSTM_FILE_ERROR;

    source source = {NULL, stream, 0, 0};
    const long size = fseek(stream, 0, SEEK_END) ? -1 : ftell(stream);
    if (size >= 0 && !fseek(stream, 0, SEEK_SET)) {
        source.left = (size_t)size;
        status = load(&source, &context, model);
    } else {
        source.error = errno;
        status = CLSTM_FILE_ERROR;
    }
    fclose(stream);
    if (status == CLSTM_FILE_ERROR) errno = source.error;
    return status;
}

int clstm_model_is_f64(const clstm_model *model) { return model ? model->is_f64 : 0; }

const clstm_config *clstm_model_config(const clstm_model *model) { return model ? &model->config : NULL; }
