/* What the files of the core share: memory, model, plan, tape, threads. No numbers. */
#ifndef CLSTM_INTERNAL_H
#define CLSTM_INTERNAL_H

#include "clstm.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)

/* From begin to end - 1. */
typedef struct clstm_i_range {
    size_t begin, end;
} clstm_i_range;

/* ---- Memory: one block a call (status.c) ------------------------------------------------------------------ */

enum { CLSTM_I_ALIGNMENT = 64 };

/* The first aligned address from one on. */
static inline char *clstm_i_align(void *memory) {
    return (char *)memory + (CLSTM_I_ALIGNMENT - (uintptr_t)memory % CLSTM_I_ALIGNMENT) % CLSTM_I_ALIGNMENT;
}

/* Reserve every array first, then allocate once. Offsets are multiples of 64 bytes, a cache line and the widest
   vector. */
typedef struct clstm_i_layout {
    size_t bytes;
    int overflow;
} clstm_i_layout;

/* The offset of an array of rows * columns elements. */
size_t clstm_i_reserve(clstm_i_layout *layout, size_t rows, size_t columns, size_t element);

/* The elements of a row of n that ends with a vector. */
static inline size_t clstm_i_whole_vectors(size_t n, size_t lanes) { return (n + lanes - 1) / lanes * lanes; }

/* *block is what clstm_i_release takes; the result is aligned to 64 bytes, or NULL with *status set. */
char *clstm_i_allocate(const clstm_context *context, const clstm_i_layout *layout, void **block, clstm_status *status);
void clstm_i_release(const clstm_context *context, void *block);

/* The context with every default filled in; refuses one of unknown size. */
clstm_status clstm_i_context(const clstm_context *given, clstm_context *context);

/* ---- Model (model.c) -------------------------------------------------------------------------------------- */

/* Begins whatever is freed by those who do not know its type. */
typedef struct clstm_i_owned {
    void *block;         /* what the allocator returned */
    atomic_size_t users; /* the cache, and every stream that was made with it */
} clstm_i_owned;

/* What calls may build or borrow while they share a model (cache.c); from the model's allocator. It lives as long as
   the model and its tapes. */
typedef struct clstm_i_cache {
    clstm_context context; /* for its allocator */
    void *block;
    atomic_size_t users;  /* the model, and every tape whose memory it has lent */
    atomic_int closed;    /* the model is gone: nothing is kept any more */
    pthread_mutex_t lock; /* held while a pack is built */
    _Atomic(clstm_i_owned *) packs[2]; /* this version's weights as the packed engine reads them, forwards and
                                          backwards, or NULL (passes/packed_weights.h) */
    _Atomic(clstm_i_owned *) stale[2]; /* those of an earlier version, to be filled anew, or NULL */
    _Atomic(struct clstm_i_loan *) spares[2]; /* what the last call has given back, or NULL, by clstm_i_loan_kind */
} clstm_i_cache;

typedef enum clstm_i_loan_kind { CLSTM_I_WORKSPACE, CLSTM_I_TAPE } clstm_i_loan_kind;

/* NULL with *status set if there is no memory. */
clstm_i_cache *clstm_i_cache_create(const clstm_context *context, clstm_status *status);
void clstm_i_cache_retire_packs(clstm_i_cache *cache); /* the weights have changed */
clstm_i_owned *clstm_i_take_stale(clstm_i_cache *cache, int backward); /* a pack that nobody has any more, or NULL */
void clstm_i_drop_pack(const clstm_context *context, clstm_i_owned *pack); /* one user less */
void clstm_i_cache_close(clstm_i_cache *cache); /* the model is freed */

struct clstm_model {
    clstm_context context; /* for its allocator */
    void *block;
    clstm_config config; /* num_layers >= 1 */
    int is_f64;
    size_t elements;
    size_t version;   /* counts updates */
    void *parameters; /* flat, float or double */
    clstm_i_cache *cache;
};

