/* Packed weights, typed: the order in which the register tile reads them, made once for each version of a model.

   A block is LANES hidden units with their four gates: (depth, 4, LANES). For every column of x or h the four vectors
   of weights are adjacent, and the sums of a tile hold i, f, g, o of the same units. Where at most half a vector of
   units remains, the last block holds two vectors, i|f and g|o in their halves: (depth, 2, LANES). Units from H on have
   zero weights.

   A readout or a projection is packed the same way, its columns in place of gates and units. Where it has few columns,
   which would leave most lanes empty, it is *narrow*: its weights stay in rows, padded with zeros to whole cache lines.
   The pack for the backward pass holds the transposed recurrent weights and projections. */
#pragma once

#include "../trace.h"
#include "read_cell.h"

typedef struct TYPED(packed) {
    size_t n;      /* hidden units with four gates each; or, if plain, columns */
    int plain;     /* a readout, a projection or a transposed matrix */
    int narrow;    /* weights in rows; then there is one block, and width is that of a row */
    size_t whole;  /* blocks of four vectors */
    size_t last;   /* vectors of the block after them, or 0 */
    size_t blocks; /* including it */
    size_t width;  /* lanes of all vectors together */
    TYPED(clstm_i_matrix) input;     /* weight_ih, weight_hr or weight_out: (blocks, depth, vectors, LANES); backward:
                                        weight_hh^T of depth 4H, or weight_hr^T of depth R */
    TYPED(clstm_i_matrix) recurrent; /* weight_hh of depth R; else of depth 0 */
    const real *bias;                /* (blocks, vectors, LANES), zeros where the model has none; NULL backward */
    const real *peephole;            /* (3H,) as the model has it, or NULL */
} TYPED(packed);

/* All directions of all layers, their projections where the model has any, and the readout. */
typedef struct TYPED(pack) {
    clstm_i_owned owned;
    const TYPED(packed) *parts, *projections, *readout;
    TYPED(packed) all[];
} TYPED(pack);

/* ---- Products with packed weights ---- */

/* A product of all blocks that starts from the bias and has no factor yet. */
static inline TYPED(clstm_i_product) TYPED(product_of)(const TYPED(packed) *packed, size_t rows) {
    return (TYPED(clstm_i_product)){
        .rows = rows, .end = packed->blocks, .whole = packed->whole, .last = packed->last, .start = packed->bias,
        .narrow = packed->narrow ? packed->n : 0,
    };
}

/* Adds a (rows, matrix.depth), whose rows are `stride` elements apart, times the matrix. */
static inline void TYPED(add_factor)(TYPED(clstm_i_product) *product, TYPED(clstm_i_matrix) matrix, const real *a,
                                     size_t stride) {
    clstm_i_assert(product->count < 2 && stride >= matrix.depth);
    product->factors[product->count++] = (TYPED(clstm_i_factor)){a, stride, matrix, matrix.depth};
}

/* a times the weights of a readout or a projection. */
static inline TYPED(clstm_i_product) TYPED(plain_product)(const TYPED(packed) *packed, size_t rows, const real *a,
                                                          size_t stride) {
    TYPED(clstm_i_product) product = TYPED(product_of)(packed, rows);
    TYPED(add_factor)(&product, packed->input, a, stride);
    return product;
}

/* ---- Shapes ---- */

