/* Products of whole matrices, typed: the blas engine's by the host's BLAS, where it brings one, all others by the
   kernels (gemm.h). In pieces, so that they can be cancelled. */
#pragma once

#include "common.h"

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

/* BLAS counts in int32, and an empty product may have no matrices to point at. The pieces below keep m and k far
   smaller. */
static int TYPED(suits_blas)(const PUBLIC(gemm) *p) {
    const size_t most = INT32_MAX;
    return p->k && p->n <= most && p->lda <= most && p->ldb <= most && p->ldc <= most;
}

static void TYPED(multiply_parts)(clstm_i_call *call, const TYPED(clstm_i_kernels) *kernels, size_t index,
                                  const PUBLIC(gemm) *parts, size_t count) {
    if (!call->blas || !call->context->REAL_GEMM) {
        kernels->gemm(parts, count, call->scratch + index * CLSTM_I_GEMM_BYTES);
        return;
    }
    for (size_t q = 0; q < count; q++) {
        if (!parts[q].m || !parts[q].n) continue;
        if (TYPED(suits_blas)(&parts[q])) call->context->REAL_GEMM(&parts[q]);
        else kernels->gemm(&parts[q], 1, call->scratch + index * CLSTM_I_GEMM_BYTES);
    }
}

/* How many rows of C and columns of op(A) a piece of some milliseconds has. */
typedef struct TYPED(pieces) {
    size_t rows, columns;
    double work; /* multiply-adds, and in them what a call costs beyond, and an element of C beyond its sum */
} TYPED(pieces);

/* The most of n, but not less than `least`, that is no more work than `most`. */
static size_t TYPED(fitting)(size_t n, double work_of_one, double most, size_t least) {
    const double fit = most / work_of_one;
    if (fit >= (double)n || n <= least) return n;
    return fit < (double)least ? least : (size_t)fit / least * least;
}

/* Along k, in multiples of what the kernels sum up in registers: that is their own order, and costs nothing. Only where
   that is not enough along m, evenly: each piece copies op(B) anew. All of 2048 rows in place of eighths save 2 % of
   the backward pass of (100,32,512,512). */
static TYPED(pieces) TYPED(cut)(const TYPED(clstm_i_kernels) *kernels, const PUBLIC(gemm) *products, size_t count) {
    const double most = 5e7 * (double)kernels->lanes, per_call = 2e4, per_element = 64;
    const size_t m = products->m, k = products->k, depth = TYPED(GEMM_DEPTH);
    double n = 0;
    for (size_t q = 0; q < count; q++) n += (double)products[q].n;
    const double column = n * (double)m * (1 + per_element / (double)depth);
    const size_t columns = TYPED(fitting)(k, column, most, depth), times = (columns + depth - 1) / depth;
    const double row = n * ((double)columns + per_element * (double)times);
    const size_t fit = TYPED(fitting)(m, row, most, 1), parts = (m + fit - 1) / fit, rows = (m + parts - 1) / parts;
    return (TYPED(pieces)){rows, columns, row * (double)rows + per_call};
}

/* Products of the same op(A), at most two, by one thread. Once cancelled, their C is undefined. */
static void TYPED(products)(clstm_i_call *call, const TYPED(clstm_i_kernels) *kernels, size_t index,
                            const PUBLIC(gemm) *products, size_t count) {
    if (!products->m) return;
    const TYPED(pieces) pieces = TYPED(cut)(kernels, products, count);
    PUBLIC(gemm) parts[2];
    clstm_i_range k = {0, 0};
    do {
        k.end = products->k - k.begin > pieces.columns ? k.begin + pieces.columns : products->k;
        for (clstm_i_range i = {0, 0}; i.begin < products->m && !clstm_i_cancelled(call); i.begin = i.end) {
            i.end = products->m - i.begin > pieces.rows ? i.begin + pieces.rows : products->m;
            for (size_t q = 0; q < count; q++) parts[q] = TYPED(piece)(&products[q], i, k);
            TYPED(multiply_parts)(call, kernels, index, parts, count);
            if (index == 0) clstm_i_poll(call, pieces.work);
        }
        k.begin = k.end;
    } while (k.begin < products->k && !clstm_i_cancelled(call));
}

static void TYPED(product)(clstm_i_call *call, const TYPED(clstm_i_kernels) *kernels, size_t index,
                           const PUBLIC(gemm) *p) {
    TYPED(products)(call, kernels, index, p, 1);
}
