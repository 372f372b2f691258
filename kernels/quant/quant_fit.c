#include "quant_fit.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "f16.h"
#include "fmt_block.h"

enum { L = QUANT_FIT_LANES, N = QUANT_FIT_GROUP };

#define FIT_TINY 0x1p-26f /* a quarter of the smallest f16: rounds to zero in every format */

uint16_t quant_fit_scale(float most, int steps)
{
    float want = most / (float)steps;
    if (want >= FMT_F16_MAX)
        return f32_to_f16(FMT_F16_MAX);
    uint16_t h = f32_to_f16(want);
    if (most < FIT_TINY)
        return 0;
    if (most > f16_to_f32(h) * ((float)steps + 0.5f) && h < f32_to_f16(FMT_F16_MAX))
        h++; /* positive f16 values are ordered like their bits */
    return h;
}

/* ---- symmetric ------------------------------------------------------------------------------ */

struct fit_symmetric {
    float inv[L], err[L]; /* the trial's 1 / step, its weighted error */
    float step[L];        /* the fitted step */
};

static void fit_weights(const float (*x)[L], int n, float (*w)[L])
{
    float square[L] = {0}, inv[L];
    for (int i = 0; i < n; i++)
        for (int l = 0; l < L; l++)
            square[l] += x[i][l] * x[i][l];
    for (int l = 0; l < L; l++)
        inv[l] = square[l] > 0 ? 1 / sqrtf(square[l] / (float)n) : 0;
    for (int i = 0; i < n; i++)
        for (int l = 0; l < L; l++)
            w[i][l] = 1 + fabsf(x[i][l]) * inv[l];
}

/* One trial: quants at t->inv, then the least-squares step for them. */
static void fit_symmetric_try(const float (*x)[L], const float (*w)[L], int n, float low,
                              float high, struct fit_symmetric *t)
{
    float qq[L] = {0}, pq[L] = {0}, pp[L] = {0};
    for (int i = 0; i < n; i++)
        for (int l = 0; l < L; l++) {
            float s = x[i][l] * t->inv[l], q = quant_fit_round(s, low, high), p = q - s;
            float wq = w[i][l] * q, wp = w[i][l] * p;
            qq[l] += wq * q;
            pq[l] += wp * q;
            pp[l] += wp * p;
        }
    for (int l = 0; l < L; l++) { /* s ~ a q: p = q - s ~ (1 - a) q */
        float slope = qq[l] > 0 ? pq[l] / qq[l] : 0, unit = t->inv[l] != 0 ? 1 / t->inv[l] : 0;
        t->step[l] = (1 - slope) * unit;
        t->err[l] = (pp[l] - slope * pq[l]) * unit * unit;
    }
}

static void fit_symmetric_keep(const struct fit_symmetric *t, struct fit_symmetric *best)
{
    for (int l = 0; l < L; l++) {
        int better = t->err[l] < best->err[l];
        best->err[l] = better ? t->err[l] : best->err[l];
        best->step[l] = better ? t->step[l] : best->step[l];
    }
}

void quant_fit_symmetric(const float (*x)[L], int n, int bottom, float step[L])
{
    enum { TRIALS = 15, POLISH = 2 };
    float w[N][L], most[L] = {0}, base[L];
    for (int i = 0; i < n; i++)
        for (int l = 0; l < L; l++)
            most[l] = fabsf(x[i][l]) > fabsf(most[l]) ? x[i][l] : most[l];
    for (int l = 0; l < L; l++)
        base[l] = fabsf(most[l]) >= FIT_TINY ? -1 / most[l] : 0;
    fit_weights(x, n, w);
    float low = (float)-bottom, high = (float)(bottom - 1);
    struct fit_symmetric best = {.step = {0}}, t;
    for (int l = 0; l < L; l++)
        best.err[l] = FLT_MAX;
    for (int k = 0; k < TRIALS + POLISH; k++) {
        for (int l = 0; l < L; l++) {
            float grid = base[l] * ((float)bottom + 0.125f * (float)(k - TRIALS / 2));
            float again = k >= TRIALS && best.step[l] != 0 ? 1 / best.step[l] : 0;
            t.inv[l] = k < TRIALS ? grid : again;
        }
        fit_symmetric_try(x, w, n, low, high, &t);
        fit_symmetric_keep(&t, &best);
    }
    memcpy(step, best.step, sizeof best.step);
}

