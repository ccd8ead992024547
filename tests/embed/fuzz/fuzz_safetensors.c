/* For libFuzzer: whatever the bytes are, loading them ends, with a model or a refusal, within bounds.

       clang -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -Iinclude -Itests/embed/consumers \
           tests/embed/fuzz/fuzz_safetensors.c src/clstm/core/{file_*,model,cache,memory,status}.c
       python -m tests.embed.bad_safetensors_files corpus && ./a.out corpus */
#include "heap.h"

#include <clstm.h>
#include <string.h>

enum { CONSTANT = 4096 };

/* All numbers of a model can be read, and all memory is released. */
static void load(const uint8_t *bytes, size_t size) {
    heap heap = {0, 0, 0, 0};
    clstm_context context = CLSTM_CONTEXT_INIT;
    context.allocate = heap_allocate;
    context.release = heap_release;
    context.user = &heap;
    clstm_model *model;
    const clstm_status status = clstm_model_from_bytes(bytes, size, &context, &model);
    if (status != CLSTM_OK && status != CLSTM_INVALID_FILE) abort();
    if (!status != !!model || heap.peak > 2 * size + CONSTANT) abort();
    if (model) {
        size_t tensors, elements;
        if (clstm_config_count(clstm_model_config(model), &tensors, &elements)) abort();
        const size_t element = clstm_model_is_f64(model) ? sizeof(double) : sizeof(float);
        if (elements * element >= size) abort();
        clstm_model_free(model);
    }
    if (heap.now) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    load(bytes, size);
    /* Once more with the correct length: otherwise an input that grows in the middle is never read further. */
    size_t end = size;
    while (end > 8 && bytes[end - 1] != '}') end--;
    if (end <= 8) return 0;
    uint8_t *copy = malloc(size);
    if (!copy) abort();
    memcpy(copy, bytes, size);
    for (int k = 0; k < 8; k++) copy[k] = (uint8_t)((uint64_t)(end - 8) >> 8 * k);
    load(copy, size);
    free(copy);
    return 0;
}
