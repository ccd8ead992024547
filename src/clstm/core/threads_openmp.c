/* The OpenMP team. This is the only file with a parallel region, so that a program with its own team links no OpenMP
   runtime: unloading a plug-in that has one crashes the host. */
#define _GNU_SOURCE /* sched_getcpu, sched_setaffinity */
#include "team.h"
#include "tuning.h"

#if defined(_OPENMP)
#include <omp.h>
#include <pthread.h>
#include <sched.h>

/* A forked child inherits a runtime whose threads do not exist: entering a region hangs. */
static atomic_int forked;
/* Concurrent regions would compete for the same cores. */
static atomic_flag busy = ATOMIC_FLAG_INIT;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void in_child(void) { atomic_store(&forked, 1); }
static void watch_forks(void) { pthread_atfork(NULL, NULL, in_child); }

/* ---- A CPU for each thread ----

   Linux may wake a thread on the CPU of the thread that wakes it, and leaves both there for tens of milliseconds while
   another CPU idles: a step of H = 512 on two threads took 150 to 250 us instead of 65. So a thread that finds its CPU
   taken pins itself to a free one for a moment; its affinity is the same afterwards. Thread 0 waits for that: where
   threads share rows, it would otherwise leave its CPU only at the end of its rows. The wait costs nothing, because the
   woken thread finishes last. */

#if defined(__linux__)
typedef struct seats {
    atomic_ullong taken[CPU_SETSIZE / 64];
    atomic_int seated;
} seats;

static int is_taken(const seats *seats, int cpu) {
    return (int)(atomic_load_explicit(&seats->taken[cpu / 64], memory_order_relaxed) >> (cpu % 64) & 1);
}

/* Marks this thread's CPU as taken, and returns whether it was free. */
static int take_seat(seats *seats) {
    const int cpu = sched_getcpu();
    if (cpu < 0 || cpu >= CPU_SETSIZE) return 1;
    const unsigned long long bit = 1ULL << (cpu % 64);
    return !(atomic_fetch_or_explicit(&seats->taken[cpu / 64], bit, memory_order_relaxed) & bit);
}

static void change_seat(seats *seats) {
    cpu_set_t own, others;
    if (sched_getaffinity(0, sizeof own, &own)) return;
    CPU_ZERO(&others);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &own) && !is_taken(seats, cpu)) CPU_SET(cpu, &others);
    if (!CPU_COUNT(&others) || sched_setaffinity(0, sizeof others, &others)) return;
    sched_setaffinity(0, sizeof own, &own);
    take_seat(seats);
}

static void find_seat(seats *seats) {
    if (!take_seat(seats)) change_seat(seats);
    atomic_fetch_add_explicit(&seats->seated, 1, memory_order_relaxed);
}

static void await_seated(seats *seats, int others) {
    for (unsigned spins = 0; atomic_load_explicit(&seats->seated, memory_order_relaxed) < others; spins++)
        clstm_i_pause(spins, TUNE_SEAT_SPINS);
}
#else
typedef int seats;
static int take_seat(seats *seats) { return (void)seats, 1; }
static void find_seat(seats *seats) { (void)seats; }
static void await_seated(seats *seats, int others) { (void)seats, (void)others; }
#endif

static void run(void *user, size_t wanted, void (*task)(void *, size_t, size_t), void *argument) {
    (void)user;
    if (atomic_load(&forked) || omp_in_parallel() || atomic_flag_test_and_set(&busy)) {
        task(argument, 0, 1);
        return;
    }
    seats seats = {0};
    take_seat(&seats);
#pragma omp parallel num_threads((int)wanted)
    {
        if (omp_get_thread_num()) find_seat(&seats);
        else await_seated(&seats, omp_get_num_threads() - 1);
        task(argument, (size_t)omp_get_thread_num(), (size_t)omp_get_num_threads());
    }
    atomic_flag_clear(&busy);
}

clstm_team clstm_openmp_team(size_t threads) {
    pthread_once(&once, watch_forks);
    const size_t most = 1024; /* more would only cost memory, and the runtime counts in int */
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
