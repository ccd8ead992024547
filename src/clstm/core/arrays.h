/* Small helpers on arrays, typed. */

static void TYPED(copy_or_zero)(real *to, const real *from, size_t elements) {
    if (!elements) return; /* an empty array may be a null pointer */
    if (from) memcpy(to, from, elements * sizeof(real));
    else memset(to, 0, elements * sizeof(real));
}

static void TYPED(add)(real *to, const real *from, size_t n) {
    for (size_t k = 0; k < n; k++) to[k] += from[k];
}

static void TYPED(copy_rows)(real *to, size_t to_stride, const real *from, size_t from_stride, size_t rows,
                             size_t columns) {
    if (to_stride == columns && from_stride == columns) {
        memcpy(to, from, rows * columns * sizeof(real));
        return;
    }
    for (size_t row = 0; row < rows; row++)
        memcpy(to + row * to_stride, from + row * from_stride, columns * sizeof(real));
}
