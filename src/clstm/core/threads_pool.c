/* The pool: a team of the library's own threads, its helpers.

   A caller offers seats to the helpers, waits a moment for those that take one, closes the offer, and computes with
   them. So helpers are optional: one that could not be made, or that the system does not run, is not waited for. A
   helper without a seat touches no memory of the call. One caller at a time has the helpers; others compute alone.

   Between calls a helper polls for the next offer for a while (TUNE_POOL_SPIN), then sleeps. */
#define _GNU_SOURCE /* sched_getaffinity, pthread_setaffinity_np, pthread_setname_np */
#include "clstm.h"

#include "locks.h"
#include "range.h"
#include "seats.h"
#include "team.h"
#include "tuning.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <time.h>
#if defined(__linux__)
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

enum { MOST_HELPERS = 1023, STACK = 1 << 20 /* bytes; a task takes a tenth */ };

/* Each group of members that one side writes and the other polls has two cache lines of its own. */
static struct {
    _Alignas(128) atomic_ullong offer; /* call << 32 | seats offered << 16 | seats left */
    _Alignas(128) atomic_uint begun;   /* the last call whose helpers may begin */
    void (*task)(void *argument, size_t index, size_t count);
    void *argument;
    size_t count;
    _Alignas(128) atomic_uint finished; /* helpers that have returned from the task */
    _Alignas(128) atomic_uint bell;     /* changes when a call offers seats: what sleeping helpers wait for */
    atomic_uint sleepers;
    clstm_i_seats cpus;
    _Alignas(128) clstm_i_mutex busy; /* locked by the caller that has the helpers */
    unsigned calls, forks;            /* these and the following belong to that caller */
    size_t helpers;
    int64_t retry; /* when to try again to make a helper, ns */
    pthread_t threads[MOST_HELPERS];
#if defined(__linux__)
    cpu_set_t affinity; /* of the helpers */
#endif
    atomic_int closed; /* helpers are to end */
} pool;

