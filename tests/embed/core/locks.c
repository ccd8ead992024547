/* Stresses the mutex and the access marks: holders alone, calls among themselves, waits, and children that begin anew.
   Prints "held". */
#include "locks.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 4, TURNS = 20000 };

static clstm_i_mutex mutex;
static clstm_i_access object;
static unsigned long guarded, written; /* plain: ThreadSanitizer sees an access that the locks let through */

static void expect(int condition, const char *what) {
    if (condition) return;
    fprintf(stderr, "%s\n", what);
    abort();
}

static void *run(void *seed) {
    unsigned long seen = 0, own = 0;
    for (unsigned turn = 0, state = *(unsigned *)seed; turn < TURNS; turn++) {
        unsigned mark;
        state = state * 1664525 + 1013904223;
        if (turn % 16 == 0) {
            clstm_i_lock(&mutex);
            guarded++;
            clstm_i_unlock(&mutex);
        }
        if (state >> 30 == 0) {
            const unsigned wait = clstm_i_begin_wait(&object);
            if (!clstm_i_hold(&object, state >> 29 & 1 ? CLSTM_I_WRITE : CLSTM_I_MEND, &mark)) {
                written++;
                own++;
                clstm_i_end_hold(&object, mark, 0);
            }
            clstm_i_end_wait(&object, wait);
        } else if (!clstm_i_begin_call(&object, &mark)) {
            expect(written >= seen, "an older value");
            seen = written;
            clstm_i_end_call(&object, mark);
        }
    }
    return (void *)own;
}

static void run_threads(void) {
    pthread_t threads[THREADS];
    unsigned seeds[THREADS];
    unsigned long sum = 0;
    for (unsigned k = 0; k < THREADS; k++) {
        seeds[k] = 12345 * k;
        expect(!pthread_create(&threads[k], NULL, run, &seeds[k]), "no thread");
    }
    for (unsigned k = 0; k < THREADS; k++) {
        void *own;
        pthread_join(threads[k], &own);
        sum += (unsigned long)own;
    }
    expect(sum == written && sum > 0, "two holders together");
    expect(guarded == (unsigned long)THREADS * TURNS / 16, "two owners of the mutex");
    expect(clstm_i_look(&object) == clstm_i_seen(0), "a mark stays behind");
}

/* What the parent's threads held: calls, a reader, a writer; and what the child may do with each. */
static void run_child(clstm_i_access *called, clstm_i_access *read, clstm_i_access *torn, unsigned parents) {
    unsigned mark = 0;
    expect(clstm_i_try_lock(&mutex), "the mutex is not free");
    expect(!clstm_i_hold(called, CLSTM_I_WRITE, &mark) && mark != parents, "calls of the parent count");
    clstm_i_end_call(called, parents); /* of the thread that forked: changes nothing */
    expect(clstm_i_hold(called, CLSTM_I_READ, &mark) == CLSTM_I_IS_HELD, "a hold is lost");
    expect(!clstm_i_begin_call(read, &mark), "a reader of the parent holds");
    expect(clstm_i_begin_call(torn, &mark) == CLSTM_I_IS_TORN, "torn data is read");
    expect(clstm_i_hold(torn, CLSTM_I_WRITE, &mark) == CLSTM_I_IS_TORN, "torn data is written in part");
    expect(!clstm_i_hold(torn, CLSTM_I_MEND, &mark), "torn data cannot be mended");
    clstm_i_end_hold(torn, mark, 0);
    expect(clstm_i_is_torn(torn), "a failure mends");
    expect(!clstm_i_hold(torn, CLSTM_I_MEND, &mark), "torn data cannot be mended again");
    clstm_i_end_hold(torn, mark, 1);
    expect(!clstm_i_begin_call(torn, &mark), "mended data is refused");
}

int main(void) {
    static clstm_i_access called, read, torn;
    unsigned mark, parents = 0;
    run_threads();
    clstm_i_lock(&mutex);
    clstm_i_begin_wait(&called);
    clstm_i_begin_wait(&read);
    expect(clstm_i_begin_call(&called, &mark) == CLSTM_I_IS_AWAITED, "a call overtakes a waiter");
    clstm_i_end_wait(&called, clstm_i_forks());
    expect(!clstm_i_begin_call(&called, &parents), "no call");
    expect(clstm_i_hold(&called, CLSTM_I_READ, &mark) == CLSTM_I_IS_SHARED, "a holder among calls");
    expect(!clstm_i_hold(&read, CLSTM_I_READ, &mark) && !clstm_i_hold(&torn, CLSTM_I_READ, &mark), "no hold");
    expect(!clstm_i_begin_write(&torn, &mark) && clstm_i_is_written(&torn), "no write");
    const pid_t child = fork();
    if (!child) {
        run_child(&called, &read, &torn, parents);
        _exit(0);
    }
    int status;
    expect(waitpid(child, &status, 0) == child && status == 0, "the child failed");
    expect(!clstm_i_is_torn(&torn), "the parent's data is torn");
    puts("held");
    return 0;
}
