/* What both types of streams have in common, and what stream.c calls by a stream's type. */
#pragma once

#include "dispatch.h"
#include "model.h"

#pragma GCC visibility push(hidden)

struct clstm_stream {
    clstm_context context; /* the model's, whose allocator made the pack */
    clstm_config config;
    int is_f64, flags;
    clstm_i_owned *pack;
    size_t capacity; /* rows that there is memory for */
    size_t rows;     /* that are active, the first ones */
    size_t chunk;    /* steps that are taken at once */
    size_t half;     /* of its states that is the last one */
};

typedef struct clstm_i_stream_functions {
    /* The bytes of a stream, slack for its alignment included. */
    clstm_status (*measure)(const clstm_config *config, size_t batch, const clstm_i_isa *isa, size_t *bytes);
    /* Makes one without weights in memory that is aligned. */
    void (*begin)(const clstm_config *config, size_t batch, const clstm_i_isa *isa, char *memory);
    /* Those of a model; the stream has none so far. */
    clstm_status (*take_weights)(clstm_stream *stream, const clstm_model *model);
    void (*share_weights)(const clstm_stream *from, clstm_stream *to);
    void (*start_row)(clstm_stream *stream, size_t row);
    void (*copy_row)(const clstm_stream *from, size_t row, clstm_stream *to, size_t place);
} clstm_i_stream_functions;

extern const clstm_i_stream_functions clstm_i_stream_f32, clstm_i_stream_f64;

#pragma GCC visibility pop
