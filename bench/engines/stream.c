/* Streams in a C host: a model with one input and one output, of some layers and rows. */

#include <clstm.h>
#include <stdlib.h>
#include <time.h>

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

typedef struct sizes {
    size_t rows, layers, hidden;
    clstm_activations activations;
    size_t block; /* 0: step by step */
    size_t steps, repeats;
} sizes;

static clstm_status begin(const sizes *sizes, const float *parameters, int flags, clstm_model **model, void **memory,
                          clstm_stream **stream)
{
    clstm_config config = CLSTM_CONFIG_INIT;
    config.input_size = 1;
    config.hidden_size = sizes->hidden;
    config.num_layers = sizes->layers;
    config.activations = sizes->activations;
    config.output_size = 1;
    size_t bytes = 0;
    clstm_status status = clstm_model_create(&config, parameters, NULL, model);
    if (!status) status = clstm_stream_size(*model, sizes->rows, &bytes);
    if (status) return status;
    *memory = malloc(bytes);
    if (!*memory) return CLSTM_OUT_OF_MEMORY;
    return clstm_stream_init(*model, sizes->rows, flags, *memory, bytes, stream);
}

/* x and y (steps, rows), from the initial state. */
static clstm_status run(clstm_stream *stream, const sizes *sizes, const float *x, float *y)
{
    const size_t rows = sizes->rows, steps = sizes->steps;
    clstm_status status = clstm_stream_reset(stream);
    if (!sizes->block)
        for (size_t t = 0; t < steps && !status; t++) status = clstm_stream_step(stream, x + t * rows, y + t * rows);
    else
        for (size_t t = 0, n; t < steps && !status; t += n) {
            n = sizes->block < steps - t ? sizes->block : steps - t;
            status = clstm_stream_process(stream, n, x + t * rows, y + t * rows);
        }
    return status;
}

/* Seconds of a step of all rows: the mean over `repeats` runs of `steps` steps, after one run that warms the caches. If
   a call fails, its clstm_status, negated. A call of clstm_stream_process takes `block` steps; if `block` is 0, each
   step is a call of clstm_stream_step. `parameters` is the flat array of LSTM(1 -> hidden) with a readout of 1. */
double step_seconds(size_t rows, size_t layers, size_t hidden, const float *parameters, int fast, int flags,
                    size_t block, size_t steps, size_t repeats, const float *x, float *y)
{
    const sizes sizes = {rows, layers, hidden, fast ? CLSTM_FAST : CLSTM_ACCURATE, block, steps, repeats};
    clstm_model *model = NULL;
    clstm_stream *stream = NULL;
    void *memory = NULL;
    clstm_status status = begin(&sizes, parameters, flags, &model, &memory, &stream);
    if (!status) status = run(stream, &sizes, x, y);
    double start = now();
    for (size_t n = 0; n < repeats && !status; n++) status = run(stream, &sizes, x, y);
    double seconds = (now() - start) / (double)(repeats * steps);
    clstm_stream_release(stream);
    free(memory);
    clstm_model_free(model);
    return status ? -(double)status : seconds;
}
