/* The tokens of JSON, for headers that are read by what they must hold: no tree, no recursion, no memory. */
#pragma once

#include "memory.h"

#pragma GCC visibility push(hidden)

typedef struct clstm_i_json {
    const char *at, *end;
    int failed; /* then at == end: whatever is asked for next is not there, and every loop ends */
} clstm_i_json;

void clstm_i_json_fail(clstm_i_json *json);

/* Whether the next token is this character; it is read then. */
int clstm_i_json_accept(clstm_i_json *json, char token);

/* These fail where something else comes next. */
void clstm_i_json_require(clstm_i_json *json, char token);
void clstm_i_json_require_end(clstm_i_json *json);
size_t clstm_i_json_size(clstm_i_json *json);        /* a whole number, not negative */
const char *clstm_i_json_string(clstm_i_json *json); /* where it begins, at its quote; NULL on failure */

/* What a string of clstm_i_json_string stands for, byte by byte: escapes as UTF-8, the rest as it is. */
typedef struct clstm_i_text {
    const char *at;
    uint32_t rest; /* of an escape: the next byte is the lowest */
} clstm_i_text;

clstm_i_text clstm_i_text_of(const char *string);
int clstm_i_text_next(clstm_i_text *text); /* -1 at the end */

/* Whether it is this name; NULL is none. */
int clstm_i_text_is(const char *string, const char *name);

/* The names in an object, as offsets into the header: half a pointer for each, of which there may be millions. */
typedef struct clstm_i_names {
    const char *header;
    uint32_t *at; /* NULL: they are only counted */
    size_t count;
} clstm_i_names;

/* Adds a name, if there is one. */
void clstm_i_names_add(clstm_i_names *names, const char *string);

/* Sorts them for clstm_i_names_find; 0 if two are equal. */
int clstm_i_names_sort(clstm_i_names *names);
const char *clstm_i_names_find(const clstm_i_names *names, const char *name); /* NULL: not there */

/* Heapsort: no case is quadratic, and it takes no memory, which libc's qsort may do both. */
void clstm_i_sort(uint32_t *items, size_t n, int (*less)(const void *context, uint32_t a, uint32_t b),
                  const void *context);

#pragma GCC visibility pop
