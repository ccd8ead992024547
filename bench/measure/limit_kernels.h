/* The two loops whose speed is the limit, for one vector width. Define before including: VECTOR_BYTES, TARGET (function
   attribute) and NAME(x) (adds the suffix). */

typedef float NAME(vector) __attribute__((vector_size(VECTOR_BYTES)));

/* `count` rounds of 12 independent fused multiply-adds: enough to hide a latency of 4 on two ports, and few enough for
   16 registers. Returns the number of operations; a multiply-add counts as two. */
TARGET static double NAME(multiply_add)(long count, float *sink)
{
    /* Sums stay near 1, neither denormal nor infinite. Operands are read from memory, so that the compiler folds
       nothing. */
    NAME(vector) sum[12], factor = {0}, addend = {0};
    factor += sink[0];
    addend += 1.0f - sink[0];
    for (int k = 0; k < 12; k++) sum[k] = addend * (float)k;
    for (long n = 0; n < count; n++)
        for (int k = 0; k < 12; k++) sum[k] = sum[k] * factor + addend;
    for (int k = 1; k < 12; k++) sum[0] += sum[k];
    sink[1] = sum[0][0];
    return 2.0 * 12 * (VECTOR_BYTES / 4) * (double)count;
}

/* Reads `bytes` (a multiple of 8 vectors) `passes` times. Returns the bytes read. */
TARGET static double NAME(read)(const char *data, size_t bytes, long passes, float *sink)
{
    NAME(vector) sum[8] = {{0}};
    const NAME(vector) *vectors = (const NAME(vector) *)data;
    size_t count = bytes / sizeof *vectors;
    for (long pass = 0; pass < passes; pass++)
        for (size_t n = 0; n < count; n += 8)
            for (int k = 0; k < 8; k++) sum[k] += vectors[n + (size_t)k];
    for (int k = 1; k < 8; k++) sum[0] += sum[k];
    sink[1] = sum[0][0];
    return (double)bytes * (double)passes;
}

#undef VECTOR_BYTES
#undef TARGET
#undef NAME
