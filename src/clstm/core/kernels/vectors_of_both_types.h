/* The start of a kernel file: vector types, and the operations that the compilers' vector extensions express. */
#pragma once

#include <float.h>

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#define UNROLL_FOUR _Pragma("clang loop unroll_count(4)")
#else
#define UNROLL _Pragma("GCC unroll 64")
#define UNROLL_FOUR _Pragma("GCC unroll 4")
#endif

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define NEVER_INLINE static __attribute__((noinline))
/* A function with hot loops begins a cache line, so that changes elsewhere do not move its loops. */
#define LINE_ALIGNED __attribute__((aligned(64)))

#include "../real_f32.h"
#include "vectors.h"
#include "../real_f64.h"
#include "vectors.h"
#include "../real_undefine.h"
