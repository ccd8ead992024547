/* Loads models from files, good and bad ones:

       load run PATH STEPS BATCH    y, hn and cn of a model, for the x on stdin
       load each SCRATCH            the status of every file on stdin, and the parameters of good ones
       load truncated PATH          the sizes at which a truncated file is not refused
       load altered PATH            the changes of one byte of the header that are not refused, and the parameters
       load starved PATH            how many allocations failed, each in a load of its own, until none did
       load shrunk PATH             the status of a file that is truncated while it is read
       load path PATH               status and errno
       load refusals                what was not refused but should have been

   For every model it checks that memory is bounded and released, and that loading from a path equals loading from
   bytes. */
#include "heap.h"

#include <clstm.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { CONSTANT = 4096 }; /* bytes of a model, without its parameters */

typedef struct content {
    char *bytes;
    size_t size;
} content;

static heap own;
static clstm_context context = CLSTM_CONTEXT_INIT;

static void fail(const char *what) {
    fprintf(stderr, "load: %s\n", what);
    exit(1);
}

static void check(clstm_status status) {
    if (status) fail(clstm_strerror(status));
}

static const char *name_of(clstm_status status) {
    switch (status) {
    case CLSTM_OK: return "ok";
    case CLSTM_INVALID_FILE: return "invalid file";
    case CLSTM_FILE_ERROR: return "file error";
    default: return clstm_strerror(status);
    }
}

/* Ends with its allocation, and has no alignment. */
static content room(size_t size) {
    content content = {malloc(size + 1), size};
    if (!content.bytes) fail("no room");
    content.bytes++;
    return content;
}

static void release(content content) { free(content.bytes - 1); }

static content read_path(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END)) fail("cannot open a file");
    content content = room((size_t)ftell(file));
    rewind(file);
    if (fread(content.bytes, 1, content.size, file) != content.size) fail("cannot read a file");
    fclose(file);
    return content;
}

static void write_path(const char *path, content content) {
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(content.bytes, 1, content.size, file) != content.size || fclose(file))
        fail("cannot write a file");
}

/* From bytes, or from a path if it is given. */
static clstm_status load(content content, const char *path, clstm_model **model) {
    if (own.now) fail("memory was not given back");
    own.peak = own.calls = 0;
    *model = (clstm_model *)&own; /* must be replaced */
    const clstm_status status = path ? clstm_model_from_file(path, &context, model)
                                     : clstm_model_from_bytes(content.bytes, content.size, &context, model);
    if (own.peak > 2 * content.size + CONSTANT) fail("a file took more than twice its size");
    if (status && (*model || own.now)) fail("a refused file left something behind");
    return status;
}

static const void *numbers(const clstm_model *model, size_t *bytes) {
    size_t tensors, elements;
    check(clstm_config_count(clstm_model_config(model), &tensors, &elements));
    const int is_f64 = clstm_model_is_f64(model);
    *bytes = elements * (is_f64 ? sizeof(double) : sizeof(float));
    return is_f64 ? (const void *)clstm_model_parameters_f64(model) : (const void *)clstm_model_parameters(model);
}

static void print_numbers(const clstm_model *model) {
    size_t bytes;
    const unsigned char *byte = numbers(model, &bytes);
    for (size_t k = 0; k < bytes; k++) printf("%02x", byte[k]);
}

/* ---- Running a model -------------------------------------------------------------------------------------- */

static void *array(size_t count, size_t element) {
    void *array = calloc(count + 1, element);
    if (!array) fail("no room for the arrays");
    return array;
}

static void run(const char *path, size_t steps, size_t batch) {
    const content content = read_path(path);
    clstm_model *model, *same;
    check(load(content, path, &model));
    check(clstm_model_from_bytes(content.bytes, content.size, NULL, &same));
    release(content);
    size_t bytes, others;
    if (memcmp(numbers(model, &bytes), numbers(same, &others), bytes) || bytes != others) fail("two ways, two models");
    clstm_model_free(same);

    const clstm_config *config = clstm_model_config(model);
    const size_t directions = config->direction == CLSTM_BIDIRECTIONAL ? 2 : 1;
    const size_t width = directions * (config->proj_size ? config->proj_size : config->hidden_size);
    const size_t element = clstm_model_is_f64(model) ? sizeof(double) : sizeof(float);
    const size_t xs = steps * batch * config->input_size, hs = config->num_layers * batch * width;
    const size_t ys = steps * batch * (config->output_size ? config->output_size : width);
    const size_t cs = config->num_layers * batch * directions * config->hidden_size;
    void *x = array(xs, element), *y = array(ys, element), *hn = array(hs, element), *cn = array(cs, element);
    if (fread(x, element, xs, stdin) != xs) fail("the input is too short");
    if (clstm_model_is_f64(model)) {
        clstm_sequence_f64 sequence = CLSTM_SEQUENCE_F64_INIT;
        sequence.steps = steps, sequence.batch = batch;
        sequence.x = x, sequence.y = y, sequence.hn = hn, sequence.cn = cn;
        check(clstm_forward_f64(model, &sequence, NULL));
    } else {
        clstm_sequence sequence = CLSTM_SEQUENCE_INIT;
        sequence.steps = steps, sequence.batch = batch;
        sequence.x = x, sequence.y = y, sequence.hn = hn, sequence.cn = cn;
        check(clstm_forward(model, &sequence, NULL));
    }
    clstm_model_free(model);
    if (own.now) fail("memory was not given back");
    if (fwrite(y, element, ys, stdout) != ys || fwrite(hn, element, hs, stdout) != hs
        || fwrite(cn, element, cs, stdout) != cs) fail("cannot write the output");
    free(x), free(y), free(hn), free(cn);
}

