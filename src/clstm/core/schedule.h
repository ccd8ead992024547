/* The schedule: how many threads a pass uses, and how they share it. */
#pragma once

#include "range.h"
#include "team.h"

#pragma GCC visibility push(hidden)

/* How the threads of a pass share it. */
typedef enum clstm_i_split {
    CLSTM_I_ROWS,  /* each has rows of the batch, and never waits */
    CLSTM_I_UNITS, /* all have every step together: each some hidden units, with all four gates of a unit */
    CLSTM_I_LAYERS /* each has whole layers, a chunk of steps behind the layer below */
} clstm_i_split;

/* What the choice depends on. */
typedef struct clstm_i_shape {
    size_t steps, batch, input_size, hidden_size, num_layers, directions;
    size_t total;   /* rows of all steps */
    size_t element; /* bytes of a number */
} clstm_i_shape;

/* How many threads a forward pass is worth, and how they share it (schedule.c). */
size_t clstm_i_choose_split(const clstm_i_call *call, const clstm_i_shape *shape, int packed, clstm_i_split *split);

/* The same for one layer of a backward pass, whose product has so many blocks; 0: of the blas engine. */
size_t clstm_i_choose_split_backward(const clstm_i_call *call, const clstm_i_shape *shape, size_t blocks,
                                     clstm_i_split *split);

/* Whether the packed engine computes the input product of a chunk's steps at once. */
int clstm_i_hoists(const clstm_i_shape *shape, clstm_i_split split);

/* How many threads are worth starting for this many multiply-adds that split into n parts. */
size_t clstm_i_wanted(const clstm_i_call *call, double work, size_t n);

#pragma GCC visibility pop
