/* An audio effect: runs a WAV file through an LSTM with one input and one output, sample by sample, as a plug-in does.
   Channels are rows of one stream: they share a model and advance together.

       cc filter.c $(python -m clstm config --cflags --libs) -o filter
       ./filter MODEL.safetensors IN.wav OUT.wav

   Prints the time of a sample, and the real-time factor: computing time divided by the length of the sound. */
#define _POSIX_C_SOURCE 199309L /* clock_gettime */
#include "wav.h"

#include <clstm.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { BLOCK = 256 }; /* frames in each call of a plug-in */

static void check(clstm_status status, const char *what) {
    if (status == CLSTM_OK) return;
    fprintf(stderr, "filter: %s: %s\n", what, clstm_strerror(status));
    exit(1);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static int16_t to_sample(float value) {
    const float scaled = 32768 * value;
    return (int16_t)lrintf(scaled < -32768 ? -32768 : scaled > 32767 ? 32767 : scaled);
}

/* An audio callback: no allocation, no lock, no system call. In place: y may be x. */
static void callback(clstm_stream *stream, float *frames, size_t count) {
    clstm_stream_process(stream, count, frames, frames);
}

static double filter(clstm_stream *stream, wav *sound) {
    double seconds = 0;
    float *block = malloc(BLOCK * sound->channels * sizeof *block);
    if (!block) check(CLSTM_OUT_OF_MEMORY, "block");
    for (size_t first = 0, count; first < sound->frames; first += count) {
        count = sound->frames - first < BLOCK ? sound->frames - first : BLOCK;
        int16_t *samples = sound->samples + first * sound->channels;
        const size_t n = count * sound->channels;
        for (size_t k = 0; k < n; k++) block[k] = (float)samples[k] / 32768;
        const double begin = now();
        callback(stream, block, count);
        seconds += now() - begin;
        for (size_t k = 0; k < n; k++) samples[k] = to_sample(block[k]);
    }
    free(block);
    return seconds;
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: filter MODEL.safetensors IN.wav OUT.wav\n");
        return 2;
    }
    clstm_model *model;
    check(clstm_model_from_file(argv[1], NULL, &model), argv[1]);
    const clstm_config *config = clstm_model_config(model);
    if (config->input_size != 1 || config->output_size != 1 || clstm_model_is_f64(model)) {
        fprintf(stderr, "filter: %s must be of float32, with input_size=1 and output_size=1\n", argv[1]);
        return 1;
    }
    wav sound = wav_read(argv[2]);

    size_t bytes;
    clstm_stream *stream = NULL;
    check(clstm_stream_size(model, sound.channels, &bytes), "stream");
    void *memory = malloc(bytes);
    check(memory ? clstm_stream_init(model, sound.channels, 0, memory, bytes, &stream) : CLSTM_OUT_OF_MEMORY, "stream");
    const double seconds = filter(stream, &sound);
    wav_write(argv[3], &sound);

    const double samples = (double)sound.frames * sound.channels;
    if (samples > 0)
        printf("%.0f ns a sample, real-time factor %.5f\n", 1e9 * seconds / samples,
               seconds * sound.rate / (double)sound.frames);
    clstm_stream_release(stream);
    clstm_model_free(model);
    free(memory);
    free(sound.samples);
    return 0;
}
