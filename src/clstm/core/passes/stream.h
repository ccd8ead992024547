/* Streams, typed: steps of the packed engine on the caller's thread, in the caller's memory. */
#pragma once

#include "gather.h"
#include "packed_weights.h"

typedef struct TYPED(stream) {
    clstm_stream base;
    const TYPED(clstm_i_kernels) *kernels;
    const TYPED(pack) *pack; /* base.pack */
    TYPED(clstm_i_cell) variant;
    const TYPED(clstm_i_cell) *cell; /* the variant, or NULL: the plain cell */
    size_t recurrent_size;
    size_t c_stride, h_stride; /* between rows of c and of h: whole vectors */
    size_t width;              /* lanes of a row of sums */
    int skews;                 /* a block's layers run a step apart */
    real *h0, *c0; /* (L, R), (L, H) the state that a new row starts from */
    real *h, *c;   /* (2, L, capacity, h_stride), (L, capacity, c_stride) the state so far. A step must not write what
                      it reads, so h has two halves; base.half is the current one */
    real *hidden;  /* (2, chunk, capacity, h_stride) h of a layer over some steps, and of the layer below; if `skews`,
                      (L, ...), of every layer */
    real *outputs; /* (capacity, c_stride) o_t tanh(c_t) before a projection */
    real *played;  /* (chunk, capacity, I) x times the input gain, if base.plays */
    real *sums;    /* (chunk, capacity, width) the hoisted input product */
    TYPED(clstm_i_steps) *ready;    /* (L,) prepared kernel arguments of each layer: a call sets only rows, x and h
                                       (building them anew costs 25 ns) */
    TYPED(clstm_i_product) readout; /* likewise */
} TYPED(stream);

/* ---- Memory ---- */

/* Places the arrays from an address on; with 0 for the address, only measures them. */
static void TYPED(place_stream)(TYPED(stream) *stream, clstm_i_layout *layout, uintptr_t memory) {
    const clstm_config *config = &stream->base.config;
    const size_t L = config->num_layers, B = stream->base.capacity;
    size_t states, rows;
    if (__builtin_mul_overflow(L, B, &states) || __builtin_mul_overflow(stream->base.chunk, B, &rows)
        || rows > SIZE_MAX / 2 || states > SIZE_MAX / 2) layout->overflow = 1;
    if (layout->overflow) return;
#define PLACE(array, rows, columns) \
    stream->array = (void *)(memory + clstm_i_reserve(layout, rows, columns, sizeof *stream->array))
    PLACE(ready, L, 1);
    PLACE(h0, L, stream->recurrent_size);
    PLACE(c0, L, config->hidden_size);
    PLACE(h, 2 * states, stream->h_stride);
    PLACE(c, states, stream->c_stride);
    PLACE(hidden, (stream->skews ? L : 2) * rows, stream->h_stride);
    PLACE(outputs, config->proj_size ? B : 0, stream->c_stride);
    PLACE(played, stream->base.plays ? rows : 0, config->input_size);
    PLACE(sums, stream->base.chunk > 1 ? rows : 0, stream->width);
#undef PLACE
}

/* Sets all that follows from the model, the batch and the kernels; no memory yet. */
static void TYPED(plan_stream)(TYPED(stream) *stream, const clstm_i_stream_plan *plan, const clstm_i_isa *isa) {
    const clstm_config *config = plan->config;
    const size_t batch = plan->batch;
    *stream = (TYPED(stream)){
        .base = {.config = *config, .plays = plan->plays, .is_f64 = REAL_IS_F64, .capacity = batch},
    };
    stream->kernels = isa->KERNELS;
    const size_t lanes = stream->kernels->lanes;
    stream->recurrent_size = clstm_i_recurrent_size(config);
    stream->c_stride = clstm_i_whole_vectors(config->hidden_size, lanes);
    stream->h_stride = clstm_i_whole_vectors(stream->recurrent_size, lanes);
    stream->width = TYPED(packed_shape)(config->hidden_size, 0, lanes, 0).width;
    stream->skews = TYPED(skews)(config, lanes);
    const size_t step = batch * (stream->width + 2 * stream->h_stride);
    const size_t fitting = TUNE_STREAM_BYTES / sizeof(real) / clstm_i_max(step, 1);
    stream->base.chunk = clstm_i_max(clstm_i_min(fitting, TUNE_STREAM_STEPS), 1);
}