/* n units with their four gates, or, if `plain`, n columns. */
static TYPED(packed) TYPED(packed_shape)(size_t n, size_t depth, size_t lanes, int plain) {
    const size_t block = plain ? 4 * lanes : lanes, rest = n % block;
    TYPED(packed) shape = {.n = n, .plain = plain, .whole = n / block, .input.depth = depth};
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

/* Whether the layers of a model run a step apart where one thread has all of them: together they read their weights
   from the L1, and the units of two layers fit the registers. */
static int TYPED(skews)(const clstm_config *config, size_t lanes) {
    const size_t L = config->num_layers, H = config->hidden_size, blocks = TYPED(packed_shape)(H, 0, lanes, 0).blocks;
    if (L == 1 || L > TYPED(SKEWED_LAYERS) || clstm_i_directions(config) > 1 || config->proj_size) return 0;
    if (!clstm_i_has_plain_cell(config) || blocks > 2) return 0;
    const size_t depth = config->input_size + H + (L - 1) * 2 * H;
    return depth < TUNE_SKEW_WEIGHTS && depth * blocks * 4 * lanes * sizeof(real) <= TUNE_SKEW_WEIGHTS;
}

/* A readout or a projection. Whether it is narrow does not depend on the width of a vector, so that results do not
   either. */
static TYPED(packed) TYPED(plain_shape)(size_t n, size_t depth, size_t lanes) {
    TYPED(packed) shape = TYPED(packed_shape)(n, depth, lanes, 1);
    if (n > TUNE_NARROW_COLUMNS) return shape;
    shape.narrow = 1;
    shape.width = clstm_i_whole_vectors(depth, TYPED(CHAINS));
    return shape;
}

/* ---- Sources ---- */

/* Entry `index` of a pack: its shape, and the model's arrays that fill it. */
typedef struct TYPED(pack_source) {
    TYPED(packed) shape;
    int transposed; /* input is (depth, n); else (rows, depth) */
    const real *input, *recurrent, *peephole; /* recurrent and peephole NULL: none */
    const clstm_model *model;  /* for the bias of a part; or NULL */
    size_t part;
    const real *readout_bias;  /* NULL: zeros */
} TYPED(pack_source);

static TYPED(pack_source) TYPED(layer_source)(const clstm_model *model, size_t part, size_t lanes) {
    const clstm_config *config = &model->config;
    const clstm_i_offsets at = clstm_i_part_offsets(config, part);
    const real *weights = model->parameters;
    TYPED(pack_source) source = {
        .shape = TYPED(packed_shape)(config->hidden_size, at.input_size, lanes, 0),
        .input = weights + at.input, .recurrent = weights + at.recurrent,
        .peephole = TYPED(peepholes_of)(model, part), .model = model, .part = part,
    };
    source.shape.recurrent.depth = clstm_i_recurrent_size(config);
    return source;
}

static TYPED(pack_source) TYPED(readout_source)(const clstm_model *model, size_t lanes) {
    const clstm_config *config = &model->config;
    const clstm_i_offsets at = clstm_i_part_offsets(config, clstm_i_parts(config));
    const real *weights = model->parameters;
    return (TYPED(pack_source)){
        .shape = TYPED(plain_shape)(config->output_size, at.input_size, lanes), .input = weights + at.input,
        .readout_bias = config->no_bias ? NULL : weights + at.bias,
    };
}

/* Parts first, then their projections, then the readout, which has no transposed pack. */
static TYPED(pack_source) TYPED(source_of)(const clstm_model *model, clstm_i_pack_use use, size_t index,
                                           size_t lanes) {
    const clstm_config *config = &model->config;
    const size_t parts = clstm_i_parts(config), H = config->hidden_size, R = clstm_i_recurrent_size(config);
    const int backward = use == CLSTM_I_BACKWARD, is_projection = config->proj_size && index < 2 * parts;
    const clstm_i_offsets at = clstm_i_part_offsets(config, index % parts);
    const real *weights = model->parameters;
    if (index < parts) {
        if (!backward) return TYPED(layer_source)(model, index, lanes);
        return (TYPED(pack_source)){
            .shape = TYPED(packed_shape)(R, 4 * H, lanes, 1), .transposed = 1, .input = weights + at.recurrent,
        };
    }
    if (!is_projection) return TYPED(readout_source)(model, lanes);
    return (TYPED(pack_source)){
        .shape = backward ? TYPED(packed_shape)(H, R, lanes, 1) : TYPED(plain_shape)(R, H, lanes),
        .transposed = backward, .input = weights + at.projection,
    };
}

static size_t TYPED(pack_count)(const clstm_config *config, clstm_i_pack_use use) {
    const int has_readout = config->output_size > 0 && use == CLSTM_I_FORWARD;
    return clstm_i_parts(config) * (1 + (config->proj_size > 0)) + has_readout;
}

/* Places the packed arrays of a source from an address on; with 0 for the address, only measures them. */
static TYPED(packed) TYPED(place_packed)(const TYPED(pack_source) *source, clstm_i_layout *layout, uintptr_t memory) {
    TYPED(packed) packed = source->shape;
    const size_t input_rows = packed.narrow ? packed.n : packed.input.depth;
#define PLACE(array, rows, columns) \
    packed.array = (const real *)(memory + clstm_i_reserve(layout, rows, columns, sizeof(real)))
    PLACE(input.weights, input_rows, packed.width);
    if (source->recurrent) PLACE(recurrent.weights, packed.recurrent.depth, packed.width);
    if (!source->transposed) PLACE(bias, 1, packed.width);
    if (source->peephole) PLACE(peephole, 3, packed.n);
#undef PLACE
    return packed;
}

/* ---- Packing ---- */

/* The row of the model's weights for a lane of a block; SIZE_MAX for padding. */
static size_t TYPED(source_row)(const TYPED(packed) *shape, size_t block, size_t lane, size_t lanes) {
    if (shape->plain) {
        const size_t row = block * 4 * lanes + lane;
        return row < shape->n ? row : SIZE_MAX;
    }
    const size_t gate_lanes = block < shape->whole ? lanes : lanes / 2;
    const size_t gate = lane / gate_lanes, unit = block * lanes + lane % gate_lanes;
    return unit < shape->n ? gate * shape->n + unit : SIZE_MAX;
}

/* to (depth, width): the given rows of `from` as columns; zeros for a row of SIZE_MAX. There are more rows than the
   hardware can prefetch, so each row's next cache line is prefetched here: without, packing takes up to twice as
   long. */
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

static size_t TYPED(block_width)(const TYPED(packed) *shape, size_t block, size_t lanes) {
    return (block < shape->whole ? 4 : shape->last) * lanes;
}

/* to (blocks, depth, vectors, LANES) from (rows, depth). */
static void TYPED(pack_matrix)(const TYPED(packed) *shape, size_t lanes, const real *from, size_t depth, real *to) {
    size_t rows[4 * 64 / sizeof(real)]; /* no vector is longer than 64 bytes */
    clstm_i_assert(4 * lanes <= sizeof rows / sizeof *rows);
    for (size_t block = 0; block < shape->blocks; block++) {
        const size_t width = TYPED(block_width)(shape, block, lanes);
        for (size_t lane = 0; lane < width; lane++)
            rows[lane] = TYPED(source_row)(shape, block, lane, lanes);
        TYPED(pack_block)(from, depth, rows, width, to);
        to += depth * width;
    }
}

/* to (blocks, depth, vectors, LANES) from (depth, n); zeros after the last column. */
static void TYPED(pack_transposed)(const TYPED(packed) *shape, size_t lanes, const real *from, real *to) {
    for (size_t block = 0; block < shape->blocks; block++) {
        const size_t width = TYPED(block_width)(shape, block, lanes), first = block * 4 * lanes;
        const size_t n = clstm_i_min(shape->n - first, width);
        for (size_t row = 0; row < shape->input.depth; row++, to += width) {
            memcpy(to, from + row * shape->n + first, n * sizeof(real));
            memset(to + n, 0, (width - n) * sizeof(real));
        }
    }
}

/* to (rows, width) from (rows, depth). */
static void TYPED(pack_rows)(const real *from, size_t rows, size_t depth, size_t width, real *to) {
    memset(to, 0, rows * width * sizeof(real));
    for (size_t row = 0; row < rows; row++) memcpy(to + row * width, from + row * depth, depth * sizeof(real));
}

static real TYPED(source_bias)(const TYPED(pack_source) *source, size_t row) {
    if (source->model) return TYPED(bias_at)(source->model, source->part, row);
    return source->readout_bias ? source->readout_bias[row] : 0;
}

/* to (blocks, vectors, LANES), or (width,) if the weights are narrow. */
static void TYPED(pack_bias)(const TYPED(pack_source) *source, size_t lanes, real *to) {
    const TYPED(packed) *shape = &source->shape;
    memset(to, 0, shape->width * sizeof(real));
    for (size_t row = 0; shape->narrow && row < shape->n; row++) to[row] = TYPED(source_bias)(source, row);
    for (size_t block = 0; !shape->narrow && block < shape->blocks; block++) {
        const size_t width = TYPED(block_width)(shape, block, lanes);
        for (size_t lane = 0; lane < width; lane++, to++) {
            const size_t row = TYPED(source_row)(shape, block, lane, lanes);
            if (row != SIZE_MAX) *to = TYPED(source_bias)(source, row);
        }
    }
}

/* Fills the arrays of an entry from the model's. */
static void TYPED(fill_packed)(const TYPED(pack_source) *source, size_t lanes, const TYPED(packed) *packed) {
    real *input = (real *)packed->input.weights, *recurrent = (real *)packed->recurrent.weights;
    if (source->transposed) {
        TYPED(pack_transposed)(packed, lanes, source->input, input);
    } else if (packed->narrow) {
        TYPED(pack_rows)(source->input, packed->n, packed->input.depth, packed->width, input);
    } else {
        TYPED(pack_matrix)(packed, lanes, source->input, packed->input.depth, input);
        if (recurrent) TYPED(pack_matrix)(packed, lanes, source->recurrent, packed->recurrent.depth, recurrent);
    }
    if (packed->bias) TYPED(pack_bias)(source, lanes, (real *)packed->bias);
    if (packed->peephole) memcpy((real *)packed->peephole, source->peephole, 3 * packed->n * sizeof(real));
}

/* Memory for a pack: that of an earlier version, which had the same size, if there is one. */
static TYPED(pack) *TYPED(allocate_pack)(const clstm_model *model, clstm_i_pack_use use, clstm_i_format format,
                                         const clstm_i_layout *layout, clstm_status *status) {
    clstm_i_owned *stale = clstm_i_take_stale(model->cache, clstm_i_pack_key(use, format));
    if (stale) return (TYPED(pack) *)stale;
    void *block;
    char *memory = clstm_i_allocate(&model->context, layout, &block, status);
    if (!memory) return NULL;
    TYPED(pack) *pack = (TYPED(pack) *)memory;
    const size_t parts = clstm_i_parts(&model->config), count = TYPED(pack_count)(&model->config, use);
    pack->owned.block = block;
    atomic_init(&pack->owned.users, 1);
    pack->parts = pack->all;
    pack->projections = pack->all + parts;
    pack->readout = pack->all + count - 1;
    return pack;
}

static TYPED(pack) *TYPED(build_pack)(const clstm_model *model, clstm_i_pack_use use, clstm_i_format format,
                                      size_t lanes, clstm_status *status) {
    const size_t count = TYPED(pack_count)(&model->config, use);
    clstm_i_layout layout = {0, 0};
    clstm_i_reserve(&layout, 1, 1, sizeof(TYPED(pack)));
    clstm_i_reserve(&layout, count, 1, sizeof(TYPED(packed)));
    const clstm_i_layout head = layout;
    for (size_t index = 0; index < count; index++) {
        const TYPED(pack_source) source = TYPED(source_of)(model, use, index, lanes);
        TYPED(place_packed)(&source, &layout, 0);
    }
    TYPED(pack) *pack = TYPED(allocate_pack)(model, use, format, &layout, status);
    if (clstm_i_traces()) clstm_i_trace_pack(use == CLSTM_I_BACKWARD, layout.bytes);
    layout = head;
    for (size_t index = 0; pack && index < count; index++) {
        const TYPED(pack_source) source = TYPED(source_of)(model, use, index, lanes);
        pack->all[index] = TYPED(place_packed)(&source, &layout, (uintptr_t)pack);
        TYPED(fill_packed)(&source, lanes, &pack->all[index]);
    }
    return pack;
}

/* The model's pack for a use, built by the first call that needs it while others wait; NULL with *status set on
   failure. */
static const TYPED(pack) *TYPED(get_pack)(const clstm_model *model, clstm_i_pack_use use, size_t lanes,
                                          clstm_status *status) {
    const clstm_i_format format = CLSTM_I_OWN_TYPE; /* the only one; chosen here alone */
    clstm_i_cache *cache = model->cache;
    _Atomic(clstm_i_owned *) *place = &cache->packs[clstm_i_pack_key(use, format)];
    clstm_i_owned *pack = atomic_load_explicit(place, memory_order_acquire);
    *status = CLSTM_OK;
    if (!pack) {
        clstm_i_lock(&cache->lock);
        pack = atomic_load_explicit(place, memory_order_acquire);
        if (!pack) pack = (clstm_i_owned *)TYPED(build_pack)(model, use, format, lanes, status);
        atomic_store_explicit(place, pack, memory_order_release);
        clstm_i_unlock(&cache->lock);
    }
    clstm_i_assert(!pack || clstm_i_is_aligned(pack));
    return (const TYPED(pack) *)pack;
}