/* ---- affine, super-blocks of Q4_K and Q5_K -------------------------------------------------- */

struct fit_affine {
    float inv[L], from[L]; /* the trial: t = (x - from) * inv */
    float err[L];
    float step[L], low[L]; /* the fitted line x ~ step * q + low, low <= 0 */
};

struct fit_sums {
    float w[L], q[L], qq[L], p[L], pq[L], pp[L]; /* sums of weight times what the name says */
};

static void fit_affine_sums(const float (*x)[L], const float (*w)[L], float top,
                            const struct fit_affine *t, struct fit_sums *s)
{
    float sw[L] = {0}, sq[L] = {0}, sqq[L] = {0}, sp[L] = {0}, spq[L] = {0}, spp[L] = {0};
    for (int i = 0; i < N; i++)
        for (int l = 0; l < L; l++) {
            float u = (x[i][l] - t->from[l]) * t->inv[l], q = quant_fit_round(u, 0, top), p = q - u;
            float wq = w[i][l] * q, wp = w[i][l] * p;
            sw[l] += w[i][l];
            sq[l] += wq;
            sqq[l] += wq * q;
            sp[l] += wp;
            spq[l] += wp * q;
            spp[l] += wp * p;
        }
    for (int l = 0; l < L; l++) {
        s->w[l] = sw[l];
        s->q[l] = sq[l];
        s->qq[l] = sqq[l];
        s->p[l] = sp[l];
        s->pq[l] = spq[l];
        s->pp[l] = spp[l];
    }
}

/* One trial. With p = q - u ~ a q + b the line is x ~ from + ((1 - a) q - b) / inv. If the line's
 * low end is above zero, low is held at 0. If all quants are equal, low is held at `from`. */
static void fit_affine_try(const float (*x)[L], const float (*w)[L], float top,
                           struct fit_affine *t)
{
    struct fit_sums s;
    fit_affine_sums(x, w, top, t, &s);
    for (int l = 0; l < L; l++) {
        float unit = t->inv[l] != 0 ? 1 / t->inv[l] : 0;
        float det = s.w[l] * s.qq[l] - s.q[l] * s.q[l], flat = 1e-5f * s.w[l] * s.qq[l];
        float b = det > flat ? (s.qq[l] * s.p[l] - s.q[l] * s.pq[l]) / det : 0;
        float most = t->from[l] * t->inv[l]; /* b at which low is 0 */
        b = b < most ? most : b;
        float a = s.qq[l] > 0 ? (s.pq[l] - b * s.q[l]) / s.qq[l] : 0;
        t->step[l] = (1 - a) * unit;
        t->low[l] = t->from[l] - b * unit;
        t->err[l] =
            (s.pp[l] - 2 * b * s.p[l] + b * b * s.w[l] - a * (s.pq[l] - b * s.q[l])) * unit * unit;
    }
}

static void fit_affine_keep(const struct fit_affine *t, struct fit_affine *best)
{
    for (int l = 0; l < L; l++) {
        int better = t->err[l] < best->err[l];
        best->err[l] = better ? t->err[l] : best->err[l];
        best->step[l] = better ? t->step[l] : best->step[l];
        best->low[l] = better ? t->low[l] : best->low[l];
    }
}

static void fit_affine(const float (*x)[L], const float (*w)[L], int top, struct fit_affine *best)
{
    enum { TRIALS = 12, POLISH = 3 };
    float low[L] = {0}, high[L], inv[L];
    memcpy(high, x[0], sizeof high);
    for (int i = 0; i < N; i++)
        for (int l = 0; l < L; l++) {
            low[l] = x[i][l] < low[l] ? x[i][l] : low[l];
            high[l] = x[i][l] > high[l] ? x[i][l] : high[l];
        }
    for (int l = 0; l < L; l++)
        inv[l] = high[l] - low[l] >= FIT_TINY ? 1 / (high[l] - low[l]) : 0;
    struct fit_affine t;
    for (int l = 0; l < L; l++) {
        best->err[l] = FLT_MAX;
        best->step[l] = best->low[l] = 0;
    }
    for (int k = 0; k < TRIALS + POLISH; k++) {
        for (int l = 0; l < L; l++) {
            float again = k >= TRIALS && best->step[l] > 0 ? 1 / best->step[l] : 0;
            t.inv[l] = k < TRIALS ? inv[l] * ((float)top + 0.2f * (float)(k - 7)) : again;
            t.from[l] = k < TRIALS ? low[l] : best->low[l];
        }
        fit_affine_try(x, w, (float)top, &t);
        fit_affine_keep(&t, best);
    }
}

