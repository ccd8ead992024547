/* The kernels for AVX-512 (F, DQ, BW, VL): vectors of 64 bytes. */
#include "dispatch.h"

#include <stdint.h>

#if defined(__x86_64__)
#include <immintrin.h>

/* Each compiler silently ignores the other's pragma. */
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")
#endif

#define VECTOR_BYTES 64
#define TILE_VECTORS 24 /* registers for sums */
#define MASKS
#define NONTEMPORAL_STORES

#include "kernels/vectors_of_both_types.h"

static inline vf32 fma_f32(vf32 a, vf32 b, vf32 c) { return _mm512_fmadd_ps(a, b, c); }
static inline vf32 min_f32(vf32 a, vf32 b) { return _mm512_min_ps(a, b); }
static inline vf32 max_f32(vf32 a, vf32 b) { return _mm512_max_ps(a, b); }
static inline vf32 sqrt_f32(vf32 a) { return _mm512_sqrt_ps(a); }
static inline vf64 fma_f64(vf64 a, vf64 b, vf64 c) { return _mm512_fmadd_pd(a, b, c); }
static inline vf64 min_f64(vf64 a, vf64 b) { return _mm512_min_pd(a, b); }
static inline vf64 max_f64(vf64 a, vf64 b) { return _mm512_max_pd(a, b); }
static inline vf64 sqrt_f64(vf64 a) { return _mm512_sqrt_pd(a); }

static inline void store_nontemporal_f32(float *to, vf32 v) { _mm512_stream_ps(to, v); }
static inline void store_nontemporal_f64(double *to, vf64 v) { _mm512_stream_pd(to, v); }

static inline __mmask16 first(size_t n) { return (__mmask16)((1u << n) - 1); }
static inline vf32 load_part_f32(const float *from, size_t n) { return _mm512_maskz_loadu_ps(first(n), from); }
static inline vf64 load_part_f64(const double *from, size_t n) {
    return _mm512_maskz_loadu_pd((__mmask8)first(n), from);
}
static inline void store_part_f32(float *to, vf32 v, size_t n) { _mm512_mask_storeu_ps(to, first(n), v); }
static inline void store_part_f64(double *to, vf64 v, size_t n) {
    _mm512_mask_storeu_pd(to, (__mmask8)first(n), v);
}

#include "kernels/kernels_of_both_types.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

CLSTM_I_ISA(avx512);

#endif
