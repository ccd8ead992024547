/* The fields that streams of both types share, and the typed functions that stream.c calls. */
#pragma once

#include "dispatch.h"
#include "model.h"

#pragma GCC visibility push(hidden)

struct clstm_stream {
    clstm_context context; /* the model's, whose allocator made the pack */
    clstm_config config;
    clstm_around around;
    int plays; /* as in clstm_model */
    int is_f64, flags;
    clstm_i_owned *pack;
    size_t capacity; /* rows that fit its memory */
    size_t rows;     /* active ones, which come first */
    size_t chunk;    /* most steps that are processed together */
    size_t half;     /* which half of its states is current */
};

/* What decides how much memory a stream takes. */
typedef struct clstm_i_stream_plan {
    const clstm_config *config;
    int is_f64, plays;
    size_t batch;
} clstm_i_stream_plan;

typedef struct clstm_i_stream_functions {
    /* The bytes of a stream, slack for its alignment included. */
    clstm_status (*measure)(const clstm_i_stream_plan *plan, const clstm_i_isa *isa, size_t *bytes);
    /* Makes a stream without weights, in aligned memory. */
    void (*begin)(const clstm_i_stream_plan *plan, const clstm_i_isa *isa, char *memory);
    /* Uses a model's weights. Does not release those used so far. */
    clstm_status (*take_weights)(clstm_stream *stream, const clstm_model *model);
    void (*share_weights)(const clstm_stream *from, clstm_stream *to);
    void (*start_row)(clstm_stream *stream, size_t row);
    void (*copy_row)(const clstm_stream *from, size_t row, clstm_stream *to, size_t place);
} clstm_i_stream_functions;

extern const clstm_i_stream_functions clstm_i_stream_f32, clstm_i_stream_f64;

#pragma GCC visibility pop
