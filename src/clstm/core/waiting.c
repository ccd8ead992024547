/* Clocks, and sleeping until another thread wakes. */
#define _GNU_SOURCE /* syscall */
#include "waiting.h"

#include <time.h>
#if defined(__linux__)
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#else
#include <pthread.h>
#endif

static int64_t nanoseconds(const struct timespec *time) { return (int64_t)time->tv_sec * 1000000000 + time->tv_nsec; }

static struct timespec timespec_of(int64_t nanoseconds) {
    return (struct timespec){nanoseconds / 1000000000, (long)(nanoseconds % 1000000000)};
}

int64_t clstm_i_now(void) {
    struct timespec time;
    return clock_gettime(CLOCK_MONOTONIC, &time) ? 0 : nanoseconds(&time);
}

int64_t clstm_i_coarse_now(void) {
#if defined(CLOCK_MONOTONIC_COARSE)
    struct timespec time;
    if (!clock_gettime(CLOCK_MONOTONIC_COARSE, &time)) return nanoseconds(&time);
#endif
    return clstm_i_now();
}

void clstm_i_sleep(int64_t nanoseconds) {
    const struct timespec time = timespec_of(nanoseconds);
    nanosleep(&time, NULL);
}

#if defined(__linux__)
void clstm_i_sleep_while(atomic_uint *word, unsigned value, int64_t most) {
    const struct timespec time = timespec_of(most);
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, most ? &time : NULL, NULL, 0);
}

void clstm_i_wake(atomic_uint *word, size_t threads) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, (int)threads, NULL, NULL, 0);
}
#else
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wakes = PTHREAD_COND_INITIALIZER;

void clstm_i_sleep_while(atomic_uint *word, unsigned value, int64_t most) {
    if (most) {
        clstm_i_sleep(most);
        return;
    }
    pthread_mutex_lock(&lock);
    if (atomic_load(word) == value) pthread_cond_wait(&wakes, &lock);
    pthread_mutex_unlock(&lock);
}

void clstm_i_wake(atomic_uint *word, size_t threads) {
    (void)word, (void)threads;
    pthread_mutex_lock(&lock);
    pthread_cond_broadcast(&wakes);
    pthread_mutex_unlock(&lock);
}
#endif
