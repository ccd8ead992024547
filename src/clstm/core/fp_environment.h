/* The floating-point environment: denormals are flushed during a call, and the caller's environment is restored after
   it. */
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
    /* Sticky exception flags are restored, too: a call leaves no trace. */
    _mm_setcsr(before);
}
/* Makes non-temporal stores visible to other threads before any later store. */
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
static inline void clstm_i_order_stores(void) {} /* no non-temporal stores here */
#else
typedef int clstm_i_environment;
static inline clstm_i_environment clstm_i_enter(void) { return 0; }
static inline void clstm_i_leave(clstm_i_environment before) { (void)before; }
static inline void clstm_i_order_stores(void) {}
#endif
