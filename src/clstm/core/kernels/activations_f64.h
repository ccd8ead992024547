/* tanh and sigmoid of one vector of float64.

   Included like activations_f32.h. float64 serves gradient checks and references, so both functions share one
   exponential and aim at accuracy rather than speed. Measured over 5e7 points, with fma_f64 fused and unfused, with
   denormals flushed and kept:

       tanh      2.6 ULP, exactly odd, inside [-1, 1]
       sigmoid   2.5 ULP for x >= -708, 1.7e-16 absolute everywhere, inside [0, 1]

   Infinities and NaN as in float32. */
#pragma once

/* Returns q of exp(-x) = power (1 - q), power = 2^k: accurate however small q is. x must lie in [-709.7, 708].

   k, power and s are found as in sigmoid_f32, and k = 1024 makes power infinite. Then q = 1 - exp(-s) = s + s^2 p(s), p
   by a Remez fit on |s| <= ln 2 / 2 for the relative error of q, which is 1.8e-17. */
static inline vf64 exp_parts_f64(vf64 x, vf64 *power) {
    const vf64 shifter = splat_f64(0x1.8p52 + 1023.0);
    const vf64 shifted = fma_f64(x, splat_f64(-0x1.71547652b82fep+0), shifter);
    *power = (vf64)((vi64)shifted << 52);

    const vf64 k = shifted - shifter;
    vf64 s = fma_f64(k, splat_f64(0x1.62e42fefa2p-1), x);
    s = fma_f64(k, splat_f64(0x1.9ef35793c7673p-41), s);

    vf64 p = fma_f64(s, splat_f64(0x1.ae6ba6a0a3476p-26), splat_f64(-0x1.28a1dfe4302f9p-22));
    p = fma_f64(s, p, splat_f64(0x1.71de88076149ep-19));
    p = fma_f64(s, p, splat_f64(-0x1.a019a76f5e94bp-16));
    p = fma_f64(s, p, splat_f64(0x1.a01a017514a8ep-13));
    p = fma_f64(s, p, splat_f64(-0x1.6c16c17edba17p-10));
    p = fma_f64(s, p, splat_f64(0x1.1111111118fabp-7));
    p = fma_f64(s, p, splat_f64(-0x1.55555555522b8p-5));
    p = fma_f64(s, p, splat_f64(0x1.5555555555539p-3));
    p = fma_f64(s, p, splat_f64(-0x1.0000000000005p-1));
    return fma_f64(s * s, p, s);
}

/* tanh|x| = m / (2 - m) with m = 1 - exp(-2|x|) = (1 - power) + power q. Little cancels in m: 1 - power is either 0, so
   that m = q, or at least 1/2. The sign bit is restored at the end, so that tanh is exactly odd. */
static inline vf64 tanh_f64(vf64 x) {
    const vf64 one = splat_f64(1.0);
    const vi64 sign = (vi64)x & (vi64)splat_f64(-0.0);

    /* At 20 the quotient is exactly 1. */
    const vf64 size = min_f64(splat_f64(20.0), (vf64)((vi64)x ^ sign));
    vf64 power;
    const vf64 q = exp_parts_f64(size + size, &power);
    const vf64 m = fma_f64(power, q, one - power);

    return (vf64)((vi64)(m / (one + one - m)) | sign);
}

static inline vf64 sigmoid_f64(vf64 x) {
    const vf64 one = splat_f64(1.0);

    /* -709.7 makes power infinite and gives exactly 0; 700 gives exactly 1. */
    x = max_f64(splat_f64(-709.7), min_f64(splat_f64(700.0), x));
    vf64 power;
    const vf64 q = exp_parts_f64(x, &power);

    return one / fma_f64(power, one - q, one);
}

/* Never used: float64 has no fast activations. */
typedef struct quotient_f64 {
    vf64 above, below;
} quotient_f64;

static inline quotient_f64 fast_tanh_f64(vf64 x) { return (quotient_f64){tanh_f64(x), splat_f64(1.0)}; }
static inline quotient_f64 fast_sigmoid_f64(vf64 x) { return (quotient_f64){sigmoid_f64(x), splat_f64(1.0)}; }
