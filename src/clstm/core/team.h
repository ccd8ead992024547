/* One call and its team: tasks, meetings, cancellation. */
#pragma once

#include "memory.h"

#include <stdatomic.h>

#pragma GCC visibility push(hidden)

typedef struct clstm_i_call {
    const clstm_context *context;
    atomic_int cancelled;
    double work;   /* multiply-adds of the caller's thread since the last call of context->cancelled */
    atomic_size_t polls; /* the index that the caller's thread runs a task with: the only one that may ask the host */
    int blas;      /* the blas engine: products of whole matrices use the context's gemm, if there is one */
    char *scratch; /* (threads, CLSTM_I_GEMM_BYTES) for matrix products by the kernels */
} clstm_i_call;

typedef void clstm_i_task(void *argument, size_t index, size_t count);

/* Each of these runs a task on the caller's thread and on others of the context's team, with denormals flushed, and
   returns when all of it is done. Helpers of the pool come when the system lets them run, and may leave before the end
   (clstm_i_leaves), so that a busy machine does not hold up the caller. */

/* Runs the task once for each index below `count`. A thread takes the next index when it has finished one, so that late
   threads have fewer. Results may depend on `count`, never on who came. */
void clstm_i_run(clstm_i_call *call, size_t count, clstm_i_task *task, void *argument);

/* Runs the task once on each thread that comes, at most `count`, at different indices; the caller has index 0. */
void clstm_i_run_freely(clstm_i_call *call, size_t count, clstm_i_task *task, void *argument);

/* Runs the task at the same time on all threads that have come when it begins, so that they may wait for each other.
   `most` is how many may come, and the task's `count` how many have. */
void clstm_i_run_together(clstm_i_call *call, size_t most, clstm_i_task *task, void *argument);

/* Whether a thread of the call's team has lately lost its CPU. */
int clstm_i_is_busy(const clstm_i_call *call);

/* Whether the thread at an index is to take no further work, because its CPU is wanted elsewhere. The caller, at index
   0, works to the end. */
int clstm_i_leaves(const clstm_i_call *call, size_t index);

/* Counts multiply-adds, and from time to time asks the host whether to cancel. Only the caller's thread does so: calls
   by other threads do nothing. `index` is the task's. */
void clstm_i_poll(clstm_i_call *call, size_t index, double work);

static inline int clstm_i_cancelled(const clstm_i_call *call) {
    return atomic_load_explicit(&call->cancelled, memory_order_relaxed);
}

/* A number that one thread raises and others read. Padded to two cache lines, because the hardware prefetches pairs. */
typedef struct clstm_i_counter {
    atomic_size_t value;
    char unused[128 - sizeof(atomic_size_t)];
} clstm_i_counter;

/* Lets other threads see a value and all that was written before it. */
void clstm_i_publish(clstm_i_counter *counter, size_t value);

/* Nanoseconds until a thread of the call's team sees what another one has published, as lately measured. */
double clstm_i_handover(const clstm_i_call *call);

/* Pauses between two polls of a counter: by an instruction for the first `patience` spins, then by yielding the CPU. */
void clstm_i_pause(unsigned spins, unsigned patience);

/* Waits until the counter has reached the value, or the call is cancelled. `index` is the waiting thread's. */
void clstm_i_await(const clstm_i_call *call, size_t index, const clstm_i_counter *counter, size_t value);

/* A thread's position in a subteam, whose threads share some work and meet. */
typedef struct clstm_i_subteam {
    size_t thread;             /* number in the whole team; 0 is the caller's thread */
    size_t index, count;       /* number among those that have not left, and how many these are; 0 once it has left */
    size_t place, places;      /* number among all, and how many these are */
    clstm_i_counter *counters; /* (places,) 2 n: has reached the meeting n; 2 n + 1: and has left there */
    int fixed;                 /* nobody leaves */
} clstm_i_subteam;

static inline clstm_i_subteam clstm_i_team_of(size_t thread, size_t place, size_t places, clstm_i_counter *counters) {
    return (clstm_i_subteam){thread, place, places, place, places, counters, 0};
}

/* A subteam of this thread alone, which never waits. */
static inline clstm_i_subteam clstm_i_alone(size_t thread) { return clstm_i_team_of(thread, 0, 1, NULL); }

/* Barrier: waits until every thread of the subteam reaches it, or the call is cancelled. Threads that are late leave
   there: the others then share the work anew, by the new index and count. */
void clstm_i_meet(const clstm_i_call *call, clstm_i_subteam *team);

/* ---- The pool (threads_pool.c) ---- */

typedef enum clstm_i_gathering { CLSTM_I_FREELY, CLSTM_I_TOGETHER } clstm_i_gathering;

/* The `run` of the pool's clstm_team. */
void clstm_i_pool_run(void *user, size_t most, clstm_i_task *task, void *argument);

void clstm_i_pool_start(clstm_i_gathering gathering, size_t most, clstm_i_task *task, void *argument);

double clstm_i_pool_handover(void);
int clstm_i_pool_is_busy(void);

/* clstm_i_leaves in a run of the pool. */
int clstm_i_pool_leaves(size_t index);

/* A pause of a thread that has waited long for another one. If that one has no CPU, it gets this thread's. */
void clstm_i_pool_pause(size_t index);

#pragma GCC visibility pop
