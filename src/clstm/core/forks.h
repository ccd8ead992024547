/* Forks: a child process has the memory of its parent, but only the thread that forked. */
#pragma once

#include <stdatomic.h>

#pragma GCC visibility push(hidden)

extern atomic_uint clstm_i_generation; /* 0: nobody has asked yet */
unsigned clstm_i_watch_forks(void);    /* the first answer of clstm_i_forks */

/* The generation of the calling process, at least 1: one more than the forks between the process that first asked and
   this one. What locks, counts or waits for threads remembers it, and begins anew when it has changed. */
static inline unsigned clstm_i_forks(void) {
    const unsigned generation = atomic_load_explicit(&clstm_i_generation, memory_order_relaxed);
    return generation ? generation : clstm_i_watch_forks();
}

#pragma GCC visibility pop
