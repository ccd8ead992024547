/* Memory for models, calls, tapes and streams, and contexts, which provide it. */
#define _DEFAULT_SOURCE /* madvise */
#include "memory.h"
#include "tuning.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

size_t clstm_i_reserve(clstm_i_layout *layout, size_t rows, size_t columns, size_t element) {
    const size_t offset = layout->bytes;
    size_t bytes;
    if (__builtin_mul_overflow(rows, columns, &bytes) || __builtin_mul_overflow(bytes, element, &bytes)
        || __builtin_add_overflow(bytes, CLSTM_I_ALIGNMENT - 1, &bytes)
        || __builtin_add_overflow(offset, bytes / CLSTM_I_ALIGNMENT * CLSTM_I_ALIGNMENT, &layout->bytes)) {
        layout->overflow = 1;
        layout->bytes = 0;
    }
    return offset;
}

char *clstm_i_allocate(const clstm_context *context, const clstm_i_layout *layout, void **block, clstm_status *status) {
    size_t bytes;
    *block = NULL;
    /* PTRDIFF_MAX, not SIZE_MAX: the difference of two pointers into the block must fit. */
    if (layout->overflow || __builtin_add_overflow(layout->bytes, CLSTM_I_ALIGNMENT, &bytes) || bytes > PTRDIFF_MAX) {
        *status = CLSTM_OVERFLOW;
        return NULL;
    }
    *block = context->allocate(context->user, bytes);
    *status = *block ? CLSTM_OK : CLSTM_OUT_OF_MEMORY;
    if (!*block) return NULL;
    clstm_i_assert(layout->bytes % CLSTM_I_ALIGNMENT == 0);
    return clstm_i_align(*block);
}

void clstm_i_release(const clstm_context *context, void *block) {
    if (block) context->release(context->user, block);
}

/* Requests huge pages, because the rows of gates of a step are so far apart that each lies on pages of its own. A
   refusal costs only speed. */
static void use_huge_pages(char *memory, size_t bytes) {
#if defined(MADV_HUGEPAGE)
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), before = (page - (uintptr_t)memory % page) % page;
    madvise(memory + before, (bytes - before) / page * page, MADV_HUGEPAGE);
#else
    (void)memory;
    (void)bytes;
#endif
}

static void *default_allocate(void *user, size_t bytes) {
    void *memory = malloc(bytes);
    (void)user;
    if (memory && bytes >= TUNE_HUGE_PAGE_BYTES) use_huge_pages(memory, bytes);
    return memory;
}

static void default_release(void *user, void *block) {
    (void)user;
    free(block);
}

clstm_status clstm_i_context(const clstm_context *given, clstm_context *context) {
    static const clstm_context defaults = CLSTM_CONTEXT_INIT;
    if (given && given->size != sizeof *given) return CLSTM_INVALID_ARGUMENT;
    *context = given ? *given : defaults;
    if (!context->allocate != !context->release) return CLSTM_INVALID_ARGUMENT;
    if (!context->allocate) {
        context->allocate = default_allocate;
        context->release = default_release;
    }
    return CLSTM_OK;
}