/* ---- Refused files ---------------------------------------------------------------------------------------- */

/* In the input, its size precedes each file. */
static void each(const char *scratch) {
    uint64_t size;
    while (fread(&size, sizeof size, 1, stdin) == 1) {
        const content content = room((size_t)size);
        if (fread(content.bytes, 1, content.size, stdin) != content.size) fail("the input is too short");
        write_path(scratch, content);
        clstm_model *model;
        const clstm_status from_path = load(content, scratch, &model);
        clstm_model_free(model);
        const clstm_status status = load(content, NULL, &model);
        if (status != from_path) fail("a path does not do what bytes do");
        printf("%s ", name_of(status));
        if (!status) print_numbers(model);
        printf("\n");
        clstm_model_free(model);
        release(content);
    }
}

static void truncated(const char *path) {
    const content whole = read_path(path);
    for (size_t size = 0; size < whole.size; size++) {
        const content part = room(size);
        memcpy(part.bytes, whole.bytes, size);
        clstm_model *model;
        if (load(part, NULL, &model) != CLSTM_INVALID_FILE) printf("%d\n", (int)size);
        clstm_model_free(model);
        release(part);
    }
    release(whole);
}

static void altered(const char *path) {
    const content content = read_path(path);
    const size_t end = 8 + (unsigned char)content.bytes[0] + 256 * (size_t)(unsigned char)content.bytes[1];
    for (size_t k = 0; k < end; k++) {
        const char before = content.bytes[k];
        for (int change = 1; change < 256; change++) {
            content.bytes[k] = (char)(before ^ change);
            clstm_model *model;
            const clstm_status status = load(content, NULL, &model);
            if (status && status != CLSTM_INVALID_FILE) fail(clstm_strerror(status));
            if (status) continue;
            printf("%d %d ", (int)k, (unsigned char)content.bytes[k]);
            print_numbers(model);
            printf("\n");
            clstm_model_free(model);
        }
        content.bytes[k] = before;
    }
    release(content);
}

static void starved(const char *path) {
    const content content = read_path(path);
    for (int way = 0; way < 2; way++) {
        clstm_status status = CLSTM_OUT_OF_MEMORY;
        int refused = -1;
        for (own.fail_at = 1; status; own.fail_at++, refused++) {
            clstm_model *model;
            status = load(content, way ? path : NULL, &model);
            if (status && status != CLSTM_OUT_OF_MEMORY) fail(clstm_strerror(status));
            clstm_model_free(model);
        }
        printf("%d\n", refused);
    }
    release(content);
}

static const char *victim;

static void *cut_and_allocate(void *user, size_t bytes) {
    char byte = 0;
    const content nothing = {&byte, 0};
    if (own.calls == 1) write_path(victim, nothing); /* the header has been read */
    return heap_allocate(user, bytes);
}

static void shrunk(const char *path) {
    const content whole = read_path(path);
    clstm_model *model;
    victim = path;
    context.allocate = cut_and_allocate;
    printf("%s\n", name_of(load(whole, path, &model)));
    release(whole);
}

static void refusals(void) {
    clstm_model *model = (clstm_model *)&own;
    clstm_context unknown = CLSTM_CONTEXT_INIT;
    unknown.size--;
    const clstm_status expected = CLSTM_INVALID_ARGUMENT;
    if (clstm_model_from_bytes("", 0, NULL, NULL) != expected) printf("bytes, no place for the model\n");
    if (clstm_model_from_file("/", NULL, NULL) != expected) printf("a path, no place for the model\n");
    if (clstm_model_from_bytes(NULL, 9, NULL, &model) != expected || model) printf("no bytes\n");
    model = (clstm_model *)&own;
    if (clstm_model_from_file(NULL, NULL, &model) != expected || model) printf("no path\n");
    model = (clstm_model *)&own;
    if (clstm_model_from_bytes("", 0, &unknown, &model) != expected || model) printf("bytes, an unknown context\n");
    model = (clstm_model *)&own;
    if (clstm_model_from_file("/", &unknown, &model) != expected || model) printf("a path, an unknown context\n");
    if (clstm_model_is_f64(NULL) || clstm_model_config(NULL)) printf("no model\n");
}

static void print_path(const char *path) {
    clstm_model *model;
    errno = 0;
    const clstm_status status = clstm_model_from_file(path, NULL, &model);
    const int error = errno;
    printf("%s: %s\n", name_of(status), strerror(error));
    clstm_model_free(model);
}

int main(int count, char **arguments) {
    const char *what = count > 1 ? arguments[1] : "", *path = count > 2 ? arguments[2] : "";
    context.allocate = heap_allocate;
    context.release = heap_release;
    context.user = &own;
    if (!strcmp(what, "run") && count == 5) run(path, (size_t)atol(arguments[3]), (size_t)atol(arguments[4]));
    else if (!strcmp(what, "each")) each(path);
    else if (!strcmp(what, "truncated")) truncated(path);
    else if (!strcmp(what, "altered")) altered(path);
    else if (!strcmp(what, "starved")) starved(path);
    else if (!strcmp(what, "shrunk")) shrunk(path);
    else if (!strcmp(what, "path")) print_path(path);
    else if (!strcmp(what, "refusals")) refusals();
    else fail("see the top of load.c");
    return fflush(stdout) ? 1 : 0;
}