/* The parameters have changed: what was made of the old ones goes. */
void clstm_i_new_version(clstm_model *model);

/* Memory for one call, by preference what an earlier one left: to be given back by clstm_i_give_back. */
char *clstm_i_borrow(clstm_i_cache *cache, clstm_i_loan_kind kind, const clstm_i_layout *layout, clstm_status *status);
void clstm_i_give_back(clstm_i_cache *cache, clstm_i_loan_kind kind, char *memory);

/* Memory for a tape, from its model's cache if that has the allocator of the context, and *block is NULL; else *block
   is what the allocator returned. The tape stands at its beginning. */
char *clstm_i_borrow_tape(const clstm_model *model, const clstm_context *context, const clstm_i_layout *layout,
                          void **block, clstm_status *status);
void clstm_i_return_tape(clstm_tape *tape);

/* Where the tensors of one direction of one layer stand in the flat array: part k D + d. What belongs to no layer are
   those of part L D: weight_out in `input`, bias_out in `bias`, h0 in `h0`, c0 in `c0`. */
typedef struct clstm_i_offsets {
    size_t input_size;
    size_t input, recurrent, bias, projection, peephole;
    size_t h0, c0;
} clstm_i_offsets;

clstm_i_offsets clstm_i_part_offsets(const clstm_config *config, size_t part);

/* D, and L D. */
static inline size_t clstm_i_directions(const clstm_config *config) {
    return config->direction == CLSTM_BIDIRECTIONAL ? 2 : 1;
}

static inline size_t clstm_i_parts(const clstm_config *config) {
    return config->num_layers * clstm_i_directions(config);
}

/* R, and D R. */
static inline size_t clstm_i_recurrent_size(const clstm_config *config) {
    return config->proj_size ? config->proj_size : config->hidden_size;
}

static inline size_t clstm_i_layer_size(const clstm_config *config) {
    return clstm_i_directions(config) * clstm_i_recurrent_size(config);
}

/* I of a layer, and O. */
static inline size_t clstm_i_input_size(const clstm_config *config, size_t layer) {
    return layer ? clstm_i_layer_size(config) : config->input_size;
}

static inline size_t clstm_i_output_size(const clstm_config *config) {
    return config->output_size ? config->output_size : clstm_i_layer_size(config);
}

/* Whether the cell is that of the equations in clstm.h, section 1; and whether each of its functions has a gradient. */
int clstm_i_has_plain_cell(const clstm_config *config);
int clstm_i_has_gradients(const clstm_config *config);

/* Whether a direction goes through the caller's sequence from its end. */
static inline int clstm_i_goes_back(const clstm_config *config, size_t direction) {
    return config->direction == CLSTM_REVERSE || direction == 1;
}

/* ---- Plan (plan.c) ---------------------------------------------------------------------------------------- */

/* Where the rows of a sequence lie in an array: that of step t and row r is number at[t] + first[r]. */
typedef struct clstm_i_map {
    const size_t *at;    /* (steps,) */
    const size_t *first; /* (batch,), or NULL: r itself */
} clstm_i_map;

/* Which rows are active at which step. Rows are sorted by length, so that rows[t] never grows with t and the active
   ones are the first; arrays over time are packed, (total, .), so that padding is never read. A direction that goes
   back has its steps in its own order: the first is each row's last, and all else is the same. */
typedef struct clstm_i_plan {
    size_t steps, batch, total;
    const size_t *rows;    /* (steps,) */
    const size_t *offsets; /* (steps + 1,): rows before each step; the last is total */
    const size_t *lengths; /* (batch,) that never grow, or NULL: all rows have all steps */
    const size_t *order;   /* (batch,) the caller's number of each row, or NULL: the same */
    clstm_i_map caller;    /* where the caller has them */
    size_t caller_steps;   /* T, of rows that are padded to it; 0: without padding */
} clstm_i_plan;

