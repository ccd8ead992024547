/* Detects speech: an LSTM over frames of features, followed by relu, a linear head and a sigmoid that this program
   computes itself. Frame by frame, as a live program does.

       cc voice.c $(python -m clstm config --cflags --libs) -o voice
       ./voice MODEL.safetensors HEAD FRAMES SECONDS_PER_FRAME

   MODEL is a file of LSTM.save: I features in, H units, float32. HEAD has H weights and a bias, FRAMES any number of
   frames of I features, both as raw float32. Prints a line for each segment of speech, with its begin and end in
   seconds. */
#include <clstm.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Speech begins at this probability; shorter pauses belong to it. */
static const float THRESHOLD = 0.5f;
enum { SHORTEST_PAUSE = 4 };

static void check(clstm_status status, const char *what) {
    if (status == CLSTM_OK) return;
    fprintf(stderr, "voice: %s: %s\n", what, clstm_strerror(status));
    exit(1);
}

static FILE *open_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file) return file;
    perror(path);
    exit(1);
}

static float *room(size_t count) {
    float *numbers = malloc((count ? count : 1) * sizeof *numbers);
    if (numbers) return numbers;
    fprintf(stderr, "voice: out of memory\n");
    exit(1);
}

/* H weights, then the bias. */
static float *read_head(const char *path, size_t hidden_size) {
    FILE *file = open_file(path);
    float *head = room(hidden_size + 1);
    if (fread(head, sizeof *head, hidden_size + 1, file) != hidden_size + 1 || fgetc(file) != EOF) {
        fprintf(stderr, "voice: %s does not hold %zu numbers\n", path, hidden_size + 1);
        exit(1);
    }
    fclose(file);
    return head;
}

/* sigmoid(weights . relu(h) + bias) */
static float probability(const float *head, const float *h, size_t hidden_size) {
    float sum = head[hidden_size];
    for (size_t j = 0; j < hidden_size; j++)
        if (h[j] > 0) sum += head[j] * h[j];
    return 1 / (1 + expf(-sum));
}

/* Segments of speech, from consecutive probabilities. */
typedef struct segments {
    double seconds; /* of a frame */
    long frame;     /* the next one */
    long begin;     /* of the open segment, or -1 */
    long end;       /* after its last frame of speech */
} segments;

static void close_stretch(segments *s) {
    if (s->begin >= 0) printf("%.3f %.3f\n", (double)s->begin * s->seconds, (double)s->end * s->seconds);
    s->begin = -1;
}

static void hear(segments *s, float probability) {
    if (probability >= THRESHOLD) {
        if (s->begin < 0) s->begin = s->frame;
        s->end = s->frame + 1;
    } else if (s->frame + 1 - s->end >= SHORTEST_PAUSE) {
        close_stretch(s);
    }
    s->frame++;
}

int main(int argc, char **argv) {
    if (argc != 5) {
        fprintf(stderr, "usage: voice MODEL.safetensors HEAD FRAMES SECONDS_PER_FRAME\n");
        return 2;
    }
    clstm_model *model;
    check(clstm_model_from_file(argv[1], NULL, &model), argv[1]);
    const clstm_config *config = clstm_model_config(model);
    const size_t features = config->input_size, hidden_size = config->hidden_size;
    if (config->output_size || config->proj_size || clstm_model_is_f64(model)) {
        fprintf(stderr, "voice: %s must be of float32, without readout or projection\n", argv[1]);
        return 1;
    }

    size_t bytes;
    clstm_stream *stream = NULL;
    check(clstm_stream_size(model, 1, &bytes), "stream");
    void *memory = malloc(bytes);
    check(memory ? clstm_stream_init(model, 1, 0, memory, bytes, &stream) : CLSTM_OUT_OF_MEMORY, "stream");

    float *head = read_head(argv[2], hidden_size), *x = room(features), *h = room(hidden_size);
    segments segments = {atof(argv[4]), 0, -1, 0};
    FILE *frames = open_file(argv[3]);
    while (fread(x, sizeof *x, features, frames) == features) {
        check(clstm_stream_step(stream, x, h), "step"); /* without a readout y is h */
        hear(&segments, probability(head, h, hidden_size));
    }
    close_stretch(&segments);

    fclose(frames);
    clstm_stream_release(stream);
    clstm_model_free(model);
    free(memory);
    free(head);
    free(x);
    free(h);
    return 0;
}
