/* Locks that know forks: the functions of locks.h that no small call needs. */
#include "locks.h"

#include <time.h>

/* ---- The mutex ---- */

int clstm_i_try_lock(clstm_i_mutex *mutex) {
    const unsigned own = clstm_i_forks();
    unsigned owner = 0;
    if (atomic_compare_exchange_strong(&mutex->owner, &owner, own)) return 1;
    return owner != own && atomic_compare_exchange_strong(&mutex->owner, &owner, own);
}

void clstm_i_lock(clstm_i_mutex *mutex) {
    const struct timespec pause = {0, 50000}; /* short beside the work, long beside a system call */
    while (!clstm_i_try_lock(mutex)) nanosleep(&pause, NULL);
}

/* ---- Access ---- */

clstm_i_refusal clstm_i_hold(clstm_i_access *access, clstm_i_purpose purpose, unsigned *mark) {
    const unsigned long long written = purpose == CLSTM_I_READ ? 0 : CLSTM_I_WRITTEN;
    unsigned long long word = atomic_load_explicit(&access->word, memory_order_relaxed), seen;
    do {
        seen = clstm_i_seen(word);
        if (seen & (CLSTM_I_HELD | CLSTM_I_CALLS)) return clstm_i_refused(seen);
        if (seen & CLSTM_I_TORN && purpose != CLSTM_I_MEND) return CLSTM_I_IS_TORN;
    } while (!clstm_i_swap(access, &word, seen | CLSTM_I_HELD | written));
    *mark = (unsigned)(seen >> CLSTM_I_GENERATION_SHIFT);
    /* A child that sees a write of the holder must see its mark. */
    atomic_thread_fence(memory_order_seq_cst);
    return CLSTM_I_GRANTED;
}

clstm_i_refusal clstm_i_begin_write(clstm_i_access *access, unsigned *mark) {
    unsigned long long word = atomic_load_explicit(&access->word, memory_order_relaxed), next;
    do {
        if (word >> CLSTM_I_GENERATION_SHIFT != *mark) return clstm_i_hold(access, CLSTM_I_WRITE, mark);
        next = clstm_i_generation_bits() | CLSTM_I_HELD | CLSTM_I_WRITTEN;
        if (word >> CLSTM_I_GENERATION_SHIFT == next >> CLSTM_I_GENERATION_SHIFT) next |= word & CLSTM_I_WAITERS;
    } while (!clstm_i_swap(access, &word, next));
    *mark = (unsigned)(next >> CLSTM_I_GENERATION_SHIFT);
    atomic_thread_fence(memory_order_seq_cst);
    return CLSTM_I_GRANTED;
}

void clstm_i_end_hold(clstm_i_access *access, unsigned mark, int whole) {
    const unsigned long long flags = CLSTM_I_HELD | CLSTM_I_WRITTEN | (whole ? CLSTM_I_TORN : 0);
    unsigned long long word = atomic_load_explicit(&access->word, memory_order_relaxed);
    do {
        if (word >> CLSTM_I_GENERATION_SHIFT != mark) return;
    } while (!clstm_i_swap(access, &word, word & ~flags));
}

unsigned clstm_i_begin_wait(clstm_i_access *access) {
    unsigned long long word = atomic_load_explicit(&access->word, memory_order_relaxed), seen;
    do seen = clstm_i_seen(word);
    while (!clstm_i_swap(access, &word, seen + CLSTM_I_WAITER));
    return (unsigned)(seen >> CLSTM_I_GENERATION_SHIFT);
}
