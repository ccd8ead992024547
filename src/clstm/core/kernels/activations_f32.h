/* tanh and sigmoid of one vector of float32.

   Included by the kernel files after their vector operations. No libm, no branches, and no dependence on the width of a
   vector. Measured over all 2^32 inputs, with fma_f32 fused and unfused, with denormals flushed and kept:

       tanh      3.5 ULP, 2.1e-7 absolute, exactly odd, inside [-1, 1]
       sigmoid   3.6 ULP for x >= -87, 9.5e-8 absolute everywhere, inside [0, 1]

   Infinities give exactly -1, 0 or 1. NaN gives NaN, because min and max take the constant first and return their
   second operand if either is NaN. */
#pragma once

/* By the half-angle formula: if tanh(x/2) = n/d, then tanh(x) = 2 n d / (n^2 + d^2), here with

       n = x (n0 + n1 x^2 + n2 x^4),    d = d0 + d1 x^2 + d2 x^4 + d3 x^6.

   tanh(x) inherits the error of n/d multiplied by sech(x). So few coefficients suffice, and the rounding errors of n
   and d, which grow with x, are damped most where they are largest.

   Coefficients: Remez fit of tanh(x/2) on [0, 7.6], relative error weighted by sech(x). Then n and d were scaled
   together, so that d and d^2 lie just below a power of two at small x, where floats are relatively finest; and n is
   larger than x there, so that it is no denormal, which would be flushed, unless x is. Then a random search over
   neighbouring floats for the least ULP error. */
static inline vf32 tanh_f32(vf32 x) {
    /* At the limit the quotient is exactly 1, fused or not; below the limit it never exceeds 1. */
    x = max_f32(splat_f32(-8.8f), min_f32(splat_f32(8.8f), x));
    const vf32 x2 = x * x;

    vf32 n = fma_f32(x2, splat_f32(0x1.c0f374p-13f), splat_f32(0x1.c2dc1ap-5f));
    n = x * fma_f32(x2, n, splat_f32(0x1.d7d86ap+0f));

    vf32 d = fma_f32(x2, splat_f32(0x1.3a174p-18f), splat_f32(0x1.25ad2p-8f));
    d = fma_f32(x2, d, splat_f32(0x1.ab4748p-2f));
    d = fma_f32(x2, d, splat_f32(0x1.d7d86ap+1f));

    return n * (d + d) / fma_f32(n, n, d * d);
}

/* 1 / (1 + exp(-x)) with exp(-x) = 2^k exp(-s), k an integer, s = x + k ln 2, |s| <= ln 2 / 2.

   Adding `shifter` rounds -x / ln 2 to k and leaves k + 127 in the lowest bits of the sum. Shifted into the exponent,
   they are the float 2^k: infinity for k = 128, zero for k = -127. ln 2 is split in two, the first term so short that k
   times it is exact without a fused multiply-add.

   Coefficients: Remez fit of exp(-s), relative error, constant fixed at 1; then the same search. */
static inline vf32 sigmoid_f32(vf32 x) {
    /* -89 has k = 128 and gives exactly 0; 80 has k > -127 and gives exactly 1. */
    x = max_f32(splat_f32(-89.0f), min_f32(splat_f32(80.0f), x));

    const vf32 one = splat_f32(1.0f), shifter = splat_f32(0x1.8p23f + 127.0f);
    const vf32 shifted = fma_f32(x, splat_f32(-0x1.715476p+0f), shifter);
    const vf32 power = (vf32)((vi32)shifted << 23);

    const vf32 k = shifted - shifter;
    vf32 s = fma_f32(k, splat_f32(0x1.62ep-1f), x);
    s = fma_f32(k, splat_f32(0x1.0bfbe8p-15f), s);

    vf32 p = fma_f32(s, splat_f32(-0x1.0fa78ap-7f), splat_f32(0x1.573448p-5f));
    p = fma_f32(s, p, splat_f32(-0x1.55597ap-3f));
    p = fma_f32(s, p, splat_f32(0x1.fffdd8p-2f));
    p = fma_f32(s, p, splat_f32(-0x1.fffffcp-1f));
    p = fma_f32(s, p, one);

    return one / fma_f32(p, power, one);
}

/* ---- Fast ones: within 1e-5 of the functions, for models that are computed with CLSTM_FAST ---- */

/* A quotient that is yet to be divided: a cell shares divisions between its gates. */
typedef struct quotient_f32 {
    vf32 above, below;
} quotient_f32;

/* tanh(x) = n/d with

       n = x (1 + n1 x^2 + n2 x^4),    d = 1 + d1 x^2 + d2 x^4 + d3 x^6.

   Coefficients: minimax fit of the absolute error on [0, 5.9], 8.8e-6, which the limits of x keep beyond; n0 is fixed
   at 1, so that small x keep their amplitude. |n/d| stays below 1. The lower and the higher terms of d are summed
   apart: a shorter chain. */
static inline quotient_f32 fast_tanh_f32(vf32 x) {
    x = max_f32(splat_f32(-5.9f), min_f32(splat_f32(5.9f), x));
    const vf32 x2 = x * x, n = fma_f32(x2, splat_f32(0x1.87acf8p-10f), splat_f32(0x1.d5152p-4f));
    const vf32 low = fma_f32(x2, splat_f32(0x1.ca8d7ep-2f), splat_f32(1.0f));
    const vf32 high = fma_f32(x2, splat_f32(0x1.cd12b6p-15f), splat_f32(0x1.1e9842p-6f));
    return (quotient_f32){fma_f32(x * x2, n, x), fma_f32(x2 * x2, high, low)};
}

/* sigmoid(x) = (1 + tanh(x/2)) / 2 = (d + n) / 2d, the same fit. */
static inline quotient_f32 fast_sigmoid_f32(vf32 x) {
    x = max_f32(splat_f32(-11.8f), min_f32(splat_f32(11.8f), x));
    const vf32 x2 = x * x, n = fma_f32(x2, splat_f32(0x1.87acf8p-15f), splat_f32(0x1.d5152p-7f));
    const vf32 low = fma_f32(x2, splat_f32(0x1.ca8d7ep-4f), splat_f32(1.0f));
    const vf32 high = fma_f32(x2, splat_f32(0x1.cd12b6p-21f), splat_f32(0x1.1e9842p-10f));
    const vf32 d = fma_f32(x2 * x2, high, low);
    return (quotient_f32){fma_f32(x, fma_f32(x2, n, splat_f32(0.5f)), d), d + d};
}
