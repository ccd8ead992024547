/* Measures the peaks of this machine: fused multiply-adds, and reads from buffers.

       limit ISA TRIALS SECONDS THREADS BYTES...

   ISA is generic, avx2 or avx512, or empty for the best of this CPU. Every thread has buffers of its own, of BYTES each
   (a multiple of 512). Prints one line of JSON with the best of the trials: the instruction set, operations per second,
   seconds until a thread sees the write of another (0 if THREADS is 1), and for each size bytes per second, all threads
   together. */

#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define VECTOR_BYTES 16
#define TARGET
#define NAME(x) x##_generic
#include "limit_kernels.h"

#if defined(__x86_64__)
#define VECTOR_BYTES 32
#define TARGET __attribute__((target("avx2,fma")))
#define NAME(x) x##_avx2
#include "limit_kernels.h"

#define VECTOR_BYTES 64
#define TARGET __attribute__((target("avx512f")))
#define NAME(x) x##_avx512
#include "limit_kernels.h"
#endif

enum { HUGE_PAGE = 2 << 20, HANDOVERS = 4000 };

typedef struct {
    const char *name;
    double (*multiply_add)(long count, float *sink);
    double (*read)(const char *data, size_t bytes, long passes, float *sink);
} kernels;

typedef struct {
    const kernels *kernels;
    atomic_int *missing; /* threads that are not ready yet; macOS has no pthread_barrier_t */
    double seconds;
    size_t bytes; /* 0: multiply-adds instead of reads */
    double rate;  /* out: per second */
    int failed;
} job;

/* The kernels of this name, or, if it is empty, the best that this CPU has; NULL if there are none. */
static const kernels *choose_kernels(const char *isa)
{
    static const kernels all[] = {
#if defined(__x86_64__)
        {"avx512", multiply_add_avx512, read_avx512},
        {"avx2", multiply_add_avx2, read_avx2},
#endif
        {"generic", multiply_add_generic, read_generic},
    };
    int count = sizeof all / sizeof *all, first = 0;
#if defined(__x86_64__)
    int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    first = avx2 && __builtin_cpu_supports("avx512f") ? 0 : avx2 ? 1 : 2;
#endif
    for (int k = first; k < count; k++)
        if (!*isa || !strcmp(isa, all[k].name)) return &all[k];
    return NULL;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* Huge pages where the system has them, so that no figure is limited by TLB misses. */
static char *new_buffer(size_t bytes)
{
    char *buffer = aligned_alloc(HUGE_PAGE, (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE);
    if (!buffer) return NULL;
#ifdef MADV_HUGEPAGE
    madvise(buffer, bytes, MADV_HUGEPAGE);
#endif
    memset(buffer, 0, bytes);
    return buffer;
}

static double one_chunk(const job *job, const char *buffer, float *sink)
{
    if (!job->bytes) return job->kernels->multiply_add(20000, sink);
    long passes = 1 + (long)((1 << 20) / job->bytes);
    return job->kernels->read(buffer, job->bytes, passes, sink);
}

static void *run(void *argument)
{
    job *job = argument;
    volatile float factor = 0.999f;
    float sink[2] = {factor, 0};
    char *buffer = job->bytes ? new_buffer(job->bytes) : NULL;
    job->failed = job->bytes && !buffer;
    if (!job->failed) one_chunk(job, buffer, sink);
    atomic_fetch_sub(job->missing, 1);
    while (atomic_load(job->missing)) sched_yield();
    double start = now(), done = 0, elapsed = 0;
    while (!job->failed && elapsed < job->seconds) {
        done += one_chunk(job, buffer, sink);
        elapsed = now() - start;
    }
    job->rate = done / elapsed;
    free(buffer);
    return NULL;
}

/* The rate of all threads together; negative if memory or threads are lacking. */
static double one_trial(const job *pattern, int threads)
{
    atomic_int missing = threads;
    pthread_t *handles = calloc((size_t)threads, sizeof *handles);
    job *jobs = calloc((size_t)threads, sizeof *jobs);
    if (!handles || !jobs) return -1;
    for (int k = 0; k < threads; k++) {
        jobs[k] = *pattern;
        jobs[k].missing = &missing;
        /* threads already started wait forever: the caller ends the process */
        if (pthread_create(&handles[k], NULL, run, &jobs[k])) return -1;
    }
    double rate = 0;
    int failed = 0;
    for (int k = 0; k < threads; k++) {
        pthread_join(handles[k], NULL);
        rate += jobs[k].rate;
        failed |= jobs[k].failed;
    }
    free(handles);
    free(jobs);
    return failed ? -1 : rate;
}

/* ---- Handover between two threads ---- */

typedef struct {
    atomic_long *turn; /* the handovers so far */
    int index;
    double seconds; /* out: of a handover */
} relay;

/* Pins the calling thread to a CPU of its own: two threads that yield may otherwise share one. */
static void pin(int index)
{
#ifdef __linux__
    cpu_set_t usable, own;
    CPU_ZERO(&own);
    if (sched_getaffinity(0, sizeof usable, &usable)) return;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &usable) && index-- == 0) CPU_SET(cpu, &own);
    sched_setaffinity(0, sizeof own, &own);
#else
    (void)index;
#endif
}

