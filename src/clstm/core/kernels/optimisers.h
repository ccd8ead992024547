/* Passes over flat arrays of parameters and gradients, typed: all that is to be done to an element is done while it is
   in a register, because memory is what bounds them. */
#ifndef KERNELS_OPTIMISERS /* once a type: real_undefine.h ends it */
#define KERNELS_OPTIMISERS

/* m, v and p of some elements by one step of Adam. Algorithm 1 of D. P. Kingma, J. Ba, "Adam: a method for stochastic
   optimization", 2015, with the corrections of the bias in `rate` and `divisor`. */
static void TYPED(adam)(const TYPED(clstm_i_adam) *step, size_t begin, size_t end) {
    const vreal toward1 = TYPED(splat)(step->toward1), toward2 = TYPED(splat)(step->toward2);
    const vreal rate = TYPED(splat)(step->rate), divisor = TYPED(splat)(step->divisor), eps = TYPED(splat)(step->eps);
    for (size_t k = begin; k < end; k += TYPED(LANES)) {
        const size_t part = end - k < TYPED(LANES) ? end - k : TYPED(LANES);
        const vreal g = TYPED(load_n)(step->g + k, part);
        vreal m = TYPED(load_n)(step->m + k, part), v = TYPED(load_n)(step->v + k, part);
        m = TYPED(fma)(g - m, toward1, m);
        v = TYPED(fma)(g * g - v, toward2, v);
        const vreal change = rate * m / (TYPED(sqrt)(v) / divisor + eps);
        TYPED(store_n)(step->m + k, m, part);
        TYPED(store_n)(step->v + k, v, part);
        TYPED(store_n)(step->p + k, TYPED(load_n)(step->p + k, part) - change, part);
    }
}

/* velocity and p of some elements by one step of gradient descent with momentum. */
static void TYPED(sgd)(const TYPED(clstm_i_sgd) *step, size_t begin, size_t end) {
    const vreal rate = TYPED(splat)(step->rate), momentum = TYPED(splat)(step->momentum);
    for (size_t k = begin; k < end; k += TYPED(LANES)) {
        const size_t part = end - k < TYPED(LANES) ? end - k : TYPED(LANES);
        const vreal velocity = momentum * TYPED(load_n)(step->velocity + k, part) + TYPED(load_n)(step->g + k, part);
        TYPED(store_n)(step->velocity + k, velocity, part);
        TYPED(store_n)(step->p + k, TYPED(load_n)(step->p + k, part) - rate * velocity, part);
    }
}

/* The sum of n squares, in double. Eight sums side by side, for the compiler to put into vectors. */
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
