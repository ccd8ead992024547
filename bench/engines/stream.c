/* Streams in a C host: a model with one input and one output. */

#include <clstm.h>
#include <stdlib.h>
#include <time.h>

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static clstm_status begin(size_t hidden, const float *parameters, int flags, clstm_model **model, void **memory,
                          clstm_stream **stream)
{
    clstm_config config = CLSTM_CONFIG_INIT;
    config.input_size = 1;
    config.hidden_size = hidden;
    config.output_size = 1;
    size_t bytes = 0;
    clstm_status status = clstm_model_create(&config, parameters, NULL, model);
    if (!status) status = clstm_stream_size(*model, 1, &bytes);
    if (status) return status;
    *memory = malloc(bytes);
    if (!*memory) return CLSTM_OUT_OF_MEMORY;
    return clstm_stream_init(*model, 1, flags, *memory, bytes, stream);
}

/* x and y (steps,), from the initial state; `block` as below. */
static clstm_status run(clstm_stream *stream, size_t block, size_t steps, const float *x, float *y)
{
    clstm_status status = clstm_stream_reset(stream);
    if (!block)
        for (size_t t = 0; t < steps && !status; t++) status = clstm_stream_step(stream, x + t, y + t);
    else
        for (size_t t = 0; t < steps && !status; t += block)
            status = clstm_stream_process(stream, block < steps - t ? block : steps - t, x + t, y + t);
    return status;
}

/* Seconds of a step: the mean over `repeats` runs of `steps` steps, after one run that warms the caches. If a call
   fails, its clstm_status, negated. A call of clstm_stream_process takes `block` steps; if `block` is 0, each step is a
   call of clstm_stream_step. `parameters` is the flat array of LSTM(1 -> hidden) with a readout of 1. */
double step_seconds(size_t hidden, const float *parameters, int flags, size_t block, size_t steps, size_t repeats,
                    const float *x, float *y)
{
    clstm_model *model = NULL;
    clstm_stream *stream = NULL;
    void *memory = NULL;
    clstm_status status = begin(hidden, parameters, flags, &model, &memory, &stream);
    if (!status) status = run(stream, block, steps, x, y);
    double start = now();
    for (size_t n = 0; n < repeats && !status; n++) status = run(stream, block, steps, x, y);
    double seconds = (now() - start) / (double)(repeats * steps);
    clstm_stream_release(stream);
    free(memory);
    clstm_model_free(model);
    return status ? -(double)status : seconds;
}
