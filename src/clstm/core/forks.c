/* Forks: counts them. */
#include "forks.h"

#include <pthread.h>

atomic_uint clstm_i_generation;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void in_child(void) { atomic_fetch_add_explicit(&clstm_i_generation, 1, memory_order_relaxed); }

static void watch(void) {
    unsigned none = 0;
    pthread_atfork(NULL, NULL, in_child);
    atomic_compare_exchange_strong(&clstm_i_generation, &none, 1);
}

unsigned clstm_i_watch_forks(void) {
    pthread_once(&once, watch);
    return atomic_load_explicit(&clstm_i_generation, memory_order_relaxed);
}
