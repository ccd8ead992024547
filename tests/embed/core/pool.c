/* Stresses the pool: helpers that are late or lose their CPU, work that is shared anew, several callers, forks. Its
   arguments are the most threads, the runs of each caller, the callers, and the forks beside them. */
#define _GNU_SOURCE
#include "range.h"
#include "team.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 64, MEETINGS = 20, UNITS = 97, INDICES = 40, LIVE = 0x11fe };

/* A run, on its caller's stack: once it has returned, no helper may touch it. */
typedef struct work {
    clstm_context context;
    clstm_i_call call;
    clstm_i_counter counters[MOST];
    pthread_t caller;
    atomic_int live;
    atomic_size_t most;                       /* threads that were there */
    atomic_int times[MOST];                   /* that each index ran */
    atomic_int done[MEETINGS][UNITS];         /* how often each unit of each step was computed */
    atomic_size_t counts[MEETINGS + 1][MOST]; /* after each meeting, how many each thread saw, plus 1; 0: it had left */
} work;

static size_t threads, runs;
static atomic_size_t largest, shared, left; /* threads of any run; runs with helpers; helpers that left */

static void fail(const char *what) {
    fprintf(stderr, "%s\n", what);
    _exit(1);
}

static void expect(int condition, const char *what) {
    if (!condition) fail(what);
}

static void nap(long microseconds) {
    const struct timespec time = {0, 1000 * microseconds};
    nanosleep(&time, NULL);
}

/* In one of 64 cases, sleeps up to 250 us: as a thread does that loses its CPU. */
static void delay(unsigned *state) {
    *state = *state * 1664525u + 1013904223u;
    if (*state >> 26 == 0) nap(*state >> 10 & 0xff);
}

static void raise_to(atomic_size_t *most, size_t value) {
    size_t before = atomic_load(most);
    while (before < value && !atomic_compare_exchange_weak(most, &before, value)) continue;
}

static unsigned enter(work *own, size_t index, size_t count) {
    expect(atomic_load(&own->live) == LIVE, "a task of a call that has returned");
    expect(count >= 1 && count <= threads && index < count, "index or count");
    expect(pthread_equal(own->caller, pthread_self()) == (index == 0), "the caller's index is 0");
    expect(atomic_fetch_add(&own->times[index], 1) == 0, "an index came twice");
    raise_to(&own->most, count);
    return (unsigned)(index * 7919 + (size_t)own->call.work);
}

/* Steps whose units are shared, by those that have not left. */
static void step_together(void *argument, size_t index, size_t count) {
    work *own = argument;
    unsigned state = enter(own, index, count);
    if (!index && count > 1) atomic_fetch_add(&shared, 1);
    clstm_i_subteam team = clstm_i_team_of(index, index, count, own->counters);
    for (size_t k = 0; k < MEETINGS; k++) {
        const size_t share = (UNITS + team.count - 1) / team.count, begin = team.index * share;
        delay(&state);
        for (size_t unit = begin; unit < begin + share && unit < UNITS; unit++)
            atomic_fetch_add(&own->done[k][unit], 1);
        atomic_store(&own->counts[k][index], team.count + 1);
        clstm_i_meet(&own->call, &team);
        if (!team.count) {
            expect(index > 0, "the caller left");
            atomic_fetch_add(&left, 1);
            return;
        }
        for (size_t unit = 0; unit < UNITS; unit++)
            expect(atomic_load(&own->done[k][unit]) == 1, "a unit was computed twice or never");
    }
}

/* All threads of a step saw the same count, which is how many they were. */
static void check_counts(const work *own) {
    for (size_t k = 0; k < MEETINGS; k++) {
        size_t present = 0, seen = 0;
        for (size_t thread = 0; thread < MOST; thread++) {
            const size_t count = atomic_load(&own->counts[k][thread]);
            if (!count) continue;
            expect(!seen || seen == count, "threads of a step disagree on their number");
            seen = count;
            present++;
        }
        expect(present + 1 == seen, "a step had more or fewer threads than they thought");
    }
}

/* Indices that threads take in turn. */
static void take_one(void *argument, size_t index, size_t count) {
    work *own = argument;
    unsigned state = (unsigned)index * 7919;
    expect(atomic_load(&own->live) == LIVE, "a task of a call that has returned");
    expect(count == INDICES, "the count depends on who came");
    const int polls = index == atomic_load(&own->call.polls);
    expect(polls == !!pthread_equal(own->caller, pthread_self()), "only the caller may ask the host");
    delay(&state);
    atomic_fetch_add(&own->done[0][index], 1);
}

static void come_and_go(void *argument, size_t index, size_t count) {
    unsigned state = enter(argument, index, count);
    delay(&state);
}

static void run_once(size_t most, size_t number) {
    work own = {.context = CLSTM_CONTEXT_INIT, .caller = pthread_self()};
    own.context.team = clstm_pool_team(threads);
    own.call = (clstm_i_call){.context = &own.context, .work = (double)number};
    atomic_store(&own.live, LIVE);
    if (number % 3 == 0) {
        clstm_i_run_together(&own.call, most, step_together, &own);
        check_counts(&own);
    } else if (number % 3 == 1) {
        clstm_i_run(&own.call, INDICES, take_one, &own);
        for (size_t k = 0; k < INDICES; k++) expect(atomic_load(&own.done[0][k]) == 1, "an index ran twice or never");
    } else {
        clstm_i_run_freely(&own.call, most, come_and_go, &own);
        expect(atomic_load(&own.times[0]) == 1, "the caller did not run the task");
    }
    atomic_store(&own.live, 0);
    raise_to(&largest, atomic_load(&own.most));
}

static void *call_often(void *unused) {
    unsigned state = (unsigned)(size_t)&state;
    for (size_t k = 0; k < runs; k++) {
        run_once(2 + k % (threads - 1), k);
        delay(&state);
        if (k % 64 == 63) nap(2000); /* long enough for the helpers to fall asleep */
    }
    return unused;
}

/* A child of a process whose other threads compute must have helpers of its own. */
static void fork_once(void) {
    const pid_t child = fork();
    if (!child) {
        alarm(20); /* a child that hangs is killed */
        atomic_store(&largest, 0);
        for (size_t k = 0; k < 200 || (atomic_load(&largest) < 2 && k < 3000); k++) {
            run_once(threads, 3 * k);
            if (k >= 200) nap(1000); /* a busy machine: helpers rest after they were late */
        }
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
    expect(atomic_load(&largest) > 1 || forks || callers > 1, "no helper ever came");
    /* In every other run a thread sleeps. */
    expect(atomic_load(&left) > 0 || atomic_load(&shared) < 50, "no thread ever left");
    puts("held");
    return 0;
}
