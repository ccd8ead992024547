/* An allocator that counts bytes and calls, and can fail once. */
#ifndef HEAP_H
#define HEAP_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

typedef struct heap {
    size_t now, peak;      /* bytes */
    size_t calls, fail_at; /* this call, counted from 1, returns NULL; 0: none does */
} heap;

enum { HEAP_HEADER = 64 }; /* holds the size; the core aligns for itself */

static void *heap_allocate(void *user, size_t bytes) {
    heap *self = user;
    if (++self->calls == self->fail_at || bytes > SIZE_MAX - HEAP_HEADER) return NULL;
    char *block = malloc(bytes + HEAP_HEADER);
    if (!block) return NULL;
    *(size_t *)block = bytes;
    self->now += bytes;
    if (self->now > self->peak) self->peak = self->now;
    return block + HEAP_HEADER;
}

static void heap_release(void *user, void *block) {
    heap *self = user;
    char *own = (char *)block - HEAP_HEADER;
    self->now -= *(size_t *)own;
    free(own);
}

#endif
