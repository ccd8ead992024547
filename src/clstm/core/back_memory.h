/* A backward pass's engine and memory, typed. */

/* Whether the gradient from above can be read where the caller has it: nothing need be added, and its rows are whole
   vectors. */
static int TYPED(reads_dy)(const TYPED(back_pass) *pass, size_t layer) {
    const clstm_config *config = &pass->tape->config;
    return layer + 1 == config->num_layers && pass->directions == 1 && pass->direct && !pass->between && pass->pack
           && pass->gradients->dy && !config->output_size && !pass->gradients->dhn
           && pass->h_stride == pass->recurrent_size;
}

/* Chooses the engine, and what follows from it; a cell that is not plain goes into *cell. */
static clstm_status TYPED(choose_backward)(TYPED(back_pass) *pass, TYPED(clstm_i_cell) *cell) {
    const clstm_tape *tape = pass->tape;
    const clstm_config *config = &tape->config;
    const clstm_i_isa *isa;
    int packed;
    clstm_status status = clstm_i_chosen(&isa, &packed);
    if (status) return status;
    const size_t lanes = isa->KERNELS->lanes;
    pass->call->blas = !packed;
    pass->kernels = isa->KERNELS;
    pass->cell = TYPED(read_cell)(config, pass->kernels, cell);
    pass->directions = clstm_i_directions(config);
    pass->hidden_size = pass->stride = config->hidden_size;
    pass->recurrent_size = pass->h_stride = clstm_i_recurrent_size(config);
    pass->between = config->proj_size || TYPED(drops_recurrent)(tape);
    pass->direct = tape->plan.caller.at == tape->plan.offsets && config->direction != CLSTM_REVERSE;
    if (!packed) return CLSTM_OK;
    pass->stride = clstm_i_whole_vectors(pass->stride, lanes);
    pass->h_stride = clstm_i_whole_vectors(pass->h_stride, lanes);
    pass->pack = TYPED(get_pack)(tape->model, 1, lanes, &status);
    if (!status && !tape->gates) pass->forward_pack = TYPED(get_pack)(tape->model, 0, lanes, &status);
    return status;
}

/* Rows of a chunk: enough for fast products, few enough that these find in a cache what the recurrence has left.
   Several threads copy weights and h each, for every chunk, and meet after it: of (50,128,512,512) two take 3 % less
   with four times as many rows; of H = 128 1 % more, as one thread does of any H. */
static size_t TYPED(rows_at_once)(const clstm_i_plan *plan, size_t H, size_t threads, int again) {
    const size_t bytes = (size_t)(again ? 4 : 1) << 20, shared = (size_t)16 << 20, row = 4 * H * sizeof(real);
    const size_t each = 1024, least = again ? 0 : 512;
    size_t rows = bytes / row;
    if (rows < least) rows = least;
    if (!again && threads > 1 && H > 128 && rows < shared / row)
        rows = shared / row < each * threads ? shared / row : each * threads;
    return rows < plan->batch ? plan->batch : rows < plan->total ? rows : plan->total;
}

/* The arrays of a pass, in memory that begins at an address; with 0 for it, only what they need. */
static void TYPED(place_back)(TYPED(back_pass) *pass, clstm_i_layout *layout, uintptr_t memory) {
    const clstm_tape *tape = pass->tape;
    const clstm_config *config = &tape->config;
    const size_t total = tape->plan.total, B = tape->plan.batch, D = pass->directions, H = pass->hidden_size;
    const size_t R = pass->recurrent_size, I = config->input_size, O = config->output_size, L = config->num_layers;
    const size_t widest = I > D * R && pass->gradients->dx ? I : D * R, threads = pass->call->context->team.threads;
    const int below = L > 1 || !TYPED(reads_dy)(pass, L - 1), drops = TYPED(drops_recurrent)(tape);
    const int dx_own = D > 1 || !pass->direct, dh0 = pass->gradients->dh0 || tape->own_h0;
#define PLACE(array, wanted, rows, columns) \
    array = (wanted) ? (void *)(memory + clstm_i_reserve(layout, rows, columns, sizeof *array)) : NULL
    PLACE(pass->above, D > 1 && (L > 1 || O), total, D * R);
    PLACE(pass->dy, O && !pass->direct, total, O);
    PLACE(pass->x_back, D > 1, total, I > D * R ? I : D * R);
    PLACE(pass->dx_own, dx_own, pass->at_once, widest);
    real *zeros;
    PLACE(zeros, 1, 4, pass->stride);
    pass->zeros = zeros;
    PLACE(pass->call->scratch, 1, threads ? threads : 1, CLSTM_I_GEMM_BYTES);
    for (size_t d = 0; d < D; d++) {
        TYPED(back) *back = &pass->backs[d];
        back->pass = pass;
        back->direction = d;
        PLACE(back->counters, 1, threads + 1, 1);
        PLACE(back->gathered, tape->plan.lengths != NULL, pass->at_once, R);
        PLACE(back->below, below, total, pass->h_stride);
        PLACE(back->dc, 1, B, H);
        PLACE(back->dh0, dh0, B, R);
        PLACE(back->dm, pass->between, B, H);
        PLACE(back->dropped, drops, B, R);
        PLACE(back->gates, pass->again, pass->at_once, 4 * H);
        PLACE(back->states, pass->again, 2 * pass->at_once, pass->stride);
        PLACE(back->after, pass->again, B, 4 * H);
    }
#undef PLACE
}

static clstm_status TYPED(allocate_backward)(TYPED(back_pass) *pass) {
    const clstm_tape *tape = pass->tape;
    const size_t threads = pass->call->context->team.threads;
    pass->again = !tape->gates;
    pass->at_once = TYPED(rows_at_once)(&tape->plan, pass->hidden_size, threads, pass->again);
    clstm_i_layout layout = {0, 0};
    TYPED(place_back)(pass, &layout, 0);
    clstm_status status;
    pass->memory = clstm_i_borrow(tape->model->cache, CLSTM_I_WORKSPACE, &layout, &status);
    if (status) return status;
    layout = (clstm_i_layout){0, 0};
    TYPED(place_back)(pass, &layout, (uintptr_t)pass->memory);
    memset((real *)pass->zeros, 0, 4 * pass->stride * sizeof(real));
    return CLSTM_OK;
}