static clstm_status TYPED(measure_stream)(const clstm_i_stream_plan *plan, const clstm_i_isa *isa, size_t *bytes) {
    TYPED(stream) stream;
    size_t row;
    clstm_i_layout layout = {0, 0};
    if (__builtin_mul_overflow(plan->batch, 8 * (plan->config->hidden_size + 64), &row)) return CLSTM_OVERFLOW;
    TYPED(plan_stream)(&stream, plan, isa);
    clstm_i_reserve(&layout, 1, 1, sizeof stream + CLSTM_I_ALIGNMENT); /* slack included */
    TYPED(place_stream)(&stream, &layout, 0);
    *bytes = layout.bytes;
    return layout.overflow ? CLSTM_OVERFLOW : CLSTM_OK;
}

/* ---- States ---- */

/* h of all rows of a layer. */
static real *TYPED(half)(const TYPED(stream) *stream, size_t layer, size_t half) {
    const size_t L = stream->base.config.num_layers;
    return stream->h + (half * L + layer) * stream->base.capacity * stream->h_stride;
}

static real *TYPED(h_of)(const TYPED(stream) *stream, size_t layer) {
    return TYPED(half)(stream, layer, stream->base.half);
}

static void TYPED(start_row)(clstm_stream *given, size_t row) {
    const TYPED(stream) *stream = (TYPED(stream) *)given;
    const size_t B = given->capacity, H = given->config.hidden_size, R = stream->recurrent_size;
    for (size_t k = 0; k < given->config.num_layers; k++) {
        memcpy(TYPED(h_of)(stream, k) + row * stream->h_stride, stream->h0 + k * R, R * sizeof(real));
        memcpy(stream->c + (k * B + row) * stream->c_stride, stream->c0 + k * H, H * sizeof(real));
    }
}

static void TYPED(copy_row)(const clstm_stream *given, size_t row, clstm_stream *given_to, size_t place) {
    const TYPED(stream) *from = (const TYPED(stream) *)given, *to = (TYPED(stream) *)given_to;
    const size_t B = given->capacity, to_B = given_to->capacity, h = from->h_stride, c = from->c_stride;
    for (size_t k = 0; k < given->config.num_layers; k++) {
        memcpy(TYPED(h_of)(to, k) + place * h, TYPED(h_of)(from, k) + row * h, h * sizeof(real));
        memcpy(to->c + (k * to_B + place) * c, from->c + (k * B + row) * c, c * sizeof(real));
    }
}

/* ---- Weights ---- */

/* The prepared kernel arguments of a layer's step; each call sets x and h. */
static TYPED(clstm_i_steps) TYPED(ready_step)(const TYPED(stream) *stream, size_t layer) {
    const TYPED(packed) *packed = &stream->pack->parts[layer];
    TYPED(clstm_i_steps) steps = {
        .product = TYPED(product_of)(packed, 0), .steps = 1,
        .c = stream->c + layer * stream->base.capacity * stream->c_stride, .h = stream->outputs,
        .stride = stream->c_stride, .hidden_size = stream->base.config.hidden_size,
        .fast = stream->base.config.activations == CLSTM_FAST, .cell = stream->cell, .peephole = packed->peephole,
    };
    TYPED(add_factor)(&steps.product, packed->input, NULL, packed->input.depth);
    TYPED(add_factor)(&steps.product, packed->recurrent, NULL, stream->h_stride);
    return steps;
}

static void TYPED(use_pack)(TYPED(stream) *stream, const TYPED(pack) *pack) {
    const clstm_config *config = &stream->base.config;
    atomic_fetch_add(&((clstm_i_owned *)&pack->owned)->users, 1); /* first: a child of a fork in between leaks the pack,
                                                                     but never releases it too early */
    stream->pack = pack;
    stream->base.pack = (clstm_i_owned *)&pack->owned;
    for (size_t k = 0; k < config->num_layers; k++) stream->ready[k] = TYPED(ready_step)(stream, k);
    if (config->output_size) stream->readout = TYPED(plain_product)(pack->readout, 0, NULL, stream->h_stride);
}

