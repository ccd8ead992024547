/* The tape, typed: a forward pass that keeps what the backward pass needs. */

/* Memory for a tape, nothing in it yet. */
static clstm_status TYPED(make_tape)(const clstm_model *model, const PUBLIC(sequence) *sequence,
                                     const clstm_context *context, clstm_tape **result) {
    const clstm_config *config = &model->config;
    const size_t H = config->hidden_size, L = config->num_layers, T = sequence->steps, B = sequence->batch;
    clstm_i_layout layout = {0, 0};
    size_t total, rows, slots;
    if (__builtin_mul_overflow(T, B, &total) || __builtin_mul_overflow(total, L, &rows)
        || __builtin_add_overflow(total, B, &slots) || __builtin_mul_overflow(slots, L, &slots))
        return CLSTM_OVERFLOW;

    const size_t self = clstm_i_reserve(&layout, 1, 1, sizeof(clstm_tape));
    const size_t planned = clstm_i_plan_reserve(&layout, T, B);
    const size_t x = clstm_i_reserve(&layout, total, config->input_size, sizeof(real));
    const int lean = sequence->keep == CLSTM_KEEP_STATES;
    const size_t gates = clstm_i_reserve(&layout, lean ? 0 : rows, 4 * H, sizeof(real));
    const size_t hidden = clstm_i_reserve(&layout, slots, H, sizeof(real));
    const size_t cells = clstm_i_reserve(&layout, slots, H, sizeof(real));
    clstm_status status;
    void *block;
    char *memory = clstm_i_borrow_tape(model, context, &layout, &block, &status);
    if (!memory) return status;

    clstm_tape *tape = (clstm_tape *)(memory + self);
    *tape = (clstm_tape){
        .context = *context, .block = block, .cache = model->cache,
        .model = model, .model_version = model->version, .config = *config,
        .is_f64 = REAL_IS_F64, .plan = clstm_i_plan_uniform(T, B, (size_t *)(memory + planned)),
        .x = memory + x, .gates = lean ? NULL : memory + gates, .hidden = memory + hidden, .cells = memory + cells,
    };
    *result = tape;
    return CLSTM_OK;
}

/* Copies the input, and the initial state into slot 0 of every layer. */
static void TYPED(begin_tape)(clstm_tape *tape, const PUBLIC(sequence) *sequence) {
    const clstm_config *config = &tape->config;
    const size_t states = tape->plan.batch * config->hidden_size;
    const size_t slots = states + tape->plan.total * config->hidden_size;
    TYPED(copy_or_zero)(tape->x, sequence->x, tape->plan.total * config->input_size);
    for (size_t k = 0; k < config->num_layers; k++) {
        const real *h0 = sequence->h0 ? sequence->h0 + k * states : NULL;
        const real *c0 = sequence->c0 ? sequence->c0 + k * states : NULL;
        TYPED(copy_or_zero)((real *)tape->hidden + k * slots, h0, states);
        TYPED(copy_or_zero)((real *)tape->cells + k * slots, c0, states);
    }
}

clstm_status PUBLIC(tape_read)(const clstm_tape *tape, clstm_tape_field field, size_t k, real *out, size_t row_stride) {
    if (!tape || !out) return CLSTM_INVALID_ARGUMENT;
    if ((unsigned)field > CLSTM_HIDDEN_STATE || k >= tape->config.num_layers) return CLSTM_INVALID_ARGUMENT;
    if (tape->is_f64 != REAL_IS_F64) return CLSTM_WRONG_DTYPE;
    if (tape->consumed) return CLSTM_TAPE_CONSUMED;

    const size_t H = tape->config.hidden_size, total = tape->plan.total, B = tape->plan.batch;
    const size_t slot = (k * (B + total) + B) * H;
    const int is_gate = field < CLSTM_CELL_STATE;
    if (is_gate && !tape->gates) return CLSTM_INVALID_ARGUMENT;
    const real *from = is_gate ? (const real *)tape->gates + k * total * 4 * H + (size_t)field * H
                               : (const real *)(field == CLSTM_CELL_STATE ? tape->cells : tape->hidden) + slot;
    for (size_t row = 0; row < total; row++)
        memcpy(out + row * row_stride, from + row * (is_gate ? 4 * H : H), H * sizeof(real));
    return CLSTM_OK;
}
