/* Passes over flat arrays of parameters and gradients, typed. They are memory-bound, so that everything is done to an
   element while it is in a register. */
#ifndef KERNELS_OPTIMISERS /* included once for each type: real_undefine.h undefines it */
#define KERNELS_OPTIMISERS

/* One step of Adam: m, v and p of some elements. Algorithm 1 of D. P. Kingma, J. Ba, "Adam: a method for stochastic
   optimization", 2015, with the bias corrections in `rate` and `divisor`; and the decoupled weight decay of I.
   Loshchilov, F. Hutter, "Decoupled weight decay regularization", 2019, in `keep`. */
static void TYPED(adam)(const TYPED(clstm_i_adam) *step, size_t begin, size_t end) {
    const vreal toward1 = TYPED(splat)(step->toward1), toward2 = TYPED(splat)(step->toward2);
    const vreal rate = TYPED(splat)(step->rate), divisor = TYPED(splat)(step->divisor), eps = TYPED(splat)(step->eps);
    const vreal keep = TYPED(splat)(step->keep);
    for (size_t k = begin; k < end; k += TYPED(LANES)) {
        const size_t count = end - k < TYPED(LANES) ? end - k : TYPED(LANES);
        const vreal g = TYPED(load_n)(step->g + k, count);
        vreal m = TYPED(load_n)(step->m + k, count), v = TYPED(load_n)(step->v + k, count);
        m = TYPED(fma)(g - m, toward1, m);
        v = TYPED(fma)(g * g - v, toward2, v);
        const vreal change = rate * m / (TYPED(sqrt)(v) / divisor + eps);
        TYPED(store_n)(step->m + k, m, count);
        TYPED(store_n)(step->v + k, v, count);
        TYPED(store_n)(step->p + k, keep * TYPED(load_n)(step->p + k, count) - change, count);
    }
}

/* One step of gradient descent with momentum: velocity and p of some elements. */
static void TYPED(sgd)(const TYPED(clstm_i_sgd) *step, size_t begin, size_t end) {
    const vreal rate = TYPED(splat)(step->rate), momentum = TYPED(splat)(step->momentum);
    const vreal keep = TYPED(splat)(step->keep);
    for (size_t k = begin; k < end; k += TYPED(LANES)) {
        const size_t count = end - k < TYPED(LANES) ? end - k : TYPED(LANES);
        const vreal velocity = momentum * TYPED(load_n)(step->velocity + k, count) + TYPED(load_n)(step->g + k, count);
        TYPED(store_n)(step->velocity + k, velocity, count);
        TYPED(store_n)(step->p + k, keep * TYPED(load_n)(step->p + k, count) - rate * velocity, count);
    }
}

/* The sum of n squares, in double. Eight partial sums let the compiler vectorise. */
static double TYPED(sum_squares)(size_t n, const real *a) {
    double sums[8] = {0}, total = 0;
    const size_t whole = n - n % 8;
    for (size_t k = 0; k < whole; k += 8)
        for (size_t lane = 0; lane < 8; lane++) sums[lane] += (double)a[k + lane] * (double)a[k + lane];
    for (size_t k = whole; k < n; k++) total += (double)a[k] * (double)a[k];
    for (size_t lane = 0; lane < 8; lane++) total += sums[lane];
    return total;
}

static void TYPED(scale)(size_t n, real *a, real factor) {
    for (size_t k = 0; k < n; k++) a[k] *= factor;
}

#endif
