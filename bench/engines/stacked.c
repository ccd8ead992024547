/* The recurrent product of one step: one product for all four gates, or four of one gate each.

   Weights are row-major (4H, H), as clstm stores them: a gate's are a contiguous quarter. The state is (B, H). BLAS,
   which is column-major, sees both transposed. Sizes are 64-bit: a BLAS with 32-bit sizes reads the low half, which is
   the same number on little-endian machines. */

#include <stdint.h>
#include <time.h>

typedef void gemm(char *, char *, int64_t *, int64_t *, int64_t *, float *, float *, int64_t *,
                  float *, int64_t *, float *, float *, int64_t *);

/* gates (batch, rows) = state (batch, hidden) * transpose of weights (rows, hidden) */
static void product(gemm *sgemm, int64_t rows, int64_t batch, int64_t hidden, float *weights,
                    float *state, float *gates)
{
    float one = 1, zero = 0;
    sgemm("T", "N", &rows, &batch, &hidden, &one, weights, &hidden, state, &hidden, &zero, gates,
          &rows);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* Seconds of one step, the mean of `repeats`. With `parts` = 1 gates are (B, 4H), with 4 they are (4, B, H). */
double step_seconds(gemm *sgemm, int parts, int64_t batch, int64_t hidden, int64_t repeats,
                    float *weights, float *state, float *gates)
{
    int64_t rows = 4 * hidden / parts;
    double start = now();
    for (int64_t n = 0; n < repeats; n++)
        for (int64_t part = 0; part < parts; part++)
            product(sgemm, rows, batch, hidden, weights + part * rows * hidden, state,
                    gates + part * rows * batch);
    return (now() - start) / (double)repeats;
}