/* What a plan is made of: CLSTM_OVERFLOW where T B rows can't be counted, CLSTM_INVALID_ARGUMENT for a length above
   T. */
typedef struct clstm_i_extent {
    size_t steps, batch;
    const size_t *lengths; /* (batch,) in the caller's order, or NULL */
    int ragged;
} clstm_i_extent;

int clstm_i_plan_is_uniform(const clstm_i_extent *extent); /* all rows have all steps, and lie packed */
clstm_status clstm_i_plan_total(const clstm_i_extent *extent, size_t *total);
size_t clstm_i_plan_longest(const clstm_i_extent *extent); /* the steps of the longest row */
size_t clstm_i_plan_reserve(clstm_i_layout *layout, const clstm_i_extent *extent);
clstm_i_plan clstm_i_plan_make(const clstm_i_extent *extent, size_t *memory);

/* Where packed arrays have their rows, in forward order. */
static inline clstm_i_map clstm_i_packed_map(const clstm_i_plan *plan) {
    return (clstm_i_map){plan->offsets, NULL};
}

/* The number of the row of a direction's step s in an array. */
static inline size_t clstm_i_place(const clstm_i_plan *plan, const clstm_i_map *map, int back, size_t s, size_t row) {
    const size_t length = plan->lengths ? plan->lengths[row] : plan->steps, t = back ? length - 1 - s : s;
    return map->at[t] + (map->first ? map->first[row] : row);
}

/* On a tape: slot of the rows before step t, in h and c. */
static inline size_t clstm_i_slot_before(const clstm_i_plan *plan, size_t t) {
    return t ? plan->batch + plan->offsets[t - 1] : 0;
}

/* Whether the rows before step t > 0 follow those before step t - 1. */
static inline int clstm_i_slots_follow(const clstm_i_plan *plan, size_t t) {
    return clstm_i_slot_before(plan, t) == clstm_i_slot_before(plan, t - 1) + plan->rows[t - 1];
}

/* How many rows the caller's sequences have. */
static inline size_t clstm_i_caller_rows(const clstm_i_plan *plan) {
    return plan->caller_steps ? plan->caller_steps * plan->batch : plan->total;
}

/* The caller's number of a row. */
static inline size_t clstm_i_caller_row(const clstm_i_plan *plan, size_t row) {
    return plan->order ? plan->order[row] : row;
}

/* Whether one row alone is left, at a step and so after it: these rows are evenly spaced wherever they lie. */
static inline int clstm_i_is_single(const clstm_i_plan *plan, size_t t) { return plan->lengths && plan->rows[t] == 1; }

/* The step after the longest run of steps from `first` up to `last` that have the same rows. */
static inline size_t clstm_i_plan_run(const clstm_i_plan *plan, size_t first, size_t last) {
    if (!plan->lengths) return last;
    size_t end = first + 1;
    while (end < last && plan->rows[end] == plan->rows[first]) end++;
    return end;
}

/* The step after the longest chunk from `first` that has at most `rows` rows, or one step; either no row is single or
   all are. */
size_t clstm_i_plan_chunk(const clstm_i_plan *plan, size_t first, size_t rows);

/* The rows of the batch that fall to one of `count` threads: so many that all have as many steps of rows. */
clstm_i_range clstm_i_plan_share(const clstm_i_plan *plan, size_t index, size_t count);

/* ---- Tape ------------------------------------------------------------------------------------------------- */

/* A recorded pass. Slot 0 of hidden and cells is the initial state, so that the rows before step t are those of slot t
   and the recurrent weight's gradient is one product. Each part's arrays are in the order of its own steps; x and
   inputs are in forward order, or in that of the one direction that there is. */