/* Weighted error of the codes (scale, min) in every lane, requantised; optionally the quants. */
static void fit_codes_error(const float (*x)[L], const float (*w)[L], float top,
                            const float step[L], const float low[L], float err[L])
{
    float inv[L], sum[L] = {0};
    for (int l = 0; l < L; l++)
        inv[l] = step[l] > 0 ? 1 / step[l] : 0;
    for (int i = 0; i < N; i++)
        for (int l = 0; l < L; l++) {
            float q = quant_fit_round((x[i][l] - low[l]) * inv[l], 0, top);
            float r = step[l] * q + low[l] - x[i][l];
            sum[l] += w[i][l] * r * r;
        }
    memcpy(err, sum, sizeof sum);
}

static float fit_code(float value, float unit)
{
    return unit > 0 ? quant_fit_round(value / unit, 0, 63) : 0;
}

/* The 6-bit codes: the nearest codes of the fitted line, then any better neighbours. */
static void fit_codes(const float (*x)[L], const float (*w)[L], float top,
                      const struct fit_affine *f, float d, float dmin, float scale[L], float min[L])
{
    static const signed char move[][2] = {{0, 0}, {0, 1},  {0, -1}, {1, 0},
                                          {1, 1}, {-1, 0}, {-1, -1}};
    float base_scale[L], base_min[L], best[L];
    for (int l = 0; l < L; l++) {
        base_scale[l] = fit_code(f->step[l], d);
        base_min[l] = fit_code(-f->low[l], dmin);
        best[l] = FLT_MAX;
        scale[l] = min[l] = 0;
    }
    for (size_t k = 0; k < sizeof move / sizeof *move; k++) {
        float s[L], m[L], step[L], low[L], err[L];
        for (int l = 0; l < L; l++) {
            s[l] = quant_fit_round(base_scale[l] + (float)move[k][0], 0, 63);
            m[l] = quant_fit_round(base_min[l] + (float)move[k][1], 0, 63);
            step[l] = d * s[l];
            low[l] = -(dmin * m[l]);
        }
        fit_codes_error(x, w, top, step, low, err);
        for (int l = 0; l < L; l++) {
            int better = err[l] < best[l];
            best[l] = better ? err[l] : best[l];
            scale[l] = better ? s[l] : scale[l];
            min[l] = better ? m[l] : min[l];
        }
    }
}

static void fit_quants(const float (*x)[L], float top, float d, float dmin, const float scale[L],
                       const float min[L], uint8_t q[FMT_K])
{
    for (int l = 0; l < L; l++) {
        float step = d * scale[l], low = -(dmin * min[l]), inv = step > 0 ? 1 / step : 0;
        for (int i = 0; i < N; i++)
            q[l * N + i] = (uint8_t)quant_fit_round((x[i][l] - low) * inv, 0, top);
    }
}

void quant_fit_k(const float *x, int top, struct quant_fit_k *out)
{
    const float least = -FMT_F16_MAX * 63, most = FMT_F16_MAX * 63;
    float t[N][L], w[N][L], scale[L], min[L], step = 0, low = 0;
    for (int l = 0; l < L; l++)
        for (int i = 0; i < N; i++) {
            float v = x[l * N + i];
            v = v < least ? least : v;
            t[i][l] = v > most ? most : v;
        }
    fit_weights(t, N, w);
    struct fit_affine f;
    fit_affine(t, w, top, &f);
    for (int l = 0; l < L; l++) {
        step = f.step[l] > step ? f.step[l] : step;
        low = f.low[l] < low ? f.low[l] : low;
    }
    out->d = quant_fit_scale(step, 63);
    out->dmin = quant_fit_scale(-low, 63);
    float d = f16_to_f32(out->d), dmin = f16_to_f32(out->dmin);
    fit_codes(t, w, (float)top, &f, d, dmin, scale, min);
    fit_quants(t, (float)top, d, dmin, scale, min, out->q);
    for (int l = 0; l < L; l++) {
        out->scale[l] = (uint8_t)scale[l];
        out->min[l] = (uint8_t)min[l];
    }
}
