/* Chooses the kernels (those that CLSTM_ISA names, or the best that CPU and operating system support) and the engine
   (the one that CLSTM_ENGINE names, or the packed one). */
#include "dispatch.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#if defined(__x86_64__)

/* The register states that the operating system saves (XCR0). */
static uint64_t saved_states(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static void detect(int *avx2, int *avx512) {
    const uint64_t ymm = 0x6, zmm = 0xe6;
    unsigned a, b, c, d;
    *avx2 = *avx512 = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) || !(c & bit_FMA)) return;
    const uint64_t states = saved_states();
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return;
    *avx2 = (states & ymm) == ymm && (b & bit_AVX2);
    const unsigned needed = bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL;
    *avx512 = *avx2 && (states & zmm) == zmm && (b & needed) == needed;
}

#endif

extern const clstm_i_isa clstm_i_isa_generic, clstm_i_isa_avx2, clstm_i_isa_avx512, clstm_i_isa_neon;

static const clstm_i_isa *available[8]; /* best first, then NULL */
static const char *names[8];
static const clstm_i_isa *chosen;
static const char *engine; /* one of `engines` */
static const char *const engines[] = {"packed", "blas", NULL};
static pthread_once_t once = PTHREAD_ONCE_INIT;

static int named(const char *wish, const char *name) { return !wish || !*wish || !strcmp(wish, name); }

static void choose(void) {
    size_t n = 0;
#if defined(__x86_64__)
    int avx2, avx512;
    detect(&avx2, &avx512);
    if (avx512) available[n++] = &clstm_i_isa_avx512;
    if (avx2) available[n++] = &clstm_i_isa_avx2;
#elif defined(__aarch64__)
    available[n++] = &clstm_i_isa_neon; /* every such CPU has it */
#endif
    available[n++] = &clstm_i_isa_generic;
    clstm_i_assert(n < sizeof available / sizeof *available);
    for (size_t k = 0; k < n; k++) names[k] = available[k]->name;

    const char *isa_wish = getenv("CLSTM_ISA"), *engine_wish = getenv("CLSTM_ENGINE");
    for (size_t k = 0; k < n && !chosen; k++)
        if (named(isa_wish, names[k])) chosen = available[k];
    for (size_t k = 0; engines[k] && !engine; k++)
        if (named(engine_wish, engines[k])) engine = engines[k];
}

const clstm_i_isa *clstm_i_dispatch(void) {
    pthread_once(&once, choose);
    return chosen;
}

const char *clstm_isa(void) {
    const clstm_i_isa *isa = clstm_i_dispatch();
    return isa ? isa->name : NULL;
}

const char *const *clstm_isa_list(void) {
    clstm_i_dispatch();
    return names;
}

const char *clstm_engine(void) {
    clstm_i_dispatch();
    return engine;
}

const char *const *clstm_engine_list(void) { return engines; }

clstm_status clstm_i_chosen(const clstm_context *context, const clstm_i_isa **isa, int *packed) {
    *isa = clstm_i_dispatch();
    const char *name = context->engine ? context->engine : engine;
    *packed = name && !strcmp(name, engines[0]);
    if (!*isa) return CLSTM_UNKNOWN_ISA;
    return name && (*packed || !strcmp(name, engines[1])) ? CLSTM_OK : CLSTM_UNKNOWN_ENGINE;
}
