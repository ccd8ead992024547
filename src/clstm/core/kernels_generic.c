/* The kernels for any CPU: vectors of 16 bytes, and no fused multiply-add, which such a CPU may lack. */
#include "dispatch.h"

#include <stdint.h>

#define VECTOR_BYTES 16

#include "kernels_begin.h"

static inline vf32 fma_f32(vf32 a, vf32 b, vf32 c) { return a * b + c; }
static inline vf64 fma_f64(vf64 a, vf64 b, vf64 c) { return a * b + c; }

/* Where the comparison holds the first operand, else (NaN as well) the second. */
static inline vf32 select_f32(vi32 mask, vf32 a, vf32 b) { return (vf32)((mask & (vi32)a) | (~mask & (vi32)b)); }
static inline vf64 select_f64(vi64 mask, vf64 a, vf64 b) { return (vf64)((mask & (vi64)a) | (~mask & (vi64)b)); }
static inline vf32 min_f32(vf32 a, vf32 b) { return select_f32(a < b, a, b); }
static inline vf32 max_f32(vf32 a, vf32 b) { return select_f32(a > b, a, b); }
static inline vf64 min_f64(vf64 a, vf64 b) { return select_f64(a < b, a, b); }
static inline vf64 max_f64(vf64 a, vf64 b) { return select_f64(a > b, a, b); }

#include "kernels_end.h"

const clstm_i_isa clstm_i_isa_generic = {"generic", &kernels_f32, &kernels_f64};
