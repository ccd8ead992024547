/* Small helpers on arrays, typed. */

static void TYPED(copy_or_zero)(real *to, const real *from, size_t elements) {
    if (!elements) return; /* an empty array may be a null pointer */
    if (from) memcpy(to, from, elements * sizeof(real));
    else memset(to, 0, elements * sizeof(real));
}

static void TYPED(add)(real *to, const real *from, size_t n) {
    for (size_t k = 0; k < n; k++) to[k] += from[k];
}