/* Takes the model's pack, and a copy of its initial state. */
static clstm_status TYPED(adopt_weights)(clstm_stream *given, const clstm_model *model) {
    TYPED(stream) *stream = (TYPED(stream) *)given;
    const clstm_config *config = &given->config;
    const clstm_i_offsets at = clstm_i_part_offsets(config, clstm_i_parts(config));
    const real *own = config->learn_state ? model->parameters : NULL;
    clstm_status status;
    const TYPED(pack) *pack = TYPED(get_pack)(model, CLSTM_I_FORWARD, stream->kernels->lanes, &status);
    if (!pack) return status;
    TYPED(use_pack)(stream, pack);
    TYPED(copy_or_zero)(stream->h0, own ? own + at.h0 : NULL, config->num_layers * stream->recurrent_size);
    TYPED(copy_or_zero)(stream->c0, own ? own + at.c0 : NULL, config->num_layers * config->hidden_size);
    return CLSTM_OK;
}

static void TYPED(share_weights)(const clstm_stream *given, clstm_stream *given_to) {
    const TYPED(stream) *from = (const TYPED(stream) *)given;
    TYPED(stream) *to = (TYPED(stream) *)given_to;
    TYPED(use_pack)(to, from->pack);
    memcpy(to->h0, from->h0, given->config.num_layers * from->recurrent_size * sizeof(real));
    memcpy(to->c0, from->c0, given->config.num_layers * given->config.hidden_size * sizeof(real));
}

/* `memory` is large enough and aligned. */
static void TYPED(begin_stream)(const clstm_i_stream_plan *plan, const clstm_i_isa *isa, char *memory) {
    TYPED(stream) *stream = (TYPED(stream) *)memory;
    clstm_i_layout layout = {0, 0};
    TYPED(plan_stream)(stream, plan, isa);
    clstm_i_reserve(&layout, 1, 1, sizeof *stream);
    TYPED(place_stream)(stream, &layout, (uintptr_t)memory);
    clstm_i_assert(clstm_i_is_aligned(stream->h) && (char *)stream->hidden > (char *)stream->h);
    memset(stream->h, 0, (size_t)((char *)stream->hidden - (char *)stream->h)); /* padding included */
    stream->cell = TYPED(read_cell)(plan->config, stream->kernels, &stream->variant);
}

/* ---- Steps ---- */

/* h_t = weight_hr (o_t hidden(c_t)). */
static void TYPED(project)(const TYPED(stream) *stream, size_t layer, real *hidden) {
    const TYPED(packed) *packed = &stream->pack->projections[layer];
    const TYPED(clstm_i_product) product =
        TYPED(plain_product)(packed, stream->base.rows, stream->outputs, stream->c_stride);
    stream->kernels->multiply(&product, hidden, stream->h_stride, stream->recurrent_size);
}

/* Hoists the input product of n steps, if that is faster: the steps then start from it. */
static void TYPED(hoist)(const TYPED(stream) *stream, TYPED(clstm_i_steps) *steps, size_t n) {
    TYPED(clstm_i_product) *product = &steps->product;
    const size_t rows = product->rows;
    const clstm_i_shape shape = {.steps = n, .batch = rows, .total = n * rows};
    if (!clstm_i_hoists(&shape, CLSTM_I_UNITS, product->factors[0].matrix.depth)) return;
    TYPED(clstm_i_product) all = *product;
    all.rows = n * rows;
    all.count = product->count = 1;
    stream->kernels->multiply(&all, stream->sums, stream->width, stream->width);
    product->factors[0] = product->factors[1];
    product->start = stream->sums;
    product->start_stride = stream->width;
}

/* Steps that are each followed by a projection, whose result is the h that the next step reads. */
static void TYPED(projected_steps)(const TYPED(stream) *stream, size_t layer, TYPED(clstm_i_steps) *steps, size_t n,
                                   real *hidden) {
    TYPED(clstm_i_product) *product = &steps->product;
    TYPED(clstm_i_factor) *recurrent = &product->factors[product->count - 1];
    for (size_t t = 0; t < n; t++, hidden += product->rows * stream->h_stride) {
        TYPED(run_kernel_steps)(stream->kernels, steps);
        TYPED(project)(stream, layer, hidden);
        recurrent->a = hidden;
        if (product->count == 2) product->factors[0].a += product->rows * product->factors[0].stride;
        product->start += product->rows * product->start_stride;
    }
}

