/* One call and its team: tasks, meetings, cancellation. */
#pragma once

#include "memory.h"

#include <stdatomic.h>

#pragma GCC visibility push(hidden)

typedef struct clstm_i_call {
    const clstm_context *context;
    atomic_int cancelled;
    double work;   /* since the host was last asked; of the caller's thread */
    int blas;      /* the blas engine: products of whole matrices go to the context's gemm, if it has one */
    char *scratch; /* of each thread, for products by the kernels */
} clstm_i_call;

typedef void clstm_i_task(void *argument, size_t index, size_t count);

/* Runs task on at most `wanted` threads of the context's team, each with denormals flushed. */
void clstm_i_run(const clstm_i_call *call, size_t wanted, clstm_i_task *task, void *argument);

/* Adds to the caller's work, in multiply-adds, and now and then asks the host whether to go on. Only thread 0. */
void clstm_i_poll(clstm_i_call *call, double work);

static inline int clstm_i_cancelled(const clstm_i_call *call) {
    return atomic_load_explicit(&call->cancelled, memory_order_relaxed);
}

/* How far one thread has come, for the others to read. On two cache lines of its own: the hardware fetches pairs. */
typedef struct clstm_i_counter {
    atomic_size_t value;
    char unused[128 - sizeof(atomic_size_t)];
} clstm_i_counter;

/* What a thread does between two looks at what it waits for: the first ones without leaving its CPU. */
void clstm_i_pause(unsigned spins, unsigned patience);

/* Waits until the counter has reached the value, or the call is cancelled. */
void clstm_i_await(const clstm_i_call *call, const clstm_i_counter *counter, size_t value);

/* Waits until all `count` threads have come here as often as this one, or the call is cancelled. */
void clstm_i_meet(const clstm_i_call *call, clstm_i_counter *counters, size_t index, size_t count);

/* A thread's place: its number in the team, and its own among those that share what is meant. */
typedef struct clstm_i_seat {
    size_t thread, index, count;
} clstm_i_seat;

#pragma GCC visibility pop
