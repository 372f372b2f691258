/*
 * v16_math: functions of sixteen numbers at once. The bits are the same with every instruction set.
 */
#ifndef MAS_V16_MATH_H
#define MAS_V16_MATH_H

#include "v16.h"

/*
 * e^x. Argument reduction x = k ln 2 + r with ln 2 in two parts, then the polynomial of Cephes'
 * expf (S. Moshier). 0 below -87.336, where e^x is no normal number, infinity above 88.7228, NaN
 * for NaN; else within 1 ulp (t_vmath checks it over the floats).
 */
static inline struct v16 v16_exp(struct v16 x)
{
    const struct v16 lo = v16_set1(-87.336f), hi = v16_set1(88.722839f),
                     magic = v16_set1(0x1.8p23f);
    struct v16 c = v16_max(lo, v16_min(hi, x)); /* this order keeps a NaN */
    struct v16 t = v16_fma(c, v16_set1(1.44269504f), magic), k = v16_sub(t, magic);
    struct v16 r = v16_fma(k, v16_set1(-0.693359375f), c);
    r = v16_fma(k, v16_set1(2.12194440e-4f), r);
    struct v16 p = v16_set1(1.9875691500e-4f);
    p = v16_fma(p, r, v16_set1(1.3981999507e-3f));
    p = v16_fma(p, r, v16_set1(8.3334519073e-3f));
    p = v16_fma(p, r, v16_set1(4.1665795894e-2f));
    p = v16_fma(p, r, v16_set1(1.6666665459e-1f));
    p = v16_fma(p, r, v16_set1(5.0000001201e-1f));
    p = v16_fma(v16_mul(r, r), p, r);
    p = v16_scale2(v16_add(p, v16_set1(1)), t);
    p = v16_if_lt(x, lo, v16_zero(), p);
    return v16_if_lt(hi, x, v16_set1(INFINITY), p);
}

/* ln x for positive normal x (not checked): m in [sqrt(1/2), sqrt(2)), then the polynomial of
 * Cephes' logf. Within 1 ulp (t_vmath). */
static inline struct v16 v16_log(struct v16 x)
{
    struct v16 e, f = v16_sub(v16_split2(x, &e), v16_set1(1)), z = v16_mul(f, f);
    struct v16 p = v16_set1(7.0376836292e-2f);
    p = v16_fma(p, f, v16_set1(-1.1514610310e-1f));
    p = v16_fma(p, f, v16_set1(1.1676998740e-1f));
    p = v16_fma(p, f, v16_set1(-1.2420140846e-1f));
    p = v16_fma(p, f, v16_set1(1.4249322787e-1f));
    p = v16_fma(p, f, v16_set1(-1.6668057665e-1f));
    p = v16_fma(p, f, v16_set1(2.0000714765e-1f));
    p = v16_fma(p, f, v16_set1(-2.4999993993e-1f));
    p = v16_fma(p, f, v16_set1(3.3333331174e-1f));
    p = v16_mul(v16_mul(p, f), z);
    p = v16_fma(e, v16_set1(-2.12194440e-4f), p);
    p = v16_fma(z, v16_set1(-0.5f), p);
    return v16_fma(e, v16_set1(0.693359375f), v16_add(f, p));
}

/* x / (1 + e^-x) */
static inline struct v16 v16_silu(struct v16 x)
{
    struct v16 e = v16_exp(v16_sub(v16_zero(), x));
    return v16_div(x, v16_add(v16_set1(1), e));
}

/* gelu(x), approximated by tanh (ops.h): x / (1 + e^z), z = -2 sqrt(2 / pi) (x + 0.044715 x^3). */
static inline struct v16 v16_gelu(struct v16 x)
{
    const struct v16 linear = v16_set1(-1.59576912f), cubic = v16_set1(-0.0713548163f);
    struct v16 z = v16_mul(x, v16_fma(v16_mul(x, x), cubic, linear));
    return v16_div(x, v16_add(v16_set1(1), v16_exp(z)));
}

#endif
