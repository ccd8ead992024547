/* Packed weights, typed: the order in which the register tile reads them, made once for each version of a model.

   A block is LANES hidden units with their four gates: (depth, 4, LANES), so that for every column of x or h the four
   vectors of weights lie side by side, and a tile's sums hold i, f, g, o of the same units. Where at most half a vector
   of units is left, the last block holds two vectors, i|f and g|o in their halves: (depth, 2, LANES). Units after H
   have zero weights. The readout is packed the same way, its outputs in the place of gates and units; and so are, in a
   pack of its own for the backward pass, the transposed recurrent weights, units in the place of outputs. A readout or
   projection to few columns, which would leave most lanes empty, keeps its weights in rows instead, zeros after each:
   (n, whole cache lines). */
#pragma once

#include "read_cell.h"

typedef struct TYPED(packed) {
    size_t n;      /* units with four gates each; or, if plain, columns */
    int plain;
    int narrow;    /* in rows; then it has one block, and width is that of a row */
    size_t input_size;
    size_t recurrent_size;
    size_t whole;  /* blocks of four vectors */
    size_t last;   /* vectors of the block after them, or 0 */
    size_t blocks; /* with it */
    size_t width;  /* lanes of all vectors together */
    const real *input;     /* weight_ih, weight_hr or weight_out: (blocks, input_size, vectors, LANES); backwards
                              weight_hh^T with input_size 4H, or weight_hr^T with R */
    const real *recurrent; /* weight_hh: (blocks, recurrent_size, vectors, LANES); else NULL */
    const real *bias;      /* (blocks, vectors, LANES); zeros where the model has none; NULL backwards */
    const real *peephole;  /* (3H,), as the model has it; or NULL */
} TYPED(packed);

/* a (rows, stride) times the weights of a readout or a projection, all blocks. */
static TYPED(clstm_i_product) TYPED(plain_product)(const TYPED(packed) *packed, size_t rows, const real *a,
                                                   size_t stride) {
    return (TYPED(clstm_i_product)){
        .rows = rows, .end = packed->blocks, .whole = packed->whole, .last = packed->last, .count = 1,
        .parts = {{a, stride, packed->input, packed->input_size}}, .start = packed->bias,
        .narrow = packed->narrow ? packed->n : 0,
    };
}

/* All parts, their projections where the model has any, and the readout. */
typedef struct TYPED(pack) {
    clstm_i_owned owned;
    const TYPED(packed) *parts, *projections, *readout;
    TYPED(packed) all[];
} TYPED(pack);

/* n units with their four gates, or, if `plain`, n columns. */
static TYPED(packed) TYPED(packed_shape)(size_t n, size_t depth, size_t lanes, int plain) {
    const size_t block = plain ? 4 * lanes : lanes, rest = n % block;
    TYPED(packed) shape = {.n = n, .plain = plain, .input_size = depth, .whole = n / block};
    if (plain) shape.last = (rest + lanes - 1) / lanes;
    else if (rest) shape.last = rest <= lanes / 2 ? 2 : 4;
    if (shape.last == 4) {
        shape.whole++;
        shape.last = 0;
    }
    shape.blocks = shape.whole + (shape.last > 0);
    shape.width = (4 * shape.whole + shape.last) * lanes;
    return shape;
}

/* A readout's or a projection's. Narrow or not does not depend on the vectors' width, which so changes no bit. */
static TYPED(packed) TYPED(plain_shape)(size_t n, size_t depth, size_t lanes) {
    TYPED(packed) shape = TYPED(packed_shape)(n, depth, lanes, 1);
    if (n > 4) return shape;
    shape.narrow = 1;
    shape.width = clstm_i_whole_vectors(depth, TYPED(CHAINS));
    return shape;
}

