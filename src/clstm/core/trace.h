/* CLSTM_TRACE=1: a line on standard error for each call, with the decisions made for it. */
#pragma once

#include "schedule.h"

#pragma GCC visibility push(hidden)

/* Whether the environment sets CLSTM_TRACE; read once. */
int clstm_i_traces(void);

typedef struct clstm_i_traced_pass {
    const char *name; /* of the call: forward, record, backward */
    const char *isa;
    int packed;
    const clstm_i_shape *shape;
    const clstm_i_schedule *schedule;
    int hoists;   /* the input product of some layer is hoisted */
    size_t chunk; /* rows, at most */
} clstm_i_traced_pass;

void clstm_i_trace_pass(const clstm_i_traced_pass *pass);

/* A pack that has been built: its kind, 0 forward and 1 backward, and its bytes. */
void clstm_i_trace_late(double seconds); /* for which calls compute alone */
void clstm_i_trace_pack(int kind, size_t bytes);

#pragma GCC visibility pop
