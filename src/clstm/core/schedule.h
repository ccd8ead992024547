/* The schedule: how many threads a pass uses, how they share it, and whether it hoists the input product. */
#pragma once

#include "range.h"
#include "team.h"

#pragma GCC visibility push(hidden)

typedef enum clstm_i_split {
    CLSTM_I_ROWS,  /* each thread has rows of the batch, and never waits */
    CLSTM_I_UNITS, /* all threads share every step: each has some hidden units, with their four gates */
    CLSTM_I_LAYERS /* a wavefront: each thread has whole layers, a chunk of steps behind the layer below */
} clstm_i_split;

/* The sizes that a schedule depends on. */
typedef struct clstm_i_shape {
    size_t steps, batch, input_size, hidden_size, num_layers, directions;
    size_t total;   /* rows of all steps */
    size_t element; /* bytes of a number */
    double handover; /* ns until a thread sees what another one has published */
} clstm_i_shape;

typedef struct clstm_i_schedule {
    size_t threads;
    clstm_i_split split;
} clstm_i_schedule;

/* A forward pass by the packed engine or the blas engine. */
clstm_i_schedule clstm_i_schedule_forward(const clstm_i_call *call, const clstm_i_shape *shape, int packed);

/* One layer of a backward pass. `blocks`: blocks of the packed transposed weights, which threads can share; 0 where
   units can't be shared. */
clstm_i_schedule clstm_i_schedule_backward(const clstm_i_call *call, const clstm_i_shape *shape, size_t blocks);

/* Whether the packed engine computes the input product of a layer for all steps of a chunk together, instead of in
   every step: the only place that decides it. `columns` is the layer's input size. */
int clstm_i_hoists(const clstm_i_shape *shape, clstm_i_split split, size_t columns);

/* Number of threads for this many multiply-adds, at most n. */
size_t clstm_i_threads_for(const clstm_i_call *call, double work, size_t n);

#pragma GCC visibility pop
