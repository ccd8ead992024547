/* The pool: a team of the library's own threads, its helpers.

   A caller offers seats to the helpers. Either it begins at once, and a helper that takes a seat joins it until the
   offer is closed at the end; or it waits a moment, closes the offer, and begins together with those that came. So
   helpers are optional: one that could not be made, or that the system does not run, is not waited for. A helper
   without a seat touches no memory of the call. One caller at a time has the helpers; others compute alone.

   Between calls a helper polls for the next offer for a while (TUNE_POOL_SPIN), then sleeps.

   On a busy machine a thread loses its CPU in the middle of its work, for the 4 ms of a scheduler's slice. A caller
   that waits for it has nothing else to do, so it lends its own CPU: the helper finishes there what it has begun, and
   leaves the call (clstm_i_pool_pause). Then the caller computes alone for a while (TUNE_POOL_PAUSE), unless the work
   is such that nobody waits for a helper. */
#define _GNU_SOURCE /* pthread_setname_np */
#include "clstm.h"

#include "cpus.h"
#include "locks.h"
#include "range.h"
#include "seats.h"
#include "team.h"
#include "trace.h"
#include "tuning.h"
#include "waiting.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>

enum { MOST_HELPERS = 1023, STACK = 1 << 20 /* bytes; a task takes a tenth */ };

/* Each group of members that one side writes and the other polls has two cache lines of its own. */
static struct {
    _Alignas(128) atomic_ullong offer; /* call << 32 | seats offered << 16 | seats left */
    _Alignas(128) atomic_uint begun;   /* the last call whose helpers may begin */
    void (*task)(void *argument, size_t index, size_t count);
    void *argument;
    size_t count;
    pthread_t caller;
    clstm_i_counter ping, pong;         /* of the caller and the first helper, to measure the handover */
    atomic_size_t handover;             /* ns; 0: not measured yet */
    _Alignas(128) atomic_uint finished; /* helpers that have returned from the task */
    _Alignas(128) atomic_uint bell;     /* changes when a call offers seats: what sleeping helpers wait for */
    atomic_uint sleepers;
    clstm_i_seats cpus;
    _Alignas(128) atomic_ullong callers; /* generation << 32 | calls that want helpers */
    _Alignas(128) clstm_i_mutex busy;    /* locked by the caller that has the helpers */
    unsigned calls, forks;               /* these and the following belong to that caller */
    size_t helpers;                      /* made */
    int64_t retry;                       /* when to try again to make a helper, ns */
    int64_t measured;                    /* when the handover was, ns */
    int64_t pause, resume, well;         /* ns: how long and until when it computes alone; of good work since */
    atomic_int late;                     /* a thread lost its CPU in this run */
    atomic_int is_busy;                  /* `pause` is not 0, for all threads to read */
    pthread_t threads[MOST_HELPERS];
    atomic_int closed; /* helpers are to end */
} pool;

/* What a run's caller and the helper at an index tell each other. */
static struct seat {
    _Alignas(128) atomic_size_t helper; /* its number in pool.threads, plus 1; 0: the seat is free */
    atomic_int leaves;                  /* it is to take no further work */
    atomic_int is_lent;                 /* it has the caller's CPU */
} seats[MOST_HELPERS + 1];

/* Wakes sleeping helpers. Either this sees the helper among the sleepers, or the helper sees the new value of the bell:
   both sides write one and then read the other. */