/* The row of the weights that stands in a lane of a block's vectors; SIZE_MAX where none does. */
static size_t TYPED(source_row)(const TYPED(packed) *shape, size_t block, size_t lane, size_t lanes) {
    if (shape->plain) {
        const size_t row = block * 4 * lanes + lane;
        return row < shape->n ? row : SIZE_MAX;
    }
    const size_t part = block < shape->whole ? lanes : lanes / 2; /* lanes of one gate */
    const size_t gate = lane / part, unit = block * lanes + lane % part;
    return unit < shape->n ? gate * shape->n + unit : SIZE_MAX;
}

/* to (depth, width), the rows of `from` side by side; zeros for a row of SIZE_MAX. More rows than a processor fetches
   ahead by itself, so each is asked for its next line: otherwise it takes up to twice as long. */
static void TYPED(pack_block)(const real *from, size_t depth, const size_t *rows, size_t width, real *to) {
    const size_t line = 64 / sizeof(real); /* columns at a time: each cache line of `from` is read once */
    for (size_t first = 0; first < depth; first += line) {
        const size_t end = depth - first < line ? depth : first + line;
        for (size_t lane = 0; lane < width; lane++) {
            if (rows[lane] == SIZE_MAX) {
                for (size_t k = first; k < end; k++) to[k * width + lane] = 0;
                continue;
            }
            const real *row = from + rows[lane] * depth;
            __builtin_prefetch(row + end);
            for (size_t k = first; k < end; k++) to[k * width + lane] = row[k];
        }
    }
}

/* to (blocks, depth, vectors, LANES) from (rows, depth), or zeros if that is NULL. */
static void TYPED(pack_matrix)(const TYPED(packed) *shape, size_t lanes, const real *from, size_t depth, real *to) {
    size_t rows[4 * 64 / sizeof(real)]; /* no vector is longer than 64 bytes */
    for (size_t block = 0; block < shape->blocks; block++) {
        const size_t width = (block < shape->whole ? 4 : shape->last) * lanes;
        for (size_t lane = 0; lane < width; lane++)
            rows[lane] = from ? TYPED(source_row)(shape, block, lane, lanes) : SIZE_MAX;
        TYPED(pack_block)(from, depth, rows, width, to);
        to += depth * width;
    }
}

/* to (rows, width) from (rows, depth), or zeros if that is NULL. */
static void TYPED(pack_rows)(const real *from, size_t rows, size_t depth, size_t width, real *to) {
    memset(to, 0, rows * width * sizeof(real));
    for (size_t row = 0; from && row < rows; row++) memcpy(to + row * width, from + row * depth, depth * sizeof(real));
}

/* What number `index` of a pack is made of. */
typedef struct TYPED(pack_source) {
    TYPED(packed) shape;
    const real *input, *recurrent, *bias, *peephole; /* NULL: zeros, or nothing */
} TYPED(pack_source);

/* Rows of the pack's width that the input weights take. */
static size_t TYPED(input_depth)(const TYPED(packed) *shape) { return shape->narrow ? shape->n : shape->input_size; }

/* That all takes; peepholes have one, of 3H, as the others have at least 4H; a narrow one's bias fits into a line. */
static size_t TYPED(packed_depth)(const TYPED(pack_source) *source) {
    return TYPED(input_depth)(&source->shape) + source->shape.recurrent_size + 1 + (source->peephole != NULL);
}

static TYPED(pack_source) TYPED(forward_source)(const clstm_model *model, size_t index, size_t lanes) {
    const clstm_config *config = &model->config;
    const size_t parts = clstm_i_parts(config), H = config->hidden_size, R = clstm_i_recurrent_size(config);
    const real *weights = model->parameters;
    const int is_projection = config->proj_size && index >= parts && index < 2 * parts;
    if (is_projection)
        return (TYPED(pack_source)){.shape = TYPED(plain_shape)(R, H, lanes),
                                    .input = weights + clstm_i_part_offsets(config, index - parts).projection};

    const int is_readout = index >= parts;
    const clstm_i_offsets at = clstm_i_part_offsets(config, is_readout ? parts : index);
    TYPED(pack_source) source = {
        .shape = is_readout ? TYPED(plain_shape)(config->output_size, at.input_size, lanes)
                            : TYPED(packed_shape)(H, at.input_size, lanes, 0),
        .input = weights + at.input, .bias = config->no_bias ? NULL : weights + at.bias,
    };
    if (is_readout) return source;
    source.shape.recurrent_size = R;
    source.recurrent = weights + at.recurrent;
    source.peephole = TYPED(peepholes_of)(model, index);
    return source;
}