/* n steps of a layer, from x (n, rows, .) to `hidden` (n, rows, h_stride). */
static void TYPED(stream_layer)(const TYPED(stream) *stream, size_t layer, size_t n, const real *x, size_t x_stride,
                                real *hidden) {
    const int projects = stream->base.config.proj_size > 0;
    TYPED(clstm_i_steps) *ready = &stream->ready[layer];
    TYPED(clstm_i_product) *product = &ready->product;
    clstm_i_assert(n && n <= stream->base.chunk && stream->base.rows <= stream->base.capacity);
    product->rows = ready->batch = stream->base.rows;
    product->factors[0].a = x;
    product->factors[0].stride = x_stride;
    product->factors[1].a = TYPED(h_of)(stream, layer);
    if (n == 1 && !projects) {
        ready->h = hidden;
        TYPED(run_kernel_steps)(stream->kernels, ready);
        ready->first++; /* zig-zag: the next step visits the blocks in reverse */
        return;
    }
    TYPED(clstm_i_steps) steps = *ready;
    TYPED(hoist)(stream, &steps, n);
    if (projects) {
        TYPED(projected_steps)(stream, layer, &steps, n, hidden);
        return;
    }
    steps.steps = n;
    steps.h = hidden;
    TYPED(run_kernel_steps)(stream->kernels, &steps);
}

/* From the last layer's h (n, rows, h_stride) to y (n, rows, O). */
static void TYPED(stream_out)(TYPED(stream) *stream, size_t n, const real *hidden, real *y) {
    const size_t rows = n * stream->base.rows;
    if (!stream->base.config.output_size) {
        TYPED(copy_rows)(y, stream->recurrent_size, hidden, stream->h_stride, rows, stream->recurrent_size);
        return;
    }
    const size_t columns = stream->base.config.output_size;
    stream->readout.rows = rows;
    stream->readout.factors[0].a = hidden;
    stream->kernels->multiply(&stream->readout, y, columns, columns);
}

/* All layers together, a step apart. Returns the h of the last one. */
static const real *TYPED(stream_skewed)(const TYPED(stream) *stream, size_t n, const real *x) {
    const clstm_config *config = &stream->base.config;
    const size_t L = config->num_layers, rows = stream->base.rows * stream->h_stride;
    TYPED(clstm_i_steps) layers[TYPED(SKEWED_LAYERS)];
    size_t stride = config->input_size;
    for (size_t k = 0; k < L; k++) {
        TYPED(clstm_i_steps) *steps = &layers[k];
        TYPED(clstm_i_product) *product = &steps->product;
        *steps = stream->ready[k];
        steps->steps = n;
        steps->h = stream->hidden + k * stream->base.chunk * stream->base.capacity * stream->h_stride;
        product->rows = steps->batch = stream->base.rows;
        product->factors[0].a = x;
        product->factors[0].stride = stride;
        product->factors[1].a = TYPED(h_of)(stream, k);
        x = steps->h;
        stride = stream->h_stride;
    }
    TYPED(hoist)(stream, layers, n);
    stream->kernels->skewed_steps(layers, L);
    for (size_t k = 0; k < L; k++)
        memcpy(TYPED(half)(stream, k, !stream->base.half), layers[k].h + (n - 1) * rows, rows * sizeof(real));
    return x;
}

/* One layer after the other. A single step writes its h to the state; after several steps the last h is copied there.
   Returns the h of the last layer. */
static const real *TYPED(stream_layers)(const TYPED(stream) *stream, size_t n, const real *x) {
    const clstm_config *config = &stream->base.config;
    const size_t rows = stream->base.rows * stream->h_stride, next = !stream->base.half;
    size_t stride = config->input_size;
    for (size_t k = 0; k < config->num_layers; k++) {
        real *state = TYPED(half)(stream, k, next), *hidden = state;
        if (n > 1) hidden = stream->hidden + k % 2 * stream->base.chunk * stream->base.capacity * stream->h_stride;
        TYPED(stream_layer)(stream, k, n, x, stride, hidden);
        if (n > 1) memcpy(state, hidden + (n - 1) * rows, rows * sizeof(real));
        x = hidden;
        stride = stream->h_stride;
    }
    return x;
}

static void TYPED(advance_stream)(TYPED(stream) *stream, size_t n, const real *x, real *y) {
    if (n > 1 && stream->skews) x = TYPED(stream_skewed)(stream, n, x);
    else x = TYPED(stream_layers)(stream, n, x);
    stream->base.half = !stream->base.half;
    if (y) TYPED(stream_out)(stream, n, x, y);
}

