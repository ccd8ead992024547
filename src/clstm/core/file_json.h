/* JSON tokens, for a header of known structure: no tree, no recursion, no memory. */
#pragma once

#include "memory.h"

#pragma GCC visibility push(hidden)

typedef struct clstm_i_json {
    const char *at, *end;
    int failed; /* then at == end, so that everything read later is absent and every loop ends */
} clstm_i_json;

void clstm_i_json_fail(clstm_i_json *json);

/* Consumes the next token if it is this character, and returns whether it is. */
int clstm_i_json_accept(clstm_i_json *json, char token);

/* These fail if the next token is another one. */
void clstm_i_json_require(clstm_i_json *json, char token);
void clstm_i_json_require_end(clstm_i_json *json);
size_t clstm_i_json_size(clstm_i_json *json);        /* a non-negative integer */
const char *clstm_i_json_string(clstm_i_json *json); /* its opening quote; NULL on failure */

/* The decoded bytes of a string from clstm_i_json_string: escapes as UTF-8, all else unchanged. */
typedef struct clstm_i_text {
    const char *at;
    uint32_t rest; /* remaining bytes of an escape, the next one lowest */
} clstm_i_text;

clstm_i_text clstm_i_text_of(const char *string);
int clstm_i_text_next(clstm_i_text *text); /* -1 at the end */

/* Whether a string equals a name; NULL equals none. */
int clstm_i_text_is(const char *string, const char *name);

/* The names in an object, as 32-bit offsets into the header: half the size of pointers, and there may be millions. */
typedef struct clstm_i_names {
    const char *header;
    uint32_t *at; /* NULL: they are only counted */
    size_t count;
} clstm_i_names;

/* Adds a name; NULL is ignored. */
void clstm_i_names_add(clstm_i_names *names, const char *string);

/* Sorts the names for clstm_i_names_find; 0 if two are equal. */
int clstm_i_names_sort(clstm_i_names *names);
const char *clstm_i_names_find(const clstm_i_names *names, const char *name); /* NULL if absent */

/* Heapsort: never quadratic, and without memory of its own; libc's qsort guarantees neither. */
void clstm_i_sort(uint32_t *items, size_t n, int (*less)(const void *context, uint32_t a, uint32_t b),
                  const void *context);

#pragma GCC visibility pop
