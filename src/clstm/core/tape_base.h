/* The tape, which is the same for both types. */
#pragma once

#include "model.h"
#include "plan.h"

#pragma GCC visibility push(hidden)

/* A recorded pass. Slot 0 of hidden and cells is the initial state, so that slot t is the state before step t, and the
   gradient of the recurrent weights is one product. Arrays of a part are in the order of its own steps; x and inputs
   are in forward order, or in the order of the only direction. */
struct clstm_tape {
    clstm_context context; /* for its allocator */
    void *block;           /* NULL: lent by the cache */
    clstm_i_cache *cache;  /* its model's */
    const clstm_model *model;
    size_t model_version;
    clstm_config config; /* a copy: a tape can be read after its model is gone */
    int is_f64;
    int consumed;
    int own_h0, own_c0; /* began from the model's own initial state */
    clstm_i_plan plan;
    const void *dropout, *recurrent_dropout; /* the caller's, or NULL */
    void *x;         /* (total, I) */
    void *inputs;    /* (L, total, D R) of layers 1 to L - 1 and the readout; NULL: the h of the layer below */
    void *gates;     /* (L D, total, 4H), activated, i f g o; clstm_backward overwrites them with their gradients; NULL
                        if only states are kept */
    void *hidden;    /* (L D, B + total, R) */
    void *recurrent; /* (L D, B + total, R) hidden after recurrent dropout; without it, hidden itself */
    void *cells;     /* (L D, B + total, H) */
    void *outputs;   /* (L D, total, H) o_t tanh(c_t) before a projection, or NULL if gates is */
};

#pragma GCC visibility pop