/* With the gains and the skip around the LSTM; y may be x. */
static void TYPED(play)(TYPED(stream) *stream, size_t n, const real *x, real *y) {
    const clstm_around *around = &stream->base.around;
    const size_t rows = n * stream->base.rows, I = stream->base.config.input_size;
    const size_t O = clstm_i_output_size(&stream->base.config);
    const real input = (real)around->input_gain, skip = (real)around->skip, output = (real)around->output_gain;
    for (size_t k = 0; k < rows * I; k++) stream->played[k] = input * x[k];
    TYPED(advance_stream)(stream, n, stream->played, y);
    for (size_t row = 0; y && row < rows; row++) {
        const real past = skip * stream->played[row * I];
        for (size_t o = row * O; o < (row + 1) * O; o++) y[o] = output * (y[o] + past);
    }
}

clstm_status PUBLIC(stream_process)(clstm_stream *given, size_t steps, const real *x, real *y) {
    if (!given || (!x && steps && given->rows)) return CLSTM_INVALID_ARGUMENT;
    if (given->is_f64 != REAL_IS_F64) return CLSTM_WRONG_DTYPE;
    TYPED(stream) *stream = (TYPED(stream) *)given;
    const size_t rows = given->rows, I = given->config.input_size, O = clstm_i_output_size(&given->config);
    if (!rows) return CLSTM_OK;
    const int keeps = given->flags & CLSTM_STREAM_KEEP_ENVIRONMENT;
    const clstm_i_environment before = keeps ? 0 : clstm_i_enter();
    for (size_t left = steps, n; left; left -= n) {
        n = left < given->chunk ? left : given->chunk;
        if (given->plays) TYPED(play)(stream, n, x, y);
        else TYPED(advance_stream)(stream, n, x, y);
        x += n * rows * I;
        if (y) y += n * rows * O;
    }
    if (!keeps) clstm_i_leave(before);
    return CLSTM_OK;
}

clstm_status PUBLIC(stream_step)(clstm_stream *stream, const real *x, real *y) {
    return PUBLIC(stream_process)(stream, 1, x, y);
}

/* ---- The state, to read and to write ---- */

clstm_status PUBLIC(stream_get_state)(const clstm_stream *given, real *h, real *c) {
    if (!given) return CLSTM_INVALID_ARGUMENT;
    if (given->is_f64 != REAL_IS_F64) return CLSTM_WRONG_DTYPE;
    const TYPED(stream) *stream = (const TYPED(stream) *)given;
    const size_t B = given->capacity, rows = given->rows, H = given->config.hidden_size, R = stream->recurrent_size;
    for (size_t k = 0; k < given->config.num_layers; k++) {
        if (h) TYPED(copy_rows)(h + k * rows * R, R, TYPED(h_of)(stream, k), stream->h_stride, rows, R);
        if (c) TYPED(copy_rows)(c + k * rows * H, H, stream->c + k * B * stream->c_stride, stream->c_stride, rows, H);
    }
    return CLSTM_OK;
}

clstm_status PUBLIC(stream_set_state)(clstm_stream *given, const real *h, const real *c) {
    if (!given) return CLSTM_INVALID_ARGUMENT;
    if (given->is_f64 != REAL_IS_F64) return CLSTM_WRONG_DTYPE;
    const TYPED(stream) *stream = (const TYPED(stream) *)given;
    const size_t B = given->capacity, rows = given->rows, H = given->config.hidden_size, R = stream->recurrent_size;
    for (size_t k = 0; k < given->config.num_layers; k++) {
        if (h) TYPED(copy_rows)(TYPED(h_of)(stream, k), stream->h_stride, h + k * rows * R, R, rows, R);
        if (c) TYPED(copy_rows)(stream->c + k * B * stream->c_stride, stream->c_stride, c + k * rows * H, H, rows, H);
    }
    return CLSTM_OK;
}

/* The functions that stream.c calls by the stream's type. */
const clstm_i_stream_functions TYPED(clstm_i_stream) = {
    TYPED(measure_stream), TYPED(begin_stream), TYPED(adopt_weights),
    TYPED(share_weights), TYPED(start_row), TYPED(copy_row),
};
