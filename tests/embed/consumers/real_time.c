/* The calls of an audio callback, under seccomp's strict mode: the kernel kills the thread at any system call but
   write. Wrappers that the linker inserts (-Wl,--wrap=malloc, ...) detect allocations and locks that make no system
   call. Writes "done" if it survives, or the name of the function that was called. */
#define _GNU_SOURCE
#include <clstm.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { I = 3, H = 40, O = 2, T = 130, ELEMENTS = 4 * H * (I + H + 1) + 4 * H * (2 * H + 1) + O * (H + 1) };

static int in_callback;

static void say(const char *what) { (void)!write(1, what, strlen(what)); }

#define WRAP(result, name, parameters, arguments) \
    result __real_##name parameters;              \
    result __wrap_##name parameters;              \
    result __wrap_##name parameters {             \
        if (in_callback) say(#name " ");          \
        return __real_##name arguments;           \
    }
WRAP(void *, malloc, (size_t bytes), (bytes))
WRAP(void *, calloc, (size_t count, size_t bytes), (count, bytes))
WRAP(void *, realloc, (void *block, size_t bytes), (block, bytes))
WRAP(int, pthread_mutex_lock, (pthread_mutex_t * mutex), (mutex))
WRAP(int, pthread_mutex_trylock, (pthread_mutex_t * mutex), (mutex))
void __real_free(void *block);
void __wrap_free(void *block);
void __wrap_free(void *block) {
    if (in_callback) say("free ");
    __real_free(block);
}

int main(void) {
    static float parameters[ELEMENTS], x[T * I], y[T * O], h[2 * H], c[2 * H];
    clstm_config config = CLSTM_CONFIG_INIT;
    clstm_model *model;
    clstm_stream *stream;
    size_t bytes;
    config.input_size = I;
    config.hidden_size = H;
    config.num_layers = 2;
    config.output_size = O;
    for (int k = 0; k < ELEMENTS; k++) parameters[k] = 0.1f * (float)(k % 7 - 3);
    if (clstm_model_create(&config, parameters, NULL, &model) || clstm_stream_size(model, 1, &bytes)) return 1;
    void *memory = malloc(bytes);
    if (clstm_stream_init(model, 1, 0, memory, bytes, &stream)) return 1;
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT)) {
        say("no seccomp");
        return 0;
    }
    in_callback = 1;
    for (int t = 0; t < T; t++) clstm_stream_step(stream, x + t * I, y + t * O);
    clstm_stream_process(stream, T, x, y);
    clstm_stream_get_state(stream, h, c);
    clstm_stream_set_state(stream, h, c);
    clstm_stream_reset(stream);
    clstm_stream_leave(stream, 0);
    clstm_stream_join(stream, &bytes);
    in_callback = 0;
    say("done");
    syscall(SYS_exit, 0); /* the only exit that strict mode allows */
    return 1;
}
