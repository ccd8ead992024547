/* A call's team: tasks, barriers, the floating-point environment, cancellation; and how many threads this process may
   use. */
#define _GNU_SOURCE /* sched_getaffinity */
#include "forks.h"
#include "fp_environment.h"
#include "team.h"
#include "tuning.h"
#include "waiting.h"

#include <stdio.h>
#include <stdlib.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>
#if defined(__x86_64__) || defined(__i386__)
#include <xmmintrin.h>
#endif

/* ---- Running a task ---- */

typedef struct flushed_task {
    clstm_i_task *task;
    void *argument;
} flushed_task;

static void run_flushed(void *argument, size_t index, size_t count) {
    const flushed_task *flushed = argument;
    const clstm_i_environment before = clstm_i_enter();
    flushed->task(flushed->argument, index, count);
    clstm_i_leave(before);
}

static int is_pool(const clstm_i_call *call) { return call->context->team.run == clstm_i_pool_run; }

static void start(const clstm_i_call *call, clstm_i_gathering gathering, size_t most, clstm_i_task *task,
                  void *argument) {
    const clstm_team *team = &call->context->team;
    flushed_task flushed = {task, argument};
    clstm_i_assert(most > 0);
    if (most > team->threads) most = team->threads;
    if (most < 2 || !team->run) run_flushed(&flushed, 0, 1);
    else if (is_pool(call)) clstm_i_pool_start(gathering, most, run_flushed, &flushed);
    else team->run(team->user, most, run_flushed, &flushed);
}

void clstm_i_run_freely(clstm_i_call *call, size_t count, clstm_i_task *task, void *argument) {
    start(call, CLSTM_I_FREELY, count, task, argument);
}

void clstm_i_run_together(clstm_i_call *call, size_t most, clstm_i_task *task, void *argument) {
    start(call, CLSTM_I_TOGETHER, most, task, argument);
}

/* A task whose indices are taken in turn. */
typedef struct taken_task {
    clstm_i_call *call;
    clstm_i_task *task;
    void *argument;
    size_t count;
    atomic_size_t next;
} taken_task;

/* The caller's thread begins with index 0, others with the next that is free. */
static void take_indices(void *argument, size_t thread, size_t threads) {
    taken_task *taken = argument;
    (void)threads;
    size_t index = thread ? atomic_fetch_add(&taken->next, 1) : 0;
    while (index < taken->count) {
        if (!thread) atomic_store_explicit(&taken->call->polls, index, memory_order_relaxed);
        taken->task(taken->argument, index, taken->count);
        if (clstm_i_leaves(taken->call, thread)) return;
        index = atomic_fetch_add(&taken->next, 1);
    }
    if (!thread) atomic_store_explicit(&taken->call->polls, 0, memory_order_relaxed);
}

void clstm_i_run(clstm_i_call *call, size_t count, clstm_i_task *task, void *argument) {
    taken_task taken = {call, task, argument, count, 1};
    start(call, CLSTM_I_FREELY, count, take_indices, &taken);
}

int clstm_i_is_busy(const clstm_i_call *call) { return is_pool(call) && clstm_i_pool_is_busy(); }

int clstm_i_leaves(const clstm_i_call *call, size_t index) {
    return index && is_pool(call) && clstm_i_pool_leaves(index);
}

/* ---- Waiting for each other ---- */

