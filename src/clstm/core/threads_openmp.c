/* The OpenMP team: the only file with a parallel region, so that a program which brings its own team links no OpenMP
   runtime (one in a plug-in that is unloaded crashes the host). */
#include "internal.h"

#if defined(_OPENMP)
#include <omp.h>
#include <pthread.h>

/* A forked child inherits a runtime whose threads do not exist: entering a region hangs. */
static atomic_int forked;
/* Regions side by side would compete for the same cores. */
static atomic_flag busy = ATOMIC_FLAG_INIT;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void in_child(void) { atomic_store(&forked, 1); }
static void watch_forks(void) { pthread_atfork(NULL, NULL, in_child); }

static void run(void *user, size_t wanted, void (*task)(void *, size_t, size_t), void *argument) {
    (void)user;
    if (atomic_load(&forked) || omp_in_parallel() || atomic_flag_test_and_set(&busy)) {
        task(argument, 0, 1);
        return;
    }
#pragma omp parallel num_threads((int)wanted)
    task(argument, (size_t)omp_get_thread_num(), (size_t)omp_get_num_threads());
    atomic_flag_clear(&busy);
}

clstm_team clstm_openmp_team(size_t threads) {
    pthread_once(&once, watch_forks);
    const size_t most = 1024; /* more only cost memory; and the runtime counts in int */
    if (!threads) threads = clstm_default_threads();
    if (atomic_load(&forked)) threads = 1;
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