/* The weights of a source, in memory for them. */
static void TYPED(fill)(const TYPED(pack_source) *source, size_t lanes, TYPED(packed) *packed, real *input) {
    const TYPED(packed) *shape = &source->shape;
    real *recurrent = input + TYPED(input_depth)(shape) * shape->width;
    real *bias = recurrent + shape->recurrent_size * shape->width, *peephole = bias + shape->width;
    if (shape->narrow) {
        TYPED(pack_rows)(source->input, shape->n, shape->input_size, shape->width, input);
        TYPED(pack_rows)(source->bias, 1, shape->n, shape->width, bias);
    } else {
        TYPED(pack_matrix)(shape, lanes, source->input, shape->input_size, input);
        TYPED(pack_matrix)(shape, lanes, source->recurrent, shape->recurrent_size, recurrent);
        TYPED(pack_matrix)(shape, lanes, source->bias, 1, bias);
    }
    if (source->peephole) memcpy(peephole, source->peephole, 3 * shape->n * sizeof(real));
    *packed = *shape;
    packed->input = input;
    packed->recurrent = source->recurrent ? recurrent : NULL;
    packed->bias = bias;
    packed->peephole = source->peephole ? peephole : NULL;
}

static size_t TYPED(pack_count)(const clstm_config *config) {
    return clstm_i_parts(config) * (1 + (config->proj_size > 0)) + (config->output_size > 0);
}

/* Memory for a pack, nothing in it yet: that of an earlier version, which was as large, if there is one. */
static TYPED(pack) *TYPED(allocate_pack)(const clstm_model *model, int backward, size_t count, clstm_i_layout whole,
                                         clstm_status *status) {
    clstm_i_owned *stale = clstm_i_take_stale(model->cache, backward);
    if (stale) return (TYPED(pack) *)stale;
    void *block;
    char *memory = clstm_i_allocate(&model->context, &whole, &block, status);
    if (!memory) return NULL;
    TYPED(pack) *pack = (TYPED(pack) *)memory;
    const size_t parts = clstm_i_parts(&model->config);
    pack->owned.block = block;
    atomic_init(&pack->owned.users, 1);
    pack->parts = pack->all;
    pack->projections = pack->all + parts;
    pack->readout = pack->all + count - 1;
    return pack;
}

static clstm_i_layout TYPED(pack_head)(size_t count) {
    clstm_i_layout layout = {0, 0};
    clstm_i_reserve(&layout, 1, 1, sizeof(TYPED(pack)));
    clstm_i_reserve(&layout, count, 1, sizeof(TYPED(packed)));
    return layout;
}

static TYPED(pack) *TYPED(build_pack)(const clstm_model *model, size_t lanes, clstm_status *status) {
    const size_t count = TYPED(pack_count)(&model->config);
    clstm_i_layout layout = TYPED(pack_head)(count), whole = layout;
    for (size_t index = 0; index < count; index++) {
        const TYPED(pack_source) source = TYPED(forward_source)(model, index, lanes);
        clstm_i_reserve(&whole, TYPED(packed_depth)(&source), source.shape.width, sizeof(real));
    }
    TYPED(pack) *pack = TYPED(allocate_pack)(model, 0, count, whole, status);
    for (size_t index = 0; pack && index < count; index++) {
        const TYPED(pack_source) source = TYPED(forward_source)(model, index, lanes);
        TYPED(fill)(&source, lanes, &pack->all[index], (real *)((char *)pack + clstm_i_reserve(
            &layout, TYPED(packed_depth)(&source), source.shape.width, sizeof(real))));
    }
    return pack;
}

