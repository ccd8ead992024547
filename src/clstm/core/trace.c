/* CLSTM_TRACE=1: a line on standard error for each call, with the decisions made for it. */
#include "trace.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static int traces;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void read_environment(void) {
    const char *wish = getenv("CLSTM_TRACE");
    traces = wish && *wish && !(wish[0] == '0' && !wish[1]);
}

int clstm_i_traces(void) {
    pthread_once(&once, read_environment);
    return traces;
}

void clstm_i_trace_pass(const clstm_i_traced_pass *pass) {
    static const char *const splits[] = {"rows", "units", "layers"};
    const clstm_i_shape *shape = pass->shape;
    fprintf(stderr, "clstm: %s T=%zu B=%zu rows=%zu I=%zu H=%zu L=%zu D=%zu float%zu: engine=%s isa=%s threads=%zu "
                    "split=%s hoist=%s chunk=%zu handover=%.0f ns\n",
            pass->name, shape->steps, shape->batch, shape->total, shape->input_size, shape->hidden_size,
            shape->num_layers, shape->directions, 8 * shape->element, pass->packed ? "packed" : "blas", pass->isa,
            pass->schedule->threads, splits[pass->schedule->split], pass->hoists ? "yes" : "no", pass->chunk,
            shape->handover);
}

void clstm_i_trace_late(double seconds) {
    fprintf(stderr, "clstm: a thread lost its CPU: calls on one thread for %g ms\n", 1e3 * seconds);
}

void clstm_i_trace_pack(int kind, size_t bytes) {
    fprintf(stderr, "clstm: packed weights for the %s pass: %zu bytes\n", kind ? "backward" : "forward", bytes);
}
