/* The memory that a model keeps between calls and lends to them: packs, the workspace of a pass, the memory of a
   tape. */
#include "model.h"
#include "tape_base.h"
#include "tuning.h"

/* The header of memory that is lent. */
struct clstm_i_loan {
    void *block;
    size_t bytes;
};

enum { HEADER = 64 }; /* keeps the alignment of what follows */
_Static_assert(sizeof(struct clstm_i_loan) <= HEADER, "the header must fit");

/* Bytes of the largest loan that is kept. */
static const size_t most[] = {[CLSTM_I_WORKSPACE] = TUNE_KEPT_WORKSPACE, [CLSTM_I_TAPE] = TUNE_KEPT_TAPE};

static void release_loan(const clstm_i_cache *cache, struct clstm_i_loan *loan) {
    if (loan) clstm_i_release(&cache->context, loan->block);
}

clstm_i_cache *clstm_i_cache_create(const clstm_context *context, clstm_status *status) {
    clstm_i_layout layout = {0, 0};
    clstm_i_reserve(&layout, 1, 1, sizeof(clstm_i_cache));
    void *block;
    clstm_i_cache *cache = (clstm_i_cache *)clstm_i_allocate(context, &layout, &block, status);
    if (!cache) return NULL;
    cache->context = *context;
    cache->block = block;
    atomic_init(&cache->users, 1);
    atomic_init(&cache->closed, 0);
    for (size_t key = 0; key < CLSTM_I_PACKS; key++) {
        atomic_init(&cache->packs[key], NULL);
        atomic_init(&cache->stale[key], NULL);
    }
    for (int kind = 0; kind < CLSTM_I_LOAN_KINDS; kind++) atomic_init(&cache->spares[kind], NULL);
    atomic_init(&cache->lock.owner, 0);
    return cache;
}

static void drop(clstm_i_cache *cache) {
    if (atomic_fetch_sub(&cache->users, 1) > 1) return;
    const clstm_context context = cache->context;
    clstm_i_release(&context, cache->block);
}

void clstm_i_drop_pack(const clstm_context *context, clstm_i_owned *pack) {
    clstm_i_assert(!pack || atomic_load(&pack->users) > 0);
    if (pack && atomic_fetch_sub(&pack->users, 1) == 1) clstm_i_release(context, pack->block);
}

/* Keeps the packs' memory for the next version: fresh pages took 2 % of a training step of 2 layers of 256 units. */
void clstm_i_cache_retire_packs(clstm_i_cache *cache) {
    for (size_t key = 0; key < CLSTM_I_PACKS; key++) {
        clstm_i_owned *pack = atomic_exchange(&cache->packs[key], NULL);
        if (pack) clstm_i_drop_pack(&cache->context, atomic_exchange(&cache->stale[key], pack));
    }
}

clstm_i_owned *clstm_i_take_stale(clstm_i_cache *cache, size_t key) {
    clstm_i_owned *pack = atomic_exchange(&cache->stale[key], NULL);
    if (!pack || atomic_load(&pack->users) == 1) return pack;
    clstm_i_drop_pack(&cache->context, pack); /* a stream still uses it */
    return NULL;
}

void clstm_i_cache_close(clstm_i_cache *cache) {
    atomic_store(&cache->closed, 1);
    for (size_t key = 0; key < CLSTM_I_PACKS; key++) {
        clstm_i_drop_pack(&cache->context, atomic_exchange(&cache->packs[key], NULL));
        clstm_i_drop_pack(&cache->context, atomic_exchange(&cache->stale[key], NULL));
    }
    for (int kind = 0; kind < CLSTM_I_LOAN_KINDS; kind++)
        release_loan(cache, atomic_exchange(&cache->spares[kind], NULL));
    drop(cache);
}

char *clstm_i_borrow(clstm_i_cache *cache, clstm_i_loan_kind kind, const clstm_i_layout *layout,
                     clstm_status *status) {
    struct clstm_i_loan *loan = atomic_exchange(&cache->spares[kind], NULL);
    *status = CLSTM_OK;
    if (loan && !layout->overflow && loan->bytes >= layout->bytes) return (char *)loan + HEADER;

    release_loan(cache, loan);
    clstm_i_layout whole = *layout;
    void *block;
    clstm_i_reserve(&whole, 1, 1, HEADER);
    char *memory = clstm_i_allocate(&cache->context, &whole, &block, status);
    if (!memory) return NULL;
    *(struct clstm_i_loan *)memory = (struct clstm_i_loan){block, layout->bytes};
    return memory + HEADER;
}

void clstm_i_give_back(clstm_i_cache *cache, clstm_i_loan_kind kind, char *memory) {
    struct clstm_i_loan *loan = (struct clstm_i_loan *)(memory - HEADER);
    if (loan->bytes <= most[kind] && !atomic_load(&cache->closed)) loan = atomic_exchange(&cache->spares[kind], loan);
    release_loan(cache, loan);
    if (atomic_load(&cache->closed)) release_loan(cache, atomic_exchange(&cache->spares[kind], NULL));
}

/* ---- Tapes: they may outlive their model, and come from the allocator of their call ---- */

static int same_allocator(const clstm_context *a, const clstm_context *b) {
    return a->allocate == b->allocate && a->release == b->release && a->user == b->user;
}

char *clstm_i_borrow_tape(const clstm_model *model, const clstm_context *context, const clstm_i_layout *layout,
                          void **block, clstm_status *status) {
    *block = NULL;
    if (!same_allocator(&model->context, context)) return clstm_i_allocate(context, layout, block, status);
    char *memory = clstm_i_borrow(model->cache, CLSTM_I_TAPE, layout, status);
    if (memory) atomic_fetch_add(&model->cache->users, 1);
    return memory;
}

void clstm_i_return_tape(clstm_tape *tape) {
    const clstm_context context = tape->context;
    clstm_i_cache *cache = tape->cache;
    if (tape->block) {
        clstm_i_release(&context, tape->block);
        return;
    }
    clstm_i_give_back(cache, CLSTM_I_TAPE, (char *)tape);
    drop(cache);
}
