/* A CPU for each thread of a team.

   Linux may wake a thread on the CPU of the thread that wakes it, and leaves both there for tens of milliseconds while
   another CPU idles: a step of H = 512 on two threads took 150 to 250 us instead of 65. So a thread that finds its CPU
   taken pins itself to a free one for a moment; its affinity is the same afterwards. */
#pragma once

#include <stdatomic.h>

#pragma GCC visibility push(hidden)

enum { CLSTM_I_SEATS = 1024 }; /* CPUs; a thread on a later one keeps its CPU */

typedef struct clstm_i_seats {
    atomic_ullong taken[CLSTM_I_SEATS / 64];
} clstm_i_seats;

/* Marks the calling thread's CPU as taken, and returns whether it was free. Always 1 where the system doesn't tell. */
int clstm_i_take_seat(clstm_i_seats *seats);

/* Marks the calling thread's CPU as taken, after moving to a free one if it was taken already. */
void clstm_i_find_seat(clstm_i_seats *seats);

#pragma GCC visibility pop
