/* The kernels for 64-bit ARM: vectors of 16 bytes, fused multiply-adds, 32 registers. */
#include "dispatch.h"

#include <stdint.h>

#if defined(__aarch64__)
#include <arm_neon.h>

#define VECTOR_BYTES 16
#define TILE_VECTORS 20 /* registers for sums */

#include "kernels/vectors_of_both_types.h"

static inline vf32 fma_f32(vf32 a, vf32 b, vf32 c) {
    return (vf32)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
static inline vf64 fma_f64(vf64 a, vf64 b, vf64 c) {
    return (vf64)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
}
static inline vf32 sqrt_f32(vf32 a) { return (vf32)vsqrtq_f32((float32x4_t)a); }
static inline vf64 sqrt_f64(vf64 a) { return (vf64)vsqrtq_f64((float64x2_t)a); }

#include "kernels/min_max.h"
#include "kernels/kernels_of_both_types.h"

CLSTM_I_ISA(neon);

#endif
