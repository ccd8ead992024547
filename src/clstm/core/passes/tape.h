/* The tape, typed: what a forward pass records for the backward pass. */
#pragma once

#include "gather.h"

/* Places the arrays of a tape from an address on; with 0 for the address, only measures them. */
static void TYPED(place_tape)(clstm_tape *tape, clstm_i_layout *layout, const PUBLIC(sequence) *sequence,
                              uintptr_t memory) {
    const clstm_config *config = &tape->config;
    const size_t H = config->hidden_size, R = clstm_i_recurrent_size(config), L = config->num_layers;
    const size_t parts = clstm_i_parts(config), D = clstm_i_directions(config), total = tape->plan.total;
    const int gates = sequence->keep == CLSTM_KEEP_GATES;
    size_t rows, slots, inputs = D > 1 || sequence->dropout ? L - 1 : 0;
    if (D > 1 && config->output_size) inputs++;
    if (__builtin_mul_overflow(total, parts, &rows) || __builtin_add_overflow(total, sequence->batch, &slots)
        || __builtin_mul_overflow(slots, parts, &slots) || __builtin_mul_overflow(inputs, total, &inputs))
        layout->overflow = 1;
    if (layout->overflow) return;
#define PLACE(array, wanted, rows, columns) \
    tape->array = (wanted) ? (void *)(memory + clstm_i_reserve(layout, rows, columns, sizeof(real))) : NULL
    PLACE(x, 1, total, config->input_size);
    PLACE(inputs, D > 1 || sequence->dropout, inputs, D * R);
    PLACE(gates, gates, rows, 4 * H);
    PLACE(hidden, 1, slots, R);
    PLACE(recurrent, sequence->recurrent_dropout, slots, R);
    PLACE(cells, 1, slots, H);
    PLACE(outputs, gates && config->proj_size, rows, H);
#undef PLACE
    if (!tape->recurrent) tape->recurrent = tape->hidden;
}

static clstm_i_extent TYPED(extent)(const PUBLIC(sequence) *sequence) {
    return (clstm_i_extent){sequence->steps, sequence->batch, sequence->lengths, sequence->ragged};
}

/* Allocates a tape and makes its plan; its arrays are still undefined. */
static clstm_status TYPED(make_tape)(const clstm_model *model, const PUBLIC(sequence) *sequence,
                                     const clstm_context *context, clstm_tape **result) {
    const clstm_i_extent extent = TYPED(extent)(sequence);
    clstm_tape own = {
        .context = *context, .cache = model->cache, .model = model, .model_version = model->version,
        .config = model->config, .is_f64 = REAL_IS_F64,
        .own_h0 = model->config.learn_state && !sequence->h0, .own_c0 = model->config.learn_state && !sequence->c0,
        .dropout = sequence->dropout, .recurrent_dropout = sequence->recurrent_dropout,
    };
    clstm_i_layout layout = {0, 0};
    clstm_status status = clstm_i_plan_total(&extent, &own.plan.total);
    if (status) return status;
    const size_t self = clstm_i_reserve(&layout, 1, 1, sizeof(clstm_tape));
    const size_t plan = clstm_i_plan_reserve(&layout, &extent);
    const clstm_i_layout head = layout;
    TYPED(place_tape)(&own, &layout, sequence, 0);
    char *memory = clstm_i_borrow_tape(model, context, &layout, &own.block, &status);
    if (!memory) return status;

    layout = head;
    TYPED(place_tape)(&own, &layout, sequence, (uintptr_t)memory);
    own.plan = clstm_i_plan_make(&extent, (size_t *)(memory + plan));
    *result = (clstm_tape *)(memory + self);
    **result = own;
    return CLSTM_OK;
}

/* A layer's recorded input, (total, D R) in forward order; NULL if it is just the h of the layer below. Layer L is the
   readout. */
static real *TYPED(tape_input)(const clstm_tape *tape, size_t layer) {
    const clstm_config *config = &tape->config;
    const int reads_out = clstm_i_directions(config) > 1 && config->output_size;
    if (!layer || !tape->inputs || (layer == config->num_layers && !reads_out)) return NULL;
    return (real *)tape->inputs + (layer - 1) * tape->plan.total * clstm_i_layer_size(config);
}

/* The mask of a layer's input, with factors of 0 or 1 / (1 - p); without data if there is no dropout. */
static TYPED(row_view) TYPED(dropout_of)(const clstm_tape *tape, size_t layer) {
    const clstm_config *config = &tape->config;
    const size_t size = clstm_i_layer_size(config), before = (layer - 1) * clstm_i_caller_rows(&tape->plan) * size;
    if (!tape->dropout) return (TYPED(row_view)){0};
    return TYPED(caller_view)(&tape->plan, (const real *)tape->dropout + before, size, clstm_i_is_reversed(config, 0));
}

