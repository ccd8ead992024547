/* For editors and lint only (.clangd, `make lint`): stands in for the lines of a kernel file that precede a kernel
   header, for float32. PRELUDE selects how many of them: 0 for table.h, 1 for vectors.h, 2 for min_max.h, 3 for the
   activations, 4 for all others. */
#ifndef PRELUDE
#define PRELUDE 4
#endif

#if PRELUDE > 0
#include "../dispatch.h"
#define VECTOR_BYTES 16
#define TILE_VECTORS 12
#endif

#if PRELUDE > 1
#include "vectors_of_both_types.h"
#elif PRELUDE > 0
#define UNROLL
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#else
#include "clstm.h"
#endif

#if PRELUDE > 2
vf32 fma_f32(vf32 a, vf32 b, vf32 c);
vf32 min_f32(vf32 a, vf32 b);
vf32 max_f32(vf32 a, vf32 b);
vf32 sqrt_f32(vf32 a);
vf64 fma_f64(vf64 a, vf64 b, vf64 c);
vf64 min_f64(vf64 a, vf64 b);
vf64 max_f64(vf64 a, vf64 b);
vf64 sqrt_f64(vf64 a);
#endif

#if PRELUDE > 3
#include "activations_f32.h"
#include "activations_f64.h"
#endif

#include "../real_f32.h"
