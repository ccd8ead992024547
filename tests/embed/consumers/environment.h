/* The floating-point environment, as far as it decides how denormals are treated. */
#ifndef ENVIRONMENT_H
#define ENVIRONMENT_H

#include <stdint.h>

#if defined(__x86_64__)
#include <xmmintrin.h>
static inline uint64_t environment(void) { return _mm_getcsr(); } /* sticky flags included */
static inline void set_environment(uint64_t to) { _mm_setcsr((unsigned)to); }
#define ENVIRONMENTS {0x1f80, 0x1f80 | 0x8000, 0x1f80 | 0x40, 0x1f80 | 0x8040, 0x1f80 | 0x3f}
#elif defined(__aarch64__)
static inline uint64_t environment(void) {
    uint64_t now;
    __asm__ volatile("mrs %0, fpcr" : "=r"(now));
    return now;
}
static inline void set_environment(uint64_t to) { __asm__ volatile("msr fpcr, %0" : : "r"(to)); }
#define ENVIRONMENTS {0, UINT64_C(1) << 24}
#else
#error "add how this CPU's floating-point environment is read"
#endif

#endif