/* Applies dropout to a layer's input, for some rows of some steps. */
static void TYPED(drop_input)(const clstm_tape *tape, size_t layer, size_t first, size_t last, clstm_i_range rows) {
    if (!tape || !tape->dropout) return;
    const size_t size = clstm_i_layer_size(&tape->config);
    const TYPED(row_view) factors = TYPED(dropout_of)(tape, layer);
    real *data = TYPED(tape_input)(tape, layer) + tape->plan.offsets[first] * size;
    const TYPED(packed_rows) own = {data, size, size, {first, last}, rows};
    if (first < last) TYPED(exchange_rows)(&tape->plan, TYPED(scale_by_rows), &own, &factors);
}

/* Slot 0 of a part, in an array that has slots. */
static real *TYPED(slots)(const clstm_tape *tape, const void *array, size_t part, size_t columns) {
    clstm_i_assert(array && part < clstm_i_parts(&tape->config));
    return (real *)array + part * (tape->plan.batch + tape->plan.total) * columns;
}

static int TYPED(drops_recurrent)(const clstm_tape *tape) { return tape && tape->recurrent != tape->hidden; }

/* Applies recurrent dropout: a factor for each element of h, for some rows of the batch. */
static void TYPED(drop_recurrent)(const clstm_tape *tape, size_t part, clstm_i_range rows, const real *h,
                                  size_t h_stride, real *dropped) {
    const size_t R = clstm_i_recurrent_size(&tape->config);
    const real *factors = (const real *)tape->recurrent_dropout + part * tape->plan.batch * R;
    clstm_i_assert(h_stride >= R && rows.end <= tape->plan.batch);
    for (size_t row = rows.begin; row < rows.end; row++, h += h_stride, dropped += R) {
        const real *own = factors + clstm_i_caller_row(&tape->plan, row) * R;
        for (size_t j = 0; j < R; j++) dropped[j] = h[j] * own[j];
    }
}

/* Copies the input, and the initial state into slot 0 of every part. */
static void TYPED(begin_tape)(clstm_tape *tape, const TYPED(row_view) *x, const real *h, size_t h_stride, const real *c,
                              size_t c_stride) {
    const clstm_config *config = &tape->config;
    const size_t B = tape->plan.batch, I = config->input_size, H = config->hidden_size;
    const size_t R = clstm_i_recurrent_size(config);
    TYPED(exchange_all)(&tape->plan, TYPED(gather_rows), tape->x, I, I, x);
    for (size_t q = 0; q < clstm_i_parts(config); q++, h += B * h_stride, c += B * c_stride) {
        TYPED(copy_rows)(TYPED(slots)(tape, tape->hidden, q, R), R, h, h_stride, B, R);
        TYPED(copy_rows)(TYPED(slots)(tape, tape->cells, q, H), H, c, c_stride, B, H);
        if (TYPED(drops_recurrent)(tape))
            TYPED(drop_recurrent)(tape, q, (clstm_i_range){0, B}, h, h_stride,
                                  TYPED(slots)(tape, tape->recurrent, q, R));
    }
}

clstm_status PUBLIC(tape_read)(const clstm_tape *tape, clstm_tape_field field, size_t part, real *out,
                               size_t row_stride) {
    if (!tape || !out) return CLSTM_INVALID_ARGUMENT;
    if ((unsigned)field > CLSTM_HIDDEN_STATE || part >= clstm_i_parts(&tape->config)) return CLSTM_INVALID_ARGUMENT;
    if (tape->is_f64 != REAL_IS_F64) return CLSTM_WRONG_DTYPE;
    if (tape->consumed) return CLSTM_TAPE_CONSUMED;

    const clstm_config *config = &tape->config;
    const clstm_i_plan *plan = &tape->plan;
    const size_t H = config->hidden_size, B = plan->batch, R = clstm_i_recurrent_size(config);
    const int is_gate = field < CLSTM_CELL_STATE;
    if (is_gate && !tape->gates) return CLSTM_INVALID_ARGUMENT;
    const size_t columns = field == CLSTM_HIDDEN_STATE ? R : H;
    real *from;
    if (is_gate) from = (real *)tape->gates + part * plan->total * 4 * H + (size_t)field * H;
    else from = TYPED(slots)(tape, field == CLSTM_HIDDEN_STATE ? tape->hidden : tape->cells, part, columns)
                + B * columns;
    const int reversed = clstm_i_is_reversed(config, part % clstm_i_directions(config));
    const TYPED(row_view) to = TYPED(caller_view)(plan, out, row_stride, reversed);
    TYPED(zero_padding)(plan, out, row_stride, columns, 0, 1);
    TYPED(exchange_all)(plan, TYPED(scatter_rows), from, is_gate ? 4 * H : columns, columns, &to);
    return CLSTM_OK;
}