/* ---- Backwards ---- */

/* to (blocks, depth, vectors, LANES) from (depth, n): pieces of its rows, zeros after the last column. */
static void TYPED(pack_transposed)(const TYPED(packed) *shape, size_t lanes, const real *from, real *to) {
    for (size_t block = 0; block < shape->blocks; block++) {
        const size_t width = (block < shape->whole ? 4 : shape->last) * lanes, first = block * 4 * lanes;
        const size_t n = shape->n - first < width ? shape->n - first : width;
        for (size_t row = 0; row < shape->input_size; row++, to += width) {
            memcpy(to, from + row * shape->n + first, n * sizeof(real));
            memset(to + n, 0, (width - n) * sizeof(real));
        }
    }
}

static TYPED(pack_source) TYPED(backward_source)(const clstm_model *model, size_t index, size_t lanes) {
    const clstm_config *config = &model->config;
    const size_t parts = clstm_i_parts(config), H = config->hidden_size, R = clstm_i_recurrent_size(config);
    const clstm_i_offsets at = clstm_i_part_offsets(config, index % parts);
    const real *weights = model->parameters;
    if (index >= parts)
        return (TYPED(pack_source)){.shape = TYPED(packed_shape)(H, R, lanes, 1), .input = weights + at.projection};
    return (TYPED(pack_source)){.shape = TYPED(packed_shape)(R, 4 * H, lanes, 1), .input = weights + at.recurrent};
}

static TYPED(pack) *TYPED(build_backward_pack)(const clstm_model *model, size_t lanes, clstm_status *status) {
    const size_t count = clstm_i_parts(&model->config) * (1 + (model->config.proj_size > 0));
    clstm_i_layout layout = TYPED(pack_head)(count), whole = layout;
    for (size_t index = 0; index < count; index++) {
        const TYPED(packed) shape = TYPED(backward_source)(model, index, lanes).shape;
        clstm_i_reserve(&whole, shape.input_size, shape.width, sizeof(real));
    }
    TYPED(pack) *pack = TYPED(allocate_pack)(model, 1, count, whole, status);
    for (size_t index = 0; pack && index < count; index++) {
        const TYPED(pack_source) source = TYPED(backward_source)(model, index, lanes);
        TYPED(packed) *packed = &pack->all[index];
        *packed = source.shape;
        real *to = (real *)((char *)pack + clstm_i_reserve(&layout, packed->input_size, packed->width, sizeof(real)));
        TYPED(pack_transposed)(packed, lanes, source.input, to);
        packed->input = to;
    }
    return pack;
}

/* ---- Both ---- */

/* The model's pack for a direction, built by the first call that needs it while others wait; NULL if it can't be
   had. */
static const TYPED(pack) *TYPED(get_pack)(const clstm_model *model, int backward, size_t lanes, clstm_status *status) {
    clstm_i_cache *cache = model->cache;
    _Atomic(clstm_i_owned *) *place = &cache->packs[backward];
    clstm_i_owned *pack = atomic_load_explicit(place, memory_order_acquire);
    *status = CLSTM_OK;
    if (!pack) {
        pthread_mutex_lock(&cache->lock);
        pack = atomic_load_explicit(place, memory_order_acquire);
        if (!pack) {
            if (backward) pack = (clstm_i_owned *)TYPED(build_backward_pack)(model, lanes, status);
            else pack = (clstm_i_owned *)TYPED(build_pack)(model, lanes, status);
        }
        atomic_store_explicit(place, pack, memory_order_release);
        pthread_mutex_unlock(&cache->lock);
    }
    return (const TYPED(pack) *)pack;
}
