/* Runs one case: reads it from stdin and writes the results to stdout, as native binary numbers.

       in:  every field of `job`, in order; then the model, a file of LSTM.save; x; h0, c0 if with_state; lengths
            (uint64_t) if with_lengths; dy, dhn, dcn if gradients; and the masks of `dropout`
       out: uint64_t of every field of `outcome`; then y, hn, cn; dx, dh0, dc0 and the parameters' gradients if
            gradients

   A call that runs out of memory is repeated: it must have left everything as it was. */
#include "crew.h"
#include "heap.h"

#include <clstm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct job {
    uint64_t model_bytes;
    uint64_t steps, batch;
    uint64_t with_state;            /* 0 or 1 */
    uint64_t with_lengths;          /* 0 or 1 */
    uint64_t dropout;               /* of a recording: 1, 2 (recurrent), or 3 for both */
    uint64_t gradients;             /* 0 or 1; 2: from a tape without gates */
    uint64_t threads;               /* in a team of POSIX threads; 1: no team */
    uint64_t fail_at;               /* this allocation fails; 0: none does */
} job;

typedef struct outcome {
    uint64_t threads;    /* most threads of a run */
    uint64_t workspace;  /* most bytes that the passes allocated, beyond those of the model */
    uint64_t refused;    /* calls that ran out of memory and were repeated */
    uint64_t left;       /* bytes that were not released */
} outcome;

/* Threads, memory and context of all passes. */
typedef struct host {
    crew crew;
    heap heap;
    clstm_context context;
    size_t refused;
} host;

static void fail(const char *what) {
    fprintf(stderr, "run_case: %s\n", what);
    exit(1);
}

static void check(clstm_status status) {
    if (status) fail(clstm_strerror(status));
}

static void *room(size_t count, size_t element) {
    void *array = calloc(count + 1, element); /* + 1: never NULL, even if empty */
    if (!array) fail("no room for the arrays");
    return array;
}

static void *take(size_t count, size_t element) {
    void *array = room(count, element);
    if (fread(array, element, count, stdin) != count) fail("the input is too short");
    return array;
}

static void give(const void *array, size_t count, size_t element) {
    if (fwrite(array, element, count, stdout) != count) fail("cannot write the output");
}

/* A call, repeated if memory runs out. */
#define AGAIN(host, call)                    \
    do {                                     \
        clstm_status status = (call);        \
        if (status == CLSTM_OUT_OF_MEMORY) { \
            (host)->refused++;               \
            status = (call);                 \
        }                                    \
        check(status);                       \
    } while (0)

static clstm_model *load(const job *job, host *host) {
    void *file = take(job->model_bytes, 1);
    clstm_model *model;
    AGAIN(host, clstm_model_from_bytes(file, job->model_bytes, &host->context, &model));
    free(file);
    return model;
}

#define real float
#define TYPED(name) name##_f32
#define PUBLIC(name) clstm_##name
#define SEQUENCE_INIT CLSTM_SEQUENCE_INIT
#define GRADIENTS_INIT CLSTM_GRADIENTS_INIT
#include "run_case.h"
#undef real
#undef TYPED
#undef PUBLIC
#undef SEQUENCE_INIT
#undef GRADIENTS_INIT

#define real double
#define TYPED(name) name##_f64
#define PUBLIC(name) clstm_##name##_f64
#define SEQUENCE_INIT CLSTM_SEQUENCE_F64_INIT
#define GRADIENTS_INIT CLSTM_GRADIENTS_F64_INIT
#include "run_case.h"

int main(void) {
    job job;
    host host = {{0, 1, 0}, {0, 0, 0, 0}, CLSTM_CONTEXT_INIT, 0};
    if (fread(&job, sizeof job, 1, stdin) != 1) fail("the input has no head");
    host.crew.size = job.threads;
    host.heap.fail_at = job.fail_at;
    host.context.allocate = heap_allocate;
    host.context.release = heap_release;
    host.context.user = &host.heap;
    if (job.threads > 1) host.context.team = crew_team(&host.crew);
    clstm_model *model = load(&job, &host);
    if (clstm_model_is_f64(model)) run_f64(&job, &host, model);
    else run_f32(&job, &host, model);
    if (host.crew.disturbed) fail("a thread's floating-point environment was changed");
    return fflush(stdout) ? 1 : 0;
}
