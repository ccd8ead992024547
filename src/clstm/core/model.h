/* Models: their configuration, parameters and cache. */
#pragma once

#include "locks.h"
#include "memory.h"

#pragma GCC visibility push(hidden)

/* The header of reference-counted data, which can be freed without knowing its type. */
typedef struct clstm_i_owned {
    void *block;         /* pointer for the allocator's release */
    atomic_size_t users; /* the cache, and every stream that uses it */
} clstm_i_owned;

/* Packs: weights in the packed engine's layout (passes/packed_weights.h), one for each use and format. */
typedef enum clstm_i_pack_use { CLSTM_I_FORWARD, CLSTM_I_BACKWARD, CLSTM_I_PACK_USES } clstm_i_pack_use;
typedef enum clstm_i_format { CLSTM_I_OWN_TYPE, CLSTM_I_FORMATS } clstm_i_format;
enum { CLSTM_I_PACKS = CLSTM_I_PACK_USES * CLSTM_I_FORMATS };

static inline size_t clstm_i_pack_key(clstm_i_pack_use use, clstm_i_format format) {
    return (size_t)use * CLSTM_I_FORMATS + (size_t)format;
}

typedef enum clstm_i_loan_kind { CLSTM_I_WORKSPACE, CLSTM_I_TAPE, CLSTM_I_LOAN_KINDS } clstm_i_loan_kind;

/* Packs and memory that calls on a model share (cache.c), from the model's allocator. It lives until the model and all
   its tapes are freed. */
typedef struct clstm_i_cache {
    clstm_context context; /* for its allocator */
    void *block;
    atomic_size_t users;  /* the model, and every tape in memory of this cache */
    atomic_int closed;    /* the model is freed: nothing is kept any more */
    clstm_i_mutex lock;   /* held while a pack is built */
    _Atomic(clstm_i_owned *) packs[CLSTM_I_PACKS]; /* of the current version, or NULL; by key */
    _Atomic(clstm_i_owned *) stale[CLSTM_I_PACKS]; /* of an earlier version, for their memory; or NULL */
    _Atomic(struct clstm_i_loan *) spares[CLSTM_I_LOAN_KINDS]; /* memory that the last call gave back, or NULL */
} clstm_i_cache;

/* NULL with *status set if there is no memory. */
clstm_i_cache *clstm_i_cache_create(const clstm_context *context, clstm_status *status);
void clstm_i_cache_retire_packs(clstm_i_cache *cache); /* the weights have changed */
clstm_i_owned *clstm_i_take_stale(clstm_i_cache *cache, size_t key); /* without other users, or NULL */
void clstm_i_drop_pack(const clstm_context *context, clstm_i_owned *pack); /* releases one reference */
void clstm_i_cache_close(clstm_i_cache *cache); /* the model is freed */

struct clstm_model {
    clstm_context context; /* for its allocator */
    void *block;
    clstm_config config; /* num_layers >= 1 */
    clstm_around around;
    int plays; /* `around` has other values than CLSTM_AROUND_INIT */
    int is_f64;
    size_t elements;
    size_t version;   /* counts updates */
    void *parameters; /* flat, float or double */
    clstm_i_cache *cache;
};

/* ---- Configuration: one table of its fields drives defaults and checks (model.c), comparison, and files ---- */

typedef enum clstm_i_field_kind {
    CLSTM_I_SIZE,       /* size_t */
    CLSTM_I_FLAG,       /* int */
    CLSTM_I_NO_FLAG,    /* int, negated in a file */
    CLSTM_I_BOUND,      /* double >= 0; 0: none */
    CLSTM_I_ACTIVATION, /* clstm_activation */
    CLSTM_I_ACCURACY,   /* clstm_activations */
    CLSTM_I_DIRECTION   /* clstm_direction */
} clstm_i_field_kind;

typedef struct clstm_i_field {
    const char *name; /* in a file's metadata, after "clstm." */
    clstm_i_field_kind kind;
    size_t offset; /* in clstm_config */
    int needed;    /* a file must have it; otherwise absence means zero, the default */
    clstm_function usual; /* the default of an activation */
} clstm_i_field;

enum { CLSTM_I_FIELDS = 16 };
extern const clstm_i_field clstm_i_fields[CLSTM_I_FIELDS];

int clstm_i_same_config(const clstm_config *a, const clstm_config *b);

/* The parameters have changed: retires the packs of the old ones. */
void clstm_i_new_version(clstm_model *model);

/* Memory for one call, that of an earlier call if it is large enough. It is returned by clstm_i_give_back. */
char *clstm_i_borrow(clstm_i_cache *cache, clstm_i_loan_kind kind, const clstm_i_layout *layout, clstm_status *status);
void clstm_i_give_back(clstm_i_cache *cache, clstm_i_loan_kind kind, char *memory);

/* Memory for a tape, which begins there: from its model's cache, with *block NULL, if that has the context's allocator;
   else from the context, with *block for its release. */
char *clstm_i_borrow_tape(const clstm_model *model, const clstm_context *context, const clstm_i_layout *layout,
                          void **block, clstm_status *status);
void clstm_i_return_tape(clstm_tape *tape);

/* Offsets of a part's tensors in the flat array. Part k D + d is direction d of layer k. Part L D has the tensors that
   belong to no layer: weight_out in `input`, bias_out in `bias`, h0 in `h0`, c0 in `c0`. */
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

/* Whether a direction runs from the end of the caller's sequence to its beginning. */
static inline int clstm_i_is_reversed(const clstm_config *config, size_t direction) {
    return config->direction == CLSTM_REVERSE || direction == 1;
}

#pragma GCC visibility pop