struct clstm_tape {
    clstm_context context; /* for its allocator */
    void *block;           /* NULL: lent by the cache */
    clstm_i_cache *cache;  /* of its model */
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
    void *gates;     /* (L D, total, 4H), activated, i f g o; clstm_backward overwrites them by their gradients; NULL
                        where only states are kept */
    void *hidden;    /* (L D, B + total, R) */
    void *recurrent; /* (L D, B + total, R) hidden as the gates see it, if dropped in part; else hidden itself */
    void *cells;     /* (L D, B + total, H) */
    void *outputs;   /* (L D, total, H) o_t tanh(c_t) before a projection, or NULL where gates is */
};

/* ---- One call, and its threads (threads.c) ---------------------------------------------------------------- */

typedef struct clstm_i_call {
    const clstm_context *context;
    atomic_int cancelled;
    double work;   /* since the host was last asked; of the caller's thread */
    int blas;      /* the blas engine: products of whole matrices go to the context's gemm, if it has one */
    char *scratch; /* of each thread, for products by the kernels */
} clstm_i_call;

typedef void clstm_i_task(void *argument, size_t index, size_t count);

/* Runs task on at most `wanted` threads of the context's team, each with denormals flushed. */
void clstm_i_run(const clstm_i_call *call, size_t wanted, clstm_i_task *task, void *argument);

/* Adds to the caller's work, in multiply-adds, and now and then asks the host whether to go on. Only thread 0. */
void clstm_i_poll(clstm_i_call *call, double work);

static inline int clstm_i_cancelled(const clstm_i_call *call) {
    return atomic_load_explicit(&call->cancelled, memory_order_relaxed);
}

/* How far one thread has come, for the others to read. On two cache lines of its own: the hardware fetches pairs. */
typedef struct clstm_i_counter {
    atomic_size_t value;
    char unused[128 - sizeof(atomic_size_t)];
} clstm_i_counter;

/* What a thread does between two looks at what it waits for: the first ones without leaving its CPU. */
void clstm_i_pause(unsigned spins, unsigned patience);

/* Waits until the counter has reached the value, or the call is cancelled. */
void clstm_i_await(const clstm_i_call *call, const clstm_i_counter *counter, size_t value);

/* Waits until all `count` threads have come here as often as this one, or the call is cancelled. */
void clstm_i_meet(const clstm_i_call *call, clstm_i_counter *counters, size_t index, size_t count);

/* The part of n items that falls to one of `count` threads, in multiples of `grain`. */
clstm_i_range clstm_i_slice(size_t n, size_t grain, size_t index, size_t count);

/* A thread's place: its number in the team, and its own among those that share what is meant. */
typedef struct clstm_i_seat {
    size_t thread, index, count;
} clstm_i_seat;

/* How the threads of a pass share it. */
typedef enum clstm_i_split {
    CLSTM_I_ROWS,  /* each has rows of the batch, and never waits */
    CLSTM_I_UNITS, /* all have every step together: each some hidden units, with all four gates of a unit */
    CLSTM_I_LAYERS /* each has whole layers, a chunk of steps behind the layer below */
} clstm_i_split;

/* What the choice depends on. */
typedef struct clstm_i_shape {
    size_t steps, batch, input_size, hidden_size, num_layers, directions;
    size_t total;   /* rows of all steps */
    size_t element; /* bytes of a number */
} clstm_i_shape;

/* How many threads a forward pass is worth, and how they share it (schedule.c). */
size_t clstm_i_choose_split(const clstm_i_call *call, const clstm_i_shape *shape, int packed, clstm_i_split *split);

/* The same for one layer of a backward pass, whose product has so many blocks; 0: of the blas engine. */
size_t clstm_i_choose_split_backward(const clstm_i_call *call, const clstm_i_shape *shape, size_t blocks,
                                     clstm_i_split *split);

/* Whether the packed engine computes the input product of a chunk's steps at once. */
int clstm_i_hoists(const clstm_i_shape *shape, clstm_i_split split);

/* How many threads are worth starting for this many multiply-adds that split into n parts. */
size_t clstm_i_wanted(const clstm_i_call *call, double work, size_t n);

#pragma GCC visibility pop

#endif
