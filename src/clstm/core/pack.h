/* Packed weights, typed: the order in which the register tile reads them, made once for each version of a model.

   A block is LANES hidden units with their four gates: (depth, 4, LANES), so that for every column of x or h the four
   vectors of weights lie side by side, and a tile's sums hold i, f, g, o of the same units. Where at most half a vector
   of units is left, the last block holds two vectors, i|f and g|o in their halves: (depth, 2, LANES). Units after H
   have zero weights. The readout is packed the same way, its outputs in the place of gates and units; and so are, in a
   pack of its own for the backward pass, the transposed recurrent weights, units in the place of outputs. */

typedef struct TYPED(packed) {
    size_t input_size;
    size_t whole;  /* blocks of four vectors */
    size_t last;   /* vectors of the block after them, or 0 */
    size_t blocks; /* with it */
    size_t width;  /* lanes of all vectors together */
    const real *input;     /* weight_ih or weight_out: (blocks, input_size, vectors, LANES); backwards weight_hh^T,
                              with input_size 4H */
    const real *recurrent; /* weight_hh: (blocks, H, vectors, LANES); NULL for the readout and backwards */
    const real *bias;      /* (blocks, vectors, LANES); zeros where the model has none; NULL backwards */
} TYPED(packed);

/* All layers, then the readout. */
typedef struct TYPED(pack) {
    clstm_i_owned owned;
    TYPED(packed) layers[];
} TYPED(pack);

