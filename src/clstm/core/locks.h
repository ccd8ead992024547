/* Locks that know forks: what a thread of the parent held is free in a child, where that thread does not exist. */
#pragma once

#include "forks.h"

#pragma GCC visibility push(hidden)

/* ---- A mutex for work of milliseconds. Zero is unlocked ---- */

typedef struct clstm_i_mutex {
    atomic_uint owner; /* 0, or the generation of the process whose thread holds it */
} clstm_i_mutex;

int clstm_i_try_lock(clstm_i_mutex *mutex);
void clstm_i_lock(clstm_i_mutex *mutex); /* sleeps between its tries */

static inline void clstm_i_unlock(clstm_i_mutex *mutex) {
    atomic_store_explicit(&mutex->owner, 0, memory_order_release);
}

/* ---- Access to an object: shared by any number of calls, or held by one holder. Zero is free ----

   One word: the calls, the holders that wait, three flags, and the generation of the process that wrote it. A word of
   an earlier generation counts as free. If a holder was writing then, the object is torn: whoever does not overwrite
   all of it is refused. */

typedef struct clstm_i_access {
    atomic_ullong word;
} clstm_i_access;

typedef enum clstm_i_refusal {
    CLSTM_I_GRANTED,
    CLSTM_I_IS_HELD,
    CLSTM_I_IS_TORN,
    CLSTM_I_IS_AWAITED, /* a holder waits until the calls have ended */
    CLSTM_I_IS_SHARED
} clstm_i_refusal;

/* What a holder does. To mend is to overwrite the whole object, torn or not. */
typedef enum clstm_i_purpose { CLSTM_I_READ, CLSTM_I_WRITE, CLSTM_I_MEND } clstm_i_purpose;

#define CLSTM_I_CALL 1ull
#define CLSTM_I_CALLS 0xfffffull
#define CLSTM_I_WAITER (1ull << 20)
#define CLSTM_I_WAITERS (0xffffull << 20)
#define CLSTM_I_HELD (1ull << 36)
#define CLSTM_I_WRITTEN (1ull << 37)
#define CLSTM_I_TORN (1ull << 38)
enum { CLSTM_I_GENERATION_SHIFT = 40 };

static inline unsigned long long clstm_i_generation_bits(void) {
    return (unsigned long long)clstm_i_forks() << CLSTM_I_GENERATION_SHIFT;
}

/* The word as this process sees it. */
static inline unsigned long long clstm_i_seen(unsigned long long word) {
    const unsigned long long generation = clstm_i_generation_bits();
    if (word >> CLSTM_I_GENERATION_SHIFT == generation >> CLSTM_I_GENERATION_SHIFT) return word;
    return generation | (word & (CLSTM_I_WRITTEN | CLSTM_I_TORN) ? CLSTM_I_TORN : 0);
}

static inline clstm_i_refusal clstm_i_refused(unsigned long long word) {
    if (word & CLSTM_I_HELD) return CLSTM_I_IS_HELD;
    if (word & CLSTM_I_TORN) return CLSTM_I_IS_TORN;
    return word & CLSTM_I_WAITERS ? CLSTM_I_IS_AWAITED : CLSTM_I_IS_SHARED;
}

static inline int clstm_i_swap(clstm_i_access *access, unsigned long long *word, unsigned long long next) {
    return atomic_compare_exchange_weak_explicit(&access->word, word, next, memory_order_acq_rel,
                                                 memory_order_relaxed);
}

/* Begins a call unless one of the flags stands against it. */
static inline clstm_i_refusal clstm_i_begin_unless(clstm_i_access *access, unsigned long long flags, unsigned *mark) {
    unsigned long long word = atomic_load_explicit(&access->word, memory_order_relaxed), seen;
    do {
        seen = clstm_i_seen(word);
        if (seen & flags) return clstm_i_refused(seen);
    } while (!clstm_i_swap(access, &word, seen + CLSTM_I_CALL));
    *mark = (unsigned)(seen >> CLSTM_I_GENERATION_SHIFT);
    return CLSTM_I_GRANTED;
}

/* Begins a call. *mark is for clstm_i_end_call. */
static inline clstm_i_refusal clstm_i_begin_call(clstm_i_access *access, unsigned *mark) {
    return clstm_i_begin_unless(access, CLSTM_I_WAITERS | CLSTM_I_HELD | CLSTM_I_WRITTEN | CLSTM_I_TORN, mark);
}

/* Begins a call that may be a part of another one: a holder that waits for that one must not stop it half-way. */
static inline clstm_i_refusal clstm_i_begin_inner_call(clstm_i_access *access, unsigned *mark) {
    return clstm_i_begin_unless(access, CLSTM_I_HELD | CLSTM_I_WRITTEN | CLSTM_I_TORN, mark);
}

/* Each of these undoes what set the mark, unless the word has begun anew since, in a child. */
static inline void clstm_i_subtract(clstm_i_access *access, unsigned mark, unsigned long long amount) {
    unsigned long long word = atomic_load_explicit(&access->word, memory_order_relaxed);
    do {
        if (word >> CLSTM_I_GENERATION_SHIFT != mark) return;
    } while (!clstm_i_swap(access, &word, word - amount));
}

static inline void clstm_i_end_call(clstm_i_access *access, unsigned mark) {
    clstm_i_subtract(access, mark, CLSTM_I_CALL);
}

static inline void clstm_i_end_wait(clstm_i_access *access, unsigned mark) {
    clstm_i_subtract(access, mark, CLSTM_I_WAITER);
}

/* Becomes the only holder, if there is neither another one nor a call. *mark is for the functions below. */
clstm_i_refusal clstm_i_hold(clstm_i_access *access, clstm_i_purpose purpose, unsigned *mark);

/* Lets a holder that reads write from now on. It holds anew, if that is possible, if it finds itself in a child. */
clstm_i_refusal clstm_i_begin_write(clstm_i_access *access, unsigned *mark);

/* Ends a hold. A torn object stays torn unless it is whole again. */
void clstm_i_end_hold(clstm_i_access *access, unsigned mark, int whole);

/* Lets no call begin until clstm_i_end_wait. */
unsigned clstm_i_begin_wait(clstm_i_access *access);

static inline unsigned long long clstm_i_look(clstm_i_access *access) {
    return clstm_i_seen(atomic_load_explicit(&access->word, memory_order_acquire));
}

static inline int clstm_i_is_written(clstm_i_access *access) { return (clstm_i_look(access) & CLSTM_I_WRITTEN) != 0; }
static inline int clstm_i_is_torn(clstm_i_access *access) { return (clstm_i_look(access) & CLSTM_I_TORN) != 0; }
static inline int clstm_i_is_awaited(clstm_i_access *access) { return (clstm_i_look(access) & CLSTM_I_WAITERS) != 0; }

#pragma GCC visibility pop
