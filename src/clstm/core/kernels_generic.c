/* The kernels for any CPU: vectors of 16 bytes, and no fused multiply-adds, which a CPU may lack. */
#include "dispatch.h"

#include <stdint.h>

/* Wider vectors are for tests: they select the tiles of other CPUs. */
#ifndef CLSTM_GENERIC_VECTOR_BYTES
#define CLSTM_GENERIC_VECTOR_BYTES 16
#endif
#define VECTOR_BYTES CLSTM_GENERIC_VECTOR_BYTES
#define TILE_VECTORS (VECTOR_BYTES == 64 ? 24 : 12)

#include "kernels/vectors_of_both_types.h"

static inline vf32 fma_f32(vf32 a, vf32 b, vf32 c) { return a * b + c; }
static inline vf64 fma_f64(vf64 a, vf64 b, vf64 c) { return a * b + c; }

static inline vf32 sqrt_f32(vf32 a) {
    for (int k = 0; k < LANES_f32; k++) a[k] = __builtin_sqrtf(a[k]);
    return a;
}
static inline vf64 sqrt_f64(vf64 a) {
    for (int k = 0; k < LANES_f64; k++) a[k] = __builtin_sqrt(a[k]);
    return a;
}

#include "kernels/min_max.h"
#include "kernels/kernels_of_both_types.h"

CLSTM_I_ISA(generic);