void clstm_i_pause(unsigned spins, unsigned patience) {
    if (spins >= patience) {
        sched_yield();
        return;
    }
#if defined(__x86_64__) || defined(__i386__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* CLSTM_HANDOVER, for tests: nanoseconds by which everything published is late, as between CPUs that share no cache. */
static int64_t lateness;

__attribute__((constructor)) static void read_lateness(void) {
    const char *text = getenv("CLSTM_HANDOVER");
    lateness = text ? (int64_t)strtoul(text, NULL, 10) : 0;
}

void clstm_i_publish(clstm_i_counter *counter, size_t value) {
    if (lateness)
        for (const int64_t begin = clstm_i_now(); clstm_i_now() - begin < lateness;) continue;
    atomic_store_explicit(&counter->value, value, memory_order_release);
}

void clstm_i_await(const clstm_i_call *call, size_t index, const clstm_i_counter *counter, size_t value) {
    for (unsigned spins = 0; atomic_load_explicit(&counter->value, memory_order_acquire) < value; spins++) {
        if (clstm_i_cancelled(call)) return;
        if (spins >= TUNE_MEETING_SPINS && is_pool(call)) clstm_i_pool_pause(index);
        else clstm_i_pause(spins, TUNE_MEETING_SPINS);
    }
}

double clstm_i_handover(const clstm_i_call *call) {
    return is_pool(call) ? clstm_i_pool_handover() : TUNE_HANDOVER;
}

/* Whoever reads a counter later than others may already see the next meeting in it: the number of the meeting says
   whether its thread left there. Place 0 stays to the end. */
void clstm_i_meet(const clstm_i_call *call, clstm_i_subteam *team) {
    clstm_i_assert(team->place < team->places && team->index <= team->count);
    if (team->count < 2) return;
    clstm_i_counter *own = &team->counters[team->place];
    const size_t meeting = atomic_load_explicit(&own->value, memory_order_relaxed) / 2 + 1;
    const int leaves = !team->fixed && team->place && clstm_i_leaves(call, team->thread);
    clstm_i_publish(own, 2 * meeting + (size_t)leaves);
    team->index = team->count = 0;
    for (size_t place = 0; place < team->places && !leaves; place++) {
        const clstm_i_counter *other = &team->counters[place];
        size_t value = atomic_load_explicit(&other->value, memory_order_acquire);
        if (value < 2 * meeting && value % 2 == 0) {
            clstm_i_await(call, team->thread, other, 2 * meeting);
            value = atomic_load_explicit(&other->value, memory_order_acquire);
        }
        if (value % 2 && value / 2 <= meeting) continue;
        if (place < team->place) team->index++;
        team->count++;
    }
}

/* ---- Cancellation ---- */

void clstm_i_poll(clstm_i_call *call, size_t index, double work) {
    if (index != atomic_load_explicit(&call->polls, memory_order_relaxed)) return;
    const clstm_context *context = call->context;
    call->work += work;
    if (call->work < TUNE_POLL_WORK || !context->cancelled) return;
    call->work = 0;
    const unsigned forks = clstm_i_forks();
    const int cancel = context->cancelled(context->user);
    /* If the host forked, this may be the child, which lacks the other threads of the team. */
    if (cancel || clstm_i_forks() != forks) atomic_store_explicit(&call->cancelled, 1, memory_order_relaxed);
}

/* ---- How many threads this process may use ---- */

static size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* The CPUs that the calling thread may run on now. */
static size_t affinity(void) {
#if defined(__linux__)
    cpu_set_t few; /* enough for most machines, without an allocation */
    if (!sched_getaffinity(0, sizeof few, &few)) {
        const int count = CPU_COUNT(&few);
        if (count > 0) return (size_t)count;
    }
    for (int cpus = 4 * CPU_SETSIZE; cpus <= 1 << 20; cpus *= 4) {
        cpu_set_t *set = CPU_ALLOC(cpus);
        if (!set) break;
        const size_t bytes = CPU_ALLOC_SIZE(cpus);
        const int failed = sched_getaffinity(0, bytes, set);
        const int count = failed ? 0 : CPU_COUNT_S(bytes, set);
        CPU_FREE(set);
        if (count > 0) return (size_t)count;
    }
#endif
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (size_t)online : 1;
}

/* The CPUs that the control group allows, rounded up; SIZE_MAX without a limit. */
static size_t cgroup_quota(void) {
    double quota = 0, period = 0;
    FILE *file = fopen("/sys/fs/cgroup/cpu.max", "r"); /* version 2: "max 100000" or "200000 100000" */
    if (file) {
        if (fscanf(file, "%lf %lf", &quota, &period) != 2) quota = 0;
        fclose(file);
    } else {
        static const char *const paths[] = {"/sys/fs/cgroup/cpu/cpu.cfs_quota_us",
                                            "/sys/fs/cgroup/cpu/cpu.cfs_period_us"};
        double *const values[] = {&quota, &period};
        for (int k = 0; k < 2; k++) {
            if (!(file = fopen(paths[k], "r"))) return SIZE_MAX;
            if (fscanf(file, "%lf", values[k]) != 1) *values[k] = 0;
            fclose(file);
        }
    }
    if (!(quota > 0 && period > 0)) return SIZE_MAX;
    const size_t cpus = (size_t)(quota / period + 0.999);
    return cpus ? cpus : 1;
}

/* The quota, whose files are read at most once a second. */
static size_t recent_quota(void) {
    static atomic_size_t quota;
    static atomic_llong second; /* of the last reading, plus 1; 0: none yet */
    struct timespec now;
    if (clock_gettime(CLOCK_MONOTONIC, &now)) return cgroup_quota();
    if (atomic_load_explicit(&second, memory_order_acquire) == (long long)now.tv_sec + 1)
        return atomic_load_explicit(&quota, memory_order_relaxed);
    const size_t found = cgroup_quota();
    atomic_store_explicit(&quota, found, memory_order_relaxed);
    atomic_store_explicit(&second, (long long)now.tv_sec + 1, memory_order_release);
    return found;
}

/* OMP_NUM_THREADS at the first call, as OpenMP runtimes read it: another thread may change the environment later.
   SIZE_MAX without one. */
static size_t omp_num_threads(void) {
    static atomic_size_t known; /* 0: not read yet */
    size_t wish = atomic_load_explicit(&known, memory_order_relaxed);
    if (wish) return wish;
    const char *text = getenv("OMP_NUM_THREADS");
    const unsigned long number = text ? strtoul(text, NULL, 10) : 0; /* "4,2": the outermost level */
    wish = number > 0 ? number : SIZE_MAX;
    atomic_store_explicit(&known, wish, memory_order_relaxed);
    return wish;
}

size_t clstm_default_threads(void) {
    const size_t threads = least(least(affinity(), recent_quota()), omp_num_threads());
    return threads ? threads : 1;
}
