/* The CPUs of threads. */
#define _GNU_SOURCE /* sched_getaffinity, sched_getcpu, pthread_setaffinity_np */
#include "clstm.h"

#include "cpus.h"
#include "tuning.h"
#include "waiting.h"

#include <time.h>
#if defined(__linux__)
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static cpu_set_t shared; /* what clstm_i_share_cpus allowed last; empty: it could not tell */

static int own_cpu(void) {
    const int cpu = sched_getcpu();
    return cpu < CPU_SETSIZE ? cpu : -1;
}

size_t clstm_i_share_cpus(const pthread_t *threads, size_t count) {
    cpu_set_t cpus;
    if (sched_getaffinity(0, sizeof cpus, &cpus)) return SIZE_MAX;
    const size_t usable = (size_t)CPU_COUNT(&cpus);
    const int own = own_cpu();
    if (own >= 0 && usable > 1) CPU_CLR(own, &cpus);
    if (CPU_EQUAL(&cpus, &shared)) return usable;
    shared = cpus;
    for (size_t k = 0; k < count; k++) clstm_i_join_cpus(threads[k]);
    return usable;
}

void clstm_i_join_cpus(pthread_t thread) {
    if (CPU_COUNT(&shared)) pthread_setaffinity_np(thread, sizeof shared, &shared);
}

int clstm_i_lend_cpu(pthread_t thread) {
    cpu_set_t cpus;
    const int own = own_cpu();
    if (own < 0 || !CPU_COUNT(&shared)) return 0;
    CPU_ZERO(&cpus);
    CPU_SET(own, &cpus);
    return !pthread_setaffinity_np(thread, sizeof cpus, &cpus);
}

static int64_t cpu_time(clockid_t clock) {
    struct timespec time;
    return clock_gettime(clock, &time) ? 0 : (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* Some systems count CPU time by ticks: there the calling thread's stands still, too. */
int clstm_i_has_no_cpu(pthread_t thread) {
    clockid_t clock;
    if (pthread_getcpuclockid(thread, &clock)) return 0;
    const int64_t begin = clstm_i_now(), own = cpu_time(CLOCK_THREAD_CPUTIME_ID), other = cpu_time(clock);
    while (clstm_i_now() - begin < TUNE_POOL_SAMPLE) continue;
    const int64_t ran = cpu_time(clock) - other, own_ran = cpu_time(CLOCK_THREAD_CPUTIME_ID) - own;
    return other && 4 * ran < own_ran && 2 * own_ran > TUNE_POOL_SAMPLE;
}

/* Policy and nice value stay as they are. glibc has no function for this system call before 2.41. */
void clstm_i_ask_for_short_slices(void) {
#if defined(SYS_sched_setattr)
    enum { KEEP_POLICY = 8 };
    const struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } wish = {.size = 48, .flags = KEEP_POLICY, .nice = getpriority(PRIO_PROCESS, 0), .runtime = TUNE_POOL_SLICE};
    syscall(SYS_sched_setattr, 0, &wish, 0);
#endif
}

#else
size_t clstm_i_share_cpus(const pthread_t *threads, size_t count) {
    (void)threads, (void)count;
    return clstm_default_threads();
}
void clstm_i_join_cpus(pthread_t thread) { (void)thread; }
int clstm_i_lend_cpu(pthread_t thread) { return (void)thread, 0; }
int clstm_i_has_no_cpu(pthread_t thread) { return (void)thread, 0; }
void clstm_i_ask_for_short_slices(void) {}
#endif
