/* Products of whole matrices, typed: the blas engine's by the host's BLAS, where it brings one, all others by the
   kernels (gemm.h). In pieces, so that they can be cancelled. */

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
static void TYPED(product)(clstm_i_call *call, const TYPED(clstm_i_kernels) *kernels, size_t index,
                           const PUBLIC(gemm) *p) {
    /* What a call of a small product costs beyond its multiply-adds, and a row of C beyond its own. */
    const double per_call = 2e4, per_element = 64, piece_work = 2.5e8;
    const int by_blas = call->blas && call->context->REAL_GEMM && TYPED(suits_blas)(p);
    if (!p->m || !p->n) return;

    const double work = (double)p->m * (double)p->n * ((double)p->k + per_element) + per_call;
    const size_t side = p->k > p->m ? p->k : p->m;
    const size_t pieces = work / piece_work < (double)side ? (size_t)(work / piece_work) + 1 : side;
    for (size_t n = 0; n < pieces && !clstm_i_cancelled(call); n++) {
        const clstm_i_range part = clstm_i_slice(side, 1, n, pieces), whole_m = {0, p->m}, whole_k = {0, p->k};
        const PUBLIC(gemm) piece = p->k > p->m ? TYPED(piece)(p, whole_m, part) : TYPED(piece)(p, part, whole_k);
        if (by_blas) call->context->REAL_GEMM(&piece);
        else kernels->gemm(&piece, call->scratch + index * CLSTM_I_GEMM_BYTES);
        if (index == 0) clstm_i_poll(call, work / (double)pieces);
    }
}
