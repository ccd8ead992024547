/* Forks: a child process has the memory of its parent, but only the thread that forked. */
#pragma once

#pragma GCC visibility push(hidden)

/* How many forks lie between the process that first called this and the calling process. What locks, counts or waits
   for threads remembers the number, and begins anew when it has changed. */
unsigned clstm_i_forks(void);

#pragma GCC visibility pop
