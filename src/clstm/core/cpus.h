/* The CPUs of threads: which a thread may use, and whether it has one. Where the system does not tell or takes no
   orders, these functions do nothing. */
#pragma once

#include <pthread.h>
#include <stddef.h>

#pragma GCC visibility push(hidden)

/* Lets some threads run where the calling thread may, except on the CPU that this one has: Linux may wake a thread on
   the CPU of the one that wakes it, where it would wait for up to 4 ms. Returns how many CPUs the calling thread may
   use. Callers of this function and the next two take turns. */
size_t clstm_i_share_cpus(const pthread_t *threads, size_t count);

/* Lets another thread run where those of the last clstm_i_share_cpus may. */
void clstm_i_join_cpus(pthread_t thread);

/* Lets a thread run on the calling thread's CPU alone. Returns 0 if that can't be. */
int clstm_i_lend_cpu(pthread_t thread);

/* Whether a thread does not run, by its CPU time within TUNE_POOL_SAMPLE. */
int clstm_i_has_no_cpu(pthread_t thread);

/* Asks Linux to switch to the calling thread soon when it is woken, and to switch it soon again: it works in short
   pieces. */
void clstm_i_ask_for_short_slices(void);

#pragma GCC visibility pop
