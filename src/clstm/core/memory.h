/* Memory: each call, model, tape and stream takes one block from its context's allocator. */
#pragma once

#include "asserts.h"
#include "clstm.h"

#include <stdint.h>

#pragma GCC visibility push(hidden)

enum { CLSTM_I_ALIGNMENT = 64 }; /* bytes: a cache line, and the widest vector */

/* Rounds a pointer up to CLSTM_I_ALIGNMENT. */
static inline char *clstm_i_align(void *memory) {
    return (char *)memory + (CLSTM_I_ALIGNMENT - (uintptr_t)memory % CLSTM_I_ALIGNMENT) % CLSTM_I_ALIGNMENT;
}

static inline int clstm_i_is_aligned(const void *memory) { return (uintptr_t)memory % CLSTM_I_ALIGNMENT == 0; }

/* The size of a block: reserve every array, then allocate once. Offsets are multiples of CLSTM_I_ALIGNMENT. */
typedef struct clstm_i_layout {
    size_t bytes;
    int overflow;
} clstm_i_layout;

/* Returns the offset of an array of rows * columns elements. */
size_t clstm_i_reserve(clstm_i_layout *layout, size_t rows, size_t columns, size_t element);

/* n rounded up to whole vectors. */
static inline size_t clstm_i_whole_vectors(size_t n, size_t lanes) { return (n + lanes - 1) / lanes * lanes; }

/* Returns aligned memory, and in *block the pointer for clstm_i_release; or NULL with *status set. */
char *clstm_i_allocate(const clstm_context *context, const clstm_i_layout *layout, void **block, clstm_status *status);
void clstm_i_release(const clstm_context *context, void *block);

/* Fills in every default of a context; refuses a context of unknown size. */
clstm_status clstm_i_context(const clstm_context *given, clstm_context *context);

#pragma GCC visibility pop
