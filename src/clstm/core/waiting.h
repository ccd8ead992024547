/* Clocks, and sleeping until another thread wakes. */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)

/* Nanoseconds of a clock that never goes back. */
int64_t clstm_i_now(void);

/* The same, exact to some milliseconds, in a fifth of the time. */
int64_t clstm_i_coarse_now(void);

void clstm_i_sleep(int64_t nanoseconds);

/* Sleeps until clstm_i_wake, at most some nanoseconds (0: any), unless the word has another value. It may also return
   for no reason. */
void clstm_i_sleep_while(atomic_uint *word, unsigned value, int64_t most);

/* Wakes up to `threads` of the threads that sleep on the word. */
void clstm_i_wake(atomic_uint *word, size_t threads);

#pragma GCC visibility pop
