/* First half of a kernel file: the vector types, and what can be said of them in the compilers' own vector language. */
#include <float.h>

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 64")
#endif

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define NEVER_INLINE static __attribute__((noinline))

#include "../real_f32.h"
#include "vectors.h"
#include "../real_f64.h"
#include "vectors.h"
