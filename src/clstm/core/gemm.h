/* Products, typed. They go to the host's BLAS in pieces, so that they can be cancelled; or to the plain one below. */

enum { TYPED(TILE) = 64 }; /* two tiles of 16 or 32 KiB stand on the stack, and in a private cache */

/* op(A)[first_row.., first_column..] as a dense rows x columns tile. */
static void TYPED(load_tile)(const real *a, size_t lda, int transpose, clstm_i_range rows, clstm_i_range columns,
                             real *tile) {
    const size_t width = columns.end - columns.begin;
    for (size_t row = rows.begin; row < rows.end; row++)
        for (size_t column = columns.begin; column < columns.end; column++)
            tile[(row - rows.begin) * width + column - columns.begin] =
                transpose ? a[column * lda + row] : a[row * lda + column];
}

/* C[i.., j..] += the product of two dense tiles; k is added in its order, whatever the tiling. */
static void TYPED(multiply_tiles)(const real *a, const real *b, clstm_i_range i, clstm_i_range j, size_t depth,
                                  real *c, size_t ldc) {
    const size_t width = j.end - j.begin;
    for (size_t row = i.begin; row < i.end; row++) {
        const real *a_row = a + (row - i.begin) * depth;
        real *restrict c_row = c + row * ldc + j.begin;
        for (size_t k = 0; k < depth; k++) {
            const real *restrict b_row = b + k * width;
            for (size_t column = 0; column < width; column++) c_row[column] += a_row[k] * b_row[column];
        }
    }
}

static clstm_i_range TYPED(tile)(size_t begin, size_t end) {
    return (clstm_i_range){begin, end - begin < TYPED(TILE) ? end : begin + TYPED(TILE)};
}

/* The plain product: right for every shape, tuned for none. */
static void TYPED(plain_gemm)(const PUBLIC(gemm) *p) {
    real a[TYPED(TILE) * TYPED(TILE)], b[TYPED(TILE) * TYPED(TILE)];
    if (!p->accumulate)
        for (size_t row = 0; row < p->m; row++) memset(p->c + row * p->ldc, 0, p->n * sizeof(real));

    for (size_t k0 = 0; k0 < p->k; k0 += TYPED(TILE)) {
        const clstm_i_range k = TYPED(tile)(k0, p->k);
        for (size_t j0 = 0; j0 < p->n; j0 += TYPED(TILE)) {
            const clstm_i_range j = TYPED(tile)(j0, p->n);
            TYPED(load_tile)(p->b, p->ldb, p->transpose_b, k, j, b);
            for (size_t i0 = 0; i0 < p->m; i0 += TYPED(TILE)) {
                const clstm_i_range i = TYPED(tile)(i0, p->m);
                TYPED(load_tile)(p->a, p->lda, p->transpose_a, i, k, a);
                TYPED(multiply_tiles)(a, b, i, j, k.end - k.begin, p->c, p->ldc);
            }
        }
    }
}

/* The part of a product that has rows `i` of C and columns `k` of op(A). */
static PUBLIC(gemm) TYPED(piece)(const PUBLIC(gemm) *p, clstm_i_range i, clstm_i_range k) {
    PUBLIC(gemm) piece = *p;
    piece.m = i.end - i.begin;
    piece.k = k.end - k.begin;
    piece.a += p->transpose_a ? k.begin * p->lda + i.begin : i.begin * p->lda + k.begin;
    piece.b += p->transpose_b ? k.begin : k.begin * p->ldb;
    piece.c += i.begin * p->ldc;
    piece.accumulate = p->accumulate || k.begin > 0;
    return piece;
}

/* BLAS counts in int32, and an empty product may have no matrices to point at. The pieces below keep the longer one
   of m and k far smaller. */
static int TYPED(suits_blas)(const PUBLIC(gemm) *p) {
    const size_t most = INT32_MAX, shorter = p->m < p->k ? p->m : p->k;
    return p->k && p->n <= most && shorter <= most && p->lda <= most && p->ldb <= most && p->ldc <= most;
}

/* One product by one thread, in pieces of some milliseconds along the longer of m and k. Once cancelled, C is
   undefined. */
static void TYPED(product)(clstm_i_call *call, size_t index, const PUBLIC(gemm) *p) {
    /* What a call of a small product costs beyond its multiply-adds, and a row of C beyond its own. */
    const double per_call = 2e4, per_element = 64, piece_work = 2.5e8;
    void (*gemm)(const PUBLIC(gemm) *) = call->context->REAL_GEMM ? call->context->REAL_GEMM : TYPED(plain_gemm);
    if (!p->m || !p->n) return;
    if (!TYPED(suits_blas)(p)) gemm = TYPED(plain_gemm);

    const double work = (double)p->m * (double)p->n * ((double)p->k + per_element) + per_call;
    const size_t side = p->k > p->m ? p->k : p->m;
    const size_t pieces = work / piece_work < (double)side ? (size_t)(work / piece_work) + 1 : side;
    for (size_t n = 0; n < pieces && !clstm_i_cancelled(call); n++) {
        const clstm_i_range part = clstm_i_slice(side, 1, n, pieces), whole_m = {0, p->m}, whole_k = {0, p->k};
        const PUBLIC(gemm) piece = p->k > p->m ? TYPED(piece)(p, whole_m, part) : TYPED(piece)(p, part, whole_k);
        gemm(&piece);
        if (index == 0) clstm_i_poll(call, work / (double)pieces);
    }
}
