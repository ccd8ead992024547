/* The kernels for AVX2 and FMA: vectors of 32 bytes. */
#include "dispatch.h"

#include <stdint.h>

#if defined(__x86_64__)
#include <immintrin.h>

/* Each compiler silently ignores the other's pragma. */
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

#define VECTOR_BYTES 32
#define TILE_VECTORS 12 /* registers for sums */
#define MASKS
#define NONTEMPORAL_STORES

#include "kernels/vectors_of_both_types.h"

static inline vf32 fma_f32(vf32 a, vf32 b, vf32 c) { return _mm256_fmadd_ps(a, b, c); }
static inline vf32 min_f32(vf32 a, vf32 b) { return _mm256_min_ps(a, b); }
static inline vf32 max_f32(vf32 a, vf32 b) { return _mm256_max_ps(a, b); }
static inline vf32 sqrt_f32(vf32 a) { return _mm256_sqrt_ps(a); }
static inline vf64 fma_f64(vf64 a, vf64 b, vf64 c) { return _mm256_fmadd_pd(a, b, c); }
static inline vf64 min_f64(vf64 a, vf64 b) { return _mm256_min_pd(a, b); }
static inline vf64 max_f64(vf64 a, vf64 b) { return _mm256_max_pd(a, b); }
static inline vf64 sqrt_f64(vf64 a) { return _mm256_sqrt_pd(a); }

static inline void store_nontemporal_f32(float *to, vf32 v) { _mm256_stream_ps(to, v); }
static inline void store_nontemporal_f64(double *to, vf64 v) { _mm256_stream_pd(to, v); }

static inline __m256i first_f32(size_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
static inline __m256i first_f64(size_t n) {
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x((int64_t)n), _mm256_setr_epi64x(0, 1, 2, 3));
}
static inline vf32 load_part_f32(const float *from, size_t n) { return _mm256_maskload_ps(from, first_f32(n)); }
static inline vf64 load_part_f64(const double *from, size_t n) { return _mm256_maskload_pd(from, first_f64(n)); }
static inline void store_part_f32(float *to, vf32 v, size_t n) { _mm256_maskstore_ps(to, first_f32(n), v); }
static inline void store_part_f64(double *to, vf64 v, size_t n) { _mm256_maskstore_pd(to, first_f64(n), v); }

#include "kernels/kernels_of_both_types.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

CLSTM_I_ISA(avx2);

#endif
