/* The recurrent product of one step, as one product for all four gates and as one for each.

   Arrays are column-major, as BLAS has them: the state (H, B), the stacked weights (4H, H), a gate's own (H, H).
   Sizes are 64-bit: a BLAS with 32-bit sizes reads the low half, which is the same number on little-endian machines. */

#include <stdint.h>
#include <time.h>

typedef void sgemm_function(char *, char *, int64_t *, int64_t *, int64_t *, float *, float *, int64_t *,
                            float *, int64_t *, float *, float *, int64_t *);

static void product(sgemm_function *sgemm, int64_t rows, int64_t batch, int64_t hidden, float *weights,
                    float *state, float *gates)
{
    float one = 1, zero = 0;
    sgemm("N", "N", &rows, &batch, &hidden, &one, weights, &rows, state, &hidden, &zero, gates, &rows);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* Seconds of one step, the mean of `repeats`. `parts` is 1 (gates (4H, B), weights (4H, H)) or 4 (weights and gates of
   each gate behind one another). */
double step_seconds(sgemm_function *sgemm, int parts, int64_t batch, int64_t hidden, int64_t repeats,
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
