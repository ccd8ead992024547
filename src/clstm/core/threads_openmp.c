/* The OpenMP team. This is the only file with a parallel region, so that a program with its own team links no OpenMP
   runtime: unloading a plug-in that has one crashes the host. */
#include "forks.h"
#include "range.h"
#include "seats.h"
#include "team.h"
#include "tuning.h"

#if defined(_OPENMP)
#include <omp.h>
#include <pthread.h>
#include <stdlib.h>

/* Concurrent regions would compete for the same cores. */
static atomic_flag busy = ATOMIC_FLAG_INIT;

/* A forked child inherits a runtime whose threads do not exist: entering a region hangs. Processes whose first team is
   made in the child are not affected. */
static int forked(void) {
    static atomic_uint first; /* the generation that made the first team */
    unsigned none = 0;
    const unsigned own = clstm_i_forks();
    return !atomic_compare_exchange_strong(&first, &none, own) && none != own;
}

/* ---- Making threads ----

   The runtime ends the process if it can't make a thread. So the threads that a region will make are made here first,
   and end again: if the system refuses one, the region has fewer. Each calling thread has its own team in the
   runtime. */

static _Thread_local size_t made = 1; /* threads of the largest region of the calling thread, itself included */

static void *await_end(void *gate) {
    pthread_mutex_lock(gate);
    pthread_mutex_unlock(gate);
    return NULL;
}

static size_t can_make(size_t wanted) {
    pthread_t *threads = wanted > made ? malloc((wanted - made) * sizeof *threads) : NULL;
    if (!threads) return clstm_i_min(wanted, made);
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&gate);
    size_t n = 0;
    while (n < wanted - made && !pthread_create(&threads[n], NULL, await_end, &gate)) n++;
    pthread_mutex_unlock(&gate);
    for (size_t k = 0; k < n; k++) pthread_join(threads[k], NULL);
    free(threads);
    return made += n;
}

/* ---- Running ---- */

/* Thread 0 waits until every woken thread has a CPU: where threads share rows, it would otherwise leave its own only at
   the end of its rows. The wait costs nothing, because the woken thread finishes last. */
static void await_seated(atomic_size_t *seated, size_t others) {
    for (unsigned spins = 0; atomic_load_explicit(seated, memory_order_relaxed) < others; spins++)
        clstm_i_pause(spins, TUNE_SEAT_SPINS);
}

static void run(void *user, size_t wanted, void (*task)(void *, size_t, size_t), void *argument) {
    (void)user;
    if (forked() || omp_in_parallel() || atomic_flag_test_and_set(&busy)) {
        task(argument, 0, 1);
        return;
    }
    clstm_i_seats seats = {0};
    atomic_size_t seated = 0;
    clstm_i_take_seat(&seats);
    wanted = can_make(wanted);
#pragma omp parallel num_threads((int)wanted)
    {
        const size_t index = (size_t)omp_get_thread_num(), count = (size_t)omp_get_num_threads();
        if (index) {
            clstm_i_find_seat(&seats);
            atomic_fetch_add_explicit(&seated, 1, memory_order_relaxed);
        } else await_seated(&seated, count - 1);
        task(argument, index, count);
    }
    atomic_flag_clear(&busy);
}

clstm_team clstm_openmp_team(size_t threads) {
    const size_t most = 1024; /* more would only cost memory, and the runtime counts in int */
    if (!threads) threads = clstm_default_threads();
    if (forked()) threads = 1;
    return (clstm_team){sizeof(clstm_team), threads < most ? threads : most, run, NULL};
}

int clstm_has_openmp(void) { return 1; }

#else

clstm_team clstm_openmp_team(size_t threads) {
    (void)threads;
    return (clstm_team){sizeof(clstm_team), 1, NULL, NULL};
}

int clstm_has_openmp(void) { return 0; }

#endif