static void ring(size_t helpers) {
    atomic_fetch_add(&pool.bell, 1);
    if (atomic_load(&pool.sleepers)) clstm_i_wake(&pool.bell, helpers);
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

/* Runs the task. Returns whether the caller waits for this thread's CPU. */
static int help(unsigned call, size_t index, size_t helper) {
    struct seat *seat = &seats[index];
    atomic_store_explicit(&seat->helper, helper + 1, memory_order_release);
    size_t answered = atomic_load_explicit(&pool.pong.value, memory_order_relaxed);
    for (unsigned spins = 0; atomic_load_explicit(&pool.begun, memory_order_acquire) != call; spins++) {
        const size_t ping = atomic_load_explicit(&pool.ping.value, memory_order_relaxed);
        if (index == 1 && ping != answered) clstm_i_publish(&pool.pong, answered = ping);
        else clstm_i_pause(spins, TUNE_MEETING_SPINS);
    }
    pool.task(pool.argument, index, pool.count);
    atomic_store_explicit(&seat->helper, 0, memory_order_relaxed);
    atomic_fetch_add(&pool.finished, 1);
    if (!atomic_load(&seat->is_lent)) return 0;
    clstm_i_wake(&pool.finished, 1);
    return 1;
}

/* Polls for an offer for TUNE_POOL_SPIN, or until another thread has had the CPU: then *quiet is when to poll again. A
   helper that sleeps is woken within some 20 us, even if its CPU is in use; one that polls waits for its turn there. */
static size_t poll_for_offer(unsigned *call, int64_t *quiet) {
    const int64_t begin = clstm_i_now();
    int64_t before = begin;
    if (begin < *quiet) return take_offer(call);
    for (unsigned spins = 1;; spins++) {
        const size_t index = take_offer(call);
        if (index) return index;
        if (spins % 64) {
            clstm_i_pause(0, 1);
            continue;
        }
        clstm_i_pause(1, 0); /* lets another thread have the CPU */
        const int64_t time = clstm_i_now();
        if (time - before > TUNE_POOL_LOST) *quiet = time + TUNE_POOL_LONGEST_PAUSE;
        if (time - begin > TUNE_POOL_SPIN || time < *quiet) return 0;
        before = time;
    }
}

static void *run_helper(void *number) {
    const size_t helper = (size_t)number;
    int64_t quiet = 0;
    clstm_i_ask_for_short_slices();
    while (!atomic_load(&pool.closed)) {
        const unsigned rung = atomic_load(&pool.bell);
        unsigned call;
        const size_t index = poll_for_offer(&call, &quiet);
        if (index) {
            if (help(call, index, helper)) quiet = clstm_i_now() + TUNE_POOL_LONGEST_PAUSE;
            continue;
        }
        atomic_fetch_add(&pool.sleepers, 1);
        clstm_i_sleep_while(&pool.bell, rung, 0);
        atomic_fetch_sub(&pool.sleepers, 1);
    }
    return NULL;
}

/* ---- Making helpers ---- */

/* A new helper handles no signals: the host's handlers run on the host's threads. */
static int make_helper(size_t number) {
    pthread_t *thread = &pool.threads[number];
    pthread_attr_t attributes;
    sigset_t all, before;
    if (pthread_attr_init(&attributes)) return 0;
    int made = !pthread_attr_setstacksize(&attributes, STACK);
    sigfillset(&all);
    made = made && !pthread_sigmask(SIG_SETMASK, &all, &before);
    if (made) {
        made = !pthread_create(thread, &attributes, run_helper, (void *)number);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    pthread_attr_destroy(&attributes);
#if defined(__linux__)
    if (made) pthread_setname_np(*thread, "clstm");
#endif
    return made;
}

/* A child has none of its parent's helpers. */
static void begin_anew_in_child(void) {
    if (pool.forks == clstm_i_forks()) return;
    pool.forks = clstm_i_forks();
    for (size_t k = 1; k <= pool.helpers; k++) atomic_store_explicit(&seats[k].helper, 0, memory_order_relaxed);
    pool.helpers = 0;
    pool.retry = pool.pause = pool.resume = 0;
    atomic_store_explicit(&pool.is_busy, 0, memory_order_relaxed);
    atomic_store(&pool.sleepers, 0);
    atomic_store(&pool.offer, 0); /* seats that a thread of the parent may have offered */
}

/* Returns how many helpers there are, at most `wanted`. If the system refuses one, the next try is a second later. */
static size_t get_helpers(size_t wanted) {
    while (pool.helpers < wanted && pool.helpers < MOST_HELPERS) {
        if (pool.retry && clstm_i_now() < pool.retry) break;
        pool.retry = 0;
        if (make_helper(pool.helpers)) clstm_i_join_cpus(pool.threads[pool.helpers++]);
        else pool.retry = clstm_i_now() + 1000000000;
    }
    return clstm_i_min(pool.helpers, wanted);
}

/* ---- Several callers share the CPUs ---- */

/* Counts a call that begins (1) or ends (-1), and returns how many others there are. A child begins from 0. */
static size_t count_callers(int change) {
    const unsigned long long generation = (unsigned long long)clstm_i_forks() << 32;
    unsigned long long word = atomic_load_explicit(&pool.callers, memory_order_relaxed), others, next;
    do {
        others = word >> 32 == generation >> 32 ? word & 0xffffffff : 0;
        if (change < 0 && others) others--;
        next = generation | (others + (change > 0));
    } while (!atomic_compare_exchange_weak(&pool.callers, &word, next));
    return (size_t)others;
}

/* If there are fewer CPUs than threads at work, asks the helpers of the caller that has them to leave it. */
static void dismiss_helpers(size_t callers) {
    const size_t offered = atomic_load_explicit(&pool.offer, memory_order_relaxed) >> 16 & 0xffff;
    size_t seated = 0;
    while (seated < MOST_HELPERS && atomic_load_explicit(&seats[seated + 1].helper, memory_order_relaxed)) seated++;
    seated = clstm_i_max(seated, offered);
    if (callers + seated <= clstm_default_threads()) return;
    for (size_t k = 1; k <= seated; k++) atomic_store_explicit(&seats[k].leaves, 1, memory_order_relaxed);
}

/* ---- Threads that lose their CPU ---- */

static void end_loans(size_t taken) {
    int lent = 0;
    for (size_t k = 1; k <= taken; k++) lent |= atomic_load_explicit(&seats[k].is_lent, memory_order_relaxed);
    /* Whose seat it was is not known any more. */
    for (size_t k = 0; lent && k < pool.helpers; k++) clstm_i_join_cpus(pool.threads[k]);
}

/* Looks for a helper without a CPU; lends it the caller's, and sleeps until a helper has finished. */
static void help_helpers(void) {
    for (size_t k = 1; k < pool.count && pool.forks == clstm_i_forks(); k++) {
        const size_t helper = atomic_load_explicit(&seats[k].helper, memory_order_acquire);
        if (!helper || !clstm_i_has_no_cpu(pool.threads[helper - 1])) continue;
        atomic_store_explicit(&seats[k].leaves, 1, memory_order_relaxed);
        atomic_store(&seats[k].is_lent, 1);
        atomic_store_explicit(&pool.late, 1, memory_order_relaxed);
        const unsigned finished = atomic_load(&pool.finished);
        if (clstm_i_lend_cpu(pool.threads[helper - 1])) clstm_i_sleep_while(&pool.finished, finished, TUNE_POOL_WAIT);
        return;
    }
    clstm_i_pause(1, 0);
}

/* A helper that waits for a caller without a CPU sleeps, so that the system moves the caller to this one; and leaves
   at the next opportunity. */
void clstm_i_pool_pause(size_t index) {
    if (!index) help_helpers();
    else if (clstm_i_has_no_cpu(pool.caller)) {
        atomic_store_explicit(&seats[index].leaves, 1, memory_order_relaxed);
        atomic_store_explicit(&pool.late, 1, memory_order_relaxed);
        clstm_i_sleep(TUNE_POOL_NAP);
    } else clstm_i_pause(1, 0);
}

int clstm_i_pool_leaves(size_t index) { return atomic_load_explicit(&seats[index].leaves, memory_order_relaxed); }

/* After a run in which a thread lost its CPU, the caller computes alone for a while, twice as long each time. When work
   together has gone well for longer than a scheduler's slice, the machine is quiet again. */
static void judge(int late, int64_t begin) {
    if (late) {
        pool.pause = pool.pause ? clstm_i_min((size_t)(2 * pool.pause), TUNE_POOL_LONGEST_PAUSE) : TUNE_POOL_PAUSE;
        pool.resume = clstm_i_now() + pool.pause;
        if (clstm_i_traces()) clstm_i_trace_late(1e-9 * (double)pool.pause);
        pool.well = 0;
    } else if (pool.pause && (pool.well += clstm_i_now() - begin) > TUNE_POOL_WELL) pool.pause = 0;
    atomic_store_explicit(&pool.is_busy, pool.pause != 0, memory_order_relaxed);
}

int clstm_i_pool_is_busy(void) { return atomic_load_explicit(&pool.is_busy, memory_order_relaxed); }

/* ---- The caller ---- */

static void open_offer(size_t free_seats) {
    for (size_t k = 0; k < CLSTM_I_SEATS / 64; k++) atomic_store_explicit(&pool.cpus.taken[k], 0, memory_order_relaxed);
    clstm_i_take_seat(&pool.cpus);
    for (size_t k = 1; k <= free_seats; k++) {
        atomic_store_explicit(&seats[k].leaves, 0, memory_order_relaxed);
        atomic_store_explicit(&seats[k].is_lent, 0, memory_order_relaxed);
    }
    atomic_store(&pool.offer, (unsigned long long)pool.calls << 32 | free_seats << 16 | free_seats);
    ring(free_seats);
}

/* Returns how many seats were taken. */
static size_t close_offer(size_t free_seats) {
    return free_seats - (atomic_exchange(&pool.offer, (unsigned long long)pool.calls << 32) & 0xffff);
}

/* Waits until all seats are taken, or for TUNE_POOL_WAIT. */
static void await_offer(void) {
    int64_t deadline = 0;
    for (unsigned spins = 1; atomic_load_explicit(&pool.offer, memory_order_relaxed) & 0xffff; spins++) {
        if (spins % 64 == 0 && !deadline) deadline = clstm_i_now() + TUNE_POOL_WAIT;
        else if (spins % 64 == 0 && clstm_i_now() > deadline) break;
        clstm_i_pause(spins, TUNE_SEAT_SPINS);
    }
}

/* Waits until the helpers have returned from the task. If the task forked, they do not exist in the child. */
static void await_helpers(size_t taken) {
    for (unsigned spins = 0; atomic_load_explicit(&pool.finished, memory_order_acquire) < taken; spins++) {
        if (clstm_i_forks() != pool.forks) return;
        if (spins < TUNE_MEETING_SPINS) clstm_i_pause(spins, TUNE_MEETING_SPINS);
        else help_helpers();
    }
}

static void describe(size_t count, clstm_i_task *task, void *argument) {
    pool.task = task;
    pool.argument = argument;
    pool.count = count;
    pool.caller = pthread_self();
    atomic_store_explicit(&pool.finished, 0, memory_order_relaxed);
    atomic_store_explicit(&pool.late, 0, memory_order_relaxed);
}

static void begin(void) { atomic_store_explicit(&pool.begun, pool.calls, memory_order_release); }

/* With helpers that come and go. */
static void run_freely(size_t helpers, clstm_i_task *task, void *argument) {
    describe(helpers + 1, task, argument);
    begin();
    open_offer(helpers);
    task(argument, 0, helpers + 1);
    const size_t taken = close_offer(helpers);
    await_helpers(taken);
    end_loans(taken);
}

/* Measures the handover, ten times a second: half of the time until the first helper has answered. */
static void measure_handover(void) {
    const int64_t begin = clstm_i_coarse_now();
    if (begin - pool.measured < TUNE_POOL_MEASURE) return;
    pool.measured = begin;
    int64_t best = INT64_MAX;
    for (unsigned k = 0; k < TUNE_POOL_PINGS; k++) {
        const size_t ping = atomic_load_explicit(&pool.ping.value, memory_order_relaxed) + 1;
        const int64_t sent = clstm_i_now();
        clstm_i_publish(&pool.ping, ping);
        for (unsigned spins = 0; atomic_load_explicit(&pool.pong.value, memory_order_acquire) != ping; spins++) {
            if (spins > TUNE_MEETING_SPINS) return; /* it has no CPU */
            clstm_i_pause(0, 1);
        }
        best = clstm_i_min((size_t)best, (size_t)(clstm_i_now() - sent));
    }
    atomic_store_explicit(&pool.handover, (size_t)best / 2 + 1, memory_order_relaxed);
}

double clstm_i_pool_handover(void) {
    const size_t handover = atomic_load_explicit(&pool.handover, memory_order_relaxed);
    return handover ? (double)handover : TUNE_HANDOVER;
}

/* With the helpers that come at once. */
static void run_together(size_t helpers, clstm_i_task *task, void *argument) {
    open_offer(helpers);
    await_offer();
    const size_t taken = close_offer(helpers);
    describe(taken + 1, task, argument);
    if (taken) measure_handover();
    if (taken < helpers) atomic_store_explicit(&pool.late, 1, memory_order_relaxed);
    begin();
    task(argument, 0, taken + 1);
    await_helpers(taken);
    end_loans(taken);
}

/* How many helpers the caller may have. */
static size_t helpers_for(clstm_i_gathering gathering, size_t most, size_t others) {
    begin_anew_in_child();
    const size_t cpus = clstm_i_share_cpus(pool.threads, pool.helpers);
    if (gathering == CLSTM_I_TOGETHER && pool.pause && clstm_i_now() < pool.resume) return 0;
    size_t wanted = most - 1;
    if (others) wanted = cpus > others + 1 ? clstm_i_min(wanted, cpus - others - 1) : 0;
    return get_helpers(wanted);
}

void clstm_i_pool_start(clstm_i_gathering gathering, size_t most, clstm_i_task *task, void *argument) {
    const size_t others = count_callers(1);
    if (!clstm_i_try_lock(&pool.busy)) {
        dismiss_helpers(others + 1);
        task(argument, 0, 1);
        count_callers(-1);
        return;
    }
    const size_t helpers = helpers_for(gathering, most, others);
    const int64_t start = pool.pause ? clstm_i_now() : 0;
    pool.calls++;
    if (!helpers) task(argument, 0, 1);
    else if (gathering == CLSTM_I_FREELY) run_freely(helpers, task, argument);
    else run_together(helpers, task, argument);
    if (helpers) judge(atomic_load_explicit(&pool.late, memory_order_relaxed), start);
    clstm_i_unlock(&pool.busy);
    count_callers(-1);
}

void clstm_i_pool_run(void *user, size_t most, clstm_i_task *task, void *argument) {
    (void)user;
    clstm_i_pool_start(CLSTM_I_TOGETHER, most, task, argument);
}

clstm_team clstm_pool_team(size_t threads) {
    if (!threads) threads = clstm_default_threads();
    return (clstm_team){sizeof(clstm_team), clstm_i_min(threads, MOST_HELPERS + 1), clstm_i_pool_run, NULL};
}

/* When the library is unloaded, its code must have no helper inside; at the end of a process it makes no difference. */
__attribute__((destructor)) static void end_helpers(void) {
    if (!clstm_i_try_lock(&pool.busy) || pool.forks != clstm_i_forks()) return;
    atomic_store(&pool.closed, 1);
    ring(pool.helpers);
    for (size_t k = 0; k < pool.helpers; k++) pthread_join(pool.threads[k], NULL);
}
