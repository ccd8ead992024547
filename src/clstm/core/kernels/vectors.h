/* The vector operations that are written alike for every instruction set, typed. The kernel files add fma(a, b, c) = a
   b + c; min and max, which return their second operand if either is NaN; partial loads and stores if they define
   MASKS; and the non-temporal store if they define NONTEMPORAL_STORES. */

typedef real vreal __attribute__((vector_size(VECTOR_BYTES)));
typedef lane_int vint __attribute__((vector_size(VECTOR_BYTES)));

enum { TYPED(LANES) = VECTOR_BYTES / sizeof(real) };

static inline vreal TYPED(splat)(real x) { return x - (vreal){0}; /* minus: x + 0 turns -0 into 0 */ }

static inline vreal TYPED(load)(const real *from) {
    vreal v;
    __builtin_memcpy(&v, from, sizeof v);
    return v;
}

static inline void TYPED(store)(real *to, vreal v) { __builtin_memcpy(to, &v, sizeof v); }

/* Bypasses the caches, without reading the line first; `to` is aligned. */
#ifdef NONTEMPORAL_STORES
static inline void TYPED(store_nontemporal)(real *to, vreal v);
#else
static inline void TYPED(store_nontemporal)(real *to, vreal v) { TYPED(store)(to, v); }
#endif

/* The first n lanes. Loading sets the other lanes to 0; storing leaves their memory alone. */
#ifdef MASKS
static inline vreal TYPED(load_part)(const real *from, size_t n);
static inline void TYPED(store_part)(real *to, vreal v, size_t n);
#else
static inline vreal TYPED(load_part)(const real *from, size_t n) {
    vreal v = {0};
    for (size_t k = 0; k < n; k++) v[k] = from[k];
    return v;
}

static inline void TYPED(store_part)(real *to, vreal v, size_t n) {
    for (size_t k = 0; k < n; k++) to[k] = v[k];
}
#endif

static inline vreal TYPED(load_n)(const real *from, size_t n) {
    return n == TYPED(LANES) ? TYPED(load)(from) : TYPED(load_part)(from, n);
}

static inline void TYPED(store_n)(real *to, vreal v, size_t n) {
    if (n == TYPED(LANES)) TYPED(store)(to, v);
    else TYPED(store_part)(to, v, n);
}

static inline vreal TYPED(swap_halves)(vreal v) {
    vreal swapped = v; /* every lane is replaced; gcc at -O1 does not see that */
    for (int k = 0; k < TYPED(LANES); k++) swapped[k] = v[(k + TYPED(LANES) / 2) % TYPED(LANES)];
    return swapped;
}

/* The sum of all lanes of a cache line, by halves: the order does not depend on the width of a vector. */
ALWAYS_INLINE real TYPED(sum_of_line)(vreal *v) {
    enum { VECTORS = 64 / VECTOR_BYTES, LAST = TYPED(LANES) - 1 };
    UNROLL for (int n = VECTORS / 2; n; n /= 2)
        UNROLL for (int k = 0; k < n; k++) v[k] += v[k + n];
    vreal sum = v[0];
    UNROLL for (int n = TYPED(LANES) / 2; n; n /= 2) {
        vreal moved = sum;
        UNROLL for (int k = 0; k <= LAST; k++) moved[k] = sum[(k + n) & LAST];
        sum += moved;
    }
    return sum[0];
}
