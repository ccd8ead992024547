/* The floating-point environment: denormals are flushed inside a call, and the caller's own comes back after it. */
#pragma once

#include <stdint.h>
#if defined(__x86_64__) || defined(__i386__)
#include <xmmintrin.h>
#endif

#if defined(__x86_64__) || defined(__i386__)
typedef unsigned clstm_i_environment;
static inline clstm_i_environment clstm_i_enter(void) {
    const unsigned before = _mm_getcsr();
    _mm_setcsr(before | 0x8040); /* FTZ and DAZ */
    return before;
}
static inline void clstm_i_leave(clstm_i_environment before) {
    /* The caller's modes and its sticky exception flags as they were: a call leaves no trace. */
    _mm_setcsr(before);
}
/* Non-temporal stores before what follows, for other threads. */
static inline void clstm_i_order_stores(void) { _mm_sfence(); }
#elif defined(__aarch64__)
typedef uint64_t clstm_i_environment;
static inline clstm_i_environment clstm_i_enter(void) {
    uint64_t before;
    __asm__ volatile("mrs %0, fpcr" : "=r"(before));
    __asm__ volatile("msr fpcr, %0" : : "r"(before | (UINT64_C(1) << 24))); /* FZ */
    return before;
}
static inline void clstm_i_leave(clstm_i_environment before) {
    __asm__ volatile("msr fpcr, %0" : : "r"(before));
}
static inline void clstm_i_order_stores(void) {} /* there are none such */
#else
typedef int clstm_i_environment;
static inline clstm_i_environment clstm_i_enter(void) { return 0; }
static inline void clstm_i_leave(clstm_i_environment before) { (void)before; }
static inline void clstm_i_order_stores(void) {}
#endif