/* n units with their four gates, or, if `plain`, n columns. */
static TYPED(packed) TYPED(packed_shape)(size_t n, size_t depth, size_t lanes, int plain) {
    const size_t block = plain ? 4 * lanes : lanes, rest = n % block;
    TYPED(packed) shape = {.input_size = depth, .whole = n / block};
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

/* Of a layer in the forward pass, or of the readout. */
static TYPED(packed) TYPED(layer_shape)(const clstm_config *config, size_t layer, size_t lanes) {
    const int readout = layer == config->num_layers;
    const size_t depth = clstm_i_layer_offsets(config, layer).input_size;
    return TYPED(packed_shape)(readout ? config->output_size : config->hidden_size, depth, lanes, readout);
}

/* The row of the stacked weights that stands in a lane of a block's vectors; SIZE_MAX where none does. */
static size_t TYPED(source_row)(const clstm_config *config, size_t layer, const TYPED(packed) *shape, size_t block,
                                size_t lane, size_t lanes) {
    const size_t H = config->hidden_size;
    if (layer == config->num_layers) {
        const size_t row = block * 4 * lanes + lane;
        return row < config->output_size ? row : SIZE_MAX;
    }
    const size_t part = block < shape->whole ? lanes : lanes / 2; /* lanes of one gate */
    const size_t gate = lane / part, unit = block * lanes + lane % part;
    return unit < H ? gate * H + unit : SIZE_MAX;
}

/* to (depth, width), the rows of `from` side by side; zeros for a row of SIZE_MAX. */
static void TYPED(pack_block)(const real *from, size_t depth, const size_t *rows, size_t width, real *to) {
    const size_t line = 64 / sizeof(real); /* columns at a time: each cache line of `from` is read once */
    for (size_t first = 0; first < depth; first += line) {
        const size_t end = depth - first < line ? depth : first + line;
        for (size_t lane = 0; lane < width; lane++)
            for (size_t k = first; k < end; k++)
                to[k * width + lane] = rows[lane] == SIZE_MAX ? 0 : from[rows[lane] * depth + k];
    }
}

/* to (blocks, depth, vectors, LANES) from (rows, depth), or zeros if that is NULL. */
static void TYPED(pack_matrix)(const clstm_config *config, size_t layer, const TYPED(packed) *shape, size_t lanes,
                               const real *from, size_t depth, real *to) {
    size_t rows[4 * 64 / sizeof(real)]; /* no vector is longer than 64 bytes */
    for (size_t block = 0; block < shape->blocks; block++) {
        const size_t width = (block < shape->whole ? 4 : shape->last) * lanes;
        for (size_t lane = 0; lane < width; lane++)
            rows[lane] = from ? TYPED(source_row)(config, layer, shape, block, lane, lanes) : SIZE_MAX;
        TYPED(pack_block)(from, depth, rows, width, to);
        to += depth * width;
    }
}

/* Where the arrays of a pack stand in its memory. */
typedef struct TYPED(pack_offsets) {
    size_t input, recurrent, bias;
} TYPED(pack_offsets);

static TYPED(pack_offsets) TYPED(reserve_packed)(clstm_i_layout *layout, const clstm_config *config, size_t layer,
                                                 const TYPED(packed) *shape) {
    const int readout = layer == config->num_layers;
    TYPED(pack_offsets) at;
    at.input = clstm_i_reserve(layout, shape->input_size, shape->width, sizeof(real));
    at.recurrent = clstm_i_reserve(layout, readout ? 0 : config->hidden_size, shape->width, sizeof(real));
    at.bias = clstm_i_reserve(layout, 1, shape->width, sizeof(real));
    return at;
}

static void TYPED(fill_packed)(const clstm_model *model, size_t layer, size_t lanes, char *memory,
                               const TYPED(pack_offsets) *at, TYPED(packed) *packed) {
    const clstm_config *config = &model->config;
    const clstm_i_offsets from = clstm_i_layer_offsets(config, layer);
    const real *weights = model->parameters;
    real *input = (real *)(memory + at->input), *bias = (real *)(memory + at->bias);
    TYPED(pack_matrix)(config, layer, packed, lanes, weights + from.input, from.input_size, input);
    TYPED(pack_matrix)(config, layer, packed, lanes, config->no_bias ? NULL : weights + from.bias, 1, bias);
    packed->input = input;
    packed->bias = bias;
    if (layer == config->num_layers) return;
    real *recurrent = (real *)(memory + at->recurrent);
    TYPED(pack_matrix)(config, layer, packed, lanes, weights + from.recurrent, config->hidden_size, recurrent);
    packed->recurrent = recurrent;
}

static TYPED(pack) *TYPED(build_pack)(const clstm_model *model, size_t lanes, clstm_status *status) {
    const clstm_config *config = &model->config;
    const size_t count = config->num_layers + (config->output_size > 0);
    clstm_i_layout layout = {0, 0};
    clstm_i_reserve(&layout, 1, 1, sizeof(TYPED(pack)));
    clstm_i_reserve(&layout, count, 1, sizeof(TYPED(packed)));
    const clstm_i_layout head = layout;
    for (size_t k = 0; k < count; k++) {
        const TYPED(packed) shape = TYPED(layer_shape)(config, k, lanes);
        TYPED(reserve_packed)(&layout, config, k, &shape);
    }
    void *block;
    char *memory = clstm_i_allocate(&model->context, &layout, &block, status);
    if (!memory) return NULL;

    TYPED(pack) *pack = (TYPED(pack) *)memory;
    pack->owned.block = block;
    layout = head;
    for (size_t k = 0; k < count; k++) {
        pack->layers[k] = TYPED(layer_shape)(config, k, lanes);
        const TYPED(pack_offsets) at = TYPED(reserve_packed)(&layout, config, k, &pack->layers[k]);
        TYPED(fill_packed)(model, k, lanes, memory, &at, &pack->layers[k]);
    }
    return pack;
}

/* ---- Backwards ---- */

/* to (blocks, 4H, vectors, LANES) from weight_hh (4H, H): pieces of its rows, zeros after the last unit. */
static void TYPED(pack_transposed)(const TYPED(packed) *shape, size_t H, size_t lanes, const real *from, real *to) {
    for (size_t block = 0; block < shape->blocks; block++) {
        const size_t width = (block < shape->whole ? 4 : shape->last) * lanes, first = block * 4 * lanes;
        const size_t n = H - first < width ? H - first : width;
        for (size_t row = 0; row < 4 * H; row++, to += width) {
            memcpy(to, from + row * H + first, n * sizeof(real));
            memset(to + n, 0, (width - n) * sizeof(real));
        }
    }
}

static TYPED(pack) *TYPED(build_backward_pack)(const clstm_model *model, size_t lanes, clstm_status *status) {
    const clstm_config *config = &model->config;
    const size_t H = config->hidden_size, L = config->num_layers;
    const TYPED(packed) shape = TYPED(packed_shape)(H, 4 * H, lanes, 1); /* weight_hh^T, of any layer */
    clstm_i_layout layout = {0, 0};
    clstm_i_reserve(&layout, 1, 1, sizeof(TYPED(pack)) + L * sizeof(TYPED(packed)));
    const size_t weights = clstm_i_reserve(&layout, L * 4 * H, shape.width, sizeof(real));
    void *block;
    char *memory = clstm_i_allocate(&model->context, &layout, &block, status);
    if (!memory) return NULL;

    TYPED(pack) *pack = (TYPED(pack) *)memory;
    pack->owned.block = block;
    real *to = (real *)(memory + weights);
    for (size_t k = 0; k < L; k++, to += 4 * H * shape.width) {
        const size_t from = clstm_i_layer_offsets(config, k).recurrent;
        TYPED(pack_transposed)(&shape, H, lanes, (const real *)model->parameters + from, to);
        pack->layers[k] = shape;
        pack->layers[k].input = to;
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
