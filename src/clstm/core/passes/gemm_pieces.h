/* Matrix products, typed: for the blas engine by the host's BLAS, if it brings one; else by the kernels
   (kernels/gemm.h). They are cut into pieces, so that the host can cancel between two. */
#pragma once

#include "common.h"

/* The piece of a product with rows `i` of C and columns `k` of op(A). */
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

/* BLAS counts in int32, and an empty product may have no matrices. m and k of a piece are far smaller. */
static int TYPED(suits_blas)(const PUBLIC(gemm) *p) {
    const size_t most = INT32_MAX;
    return p->k && p->n <= most && p->lda <= most && p->ldb <= most && p->ldc <= most;
}

static void TYPED(multiply_pieces)(clstm_i_call *call, const TYPED(clstm_i_kernels) *kernels, size_t thread,
                                   const PUBLIC(gemm) *pieces, size_t count) {
    char *scratch = call->scratch + thread * CLSTM_I_GEMM_BYTES;
    clstm_i_assert(call->scratch && clstm_i_is_aligned(scratch));
    if (!call->blas || !call->context->REAL_GEMM) {
        kernels->gemm(pieces, count, scratch);
        return;
    }
    for (size_t q = 0; q < count; q++) {
        if (!pieces[q].m || !pieces[q].n) continue;
        if (TYPED(suits_blas)(&pieces[q])) call->context->REAL_GEMM(&pieces[q]);
        else kernels->gemm(&pieces[q], 1, scratch);
    }
}

/* The size of a piece: some milliseconds. */
typedef struct TYPED(piece_size) {
    size_t rows, columns; /* of C; of op(A) */
    double work;          /* in multiply-adds, with the costs of a call and of each element of C */
} TYPED(piece_size);

/* The largest multiple of `least` up to n whose work is at most `most`; at least `least`. */
static size_t TYPED(fitting)(size_t n, double work_of_one, double most, size_t least) {
    const double fit = most / work_of_one;
    if (fit >= (double)n || n <= least) return n;
    return fit < (double)least ? least : (size_t)fit / least * least;
}

/* Products are cut along k first, in multiples of the depth that the kernels sum in registers, which costs nothing.
   They are cut along m, evenly, only if that is not enough, because each piece packs op(B) anew: all 2,048 rows instead
   of eighths save 2 % of the backward pass at (100,32,512,512). */
static TYPED(piece_size) TYPED(size_of_piece)(const TYPED(clstm_i_kernels) *kernels, const PUBLIC(gemm) *products,
                                              size_t count) {
    const double most = TUNE_PIECE_WORK * (double)kernels->lanes;
    const size_t m = products->m, k = products->k, depth = TYPED(GEMM_DEPTH);
    double n = 0;
    for (size_t q = 0; q < count; q++) n += (double)products[q].n;
    const double column = n * (double)m * (1 + TUNE_PIECE_ELEMENT / (double)depth);
    const size_t columns = TYPED(fitting)(k, column, most, depth), times = (columns + depth - 1) / depth;
    const double row = n * ((double)columns + TUNE_PIECE_ELEMENT * (double)times);
    const size_t fit = TYPED(fitting)(m, row, most, 1), cuts = (m + fit - 1) / fit, rows = (m + cuts - 1) / cuts;
    return (TYPED(piece_size)){rows, columns, row * (double)rows + TUNE_PIECE_CALL};
}

/* Products of the same op(A), at most two, by one thread. Once cancelled, their C is undefined. */
static void TYPED(products)(clstm_i_call *call, const TYPED(clstm_i_kernels) *kernels, size_t thread,
                            const PUBLIC(gemm) *products, size_t count) {
    clstm_i_assert(count == 1 || (count == 2 && products[0].a == products[1].a && products[0].k == products[1].k));
    if (!products->m) return;
    const TYPED(piece_size) size = TYPED(size_of_piece)(kernels, products, count);
    PUBLIC(gemm) pieces[2];
    clstm_i_range k = {0, 0};
    do {
        k.end = products->k - k.begin > size.columns ? k.begin + size.columns : products->k;
        for (clstm_i_range i = {0, 0}; i.begin < products->m && !clstm_i_cancelled(call); i.begin = i.end) {
            i.end = products->m - i.begin > size.rows ? i.begin + size.rows : products->m;
            for (size_t q = 0; q < count; q++) pieces[q] = TYPED(piece)(&products[q], i, k);
            TYPED(multiply_pieces)(call, kernels, thread, pieces, count);
            clstm_i_poll(call, thread, size.work);
        }
        k.begin = k.end;
    } while (k.begin < products->k && !clstm_i_cancelled(call));
}

static void TYPED(product)(clstm_i_call *call, const TYPED(clstm_i_kernels) *kernels, size_t thread,
                           const PUBLIC(gemm) *p) {
    TYPED(products)(call, kernels, thread, p, 1);
}