/* Waits for this thread's turn, then makes it the other's; from turn `first` to `last`. */
static void hand_over(atomic_long *turn, long first, long last)
{
    for (long n = first; n < last; n += 2) {
        for (long spins = 1; atomic_load_explicit(turn, memory_order_acquire) < n; spins++)
            if (spins % 10000 == 0) sched_yield(); /* needed on a single CPU */
        atomic_store_explicit(turn, n + 1, memory_order_release);
    }
}

static void *run_relay(void *argument)
{
    relay *relay = argument;
    pin(relay->index);
    hand_over(relay->turn, relay->index, HANDOVERS); /* measured once both have started */
    double start = now();
    hand_over(relay->turn, HANDOVERS + relay->index, 2 * HANDOVERS);
    relay->seconds = (now() - start) / HANDOVERS;
    return NULL;
}

/* Seconds until one thread sees a write of another. Negative if a thread could not be started: then the caller ends the
   process, because the other thread may wait forever. */
static double one_handover(void)
{
    atomic_long turn = 0;
    pthread_t threads[2];
    relay relays[2] = {{&turn, 0, 0}, {&turn, 1, 0}};
    for (int k = 0; k < 2; k++)
        if (pthread_create(&threads[k], NULL, run_relay, &relays[k])) return -1;
    for (int k = 0; k < 2; k++) pthread_join(threads[k], NULL);
    return relays[0].seconds;
}

static double least_handover(int trials)
{
    double least = one_handover();
    for (int trial = 1; trial < trials; trial++) {
        double seconds = one_handover();
        if (seconds < least) least = seconds;
    }
    return least;
}

static double best_rate(job pattern, int threads, int trials)
{
    double best = 0;
    for (int trial = 0; trial < trials; trial++) {
        double rate = one_trial(&pattern, threads);
        if (rate < 0) {
            fprintf(stderr, "no memory or thread for %zu bytes x %d\n", pattern.bytes, threads);
            exit(1);
        }
        if (rate > best) best = rate;
    }
    return best;
}

int main(int argc, char **argv)
{
    int trials = argc > 4 ? atoi(argv[2]) : 0, threads = argc > 4 ? atoi(argv[4]) : 0;
    if (trials < 1 || threads < 1) {
        fprintf(stderr, "usage: limit ISA TRIALS SECONDS THREADS BYTES...\n");
        return 2;
    }
    const kernels *chosen = choose_kernels(argv[1]);
    if (!chosen) {
        fprintf(stderr, "this CPU has no instruction set of the name %s\n", argv[1]);
        return 2;
    }
    job pattern = {.kernels = chosen, .seconds = atof(argv[3])};
    double flops = best_rate(pattern, threads, trials);
    double handover = threads > 1 ? least_handover(trials) : 0;
    if (handover < 0) {
        fprintf(stderr, "no second thread\n");
        return 1;
    }
    printf("{\"isa\": \"%s\", \"flops\": %.6g, ", chosen->name, flops);
    printf("\"handover\": %.6g, \"reads\": [", handover);
    for (int k = 5; k < argc; k++) {
        pattern.bytes = strtoul(argv[k], NULL, 10);
        printf("%s%.6g", k > 5 ? ", " : "", best_rate(pattern, threads, trials));
    }
    printf("]}\n");
    return 0;
}
