/* One call and its team: tasks, meetings, cancellation. */
#pragma once

#include "memory.h"

#include <stdatomic.h>

#pragma GCC visibility push(hidden)

typedef struct clstm_i_call {
    const clstm_context *context;
    atomic_int cancelled;
    double work;   /* multiply-adds of the caller's thread since the last call of context->cancelled */
    int blas;      /* the blas engine: products of whole matrices use the context's gemm, if there is one */
    char *scratch; /* (threads, CLSTM_I_GEMM_BYTES) for matrix products by the kernels */
} clstm_i_call;

typedef void clstm_i_task(void *argument, size_t index, size_t count);

/* Runs task on at most `wanted` threads of the context's team, each with denormals flushed. */
void clstm_i_run(const clstm_i_call *call, size_t wanted, clstm_i_task *task, void *argument);

/* Counts multiply-adds, and from time to time asks the host whether to cancel. Only the caller's thread does so: calls
   by other threads do nothing. */
void clstm_i_poll(clstm_i_call *call, size_t thread, double work);

static inline int clstm_i_cancelled(const clstm_i_call *call) {
    return atomic_load_explicit(&call->cancelled, memory_order_relaxed);
}

/* The progress of one thread, for the others to read. Padded to two cache lines, because the hardware prefetches
   pairs. */
typedef struct clstm_i_counter {
    atomic_size_t value;
    char unused[128 - sizeof(atomic_size_t)];
} clstm_i_counter;

/* Pauses between two polls of a counter: by an instruction for the first `patience` spins, then by yielding the CPU. */
void clstm_i_pause(unsigned spins, unsigned patience);

/* Waits until the counter has reached the value, or the call is cancelled. */
void clstm_i_await(const clstm_i_call *call, const clstm_i_counter *counter, size_t value);

/* A thread's position in a subteam, which shares some work. */
typedef struct clstm_i_subteam {
    size_t thread;             /* number in the whole team; 0 is the caller's thread */
    size_t index, count;       /* number in the subteam, and its size */
    clstm_i_counter *counters; /* (count,) barriers that each thread has reached */
} clstm_i_subteam;

/* A subteam of this thread alone, which never waits. */
static inline clstm_i_subteam clstm_i_alone(size_t thread) { return (clstm_i_subteam){thread, 0, 1, NULL}; }

/* Barrier: waits until every thread of the subteam reaches it, or the call is cancelled. */
void clstm_i_meet(const clstm_i_call *call, const clstm_i_subteam *team);

#pragma GCC visibility pop