static int64_t now(void) {
    struct timespec time;
    return clock_gettime(CLOCK_MONOTONIC, &time) ? 0 : (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* ---- Sleeping ---- */

#if defined(__linux__)
static void sleep_unless_rung(unsigned rung) {
    syscall(SYS_futex, &pool.bell, FUTEX_WAIT_PRIVATE, rung, NULL, NULL, 0);
}

static void wake(size_t helpers) { syscall(SYS_futex, &pool.bell, FUTEX_WAKE_PRIVATE, (int)helpers, NULL, NULL, 0); }
#else
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t rings = PTHREAD_COND_INITIALIZER;

static void sleep_unless_rung(unsigned rung) {
    pthread_mutex_lock(&lock);
    if (atomic_load(&pool.bell) == rung) pthread_cond_wait(&rings, &lock);
    pthread_mutex_unlock(&lock);
}

static void wake(size_t helpers) {
    (void)helpers;
    pthread_mutex_lock(&lock);
    pthread_cond_broadcast(&rings);
    pthread_mutex_unlock(&lock);
}
#endif

/* Wakes sleeping helpers. Either this sees the helper among the sleepers, or the helper sees the new value of the bell:
   both sides write one and then read the other. */
static void ring(size_t helpers) {
    atomic_fetch_add(&pool.bell, 1);
    if (atomic_load(&pool.sleepers)) wake(helpers);
}

/* ---- A helper ---- */

/* Takes a seat of the current offer: returns its index in the team and the call; or 0 if there is none. */
static size_t take_offer(unsigned *call) {
    unsigned long long offer = atomic_load_explicit(&pool.offer, memory_order_acquire);
    while (offer & 0xffff) {
        clstm_i_find_seat(&pool.cpus);
        if (!atomic_compare_exchange_strong(&pool.offer, &offer, offer - 1)) continue;
        *call = (unsigned)(offer >> 32);
        return (size_t)((offer >> 16 & 0xffff) - (offer & 0xffff) + 1);
    }
    return 0;
}

static void help(unsigned call, size_t index) {
    for (unsigned spins = 0; atomic_load_explicit(&pool.begun, memory_order_acquire) != call; spins++)
        clstm_i_pause(spins, TUNE_SEAT_SPINS);
    pool.task(pool.argument, index, pool.count);
    atomic_fetch_add_explicit(&pool.finished, 1, memory_order_release);
}

static void *run_helper(void *unused) {
    (void)unused;
    while (!atomic_load(&pool.closed)) {
        const unsigned rung = atomic_load(&pool.bell);
        unsigned call;
        size_t index = 0;
        const int64_t deadline = now() + TUNE_POOL_SPIN;
        for (unsigned spins = 1; !(index = take_offer(&call)); spins++) {
            if (spins % 64 == 0 && now() > deadline) break;
            clstm_i_pause(spins % 64 == 0, 1); /* now and then lets another thread have the CPU */
        }
        if (index) {
            help(call, index);
            continue;
        }
        atomic_fetch_add(&pool.sleepers, 1);
        sleep_unless_rung(rung);
        atomic_fetch_sub(&pool.sleepers, 1);
    }
    return NULL;
}

/* ---- Making helpers ---- */

/* A new helper handles no signals: the host's handlers run on the host's threads. */
static int make_helper(pthread_t *thread) {
    pthread_attr_t attributes;
    sigset_t all, before;
    if (pthread_attr_init(&attributes)) return 0;
    int made = !pthread_attr_setstacksize(&attributes, STACK);
    sigfillset(&all);
    made = made && !pthread_sigmask(SIG_SETMASK, &all, &before);
    if (made) {
        made = !pthread_create(thread, &attributes, run_helper, NULL);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    pthread_attr_destroy(&attributes);
#if defined(__linux__)
    if (made) pthread_setname_np(*thread, "clstm");
#endif
    return made;
}

/* Lets the helpers run where the calling thread may. */
static void share_affinity(void) {
#if defined(__linux__)
    cpu_set_t own;
    if (sched_getaffinity(0, sizeof own, &own) || CPU_EQUAL(&own, &pool.affinity)) return;
    for (size_t k = 0; k < pool.helpers; k++) pthread_setaffinity_np(pool.threads[k], sizeof own, &own);
    pool.affinity = own;
#endif
}

/* Returns how many helpers there are, at most `wanted`. If the system refuses one, the next try is a second later. */
static size_t get_helpers(size_t wanted) {
    if (pool.forks != clstm_i_forks()) { /* a child: its parent's helpers do not exist here */
        pool.forks = clstm_i_forks();
        pool.helpers = 0;
        pool.retry = 0;
        atomic_store(&pool.sleepers, 0);
        atomic_store(&pool.offer, 0); /* seats that a thread of the parent may have offered */
    }
    share_affinity();
    while (pool.helpers < wanted && pool.helpers < MOST_HELPERS) {
        if (pool.retry && now() < pool.retry) break;
        pool.retry = 0;
        if (make_helper(&pool.threads[pool.helpers])) pool.helpers++;
        else pool.retry = now() + 1000000000;
    }
    return clstm_i_min(pool.helpers, wanted);
}

/* ---- The caller ---- */

/* Offers seats, and returns how many were taken when all were, or after TUNE_POOL_WAIT. */
static size_t gather_helpers(size_t seats) {
    const unsigned long long call = (unsigned long long)++pool.calls << 32;
    for (size_t k = 0; k < CLSTM_I_SEATS / 64; k++) atomic_store_explicit(&pool.cpus.taken[k], 0, memory_order_relaxed);
    clstm_i_take_seat(&pool.cpus);
    atomic_store(&pool.offer, call | seats << 16 | seats);
    ring(seats);
    int64_t deadline = 0;
    for (unsigned spins = 1; atomic_load_explicit(&pool.offer, memory_order_relaxed) & 0xffff; spins++) {
        if (spins % 64 == 0 && !deadline) deadline = now() + TUNE_POOL_WAIT;
        else if (spins % 64 == 0 && now() > deadline) break;
        clstm_i_pause(spins, TUNE_SEAT_SPINS);
    }
    return seats - (atomic_exchange(&pool.offer, call) & 0xffff);
}

static void begin(size_t count, void (*task)(void *, size_t, size_t), void *argument) {
    pool.task = task;
    pool.argument = argument;
    pool.count = count;
    atomic_store_explicit(&pool.finished, 0, memory_order_relaxed);
    atomic_store_explicit(&pool.begun, pool.calls, memory_order_release);
}

/* Waits until the helpers have returned from the task. If the task forked, they do not exist in the child. */
static void await_helpers(size_t helpers) {
    for (unsigned spins = 0; atomic_load_explicit(&pool.finished, memory_order_acquire) < helpers; spins++) {
        if (clstm_i_forks() != pool.forks) return;
        clstm_i_pause(spins, TUNE_MEETING_SPINS);
    }
}

static void run(void *user, size_t wanted, void (*task)(void *, size_t, size_t), void *argument) {
    (void)user;
    if (!clstm_i_try_lock(&pool.busy)) {
        task(argument, 0, 1);
        return;
    }
    const size_t seats = get_helpers(wanted - 1), helpers = seats ? gather_helpers(seats) : 0;
    if (helpers) begin(helpers + 1, task, argument);
    task(argument, 0, helpers + 1);
    await_helpers(helpers);
    clstm_i_unlock(&pool.busy);
}

clstm_team clstm_pool_team(size_t threads) {
    if (!threads) threads = clstm_default_threads();
    return (clstm_team){sizeof(clstm_team), clstm_i_min(threads, MOST_HELPERS + 1), run, NULL};
}

/* When the library is unloaded, its code must have no helper inside; at the end of a process it makes no difference. */
__attribute__((destructor)) static void end_helpers(void) {
    if (!clstm_i_try_lock(&pool.busy) || pool.forks != clstm_i_forks()) return;
    atomic_store(&pool.closed, 1);
    ring(pool.helpers);
    for (size_t k = 0; k < pool.helpers; k++) pthread_join(pool.threads[k], NULL);
}
