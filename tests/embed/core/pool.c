/* Stresses the pool: helpers that are late, barriers among those that came, several callers, forks. Its arguments are
   the most threads, the runs of each caller, the callers, and the forks beside them. */
#define _GNU_SOURCE
#include "team.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 64, MEETINGS = 20, LIVE = 0x11fe };

/* A run, on its caller's stack: once it has returned, no helper may touch it. */
typedef struct work {
    clstm_i_call call;
    clstm_i_counter counters[MOST];
    atomic_int live;
    atomic_size_t count, met[MEETINGS];
    atomic_int times[MOST]; /* that each index ran */
} work;

static const clstm_context context = CLSTM_CONTEXT_INIT;
static size_t threads, runs;
static atomic_size_t largest; /* threads of any run */

static void fail(const char *what) {
    fprintf(stderr, "%s\n", what);
    _exit(1);
}

static void expect(int condition, const char *what) {
    if (!condition) fail(what);
}

/* Sleeps up to 100 us in one of 64 cases. */
static void delay(unsigned *state) {
    *state = *state * 1664525u + 1013904223u;
    if (*state >> 26) return;
    const struct timespec time = {0, *state >> 10 & 0xffff};
    nanosleep(&time, NULL);
}

static void task(void *argument, size_t index, size_t count) {
    work *own = argument;
    unsigned state = (unsigned)(index * 7919 + own->call.work);
    expect(atomic_load(&own->live) == LIVE, "a task of a call that has returned");
    expect(count >= 1 && count <= threads && index < count, "index or count");
    atomic_fetch_add(&own->times[index], 1);
    atomic_store(&own->count, count);
    const clstm_i_subteam team = {index, index, count, own->counters};
    for (size_t k = 0; k < MEETINGS; k++) {
        delay(&state);
        atomic_fetch_add(&own->met[k], 1);
        clstm_i_meet(&own->call, &team);
        expect(atomic_load(&own->met[k]) == count, "a barrier let a thread through too early");
    }
}

static void run_once(const clstm_team *team, size_t wanted, size_t number) {
    work own = {.call = {.context = &context, .work = (double)number}};
    atomic_store(&own.live, LIVE);
    team->run(team->user, wanted, task, &own);
    atomic_store(&own.live, 0);
    const size_t count = atomic_load(&own.count);
    expect(count >= 1 && count <= wanted, "more threads than wanted");
    for (size_t k = 0; k < MOST; k++) expect(atomic_load(&own.times[k]) == (k < count), "an index ran twice or never");
    if (count > atomic_load(&largest)) atomic_store(&largest, count);
}

static void *call_often(void *unused) {
    const clstm_team team = clstm_pool_team(threads);
    unsigned state = (unsigned)(size_t)&state;
    for (size_t k = 0; k < runs; k++) {
        run_once(&team, 2 + k % (threads - 1), k);
        delay(&state);
        if (k % 64 == 63) { /* long enough for the helpers to fall asleep */
            const struct timespec time = {0, 2000000};
            nanosleep(&time, NULL);
        }
    }
    return unused;
}

/* A child of a process whose other threads compute must have helpers of its own. */
static void fork_once(void) {
    const pid_t child = fork();
    if (!child) {
        alarm(20); /* a child that hangs is killed */
        const clstm_team team = clstm_pool_team(threads);
        atomic_store(&largest, 0);
        for (size_t k = 0; k < 50; k++) run_once(&team, threads, k);
        expect(atomic_load(&largest) > 1, "a child never had a helper");
        _exit(0);
    }
    int status = 0;
    expect(child > 0 && waitpid(child, &status, 0) == child, "fork or waitpid");
    expect(WIFEXITED(status) && !WEXITSTATUS(status), "a child failed or hung");
}

int main(int count, char **arguments) {
    if (count != 5) return 2;
    threads = strtoul(arguments[1], NULL, 10);
    runs = strtoul(arguments[2], NULL, 10);
    const size_t callers = strtoul(arguments[3], NULL, 10), forks = strtoul(arguments[4], NULL, 10);
    pthread_t others[MOST];
    for (size_t k = 0; k < callers; k++) expect(!pthread_create(&others[k], NULL, call_often, NULL), "pthread_create");
    for (size_t k = 0; k < forks; k++) fork_once();
    for (size_t k = 0; k < callers; k++) pthread_join(others[k], NULL);
    expect(atomic_load(&largest) > 1 || forks, "no helper ever came");
    puts("held");
    return 0;
}
